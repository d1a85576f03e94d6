// What the families' downgrade functions share: constant operands become attributes again.
#pragma once

#include <cstddef>
#include <optional>
#include <string_view>

#include "lib/ir/graph.h"
#include "lib/support/result.h"

namespace bevel::ops {

// Input `index` and those behind it go, and its ints, which must be constant, become an attribute; nothing where the input is absent,
// no attribute where the list is empty.
Status input_to_attribute(Model& model, NodeId node, std::string_view name, std::size_t index);
// The value of an input that is an initializer or a Constant node's output.
std::optional<Tensor> constant_operand(const Model& model, NodeId node, std::size_t index);
// Drops the inputs from `count` on, and the initializers that nothing else reads.
void drop_inputs(Model& model, NodeId node, std::size_t count);

}  // namespace bevel::ops
