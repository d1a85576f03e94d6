#!/usr/bin/env bash
# The same bytes of every output: run twice, at -j1 and -j2, from another working directory, and with recipe.json fed back.
# determinism.sh BEVEL SOURCE_DIR
set -euo pipefail
bevel=$(readlink -f "$1")
data=$(readlink -f "$2")/testdata/fashion
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
samples=(--samples 100)
compile() { "$bevel" compile "$1/model.onnx" --target "$2" --calib "$1/calib.json" --eval "$1/eval.json" "${samples[@]}" "${@:3}" > /dev/null; }

for target in stm32l4r5 x86-64; do
  work=$scratch/$target
  mkdir -p "$work/elsewhere/deep"
  compile "$data" $target -j1 --out "$work/first"
  compile "$data" $target -j2 --out "$work/threads"
  (cd "$work/elsewhere/deep" && cp -r "$data" . && compile fashion $target -j2 --out ../moved)
  compile "$data" $target --recipe "$work/first/recipe.json" --out "$work/recipe"
  compile "$data" $target -j1 --out "$work/first"
  for other in threads elsewhere/moved recipe; do
    diff -rq "$work/first" "$work/$other" || { echo "FAILED: $target: outputs differ ($other)"; exit 1; }
  done
  "$bevel" calibrate "$data/model.onnx" --calib "$data/calib.json" "${samples[@]}" -j1 -o "$work/p1" > /dev/null
  "$bevel" calibrate "$data/model.onnx" --calib "$data/calib.json" "${samples[@]}" -j2 -o "$work/p2" > /dev/null
  cmp "$work/p1" "$work/p2"
  # What a profile can answer gives the same bytes from samples.
  compile "$data" $target --preset fast --range mse --out "$work/fast"
  "$bevel" quantize "$data/model.onnx" --profile "$work/p1" --target $target --preset fast --range mse -o "$work/from_profile.onnx" > /dev/null
  cmp "$work/from_profile.onnx" "$work/fast/model.int8.onnx" || { echo "FAILED: quantize --profile differs from compile"; exit 1; }
  "$bevel" emit-c "$work/first/model.int8.onnx" -o "$work/emitted" > /dev/null
  for file in model.c model.h model.bvl; do
    cmp "$work/emitted/$file" "$work/first/$file" || { echo "FAILED: emit-c differs from compile"; exit 1; }
  done
done
echo "ok"
