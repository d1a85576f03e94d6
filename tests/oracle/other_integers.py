"""An int8 QDQ model with other integers in the same places: weights of 4 bits, or activations of 16. The networks are not meant to be
accurate, only to hold every operator that they had with integers that kernels exist for."""

import numpy as np
import onnx
from onnx import helper, numpy_helper

OPSET = 21  # the first with int4 and int16 in QuantizeLinear


def pair_nodes(model):
    return [node for node in model.graph.node if node.op_type in ("QuantizeLinear", "DequantizeLinear")]


def replace(model, initializer, tensor):
    tensor.name = initializer.name
    initializer.CopyFrom(tensor)


def with_int4_weights(model):
    """Conv, Gemm and MatMul weights, symmetric: q / 16, scale * 16."""
    constants = {i.name: i for i in model.graph.initializer}
    readers = {}
    for node in model.graph.node:
        for operand in node.input:
            readers.setdefault(operand, []).append(node)
    changed = set()
    for node in pair_nodes(model):
        weights = constants.get(node.input[0])
        products = [r for r in readers.get(node.output[0], []) if r.op_type in ("Conv", "Gemm", "MatMul")]
        if weights is None or weights.data_type != onnx.TensorProto.INT8 or not products:
            continue
        q = np.clip(np.rint(numpy_helper.to_array(weights).astype(np.float64) / 16), -8, 7).astype(np.int8)
        zeros = numpy_helper.to_array(constants[node.input[2]])
        scale = numpy_helper.to_array(constants[node.input[1]])
        for name, values in ((node.input[0], q), (node.input[2], zeros)):
            if name not in changed:
                replace(model, constants[name], helper.make_tensor(name, onnx.TensorProto.INT4, values.shape, values.flatten()))
                changed.add(name)
        if node.input[1] not in changed:
            replace(model, constants[node.input[1]], numpy_helper.from_array(scale * np.float32(16)))
            changed.add(node.input[1])
    assert changed, "no weights to make int4"
    model.opset_import[0].version = OPSET


def with_int16_activations(model):
    """Every 8-bit activation as int16 around 0, with a scale that covers the same range."""
    constants = {i.name: i for i in model.graph.initializer}
    done = {}
    for node in pair_nodes(model):
        if node.input[0] in constants or constants[node.input[2]].data_type not in (onnx.TensorProto.INT8, onnx.TensorProto.UINT8):
            continue
        zero = numpy_helper.to_array(constants[node.input[2]])
        scale = numpy_helper.to_array(constants[node.input[1]])
        key = (node.input[1], node.input[2])
        if key not in done:
            info = np.iinfo(zero.dtype)
            reach = max(int(zero) - info.min, info.max - int(zero))
            names = [f"{key[0]}_{key[1]}_int16_scale", f"{key[0]}_{key[1]}_int16_zero"]
            model.graph.initializer.append(numpy_helper.from_array(np.float32(scale * reach / 32767).reshape(()), names[0]))
            model.graph.initializer.append(numpy_helper.from_array(np.zeros((), np.int16), names[1]))
            done[key] = names
        node.input[1], node.input[2] = done[key]
    assert done, "no activations to make int16"
    for value in list(model.graph.value_info):
        if value.type.tensor_type.elem_type in (onnx.TensorProto.INT8, onnx.TensorProto.UINT8):
            model.graph.value_info.remove(value)
    model.opset_import[0].version = OPSET


KINDS = {"w4a8": with_int4_weights, "16x8": with_int16_activations}


def write(kind, source, target):
    model = onnx.load(str(source))
    KINDS[kind](model)
    onnx.save(model, str(target))
