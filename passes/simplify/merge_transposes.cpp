// merge-transposes: a transpose of a transpose is one transpose, or none.
//
// Exporters that translate layouts op by op write pairs of transposes that undo each other, and chains of them. Each is a
// pass over memory on the device; two in a row are one with the composed order, and the identity order needs none.
//
// Limits: looks at directly connected transposes only; cancel-transposes moves distant ones together.
//
//   a = Transpose <perm = [0, 3, 1, 2]> (x)
//   b = Transpose <perm = [0, 2, 3, 1]> (a)
//   y = Relu (b)
// becomes
//   a = Transpose <perm = [0, 3, 1, 2]> (x)     # left to eliminate-dead when nothing else reads it
//   y = Relu (x)
#include "lib/ops/semantics.h"
#include "passes/simplify/rewrite.h"

namespace bevel::passes {
namespace {

Result<PassStats> run(Model& model, const Options&, PassContext&) {
  PassStats stats;
  Graph& graph = model.graph;
  for (const NodeId id : graph.node_order()) {
    if (!graph.alive(id)) continue;
    const auto second = ops::as_transposition(model, graph, id);
    if (!second) continue;
    const NodeId producer = graph.value(second->input).producer;
    const auto first = producer.valid() ? ops::as_transposition(model, graph, producer) : std::nullopt;
    if (!first || first->order.size() != second->order.size()) continue;
    // Axis k of the result is axis second[k] of the middle, which is axis first[second[k]] of the input.
    std::vector<std::int64_t> order;
    for (const std::int64_t axis : second->order) order.push_back(first->order[static_cast<std::size_t>(axis)]);
    if (is_identity_order(order) && bypass(graph, id, first->input)) {
      ++stats.changes;
      continue;
    }
    graph.set_operand(id, 0, first->input);
    graph.mutable_node(id).set_attribute("perm", std::move(order));
    ++stats.changes;
  }
  return stats;
}

}  // namespace

extern const PassRecord merge_transposes = {
    "merge-transposes", "compose consecutive transposes", Accuracy::exact, {}, run};

}  // namespace bevel::passes
