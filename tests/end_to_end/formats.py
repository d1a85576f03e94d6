#!/usr/bin/env python3
"""Number formats that are for ONNX alone, and weights alone: judged by ONNX Runtime.

    formats.py BEVEL SOURCE_DIR

Of each file that `quantize` writes: it passes ONNX's checker, ONNX Runtime loads it, its outputs are near the float model's, and `run` gives
ONNX Runtime's outputs of the same file. Without the shared models: exit 77.
"""
import os
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime

# SQNR of ONNX Runtime's outputs of the written file against the float model's, and of Bevel's outputs of the same file against ONNX Runtime's.
# Float sums agree to their order; integers exactly. In half precision Bevel rounds each result; ONNX Runtime computes in float32.
FLOAT_DB, HALF_DB = 100, 35
CASES = [
    # model, flags, least against float, least against ONNX Runtime
    ("sst2", ["--activations", "float32"], 40, FLOAT_DB),
    ("sst2", ["--activations", "float32", "--weights", "int4", "--block-size", "32"], 18, FLOAT_DB),
    ("sst2", ["--activations", "float32", "--weights", "int4", "--block-size", "32", "--matmul-form", "nbits"], 18, FLOAT_DB),
    ("sst2", ["--activations", "dynamic"], 35, FLOAT_DB),
    ("sst2", ["--weights", "float16"], 60, HALF_DB),
    ("kws", ["--activations", "float32"], 30, FLOAT_DB),
    ("kws", ["--activations", "float32", "--weights", "int4"], 12, FLOAT_DB),
    ("kws", ["--activations", "dynamic"], 22, FLOAT_DB),
    ("kws", ["--weights", "float16", "--calib", "calib.json"], 50, HALF_DB),
    ("kws", ["--weights", "float8e4m3", "--activations", "float32"], 22, FLOAT_DB),
    ("kws", ["--weights", "float8e5m2", "--activations", "float32"], 18, FLOAT_DB),
    # A value near the middle of two of float8's is rounded to the one or the other by the order of a sum.
    ("kws", ["--weights", "float8e4m3", "--calib", "calib.json"], 18, 25),
    ("kws", ["--weights", "float8e5m2", "--calib", "calib.json"], 14, 20),
    ("sst2", ["--weights", "float8e4m3", "--activations", "float32"], 32, FLOAT_DB),
    ("sst2", ["--weights", "float8e4m3", "--calib", "calib.json"], 28, 45),
    ("magika", ["--activations", "float32"], 35, FLOAT_DB - 20),
    # Without samples its products overflow float16 in Bevel; with them they are islands.
    ("magika", ["--weights", "float16", "--calib", "eval.json"], 45, 30),
]
ROWS = 8


def session(path):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.add_session_config_entry("session.x64quantprecision", "1")
    # Else ONNX Runtime rounds what products with dequantized weights read to 8 bits.
    options.add_session_config_entry("session.qdq_matmulnbits_accuracy_level", "1")
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def feeds_of(model, folder):
    data = np.load(folder / "eval.npz")
    free = [name for name in data.files if name != "labels"]
    feeds = {}
    for value in model.get_inputs():
        name = value.name if value.name in data else next(n for n in free if data[n].ndim == len(value.shape))
        kind = {"tensor(float)": np.float32, "tensor(int64)": np.int64, "tensor(int32)": np.int32}[value.type]
        feeds[value.name] = data[name][:ROWS].astype(kind)
    return feeds


def by_rows(model, feeds):
    fixed = any(isinstance(value.shape[0], int) for value in model.get_inputs())
    steps = [slice(i, i + 1) for i in range(ROWS)] if fixed else [slice(None)]
    return [np.concatenate(one) for one in zip(*(model.run(None, {k: v[s] for k, v in feeds.items()}) for s in steps))]


def decibels(reference, value):
    reference, value = reference.astype(np.float64), value.astype(np.float64)
    return 10 * np.log10((reference ** 2).sum() / max(((reference - value) ** 2).sum(), 1e-300))


def main():
    bevel, source = sys.argv[1], pathlib.Path(sys.argv[2])
    models = pathlib.Path(os.environ.get("BEVEL_SHARED", source / "../shared")) / "models"
    if not (models / "sst2").exists():
        print(f"SKIPPED: no shared models at {models}")
        sys.exit(77)
    failures = 0
    with tempfile.TemporaryDirectory() as scratch:
        out, given, got = (pathlib.Path(scratch) / name for name in ("q.onnx", "in.npz", "out.npz"))
        for name, flags, least_float, least_same in CASES:
            folder = models / name
            paths = [str(folder / flag) if flag.endswith(".json") else flag for flag in flags]
            subprocess.run([bevel, "quantize", folder / "model.onnx", *paths, "--eval", folder / "eval.json", "--samples", "16", "-o", out],
                           check=True, stdout=subprocess.DEVNULL)
            onnx.checker.check_model(onnx.load(out), full_check="nbits" not in flags)
            reference, written = session(folder / "model.onnx"), session(out)
            feeds = feeds_of(reference, folder)
            expected, judged = by_rows(reference, feeds), by_rows(written, feeds)
            np.savez(given, **feeds)
            subprocess.run([bevel, "run", out, "--inputs", given, "-o", got], check=True, stdout=subprocess.DEVNULL)
            outputs = np.load(got)
            for value, wanted, ours in zip(written.get_outputs(), expected, judged):
                against_float = decibels(wanted, ours)
                same_file = decibels(ours, outputs[value.name])
                bad = not (against_float >= least_float and same_file >= least_same)
                failures += bad
                print(f"{'FAILED ' if bad else ''}{name} {' '.join(flags)}: {value.name}: {against_float:.1f} dB against float, "
                      f"{same_file:.1f} dB between Bevel and ONNX Runtime")
        # No kernels there: Bevel alone judges, and says so.
        ran = subprocess.run([bevel, "quantize", models / "kws/model.onnx", "--weights", "bfloat16", "--eval", models / "kws/eval.json", "--samples", "16",
                              "-o", out], check=True, stdout=subprocess.PIPE, text=True)
        if "by Bevel alone" not in ran.stdout or "checked    against its source" not in ran.stdout:
            failures += 1
            print(f"FAILED kws bfloat16: the summary does not say who checked it:\n{ran.stdout}")
        onnx.checker.check_model(onnx.load(out), full_check=True)
        # The C runtime has no such numbers.
        for model, flags in (("model.onnx", ["--weights", "float8e4m3", "--activations", "float32"]),):
            subprocess.run([bevel, "quantize", models / "kws" / model, *flags, "-o", out], check=True, stdout=subprocess.DEVNULL)
            refused = subprocess.run([bevel, "emit-c", out, "-o", pathlib.Path(scratch) / "c"], stderr=subprocess.PIPE, text=True)
            if refused.returncode != 5 or "float8" not in refused.stderr:
                failures += 1
                print(f"FAILED emit-c of float8 weights: exit {refused.returncode}: {refused.stderr}")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
