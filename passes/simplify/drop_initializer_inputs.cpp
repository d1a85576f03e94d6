// drop-initializer-inputs: initializers are constants, not inputs with a default.
//
// Files of IR version 3 had to list every initializer among the graph's inputs as well. Read to the letter, each weight is then
// an input that a caller may override, and nothing that depends on it may be folded. No exporter meant that: the list was a
// rule of the format. This pass takes initializers off the list of inputs; what has no initializer stays an input.
//
// Limits: a caller who does override such a "default" can no longer do so; later IR versions state the difference, so the
// model becomes version 4 at least (onnx/docs/IR.md, "Graph inputs and outputs").
//
//   g (float[2] x, float[2] w = {1, 2}) => (float[2] y) { y = Add (x, w) }
// becomes
//   g (float[2] x) => (float[2] y) <float[2] w = {1, 2}> { y = Add (x, w) }
#include "passes/pass.h"

namespace bevel::passes {
namespace {

constexpr std::int64_t kSeparateInitializers = 4;  // first IR version whose initializers need not be inputs

Result<PassStats> run(Model& model, const Options&, PassContext&) {
  PassStats stats;
  const std::vector<ValueId> inputs = model.graph.inputs();
  for (const ValueId input : inputs) {
    if (!model.graph.value(input).constant) continue;
    model.graph.remove_input(input);
    ++stats.changes;
  }
  if (stats.changes > 0 && model.ir_version < kSeparateInitializers) model.ir_version = kSeparateInitializers;
  return stats;
}

}  // namespace

extern const PassRecord drop_initializer_inputs = {
    "drop-initializer-inputs", "take initializers off the list of inputs", Accuracy::exact, {}, run};

}  // namespace bevel::passes
