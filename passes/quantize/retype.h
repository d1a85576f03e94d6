// Floating-point arithmetic moved from one element type to another, with a Cast where the two meet.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "lib/ir/graph.h"

namespace bevel::passes {

struct Retyping {
  DType from, to;
  // By node index: why a node goes on computing in `from`; empty: it moves, if it holds anything of that type.
  std::vector<std::string> stays;
};

// Why a node cannot compute in `to` what it computes in `from`, as far as its operator tells; empty when it can.
std::string cannot_move(const Model& model, NodeId node, DType from, DType to);
// Whether the node reads or makes a tensor of that type.
bool holds(const Graph& graph, const Node& node, DType dtype);
// The tensor's elements in another floating-point type, each rounded once. float32, float16 and bfloat16.
Tensor in_dtype(const Tensor& tensor, DType to);

// Moves the main graph's nodes. Inputs, outputs and what subgraphs read keep name and type: a Cast stands between. Constants are converted,
// or copied where both types are read. Types must be inferred; returns the number of nodes that moved.
std::size_t retype(Model& model, const Retyping& retyping);

}  // namespace bevel::passes
