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

}  // namespace bevel::ops
