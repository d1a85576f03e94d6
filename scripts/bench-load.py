#!/usr/bin/env python3
"""Memory and time of loading and writing large models, on models that this script makes.

    scripts/bench load [--bevel PATH] [--rounds 5]

Weights: 500 MB in five MatMuls, inside the file and as external data: peak resident memory of `inspect` and of `optimize`, against the
file's size. Nodes: graphs of 5,000, 10,000 and 20,000: processor seconds of `optimize` (import, simplify, check, export; the least of the
rounds, in turns), and how they grow.
"""

import argparse
import os
import pathlib
import resource
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
SIDE, LAYERS = 5000, 5


def run(command):
    """Peak resident bytes and processor seconds of a command in a process of its own."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        done = subprocess.run([str(word) for word in command], stdout=subprocess.DEVNULL)
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        os.write(writer, f"{done.returncode} {usage.ru_maxrss * 1024} {usage.ru_utime + usage.ru_stime}".encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        code, peak, seconds = pipe.read().split()
    os.waitpid(child, 0)
    if code != "0":
        sys.exit(f"{' '.join(map(str, command))}: exit {code}")
    return int(peak), float(seconds)


def weights(path, external):
    import numpy
    from onnx import helper, numpy_helper
    rng = numpy.random.default_rng(0)
    nodes, initializers, value = [], [], "x"
    for layer in range(LAYERS):
        matrix = rng.standard_normal((SIDE, SIDE), dtype=numpy.float32) / SIDE ** 0.5
        initializers.append(numpy_helper.from_array(matrix, f"w{layer}"))
        nodes.append(helper.make_node("MatMul", [value, f"w{layer}"], [f"y{layer}"], name=f"product{layer}"))
        nodes.append(helper.make_node("Relu", [f"y{layer}"], [f"z{layer}"], name=f"relu{layer}"))
        value = f"z{layer}"
    save(nodes, initializers, value, [1, SIDE], path, external)


def chain(path, count):
    import numpy
    from onnx import helper, numpy_helper
    rng = numpy.random.default_rng(0)
    nodes, initializers, value = [], [], "x"
    for block in range(count // 4):
        c, a, r, m, s = (f"{letter}{block}" for letter in "carms")
        initializers.append(numpy_helper.from_array(rng.standard_normal(16).astype(numpy.float32), c))
        nodes += [helper.make_node("Add", [value, c], [a], name=f"add{block}"), helper.make_node("Relu", [a], [r], name=f"relu{block}"),
                  helper.make_node("Mul", [r, c], [m], name=f"mul{block}"), helper.make_node("Add", [m, value], [s], name=f"sum{block}")]
        value = s
    save(nodes, initializers, value, ["N", 16], path, False)


def save(nodes, initializers, output, shape, path, external):
    import onnx
    from onnx import TensorProto, helper
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("x", output)]
    graph = helper.make_graph(nodes, "bench", ports[:1], ports[1:], initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    if external:
        onnx.save(model, path, save_as_external_data=True, location=os.path.basename(path) + ".data")
    else:
        onnx.save(model, path)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--bevel", default=ROOT / "build/release/bevel")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path, out = os.path.join(folder, "model.onnx"), os.path.join(folder, "out.onnx")
        for external in (False, True):
            # In a process of its own: Linux lets a child start with its parent's peak.
            subprocess.run([sys.executable, __file__, "--make", path, str(int(external))], check=True)
            size = sum(file.stat().st_size for file in pathlib.Path(folder).iterdir())
            where = "external data" if external else "inside the file"
            for command in ([arguments.bevel, "inspect", path], [arguments.bevel, "optimize", path, "-o", out]):
                peak, seconds = run(command)
                print(f"{size / 1e6:.0f} MB of weights {where:<16} {command[1]:<9} peak {peak / 1e6:7.1f} MB, {peak / size:5.2f} x the "
                      f"file; {seconds:5.2f} s CPU", flush=True)
            for file in pathlib.Path(folder).iterdir():
                file.unlink()
        counts = [5000, 10000, 20000]
        paths = [os.path.join(folder, f"chain{count}.onnx") for count in counts]
        for file, count in zip(paths, counts):
            subprocess.run([sys.executable, __file__, "--chain", file, str(count)], check=True)
        least = [float("inf")] * len(counts)
        for _ in range(arguments.rounds):
            for i, file in enumerate(paths):
                least[i] = min(least[i], run([arguments.bevel, "optimize", file, "-o", out])[1])
        for count, seconds in zip(counts, least):
            print(f"{count:>6} nodes: {seconds:5.2f} s CPU, {seconds / count * 1e6:5.1f} us per node", flush=True)
        print(f"growth from {counts[0]} to {counts[-1]} nodes: {least[-1] / least[0]:.2f} times for {counts[-1] // counts[0]} times the nodes")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--make"]:
        weights(sys.argv[2], sys.argv[3] == "1")
    elif sys.argv[1:2] == ["--chain"]:
        chain(sys.argv[2], int(sys.argv[3]))
    else:
        main()
