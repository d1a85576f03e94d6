// lift-constants: constant nodes become initializers.
//
// Exporters write small constants as nodes without operands. An initializer says the same, and all passes, the planner
// and the emitters look for constants there only. The tensor's storage is shared, not copied.
//
// Limits: a constant node that feeds a graph output stays, since a graph output should be computed by a node.
//
//   c = Constant <value = float[] {6}> ()
//   y = Mul (x, c)
// becomes an initializer `float[] c = {6}`.
#include "lib/ops/semantics.h"
#include "passes/simplify/rewrite.h"

namespace bevel::passes {
namespace {

Result<PassStats> run(Model& model, const Options&, PassContext&) {
  PassStats stats;
  Graph& graph = model.graph;
  for (const NodeId id : graph.node_order()) {
    const auto constant = ops::as_constant(model, graph, id);
    if (!constant || !replace_output_by_constant(graph, id, 0, *constant).valid()) continue;
    graph.erase_node(id);
    ++stats.changes;
  }
  return stats;
}

}  // namespace

extern const PassRecord lift_constants = {
    "lift-constants", "turn constant nodes into initializers", Accuracy::exact, {}, run};

}  // namespace bevel::passes
