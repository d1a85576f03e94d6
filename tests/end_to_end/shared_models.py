#!/usr/bin/env python3
"""Nine networks of the shared models through `bevel compile`, judged by ONNX Runtime in exact arithmetic.

    shared_models.py BEVEL SOURCE_DIR [NETWORK...]

Prints a table. Fails when a network is below its bounds: metric of the int8 model, SQNR of its outputs pooled over the samples,
arena, size of the file; and when a product stays in float. Without the shared models: exit 77. BEVEL_QUICK=1 measures ImageNet networks on 100 images and reports
instead of judging their metric.
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile

# network, target, metric at least, SQNR at least (dB), arena at most (bytes), file at most (of the float file)
BOUNDS = [
    ("resnet8", "stm32h743", 76.1, 23.5, 54996, None),
    ("vww", "stm32h743", 85.6, 32, 100708, None),
    ("kws", "nrf52840", 91.0, 29, 22820, None),
    ("ad", "nrf52840", None, 31, 2580, None),
    ("fmnist_vgg", "rpi4", 93.0, 38.5, None, None),
    ("mnist8", "nrf52840", 98.2, 34, None, None),
    ("squeezenet", "rpi4", 61.0, 22, None, 0.275),
    ("effnet_lite0", "rpi4", 85.2, 20.5, None, 0.275),
    ("sst2", "stm32h743", 76.0, 26, 77232, 0.28),
]
SHAPES = {"sst2": ["--shape", "seq=48"]}  # what binds open dimensions


def data_of(models, network):
    if network in ("squeezenet", "effnet_lite0"):
        return models / f"imagenet/{network}_calib.json", models / f"imagenet/{network}_eval.json"
    return models / network / "calib.json", models / network / "eval.json"


def main():
    bevel, source = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    wanted = sys.argv[3:]
    shared = pathlib.Path(os.environ.get("BEVEL_SHARED", source.parent / "shared"))
    models = shared / "models"
    if not models.is_dir():
        print(f"SKIPPED: {models} is absent (set BEVEL_SHARED)")
        return 77
    quick = os.environ.get("BEVEL_QUICK") == "1"
    failures = []
    print(f"{'network':<14}{'target':<12}{'float':>7}{'int8':>7}{'runtime':>8}{'bound':>7}{'SQNR':>7}{'bound':>7}"
          f"{'arena':>9}{'bound':>9}{'file':>7}  float nodes")
    for network, target, least_metric, least_sqnr, most_arena, most_ratio in BOUNDS:
        if wanted and network not in wanted:
            continue
        model = models / network / "model.onnx"
        calibration, evaluation = data_of(models, network)
        large = network in ("squeezenet", "effnet_lite0")
        with tempfile.TemporaryDirectory() as folder:
            out = pathlib.Path(folder) / "out"
            command = [bevel, "compile", model, "--target", target, "--calib", calibration, "--eval", evaluation, "--out", out, "--json",
                       *SHAPES.get(network, [])]
            if quick and large:
                command += ["--samples", "100"]
            compiled = subprocess.run(command, capture_output=True, text=True)
            if compiled.returncode != 0:
                failures.append(f"{network}: compile: exit {compiled.returncode}: {compiled.stderr.strip()}")
                print(f"{network:<14}{target:<12}FAILED: {compiled.stderr.strip()[:200]}")
                continue
            report = json.loads(compiled.stdout)
            judge = [sys.executable, source / "tests/oracle/judge.py", model, out / "model.int8.onnx", evaluation, "--threads", "2"]
            if quick and large:
                judge += ["--samples", "100"]
            judged = json.loads(subprocess.run(judge, capture_output=True, text=True, check=True).stdout)
        metric, sqnr = judged.get("int8"), judged["sqnr_db"]
        runtime = report["metric"] and report["metric"]["runtime"]
        arena, ratio = report["ram"]["arena_bytes"], report["sizes"]["int8_onnx_ratio"]
        stays = report["stays_float"]
        text = lambda value, form: "-" if value is None else format(value, form)
        print(f"{network:<14}{target:<12}{text(judged.get('float'), '.2f'):>7}{text(metric, '.2f'):>7}{text(runtime, '.2f'):>8}"
              f"{text(least_metric, '.1f'):>7}{sqnr:>7.2f}{least_sqnr:>7}{arena:>9}{text(most_arena, 'd'):>9}{ratio:>7.3f}"
              f"  {', '.join(row['node'] for row in stays) or 'none'}", flush=True)
        if least_metric is not None and metric < least_metric and not (quick and large):
            failures.append(f"{network}: int8 {metric:.2f} is below {least_metric}")
        if sqnr < least_sqnr:
            failures.append(f"{network}: SQNR {sqnr:.2f} dB is below {least_sqnr}")
        if most_arena is not None and arena > most_arena:
            failures.append(f"{network}: arena {arena} is above {most_arena}")
        if most_ratio is not None and ratio > most_ratio:
            failures.append(f"{network}: int8 file is {ratio:.3f} of the float file, above {most_ratio}")
        products = [row["node"] for row in stays if row["op"] in ("Conv", "ConvTranspose", "Gemm", "MatMul")]
        if products:
            failures.append(f"{network}: products in float: {', '.join(products)}")
        if any(not row["reason"] for row in stays):
            failures.append(f"{network}: a node stays float without a reason")
    for failure in failures:
        print("FAILED:", failure)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
