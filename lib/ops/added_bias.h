// A bias behind a product that has no operand for one: MatMul, then Add of a constant.
#pragma once

#include <optional>

#include "lib/ir/graph.h"
#include "lib/ops/facts.h"

namespace bevel::ops {

// What `sum` adds to the result of `product`, which it alone reads: float32 [channels], one constant for each output channel of the product's
// operand 1 (a scalar: repeated). nullopt: something else, or a product that takes a bias itself.
std::optional<Tensor> added_bias(const Model& model, const Graph& graph, NodeId product, const Facts& facts, NodeId sum);

}  // namespace bevel::ops
