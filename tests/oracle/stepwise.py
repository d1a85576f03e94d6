#!/usr/bin/env python3
"""Compares Bevel with ONNX Runtime step by step on a QDQ model, each step fed ONNX Runtime's own inputs.

    stepwise.py BEVEL INT8.onnx DATA.json [--samples N]

For every QuantizeLinear output, the sub-model from the nearest quantized ancestors is cut out and run by Bevel on the integers
that ONNX Runtime had there. Prints, per step and in all, the largest difference in quantization steps and the fraction that
differs; exit 1 when any step is more than one apart.
"""
import argparse
import dataclasses
import os
import subprocess
import sys
import tempfile

import numpy as np
import onnx
from onnx import helper

from data import Data
from judge import session


@dataclasses.dataclass
class Comparison:
    steps: int = 0        # QuantizeLinear nodes, each with what computes it from the quantized values before
    nodes: int = 0        # distinct nodes of the model that some step holds
    elements: int = 0     # integers compared, over all samples
    differing: int = 0
    largest: int = 0      # in quantization steps
    lines: list = dataclasses.field(default_factory=list)  # one for each step with a difference

    def __str__(self):
        return (f"steps {self.steps}, elements {self.elements}, differing {self.differing} "
                f"({self.differing / max(self.elements, 1):.2e}), largest difference {self.largest}")


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


def compare(bevel, path, data):
    """Every step of the QDQ model at `path` on every sample of `data`; the model's batch must be 1 or free."""
    model = onnx.load(path)
    graph = model.graph
    quantizers = [n for n in graph.node if n.op_type == "QuantizeLinear"]
    quantized = [n.output[0] for n in quantizers]
    initializers = {t.name: t for t in graph.initializer}
    dtype_of = {n.output[0]: initializers[n.input[2]].data_type for n in quantizers}

    instrumented = onnx.ModelProto()
    instrumented.CopyFrom(model)
    present = {o.name for o in graph.output}
    for name in quantized:
        if name not in present:
            instrumented.graph.output.append(helper.make_tensor_value_info(name, dtype_of[name], None))
    by_output = {o: n for n in graph.node for o in n.output}
    order = {id(n): k for k, n in enumerate(graph.node)}
    result, covered = Comparison(steps=len(quantized)), set()
    with tempfile.TemporaryDirectory() as folder:
        file = lambda name: os.path.join(folder, name)
        onnx.save(instrumented, file("instrumented.onnx"))
        run = session(file("instrumented.onnx"))
        names = [i.name for i in run.get_inputs()]
        outputs = [o.name for o in run.get_outputs()]
        values = []
        for i in range(data.count):
            feed = {k: v for k, v in data.sample(i).items() if k in names}
            values.append(dict(zip(outputs, run.run(None, feed))) | feed)
        first = values[0]
        for target in quantized:
            nodes, inputs = ancestors(by_output, initializers, target, set(quantized))
            nodes.sort(key=lambda n: order[id(n)])
            covered.update(order[id(n)] for n in nodes)
            used = {i for n in nodes for i in n.input if i in initializers}
            step = helper.make_model(
                helper.make_graph(
                    nodes, "step",
                    [helper.make_tensor_value_info(i, helper.np_dtype_to_tensor_dtype(first[i].dtype), first[i].shape)
                     for i in inputs],
                    [helper.make_tensor_value_info(target, dtype_of[target], first[target].shape)],
                    [initializers[u] for u in sorted(used)]),
                opset_imports=model.opset_import, ir_version=model.ir_version)
            onnx.save(step, file("step.onnx"))
            step_largest = step_differing = 0
            for sample in values:
                np.savez(file("in.npz"), **{i: sample[i] for i in inputs})
                subprocess.run([bevel, "run", file("step.onnx"), "--inputs", file("in.npz"), "-o", file("out.npz")],
                               check=True, stdout=subprocess.DEVNULL)
                got = np.load(file("out.npz"))[target].astype(np.int32)
                difference = np.abs(got - sample[target].astype(np.int32))
                step_largest = max(step_largest, int(difference.max(initial=0)))
                step_differing += int((difference != 0).sum())
                result.elements += difference.size
            result.largest = max(result.largest, step_largest)
            result.differing += step_differing
            if step_differing:
                result.lines.append(f"{target}: largest {step_largest}, differing {step_differing}")
    result.nodes = len(covered)
    return result


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("bevel")
    parser.add_argument("model")
    parser.add_argument("data")
    parser.add_argument("--samples", type=int, default=4)
    args = parser.parse_args()
    result = compare(args.bevel, args.model, Data(args.data, args.samples))
    for line in result.lines:
        print(line)
    print(result)
    sys.exit(1 if result.largest > 1 else 0)


if __name__ == "__main__":
    main()
