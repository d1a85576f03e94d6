// Comparison, logic and selection: Equal, Greater, Less, GreaterOrEqual, LessOrEqual, And, Or, Xor, Not, IsNaN, IsInf, Where.
#include <algorithm>

#include "lib/ops/lower_functions.h"
#include "lib/ops/tensor_family.h"

namespace bevel::ops {

// logic_evaluate.cpp
Outputs evaluate_equal(const EvalContext& ctx);
Outputs evaluate_greater(const EvalContext& ctx);
Outputs evaluate_less(const EvalContext& ctx);
Outputs evaluate_greater_or_equal(const EvalContext& ctx);
Outputs evaluate_less_or_equal(const EvalContext& ctx);
Outputs evaluate_and(const EvalContext& ctx);
Outputs evaluate_or(const EvalContext& ctx);
Outputs evaluate_xor(const EvalContext& ctx);
Outputs evaluate_not(const EvalContext& ctx);
Outputs evaluate_is_nan(const EvalContext& ctx);
Outputs evaluate_is_inf(const EvalContext& ctx);
Outputs evaluate_where(const EvalContext& ctx);

namespace {

Status infer_comparison(InferContext& ctx) {
  const DType a = input_dtype(ctx, 0), b = input_dtype(ctx, 1);
  if (a != DType::undefined && b != DType::undefined && a != b) {
    return fail_operand(1, "B", "element type is {}, but operand 0 has {}", dtype_name(b), dtype_name(a));
  }
  BEVEL_TRY(Shape shape, broadcast_shapes(input_shape(ctx, 0), input_shape(ctx, 1)));
  ctx.set_output(0, Type::tensor(DType::boolean, std::move(shape)));
  return {};
}

Status infer_logic(InferContext& ctx) {
  for (std::size_t i = 0; i < 2; ++i) BEVEL_TRY_STATUS(expect_dtype(input_dtype(ctx, i), i, "operand", {DType::boolean}));
  return infer_comparison(ctx);
}

Status infer_unary_bool(InferContext& ctx) {
  Shape shape = input_shape(ctx, 0);
  for (Dim& dim : shape.dims) dim.denotation.clear();
  ctx.set_output(0, Type::tensor(DType::boolean, std::move(shape)));
  return {};
}

Status infer_where(InferContext& ctx) {
  BEVEL_TRY_STATUS(expect_dtype(input_dtype(ctx, 0), 0, "condition", {DType::boolean}));
  const DType a = input_dtype(ctx, 1), b = input_dtype(ctx, 2);
  if (a != DType::undefined && b != DType::undefined && a != b) {
    return fail_operand(2, "Y", "element type is {}, but X has {}", dtype_name(b), dtype_name(a));
  }
  BEVEL_TRY(Shape shape, broadcast_shapes(input_shape(ctx, 1), input_shape(ctx, 2)));
  BEVEL_TRY(shape, broadcast_shapes(shape, input_shape(ctx, 0)));
  ctx.set_output(0, Type::tensor(a == DType::undefined ? b : a, std::move(shape)));
  // Shape arithmetic of Expand: Where(shape == -1, ones, shape).
  const auto condition = constant_ints(ctx.input_constant(0));
  const auto x = ctx.input_ints(1), y = ctx.input_ints(2);
  if (condition && x && y && !condition->empty()) {
    const std::size_t size = std::max({condition->size(), x->size(), y->size()});
    const auto fits = [size](std::size_t count) { return count == size || count == 1; };
    if (fits(condition->size()) && fits(x->size()) && fits(y->size())) {
      PartialInts ints(size);
      for (std::size_t i = 0; i < size; ++i) {
        const PartialInts& chosen = (*condition)[condition->size() == 1 ? 0 : i] ? *x : *y;
        ints[i] = chosen[chosen.size() == 1 ? 0 : i];
      }
      ctx.set_output_ints(0, std::move(ints));
    }
  }
  return {};
}

Facts logic_facts(const FactsContext& ctx) {
  Facts facts;
  facts.space = elementwise_space(ctx, ctx.node().inputs.size());
  facts.value.layout = LayoutRule::follow;
  facts.value.result = {0, 1};
  return facts;
}

Facts where_facts(const FactsContext& ctx) {
  Facts facts;
  facts.space = elementwise_space(ctx, 3);
  facts.value.layout = LayoutRule::follow;
  facts.value.data_operands = {1, 2};
  return facts;
}

}  // namespace

extern const OpRecord equal_record{.name = "Equal", .min_inputs = 2, .max_inputs = 2, .infer = infer_comparison,
                      .facts = logic_facts, .evaluate = evaluate_equal, .lower = lower_comparison};
extern const OpRecord greater_record{.name = "Greater", .min_inputs = 2, .max_inputs = 2, .infer = infer_comparison,
                        .facts = logic_facts, .evaluate = evaluate_greater, .lower = lower_comparison};
extern const OpRecord less_record{.name = "Less", .min_inputs = 2, .max_inputs = 2, .infer = infer_comparison,
                     .facts = logic_facts, .evaluate = evaluate_less, .lower = lower_comparison};
extern const OpRecord greater_or_equal_record{.name = "GreaterOrEqual", .min_inputs = 2, .max_inputs = 2, .infer = infer_comparison,
                               .facts = logic_facts, .evaluate = evaluate_greater_or_equal, .lower = lower_comparison};
extern const OpRecord less_or_equal_record{.name = "LessOrEqual", .min_inputs = 2, .max_inputs = 2, .infer = infer_comparison,
                            .facts = logic_facts, .evaluate = evaluate_less_or_equal, .lower = lower_comparison};
extern const OpRecord and_record{.name = "And", .min_inputs = 2, .max_inputs = 2, .infer = infer_logic, .facts = logic_facts,
                    .evaluate = evaluate_and};
extern const OpRecord or_record{.name = "Or", .min_inputs = 2, .max_inputs = 2, .infer = infer_logic, .facts = logic_facts,
                   .evaluate = evaluate_or};
extern const OpRecord xor_record{.name = "Xor", .min_inputs = 2, .max_inputs = 2, .infer = infer_logic, .facts = logic_facts,
                    .evaluate = evaluate_xor};
extern const OpRecord not_record{.name = "Not", .infer = infer_unary_bool, .facts = logic_facts, .evaluate = evaluate_not};
extern const OpRecord is_nan_record{.name = "IsNaN", .infer = infer_unary_bool, .facts = logic_facts, .evaluate = evaluate_is_nan};
extern const OpRecord is_inf_record{.name = "IsInf", .infer = infer_unary_bool, .facts = logic_facts, .evaluate = evaluate_is_inf};
extern const OpRecord where_record{.name = "Where", .min_inputs = 3, .max_inputs = 3, .infer = infer_where, .facts = where_facts,
                      .evaluate = evaluate_where, .lower = lower_where};

}  // namespace bevel::ops
