#!/usr/bin/env python3
"""Compares Bevel with ONNX Runtime step by step on a QDQ model, each step fed ONNX Runtime's own inputs.

    stepwise.py BEVEL INT8.onnx DATA.json [--samples N]

For every QuantizeLinear output, the sub-model from the nearest quantized ancestors is cut out and run by Bevel on the integers
that ONNX Runtime had there. Prints, per step and in all, the largest difference in quantization steps and the fraction that
differs; exit 1 when any step is more than one apart.
"""
import argparse
import os
import subprocess
import sys
import tempfile

import numpy as np
import onnx
from onnx import helper

from data import Data
from judge import session


def ancestors(graph_by_output, initializers, target, borders):
    """Nodes and border values of the step that ends in `target`."""
    nodes, inputs, stack, seen = [], [], [target], set()
    while stack:
        name = stack.pop()
        if name in seen or name in initializers or not name:
            continue
        seen.add(name)
        if name != target and name in borders:
            inputs.append(name)
            continue
        node = graph_by_output.get(name)
        if node is None:
            inputs.append(name)
            continue
        if node not in nodes:
            nodes.append(node)
        stack.extend(node.input)
    return nodes, inputs


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("bevel")
    parser.add_argument("model")
    parser.add_argument("data")
    parser.add_argument("--samples", type=int, default=4)
    args = parser.parse_args()
    model = onnx.load(args.model)
    graph = model.graph
    quantized = [n.output[0] for n in graph.node if n.op_type == "QuantizeLinear"]
    types = {v.name: v for v in onnx.shape_inference.infer_shapes(model).graph.value_info}
    zero_points = {n.output[0]: n.input[2] for n in graph.node if n.op_type == "QuantizeLinear"}
    initializers = {t.name: t for t in graph.initializer}
    dtype_of = {q: initializers[zero_points[q]].data_type for q in quantized}

    instrumented = onnx.ModelProto()
    instrumented.CopyFrom(model)
    present = {o.name for o in graph.output}
    for name in quantized:
        if name not in present:
            instrumented.graph.output.append(helper.make_tensor_value_info(name, dtype_of[name], None))
    data = Data(args.data, args.samples)
    worst, differing, total = 0, 0, 0
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "instrumented.onnx")
        onnx.save(instrumented, path)
        run = session(path)
        names = [i.name for i in run.get_inputs()]
        outputs = [o.name for o in run.get_outputs()]
        values = []
        for i in range(data.count):
            feed = {k: v for k, v in data.sample(i).items() if k in names}
            values.append(dict(zip(outputs, run.run(None, feed))) | feed)
        by_output = {o: n for n in graph.node for o in n.output}
        order = {id(n): k for k, n in enumerate(graph.node)}
        for target in quantized:
            nodes, inputs = ancestors(by_output, initializers, target, set(quantized))
            nodes.sort(key=lambda n: order[id(n)])
            used = {i for n in nodes for i in n.input if i in initializers}
            first = values[0]
            step = helper.make_model(
                helper.make_graph(
                    nodes, "step",
                    [helper.make_tensor_value_info(i, helper.np_dtype_to_tensor_dtype(first[i].dtype), first[i].shape)
                     for i in inputs],
                    [helper.make_tensor_value_info(target, dtype_of[target], first[target].shape)],
                    [initializers[u] for u in sorted(used)]),
                opset_imports=model.opset_import, ir_version=model.ir_version)
            onnx.save(step, os.path.join(folder, "step.onnx"))
            step_worst = step_differing = 0
            for sample in values:
                np.savez(os.path.join(folder, "in.npz"), **{i: sample[i] for i in inputs})
                subprocess.run([args.bevel, "run", os.path.join(folder, "step.onnx"), "--inputs",
                                os.path.join(folder, "in.npz"), "-o", os.path.join(folder, "out.npz")],
                               check=True, stdout=subprocess.DEVNULL)
                got = np.load(os.path.join(folder, "out.npz"))[target].astype(np.int32)
                difference = np.abs(got - sample[target].astype(np.int32))
                step_worst = max(step_worst, int(difference.max(initial=0)))
                step_differing += int((difference != 0).sum())
                total += difference.size
            worst, differing = max(worst, step_worst), differing + step_differing
            if step_differing:
                print(f"{target}: largest {step_worst}, differing {step_differing}")
    print(f"steps {len(quantized)}, elements {total}, differing {differing} ({differing / max(total, 1):.2e}), "
          f"largest difference {worst}")
    sys.exit(1 if worst > 1 else 0)


if __name__ == "__main__":
    main()
