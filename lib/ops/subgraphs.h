// Walking the graphs in a node's attributes, in the order in which their captures stand among the node's.
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "lib/ir/graph.h"
#include "lib/support/result.h"

namespace bevel::ops {

// visit(const GraphPtr&) for each.
template <typename Visit>
void for_each_subgraph(const Node& node, Visit&& visit) {
  for (const Attribute& attribute : node.attributes) {
    if (const auto* one = std::get_if<GraphPtr>(&attribute.value)) {
      if (*one) visit(*one);
    } else if (const auto* list = std::get_if<std::vector<GraphPtr>>(&attribute.value)) {
      for (const GraphPtr& graph : *list)
        if (graph) visit(graph);
    }
  }
}

// Replaces each by a copy that edit(Graph&) -> Status has changed.
template <typename Edit>
Status rewrite_subgraphs(Node& node, Edit&& edit) {
  const auto rewrite = [&](GraphPtr& graph) -> Status {
    if (!graph) return {};
    auto copy = std::make_shared<Graph>(*graph);
    BEVEL_TRY_STATUS(edit(*copy));
    graph = std::move(copy);
    return {};
  };
  for (Attribute& attribute : node.attributes) {
    if (auto* one = std::get_if<GraphPtr>(&attribute.value)) {
      BEVEL_TRY_STATUS(rewrite(*one));
    } else if (auto* list = std::get_if<std::vector<GraphPtr>>(&attribute.value)) {
      for (GraphPtr& graph : *list) BEVEL_TRY_STATUS(rewrite(graph));
    }
  }
  return {};
}

}  // namespace bevel::ops
