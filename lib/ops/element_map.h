// Nodes that do the same to every element of a channel: a batch normalization, a clamp, or one after the other. What makes their operand
// may apply them while it holds the elements in registers (EvalContext::claim_map), with the bits that the nodes themselves compute.
#pragma once

#include <limits>
#include <optional>
#include <vector>

#include "lib/ir/graph.h"

namespace bevel::ops {

// float32. x = x * factor[c] + offset[c], rounded twice, c the index along axis 1; then low where x < low; then high where x > high. NaN stays.
struct ElementMap {
  ValueId input;
  std::vector<float> factor, offset;  // one per channel, or empty: as it is
  float low = -std::numeric_limits<float>::infinity(), high = std::numeric_limits<float>::infinity();
  bool clamps = false;
  [[nodiscard]] bool scales() const { return !factor.empty(); }
  // Does `next` after this one; false, and nothing changed, where that is no map of this kind.
  bool append(const ElementMap& next);
};

// nullopt where the node is none, or has an operand that is no constant beside its input.
std::optional<ElementMap> as_element_map(const Model& model, const Graph& graph, NodeId node);

}  // namespace bevel::ops
