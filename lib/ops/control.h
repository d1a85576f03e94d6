// What If, Loop, Scan, SequenceMap and the families of sequences and optionals share.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "lib/ops/family.h"

namespace bevel::ops {

// What holds of a value that is of one type or of the other; unknown where they have nothing in common.
Type common_type(const Type& a, const Type& b);

// The body of a node that runs a subgraph, and where its captures begin among the node's.
struct Body {
  const Graph* graph = nullptr;
  std::size_t first_capture = 0;
};
Result<Body> body_of(const Node& node, std::string_view attribute);

// A tensor or sequence operand of an op that takes any kind of value.
Result<const Tensor*> tensor_operand(const EvalContext& ctx, std::size_t i, std::string_view role);
Result<const Sequence*> sequence_operand(const EvalContext& ctx, std::size_t i, std::string_view role);
// The one element of an integer operand of any rank.
Result<std::int64_t> integer_operand(const EvalContext& ctx, std::size_t i, std::string_view role);
Result<bool> boolean_operand(const EvalContext& ctx, std::size_t i, std::string_view role);

// The dims of a tensor of this type with unknown extents taken as 0, for a list of none of them; an error where even the rank is unknown.
Result<Tensor> none_of(const Type& element, std::size_t axis);

// Evaluates to the same every time if all that is in the node's subgraphs does (facts_of.cpp).
bool subgraphs_are_pure(const FactsContext& ctx);

}  // namespace bevel::ops
