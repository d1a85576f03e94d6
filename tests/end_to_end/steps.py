#!/usr/bin/env python3
"""Each step of an int8 model, fed the integers that ONNX Runtime had before it: at most one quantization step apart from it.

    steps.py BEVEL SOURCE_DIR [NETWORK...]

The bundled network always; the others where the shared models are (exit 77 without them). BEVEL_STEPS_SAMPLES: how many
samples (2). docs/rounding.md says which operators may differ and why.
"""

import os
import pathlib
import subprocess
import sys
import tempfile

import onnx

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "oracle"))
from data import Data  # noqa: E402
from stepwise import compare  # noqa: E402

# network -> target; both dtypes of activations are among them
NETWORKS = {"fashion": "x86-64", "resnet8": "stm32h743", "vww": "stm32h743", "kws": "nrf52840", "ad": "nrf52840", "fmnist_vgg": "x86-64"}
MOST_APART = 1  # quantization steps, at any element of any step
# A few elements in a million lie where float32's order of operations decides (docs/rounding.md); a formula that differs shows in
# many more. Measured with BEVEL_STEPS_SAMPLES=8: none but 2 of vww's 2,298,912.
MOST_DIFFERING = 1e-5
FEW = 2  # of a network with few elements


def judge(bevel, folder, target, samples):
    """One network: what was compared, and what is wrong with it."""
    with tempfile.TemporaryDirectory() as scratch:
        model = pathlib.Path(scratch) / "model.int8.onnx"
        subprocess.run([bevel, "quantize", folder / "model.onnx", "--calib", folder / "calib.json", "--target", target,
                        "--samples", "40", "-o", model], check=True, stdout=subprocess.DEVNULL)
        result = compare(bevel, model, Data(str(folder / "eval.json"), samples))
        # Past the last QuantizeLinear only DequantizeLinear and moves of data may follow: they belong to no step.
        tail = len(onnx.load(model).graph.node) - result.nodes
        outputs = len(onnx.load(model).graph.output)
    wrong = []
    if result.steps == 0 or result.elements == 0:
        wrong.append("nothing was compared")
    if tail > outputs:
        wrong.append(f"{tail} nodes belong to no step, expected at most one DequantizeLinear for each of {outputs} outputs")
    if result.largest > MOST_APART:
        wrong.append(f"a step is {result.largest} quantization steps apart, expected at most {MOST_APART}")
    most = FEW + int(MOST_DIFFERING * result.elements)
    if result.differing > most:
        wrong.append(f"{result.differing} of {result.elements} integers differ, expected at most {most}")
    return result, wrong


def main():
    bevel, source = pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2]).resolve()
    models = pathlib.Path(os.environ.get("BEVEL_SHARED", source.parent / "shared")) / "models"
    folders = {"fashion": source / "testdata/fashion"}
    if models.is_dir():
        folders |= {network: models / network for network in NETWORKS if network not in folders}
    samples = int(os.environ.get("BEVEL_STEPS_SAMPLES", "2"))
    failures = 0
    for network in sys.argv[3:] or folders:
        result, wrong = judge(bevel, folders[network], NETWORKS[network], samples)
        print(f"{network}: {result}", flush=True)
        for line in result.lines + [f"FAILED: {problem}" for problem in wrong]:
            print(f"  {line}", flush=True)
        failures += len(wrong)
    if failures:
        return 1
    if not models.is_dir():
        print(f"SKIPPED but for the bundled network: {models} is absent (set BEVEL_SHARED)", flush=True)
        return 77
    return 0


if __name__ == "__main__":
    sys.exit(main())
