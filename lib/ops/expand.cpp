// Expand and Tile: repetition.
#include <algorithm>

#include "lib/ops/lower_functions.h"
#include "lib/ops/tensor_family.h"

namespace bevel::ops {

// expand_evaluate.cpp
Outputs evaluate_expand(const EvalContext& ctx);
Outputs evaluate_tile(const EvalContext& ctx);

namespace {

Status infer_expand(InferContext& ctx) {
  const auto wanted = ctx.input_ints(1);
  if (const auto constant = constant_ints(ctx.input_constant(1))) {
    for (const std::int64_t value : *constant) {
      if (value < 0) return fail_operand(1, "shape", "has the negative entry {}", value);
    }
  }
  if (!wanted) {
    const Shape& list = input_shape(ctx, 1);
    const Shape& data = input_shape(ctx, 0);
    Shape result;
    if (list.rank() == 1 && list.dims[0].known() && list.dims[0].value <= 64 && data.has_rank) {
      result = unknown_dims(std::max(data.rank(), static_cast<std::size_t>(list.dims[0].value)));
    }
    set_output_like_input(ctx, std::move(result));
    return {};
  }
  BEVEL_TRY(Shape shape, broadcast_shapes(input_shape(ctx, 0), Shape(*wanted)));
  set_output_like_input(ctx, std::move(shape));
  return {};
}

Facts expand_facts(const FactsContext& ctx) {
  Facts facts = move_facts(elementwise_space(ctx, 1), LayoutRule::logical);
  if (facts.space.kind == OpKind::elementwise) facts.space.kind = OpKind::move;
  const Shape& in = input_shape(ctx, 0);
  const Shape& out = output_shape(ctx, 0);
  facts.value.identity = in.is_static() && out.is_static() && in.known_dims() == out.known_dims();
  return facts;
}

Status infer_tile(InferContext& ctx) {
  const Shape& input = input_shape(ctx, 0);
  if (!input.has_rank) {
    set_output_like_input(ctx, {});
    return {};
  }
  const auto repeats = known_ints(ctx, 1);
  Shape result = unknown_dims(input.rank());
  if (repeats) {
    if (repeats->size() != input.rank()) {
      return fail_operand(1, "repeats", "has {} entries, but the input has rank {}", repeats->size(), input.rank());
    }
    for (std::size_t i = 0; i < input.rank(); ++i) {
      const auto count = (*repeats)[i];
      if (!count) continue;
      if (*count < 0) return fail_operand(1, "repeats", "entry {} is {}, expected 0 or more", i, *count);
      if (*count == 1) {
        result.dims[i] = input.dims[i];
      } else if (input.dims[i].known()) {
        const auto extent = checked_mul(input.dims[i].value, *count);
        if (!extent) return fail_operand(1, "repeats", "entry {} is {}: the result is too large", i, *count);
        result.dims[i] = Dim(*extent);
      }
    }
  }
  set_output_like_input(ctx, std::move(result));
  return {};
}

Facts tile_facts(const FactsContext& ctx) {
  Facts facts = move_facts({}, LayoutRule::logical);
  const Shape& in = input_shape(ctx, 0);
  const Shape& out = output_shape(ctx, 0);
  facts.value.identity = in.is_static() && out.is_static() && in.known_dims() == out.known_dims();
  return facts;
}

}  // namespace

extern const OpRecord expand_record{.name = "Expand", .min_inputs = 2, .max_inputs = 2, .infer = infer_expand,
                       .facts = expand_facts, .evaluate = evaluate_expand, .lower = lower_expand};
extern const OpRecord tile_record{.name = "Tile", .min_inputs = 2, .max_inputs = 2, .infer = infer_tile, .facts = tile_facts,
                     .evaluate = evaluate_tile};

}  // namespace bevel::ops
