#!/usr/bin/env python3
"""Weights for ONNX Runtime on x86 without VNNI: `--runtime onnxruntime-avx2`.

    saturation.py BEVEL SOURCE_DIR

Of models that are written with it: no two neighbouring weights of a product can saturate a 16-bit sum, counted here from the ONNX file alone. With
qemu's user emulation (scripts/setup installs it), on a Haswell processor: ONNX Runtime's kernels pair the weights that
passes/quantize/saturating_pairs.h says, and its default session gives the exact session's outputs, bit for bit, which those of a model
without the limit are far from. Without the shared models: exit 77.
"""
import hashlib
import itertools
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

LIMIT = 128  # 255 * 128 <= 32767 < 255 * 129
MODELS = [("kws", "balanced", []), ("kws", "fast", []), ("resnet8", "fast", []), ("sst2", "fast", []), ("sst2", "fast", ["--activations", "dynamic"]),
          ("fmnist_vgg", "fast", []), ("kws", "int4", []), ("kws", "fast", ["--activations", "int8"])]
RUN = [("kws", 24), ("resnet8", 8), ("sst2", 8)]  # samples under emulation


def neighbours(node, weight):
    """The products' integers, [sums, products] in the order in which they are added, of one node; None where nothing is summed in 16 bits."""
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    if node.op_type == "Conv":
        if attributes.get("group", 1) == weight.shape[0] and weight.shape[1] == 1 and weight.shape[0] > 1:
            return None
        return np.moveaxis(weight, 1, -1).reshape(weight.shape[0], -1)
    if node.op_type == "Gemm" and attributes.get("transB", 0):
        return weight
    return np.swapaxes(weight, -1, -2).reshape(-1, weight.shape[-2])


def check_file(path):
    """(products looked at, largest sum of two neighbours of one sign)."""
    graph = onnx.load(path).graph
    constants = {i.name: numpy_helper.to_array(i) for i in graph.initializer}
    made = {name: node for node in graph.node for name in node.output}
    looked, largest = 0, 0
    for node in graph.node:
        if node.op_type not in ("Conv", "MatMul", "Gemm", "MatMulInteger"):
            continue
        source = made.get(node.input[1])
        weight = constants.get(node.input[1] if node.op_type == "MatMulInteger" else source.input[0] if source and source.op_type == "DequantizeLinear" else "")
        if weight is None or weight.dtype != np.int8:
            continue
        rows = neighbours(node, weight)
        if rows is None:
            continue
        rows = rows.astype(np.int64)
        pairs = rows[:, : rows.shape[1] // 2 * 2].reshape(rows.shape[0], -1, 2)
        looked += 1
        if pairs.size:
            largest = max(largest, int(np.maximum(pairs, 0).sum(-1).max()), int(np.maximum(-pairs, 0).sum(-1).max()))
    return looked, largest


def session(model, exact):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    if exact:
        options.add_session_config_entry("session.x64quantprecision", "1")
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


# --- under emulation: this script again, with --emulated ---

STEP = 1 / 64
FORMS = [("Conv", (8, (1, 1), 1)), ("Conv", (7, (1, 1), 1)), ("Conv", (3, (3, 3), 1)), ("Conv", (4, (2, 3), 1)), ("Conv", (6, (3,), 1)), ("Conv", (3, (2, 2, 2), 1)),
         ("Conv", (3, (2, 2), 2)), ("Conv", (4, (2, 2), 3)), ("Conv", (1, (3, 3), 4)), ("MatMul", (9,)), ("MatMul", (16,)), ("Gemm", (9, 0)), ("Gemm", (16, 1))]


def two_weights(op, form, rows):
    """Pairs of columns whose products of 127 and 255 are not summed exactly, as ONNX Runtime finds, and as neighbours() says."""
    if op == "Conv":
        channels, kernel, groups = form
        k = channels * int(np.prod(kernel))
    else:
        k = form[0]
    pairs = list(itertools.combinations(range(k), 2))
    weight = np.zeros((len(pairs), k), np.int8)
    for n, (i, j) in enumerate(pairs):
        weight[n, [i, j]] = 127
    attributes, axis = {}, 0
    if op == "Conv":
        weight = np.tile(weight, (groups, 1)).reshape((groups * len(pairs), channels) + kernel)
        x = np.full((1, groups * channels) + tuple(s + 2 for s in kernel), 255 * STEP, np.float32)
        attributes = {"group": groups}
    else:
        x = np.full((rows, k), 255 * STEP, np.float32)
        if op == "Gemm" and form[1]:
            attributes = {"transB": 1}
        else:
            weight, axis = np.ascontiguousarray(weight.T), 1
    count = weight.shape[axis]
    out = 2 * 127 * 255 * STEP * STEP / 250
    constants = {"sx": np.float32(STEP), "z": np.uint8(0), "w": weight, "sw": np.full(count, STEP, np.float32), "zw": np.zeros(count, np.int8), "b": np.zeros(count, np.int32),
                 "sb": np.full(count, STEP * STEP, np.float32), "sy": np.float32(out)}
    has_bias = op != "MatMul"
    nodes = [helper.make_node("QuantizeLinear", ["x", "sx", "z"], ["xq"]), helper.make_node("DequantizeLinear", ["xq", "sx", "z"], ["xd"]),
             helper.make_node("DequantizeLinear", ["w", "sw", "zw"], ["wd"], axis=axis)]
    if has_bias:
        nodes.append(helper.make_node("DequantizeLinear", ["b", "sb"], ["bd"], axis=0))
    product = helper.make_node(op, ["xd", "wd"] + (["bd"] if has_bias else []), ["y"], **attributes)
    nodes += [product, helper.make_node("QuantizeLinear", ["y", "sy", "z"], ["yq"]), helper.make_node("DequantizeLinear", ["yq", "sy", "z"], ["yd"])]
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)], [helper.make_tensor_value_info("yd", TensorProto.FLOAT, None)],
                              [numpy_helper.from_array(np.asarray(v), n) for n, v in constants.items()])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9).SerializeToString()
    y = session(model, False).run(None, {"x": x})[0] / out
    low = (y[0].reshape(count, -1) if op == "Conv" else y.T).min(axis=1) < 200
    found = {(n // len(pairs),) + pairs[n % len(pairs)] for n in range(count) if low[n]}
    order = neighbours(product, np.arange(k, dtype=np.int64).reshape((1, channels) + kernel) if op == "Conv" else
                       np.arange(k, dtype=np.int64).reshape((1, k) if attributes.get("transB") else (k, 1)))[0]
    said = {tuple(sorted(order[i : i + 2])) for i in range(0, k - 1, 2)}
    return found == {(g,) + pair for g in range(count // len(pairs)) for pair in said}


def emulated(arguments):
    for op, form in FORMS:
        for rows in (1,) if op == "Conv" else (1, 3):
            print("pairs", op, str(form).replace(" ", ""), rows, "as said" if two_weights(op, form, rows) else "OTHERS", flush=True)
    for path, data in zip(arguments[::2], arguments[1::2]):
        feeds = dict(np.load(data))
        results = []
        for exact in (True, False):
            model = session(path, exact)
            steps = range(len(next(iter(feeds.values()))))
            results.append(np.concatenate([model.run(None, {k: v[i : i + 1] for k, v in feeds.items()})[0] for i in steps]))
        digests = [hashlib.sha256(r.tobytes()).hexdigest()[:16] for r in results]
        agree = float((results[0].argmax(-1) == results[1].argmax(-1)).mean())
        print("run", pathlib.Path(path).name, "same" if digests[0] == digests[1] else "differs", agree, flush=True)


def feeds_of(path, folder, count):
    data = np.load(folder / "eval.npz")
    free = [name for name in data.files if name != "labels"]
    feeds = {}
    for value in onnxruntime.InferenceSession(str(path)).get_inputs():
        name = value.name if value.name in data else next(n for n in free if data[n].ndim == len(value.shape))
        kind = {"tensor(float)": np.float32, "tensor(int64)": np.int64, "tensor(int32)": np.int32}[value.type]
        feeds[value.name] = data[name][:count].astype(kind)
    return feeds


def main():
    bevel, source = sys.argv[1], pathlib.Path(sys.argv[2])
    models = pathlib.Path(os.environ.get("BEVEL_SHARED", source / "../shared")) / "models"
    if not (models / "kws").exists():
        print(f"SKIPPED: no shared models at {models}")
        sys.exit(77)
    failures = 0

    def report(good, text):
        nonlocal failures
        failures += not good
        print(("" if good else "FAILED ") + text, flush=True)

    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)

        def quantize(name, preset, flags, out):
            calibration = [] if "dynamic" in flags else ["--calib", models / name / "calib.json"]
            subprocess.run([bevel, "quantize", models / name / "model.onnx", "--preset", preset, *calibration, *flags, "--samples", "32", "-o", out], check=True,
                           stdout=subprocess.DEVNULL)

        for name, preset, flags in MODELS:
            out = scratch / "limited.onnx"
            quantize(name, preset, ["--runtime", "onnxruntime-avx2", *flags], out)
            looked, largest = check_file(out)
            marked = {p.key: p.value for p in onnx.load(out).metadata_props}.get("bevel.runtime")
            report(looked > 0 and largest <= LIMIT and marked == "onnxruntime-avx2",
                   f"{name} {preset} {' '.join(flags)}: {looked} products, neighbours sum to {largest} at most; marked {marked}")
        quantize("kws", "fast", [], scratch / "free.onnx")
        report(check_file(scratch / "free.onnx")[1] > LIMIT, "kws fast without the limit: neighbours sum beyond it")

        qemu = shutil.which("qemu-x86_64")
        if not qemu:
            print("SKIPPED: ONNX Runtime on x86 without VNNI; qemu-x86_64 is not there: scripts/setup installs it")
            sys.exit(1 if failures else 0)
        arguments = []
        for name, count in RUN:
            np.savez(scratch / f"{name}.npz", **feeds_of(models / name / "model.onnx", models / name, count))
            for kind, flags in (("free", []), ("limited", ["--runtime", "onnxruntime-avx2"])):
                quantize(name, "fast", flags, scratch / f"{name}_{kind}.onnx")
                arguments += [scratch / f"{name}_{kind}.onnx", scratch / f"{name}.npz"]
        lines = subprocess.run([qemu, "-cpu", "Haswell", sys.executable, __file__, "--emulated", *arguments], check=True, text=True, stdout=subprocess.PIPE,
                               stderr=subprocess.DEVNULL).stdout.splitlines()
        report(sum(line.startswith("pairs") for line in lines) == len(FORMS) + 4, "every form of product was tried")
        report(sum(line.startswith("run") for line in lines) == 2 * len(RUN), "every model was run")
        for line in lines:
            kind, what = line.split(" ", 1)
            report(what.endswith("as said") if kind == "pairs" else (" same " in what) == ("_limited" in what), f"emulated Haswell, {kind}: {what}")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    if sys.argv[1] == "--emulated":
        emulated(sys.argv[2:])
    else:
        main()
