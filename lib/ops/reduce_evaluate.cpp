// Sums run in row-major order of the reduced elements, in double for floats (rounded once at the end) and wrapping for integers.
#include <algorithm>
#include <cmath>
#include <limits>
#include <type_traits>

#include "lib/ops/family.h"
#include "lib/ops/tensor_family.h"
#include "lib/runtime/bevel_math.h"

namespace bevel::ops {
namespace {

// The kept axes (outer) and the reduced ones (inner), as strides into the input.
struct Reduction {
  Dims out_dims;
  Dims kept, kept_strides, reduced, reduced_strides;
  std::int64_t reduced_count = 1;
};

Result<Reduction> plan_reduction(const EvalContext& ctx) {
  const Tensor& x = ctx.tensor(0);
  BEVEL_TRY(const bool keepdims, attr_flag(ctx.node(), "keepdims", true));
  BEVEL_TRY(const bool noop, attr_flag(ctx.node(), "noop_with_empty_axes", false));
  BEVEL_TRY(const auto listed, evaluated_list(ctx, 1, "axes"));
  std::vector<bool> is_reduced(x.rank(), false);
  if (listed && !listed->empty()) {
    BEVEL_TRY(const auto axes, normalize_axes(*listed, x.rank()));
    for (const std::int64_t axis : axes) is_reduced[static_cast<std::size_t>(axis)] = true;
  } else if (!noop) {
    is_reduced.assign(x.rank(), true);
  }
  const Dims strides = row_major_strides(x.dims());
  Reduction result;
  for (std::size_t axis = 0; axis < x.rank(); ++axis) {
    if (is_reduced[axis]) {
      result.reduced.push_back(x.dim(axis));
      result.reduced_strides.push_back(strides[axis]);
      if (keepdims) result.out_dims.push_back(1);
    } else {
      result.kept.push_back(x.dim(axis));
      result.kept_strides.push_back(strides[axis]);
      result.out_dims.push_back(x.dim(axis));
    }
  }
  result.reduced_count = product(result.reduced, 0, result.reduced.size());
  return result;
}

// Calls visit(offset) for every index of `dims`, row-major.
template <typename Visit>
void for_each_offset(const Dims& dims, const Dims& strides, std::int64_t base, Visit visit) {
  for (const std::int64_t dim : dims) {
    if (dim == 0) return;
  }
  if (dims.empty()) {
    visit(base);
    return;
  }
  const std::size_t outer = dims.size() - 1;
  Dims index(outer, 0);
  std::int64_t offset = base;
  while (true) {
    for (std::int64_t i = 0; i < dims[outer]; ++i) visit(offset + i * strides[outer]);
    std::size_t axis = outer;
    for (; axis > 0; --axis) {
      const std::size_t a = axis - 1;
      offset += strides[a];
      if (++index[a] < dims[a]) break;
      offset -= strides[a] * dims[a];
      index[a] = 0;
    }
    if (axis == 0) return;
  }
}

// Accumulator: double for floats, the element's own wrapping arithmetic for integers.
template <typename T>
using SumOf = std::conditional_t<std::is_integral_v<ComputeOf<T>>, std::uint64_t, double>;

// start; step(sum, value); finish(sum, count) -> value. R: how T accumulates.
template <typename Fold>
Outputs reduce(const EvalContext& ctx, bool floats_only, Fold fold) {
  BEVEL_TRY(const Reduction plan, plan_reduction(ctx));
  const Tensor& x = ctx.tensor(0);
  BEVEL_TRY_STATUS(ctx.reserve(x.dtype(), plan.out_dims));
  Tensor out = Tensor::zeros(x.dtype(), plan.out_dims);
  const auto typed = [&](auto tag) {
    using T = typename decltype(tag)::type;
    const T* in = x.values<T>().data();
    T* result = out.mutable_values<T>().data();
    for_each_offset(plan.kept, plan.kept_strides, 0, [&](std::int64_t base) {
      auto sum = fold.template start<T>();
      for_each_offset(plan.reduced, plan.reduced_strides, base,
                      [&](std::int64_t at) { fold.template step<T>(sum, load(in[at])); });
      *result++ = fold.template finish<T>(sum, plan.reduced_count);
    });
  };
  const bool known = floats_only ? dispatch_floats(x.dtype(), typed) : dispatch_numeric(x.dtype(), typed);
  if (!known) return fail_dtype(x.dtype(), "the input");
  return std::vector<Datum>{std::move(out)};
}

template <typename T>
T finished(SumOf<T> sum) {
  return store<T>(static_cast<ComputeOf<T>>(sum));
}

struct SumFold {
  template <typename T>
  SumOf<T> start() const { return 0; }
  template <typename T>
  void step(SumOf<T>& sum, ComputeOf<T> x) const { sum += static_cast<SumOf<T>>(x); }
  template <typename T>
  T finish(SumOf<T> sum, std::int64_t) const { return finished<T>(sum); }
};
struct MeanFold : SumFold {
  template <typename T>
  T finish(SumOf<T> sum, std::int64_t count) const {
    if constexpr (std::is_integral_v<ComputeOf<T>>) {
      // Truncates, in 64 bits of the element's signedness; the mean of nothing is 0.
      using Wide = std::conditional_t<std::is_signed_v<T>, std::int64_t, std::uint64_t>;
      return count == 0 ? T(0) : static_cast<T>(static_cast<Wide>(sum) / static_cast<Wide>(count));
    } else {
      return finished<T>(sum / static_cast<double>(count));
    }
  }
};
struct ProdFold {
  template <typename T>
  SumOf<T> start() const { return 1; }
  template <typename T>
  void step(SumOf<T>& sum, ComputeOf<T> x) const { sum *= static_cast<SumOf<T>>(x); }
  template <typename T>
  T finish(SumOf<T> sum, std::int64_t) const { return finished<T>(sum); }
};
struct L1Fold : SumFold {
  template <typename T>
  void step(SumOf<T>& sum, ComputeOf<T> x) const {
    if constexpr (std::is_integral_v<ComputeOf<T>>) {
      const auto wide = static_cast<std::uint64_t>(x);
      sum += x < ComputeOf<T>(0) ? 0 - wide : wide;
    } else {
      sum += std::fabs(static_cast<double>(x));
    }
  }
};
struct SumSquareFold : SumFold {
  template <typename T>
  void step(SumOf<T>& sum, ComputeOf<T> x) const { sum += static_cast<SumOf<T>>(x) * static_cast<SumOf<T>>(x); }
};
// Roots and logarithms of integer sums truncate back to the element type.
template <typename T, typename F>
T through_double(SumOf<T> sum, F f) {
  double value = 0;
  if constexpr (std::is_integral_v<ComputeOf<T>> && std::is_signed_v<T>) value = static_cast<double>(static_cast<std::int64_t>(sum));
  else value = static_cast<double>(sum);
  const double result = f(value);
  if constexpr (std::is_integral_v<ComputeOf<T>>) {
    if (!(result > static_cast<double>(std::numeric_limits<T>::lowest()))) return std::numeric_limits<T>::lowest();
    if (result >= static_cast<double>(std::numeric_limits<T>::max())) return std::numeric_limits<T>::max();
    return static_cast<T>(result);
  } else {
    return store<T>(static_cast<ComputeOf<T>>(result));
  }
}
struct L2Fold : SumSquareFold {
  template <typename T>
  T finish(SumOf<T> sum, std::int64_t) const {
    return through_double<T>(sum, [](double x) { return std::sqrt(x); });
  }
};
struct LogSumFold : SumFold {
  template <typename T>
  T finish(SumOf<T> sum, std::int64_t) const {
    return through_double<T>(sum, [](double x) { return bvl_log(x); });
  }
};

// The extreme of no elements is the identity of the comparison, as the spec has it (-infinity, or the lowest integer).
template <bool kMax>
struct ExtremeFold {
  template <typename T>
  ComputeOf<T> start() const {
    using C = ComputeOf<T>;
    if constexpr (std::is_integral_v<C>) return kMax ? std::numeric_limits<C>::lowest() : std::numeric_limits<C>::max();
    else return kMax ? -std::numeric_limits<C>::infinity() : std::numeric_limits<C>::infinity();
  }
  template <typename T>
  void step(ComputeOf<T>& best, ComputeOf<T> x) const {
    if constexpr (!std::is_integral_v<ComputeOf<T>>) {
      if (x != x) best = x;  // NaN stays: no comparison replaces it
    }
    if (kMax ? x > best : x < best) best = x;
  }
  template <typename T>
  T finish(ComputeOf<T> best, std::int64_t) const { return store<T>(best); }
};

// Maximum first, so that no exponential overflows.
Outputs log_sum_exp(const EvalContext& ctx) {
  BEVEL_TRY(const Reduction plan, plan_reduction(ctx));
  const Tensor& x = ctx.tensor(0);
  BEVEL_TRY_STATUS(ctx.reserve(x.dtype(), plan.out_dims));
  Tensor out = Tensor::zeros(x.dtype(), plan.out_dims);
  const bool known = dispatch_numeric(x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    const T* in = x.values<T>().data();
    T* result = out.mutable_values<T>().data();
    for_each_offset(plan.kept, plan.kept_strides, 0, [&](std::int64_t base) {
      double top = -std::numeric_limits<double>::infinity();
      for_each_offset(plan.reduced, plan.reduced_strides, base, [&](std::int64_t at) {
        const auto value = static_cast<double>(load(in[at]));
        if (value > top || value != value) top = value;
      });
      double sum = 0;
      const double shift = std::isinf(top) ? 0 : top;
      for_each_offset(plan.reduced, plan.reduced_strides, base,
                      [&](std::int64_t at) { sum += bvl_exp(static_cast<double>(load(in[at])) - shift); });
      const double value = shift + bvl_log(sum);
      if constexpr (std::is_integral_v<ComputeOf<T>>) *result++ = through_double<T>(0, [value](double) { return value; });
      else *result++ = store<T>(static_cast<ComputeOf<T>>(value));
    });
  });
  if (!known) return fail_dtype(x.dtype(), "the input");
  return std::vector<Datum>{std::move(out)};
}

template <bool kMax>
Outputs extreme(const EvalContext& ctx) {
  if (ctx.tensor(0).dtype() == DType::boolean) {  // opset 20: any, all
    BEVEL_TRY(const Reduction plan, plan_reduction(ctx));
    BEVEL_TRY_STATUS(ctx.reserve(DType::boolean, plan.out_dims));
    Tensor out = Tensor::zeros(DType::boolean, plan.out_dims);
    const std::uint8_t* in = ctx.tensor(0).values<std::uint8_t>().data();
    std::uint8_t* result = out.mutable_values<std::uint8_t>().data();
    for_each_offset(plan.kept, plan.kept_strides, 0, [&](std::int64_t base) {
      bool value = !kMax;
      for_each_offset(plan.reduced, plan.reduced_strides, base,
                      [&](std::int64_t at) { value = kMax ? value || in[at] != 0 : value && in[at] != 0; });
      *result++ = value;
    });
    return std::vector<Datum>{std::move(out)};
  }
  return reduce(ctx, false, ExtremeFold<kMax>{});
}

template <bool kMax>
Outputs arg_extreme(const EvalContext& ctx) {
  const Tensor& x = ctx.tensor(0);
  BEVEL_TRY(const bool keepdims, attr_flag(ctx.node(), "keepdims", true));
  BEVEL_TRY(const bool last, attr_flag(ctx.node(), "select_last_index", false));
  BEVEL_TRY(const std::int64_t given, attr_int(ctx.node(), "axis", 0));
  BEVEL_TRY(const std::int64_t normal, normalize_axis(given, x.rank()));
  const auto axis = static_cast<std::size_t>(normal);
  const std::int64_t extent = x.dim(axis), inner = product(x.dims(), axis + 1, x.rank());
  Dims dims = x.dims();
  if (keepdims) dims[axis] = 1;
  else dims.erase(dims.begin() + static_cast<std::ptrdiff_t>(axis));
  BEVEL_TRY_STATUS(ctx.reserve(DType::int64, dims));
  Tensor out = Tensor::zeros(DType::int64, dims);
  if (out.size() > 0 && extent == 0) return fail_input("axis {} has no elements to choose from", axis);
  auto result = out.mutable_values<std::int64_t>();
  const bool known = dispatch_numeric(x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    const T* in = x.values<T>().data();
    for (std::size_t i = 0; i < result.size(); ++i) {
      const std::int64_t row = static_cast<std::int64_t>(i) / inner, column = static_cast<std::int64_t>(i) % inner;
      const T* values = in + row * extent * inner + column;
      std::int64_t best = 0;
      for (std::int64_t k = 1; k < extent; ++k) {
        const auto value = load(values[k * inner]), top = load(values[best * inner]);
        if (kMax ? value > top : value < top) best = k;
        else if (last && value == top) best = k;
      }
      result[i] = best;
    }
  });
  if (!known) return fail_dtype(x.dtype(), "the input");
  return std::vector<Datum>{std::move(out)};
}

}  // namespace

Outputs evaluate_reduce_sum(const EvalContext& ctx) { return reduce(ctx, false, SumFold{}); }
Outputs evaluate_reduce_mean(const EvalContext& ctx) { return reduce(ctx, false, MeanFold{}); }
Outputs evaluate_reduce_prod(const EvalContext& ctx) { return reduce(ctx, false, ProdFold{}); }
Outputs evaluate_reduce_l1(const EvalContext& ctx) { return reduce(ctx, false, L1Fold{}); }
Outputs evaluate_reduce_l2(const EvalContext& ctx) { return reduce(ctx, false, L2Fold{}); }
Outputs evaluate_reduce_log_sum(const EvalContext& ctx) { return reduce(ctx, false, LogSumFold{}); }
Outputs evaluate_reduce_sum_square(const EvalContext& ctx) { return reduce(ctx, false, SumSquareFold{}); }
Outputs evaluate_reduce_log_sum_exp(const EvalContext& ctx) { return log_sum_exp(ctx); }
Outputs evaluate_reduce_max(const EvalContext& ctx) { return extreme<true>(ctx); }
Outputs evaluate_reduce_min(const EvalContext& ctx) { return extreme<false>(ctx); }
Outputs evaluate_arg_max(const EvalContext& ctx) { return arg_extreme<true>(ctx); }
Outputs evaluate_arg_min(const EvalContext& ctx) { return arg_extreme<false>(ctx); }

}  // namespace bevel::ops
