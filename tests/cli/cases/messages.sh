# What a person meets who takes a wrong turn: the message names the flag or file to blame, and nothing is replaced that is no file.
C="compile small.onnx --target stm32l4r5 --calib good.json"
Q="quantize small.onnx --calib good.json"

# An output that exists and is no regular file stays what it is; a link stays a link, and the file that it names is written.
stays_fifo() {
  check "$@"
  if [ ! -p "$W/out/pipe" ]; then : > "$W/../stdout"; fail "$1" "the FIFO is gone"; fi
}
prepare='mkfifo out/pipe'
stays_fifo fifo_optimize  1 'out/pipe: is a FIFO'  optimize small.onnx -o out/pipe
stays_fifo fifo_opt       1 'out/pipe: is a FIFO'  opt small.onnx --pipeline fold-constants -o out/pipe
stays_fifo fifo_quantize  1 'out/pipe: is a FIFO'  $Q -o out/pipe
stays_fifo fifo_calibrate 1 'out/pipe: is a FIFO'  calibrate small.onnx --calib good.json -o out/pipe
stays_fifo fifo_run       1 'out/pipe: is a FIFO'  run small.onnx --inputs bare.npz -o out/pipe
stays_fifo fifo_dry_run   1 'out/pipe: is a FIFO'  optimize small.onnx -o out/pipe --dry-run
prepare='mkfifo out/pipe; ln -s pipe out/model.h'
stays_fifo fifo_emit      1 'out/model\.h: is a FIFO' emit-c small.onnx -o out
stays_fifo fifo_compile_dry 1 'out/model\.h: is a FIFO' $C --out out --dry-run
stays_fifo fifo_compile   1 'out/model\.h: is a FIFO' $C --out out
prepare='mkdir elsewhere; echo old > elsewhere/real; ln -s ../elsewhere/real out/link; ln -s ../elsewhere/new out/dangling; ln -s loop out/loop'
through_link() {  # NAME LINK FILE ARGUMENT...
  local name=$1 link=$2 file=$3
  shift 3
  check "$name" 0 '.' "$@" -o "out/$link"
  if [ ! -L "$W/out/$link" ] || [ ! -f "$W/elsewhere/$file" ] || grep -qx old "$W/elsewhere/$file"; then fail "$name" "not written through the link"; fi
  if [ "$(find "$W/out" "$W/elsewhere" -name '.bevel*')" ]; then fail "$name" "a temporary was left behind"; fi
}
through_link link_optimize link     real optimize small.onnx
through_link link_quantize dangling new  $Q
through_link link_run      link     real run small.onnx --inputs bare.npz
check link_loop 1 'out/loop.*[Ll]evels of symbolic links' optimize small.onnx -o out/loop
prepare=

# Dry runs say so, and find an output folder that cannot be written.
for command in "optimize small.onnx -o out/f" "opt small.onnx --pipeline fold-constants -o out/f" "$Q -o out/f" \
               "calibrate small.onnx --calib good.json -o out/f" "emit-c small.onnx -o out"; do
  check "dry_${command%% *}" 0 'dry run, nothing written' $command --dry-run
  if [ "$(listing "$W/out")" != ./keep.txt ]; then fail "dry_${command%% *}" "a dry run wrote something"; fi
done
check dry_compile_proc  1 '/proc/'         $C --out /proc/bevel/x --dry-run
check dry_emit_proc     1 '/proc/'         emit-c small.onnx -o /proc/bevel --dry-run
check dry_absent_folder 1 'nowhere'        $Q -o nowhere/q.onnx --dry-run
check dry_budget        3 'ram'            $C --budget ram=16 --out out --dry-run
if ! grep -q 'files *none: dry run, nothing written' "$W/../stdout"; then fail dry_budget "the summary names files"; fi
if [ -e "$W/out/report.json" ]; then fail dry_budget "a dry run wrote something"; fi

# Empty and senseless values: the flag is to blame.
check empty_pipeline 2 "pipeline.*''"          opt small.onnx --pipeline '' -o out/o.onnx
check blank_pipeline 2 'pipeline|pass'         opt small.onnx --pipeline ' ' -o out/o.onnx
check empty_budget   2 "budget.*''"            $C --budget '' --out out
check empty_keep     2 "keep-float.*''"        $C --keep-float '' --out out
check samples_zero   2 "samples.*at least 1"   $C --samples 0 --out out
check samples_minus  2 'samples'               $C --samples=-1 --out out
check samples_half   2 'samples'               $C --samples 2.5 --out out
check samples_inputs 2 'samples.*--inputs'     run small.onnx --inputs bare.npz --samples 2
for extent in 2 0; do
  check "batch_compile_$extent"   2 "shape 'N=$extent'.*batch" $C --shape N=$extent --out out
  check "batch_quantize_$extent"  2 "shape 'N=$extent'.*batch" $Q --shape N=$extent -o out/q.onnx
  check "batch_calibrate_$extent" 2 "shape 'N=$extent'.*batch" calibrate small.onnx --calib good.json --shape N=$extent -o out/p
  check "batch_eval_$extent"      2 "shape 'N=$extent'.*batch" eval small.onnx --data good.json --shape N=$extent
  check "batch_run_$extent"       2 "shape 'x=${extent}x1x4x4'.*batch" run small.onnx --data good.json --shape x=${extent}x1x4x4
done
check batch_emit_0 2 "shape 'N=0'"            emit-c small.onnx --shape N=0 -o out
check batch_emit_2 0 'written'                emit-c small.onnx --shape N=2 -o out
check compare_none 5 "'x'.*no elements"       compare small.onnx small.onnx --shape N=0
check batch_one   0 'status +ok'     $C --shape N=1 --out out
check batch_whole 0 'float\[24,3\]'  run small.onnx --inputs bare.npz --shape N=24
check misspelt_command 2 "unknown command 'quantise'.*did you mean 'quantize'.*inspect" quantise small.onnx
check unknown_command  2 "unknown command 'frobnicate'.*compile, inspect" frobnicate

# Wrong inputs: what it is, and what would do.
prepare="$bevel $C --out made > /dev/null"
for command in "inspect made/model.bvl" "emit-c made/model.bvl -o out" "optimize made/model.bvl -o out/f" \
               "quantize made/model.bvl --calib good.json -o out/f" "compile made/model.bvl --target stm32l4r5 --calib good.json --out out"; do
  check "bvl_${command%% *}" 5 'model\.bvl: this is a \.bvl Program.*`run`, `eval` and `compare`' $command
done
prepare='printf "{ \"format\": \"bevel-device/1\",\n  \"name\": oops }" > dev.json'
check device_position   5 'dev\.json.*line 2, column'          compile small.onnx --target dev.json --calib good.json --out out
prepare=
check bare_uint8        5 'uint8\.npz.*bare \.npz.*description' compile small.onnx --target stm32l4r5 --calib uint8.npz --out out
check recipe_keys       5 "unknown_key\.recipe\.json.*'bits'.*precision, range"  $Q --recipe unknown_key.recipe.json -o out/q.onnx
check top3_of_three     5 'top3.*3 class'                      eval small.onnx --data top3.json
check metric_default    0 'top1'                               eval small.onnx --data no_metric.json
if ! grep -q 'note .*no_metric\.json.*top1' "$W/../stdout"; then fail metric_default "no note says so"; fi
check metric_default_compare 0 'note: no_metric\.json.*top1'   compare small.onnx small.onnx --data no_metric.json
check metric_default_compile 0 'note .*no_metric\.json.*top1'  $C --eval no_metric.json --out out
check keep_list         0 'dense .*kept in float'              $Q --keep-float Conv,Gemm -o out/q.onnx
if ! grep -q 'conv .*kept in float' "$W/../stdout"; then fail keep_list "Conv was not kept in float"; fi
check keep_list_unknown 2 "keep-float 'Konv'"                  $Q --keep-float Conv,Konv -o out/q.onnx
check run_batch         0 'one run of x float\[24,1,4,4\]'     run small.onnx --inputs bare.npz
check target_integers   0 '"ram_bytes": [0-9]+,$'              targets stm32l4r5 --json
check written_path      0 'written +\./out/full '              optimize small.onnx -o ./out/full
check written_folder    0 'written +out/model\.c '             emit-c small.onnx -o out
check uint8_note        0 'note .*int8: uint8 - 128'           $C --activations uint8 --out out
check x86_runtime       0 'note .*default session on x86-64.*runtime onnxruntime-avx2' compile small.onnx --target x86-64 --calib good.json --out out
if ! grep -q '"runtime": "onnxruntime-avx2"' "$W/out/recipe.json"; then fail x86_runtime "the recipe does not say it"; fi
check x86_any_runtime   0 'note .*x64quantprecision=1'         compile small.onnx --target x86-64 --calib good.json --runtime any --out out
check runtime_note      0 'note .*kept from saturating its 16-bit sums: [0-9]+ of [0-9]+ weights' \
                        $Q --runtime onnxruntime-avx2 -o out/q.onnx
check uint8_header      0 '.'                                  emit-c small.onnx -o out
if ! grep -q 'minus 128' "$W/out/model.h"; then fail uint8_header "model.h does not say it"; fi

# Names in full, where flags and recipes need them.
long=/backbone/stage1/block3/residual/branch_with_a_long_name/depthwise/convolution/Conv
check long_inspect 0 "$long\$"                           inspect long_name.onnx
check inspect_away 0 'passing_through +\(simplified away\)' inspect long_name.onnx
check inspect_says 0 'simplified graph: 1 of the above'  inspect long_name.onnx
check long_float   0 "  $long \(Conv\): kept in float"   quantize long_name.onnx --calib good.json --keep-float $long -o out/q.onnx

# Budgets: a limit of one's own is not the device's fault, and a proposed target meets every limit.
check own_ram       3 'The device itself has room: [0-9,]+ B; your limit is 16 B'   $C --budget ram=16 --out out
if grep -q 'known target' "$W/../stderr"; then fail own_ram "a target was proposed"; fi
check own_flash     3 'The device itself has room: [0-9,]+ B; your limit is 100 B'  $C --budget flash=100 --out out
check faster        3 'latency.*smallest known target that would fit within your limits \(latency .*\): [a-z0-9-]+\.' \
  $C --budget latency=8us --out out
check own_and_speed 3 'latency.*No known target would fit it within your limits \(ram 16 B, latency'  $C --budget ram=16,latency=8us --out out
if ! grep -q 'ram on .*The device itself has room' "$W/../stderr"; then fail own_and_speed "the ram message blames the device"; fi
prepare="$bevel targets --json > /dev/null; sed 's/\"value\": *[0-9.]*/\"value\": 64/' $source_dir/lib/target/devices/nrf52840.json > tiny.json"
check device_ram    3 'ram on .*over the device.s own 64 B.*smallest known target that would fit: [a-z0-9-]+\.' \
  compile small.onnx --target tiny.json --calib good.json --out out
prepare=

# After a failed run the folder still has an earlier run's outputs: said, not deleted.
prepare="$bevel $C --out out > /dev/null; rm out/report.*"
check left_budget 3 "An earlier run's outputs still lie in out.*model\.int8\.onnx, model\.c, model\.h, model\.bvl, recipe\.json" \
  $C --budget ram=16 --out out
prepare="$bevel $C --out out > /dev/null"
check left_input  5 "nan.*An earlier run's outputs still lie in out.*report\.json"  compile small.onnx --target stm32l4r5 --calib nan.npz --out out
prepare="$bevel emit-c small.onnx -o out > /dev/null"
check left_emit   5 "An earlier run's outputs still lie in out.*model\.c, model\.h, model\.bvl"  emit-c unknown_op.onnx -o out
prepare=
check left_none   3 'ram'  $C --budget ram=16 --out out
if grep -q 'earlier run' "$W/../stderr"; then fail left_none "outputs are named that are not there"; fi
