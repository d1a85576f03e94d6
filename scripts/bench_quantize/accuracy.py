"""Judges a model against its float parent on evaluation samples: ONNX Runtime, exact integer arithmetic, all graph optimizations.

    accuracy.py FLOAT.onnx DATA.json MODEL.onnx --reference FILE.npz [--metric top1|map50|none] [--batch N] [--latency ROUNDS]

Prints one JSON object: metric, SQNR of the first output pooled over the samples, agreement of the arg max, and the products that stay in float; with
--latency the least milliseconds of one inference of the parent and the model on one thread, in turns. The parent's outputs are kept in
the reference file, and read from there when it exists.
"""

import argparse
import json
import math
import os
import pathlib
import sys
import time

import numpy as np
import onnx

sys.path.append(str(pathlib.Path(__file__).resolve().parent.parent.parent / "tests/oracle"))
from data import Data  # noqa: E402
from judge import session  # noqa: E402
import map50  # noqa: E402

PRODUCTS = {"Conv", "ConvTranspose", "Gemm", "MatMul"}
# What ONNX Runtime moves a DequantizeLinear through, or takes as part of the products' integer form.
MOVERS = {"Transpose", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Identity", "MaxPool", "Slice", "Gather", "Split", "Cast", "Pad"}
WARM = 3


def outputs(model, names, data, batch):
    """The first output for all samples; `names` are the inputs that the model has."""
    run, parts = session(model), []
    for first in range(0, data.count, batch):
        samples = [data.sample(i) for i in range(first, min(first + batch, data.count))]
        parts.append(run.run(None, {name: np.concatenate([sample[name] for sample in samples]) for name in names})[0])
    return np.concatenate(parts)


def metric_of(kind, result, data):
    if kind == "top1":
        return 100.0 * float(np.mean(result.reshape(len(result), -1).argmax(axis=1) == np.asarray(data.labels[:data.count]).ravel()))
    return map50.metric(result, data.files) if kind == "map50" else None


def float_products(path):
    """Names of the convolutions and matrix products with an operand that is not dequantized, and how many there are in all."""
    graph = onnx.load(path).graph
    producer = {name: node for node in graph.node for name in node.output}

    def quantized(name):
        """Dequantized, or moved and joined out of what is."""
        waiting = [name]
        while waiting:
            node = producer.get(waiting.pop())
            if node is not None and (node.op_type in MOVERS or node.op_type == "Concat"):
                waiting += node.input if node.op_type == "Concat" else node.input[:1]
            elif node is None or node.op_type != "DequantizeLinear":
                return False
        return True

    products = [node for node in graph.node if node.op_type in PRODUCTS]
    stays = [node.name or node.output[0] for node in products if not all(quantized(name) for name in node.input[:2])]
    others = [node for node in graph.node if node.op_type in ("QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger", "MatMulNBits",
                                                               "DynamicQuantizeMatMul", "QGemm")]
    return stays, len(products) + len(others)


def latencies(models, names, data, rounds):
    """Least milliseconds of each, in turns, one sample, one thread."""
    feed = {name: value for name, value in data.sample(0).items() if name in names}
    sessions = [session(model) for model in models]
    least = [math.inf] * len(models)
    for turn in range(WARM + rounds):
        for index, run in enumerate(sessions):
            started = time.perf_counter()
            run.run(None, feed)
            if turn >= WARM:
                least[index] = min(least[index], 1e3 * (time.perf_counter() - started))
    return least


def judged(options):
    data = Data(options.data)
    names = [port.name for port in session(options.parent).get_inputs()]
    if os.path.exists(options.reference):
        reference = np.load(options.reference)["output"]
    else:
        reference = outputs(options.parent, names, data, options.batch)
        np.savez(options.reference, output=reference)
    result = reference if options.model == options.parent else outputs(options.model, names, data, options.batch)
    if result.shape != reference.shape:
        return {"error": f"output of shape {list(result.shape)}, expected {list(reference.shape)}"}
    if not np.isfinite(result).all():
        return {"error": "the outputs are not finite"}
    signal = float(np.sum(np.square(reference, dtype=np.float64)))
    noise = float(np.sum(np.square(reference.astype(np.float64) - result)))
    flat, wanted = result.reshape(len(result), -1), reference.reshape(len(result), -1)
    stays, products = float_products(options.model)
    record = {"samples": len(result), "metric": metric_of(options.metric, result, data),
              "sqnr_db": 10 * math.log10(signal / noise) if noise else None,
              "agreement": 100.0 * float(np.mean(flat.argmax(axis=1) == wanted.argmax(axis=1))) if options.metric == "top1" else None,
              "products": products, "float_products": stays}
    if options.latency:
        parent, model = latencies([options.parent, options.model], names, data, options.latency)
        record |= {"latency_ms": model, "float_latency_ms": parent}
    return record


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("parent")
    parser.add_argument("data")
    parser.add_argument("model")
    parser.add_argument("--reference", required=True)
    parser.add_argument("--metric", choices=["top1", "map50", "none"], default="top1")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--latency", type=int, default=0)
    try:
        result = judged(parser.parse_args())
    except Exception as error:  # a model that does not run is a row that says why
        result = {"error": " ".join(f"{type(error).__name__}: {error}".split())[:300]}
    print("\n" + json.dumps(result))


if __name__ == "__main__":
    main()
