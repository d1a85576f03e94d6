#!/usr/bin/env python3
"""Wall time and peak memory of calibrating and quantizing effnet_lite0, beside ONNX Runtime's quantize_static.

    scripts/bench quantize [--bevel PATH] [--images 100] [--skip-percentile]

Bevel: `calibrate` + `quantize --profile`, whose built-in check runs on a few seeded random inputs; verification on the images is timed
apart, as `compare`. ONNX Runtime: quant_pre_process, then quantize_static, MinMax on the same images and
Percentile on 20. Each contender runs in a process of its own; its peak memory is that process's ru_maxrss. Bevel is also run on
20 images: its peak must not grow with their number.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
SHARED = pathlib.Path(os.environ.get("BEVEL_SHARED", ROOT.parent / "shared"))
MODEL = SHARED / "models/effnet_lite0/model.onnx"
CALIBRATION = SHARED / "models/imagenet/effnet_lite0_calib.json"


# Run in a process of its own for each contender, so that none inherits another's maximum: prints seconds, peak bytes and what the
# contender printed.
WRAPPER = """
import json, resource, subprocess, sys, time
started = time.monotonic()
done = subprocess.run(sys.argv[1:], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
usage = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps({"seconds": time.monotonic() - started, "cpu": usage.ru_utime + usage.ru_stime, "code": done.returncode,
                  "peak": usage.ru_maxrss * 1024,
                  "out": done.stdout.decode(errors="replace"), "err": done.stderr.decode(errors="replace")[-2000:]}))
"""


def measured(command):
    command = [str(word) for word in command]
    wrapped = subprocess.run([sys.executable, "-c", WRAPPER, *command], capture_output=True, text=True, check=True)
    result = json.loads(wrapped.stdout)
    if result["code"] != 0:
        sys.exit(f"{' '.join(command)}: exit {result['code']}\n{result['err']}")
    return result


def onnxruntime_side(method, images, folder):
    """Runs inside a process of its own: pre-process and quantize; prints the seconds of both."""
    sys.path.insert(0, str(ROOT / "tests/oracle"))
    from data import Data
    from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):
        def __init__(self):
            self.data, self.next = Data(str(CALIBRATION), images), 0

        def get_next(self):
            if self.next >= self.data.count:
                return None
            self.next += 1
            return self.data.sample(self.next - 1)

    prepared = os.path.join(folder, "prepared.onnx")
    started = time.monotonic()
    quant_pre_process(str(MODEL), prepared, skip_symbolic_shape=True)  # the symbolic one needs another package
    between = time.monotonic()
    quantize_static(prepared, os.path.join(folder, "ort.onnx"), Reader(), quant_format=QuantFormat.QDQ, per_channel=True,
                    activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
                    calibrate_method=getattr(CalibrationMethod, method))
    print(json.dumps({"prepare": between - started, "quantize": time.monotonic() - between}))


def row(name, seconds, result, note=""):
    """Wall seconds, processor seconds of the whole process (they tell a busy machine from slow code), peak memory."""
    print(f"{name:<44} {seconds:8.1f} s {result['cpu']:8.1f} s CPU {result['peak'] / 1e6:9.0f} MB   {note}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bevel", type=pathlib.Path, default=ROOT / "build/release/bevel")
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--skip-percentile", action="store_true")
    parser.add_argument("--onnxruntime", nargs=3, metavar=("METHOD", "IMAGES", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.onnxruntime:
        onnxruntime_side(options.onnxruntime[0], int(options.onnxruntime[1]), options.onnxruntime[2])
        return 0
    if not MODEL.exists():
        print(f"skipped: {MODEL} is absent (set BEVEL_SHARED)")
        return 77
    if not options.bevel.exists():
        sys.exit(f"{options.bevel}: absent; scripts/build release bevel")

    with tempfile.TemporaryDirectory() as folder:
        totals = {}
        for images in (20, options.images):
            profile, out = os.path.join(folder, "p"), os.path.join(folder, "int8.onnx")
            calibrate = measured([options.bevel, "calibrate", MODEL, "--calib", CALIBRATION, "--samples", images, "-o", profile])
            quantize = measured([options.bevel, "quantize", MODEL, "--profile", profile, "--target", "rpi4", "-o", out])
            peak = max(calibrate["peak"], quantize["peak"])
            totals[images] = (calibrate["seconds"] + quantize["seconds"], peak)
            row(f"bevel calibrate, {images} images", calibrate["seconds"], calibrate)
            row("bevel quantize --profile (with its check)", quantize["seconds"], quantize)
        verify = measured([options.bevel, "compare", MODEL, out, "--data", CALIBRATION, "--samples", options.images])
        row(f"bevel compare, {options.images} images (apart)", verify["seconds"], verify)

        def peer(method, images):
            result = measured([sys.executable, __file__, "--onnxruntime", method, images, folder])
            times = json.loads(result["out"].strip().splitlines()[-1])
            row(f"onnxruntime {method}, {images} images", times["quantize"], result, f"after {times['prepare']:.1f} s of pre-processing")
            return times["quantize"] + times["prepare"], result["peak"]

        minmax = peer("MinMax", options.images)
        if not options.skip_percentile:
            peer("Percentile", 20)

    seconds, peak = totals[options.images]
    growth = peak / totals[20][1] - 1
    print(f"\ntime  bevel / onnxruntime MinMax: {seconds / minmax[0]:.2f}   (at most 1)")
    print(f"peak  bevel / onnxruntime MinMax: {peak / minmax[1]:.2f}   (below 0.5)")
    print(f"peak  20 -> {options.images} images: {growth:+.1%}   (within 5 %)")
    return 0 if seconds <= minmax[0] and peak < 0.5 * minmax[1] and abs(growth) <= 0.05 else 1


if __name__ == "__main__":
    sys.exit(main())
