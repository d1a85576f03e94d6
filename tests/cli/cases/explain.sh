# explain: models quantized here, and elsewhere; what it refuses. It writes nothing.
check explains          0 'alone +accumulated +at stake +layer'       explain small.onnx --calib good.json
check explain_samples   0 'with the float model, on .* calibration samples; no evaluation'  explain small.onnx --calib good.json
check explain_eval      0 'on [0-9]+ evaluation samples'              explain small.onnx --calib good.json --eval good.json
check explain_json      0 '"format": "bevel-explain/1"'               explain small.onnx --calib good.json --json
check explain_figures   0 '"sqnr_accumulated_db"'                     explain small.onnx --calib good.json --json
check explain_markdown  0 '^# Where accuracy is lost'                 explain small.onnx --calib good.json --markdown
check explain_bundled   0 'top1: float [0-9.]+ %, quantized'          explain "$fashion/model.onnx" --calib "$fashion/calib.json" --eval "$fashion/eval.json" --samples 40 --worst 1
check explain_clipped   0 'clipped: .* lie outside of what its grid holds'  explain "$fashion/model.onnx" --calib "$fashion/calib.json" --samples 40 --worst 0 --range percentile:50.1
prepare="echo '{ \"format\": \"bevel-recipe/1\", \"nodes\": { \"/features/features.2/Clip\": { \"range\": \"percentile:60\" } } }' > r.json"
check explain_line      0 'these lines together gain'                 explain "$fashion/model.onnx" --calib "$fashion/calib.json" --samples 20 --worst 1 --recipe r.json
prepare=

check explain_no_data   2 'explain needs samples: give --calib'       explain small.onnx
check explain_two_forms 2 '\-\-json and --markdown exclude'           explain small.onnx --calib good.json --json --markdown
check explain_reference 2 'is float itself: leave it out'             explain small.onnx --calib good.json --reference small.onnx
check explain_preset    2 'expected one of fast, balanced'            explain small.onnx --calib good.json --preset none
check explain_nan       5 'NaN'                                       explain small.onnx --calib nan.npz
check explain_node      5 'no_such_node'                              explain small.onnx --calib good.json --recipe no_such_node.recipe.json
check explain_broken    5 'text.onnx'                                 explain text.onnx --calib good.json
prepare="$bevel calibrate small.onnx --calib good.json -o p > /dev/null"
check explain_profile   2 'a profile holds no samples'                explain small.onnx --profile p

prepare="$bevel compile small.onnx --target stm32l4r5 --calib good.json --out made > /dev/null && mv made/model.int8.onnx q.onnx"
check explain_own       0 "with the model's own float version"        explain q.onnx --calib good.json
check explain_parent    0 'with the float model given'                explain q.onnx --calib good.json --reference small.onnx
check explain_flags     2 'q.onnx is quantized already'               explain q.onnx --calib good.json --range mse
check explain_both      2 '\-\-reference q.onnx is quantized itself'  explain q.onnx --calib good.json --reference q.onnx

prepare="$bevel quantize '$fashion/model.onnx' --activations dynamic -o d.onnx > /dev/null"
check explain_dynamic   2 'no float version of its own: give its float parent as --reference'  explain d.onnx --calib "$fashion/calib.json" --samples 8
check explain_computed  0 'scales that are computed as it runs'       explain d.onnx --calib "$fashion/calib.json" --samples 8 --worst 0 --reference "$fashion/model.onnx"
prepare=
