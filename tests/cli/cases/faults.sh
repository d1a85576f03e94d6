# Old or new, never half, at every call that changes the file system: SIGKILL before it, SIGKILL after it (after half of a write),
# ENOSPC and EIO from it (half of a write done). The calls are counted and broken by a shim before the C library
# (tests/robustness/faults.c). After a kill the next run must succeed; after an error nothing of the attempt may be left.
if ! gcc -shared -fPIC -O1 -o "$scratch/faults.so" "$here/../robustness/faults.c" -ldl 2> "$scratch/shim.log"; then
  echo "SKIPPED: the shim does not compile: $(head -1 "$scratch/shim.log")"
  exit 77
fi
export ASAN_OPTIONS=verify_asan_link_order=0:detect_leaks=0
# The inner shell waits for the command, so that what it says of a kill goes nowhere.
faulty() { (cd "$W" && LD_PRELOAD=$scratch/faults.so "$bevel" "$@" > "$W/../stdout" 2> "$W/../stderr" < /dev/null; exit $?) 2> /dev/null; }

# every_fault NAME OUTPUTS OLD_ARGUMENTS -- NEW_ARGUMENTS: runs the command with the new arguments over the outputs of the old ones.
every_fault() {
  local name=$1 outputs=$2 old=() calls at fault code output problem whole=1
  shift 2
  while [ "$1" != -- ]; do old+=("$1"); shift; done
  shift
  fresh
  (cd "$W" && "$bevel" "${old[@]}" > /dev/null) || { fail "$name" "the old version failed"; return; }
  rm -rf "$scratch/old" "$scratch/new"
  cp -r "$W/out" "$scratch/old"
  FAULT_AT=0 FAULT_COUNT=$scratch/calls faulty "$@" || { fail "$name" "the new version failed"; return; }
  cp -r "$W/out" "$scratch/new"
  calls=$(cat "$scratch/calls")
  if [ "$calls" -lt 5 ]; then fail "$name" "only $calls calls were counted"; return; fi
  for fault in kill after ENOSPC EIO; do
    for at in $(seq 1 "$calls"); do
      rm -rf "$W/out"
      cp -r "$scratch/old" "$W/out"
      FAULT_AT=$at FAULT=$fault FAULT_SHORT=1 faulty "$@"
      code=$?
      problem=
      for output in $outputs; do
        cmp -s "$W/out/$output" "$scratch/old/$output" || cmp -s "$W/out/$output" "$scratch/new/$output" || problem="$output is neither old nor new"
      done
      if [ "$(cat "$W/out/keep.txt")" != "was here before" ]; then problem="keep.txt changed"; fi
      case $fault in
        kill | after)
          [ $code = 137 ] || problem="exit $code, expected the kill"
          (cd "$W" && "$bevel" "$@" > /dev/null 2>&1) || problem="the next run failed"
          for output in $outputs; do cmp -s "$W/out/$output" "$scratch/new/$output" || problem="after the next run $output is not new"; done
          ;;
        *)
          # Syncing a folder may fail on file systems that cannot, and is then not an error: exit 0 with everything new.
          if [ $code = 0 ]; then
            for output in $outputs; do cmp -s "$W/out/$output" "$scratch/new/$output" || problem="exit 0, but $output is not new"; done
          elif [ $code != 1 ]; then problem="exit $code, expected 1"
          elif [ "$(wc -l < "$W/../stderr")" != 1 ]; then problem="stderr is not one paragraph"; fi
          if [ -n "$(find "$W/out" -name '.bevel-*')" ]; then problem="something of the attempt is left"; fi
          ;;
      esac
      if [ -n "$problem" ]; then fail "$name, $fault at call $at of $calls" "$problem"; whole=0; fi
    done
  done
  [ $whole = 1 ] && passed=$((passed + 1))
}

C="compile small.onnx --target stm32l4r5 --calib good.json --out out"
every_fault compile "model.bvl model.c model.h model.int8.onnx recipe.json report.json report.md" $C -- $C --range percentile:90
every_fault optimize "o.onnx" optimize small.onnx -o out/o.onnx -- opt small.onnx --pipeline "eliminate-dead" -o out/o.onnx
every_fault emit-c "m.c m.h m.bvl" emit-c small.onnx -o out --name m -- emit-c small.onnx -o out --name m --io float
