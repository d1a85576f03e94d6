# Wrong flags: exit 2, and what was expected. Help and version: exit 0.
check no_command       2 'subcommand'
check unknown_command  2 '.'                 frobnicate
check unknown_flag     2 'frobnicate'        inspect small.onnx --frobnicate
check missing_required 2 'out'               compile small.onnx --target stm32l4r5 --calib good.json
check unknown_target   2 "stm32l4r6.*stm32l4r5" compile small.onnx --target stm32l4r6 --calib good.json --out out
check no_calibration   2 'calib'             compile small.onnx --target stm32l4r5 --out out
check both_sources     2 'calib'             quantize small.onnx --calib good.json --profile p -o out/q.onnx
check quantize_no_data 2 'needs calibration data.*need none' quantize small.onnx -o out/q.onnx
check compile_dynamic  2 'dynamic quantization, for which the C runtime has no kernels' \
                         compile small.onnx --target stm32l4r5 --calib good.json --activations dynamic --out out
check bad_block        2 'block-size 48.*16, 32' quantize small.onnx --weights int4 --block-size 48 --calib good.json -o out/q.onnx
check block_of_int8    2 'blocks of 32 without int4' quantize small.onnx --block-size 32 --calib good.json -o out/q.onnx
check bad_matmul_form  2 "matmul-form 'bits'" quantize small.onnx --matmul-form bits --calib good.json -o out/q.onnx
check nbits_of_int8    2 'nbits without int4' quantize small.onnx --matmul-form nbits --calib good.json -o out/q.onnx
check bad_runtime      2 "runtime 'avx512'.*any or onnxruntime-avx2" quantize small.onnx --runtime avx512 --calib good.json -o out/q.onnx
check bad_runtime_compile 2 "runtime 'avx512'.*any or onnxruntime-avx2" \
                         compile small.onnx --target x86-64 --calib good.json --runtime avx512 --out out
check half_and_uint8   2 'uint8 activations without integer' quantize small.onnx --weights float16 --activations uint8 -o out/q.onnx
check dynamic_int4     2 'int4 weights with dynamic' quantize small.onnx --weights int4 --activations dynamic -o out/q.onnx
check big_ram          2 "ram.*16,777,216 B are more than stm32l4r5 has \\(655,360 B\\)" \
                         compile small.onnx --target stm32l4r5 --calib good.json --budget ram=16M --out out
check big_flash        2 "flash.*3,145,728 B are more than stm32l4r5 has \\(2,097,152 B\\)" \
                         compile small.onnx --target stm32l4r5 --calib good.json --budget flash=3M --out out
check bad_budget       2 'ram'               compile small.onnx --target stm32l4r5 --calib good.json --budget ram=lots --out out
check bad_samples      2 'samples|number'    compile small.onnx --target stm32l4r5 --calib good.json --samples many --out out
check bad_max_drop     2 'max-drop'          compare small.onnx small.onnx --max-drop=-1
check bad_keep_float   2 'keep-float.*konv'  compile small.onnx --target stm32l4r5 --calib good.json --keep-float konv --out out
check bad_range        2 'range'             compile small.onnx --target stm32l4r5 --calib good.json --range widest --out out
check bad_io           2 'float'             emit-c small.onnx -o out --io int4
check bad_shape        2 'shape'             inspect small.onnx --shape N=x
check bad_opset        2 'opset 29.*7 to 28' optimize small.onnx --opset 29 -o out/o.onnx
check bad_pipeline     2 'fold-batch-nrm.*fold-batch-norm' opt small.onnx --pipeline fold-batch-nrm -o out/o.onnx
check raw_of_onnx      2 'raw'               run small.onnx --inputs bare.npz --raw
check no_inputs        2 'inputs'            run small.onnx
check bad_name         2 '.'                 emit-c small.onnx -o out --name '1 model'
check help             0 'compile'           --help
check version          0 'bevel [0-9]'       --version
for command in compile inspect optimize calibrate quantize run eval compare bench emit-c targets passes opt; do
  check "help_$command" 0 "bevel $command" $command --help
done
