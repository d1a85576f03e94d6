#!/usr/bin/env python3
"""The same integers everywhere: evaluator on model.int8.onnx, C runtime on model.bvl, and the emitted C on every compiler and
machine that scripts/check-emitted-c finds here.

    bits.py BEVEL SOURCE_DIR [NETWORK...]

The bundled network always; the others where the shared models are. Three of them also with int4 weights and with int16 activations, the
transformer with int4 weights in blocks.
BEVEL_BITS_SAMPLES: how many samples (20).
"""

import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "oracle"))
import other_integers  # noqa: E402
from data import Data  # noqa: E402

# network -> target and, where dimensions are open, what binds them
NETWORKS = {"fashion": ["stm32l4r5"], "resnet8": ["stm32h743"], "vww": ["stm32h743"], "kws": ["nrf52840"], "ad": ["nrf52840"],
            "fmnist_vgg": ["rpi4"], "sst2": ["stm32h743", "--shape", "seq=48"]}


OTHER_INTEGERS = ("fashion", "resnet8", "kws")
BLOCKS = ("sst2",)


def port(header, direction, constant, index=0):
    found = re.search(rf"MODEL_{direction}_{index}_{constant} (\S+)$", header, re.M)
    value = found and found.group(1).strip("()u")
    return value and (float.fromhex(value.rstrip("f")) if "x" in value else int(value))


def input_bytes(header, feed):
    """The sample's inputs as the Program holds them: quantized, or (integers of the model) as they are."""
    held = b""
    for index, x in enumerate(feed.values()):
        scale = port(header, "INPUT", "SCALE", index)
        if scale:
            wide = port(header, "INPUT", "BYTES", index) == 2 * port(header, "INPUT", "SIZE", index)
            x = quantize(x, scale, port(header, "INPUT", "ZERO_POINT", index), np.int16 if wide else np.int8)
        held += x.tobytes()
    return held


def quantize(x, scale, zero_point, dtype):
    limits = np.iinfo(dtype)
    return np.clip(np.rint(x.astype(np.float32) / np.float32(scale)) + zero_point, limits.min, limits.max).astype(dtype)


def check(bevel, source, name, out, onnx_file, data):
    """Failures of the network in `out`: onnx_file by the evaluator, model.bvl by the runtime, model.c by every compiler."""
    header = (out / "model.h").read_text()
    out_scale, out_zero = port(header, "OUTPUT", "SCALE"), port(header, "OUTPUT", "ZERO_POINT")
    out_dtype = np.int16 if port(header, "OUTPUT", "BYTES") == 2 * port(header, "OUTPUT", "SIZE") else np.int8
    inputs, outputs, differing = b"", b"", 0
    for i in range(data.count):
        feed = data.sample(i)
        np.savez(out / "in.npz", **feed)
        results = []
        for file, extra in ((onnx_file, []), ("model.bvl", ["--raw"])):
            subprocess.run([bevel, "run", out / file, "--inputs", out / "in.npz", "-o", out / "out.npz", *extra],
                           check=True, stdout=subprocess.DEVNULL)
            (value,) = np.load(out / "out.npz").values()
            results.append(value)
        evaluator = quantize(results[0], out_scale, out_zero, out_dtype)
        runtime = results[1]
        if runtime.dtype == np.uint8:
            runtime = (runtime.astype(np.int16) - 128).astype(np.int8)
        assert runtime.dtype == out_dtype
        differing += int((evaluator != runtime).sum())
        inputs += input_bytes(header, feed)
        outputs += runtime.tobytes()
    print(f"{name}: evaluator and runtime differ in {differing} of {len(outputs) // np.dtype(out_dtype).itemsize} integers", flush=True)
    (out / "inputs.bin").write_bytes(inputs)
    (out / "outputs.bin").write_bytes(outputs)
    return (differing > 0) + (subprocess.run([source / "scripts/check-emitted-c", out]).returncode != 0)


def main():
    bevel, source = pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2]).resolve()
    models = pathlib.Path(os.environ.get("BEVEL_SHARED", source.parent / "shared")) / "models"
    folders = {"fashion": source / "testdata/fashion"}
    if models.is_dir():
        folders |= {network: models / network for network in NETWORKS if network not in folders}
    else:
        print(f"SKIPPED but for the bundled network: {models} is absent (set BEVEL_SHARED)", flush=True)
    samples = int(os.environ.get("BEVEL_BITS_SAMPLES", "20"))
    failures = 0
    for network in sys.argv[3:] or folders:
        folder = folders[network]
        with tempfile.TemporaryDirectory() as scratch:
            out = pathlib.Path(scratch) / "out"
            subprocess.run([bevel, "compile", folder / "model.onnx", "--target", *NETWORKS[network], "--calib", folder / "calib.json",
                            "--eval", folder / "eval.json", "--samples", "50", "--out", out], check=True, stdout=subprocess.DEVNULL)
            data = Data(str(folder / "eval.json"), samples)
            failures += check(bevel, source, network, out, "model.int8.onnx", data)
            for kind in other_integers.KINDS if network in OTHER_INTEGERS else ():
                other = pathlib.Path(scratch) / kind
                other.mkdir()
                other_integers.write(kind, out / "model.int8.onnx", other / "model.onnx")
                emitted = subprocess.run([bevel, "emit-c", other / "model.onnx", "-o", other, "--name", "model", "--json"], check=True,
                                         capture_output=True, text=True)
                floats = json.loads(emitted.stdout).get("stays_float", [])
                failures += check(bevel, source, f"{network} {kind}", other, "model.onnx", data)
                if floats:
                    print(f"{network} {kind}: in float: {floats}")
                    failures += 1
            if network in BLOCKS:
                other = pathlib.Path(scratch) / "blocks"
                other.mkdir()
                subprocess.run([bevel, "quantize", folder / "model.onnx", "--weights", "int4", "--block-size", "32", "--calib", folder / "calib.json",
                                "--samples", "50", "-o", other / "model.onnx"], check=True, stdout=subprocess.DEVNULL)
                emitted = subprocess.run([bevel, "emit-c", other / "model.onnx", *NETWORKS[network][1:], "-o", other, "--name", "model", "--json"],
                                         check=True, capture_output=True, text=True)
                products = [row for row in json.loads(emitted.stdout)["stays_float"] if row["op"] in ("MatMul", "Gemm")]
                failures += check(bevel, source, f"{network} int4 blocks", other, "model.onnx", data)
                if products:
                    print(f"{network} int4 blocks: products in float: {products}")
                    failures += 1
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
