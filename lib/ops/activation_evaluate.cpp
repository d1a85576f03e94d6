// Clip and PRelu, which have operands beside x. The functions of one number are evaluated beside their formulas.
#include <algorithm>

#include "lib/ops/family.h"
#include "lib/ops/in_place.h"
#include "lib/ops/nn_families.h"

namespace bevel::ops {

Outputs evaluate_clip(const EvalContext& ctx) {
  const Tensor& x = ctx.tensor(0);
  for (const std::size_t i : {std::size_t{1}, std::size_t{2}}) {
    if (ctx.has_input(i) && (ctx.tensor(i).dtype() != x.dtype() || ctx.tensor(i).size() != 1)) {
      return fail_operand(i, i == 1 ? "min" : "max", "is {} {}, expected one {}", dtype_name(ctx.tensor(i).dtype()),
                          to_string(ctx.tensor(i).dims()), dtype_name(x.dtype()));
    }
  }
  const DType dtype = x.dtype();
  if (!dispatch_numeric(dtype, [](auto) {})) return fail_dtype(dtype, "input");
  Tensor y = ctx.take(0);  // else x stays
  const bool in_place = y.defined();
  if (!in_place) {
    BEVEL_TRY_STATUS(ctx.reserve(dtype, x.dims()));
    y = Tensor::for_overwrite(dtype, x.dims());
  }
  dispatch_numeric(dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    using C = ComputeOf<T>;
    const bool has_low = ctx.has_input(1), has_high = ctx.has_input(2);
    const C low = has_low ? load(ctx.tensor(1).values<T>()[0]) : C{};
    const C high = has_high ? load(ctx.tensor(2).values<T>()[0]) : C{};
    const auto out = y.mutable_values<T>();
    const auto clip = [&](T element) {
      C value = load(element);
      if (has_low && value < low) value = low;  // NaN stays
      if (has_high && value > high) value = high;
      return store<T>(value);
    };
    if (in_place) {
      map_in_place(out, clip);
    } else {
      std::transform(x.values<T>().begin(), x.values<T>().end(), out.begin(), clip);
    }
  });
  return std::vector<Datum>{std::move(y)};
}

Outputs evaluate_prelu(const EvalContext& ctx) {
  const Tensor& x = ctx.tensor(0);
  const Tensor& slope = ctx.tensor(1);
  const auto shape = broadcast_dims(x.dims(), slope.dims());
  if (slope.dtype() != x.dtype() || !shape || *shape != x.dims()) {
    return fail_operand(1, "slope", "is {} {}, expected {} that broadcasts to {}", dtype_name(slope.dtype()),
                        to_string(slope.dims()), dtype_name(x.dtype()), to_string(x.dims()));
  }
  BEVEL_TRY_STATUS(ctx.reserve(x.dtype(), x.dims()));
  Tensor y = Tensor::zeros(x.dtype(), x.dims());
  const Dims strides = broadcast_strides(slope.dims(), x.dims());
  const bool known = dispatch_numeric(x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    using C = ComputeOf<T>;
    const auto in = x.values<T>(), factors = slope.values<T>();
    const auto out = y.mutable_values<T>();
    std::vector<std::int64_t> position(x.rank(), 0);
    for (std::size_t i = 0; i < out.size(); ++i) {
      std::int64_t at = 0;
      for (std::size_t a = 0; a < position.size(); ++a) at += position[a] * strides[a];
      const C value = load(in[i]);
      const C factor = load(factors[static_cast<std::size_t>(at)]);
      if constexpr (std::is_integral_v<C>) {
        using U = std::common_type_t<std::make_unsigned_t<C>, unsigned>;  // wraps
        out[i] = value < 0 ? static_cast<C>(static_cast<U>(value) * static_cast<U>(factor)) : value;
      } else {
        out[i] = store<T>(value < 0 ? value * factor : value);
      }
      for (std::size_t a = position.size(); a-- > 0;) {
        if (++position[a] < x.dim(a)) break;
        position[a] = 0;
      }
    }
  });
  if (!known) return fail_dtype(x.dtype(), "X");
  return std::vector<Datum>{std::move(y)};
}

}  // namespace bevel::ops
