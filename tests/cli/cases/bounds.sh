# How far a file may go: --limits, --max-memory, --allow-root.
check limits_lists_its_names 2 "there is no limit 'node' \(did you mean 'nodes'\?\); they are nesting, messages, .*trips" inspect small.onnx --limits node=3
check limits_wants_numbers 2 "expected nodes=N, a whole number of nodes in all graphs" inspect small.onnx --limits nodes=many
check limits_lowered 5 "small.onnx: the model has more than 1 nodes" inspect small.onnx --limits nodes=1
check limits_on_every_road 5 "small.onnx: the model has more than 1 nodes" compile small.onnx --target stm32l4r5 --calib good.json --out out --limits nodes=1
check limits_of_both_models 5 "small.onnx: the model has more than 1 nodes" compare small.onnx small.onnx --limits nodes=1
check memory_wants_bytes 2 "\-\-max-memory '1X': expected a number of bytes" run small.onnx --data good.json --max-memory 1X
check memory_refusal_names_the_node 5 "node '.*' \(.*\): an output of [0-9]+ bytes does not fit: .* the memory cap is 16 bytes" run small.onnx --data good.json --max-memory 16
check memory_suffices 0 "" run small.onnx --data good.json --max-memory 64M
check allow_root_is_a_folder 2 "\-\-allow-root 'small.onnx': expected a folder" run small.onnx --data good.json --allow-root small.onnx

prepare='mkdir cache snapshot && mv good.npz cache/blob && ln -s ../cache/blob snapshot/good.npz && cp good.json snapshot/'
[ -f "$scratch/inputs/good.npz" ] && {
  check link_is_refused 5 "symbolic link; expected a plain file beneath the folder .*--allow-root" run small.onnx --data snapshot/good.json
  check link_into_an_allowed_folder 0 "" run small.onnx --data snapshot/good.json --allow-root cache
  check link_elsewhere_is_refused 5 "symbolic link" run small.onnx --data snapshot/good.json --allow-root out
  prepare='ln good.npz twin.npz'
  check hard_link_is_refused 5 "2 hard links" run small.onnx --data good.json
  check hard_link_in_an_allowed_folder 0 "" run small.onnx --data good.json --allow-root .
}
prepare=
