#!/usr/bin/env bash
# Runs a Python test with the pinned oracles (BEVEL_PYTHON, default build/venv); skips visibly when they are absent.
python=${BEVEL_PYTHON:-$(cd "$(dirname "$0")/../.." && pwd)/build/venv/bin/python}
if ! "$python" -c 'import onnxruntime' 2>/dev/null; then
  echo "SKIPPED: no Python with onnxruntime at $python; scripts/setup --tests makes it"
  exit 77
fi
exec "$python" "$@"
