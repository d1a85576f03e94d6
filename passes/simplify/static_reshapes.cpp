// static-reshapes: a reshape whose target is computed, but known, gets a constant target.
//
// PyTorch writes `x.view(x.size(0), -1)` as Shape, Gather, Unsqueeze, Concat and a Reshape that reads the result at run time. When
// inference knows the result's shape but for one dimension (the batch), a constant target with -1 there says the same, and the
// shape arithmetic has no reader left.
//
// Limits: two unknown dimensions, or an empty one, and the node stays.
//
//   s = Shape (x)                      # x is float[N,8,1,1]
//   n = Slice (s, zero, one)
//   t = Concat <axis = 0> (n, minus_one)
//   y = Reshape (x, t)                 # y is float[N,8]
// becomes
//   y = Reshape (x, y_shape)           # int64[2] y_shape = {-1, 8}; the rest is left to eliminate-dead
#include "lib/ops/semantics.h"
#include "passes/simplify/rewrite.h"

namespace bevel::passes {
namespace {

Result<PassStats> run(Model& model, const Options&, PassContext&) {
  PassStats stats;
  Graph& graph = model.graph;
  for (const NodeId id : graph.node_order()) {
    const auto input = ops::as_reshaping(model, graph, id);
    if (!input) continue;
    const Node& node = graph.node(id);
    bool computed = false;
    for (std::size_t i = 1; i < node.inputs.size(); ++i) {
      computed = computed || (node.inputs[i].valid() && graph.constant(node.inputs[i]) == nullptr);
    }
    const auto target = computed ? reshape_target(graph.value(node.outputs[0]).type) : std::nullopt;
    if (!target) continue;
    become_reshape(graph, id, *input, *target);
    ++stats.changes;
  }
  return stats;
}

}  // namespace

extern const PassRecord static_reshapes = {
    "static-reshapes", "give reshapes of known result a constant target", Accuracy::exact, {}, run};

}  // namespace bevel::passes
