// The order in which a graph's steps run, and which values each step is the last to read.
#pragma once

#include <optional>
#include <vector>

#include "lib/ir/datum.h"
#include "lib/ir/graph.h"
#include "lib/ops/element_map.h"
#include "lib/plan/grouping.h"
#include "lib/support/result.h"

namespace bevel::eval {

struct Step {
  std::vector<NodeId> nodes;       // one node, or the members of a group
  int group = -1;                  // index into the grouping; -1: a single node
  std::vector<ValueId> last_reads; // values that no later step needs
  ValueId mapped_ahead;            // set: the node is part of an earlier step's `map`, whose result this is; it may be there already
  // Of a single node: what the nodes behind it do to its result, each the only reader of the one before.
  struct Map {
    ops::ElementMap does;
    std::vector<NodeId> nodes;
  };
  std::optional<Map> map;
};

struct Schedule {
  std::vector<Step> steps;
  std::vector<Datum> constants;    // by value index; absent where the value is none
  std::vector<ValueId> fed_inputs; // graph inputs without a default, in order
};

// One step per node.
Schedule schedule_nodes(const Model& model, const Graph& graph);
// One step per group of the model's top graph, or per integer group with the nodes of the others one by one; nodes that several groups
// share (DequantizeLinear) are computed where needed.
Schedule schedule_groups(const Model& model, const plan::Grouping& grouping, bool integer_alone);

}  // namespace bevel::eval
