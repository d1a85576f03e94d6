// Operators that hold their quantization in operands (QLinearConv, ...), said as nodes: DequantizeLinear, the float operator, QuantizeLinear.
#pragma once

#include "lib/ir/graph.h"
#include "lib/support/result.h"

namespace bevel::ops {

// A product that reads stored 8-bit integers (QLinearConv, MatMulInteger, ...).
bool works_on_stored_integers(const Model& model, NodeId node);

// Rewrites QLinearConv (opset 10), QLinearMatMul (10, 21) and com.microsoft's QLinearSoftmax where scales and zero points are constant;
// others stay. The results keep their names; the float value that is rounded to "x_quantized" gets the name "x" where that is free.
// Types are inferred before and afterwards.
Status state_quantization_as_nodes(Model& model);

// Rewrites the operators of com.microsoft that ONNX Runtime's quantizer writes and that are no operators of Bevel's (QLinearAdd, QLinearMul, QLinearConcat,
// QLinearSigmoid, QLinearLeakyRelu, QLinearAveragePool, QLinearGlobalAveragePool, QGemm) in the same way, where scales and zero points are constant
// and channels come before positions; others stay. QLinearConv and QLinearMatMul too, where their weights are unsigned about another zero than 128, which no
// kernel takes. Whether there was one.
bool state_contributed_operators_as_nodes(Model& model);
// Constants that a QuantizeLinear of the main graph rounds (weights of a model that was quantized while it was trained) are stored as its integers. How many.
std::size_t store_rounded_constants(Model& model);

}  // namespace bevel::ops
