// eliminate-dead: nodes and initializers that no output depends on.
//
// Other passes leave what they no longer read; exporters leave training's remains. Captured values count as read by the node whose
// subgraph captures them.
//
// Limits: graph inputs stay, read or not: they are the model's interface.
//
//   unused = Exp (x)
//   y = Relu (x)
// becomes
//   y = Relu (x)
#include "passes/pass.h"

namespace bevel::passes {
namespace {

Result<PassStats> run(Model& model, const Options&, PassContext&) {
  const Graph::Swept swept = model.graph.erase_dead();
  PassStats stats;
  stats.changes = swept.nodes + swept.constants;
  return stats;
}

}  // namespace

extern const PassRecord eliminate_dead = {
    "eliminate-dead", "remove nodes and initializers that no output depends on", Accuracy::exact, {}, run};

}  // namespace bevel::passes
