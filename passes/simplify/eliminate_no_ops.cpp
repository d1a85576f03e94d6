// eliminate-no-ops: nodes whose result is their operand.
//
// Such nodes cost a copy and a step on the device, and hide neighbours from each other that other passes would join: identities,
// dropouts at inference, casts to the type that a value already has, reshapes to the shape it already has, transposes
// that move nothing, padding by nothing, slices of everything, products with one. Facts say which: the family marks a node as an identity,
// or its iteration space shows that element i of the result is element i of the operand.
//
// Limits: a node between a graph input (or an initializer) and a graph output stays, since both names must survive. x + 0 stays:
// it is not the identity for x = -0.
//
//   a = Identity (x)
//   b = Pad (a, zeros)             # int64[4] zeros = {0, 0, 0, 0}
//   y = Relu (b)
// becomes
//   y = Relu (x)
#include <algorithm>

#include "lib/ops/op.h"
#include "lib/ops/semantics.h"
#include "passes/simplify/rewrite.h"

namespace bevel::passes {
namespace {

bool all_zero(const std::vector<std::int64_t>& values) {
  return std::all_of(values.begin(), values.end(), [](std::int64_t value) { return value == 0; });
}

// Data movement from operand 0 alone, axis k to axis k, from index 0, over the whole extent.
bool moves_nothing(const Graph& graph, const Node& node, const ops::IterationSpace& space) {
  if (space.kind != ops::OpKind::move || space.inputs.empty() || space.outputs.size() != 1) return false;
  for (std::size_t i = 1; i < space.inputs.size(); ++i) {
    if (!space.inputs[i].axes.empty()) return false;
  }
  const auto& from = space.inputs[0].axes;
  const auto& to = space.outputs[0].axes;
  if (from.size() != to.size()) return false;
  for (std::size_t k = 0; k < from.size(); ++k) {
    using Kind = ops::AxisMap::Kind;
    const auto whole = [](const ops::AxisMap& map) {
      return map.loops.size() == 1 && (map.kind == Kind::follow || (map.kind == Kind::segment && map.begin == 0));
    };
    if (!whole(from[k]) || !whole(to[k]) || from[k].loops != to[k].loops) return false;
  }
  return same_shape(graph.value(node.inputs[0]).type, graph.value(node.outputs[0]).type, false);
}

bool is_no_op(const Model& model, const Graph& graph, NodeId id) {
  const Node& node = graph.node(id);
  if (node.inputs.empty() || !node.inputs[0].valid() || node.outputs.empty() || !node.outputs[0].valid()) return false;
  if (ops::find_op(node) == nullptr || ops::is_quantization(node)) return false;
  for (std::size_t i = 1; i < node.outputs.size(); ++i) {
    if (node.outputs[i].valid() && graph.value(node.outputs[i]).has_uses()) return false;
  }
  const ops::Facts facts = ops::facts_of(model, graph, id);
  if (facts.value.identity || moves_nothing(graph, node, facts.space)) return true;
  if (const auto transposition = ops::as_transposition(model, graph, id)) return is_identity_order(transposition->order);
  if (const auto padding = ops::as_padding(model, graph, id)) return all_zero(padding->begin) && all_zero(padding->end);
  if (ops::as_reshaping(model, graph, id)) {
    return same_shape(graph.value(node.inputs[0]).type, graph.value(node.outputs[0]).type, true);
  }
  return false;
}

Result<PassStats> run(Model& model, const Options&, PassContext&) {
  PassStats stats;
  Graph& graph = model.graph;
  for (const NodeId id : graph.node_order()) {
    if (is_no_op(model, graph, id)) {
      stats.changes += bypass(graph, id, graph.node(id).inputs[0]);
      continue;
    }
    // Times one, minus zero, divided by one; exact, unlike plus zero.
    const auto affine = ops::as_channel_affine(model, graph, id);
    if (!affine || affine->scales() || affine->shifts() || affine->addend.valid()) continue;
    if (graph.node(id).inputs.size() != 2) continue;  // a normalization rounds on its way to the same number
    stats.changes += bypass(graph, id, affine->input);
  }
  return stats;
}

}  // namespace

extern const PassRecord eliminate_no_ops = {
    "eliminate-no-ops", "remove identities, dropouts and other nodes that change nothing", Accuracy::exact, {}, run};

}  // namespace bevel::passes
