// Elementwise arithmetic: Add, Sub, Mul, Div, Mod, Pow, Min, Max, Sum, Mean, BitShift, BitwiseAnd / Or / Xor.
#include <algorithm>
#include <limits>

#include "lib/ops/lower_functions.h"
#include "lib/ops/tensor_family.h"

namespace bevel::ops {

// arithmetic_evaluate.cpp
Outputs evaluate_add(const EvalContext& ctx);
Outputs evaluate_sub(const EvalContext& ctx);
Outputs evaluate_mul(const EvalContext& ctx);
Outputs evaluate_div(const EvalContext& ctx);
Outputs evaluate_mod(const EvalContext& ctx);
Outputs evaluate_pow(const EvalContext& ctx);
Outputs evaluate_min(const EvalContext& ctx);
Outputs evaluate_max(const EvalContext& ctx);
Outputs evaluate_sum(const EvalContext& ctx);
Outputs evaluate_mean(const EvalContext& ctx);
Outputs evaluate_bit_shift(const EvalContext& ctx);
Outputs evaluate_bitwise_and(const EvalContext& ctx);
Outputs evaluate_bitwise_or(const EvalContext& ctx);
Outputs evaluate_bitwise_xor(const EvalContext& ctx);

namespace {

Status infer_dtype_and_shape(InferContext& ctx, bool same_dtype) {
  DType dtype = input_dtype(ctx, 0);
  Shape shape = input_shape(ctx, 0);
  for (std::size_t i = 1; i < ctx.input_count(); ++i) {
    const DType other = input_dtype(ctx, i);
    if (same_dtype) {
      if (dtype == DType::undefined) dtype = other;
      if (other != DType::undefined && other != dtype) {
        return fail_operand(i, "operand", "element type is {}, but operand 0 has {}", dtype_name(other), dtype_name(dtype));
      }
    }
    BEVEL_TRY(shape, broadcast_shapes(shape, input_shape(ctx, i)));
  }
  if (ctx.input_count() == 1) {
    for (Dim& dim : shape.dims) dim.denotation.clear();
  }
  ctx.set_output(0, Type::tensor(dtype, std::move(shape)));
  return {};
}

// Shape arithmetic: `combine` of two known integers; nullopt where it does not exist. `right_neutral` as the second operand (or
// the first, when commutative) passes the other one through, so that a symbolic dimension survives.
using Combine = std::optional<std::int64_t> (*)(std::int64_t, std::int64_t);
void infer_integers(InferContext& ctx, Combine combine, std::int64_t right_neutral, bool commutative) {
  if (input_shape(ctx, 0).rank() > 1 || input_shape(ctx, 1).rank() > 1) return;
  const auto a = known_ints(ctx, 0), b = known_ints(ctx, 1);
  if (!a || !b || a->empty() || b->empty()) return;
  const std::size_t size = std::max(a->size(), b->size());
  if ((a->size() != size && a->size() != 1) || (b->size() != size && b->size() != 1)) return;
  const auto pa = ctx.input_ints(0), pb = ctx.input_ints(1);
  PartialInts result(size);
  for (std::size_t i = 0; i < size; ++i) {
    const std::size_t ia = a->size() == 1 ? 0 : i, ib = b->size() == 1 ? 0 : i;
    const auto x = (*a)[ia], y = (*b)[ib];
    if (x && y) {
      const auto value = combine(*x, *y);
      if (value && *value >= 0) result[i] = Dim(*value);
    } else if (y == right_neutral && pa && ia < pa->size()) {
      result[i] = (*pa)[ia];
    } else if (commutative && x == right_neutral && pb && ib < pb->size()) {
      result[i] = (*pb)[ib];
    }
  }
  ctx.set_output_ints(0, std::move(result));
}

Status infer_add(InferContext& ctx) {
  infer_integers(ctx, checked_add, 0, true);
  return infer_dtype_and_shape(ctx, true);
}
Status infer_sub(InferContext& ctx) {
  infer_integers(
      ctx, [](std::int64_t a, std::int64_t b) -> std::optional<std::int64_t> {
        std::int64_t difference = 0;
        return __builtin_sub_overflow(a, b, &difference) ? std::nullopt : std::optional(difference);
      }, 0, false);
  return infer_dtype_and_shape(ctx, true);
}
Status infer_mul(InferContext& ctx) {
  infer_integers(ctx, checked_mul, 1, true);
  return infer_dtype_and_shape(ctx, true);
}
Status infer_div(InferContext& ctx) {
  infer_integers(
      ctx, [](std::int64_t a, std::int64_t b) -> std::optional<std::int64_t> {
        return b > 0 && a >= 0 ? std::optional(a / b) : std::nullopt;
      }, 1, false);
  return infer_dtype_and_shape(ctx, true);
}
Status infer_mod(InferContext& ctx) {
  infer_integers(
      ctx, [](std::int64_t a, std::int64_t b) -> std::optional<std::int64_t> {
        return b > 0 && a >= 0 ? std::optional(a % b) : std::nullopt;
      }, -1, false);
  return infer_dtype_and_shape(ctx, true);
}
// Opset 28 gave floats the remainder with the divisor's sign; before, 'fmod' must be 1 for them.
Status downgrade_mod(Model& model, NodeId id, int from) {
  if (from != 28) return {};
  const Node& node = model.graph.node(id);
  BEVEL_TRY(const bool fmod, attr_flag(node, "fmod", false));
  if (fmod || node.inputs.empty() || !node.inputs[0].valid()) return {};
  const Type& type = model.graph.value(node.inputs[0]).type;
  if (type.is_tensor() && is_integer(type.dtype)) return {};
  return fail_input("the remainder of floats with the divisor's sign is not known there");
}
Status infer_min(InferContext& ctx) {
  if (ctx.input_count() == 2) {
    infer_integers(ctx, [](std::int64_t a, std::int64_t b) { return std::optional(std::min(a, b)); },
                   std::numeric_limits<std::int64_t>::max(), true);
  }
  return infer_dtype_and_shape(ctx, true);
}
Status infer_max(InferContext& ctx) {
  if (ctx.input_count() == 2) {
    infer_integers(ctx, [](std::int64_t a, std::int64_t b) { return std::optional(std::max(a, b)); }, -1, true);
  }
  return infer_dtype_and_shape(ctx, true);
}
Status infer_same(InferContext& ctx) { return infer_dtype_and_shape(ctx, true); }
Status infer_pow(InferContext& ctx) { return infer_dtype_and_shape(ctx, false); }

Facts elementwise_facts(const FactsContext& ctx) {
  Facts facts;
  facts.space = elementwise_space(ctx, ctx.node().inputs.size());
  facts.value.layout = LayoutRule::follow;
  for (std::size_t i = 0; i < ctx.node().inputs.size(); ++i) facts.value.data_operands.push_back(static_cast<int>(i));
  return facts;
}

// Add, Sub, Mul of two operands: each input and the output have scales of their own.
Facts arithmetic_facts(const FactsContext& ctx) {
  Facts facts = elementwise_facts(ctx);
  facts.value.quant = QuantRole::arithmetic;
  return facts;
}

// With one constant scalar, a quotient or a power is a function of the other operand: a table.
Facts pointwise_facts(const FactsContext& ctx) {
  Facts facts = elementwise_facts(ctx);
  for (std::size_t fixed = 0; fixed < 2; ++fixed) {
    const Tensor* constant = ctx.input_constant(fixed);
    const Shape& data = input_shape(ctx, 1 - fixed);
    if (constant == nullptr || constant->size() != 1 || !is_plain_float(constant->dtype())) continue;
    if (!data.has_rank || data.rank() < constant->rank() || ctx.input_constant(1 - fixed) != nullptr) continue;
    facts.value.quant = QuantRole::table;
    facts.value.data_operands = {static_cast<int>(1 - fixed)};
  }
  return facts;
}

// min(x, constant) and max(x, constant) are one-sided clamps, which fold into the producer's quantized range.
Facts one_sided_clamp(const FactsContext& ctx, bool is_max) {
  Facts facts = elementwise_facts(ctx);
  if (ctx.node().inputs.size() != 2) return facts;
  for (std::size_t bound = 0; bound < 2; ++bound) {
    const Tensor* constant = ctx.input_constant(bound);
    if (constant == nullptr || constant->size() != 1 || !is_plain_float(constant->dtype())) continue;
    const Shape& data = input_shape(ctx, 1 - bound);
    if (!data.has_rank || data.rank() < constant->rank()) continue;
    Interval interval;
    (is_max ? interval.low : interval.high) = constant->as_double(0);
    facts.value.clamp = interval;
    facts.value.result = interval;
    facts.value.quant = QuantRole::table;
    facts.value.monotone = true;
    facts.value.data_operands = {static_cast<int>(1 - bound)};
    return facts;
  }
  return facts;
}
Facts min_facts(const FactsContext& ctx) { return one_sided_clamp(ctx, false); }
Facts max_facts(const FactsContext& ctx) { return one_sided_clamp(ctx, true); }

}  // namespace

extern const OpRecord add_record{.name = "Add", .min_inputs = 2, .max_inputs = 2, .infer = infer_add, .facts = arithmetic_facts,
                    .evaluate = evaluate_add, .lower = lower_binary};
extern const OpRecord sub_record{.name = "Sub", .min_inputs = 2, .max_inputs = 2, .infer = infer_sub, .facts = arithmetic_facts,
                    .evaluate = evaluate_sub, .lower = lower_binary};
extern const OpRecord mul_record{.name = "Mul", .min_inputs = 2, .max_inputs = 2, .infer = infer_mul, .facts = arithmetic_facts,
                    .evaluate = evaluate_mul, .lower = lower_binary};
extern const OpRecord div_record{.name = "Div", .min_inputs = 2, .max_inputs = 2, .infer = infer_div, .facts = pointwise_facts,
                    .evaluate = evaluate_div, .lower = lower_binary};
extern const OpRecord mod_record{.name = "Mod", .min_inputs = 2, .max_inputs = 2, .infer = infer_mod, .facts = elementwise_facts,
                    .evaluate = evaluate_mod, .downgrade = downgrade_mod};
extern const OpRecord pow_record{.name = "Pow", .min_inputs = 2, .max_inputs = 2, .infer = infer_pow, .facts = pointwise_facts,
                    .evaluate = evaluate_pow, .lower = lower_unary};
extern const OpRecord min_record{.name = "Min", .min_inputs = 1, .max_inputs = -1, .infer = infer_min, .facts = min_facts,
                    .evaluate = evaluate_min, .lower = lower_binary};
extern const OpRecord max_record{.name = "Max", .min_inputs = 1, .max_inputs = -1, .infer = infer_max, .facts = max_facts,
                    .evaluate = evaluate_max, .lower = lower_binary};
extern const OpRecord sum_record{.name = "Sum", .min_inputs = 1, .max_inputs = -1, .infer = infer_same, .facts = elementwise_facts,
                    .evaluate = evaluate_sum};
extern const OpRecord mean_record{.name = "Mean", .min_inputs = 1, .max_inputs = -1, .infer = infer_same,
                     .facts = elementwise_facts, .evaluate = evaluate_mean};
extern const OpRecord bit_shift_record{.name = "BitShift", .min_inputs = 2, .max_inputs = 2, .infer = infer_same,
                         .facts = elementwise_facts, .evaluate = evaluate_bit_shift};
extern const OpRecord bitwise_and_record{.name = "BitwiseAnd", .min_inputs = 2, .max_inputs = 2, .infer = infer_same,
                           .facts = elementwise_facts, .evaluate = evaluate_bitwise_and};
extern const OpRecord bitwise_or_record{.name = "BitwiseOr", .min_inputs = 2, .max_inputs = 2, .infer = infer_same,
                          .facts = elementwise_facts, .evaluate = evaluate_bitwise_or};
extern const OpRecord bitwise_xor_record{.name = "BitwiseXor", .min_inputs = 2, .max_inputs = 2, .infer = infer_same,
                           .facts = elementwise_facts, .evaluate = evaluate_bitwise_xor};

}  // namespace bevel::ops
