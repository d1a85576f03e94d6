// merge-reshapes: a reshape of a reshape is one reshape.
//
// Reshape, Flatten, Squeeze and Unsqueeze keep the elements in row-major order, so only the last shape of a chain matters. A chain
// that ends in the shape it began with is nothing at all.
//
// Limits: the last shape must be known but for one dimension, which the merged Reshape infers.
//
//   a = Flatten <axis = 1> (x)         # x is float[N,8,1,1]
//   y = Unsqueeze (a, axes)            # y is float[N,8,1]
// becomes
//   y = Reshape (x, y_shape)           # int64[3] y_shape = {-1, 8, 1}
#include "lib/ops/semantics.h"
#include "passes/simplify/rewrite.h"

namespace bevel::passes {
namespace {

Result<PassStats> run(Model& model, const Options&, PassContext&) {
  PassStats stats;
  Graph& graph = model.graph;
  for (const NodeId id : graph.node_order()) {
    if (!graph.alive(id)) continue;
    const auto middle = ops::as_reshaping(model, graph, id);
    if (!middle) continue;
    const NodeId producer = graph.value(*middle).producer;
    const auto input = producer.valid() ? ops::as_reshaping(model, graph, producer) : std::nullopt;
    if (!input) continue;
    const Type& wanted = graph.value(graph.node(id).outputs[0]).type;
    if (same_shape(graph.value(*input).type, wanted, true) && bypass(graph, id, *input)) {
      ++stats.changes;
      continue;
    }
    const auto target = reshape_target(wanted);
    if (!target) continue;
    become_reshape(graph, id, *input, *target);
    ++stats.changes;
  }
  return stats;
}

}  // namespace

extern const PassRecord merge_reshapes = {
    "merge-reshapes", "compose consecutive reshapes, flattens, squeezes and unsqueezes", Accuracy::exact, {}, run};

}  // namespace bevel::passes
