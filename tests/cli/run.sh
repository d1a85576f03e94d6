#!/usr/bin/env bash
# Runs one file of command-line cases: run.sh BEVEL CASES.sh
#
# A case is a line:   check NAME EXIT 'FRAGMENT' [ARGUMENT...]
# It runs `bevel ARGUMENT...` in a fresh folder $W that holds the models (models/*.txtpb, encoded by protoc) and the data of this
# directory, and an output folder `out` with one file in it. FRAGMENT (a grep -E pattern) must be on stderr, or on stdout when EXIT is 0.
# For every other exit code: stdout is empty and stderr is one paragraph (3 and 4 print their summary too), and `out` is as it was,
# but for report.json and report.md on 3 and 4. `prepare` is run in $W before the case: set it, or leave it empty.
set -uo pipefail
bevel=$(readlink -f "$1")
cases=$(readlink -f "$2")
here=$(cd "$(dirname "$0")" && pwd)
source_dir=$(cd "$here/../.." && pwd)
fashion=$source_dir/testdata/fashion
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
export NO_COLOR=1
passed=0
failed=0
prepare=

proto=/usr/include/onnx/onnx.proto
if [ ! -f "$proto" ] || ! command -v protoc >/dev/null; then
  echo "SKIPPED: the models of these tests are encoded by protoc with $proto (scripts/setup installs both)"
  exit 77
fi
mkdir "$scratch/inputs"
for text in "$here"/models/*.txtpb; do
  protoc --encode=onnx.ModelProto -I/usr/include/onnx onnx.proto < "$text" > "$scratch/inputs/$(basename "$text" .txtpb).onnx" || exit 1
done
cp "$here"/data/* "$scratch/inputs/"

fail() {
  echo "FAILED $1: $2"
  sed 's/^/    stderr: /' "$W/../stderr" | head -5
  sed 's/^/    stdout: /' "$W/../stdout" | head -5
  failed=$((failed + 1))
}

fresh() {
  rm -rf "$scratch/work"
  cp -r "$scratch/inputs" "$scratch/work"
  W=$scratch/work
  mkdir "$W/out"
  echo "was here before" > "$W/out/keep.txt"
}

listing() { (cd "$1" && find . -mindepth 1 | LC_ALL=C sort); }

check() {
  local name=$1 expected=$2 fragment=$3
  shift 3
  fresh
  if [ -n "$prepare" ]; then (cd "$W" && eval "$prepare"); fi
  local before after code
  before=$(listing "$W")
  (cd "$W" && eval "${limit:-}" && timeout 300 "$bevel" "$@") > "$W/../stdout" 2> "$W/../stderr" < /dev/null
  code=$?
  after=$(listing "$W")
  if [ "$code" != "$expected" ]; then fail "$name" "exit $code, expected $expected"; return; fi
  if [ "$expected" = 0 ]; then
    if ! grep -qE -- "$fragment" "$W/../stdout"; then fail "$name" "stdout lacks '$fragment'"; return; fi
  else
    if ! grep -qE -- "$fragment" "$W/../stderr"; then fail "$name" "stderr lacks '$fragment'"; return; fi
    if [ "$expected" = 3 ] || [ "$expected" = 4 ]; then
      after=$(grep -vxE '\./out/report\.(json|md)' <<< "$after")
    else
      if [ -s "$W/../stdout" ]; then fail "$name" "stdout is not empty"; return; fi
      if [ "$(wc -l < "$W/../stderr")" != 1 ]; then fail "$name" "stderr is not one paragraph"; return; fi
    fi
    if [ "$before" != "$after" ]; then
      diff <(echo "$before") <(echo "$after") | head -5
      fail "$name" "files changed"
      return
    fi
  fi
  if [ "$(cat "$W/out/keep.txt")" != "was here before" ]; then fail "$name" "out/keep.txt changed"; return; fi
  passed=$((passed + 1))
}

. "$cases"
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
