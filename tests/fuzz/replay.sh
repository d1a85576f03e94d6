#!/usr/bin/env bash
# replay.sh PROGRAM TARGET ROUNDS WRITE_PROGRAMS: a target's first corpus, made anew, given to it without libFuzzer.
set -euo pipefail
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
python3 "$(dirname "$0")/make_corpus" "$2" "$scratch/corpus" "$4"
cd "$scratch"
if ! "$1" "corpus/$2" "$3"; then
  [ ! -e replay-crash ] || { echo "the input, in base64:"; base64 replay-crash; }
  exit 1
fi
