# What quantizing says of itself: models that are quantized already, nodes kept in float, outputs far from their source.
prepare="$bevel compile small.onnx --target stm32l4r5 --calib good.json --out made > /dev/null && mv made/model.int8.onnx q.onnx"
C="compile q.onnx --target stm32l4r5 --calib good.json --out out"
check optimize_int8   0 "'?y.*SQNR identical"              optimize q.onnx --data good.json -o out/o.onnx
check opt_int8        0 "'?y.*SQNR identical"              opt q.onnx --pipeline eliminate-dead --data good.json -o out/o.onnx
check quantize_int8   0 "quantized already"                quantize q.onnx --calib good.json -o out/o.onnx
check quantize_same   0 "'?y.*SQNR identical"              quantize q.onnx --calib good.json -o out/o.onnx
check compile_int8    0 "'y': SQNR identical"              $C
check nothing_float   0 "float +nothing"                   $C
check inspect_int8    0 "float +nothing would stay float"  inspect q.onnx
check int8_parameters 0 'total +29 parameters \(constants: .*: .*int8'  inspect q.onnx
prepare=

check class_scores    0 '"class_scores": true'             compare small.onnx small.onnx --data good.json --json
check no_class_scores 0 'y +SQNR identical.*largest element; no class scores'  optimize constants.onnx -o out/c.onnx
check keep_conv       0 'relu .*follows "conv"'            quantize small.onnx --calib good.json --keep-float Conv -o out/q.onnx
check parameters      0 'total +8 parameters'              inspect constants.onnx
check weights_at_node 0 'Mul +float\[2\] +2 .*scale'       inspect constants.onnx
check open_dimension  0 "not all known, as these dimensions are open: 'N'; state them with --shape"  inspect dynamic.onnx
check open_at_least   0 'at least 0 MACs'                  inspect dynamic.onnx
check default_weights 0 'Conv .* 6 +\? .*conv$'            inspect dynamic.onnx
check stated_macs     0 'total .* [^ ]* 75 MACs'           inspect dynamic.onnx --shape N=5
check activations     0 "activations take 101 B .* at node 'conv'.*inside nodes"  inspect dynamic.onnx --shape N=5
check nan_weight      5 "nan_weight\.onnx.*dense.*element 5.*'spoiled' is NaN"  quantize nan_weight.onnx --calib good.json -o out/q.onnx

far="$fashion/model.onnx --calib $fashion/calib.json --eval $fashion/eval.json --range percentile:50.1 --samples 60"
check warns           0 'warning .*far from.*Worst layers' quantize $far -o out/q.onnx
check warns_json      0 '"warnings"'                       quantize $far -o out/q.onnx --json
check warns_compile   0 'warning .*far from.*Worst layers' compile $far --target stm32l4r5 --out out
check drop_quantize   4 'max-drop.*Worst layers by SQNR'   quantize $far --max-drop 1 -o out/q.onnx
prepare="$bevel calibrate small.onnx --calib good.json -o p > /dev/null"
check not_measured    0 'accuracy +not measured'           compile small.onnx --target stm32l4r5 --profile p --out out
check precision_prof  2 '\-\-precision auto measures'      quantize small.onnx --profile p --precision auto -o out/q.onnx
check drop_on_nothing 2 '\-\-max-drop needs samples'       quantize small.onnx --profile p --max-drop 1 -o out/q.onnx
prepare=
check precision_word  2 "\-\-precision 'best': expected auto"  quantize small.onnx --calib good.json --precision best -o out/q.onnx
search="$fashion/model.onnx --calib $fashion/calib.json --eval $fashion/eval.json --samples 60"
check precision_auto  0 'precision auto: of [0-9]+ groups of layers [1-9][0-9]* in int4.*points of top1 on the evaluation samples \(5.00 allowed\)'  quantize $search --precision auto --max-drop 5 -o out/q.onnx
check precision_mixed 0 '"judged_by": "top1 on the evaluation samples"'  quantize $search --preset mixed --max-drop 5 --json -o out/q.onnx
check budget_alone    2 '\-\-budget limits what a device has'  quantize small.onnx --calib good.json --budget flash=1M --precision auto -o out/q.onnx
check budget_no_auto  2 '\-\-budget limits the choice of'     quantize small.onnx --calib good.json --budget flash=1M --target stm32l4r5 -o out/q.onnx
check recipe_folder   1 'recipe|directory'                    quantize small.onnx --calib good.json --write-recipe . -o out/q.onnx
