// Which nodes compute in integers, and why the others do not. Decided by facts, the recipe and --keep-float alone.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lib/ir/graph.h"
#include "lib/ops/facts.h"
#include "lib/support/result.h"
#include "passes/recipe.h"

namespace bevel::passes {

// Facts of every alive node of the top graph, by node index.
std::vector<ops::Facts> all_facts(const Model& model);

struct Selection {
  std::vector<bool> integer;          // by node index
  std::vector<std::string> reason;    // by node index: why a node that could matter stays float; empty otherwise
  std::vector<bool> quantized_before; // by node index: refused because the model quantizes it already, perhaps to an integer kernel
  // By node index: clamps, and additions of a bias to a product that has none, in execution order, whose only computed input is the result
  // of this integer node; they belong to its output's quantization. Such nodes are not `integer` themselves.
  std::vector<std::vector<NodeId>> clamps;
  // By node index: reads and writes int16 where the rest is 8-bit. Movements go as what they move.
  std::vector<bool> wide;
  std::vector<bool> kept;             // by node index: float because keep-float or the recipe says so
  [[nodiscard]] bool kept_float(NodeId id) const { return kept[id.index]; }
  [[nodiscard]] bool is_wide(NodeId id) const { return id.valid() && wide[id.index]; }
  [[nodiscard]] bool is_integer(NodeId id) const { return id.valid() && integer[id.index]; }
};

// `kept_float`: nodes that stay in float, with the reason. `keep_float`: node names and op types, separated by commas or semicolons; a word that is neither in this model is a usage error (exit 2).
Result<Selection> select_nodes(const Model& model, const std::vector<ops::Facts>& facts, const Recipe& recipe,
                               std::string_view keep_float, const std::map<NodeId, std::string>& kept_float = {});

// The value that holds an integer node's result `output` after the clamps that follow it.
ValueId final_value(const Graph& graph, const Selection& selection, NodeId node, ValueId output);

}  // namespace bevel::passes
