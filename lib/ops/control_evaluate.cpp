#include "lib/ops/tensor_family.h"

namespace bevel::ops {

Outputs evaluate_if(const EvalContext& ctx) {
  const Tensor* condition = ctx.input(0).tensor();
  if (condition == nullptr || condition->dtype() != DType::boolean || condition->size() != 1) {
    return fail_operand(0, "cond", "expected one boolean");
  }
  const std::string_view chosen = condition->as_int64(0) != 0 ? "then_branch" : "else_branch";
  // A node's captures are its subgraphs' captures in the order of the attributes.
  std::size_t first_capture = 0;
  for (const Attribute& attribute : ctx.node().attributes) {
    const GraphPtr* graph = std::get_if<GraphPtr>(&attribute.value);
    if (graph == nullptr || *graph == nullptr) continue;
    if (attribute.name == chosen) return ctx.run_subgraph(**graph, first_capture, {});
    first_capture += (*graph)->captures().size();
  }
  return fail_input("attribute '{}' must be a graph", chosen);
}

}  // namespace bevel::ops
