// Ops along an ordered axis: TopK, CumSum and CumProd.
#include "lib/ops/downgrade.h"
#include "lib/ops/tensor_family.h"

namespace bevel::ops {

// ordering_evaluate.cpp
Outputs evaluate_top_k(const EvalContext& ctx);
Outputs evaluate_cum_sum(const EvalContext& ctx);
Outputs evaluate_cum_prod(const EvalContext& ctx);

namespace {

Status infer_top_k(InferContext& ctx) {
  BEVEL_TRY(const std::int64_t given, attr_int(ctx.node(), "axis", -1));
  const Shape& input = input_shape(ctx, 0);
  Shape shape = input;
  for (Dim& dim : shape.dims) dim.denotation.clear();
  if (input.has_rank) {
    BEVEL_TRY(const std::int64_t normal, normalize_axis(given, input.rank()));
    const auto axis = static_cast<std::size_t>(normal);
    shape.dims[axis] = Dim();
    if (const auto k = ctx.input_ints(1); k && k->size() == 1) {
      shape.dims[axis] = (*k)[0];
      if ((*k)[0].known() && input.dims[axis].known() && (*k)[0].value > input.dims[axis].value) {
        return fail_operand(1, "K", "is {}, but the axis has {} elements", (*k)[0].value, input.dims[axis].value);
      }
    }
  }
  ctx.set_output(0, Type::tensor(input_dtype(ctx, 0), shape));
  ctx.set_output(1, Type::tensor(DType::int64, shape));
  return {};
}

// Opset 10 made k an input.
Status upgrade_top_k(Model& model, NodeId node, int from) {
  if (from != 9) return {};
  BEVEL_TRY(const std::int64_t k, require_int(model.graph.node(node), "k"));
  model.graph.mutable_node(node).remove_attribute("k");
  set_input(model, node, 1, "k", Tensor::of<std::int64_t>({1}, std::vector<std::int64_t>{k}));
  return {};
}

Status downgrade_top_k(Model& model, NodeId id, int from) {
  if (from != 10) return {};
  const auto tensor = constant_operand(model, id, 1);
  const auto k = constant_ints(tensor ? &*tensor : nullptr);
  if (!k || k->size() != 1) return fail_operand(1, "K", "must be one constant number to become an attribute");
  drop_inputs(model, id, 1);
  model.graph.mutable_node(id).set_attribute("k", k->front());
  return {};
}

}  // namespace

extern const OpRecord top_k_record{.name = "TopK", .min_inputs = 1, .max_inputs = 2, .max_outputs = 2, .infer = infer_top_k,
                     .evaluate = evaluate_top_k, .upgrade = upgrade_top_k, .downgrade = downgrade_top_k};
extern const OpRecord cum_sum_record{.name = "CumSum", .min_inputs = 2, .max_inputs = 2, .infer = infer_same_type,
                       .evaluate = evaluate_cum_sum};
extern const OpRecord cum_prod_record{.name = "CumProd", .since = 26, .min_inputs = 2, .max_inputs = 2, .infer = infer_same_type,
                        .evaluate = evaluate_cum_prod};

}  // namespace bevel::ops
