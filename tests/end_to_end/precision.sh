#!/usr/bin/env bash
# --precision auto: budgets hold that int8 alone and int4 alone miss; the recipe that is written gives the same bytes, at -j1 and -j2; what cannot be
# had is said with the least that can.
# precision.sh BEVEL SOURCE_DIR
set -euo pipefail
bevel=$(readlink -f "$1")
data=$(readlink -f "$2")/testdata/fashion
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
samples=(--samples 40)
fail() { echo "FAILED: $*"; exit 1; }
compile() { "$bevel" compile "$data/model.onnx" --target stm32l4r5 --calib "$data/calib.json" "${samples[@]}" "$@"; }
quantize() { "$bevel" quantize "$data/model.onnx" --calib "$data/calib.json" "${samples[@]}" "$@"; }

# All in int8 the flash is too small, all in int4 the time is too short; some in int4 meet both.
budget=flash=50K,latency=83ms
exits() { local code=0; compile --budget $budget --out "$scratch/no" "$@" > /dev/null 2> "$scratch/err" || code=$?; echo $code; }
[ "$(exits)" = 3 ] && grep -q "budget missed: flash" "$scratch/err" || fail "int8 meets the budget on flash"
echo '{"format": "bevel-recipe/1", "defaults": {"weights": "int4"}}' > "$scratch/int4.json"
[ "$(exits --recipe "$scratch/int4.json")" = 3 ] && grep -q "budget missed: latency" "$scratch/err" || fail "int4 meets the budget on latency"
compile --budget $budget --precision auto --max-drop 20 --out "$scratch/first" -j1 > "$scratch/log" || fail "no choice meets the budget"
grep -q "status *ok" "$scratch/log" || fail "not ok"
grep -q "measured together: .* B, .* points, holds" "$scratch/log" || fail "what was measured is not said"
python3 - "$scratch/first/report.json" <<'EOF' || fail "the report's table"
import json, sys
report = json.load(open(sys.argv[1]))
assert all(row["met"] for row in report["budget"]) and {row["name"] for row in report["budget"]} >= {"flash", "latency", "ram"}, report["budget"]
precision = report["precision"]
formats = [group["format"] for group in precision["groups"]]
assert "int4" in formats and "int8" in formats, formats
assert precision["held"] and precision["drop"] <= precision["allowed"] == 20 and precision["proven"]
for group in precision["groups"]:
    assert group["why"] and group["format"] in [one["format"] for one in group["offered"]], group
assert precision["steps"] and any(step["held"] and step["drop"] == precision["drop"] for step in precision["steps"])
EOF
compile --budget $budget --precision auto --max-drop 20 --out "$scratch/threads" -j2 > /dev/null
diff -r "$scratch/first" "$scratch/threads" || fail "-j1 and -j2 differ"
compile --budget $budget --recipe "$scratch/first/recipe.json" --out "$scratch/recipe" > /dev/null
for file in model.int8.onnx model.c model.bvl recipe.json; do
  cmp "$scratch/first/$file" "$scratch/recipe/$file" || fail "the recipe gives another $file"
done

# quantize: the same search, its recipe to a file.
quantize --preset mixed --max-drop 20 --target stm32l4r5 --budget $budget --write-recipe "$scratch/q.json" -o "$scratch/q.onnx" > /dev/null
cmp "$scratch/q.json" "$scratch/first/recipe.json" || fail "quantize and compile choose differently"
cmp "$scratch/q.onnx" "$scratch/first/model.int8.onnx" || fail "quantize and compile write different models"
code=0
quantize --precision auto --target stm32l4r5 --budget flash=20K -o "$scratch/none.onnx" > /dev/null 2> "$scratch/err" || code=$?
[ $code = 3 ] && grep -q "flash: 3[0-9],[0-9]* B at least, 20,480 B allowed" "$scratch/err" || fail "a budget that nothing meets: exit $code, $(cat "$scratch/err")"
[ ! -e "$scratch/none.onnx" ] || fail "a missed budget was written"

# Single nodes in int16 run in C as they do in the model (compile compares every value), and the rest stays in 8 bits.
echo '{"format": "bevel-recipe/1", "nodes": {"/features/features.3/body/body.6/Conv": {"activations": "int16"}, "/classifier/Gemm": {"activations": "int16"}}}' > "$scratch/wide.json"
compile --recipe "$scratch/wide.json" --out "$scratch/wide" > /dev/null
grep -q "conv2d_s16" "$scratch/wide/report.json" && grep -q "dense_s16" "$scratch/wide/report.json" && grep -q "conv2d_s8" "$scratch/wide/report.json" || fail "no 16-bit steps"
echo "ok"
