// Floats are computed in double and rounded once; exp and log are ours (lib/runtime/bevel_math.h), sqrt and roundings are exact,
// trigonometry is libm's (no quantized step holds any of it: its table is made once, on the host).
#include <cmath>
#include <type_traits>

#include "lib/ops/family.h"
#include "lib/runtime/bevel_math.h"

namespace bevel::ops {
namespace {

// f: double -> double on floating dtypes.
template <typename F>
Outputs map_floats(const EvalContext& ctx, F f) {
  const Tensor& x = ctx.tensor(0);
  BEVEL_TRY_STATUS(ctx.reserve(x.dtype(), x.dims()));
  Tensor out = Tensor::zeros(x.dtype(), x.dims());
  const bool known = dispatch_floats(x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    const auto in = x.values<T>();
    auto results = out.mutable_values<T>();
    for (std::size_t i = 0; i < in.size(); ++i) {
      results[i] = store<T>(static_cast<ComputeOf<T>>(f(static_cast<double>(load(in[i])))));
    }
  });
  if (!known) return fail_dtype(x.dtype(), "the input");
  return std::vector<Datum>{std::move(out)};
}

// f on every numeric dtype, in its compute type.
template <typename F>
Outputs map_numbers(const EvalContext& ctx, F f) {
  const Tensor& x = ctx.tensor(0);
  BEVEL_TRY_STATUS(ctx.reserve(x.dtype(), x.dims()));
  Tensor out = Tensor::zeros(x.dtype(), x.dims());
  const bool known = dispatch_numeric(x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    const auto in = x.values<T>();
    auto results = out.mutable_values<T>();
    for (std::size_t i = 0; i < in.size(); ++i) results[i] = store<T>(f(load(in[i])));
  });
  if (!known) return fail_dtype(x.dtype(), "the input");
  return std::vector<Datum>{std::move(out)};
}

}  // namespace

Outputs evaluate_abs(const EvalContext& ctx) {
  return map_numbers(ctx, [](auto x) {
    using T = decltype(x);
    if constexpr (std::is_floating_point_v<T>) return std::fabs(x);
    else if constexpr (std::is_unsigned_v<T>) return x;
    else return x < 0 ? static_cast<T>(0 - static_cast<std::uint64_t>(x)) : x;
  });
}
Outputs evaluate_neg(const EvalContext& ctx) {
  return map_numbers(ctx, [](auto x) {
    using T = decltype(x);
    if constexpr (std::is_floating_point_v<T>) return -x;
    else return static_cast<T>(0 - static_cast<std::uint64_t>(x));
  });
}
Outputs evaluate_sign(const EvalContext& ctx) {
  return map_numbers(ctx, [](auto x) {
    using T = decltype(x);
    return x > T(0) ? T(1) : x < T(0) ? static_cast<T>(T(0) - T(1)) : x;  // NaN stays
  });
}
Outputs evaluate_bitwise_not(const EvalContext& ctx) {
  if (!is_integer(ctx.tensor(0).dtype())) return fail_dtype(ctx.tensor(0).dtype(), "the input");
  return map_numbers(ctx, [](auto x) {
    using T = decltype(x);
    if constexpr (std::is_integral_v<T>) return static_cast<T>(~x);
    else return x;
  });
}
Outputs evaluate_ceil(const EvalContext& ctx) {
  return map_floats(ctx, [](double x) { return std::ceil(x); });
}
Outputs evaluate_floor(const EvalContext& ctx) {
  return map_floats(ctx, [](double x) { return std::floor(x); });
}
Outputs evaluate_round(const EvalContext& ctx) {  // half to even
  return map_floats(ctx, [](double x) { return std::nearbyint(x); });
}
Outputs evaluate_sqrt(const EvalContext& ctx) {
  return map_floats(ctx, [](double x) { return std::sqrt(x); });
}
Outputs evaluate_exp(const EvalContext& ctx) {
  return map_floats(ctx, [](double x) { return bvl_exp(x); });
}
Outputs evaluate_log(const EvalContext& ctx) {
  return map_floats(ctx, [](double x) { return bvl_log(x); });
}
Outputs evaluate_reciprocal(const EvalContext& ctx) {
  return map_floats(ctx, [](double x) { return 1.0 / x; });
}

#define BEVEL_LIBM(function)                                      \
  Outputs evaluate_##function(const EvalContext& ctx) {           \
    return map_floats(ctx, [](double x) { return std::function(x); }); \
  }
BEVEL_LIBM(sin)
BEVEL_LIBM(cos)
BEVEL_LIBM(tan)
BEVEL_LIBM(asin)
BEVEL_LIBM(acos)
BEVEL_LIBM(atan)
BEVEL_LIBM(sinh)
BEVEL_LIBM(cosh)
BEVEL_LIBM(asinh)
BEVEL_LIBM(acosh)
BEVEL_LIBM(atanh)
#undef BEVEL_LIBM

}  // namespace bevel::ops
