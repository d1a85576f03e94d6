#!/usr/bin/env python3
"""Float evaluation on one thread, beside ONNX Runtime's with one thread.

    scripts/bench eval [--bevel PATH] [--rounds 7] [--models a,b]

They take turns on one core, round by round; each round runs a model for about half a second in each. ONNX Runtime simplifies a model
when it loads it; Bevel evaluates a model as it stands and simplifies in `bevel optimize`: it is timed on both files. Printed per model:
the least times of one inference, and Bevel's over ONNX Runtime's, by the least and by the median; below, the geometric means of the
former.
"""

import argparse
import json
import math
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
SHARED = pathlib.Path(os.environ.get("BEVEL_SHARED", ROOT.parent / "shared"))
MODELS = ["resnet8", "vww", "kws", "squeezenet", "effnet_lite0", "fmnist_vgg", "sst2"]
SHAPES = {"sst2": {"batch_size": 1, "sequence_length": 32}}  # symbols other than the batch
SECONDS = 0.5


def model_file(name):
    folder = SHARED / "models" / name
    files = [folder / f"{name}.onnx", folder / "model.onnx"] + sorted(folder.glob("*.onnx"))
    return next((file for file in files if file.exists()), None)


def sample(session, bindings):
    """One random sample."""
    import numpy
    rng = numpy.random.default_rng(1)
    feeds = {}
    for port in session.get_inputs():
        shape = [extent if isinstance(extent, int) else bindings.get(extent, 1) for extent in port.shape]
        if port.type == "tensor(int64)":
            feeds[port.name] = rng.integers(0, 2, shape)
        else:
            feeds[port.name] = rng.standard_normal(shape).astype(numpy.float32)
    return feeds


def bevel(program, *arguments):
    done = subprocess.run([str(word) for word in (program, *arguments)], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, arguments))}: {done.stderr}")
    return done.stdout


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--bevel", default=ROOT / "build/release/bevel")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--models", default=",".join(MODELS))
    arguments = parser.parse_args()
    if not SHARED.is_dir():
        sys.exit(f"skipped: {SHARED} is absent (BEVEL_SHARED names another place)")
    import numpy
    import onnxruntime
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # inherited by Bevel
    print(f"{'model':<14} {'ORT':>10} {'as it is':>10} {'ratio':>6} {'median':>6} {'optimized':>10} {'ratio':>6} {'median':>6}", flush=True)
    ratios = [[], []]
    for name in arguments.models.split(","):
        path = model_file(name)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        feeds = sample(session, SHAPES.get(name, {}))
        with tempfile.TemporaryDirectory() as folder:
            data, optimized = os.path.join(folder, "sample.npz"), os.path.join(folder, "optimized.onnx")
            numpy.savez(data, **feeds)
            bevel(arguments.bevel, "optimize", path, "-o", optimized)
            session.run(None, feeds)
            started = time.perf_counter()
            session.run(None, feeds)
            repeat = max(3, int(SECONDS / (time.perf_counter() - started)))
            ours, theirs = [[], []], []
            for _ in range(arguments.rounds):
                for _ in range(repeat):
                    started = time.perf_counter()
                    session.run(None, feeds)
                    theirs.append(time.perf_counter() - started)
                for times, file in zip(ours, (path, optimized)):
                    times.append(json.loads(bevel(arguments.bevel, "bench", file, "--data", data, "--repeat", repeat, "--json"))["seconds"])
        line = f"{name:<14} {min(theirs) * 1e3:7.3f} ms"
        for times, collected in zip(ours, ratios):
            least, median = min(row["minimum"] for row in times), statistics.median(row["median"] for row in times)
            collected.append(least / min(theirs))
            line += f" {least * 1e3:7.3f} ms {collected[-1]:6.2f} {median / statistics.median(theirs):6.2f}"
        print(line, flush=True)
    means = [math.exp(statistics.fmean(map(math.log, collected))) for collected in ratios]
    print(f"geometric mean of the ratios of the least times: as it is {means[0]:.2f}, optimized {means[1]:.2f}")


if __name__ == "__main__":
    main()
