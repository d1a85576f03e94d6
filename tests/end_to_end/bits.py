#!/usr/bin/env python3
"""The same integers everywhere: evaluator on model.int8.onnx, C runtime on model.bvl, and the emitted C on every compiler and
machine that scripts/check-emitted-c finds here.

    bits.py BEVEL SOURCE_DIR [NETWORK...]

The bundled network always; the others where the shared models are. BEVEL_BITS_SAMPLES: how many samples (20).
"""

import os
import pathlib
import re
import subprocess
import sys
import tempfile

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "oracle"))
from data import Data  # noqa: E402

# network -> target
NETWORKS = {"fashion": "stm32l4r5", "resnet8": "stm32h743", "vww": "stm32h743", "kws": "nrf52840", "ad": "nrf52840",
            "fmnist_vgg": "rpi4"}


def port(header, direction, constant):
    value = re.search(rf"MODEL_{direction}_0_{constant} (\S+)$", header, re.M).group(1).strip("()")
    return float.fromhex(value.rstrip("f")) if "x" in value else int(value)


def quantize(x, scale, zero_point):
    return np.clip(np.rint(x.astype(np.float32) / np.float32(scale)) + zero_point, -128, 127).astype(np.int8)


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
            subprocess.run([bevel, "compile", folder / "model.onnx", "--target", NETWORKS[network], "--calib", folder / "calib.json",
                            "--eval", folder / "eval.json", "--samples", "50", "--out", out], check=True, stdout=subprocess.DEVNULL)
            header = (out / "model.h").read_text()
            in_scale, in_zero = port(header, "INPUT", "SCALE"), port(header, "INPUT", "ZERO_POINT")
            out_scale, out_zero = port(header, "OUTPUT", "SCALE"), port(header, "OUTPUT", "ZERO_POINT")
            data = Data(str(folder / "eval.json"), samples)
            inputs, outputs, differing = b"", b"", 0
            for i in range(data.count):
                feed = data.sample(i)
                np.savez(out / "in.npz", **feed)
                results = []
                for file, extra in (("model.int8.onnx", []), ("model.bvl", ["--raw"])):
                    subprocess.run([bevel, "run", out / file, "--inputs", out / "in.npz", "-o", out / "out.npz", *extra],
                                   check=True, stdout=subprocess.DEVNULL)
                    (value,) = np.load(out / "out.npz").values()
                    results.append(value)
                evaluator = quantize(results[0], out_scale, out_zero)
                runtime = results[1].astype(np.int16)
                runtime = (runtime - 128 if results[1].dtype == np.uint8 else runtime).astype(np.int8)
                differing += int((evaluator != runtime).sum())
                (x,) = feed.values()
                inputs += quantize(x, in_scale, in_zero).tobytes()
                outputs += runtime.tobytes()
            print(f"{network}: evaluator and runtime differ in {differing} of {len(outputs)} integers", flush=True)
            failures += differing > 0
            (out / "inputs.bin").write_bytes(inputs)
            (out / "outputs.bin").write_bytes(outputs)
            failures += subprocess.run([source / "scripts/check-emitted-c", out]).returncode != 0
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
