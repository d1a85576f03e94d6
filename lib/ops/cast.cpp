// Cast and CastLike between all element types.
#include "lib/ops/lower_functions.h"
#include "lib/ops/tensor_family.h"

namespace bevel::ops {

// cast_evaluate.cpp
Outputs evaluate_cast(const EvalContext& ctx);
Outputs evaluate_cast_like(const EvalContext& ctx);

namespace {

Status infer_to(InferContext& ctx, DType to) {
  Shape shape = input_shape(ctx, 0);
  for (Dim& dim : shape.dims) dim.denotation.clear();
  ctx.set_output(0, Type::tensor(to, std::move(shape)));
  // Sizes pass through casts among the wide integers.
  const auto wide = [](DType dtype) { return dtype == DType::int64 || dtype == DType::int32; };
  if (wide(to) && wide(input_dtype(ctx, 0))) {
    if (const auto ints = ctx.input_ints(0)) ctx.set_output_ints(0, *ints);
  }
  return {};
}

Status infer_cast(InferContext& ctx) {
  if (!has_attr(ctx.node(), "to")) return fail_input("required attribute 'to' is missing");
  BEVEL_TRY(const DType to, attr_dtype(ctx.node(), "to", DType::undefined));
  if (to == DType::undefined) return fail_input("attribute 'to' is 0, expected an element type");
  return infer_to(ctx, to);
}
Status infer_cast_like(InferContext& ctx) { return infer_to(ctx, input_dtype(ctx, 1)); }

Facts cast_facts(const FactsContext& ctx) {
  Facts facts;
  facts.space = elementwise_space(ctx, 1);
  facts.value.layout = LayoutRule::follow;
  facts.value.data_operands = {0};
  facts.value.monotone = true;
  const DType from = ctx.input_type(0).is_tensor() ? ctx.input_type(0).dtype : DType::undefined;
  const DType to = ctx.output_type(0).is_tensor() ? ctx.output_type(0).dtype : DType::undefined;
  facts.value.identity = from == to && from != DType::undefined;
  return facts;
}

}  // namespace

extern const OpRecord cast_record{.name = "Cast", .infer = infer_cast, .facts = cast_facts, .evaluate = evaluate_cast, .lower = lower_cast};
extern const OpRecord cast_like_record{.name = "CastLike", .min_inputs = 2, .max_inputs = 2, .infer = infer_cast_like,
                         .facts = cast_facts, .evaluate = evaluate_cast_like};

}  // namespace bevel::ops
