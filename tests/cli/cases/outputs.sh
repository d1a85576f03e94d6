# Outputs that cannot be written (exit 1), budgets (3), verification (4), interruption; and commands that succeed.
C="compile small.onnx --target stm32l4r5 --calib good.json"
check out_is_a_file      1 'good\.npz.*(Not a directory|folder)' $C --out good.npz
check out_beneath_a_file 1 'good\.npz/deep'                      $C --out good.npz/deep
check out_in_proc        1 '/proc/'                              $C --out /proc/bevel
check file_is_a_folder   1 'out.*folder'                         optimize small.onnx -o out
check folder_absent      1 'nowhere'                             quantize small.onnx --calib good.json -o nowhere/q.onnx
limit='ulimit -f 2'
check disk_full          1 'cannot be written|too large'         $C --out out
check disk_full_new      1 'cannot be written|too large'         $C --out fresh/folder
limit=
if [ -w /dev/full ]; then
  full() { "$bevel" targets > /dev/full; }
  fresh; full 2> "$W/../stderr"; code=$?
  if [ $code = 1 ]; then passed=$((passed + 1)); else : > "$W/../stdout"; fail stdout_full "exit $code, expected 1"; fi
fi

check budget_ram     3 "ram.*over.*Alive at the peak.*device itself has room"  $C --budget ram=16 --out out
check budget_flash   3 "flash.*over.*Largest weights.*'"          $C --budget flash=100 --out out
check budget_latency 3 "latency.*modelled.*Slowest layers"        $C --budget latency=1us --out out
check budget_dry_run 3 "ram"                                      $C --budget ram=16 --out out --dry-run
check drop_compile   4 "max-drop.*Worst layers by SQNR" \
  compile $fashion/model.onnx --target stm32l4r5 --calib $fashion/calib.json --eval $fashion/eval.json --range percentile:50.1 \
  --max-drop 1 --samples 60 --out out
check drop_compare   4 "verification failed"                      compare small.onnx rotated.onnx --data unlabelled.json --max-drop 50

# Interrupted in the middle: exit 1, nothing left behind.
for signal in INT TERM HUP; do
  fresh
  before=$(listing "$W")
  (cd "$W" && exec "$bevel" compile $fashion/model.onnx --target stm32l4r5 --calib $fashion/calib.json --eval $fashion/eval.json \
    --out new/folder) > "$W/../stdout" 2> "$W/../stderr" &
  job=$!
  # The staging folder shows that the road has begun; a machine under load may take a while to get there.
  for _ in $(seq 200); do [ -d "$W/new/folder" ] && break; sleep 0.05; done
  kill -$signal $job
  wait $job
  code=$?
  if [ $code != 1 ]; then fail "interrupted_$signal" "exit $code, expected 1"
  elif ! grep -qx 'bevel: interrupted; nothing was written' "$W/../stderr"; then fail "interrupted_$signal" "nothing is said"
  elif [ "$before" != "$(listing "$W")" ]; then listing "$W" | grep new; fail "interrupted_$signal" "files were left behind"
  else passed=$((passed + 1)); fi
done

# What succeeds.
check inspect        0 '^Conv .* conv$'                  inspect small.onnx
check inspect_json   0 '"format": "bevel-inspect/1"'    inspect small.onnx --json
check inspect_float  0 '^com\.example\..* mystery$'         inspect unknown_op.onnx
check targets        0 'stm32h743'                      targets
check targets_json   0 '"format": "bevel-targets/1"'    targets --json
check targets_marked 0 'x86-64 .*~15 W'                 targets
check targets_sure   0 'stm32h743 .* 480 MHz +363 mW'   targets
check targets_doubts 0 '"not_confirmed": \['            targets rp2040 --json
check passes         0 'quantize'                       passes
check passes_json    0 '"format": "bevel-passes/1"'     passes --json
check run_npz        0 'y +float\[24,3\]'               run small.onnx --inputs bare.npz -o out/o.npz
check run_data       0 '24 sample'                      run small.onnx --data good.json -o out/o.npz
check run_samples    0 '3 sample'                       run small.onnx --data good.json --samples 3
check eval           0 'top1'                           eval small.onnx --data good.json
check eval_json      0 '"format": "bevel-eval/1"'       eval small.onnx --data good.json --json
check compare        0 'identical'                      compare small.onnx small.onnx --data good.json
check no_floats      0 'there is no float compute'      inspect integers.onnx
check floats_in      0 '1 compute node.s. would stay float' inspect compares.onnx
check floats_in_name 0 'compare \(Less\): '             inspect compares.onnx
check compare_random 0 'seeded random'                  compare small.onnx small.onnx
check bench          0 'median of 3 runs .*one core'    bench small.onnx --repeat 3
check bench_nodes    0 ' % +[A-Z]'                      bench small.onnx --data good.json --samples 2 --nodes
check optimize       0 'checked.*seeded random'         optimize small.onnx -o out/o.onnx
check optimize_data  0 'checked.*24 samples'            optimize small.onnx -o out/o.onnx --data good.json
check not_checked    0 'not checked: .*mystery'         optimize unknown_op.onnx -o out/o.onnx
# Random indices: some samples are beyond the table's end, and with sixteen of them in each sample all are.
check some_run       0 'checked .*on [1-7] seeded random'  optimize picks_rows.onnx -o out/o.onnx
check some_do_not    0 "does not run on some random inputs .*'pick'" optimize picks_rows.onnx -o out/o.onnx
check none_runs      0 "not checked: the source model does not run on random inputs .*'pick'" optimize picks_rows.onnx --shape N=16 -o out/o.onnx
check future         0 'not checked: .*99'              optimize future_opset.onnx -o out/o.onnx
check older_opset    0 'checked'                        optimize small.onnx --opset 9 -o out/o.onnx
check newer_opset    0 'checked'                        quantize small.onnx --calib good.json --opset 21 -o out/q.onnx
check compiled_opset 0 'model\.c'                       $C --opset 19 --out out
# One scale for each channel: opset 12 has no words for it.
check too_old        5 "node '.*\\((Deq|Q)uantizeLinear\\) cannot be written in opset 12" $C --opset 12 --out out
check opset_beyond   5 'opset is 99'                     optimize future_opset.onnx --opset 13 -o out/o.onnx
check calibrate      0 'written'                        calibrate small.onnx --calib good.json -o out/p
check quantize       0 'checked'                        quantize small.onnx --calib good.json -o out/q.onnx
check weights_alone  0 'checked'                        quantize small.onnx --activations float32 -o out/q.onnx
check dynamic        0 'checked'                        quantize small.onnx --activations dynamic -o out/q.onnx
check float16        0 'range of float16, for want of'  quantize small.onnx --weights float16 -o out/q.onnx
check float16_data   0 'checked'                        quantize small.onnx --weights float16 --calib good.json -o out/q.onnx
check bfloat16       0 'checked'                        quantize small.onnx --weights bfloat16 -o out/q.onnx
check quantize_json  0 '"format": "bevel-write/1"'      quantize small.onnx --calib good.json -o out/q.onnx --json
check emit_c         0 'model\.c'                       emit-c small.onnx -o out
check opt            0 'fold-constants'                 opt small.onnx --pipeline fold-constants -o out/o.onnx
# What was asked for and changed nothing says so; every float Program, too, is its model's to the last bit.
check nothing_to_quantize 0 'quantize changed nothing'  quantize small.onnx --calib good.json --recipe float.recipe.json -o out/q.onnx
check nothing_compiled    0 'quantize changed nothing'  $C --recipe float.recipe.json --out out
check nothing_to_fold     0 'fold-pad: nothing to change' opt small.onnx --pipeline fold-pad -o out/o.onnx
check nothing_by_opt      0 'quantize: nothing to change' \
  opt small.onnx --pipeline quantize --calib good.json --recipe float.recipe.json -o out/o.onnx
prepare="$bevel optimize small.onnx -o o.onnx > /dev/null"
check nothing_left        0 'eliminate-dead: nothing to change' optimize o.onnx -o out/o.onnx
prepare=
check mixed_kept_float    0 'status +ok'                $C --keep-float Conv --out out
check mixed_float_io      0 'status +ok'                $C --keep-float Gemm --io float --out out
check emit_c_float_io     0 'model\.c'                  emit-c small.onnx -o out --io float
# `opt` reads recipes as every other command does.
check opt_recipe          5 'no_such_node\.recipe\.json.*konv' \
  opt small.onnx --pipeline quantize --calib good.json --recipe no_such_node.recipe.json -o out/o.onnx
check compile        0 'status +ok'                     $C --out out
check compile_json   0 '"format": "bevel-report/1"'     $C --out out --json
check compile_new    0 'status +ok'                     $C --out new/folder
check compile_dry    0 'dry run'                        $C --out out --dry-run
if [ "$(listing "$W")" != "$before" ]; then fail compile_dry "a dry run wrote something"; fi
check depfile        0 'status +ok'                     $C --out out --depfile d.mk
expect_rule() { # name, expected rule
  local found
  found=$(tr -d '\\\n' < "$W/d.mk" | tr -s ' ')
  if [ "$found" != "$2" ]; then fail "$1" "d.mk is: $found"; fi
}
expect_rule depfile "out/report.json: small.onnx good.json good.npz"
prepare="cp $source_dir/lib/target/devices/stm32l4r5.json own.json"
check depfile_all    0 'status +ok' compile external.onnx --target own.json --calib bare.npz --eval good.json \
  --recipe float.recipe.json --out out --depfile d.mk
expect_rule depfile_all "out/report.json: external.onnx weights.bin own.json float.recipe.json bare.npz good.json good.npz"
# The external weights count as the model's bytes.
bytes=$(($(stat -c %s "$W/external.onnx") + $(stat -c %s "$W/weights.bin")))
if ! grep -q "\"float_onnx_bytes\": $bytes," "$W/out/report.json"; then fail depfile_all "float_onnx_bytes is not $bytes"; fi
prepare=
prepare="$bevel calibrate small.onnx --calib good.json -o p > /dev/null"
check profile        0 'checked'                        quantize small.onnx --profile p -o out/q.onnx
check profile_float_conv 0 'conv .*kept in float'       quantize small.onnx --profile p --keep-float Conv -o out/q.onnx
check profile_float_relu 0 'checked'                    quantize small.onnx --profile p --keep-float Relu -o out/q.onnx
check profile_compile 0 'status +ok'  compile small.onnx --target stm32l4r5 --profile p --keep-float Gemm --out out
prepare="$bevel $C --out made > /dev/null"
check run_bvl        0 'y '                             run made/model.bvl --data good.json -o out/o.npz
check run_bvl_raw    0 'y +int8'                        run made/model.bvl --data good.json --raw -o out/o.npz
check bench_bvl      2 'nodes: a .bvl'                  bench made/model.bvl --nodes
check compare_bvl    0 'SQNR'                           compare made/model.int8.onnx made/model.bvl --data good.json
check eval_bvl       0 'top1'                           eval made/model.bvl --data good.json
prepare=
