#!/usr/bin/env python3
"""optimize --opset N: what is written is valid to ONNX's checker, and ONNX Runtime computes the same of it as of the source.

    opsets.py BEVEL SOURCE_DIR

The bundled network through every opset from 7 to 26 that it has words for, and one small model for each form that changed.
"""
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime

# ONNX Runtime is the judge as far as it goes: it loads opsets to 26 (1.32 says so of itself).
NEWEST_JUDGED = 26
# Of the largest output. The forms keep their arithmetic; in the network optimize folds the normalizations, which rounds anew.
SAME, ROUNDED = 1e-6, 1e-4
# (opset, graph, opsets to write). The graphs' input x holds small whole numbers.
FORMS = [
    (18, "(float[2,3] x) => (float[2] y) <int64[1] axes = {-1}> { y = ReduceMean <keepdims = 0> (x, axes) }", [17, 13, 11, 10]),
    (13, "(float[2,3] x) => (float[1,3] y) <int64[1] axes = {0}> { y = ReduceSum (x, axes) }", [12, 9, 18]),
    (17, "(float[2,3] x) => (float[2,1] y) { y = ReduceMax <axes = [1]> (x) }", [18, 20]),
    (13, "(float[2,1,3] x) => (float[2,3] y) <int64[1] axes = {1}> { y = Squeeze (x, axes) }", [12, 7]),
    (13, "(float[2,3] x) => (float[1,2,3] y) <int64[1] axes = {0}> { y = Unsqueeze (x, axes) }", [12, 21]),
    (17, "(float[4,2] x) => (float[2,2] y, float[2,2] z) { y, z = Split (x) }", [18, 13, 12]),
    (18, "(float[5,2] x) => (float[3,2] y, float[2,2] z) { y, z = Split <num_outputs = 2> (x) }", [17, 12]),
    (18, "(float[2,3] x) => (float[2,6] y) <int64[2] p = {1, 2}, float v = {7}, int64[1] a = {-1}> { y = Pad (x, p, v, a) }", [17, 11, 10]),
    (13, "(float[2,3,2] x) => (float[2,3,2] y) { y = Softmax <axis = 1> (x) }", [12, 9, 18]),
    (12, "(float[2,3,2] x) => (float[2,3,2] y) { y = Softmax <axis = 1> (x) }", [13, 17]),
    (13, "(float[4] x) => (float[4] y) <float l = {1}, float h = {3}> { y = Clip (x, l, h) }", [12, 11, 10, 7]),
    (13, "(float[4,4] x) => (float[4,3] y) <int64[1] b = {1}, int64[1] e = {9}, int64[1] a = {1}> { y = Slice (x, b, e, a) }", [10, 9]),
    (11, "(float[2,4] x) => (float[2,2] y, int64[2,2] z) <int64[1] k = {2}> { y, z = TopK (x, k) }", [10, 9, 13]),
    (13, "(float[3] x) => (float[3] y) <int64[1] i = {1}, float[1] u = {9}> { y = ScatterElements (x, i, u) }", [10, 16]),
    (13, "(float[1,1,2,2] x) => (float[1,1,4,4] y) <float[4] s = {1, 1, 2, 2}> "
         "{ y = Resize <coordinate_transformation_mode = \"asymmetric\", nearest_mode = \"floor\"> (x, , s) }", [12, 11, 10, 19]),
    (13, "(float[2,2] x) => (float[2,2] y) <float s = {0.5}, int8 z = {0}> "
         "{ q = QuantizeLinear (x, s, z) y = DequantizeLinear (q, s, z) }", [12, 10, 19, 21]),
]


def session(path):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def outputs(path):
    """Of small whole numbers, in the shape of each input."""
    judge = session(path)
    feed = {}
    for value in judge.get_inputs():
        shape = [d if isinstance(d, int) else 1 for d in value.shape]
        feed[value.name] = (np.arange(np.prod(shape)) * 7 % 11 - 3).astype(np.float32).reshape(shape)
    return judge.run(None, feed)


def convert(bevel, source, opset, target):
    return subprocess.run([bevel, "optimize", source, "--opset", str(opset), "-o", target], capture_output=True, text=True)


def wrong(bevel, source, opset, target, tolerance):
    """Why the source in that opset is not right; empty when it is."""
    result = convert(bevel, source, opset, target)
    if result.returncode != 0:
        return result.stderr.strip()
    model = onnx.load(target)
    stated = {o.domain: o.version for o in model.opset_import}.get("")
    if stated != opset:
        return f"the file states opset {stated}"
    try:
        onnx.checker.check_model(model, full_check=True)
    except Exception as error:  # the checker's own types, and those of shape inference
        return f"ONNX's checker: {error}"
    for expected, got in zip(outputs(source), outputs(target), strict=True):
        if expected.shape != got.shape or not np.allclose(got, expected, 0, tolerance * np.abs(expected).max()):
            return "ONNX Runtime computes something else of it"
    return ""


def main():
    bevel, source_dir = sys.argv[1:3]
    failed = checked = 0
    # The table of schemas that conversions rely on is what this ONNX says.
    if subprocess.run([sys.executable, pathlib.Path(source_dir) / "scripts/update-schemas", "--check"]).returncode != 0:
        failed += 1
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        jobs = []
        for k, (opset, graph, targets) in enumerate(FORMS):
            source = scratch / f"form{k}.onnx"
            onnx.save(onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : {opset}]> g {graph}'), source)
            jobs += [(graph, source, target, SAME) for target in targets]
        fashion = pathlib.Path(source_dir) / "testdata/fashion/model.onnx"
        for target in range(7, NEWEST_JUDGED + 1):
            result = convert(bevel, fashion, target, scratch / "fashion.onnx")
            if result.returncode == 0:
                jobs.append(("fashion", fashion, target, ROUNDED))
            elif result.returncode != 5 or "cannot be written in opset" not in result.stderr:
                print(f"FAILED fashion, opset {target}: {result.stderr.strip()}")
                failed += 1
        for name, source, target, tolerance in jobs:
            checked += 1
            why = wrong(bevel, source, target, scratch / "out.onnx", tolerance)
            if why:
                failed += 1
                print(f"FAILED {name}, opset {target}: {why}")
    print(f"{checked} conversions checked, {failed} wrong")
    sys.exit(1 if failed or checked < len(FORMS) else 0)


if __name__ == "__main__":
    main()
