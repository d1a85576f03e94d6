// What inference and evaluation of the random operators share.
#pragma once

#include "lib/ops/op.h"

namespace bevel::ops {

Result<Dims> random_shape(const Node& node);
// Element types of results, from the attribute 'dtype' or else the fallback; undefined stays so.
Result<DType> random_dtype(const Node& node, DType fallback);
Result<DType> bernoulli_dtype(const Node& node, DType fallback);
Result<DType> multinomial_dtype(const Node& node);

Outputs evaluate_random_uniform(const EvalContext& ctx);
Outputs evaluate_random_normal(const EvalContext& ctx);
Outputs evaluate_random_uniform_like(const EvalContext& ctx);
Outputs evaluate_random_normal_like(const EvalContext& ctx);
Outputs evaluate_bernoulli(const EvalContext& ctx);
Outputs evaluate_multinomial(const EvalContext& ctx);

}  // namespace bevel::ops
