#!/usr/bin/env bash
# The bundled model through the whole road: files, figures, hashes, and the .bvl's metric against the report's.
# fashion.sh BEVEL SOURCE_DIR
set -euo pipefail
bevel=$1
data=$2/testdata/fashion
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
out=$scratch/out
# 1 point below float: what sound ranges and per-channel scales lose on this network is a few samples in a thousand.
"$bevel" compile "$data/model.onnx" --target stm32l4r5 --calib "$data/calib.json" --eval "$data/eval.json" --max-drop 1 --out "$out"

expected='model.bvl model.c model.h model.int8.onnx recipe.json report.json report.md'
found=$(cd "$out" && ls -A | LC_ALL=C sort | tr '\n' ' ')
[ "$found" = "$expected " ] || { echo "FAILED: files are: $found"; exit 1; }

for file in model.bvl model.c model.h model.int8.onnx recipe.json report.md; do
  hash=$(sha256sum "$out/$file" | cut -d' ' -f1)
  grep -q "\"$file\": \"$hash\"" "$out/report.json" || { echo "FAILED: report.json does not hold the hash of $file"; exit 1; }
done
for key in metric sqnr_db agreement sizes ram flash stack latency energy budget layers stays_float target samples calibration; do
  grep -q "^  \"$key\":" "$out/report.json" || { echo "FAILED: report.json lacks $key"; exit 1; }
done
grep -q '"status": "ok"' "$out/report.json" || { echo "FAILED: status"; exit 1; }
if grep -qE "$scratch|$(hostname)|$(date +%Y)-" "$out"/report.* "$out/recipe.json" "$out/model.h"; then
  echo "FAILED: an output holds a path, the host or a date"; exit 1
fi

metric_of() { "$bevel" eval "$1" --data "$data/eval.json" --json | sed -n 's/.*"value": \([0-9.]*\).*/\1/p'; }
runtime=$(sed -n 's/.*"runtime": \([0-9.]*\).*/\1/p' "$out/report.json" | head -1)
for file in model.bvl model.int8.onnx; do
  value=$(metric_of "$out/$file")
  [ "$value" = "$runtime" ] || { echo "FAILED: eval of $file gives $value, the report says $runtime"; exit 1; }
done
# A quarter of the weights, and the QDQ nodes, which weigh much in a network of 40 k parameters: 0.50 measured.
ratio=$(awk -v a="$(stat -c %s "$out/model.int8.onnx")" -v b="$(stat -c %s "$data/model.onnx")" 'BEGIN {print (a < 0.55 * b)}')
[ "$ratio" = 1 ] || { echo "FAILED: model.int8.onnx is not near half of the float file"; exit 1; }
# A model that is quantized already passes through as it is, and layers kept in float bring it nearer to its source, not further away.
"$bevel" optimize "$out/model.int8.onnx" --data "$data/eval.json" --samples 50 -o "$scratch/again.onnx" | grep -q 'SQNR identical' ||
  { echo "FAILED: optimize of model.int8.onnx is not identical to it"; exit 1; }
sqnr_of() {
  "$bevel" quantize "$data/model.onnx" --calib "$data/calib.json" --eval "$data/eval.json" -o "$scratch/q.onnx" --json "$@" |
    sed -n 's/.*"sqnr_db": \([0-9.]*\).*/\1/p'
}
all=$(sqnr_of)
kept=$(sqnr_of --keep-float Conv --keep-float Gemm)
[ "$(awk -v a="$kept" -v b="$all" 'BEGIN {print (a + 0 >= b + 0 && b + 0 > 0)}')" = 1 ] ||
  { echo "FAILED: SQNR $kept dB with Conv and Gemm in float, $all dB without"; exit 1; }
# The C compiles by itself, with the strict flags that it promises.
gcc -std=c11 -Wall -Wextra -Wconversion -Werror -O2 -c "$out/model.c" -o "$scratch/model.o"
echo "ok"
