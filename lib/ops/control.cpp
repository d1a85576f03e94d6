// If. Loop and Scan have no evaluation yet.
#include "lib/ops/tensor_family.h"

namespace bevel::ops {

Outputs evaluate_if(const EvalContext& ctx);  // control_evaluate.cpp

namespace {

// What holds whichever branch runs.
Type common_type(const Type& a, const Type& b) {
  if (a == b) return a;
  if (!a.is_tensor() || !b.is_tensor()) return {};
  Type result = Type::tensor(a.dtype == b.dtype ? a.dtype : DType::undefined);
  if (a.shape.has_rank && b.shape.has_rank && a.shape.rank() == b.shape.rank()) {
    result.shape = unknown_dims(a.shape.rank());
    for (std::size_t i = 0; i < a.shape.rank(); ++i) {
      if (a.shape.dims[i] == b.shape.dims[i]) result.shape.dims[i] = a.shape.dims[i];
    }
  }
  return result;
}

Status infer_if(InferContext& ctx) {
  const GraphPtr* then_branch = attr_graph(ctx.node(), "then_branch");
  const GraphPtr* else_branch = attr_graph(ctx.node(), "else_branch");
  if (then_branch == nullptr || else_branch == nullptr) return fail_input("attributes 'then_branch' and 'else_branch' must be graphs");
  BEVEL_TRY(const auto then_types, ctx.infer_subgraph(**then_branch, {}));
  BEVEL_TRY(const auto else_types, ctx.infer_subgraph(**else_branch, {}));
  const std::size_t count = ctx.node().outputs.size();
  if (then_types.size() != count || else_types.size() != count) {
    return fail_input("the branches give {} and {} values, but the node has {} outputs", then_types.size(), else_types.size(), count);
  }
  for (std::size_t i = 0; i < count; ++i) ctx.set_output(i, common_type(then_types[i], else_types[i]));
  return {};
}

}  // namespace

extern const OpRecord if_record{.name = "If", .max_outputs = -1, .infer = infer_if, .evaluate = evaluate_if, .any_kind = true};

}  // namespace bevel::ops
