#!/usr/bin/env bash
# bvl_bytes.sh BEVEL WRITE_PROGRAMS BVL_BYTES SOURCE: the runtime's loader at every byte of the made Programs and of the fashion network.
set -euo pipefail
bevel=$1 write_programs=$2 bvl_bytes=$3 fashion=$4/testdata/fashion
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
"$write_programs" "$scratch"
"$bevel" quantize "$fashion/model.onnx" --calib "$fashion/calib.json" --samples 4 -o "$scratch/int8.onnx" > /dev/null
"$bevel" emit-c "$scratch/int8.onnx" -o "$scratch" --name fashion > /dev/null
exec "$bvl_bytes" "$scratch"/*.bvl
