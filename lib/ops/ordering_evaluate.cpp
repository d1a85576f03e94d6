#include <algorithm>
#include <numeric>
#include <type_traits>

#include "lib/ops/tensor_family.h"

namespace bevel::ops {
namespace {

// A strict weak order in which NaN is above everything.
template <typename T>
bool below(T a, T b) {
  if constexpr (std::is_floating_point_v<T>) {
    if (a != a) return false;
    if (b != b) return true;
  }
  return a < b;
}

}  // namespace

Outputs evaluate_top_k(const EvalContext& ctx) {
  const Tensor& x = ctx.tensor(0);
  if (!ctx.has_input(1)) return fail_input("input 1 (K) is required");
  BEVEL_TRY(const auto wanted, evaluated_ints(ctx, 1, "K"));
  BEVEL_TRY(const std::int64_t given, attr_int(ctx.node(), "axis", -1));
  BEVEL_TRY(const bool largest, attr_flag(ctx.node(), "largest", true));
  BEVEL_TRY(const std::int64_t normal, normalize_axis(given, x.rank()));
  const auto axis = static_cast<std::size_t>(normal);
  const std::int64_t extent = x.dim(axis);
  if (wanted.size() != 1 || wanted[0] < 0 || wanted[0] > extent) {
    return fail_operand(1, "K", "is {}, expected one number from 0 to the {} elements of the axis", to_string(wanted), extent);
  }
  const std::int64_t k = wanted[0];
  Dims dims = x.dims();
  dims[axis] = k;
  BEVEL_TRY_STATUS(ctx.reserve(x.dtype(), dims));
  BEVEL_TRY_STATUS(ctx.reserve(DType::int64, dims));
  Tensor values = Tensor::zeros(x.dtype(), dims), indices = Tensor::zeros(DType::int64, dims);
  const std::int64_t outer = product(x.dims(), 0, axis), inner = product(x.dims(), axis + 1, x.rank());
  const bool known = dispatch_numeric(x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    if (k == 0 || outer == 0 || inner == 0) return;
    const T* in = x.values<T>().data();
    T* out = values.mutable_values<T>().data();
    std::int64_t* out_index = indices.mutable_values<std::int64_t>().data();
    std::vector<std::int64_t> order(static_cast<std::size_t>(extent));
    for (std::int64_t row = 0; row < outer * inner; ++row) {
      const T* line = in + row / inner * extent * inner + row % inner;
      std::iota(order.begin(), order.end(), 0);
      // Sorted whatever the attribute says; of equal elements the lower index first (TopK-11).
      std::partial_sort(order.begin(), order.begin() + k, order.end(), [&](std::int64_t a, std::int64_t b) {
        const auto va = load(line[a * inner]), vb = load(line[b * inner]);
        if (largest ? below(vb, va) : below(va, vb)) return true;
        if (largest ? below(va, vb) : below(vb, va)) return false;
        return a < b;
      });
      const std::int64_t base = row / inner * k * inner + row % inner;
      for (std::int64_t i = 0; i < k; ++i) {
        out[base + i * inner] = line[order[static_cast<std::size_t>(i)] * inner];
        out_index[base + i * inner] = order[static_cast<std::size_t>(i)];
      }
    }
  });
  if (!known) return fail_dtype(x.dtype(), "the input");
  return std::vector<Datum>{std::move(values), std::move(indices)};
}

namespace {

// y[i] = x[0] op ... op x[i] along an axis, or to i - 1 when exclusive; from the end when reversed. `start` is op's neutral element.
// Integers wrap; floats are taken together in double and rounded once per element.
template <typename Op>
Outputs accumulate(const EvalContext& ctx, int start, Op op) {
  const Tensor& x = ctx.tensor(0);
  BEVEL_TRY(const auto axes, evaluated_ints(ctx, 1, "axis"));
  if (axes.size() != 1) return fail_operand(1, "axis", "has {} elements, expected 1", axes.size());
  BEVEL_TRY(const bool exclusive, attr_flag(ctx.node(), "exclusive", false));
  BEVEL_TRY(const bool reverse, attr_flag(ctx.node(), "reverse", false));
  BEVEL_TRY(const std::int64_t normal, normalize_axis(axes[0], x.rank()));
  const auto axis = static_cast<std::size_t>(normal);
  BEVEL_TRY_STATUS(ctx.reserve(x.dtype(), x.dims()));
  Tensor out = Tensor::zeros(x.dtype(), x.dims());
  const std::int64_t extent = x.dim(axis), inner = product(x.dims(), axis + 1, x.rank());
  const std::int64_t rows = x.size() == 0 ? 0 : x.size() / extent;
  const bool known = dispatch_numeric(x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    using Total = std::conditional_t<std::is_integral_v<T>, std::uint64_t, double>;
    const T* in = x.values<T>().data();
    T* result = out.mutable_values<T>().data();
    for (std::int64_t row = 0; row < rows; ++row) {
      const std::int64_t base = row / inner * extent * inner + row % inner;
      Total total = static_cast<Total>(start);
      for (std::int64_t i = 0; i < extent; ++i) {
        const std::int64_t at = base + (reverse ? extent - 1 - i : i) * inner;
        const Total before = total;
        total = op(total, static_cast<Total>(load(in[at])));
        result[at] = store<T>(static_cast<ComputeOf<T>>(exclusive ? before : total));
      }
    }
  });
  if (!known) return fail_dtype(x.dtype(), "the input");
  return std::vector<Datum>{std::move(out)};
}

}  // namespace

Outputs evaluate_cum_sum(const EvalContext& ctx) {
  return accumulate(ctx, 0, [](auto a, auto b) { return a + b; });
}
Outputs evaluate_cum_prod(const EvalContext& ctx) {
  return accumulate(ctx, 1, [](auto a, auto b) { return a * b; });
}

}  // namespace bevel::ops
