// Gather, GatherElements, GatherND.
#include "lib/ops/lower_functions.h"
#include "lib/ops/tensor_family.h"

namespace bevel::ops {

// gather_evaluate.cpp
Outputs evaluate_gather(const EvalContext& ctx);
Outputs evaluate_gather_elements(const EvalContext& ctx);
Outputs evaluate_gather_nd(const EvalContext& ctx);

namespace {

Status infer_gather(InferContext& ctx) {
  BEVEL_TRY_STATUS(expect_dtype(input_dtype(ctx, 1), 1, "indices", {DType::int32, DType::int64}));
  BEVEL_TRY(const std::int64_t given, attr_int(ctx.node(), "axis", 0));
  const Shape& data = input_shape(ctx, 0);
  const Shape& indices = input_shape(ctx, 1);
  if (!data.has_rank || !indices.has_rank) {
    set_output_like_input(ctx, {});
    return {};
  }
  BEVEL_TRY(const std::int64_t axis, normalize_axis(given, data.rank()));
  std::vector<Dim> dims(data.dims.begin(), data.dims.begin() + axis);
  dims.insert(dims.end(), indices.dims.begin(), indices.dims.end());
  dims.insert(dims.end(), data.dims.begin() + axis + 1, data.dims.end());
  set_output_like_input(ctx, Shape(std::move(dims)));
  // One or some extents of a shape.
  const auto ints = ctx.input_ints(0);
  const auto picked = constant_ints(ctx.input_constant(1));
  if (ints && picked && data.rank() == 1 && indices.rank() <= 1) {
    PartialInts result;
    for (std::int64_t index : *picked) {
      const auto size = static_cast<std::int64_t>(ints->size());
      if (index < -size || index >= size) {
        return fail_operand(1, "indices", "index {} is out of range for {} elements", index, size);
      }
      result.push_back((*ints)[static_cast<std::size_t>(index < 0 ? index + size : index)]);
    }
    ctx.set_output_ints(0, std::move(result));
  }
  return {};
}

Facts gather_facts(const FactsContext& ctx) {
  Facts facts = move_facts({}, LayoutRule::logical);
  const Shape& data = input_shape(ctx, 0);
  const Shape& indices = input_shape(ctx, 1);
  const Shape& out = output_shape(ctx, 0);
  const auto axis = normalize_axis(attr_int(ctx.node(), "axis", 0).value_or(0), data.rank());
  if (!data.has_rank || !indices.has_rank || !out.has_rank || !axis) return facts;
  IterationSpace& space = facts.space;
  space.kind = OpKind::move;
  space.loops = loops_of(out);
  OperandMap from, list;
  for (std::size_t a = 0; a < data.rank(); ++a) {
    const auto at = static_cast<std::size_t>(*axis);
    if (a == at) from.axes.push_back(AxisMap());
    else from.axes.push_back(AxisMap::follow(static_cast<int>(a < at ? a : a + indices.rank() - 1)));
  }
  for (std::size_t a = 0; a < indices.rank(); ++a) {
    list.axes.push_back(AxisMap::follow(static_cast<int>(a + static_cast<std::size_t>(*axis))));
  }
  space.inputs = {std::move(from), std::move(list)};
  space.outputs.push_back(follow_all(out.rank()));
  return facts;
}

Status infer_gather_elements(InferContext& ctx) {
  BEVEL_TRY_STATUS(expect_dtype(input_dtype(ctx, 1), 1, "indices", {DType::int32, DType::int64}));
  set_output_like_input(ctx, input_shape(ctx, 1));
  return {};
}

Status infer_gather_nd(InferContext& ctx) {
  BEVEL_TRY_STATUS(expect_dtype(input_dtype(ctx, 1), 1, "indices", {DType::int64}));
  BEVEL_TRY(const std::int64_t batch, attr_int(ctx.node(), "batch_dims", 0));
  const Shape& data = input_shape(ctx, 0);
  const Shape& indices = input_shape(ctx, 1);
  if (!data.has_rank || !indices.has_rank || indices.rank() == 0 || !indices.dims.back().known()) {
    set_output_like_input(ctx, {});
    return {};
  }
  const std::int64_t depth = indices.dims.back().value;
  if (batch < 0 || batch >= static_cast<std::int64_t>(indices.rank()) || depth > static_cast<std::int64_t>(data.rank()) - batch) {
    return fail_operand(1, "indices", "{} indices per element and {} batch axes do not fit data of rank {}", depth, batch, data.rank());
  }
  std::vector<Dim> dims(indices.dims.begin(), indices.dims.end() - 1);
  dims.insert(dims.end(), data.dims.begin() + batch + depth, data.dims.end());
  set_output_like_input(ctx, Shape(std::move(dims)));
  return {};
}

Facts opaque_move(const FactsContext&) { return move_facts({}, LayoutRule::logical); }

}  // namespace

extern const OpRecord gather_record{.name = "Gather", .min_inputs = 2, .max_inputs = 2, .infer = infer_gather,
                       .facts = gather_facts, .evaluate = evaluate_gather, .lower = lower_gather};
extern const OpRecord gather_elements_record{.name = "GatherElements", .min_inputs = 2, .max_inputs = 2,
                               .infer = infer_gather_elements, .facts = opaque_move,
                               .evaluate = evaluate_gather_elements};
extern const OpRecord gather_nd_record{.name = "GatherND", .min_inputs = 2, .max_inputs = 2, .infer = infer_gather_nd,
                         .facts = opaque_move, .evaluate = evaluate_gather_nd};

}  // namespace bevel::ops
