# Data descriptions, samples, recipes and profiles that are wrong: exit 5, file and key or sample named.
calib_of() { check "$1" 5 "$3" compile small.onnx --target stm32l4r5 --calib "$2" --out out; }
calib_of missing           absent.json      'absent\.json'
calib_of wrong_key         wrong_key.json   'wrong_key\.json.*nothing'
calib_of unknown_key       unknown_key.json 'unknown_key\.json.*stepps'
calib_of outside           outside.json     'outside\.json.*\.\./good\.npz'
calib_of wrong_name        wrong_name.npz   'wrong_name\.npz.*(image|"x")'
calib_of wrong_shape       wrong_shape.npz  'wrong_shape\.npz.*x'
calib_of wrong_dtype       wrong_dtype.npz  'wrong_dtype\.npz.*(int16|cast)'
calib_of zero_samples      zero.npz         'zero\.npz.*(no|zero) samples'
calib_of nan_sample        nan.npz          '[Ss]ample 5.*(NaN|nan)|(NaN|nan).*sample 5'
calib_of absent_labels     absent_labels.json 'absent_labels\.json.*classes'
check eval_unlabelled 5 'unlabelled\.json.*labels' eval small.onnx --data unlabelled.json
check eval_bare_npz   5 'labels'                   eval small.onnx --data bare.npz
check zero_evaluation 5 'zero\.npz'                compile small.onnx --target stm32l4r5 --calib good.json --eval zero.npz --out out
check recipe_no_node  5 "no_such_node\.recipe\.json.*konv.*conv" \
  compile small.onnx --target stm32l4r5 --calib good.json --recipe no_such_node.recipe.json --out out
check recipe_not_json 5 'not_json\.recipe\.json'   compile small.onnx --target stm32l4r5 --calib good.json --recipe not_json.recipe.json --out out
check recipe_missing  5 'absent\.json'             quantize small.onnx --calib good.json --recipe absent.json -o out/q.onnx
check profile_text    5 'text\.onnx'               quantize small.onnx --profile text.onnx -o out/q.onnx
check inputs_missing  5 "'x'"                      run small.onnx --inputs wrong_name.npz -o out/o.npz
check inputs_shape    5 "'x'.*float\[24,1,3,4\]"   run small.onnx --inputs wrong_shape.npz -o out/o.npz
check inputs_dtype    5 "'x'.*int16"               run small.onnx --inputs wrong_dtype.npz -o out/o.npz
prepare='mkdir tensors'
check inputs_folder   5 'input_0\.pb'              run small.onnx --inputs tensors -o out/o.npz
prepare='printf "{\"format\": \"bevel-device/1\"" > dev.json'
check device_record   5 'dev\.json'                compile small.onnx --target dev.json --calib good.json --out out
prepare=
