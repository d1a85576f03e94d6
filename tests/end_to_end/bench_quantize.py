#!/usr/bin/env python3
"""How scripts/bench quantize judges: average precision and what stays in float, on cases whose answers are known by hand.

    bench_quantize.py BEVEL SOURCE_DIR
"""

import math
import pathlib
import sys
import tempfile

import numpy as np
import onnx
from onnx import TensorProto, helper


def cell(grid, row, column, kind, objectness, extent):
    """Writes one box in the middle between its cell's corner and the next."""
    half = math.atanh(0.5)
    grid[0, row, column] = objectness
    grid[1:5, row, column] = [half, half, *[math.log(extent / (1 - extent))] * 2]
    grid[5 + kind, row, column] = 1


def check_precision(map50):
    """Two classes in a grid of 4: class 0 has two boxes, of which the better guess is wrong; class 1 is found once and guessed twice."""
    grid = np.zeros((7, 4, 4))
    grid[1:5] = -20  # elsewhere boxes without extent, of no score
    cell(grid, 0, 0, 0, 0.9, 0.2)  # centre 0.125, 0.125: nothing there
    cell(grid, 2, 2, 0, 0.8, 0.2)  # centre 0.625, 0.625: the first of class 0
    cell(grid, 1, 3, 1, 0.7, 0.2)  # centre 0.875, 0.375: class 1
    scores, kinds, boxes = map50.detections(grid)
    assert kinds.tolist() == [0, 0, 1], kinds
    assert np.allclose(boxes[1], [0.525, 0.525, 0.725, 0.725]), boxes
    assert np.allclose(scores, [0.9 ** 0.6, 0.8 ** 0.6, 0.7 ** 0.6]), scores
    truth = (np.array([0, 0, 1]), np.array([[0.525, 0.525, 0.725, 0.725], [0.1, 0.7, 0.2, 0.8], [0.775, 0.275, 0.975, 0.475]]))
    # Class 0: recall 1/2 at precision 1/2; class 1: everything.
    found = map50.mean_average_precision([(scores, kinds, boxes)], [truth])
    assert abs(found - 100 * (0.25 + 1) / 2) < 1e-9, found
    # A second guess of a box that is taken is wrong, and overlapping ones of a class are dropped before they are guessed.
    assert abs(map50.average_precision([True, False, True], 2) - (0.5 + 0.5 * 2 / 3)) < 1e-9
    cell(grid, 2, 3, 0, 0.5, 0.9)
    cell(grid, 1, 2, 0, 0.4, 0.9)  # both 0.9 wide, 0.25 apart both ways: 0.65^2 / (2 * 0.9^2 - 0.65^2) = 0.35
    assert len(map50.detections(grid)[0]) == 5, "below 0.45: kept"
    grid[:, 1, 2] = 0
    cell(grid, 2, 2, 0, 0.4, 0.9)  # 0.25 apart one way: 0.65 * 0.9 / (2 * 0.9^2 - 0.65 * 0.9) = 0.57
    assert len(map50.detections(grid)[0]) == 3, "above 0.45: dropped"


def check_float_products(accuracy, folder):
    """Through movers and Concat a product reads integers; through Relu it reads float."""
    tensor = lambda name, values, kind=TensorProto.FLOAT: helper.make_tensor(name, kind, np.shape(values), np.ravel(values).tolist())
    integers = helper.make_node("DequantizeLinear", ["w", "s", "z"], ["wf"])
    nodes = [helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]), helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
             integers, helper.make_node("Concat", ["d", "d"], ["c"], axis=0), helper.make_node("Transpose", ["c"], ["t"], perm=[0, 1]),
             helper.make_node("MatMul", ["t", "wf"], ["a"], name="in_integers"), helper.make_node("Relu", ["a"], ["r"]),
             helper.make_node("MatMul", ["r", "wf"], ["y"], name="in_float")]
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 2])],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, [4, 2])],
                              [tensor("s", 0.5), tensor("z", 0, TensorProto.INT8), tensor("w", [[1, 2], [3, 4]], TensorProto.INT8)])
    path = pathlib.Path(folder) / "m.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)]), path)
    assert accuracy.float_products(path) == (["in_float"], 2), accuracy.float_products(path)


def main():
    sys.path.insert(0, str(pathlib.Path(sys.argv[2]) / "scripts/bench_quantize"))
    import accuracy
    import map50
    check_precision(map50)
    with tempfile.TemporaryDirectory() as folder:
        check_float_products(accuracy, folder)
    print("average precision and float products: as by hand")
    return 0


if __name__ == "__main__":
    sys.exit(main())
