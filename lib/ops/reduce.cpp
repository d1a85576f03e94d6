// ReduceSum, Mean, Max, Min, Prod, L1, L2, LogSum, LogSumExp, SumSquare; ArgMax and ArgMin. Axes are an attribute below
// opset 18 (13 for ReduceSum) and an input after it; both forms are read here.
#include <algorithm>

#include "lib/ops/lower_functions.h"
#include "lib/ops/downgrade.h"
#include "lib/ops/tensor_family.h"

namespace bevel::ops {

// reduce_evaluate.cpp
Outputs evaluate_reduce_sum(const EvalContext& ctx);
Outputs evaluate_reduce_mean(const EvalContext& ctx);
Outputs evaluate_reduce_max(const EvalContext& ctx);
Outputs evaluate_reduce_min(const EvalContext& ctx);
Outputs evaluate_reduce_prod(const EvalContext& ctx);
Outputs evaluate_reduce_l1(const EvalContext& ctx);
Outputs evaluate_reduce_l2(const EvalContext& ctx);
Outputs evaluate_reduce_log_sum(const EvalContext& ctx);
Outputs evaluate_reduce_log_sum_exp(const EvalContext& ctx);
Outputs evaluate_reduce_sum_square(const EvalContext& ctx);
Outputs evaluate_arg_max(const EvalContext& ctx);
Outputs evaluate_arg_min(const EvalContext& ctx);

namespace {

// Which axes a reduction removes; nullopt: not known yet.
std::optional<std::vector<bool>> reduced_axes(const ListOperand& axes, bool noop, std::size_t rank) {
  std::vector<bool> reduced(rank, false);
  if (!axes.present || (axes.values && axes.values->empty())) {
    if (!noop) reduced.assign(rank, true);
    return reduced;
  }
  if (!axes.values) return std::nullopt;
  for (const std::int64_t axis : *axes.values) {
    const auto normal = normalize_axis(axis, rank);
    if (!normal) return std::nullopt;
    reduced[static_cast<std::size_t>(*normal)] = true;
  }
  return reduced;
}

Shape reduced_shape(const Shape& shape, const std::vector<bool>& reduced, bool keepdims) {
  std::vector<Dim> dims;
  for (std::size_t axis = 0; axis < shape.rank(); ++axis) {
    if (!reduced[axis]) dims.push_back(shape.dims[axis]);
    else if (keepdims) dims.push_back(Dim(1));
  }
  return Shape(std::move(dims));
}

Status infer_reduce(InferContext& ctx) {
  BEVEL_TRY(const bool keepdims, attr_flag(ctx.node(), "keepdims", true));
  BEVEL_TRY(const bool noop, attr_flag(ctx.node(), "noop_with_empty_axes", false));
  BEVEL_TRY(const ListOperand axes, infer_list(ctx, 1, "axes"));
  const Shape& shape = input_shape(ctx, 0);
  if (!shape.has_rank) {
    set_output_like_input(ctx, {});
    return {};
  }
  if (axes.values) BEVEL_TRY_STATUS(normalize_axes(*axes.values, shape.rank()).map([](auto&&) {}));
  const auto reduced = reduced_axes(axes, noop, shape.rank());
  if (!reduced) {
    // A list of unknown axes keeps the rank only with keepdims.
    set_output_like_input(ctx, keepdims ? unknown_dims(shape.rank()) : Shape());
    return {};
  }
  set_output_like_input(ctx, reduced_shape(shape, *reduced, keepdims));
  return {};
}

// Number of elements from a shape: ReduceProd(Shape(x)).
Status infer_reduce_prod(InferContext& ctx) {
  BEVEL_TRY_STATUS(infer_reduce(ctx));
  const auto ints = all_ints(ctx, 0);
  if (!ints || !is_integer(input_dtype(ctx, 0)) || input_shape(ctx, 0).rank() != 1) return {};
  std::optional<std::int64_t> total = 1;
  for (const std::int64_t value : *ints) total = total ? checked_mul(*total, value) : std::nullopt;
  if (total && *total >= 0) ctx.set_output_ints(0, {Dim(*total)});
  return {};
}

IterationSpace reduce_space(const FactsContext& ctx, const std::vector<bool>& reduced, bool keepdims) {
  const Shape& shape = input_shape(ctx, 0);
  IterationSpace space;
  space.kind = OpKind::reduce;
  OperandMap out;
  for (std::size_t axis = 0; axis < shape.rank(); ++axis) {
    space.loops.push_back({extent(shape.dims[axis]), reduced[axis]});
    if (!reduced[axis]) out.axes.push_back(AxisMap::follow(static_cast<int>(axis)));
    else if (keepdims) out.axes.push_back(AxisMap::broadcast());
  }
  space.inputs.push_back(follow_all(shape.rank()));
  space.outputs.push_back(std::move(out));
  return space;
}

struct ReduceFacts {
  Facts facts;
  std::vector<bool> reduced;  // empty: not known
};
ReduceFacts facts_of_reduction(const FactsContext& ctx) {
  ReduceFacts result;
  result.facts.value.data_operands = {0};
  const Shape& shape = input_shape(ctx, 0);
  const auto axes = facts_list(ctx, 1, "axes");
  if (!shape.has_rank || !axes) return result;
  const auto reduced = reduced_axes(*axes, attr_flag(ctx.node(), "noop_with_empty_axes", false).value_or(false), shape.rank());
  if (!reduced) return result;
  result.facts.space = reduce_space(ctx, *reduced, attr_flag(ctx.node(), "keepdims", true).value_or(true));
  result.reduced = *reduced;
  result.facts.value.identity = std::none_of(reduced->begin(), reduced->end(), [](bool r) { return r; });
  return result;
}

Facts reduce_facts(const FactsContext& ctx) {
  ReduceFacts result = facts_of_reduction(ctx);
  result.facts.value.identity = false;  // squares, logarithms: only sums, products, extremes of one element are the element
  return result.facts;
}
Facts sum_facts(const FactsContext& ctx) { return facts_of_reduction(ctx).facts; }
// A maximum of quantized values is one of them.
Facts extreme_facts(const FactsContext& ctx) {
  Facts facts = facts_of_reduction(ctx).facts;
  facts.value.quant = QuantRole::same_scale;
  facts.value.monotone = true;
  return facts;
}
// A mean over all spatial axes is global average pooling.
Facts mean_facts(const FactsContext& ctx) {
  ReduceFacts result = facts_of_reduction(ctx);
  const std::vector<bool>& reduced = result.reduced;
  const bool spatial = reduced.size() >= 3 && !reduced[0] && !reduced[1] &&
                       std::all_of(reduced.begin() + 2, reduced.end(), [](bool r) { return r; });
  if (spatial) {
    result.facts.value.quant = QuantRole::own_scale;
    result.facts.value.layout = LayoutRule::channels_last;
  }
  return result.facts;
}

Status infer_arg(InferContext& ctx) {
  BEVEL_TRY(const bool keepdims, attr_flag(ctx.node(), "keepdims", true));
  BEVEL_TRY(const std::int64_t axis, attr_int(ctx.node(), "axis", 0));
  const Shape& shape = input_shape(ctx, 0);
  if (!shape.has_rank) {
    ctx.set_output(0, Type::tensor(DType::int64));
    return {};
  }
  BEVEL_TRY(const std::int64_t normal, normalize_axis(axis, shape.rank()));
  std::vector<bool> reduced(shape.rank(), false);
  reduced[static_cast<std::size_t>(normal)] = true;
  Shape result = reduced_shape(shape, reduced, keepdims);
  for (Dim& dim : result.dims) dim.denotation.clear();
  ctx.set_output(0, Type::tensor(DType::int64, std::move(result)));
  return {};
}

Facts arg_facts(const FactsContext& ctx) {
  Facts facts;
  const Shape& shape = input_shape(ctx, 0);
  if (!shape.has_rank) return facts;
  const auto axis = normalize_axis(attr_int(ctx.node(), "axis", 0).value_or(0), shape.rank());
  if (!axis) return facts;
  std::vector<bool> reduced(shape.rank(), false);
  reduced[static_cast<std::size_t>(*axis)] = true;
  facts.space = reduce_space(ctx, reduced, attr_flag(ctx.node(), "keepdims", true).value_or(true));
  return facts;
}

// Opset 13 made the axes of ReduceSum an input, 18 those of the others.
Status upgrade_reduce_sum(Model& model, NodeId node, int from) {
  return from == 12 ? attribute_to_input(model, node, "axes", 1) : Status{};
}
Status downgrade_reduce_sum(Model& model, NodeId node, int from) {
  return from == 13 ? input_to_attribute(model, node, "axes", 1) : Status{};
}
Status upgrade_reduce(Model& model, NodeId node, int from) {
  return from == 17 ? attribute_to_input(model, node, "axes", 1) : Status{};
}
Status downgrade_reduce(Model& model, NodeId node, int from) {
  return from == 18 ? input_to_attribute(model, node, "axes", 1) : Status{};
}

}  // namespace

extern const OpRecord reduce_sum_record{.name = "ReduceSum", .max_inputs = 2, .infer = infer_reduce, .facts = sum_facts,
                          .evaluate = evaluate_reduce_sum, .upgrade = upgrade_reduce_sum,
                          .downgrade = downgrade_reduce_sum, .lower = lower_reduce};
extern const OpRecord reduce_mean_record{.name = "ReduceMean", .max_inputs = 2, .infer = infer_reduce, .facts = mean_facts,
                           .evaluate = evaluate_reduce_mean, .upgrade = upgrade_reduce, .downgrade = downgrade_reduce, .lower = lower_reduce};
extern const OpRecord reduce_max_record{.name = "ReduceMax", .max_inputs = 2, .infer = infer_reduce, .facts = extreme_facts,
                          .evaluate = evaluate_reduce_max, .upgrade = upgrade_reduce, .downgrade = downgrade_reduce, .lower = lower_reduce};
extern const OpRecord reduce_min_record{.name = "ReduceMin", .max_inputs = 2, .infer = infer_reduce, .facts = extreme_facts,
                          .evaluate = evaluate_reduce_min, .upgrade = upgrade_reduce, .downgrade = downgrade_reduce, .lower = lower_reduce};
extern const OpRecord reduce_prod_record{.name = "ReduceProd", .max_inputs = 2, .infer = infer_reduce_prod, .facts = sum_facts,
                           .evaluate = evaluate_reduce_prod, .upgrade = upgrade_reduce, .downgrade = downgrade_reduce};
extern const OpRecord reduce_l1_record{.name = "ReduceL1", .max_inputs = 2, .infer = infer_reduce, .facts = reduce_facts,
                         .evaluate = evaluate_reduce_l1, .upgrade = upgrade_reduce, .downgrade = downgrade_reduce};
extern const OpRecord reduce_l2_record{.name = "ReduceL2", .max_inputs = 2, .infer = infer_reduce, .facts = reduce_facts,
                         .evaluate = evaluate_reduce_l2, .upgrade = upgrade_reduce, .downgrade = downgrade_reduce};
extern const OpRecord reduce_log_sum_record{.name = "ReduceLogSum", .max_inputs = 2, .infer = infer_reduce, .facts = reduce_facts,
                             .evaluate = evaluate_reduce_log_sum, .upgrade = upgrade_reduce, .downgrade = downgrade_reduce};
extern const OpRecord reduce_log_sum_exp_record{.name = "ReduceLogSumExp", .max_inputs = 2, .infer = infer_reduce,
                                .facts = reduce_facts, .evaluate = evaluate_reduce_log_sum_exp, .upgrade = upgrade_reduce, .downgrade = downgrade_reduce};
extern const OpRecord reduce_sum_square_record{.name = "ReduceSumSquare", .max_inputs = 2, .infer = infer_reduce,
                                .facts = reduce_facts, .evaluate = evaluate_reduce_sum_square, .upgrade = upgrade_reduce, .downgrade = downgrade_reduce};
extern const OpRecord arg_max_record{.name = "ArgMax", .infer = infer_arg, .facts = arg_facts, .evaluate = evaluate_arg_max};
extern const OpRecord arg_min_record{.name = "ArgMin", .infer = infer_arg, .facts = arg_facts, .evaluate = evaluate_arg_min};

}  // namespace bevel::ops
