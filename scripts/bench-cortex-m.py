#!/usr/bin/env python3
"""Instructions per inference on Cortex-M of the four MLPerf Tiny networks, beside TFLite Micro with CMSIS-NN.

    scripts/bench cortex-m [--bevel PATH]

Compiles each shared network, runs the emitted C on qemu-system-arm (mps2-an386, -icount shift=0: instructions are exact, whatever
the machine's load) and prints instructions, stack, text and what report.json says beside what the linked program adds.
TFLite Micro's figures are those of the published int8 networks (gcc 12.2, kernels -O2), measured the same way.
"""

import argparse
import json
import os
import pathlib
import re
import subprocess
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
# network, target, TFLite Micro's instructions on M4 and M0+, its arena
NETWORKS = [
    ("resnet8", "stm32h743", 29.86e6, 97.57e6, 54996),
    ("vww", "stm32h743", 24.10e6, 86.89e6, 100708),
    ("kws", "nrf52840", 7.70e6, 29.01e6, 22820),
    ("ad", "nrf52840", 0.583e6, 1.762e6, 2580),
]
MACHINES = {
    "cortex-m4": "-mcpu=cortex-m4 -mfpu=fpv4-sp-d16 -mfloat-abi=hard",
    "cortex-m0plus": "-mcpu=cortex-m0plus -mfloat-abi=soft",
}


def sizes(folder, flags, optimize):
    """text (code), rodata of the compiled model.o"""
    subprocess.run(f"arm-none-eabi-gcc -mthumb {flags} {optimize} -std=c11 -ffunction-sections -fdata-sections -c {folder}/model.c "
                   f"-o {folder}/model.o", shell=True, check=True)
    rows = subprocess.run(["arm-none-eabi-size", "-A", f"{folder}/model.o"], capture_output=True, text=True, check=True).stdout
    code = constants = 0
    for name, size in re.findall(r"^(\.\S+)\s+(\d+)", rows, re.M):
        if name.startswith(".text"):
            code += int(size)
        elif name.startswith(".rodata"):
            constants += int(size)
    return code, constants


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--bevel", default=ROOT / "build/release/bevel")
    args = parser.parse_args()
    models = pathlib.Path(os.environ.get("BEVEL_SHARED", ROOT.parent / "shared")) / "models"
    print(f"{'network':<9}{'machine':<15}{'Bevel':>11}{'TFLM':>11}{'ratio':>7}{'stack':>7}{'arena':>8}{'TFLM':>8}"
          f"{'code -Os':>9}{'code -O2':>9}{'constants':>10}{'reported':>9}")
    for network, target, m4, m0, tflm_arena in NETWORKS:
        folder = models / network
        with tempfile.TemporaryDirectory() as scratch:
            out = pathlib.Path(scratch) / "out"
            subprocess.run([args.bevel, "compile", folder / "model.onnx", "--target", target, "--calib", folder / "calib.json",
                            "--eval", folder / "eval.json", "--samples", "50", "--out", out], check=True, stdout=subprocess.DEVNULL)
            report = json.loads((out / "report.json").read_text())
            header = (out / "model.h").read_text()
            # Instructions hardly depend on values: one run of zeros, its result not compared.
            count = int(re.search(r"MODEL_INPUT_0_BYTES (\d+)", header).group(1))
            produced = int(re.search(r"MODEL_OUTPUT_0_BYTES (\d+)", header).group(1))
            (out / "inputs.bin").write_bytes(bytes(count))
            (out / "outputs.bin").write_bytes(bytes(produced))
            for machine, flags in MACHINES.items():
                printed = subprocess.run([ROOT / "scripts/check-emitted-c", out, "--only", machine], capture_output=True, text=True).stdout
                measured = re.search(r"instructions=(\d+) stack=(\d+)", printed)
                if not measured:
                    print(f"{network:<9}{machine:<15}{printed.strip().splitlines()[-1]}")
                    continue
                theirs = m4 if machine == "cortex-m4" else m0
                small, constants = sizes(out, flags, "-Os")
                fast, _ = sizes(out, flags, "-O2")
                print(f"{network:<9}{machine:<15}{int(measured[1]):>11}{int(theirs):>11}{int(measured[1]) / theirs:>7.2f}"
                      f"{measured[2]:>7}{report['ram']['arena_bytes']:>8}{tflm_arena:>8}{small:>9}{fast:>9}{constants:>10}"
                      f"{report['flash']['bytes']:>9}", flush=True)


if __name__ == "__main__":
    main()
