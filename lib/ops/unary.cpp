// Unary pointwise mathematics. Activations that networks name as such (Relu, Sigmoid, Tanh, Erf, ...) are activation.cpp's.
#include <limits>

#include "lib/ops/lower_functions.h"
#include "lib/ops/tensor_family.h"

namespace bevel::ops {

// unary_evaluate.cpp
#define BEVEL_UNARY(function) Outputs evaluate_##function(const EvalContext& ctx);
BEVEL_UNARY(abs)
BEVEL_UNARY(neg)
BEVEL_UNARY(ceil)
BEVEL_UNARY(floor)
BEVEL_UNARY(round)
BEVEL_UNARY(sign)
BEVEL_UNARY(sqrt)
BEVEL_UNARY(exp)
BEVEL_UNARY(log)
BEVEL_UNARY(reciprocal)
BEVEL_UNARY(sin)
BEVEL_UNARY(cos)
BEVEL_UNARY(tan)
BEVEL_UNARY(asin)
BEVEL_UNARY(acos)
BEVEL_UNARY(atan)
BEVEL_UNARY(sinh)
BEVEL_UNARY(cosh)
BEVEL_UNARY(asinh)
BEVEL_UNARY(acosh)
BEVEL_UNARY(atanh)
BEVEL_UNARY(bitwise_not)
#undef BEVEL_UNARY

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

Facts plain(const FactsContext& ctx) { return unary_facts(ctx); }
Facts monotone(const FactsContext& ctx) { return unary_facts(ctx, true); }
Facts non_negative(const FactsContext& ctx) { return unary_facts(ctx, false, {0, kInfinity}); }
Facts growing_non_negative(const FactsContext& ctx) { return unary_facts(ctx, true, {0, kInfinity}); }
Facts wave(const FactsContext& ctx) { return unary_facts(ctx, false, {-1, 1}); }
Facts sign(const FactsContext& ctx) { return unary_facts(ctx, true, {-1, 1}); }
Facts arc(const FactsContext& ctx) { return unary_facts(ctx, true, {-1.5707963267948968, 1.5707963267948968}); }
Facts arc_cosine(const FactsContext& ctx) { return unary_facts(ctx, false, {0, 3.1415926535897936}); }
Facts at_least_one(const FactsContext& ctx) { return unary_facts(ctx, false, {1, kInfinity}); }
Facts of_integers(const FactsContext& ctx) {
  Facts facts = unary_facts(ctx);
  facts.value.quant = QuantRole::none;
  return facts;
}

}  // namespace

#define BEVEL_UNARY(record, op, function, which) \
  extern const OpRecord record{.name = op, .infer = infer_same_type, .facts = which, .evaluate = evaluate_##function, \
                        .lower = lower_unary};
BEVEL_UNARY(abs_record, "Abs", abs, non_negative)
BEVEL_UNARY(neg_record, "Neg", neg, plain)
BEVEL_UNARY(ceil_record, "Ceil", ceil, monotone)
BEVEL_UNARY(floor_record, "Floor", floor, monotone)
BEVEL_UNARY(round_record, "Round", round, monotone)
BEVEL_UNARY(sign_record, "Sign", sign, sign)
BEVEL_UNARY(sqrt_record, "Sqrt", sqrt, growing_non_negative)
BEVEL_UNARY(exp_record, "Exp", exp, growing_non_negative)
BEVEL_UNARY(log_record, "Log", log, monotone)
BEVEL_UNARY(reciprocal_record, "Reciprocal", reciprocal, plain)
BEVEL_UNARY(sin_record, "Sin", sin, wave)
BEVEL_UNARY(cos_record, "Cos", cos, wave)
BEVEL_UNARY(tan_record, "Tan", tan, plain)
BEVEL_UNARY(asin_record, "Asin", asin, arc)
BEVEL_UNARY(acos_record, "Acos", acos, arc_cosine)
BEVEL_UNARY(atan_record, "Atan", atan, arc)
BEVEL_UNARY(sinh_record, "Sinh", sinh, monotone)
BEVEL_UNARY(cosh_record, "Cosh", cosh, at_least_one)
BEVEL_UNARY(asinh_record, "Asinh", asinh, monotone)
BEVEL_UNARY(acosh_record, "Acosh", acosh, growing_non_negative)
BEVEL_UNARY(atanh_record, "Atanh", atanh, monotone)
#undef BEVEL_UNARY

extern const OpRecord bitwise_not_record{.name = "BitwiseNot", .infer = infer_same_type, .facts = of_integers,
                                  .evaluate = evaluate_bitwise_not};

}  // namespace bevel::ops
