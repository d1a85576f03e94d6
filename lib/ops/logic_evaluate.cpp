#include <cmath>
#include <functional>

#include "lib/ops/broadcast.h"
#include "lib/ops/family.h"
#include "lib/ops/movement.h"

namespace bevel::ops {
namespace {

struct Less {
  template <typename T>
  bool operator()(const T& a, const T& b) const { return a < b; }
};
struct LessOrEqual {
  template <typename T>
  bool operator()(const T& a, const T& b) const { return a <= b; }
};
struct Equal {
  template <typename T>
  bool operator()(const T& a, const T& b) const { return a == b; }
};

// Strings are few and small: one element at a time.
template <typename F>
void compare_strings(const Tensor& a, const Tensor& b, Tensor& out, F f) {
  if (out.size() == 0) return;
  const auto walk = broadcast_walk<2>({std::span(a.dims()), std::span(b.dims())}, out.dims());
  auto results = out.mutable_values<std::uint8_t>();
  for_each_broadcast_row(walk, [&](const std::array<std::int64_t, 2>& offset, std::int64_t o) {
    for (std::int64_t i = 0; i < walk.extent.back(); ++i) {
      results[static_cast<std::size_t>(o + i)] =
          f(a.strings()[static_cast<std::size_t>(offset[0] + i * walk.strides[0].back())],
            b.strings()[static_cast<std::size_t>(offset[1] + i * walk.strides[1].back())]);
    }
  });
}

template <typename F>
Outputs compare(const EvalContext& ctx, const Tensor& a, const Tensor& b, F f) {
  if (a.dtype() != b.dtype()) {
    return fail_operand(1, "B", "element type is {}, but operand 0 has {}", dtype_name(b.dtype()), dtype_name(a.dtype()));
  }
  BEVEL_TRY(const Dims dims, broadcast_dims(a.dims(), b.dims()));
  BEVEL_TRY_STATUS(ctx.reserve(DType::boolean, dims));
  Tensor out = Tensor::zeros(DType::boolean, dims);
  if (a.dtype() == DType::string) {
    compare_strings(a, b, out, f);
    return std::vector<Datum>{std::move(out)};
  }
  const auto typed = [&](auto tag) {
    using T = typename decltype(tag)::type;
    map_broadcast<T, T, std::uint8_t>(a, b, out, [f](T x, T y) -> std::uint8_t { return f(load(x), load(y)); });
  };
  const bool known = dispatch_numeric(a.dtype(), typed);
  if (!known && a.dtype() != DType::boolean) return fail_dtype(a.dtype(), "operand 0");
  if (!known) typed(TypeTag<std::uint8_t>{});
  return std::vector<Datum>{std::move(out)};
}

template <typename F>
Outputs logic(const EvalContext& ctx, F f) {
  for (std::size_t i = 0; i < 2; ++i) {
    if (ctx.tensor(i).dtype() != DType::boolean) return fail_dtype(ctx.tensor(i).dtype(), "a logical operand");
  }
  BEVEL_TRY(const Dims dims, broadcast_dims(ctx.tensor(0).dims(), ctx.tensor(1).dims()));
  BEVEL_TRY_STATUS(ctx.reserve(DType::boolean, dims));
  Tensor out = Tensor::zeros(DType::boolean, dims);
  map_broadcast<std::uint8_t, std::uint8_t, std::uint8_t>(
      ctx.tensor(0), ctx.tensor(1), out, [f](std::uint8_t a, std::uint8_t b) -> std::uint8_t { return f(a != 0, b != 0); });
  return std::vector<Datum>{std::move(out)};
}

// A predicate of each element of a floating tensor, small floats included.
template <typename F>
Outputs predicate(const EvalContext& ctx, F f) {
  const Tensor& x = ctx.tensor(0);
  if (!is_floating(x.dtype())) return fail_dtype(x.dtype(), "the input");
  BEVEL_TRY_STATUS(ctx.reserve(DType::boolean, x.dims()));
  Tensor out = Tensor::zeros(DType::boolean, x.dims());
  auto results = out.mutable_values<std::uint8_t>();
  for (std::size_t i = 0; i < results.size(); ++i) results[i] = f(x.as_double(static_cast<std::int64_t>(i)));
  return std::vector<Datum>{std::move(out)};
}

}  // namespace

Outputs evaluate_equal(const EvalContext& ctx) { return compare(ctx, ctx.tensor(0), ctx.tensor(1), Equal{}); }
Outputs evaluate_less(const EvalContext& ctx) { return compare(ctx, ctx.tensor(0), ctx.tensor(1), Less{}); }
Outputs evaluate_less_or_equal(const EvalContext& ctx) {
  return compare(ctx, ctx.tensor(0), ctx.tensor(1), LessOrEqual{});
}
Outputs evaluate_greater(const EvalContext& ctx) { return compare(ctx, ctx.tensor(1), ctx.tensor(0), Less{}); }
Outputs evaluate_greater_or_equal(const EvalContext& ctx) {
  return compare(ctx, ctx.tensor(1), ctx.tensor(0), LessOrEqual{});
}

Outputs evaluate_and(const EvalContext& ctx) {
  return logic(ctx, [](bool a, bool b) { return a && b; });
}
Outputs evaluate_or(const EvalContext& ctx) {
  return logic(ctx, [](bool a, bool b) { return a || b; });
}
Outputs evaluate_xor(const EvalContext& ctx) {
  return logic(ctx, [](bool a, bool b) { return a != b; });
}

Outputs evaluate_not(const EvalContext& ctx) {
  const Tensor& x = ctx.tensor(0);
  if (x.dtype() != DType::boolean) return fail_dtype(x.dtype(), "the input");
  BEVEL_TRY_STATUS(ctx.reserve(DType::boolean, x.dims()));
  Tensor out = Tensor::zeros(DType::boolean, x.dims());
  const auto in = x.values<std::uint8_t>();
  auto results = out.mutable_values<std::uint8_t>();
  for (std::size_t i = 0; i < in.size(); ++i) results[i] = in[i] == 0;
  return std::vector<Datum>{std::move(out)};
}

Outputs evaluate_is_nan(const EvalContext& ctx) {
  return predicate(ctx, [](double x) { return std::isnan(x); });
}

Outputs evaluate_is_inf(const EvalContext& ctx) {
  BEVEL_TRY(const bool negative, attr_flag(ctx.node(), "detect_negative", true));
  BEVEL_TRY(const bool positive, attr_flag(ctx.node(), "detect_positive", true));
  return predicate(ctx, [=](double x) { return std::isinf(x) && (x < 0 ? negative : positive); });
}

Outputs evaluate_where(const EvalContext& ctx) {
  const Tensor& condition = ctx.tensor(0);
  const Tensor& x = ctx.tensor(1);
  const Tensor& y = ctx.tensor(2);
  if (condition.dtype() != DType::boolean) return fail_dtype(condition.dtype(), "the condition");
  if (x.dtype() != y.dtype()) {
    return fail_operand(2, "Y", "element type is {}, but X has {}", dtype_name(y.dtype()), dtype_name(x.dtype()));
  }
  BEVEL_TRY(Dims dims, broadcast_dims(x.dims(), y.dims()));
  BEVEL_TRY(dims, broadcast_dims(condition.dims(), dims));
  BEVEL_TRY_STATUS(ctx.reserve(x.dtype(), dims));
  Tensor out = Tensor::zeros(x.dtype(), dims);
  if (out.size() == 0) return std::vector<Datum>{std::move(out)};
  const auto walk = broadcast_walk<3>({std::span(condition.dims()), std::span(x.dims()), std::span(y.dims())}, dims);
  const auto chosen = condition.values<std::uint8_t>();
  ElementCopier from_x(x, out), from_y(y, out);
  for_each_broadcast_row(walk, [&](const std::array<std::int64_t, 3>& offset, std::int64_t o) {
    for (std::int64_t i = 0; i < walk.extent.back(); ++i) {
      const bool take_x = chosen[static_cast<std::size_t>(offset[0] + i * walk.strides[0].back())] != 0;
      if (take_x) from_x.copy(offset[1] + i * walk.strides[1].back(), o + i);
      else from_y.copy(offset[2] + i * walk.strides[2].back(), o + i);
    }
  });
  return std::vector<Datum>{std::move(out)};
}

}  // namespace bevel::ops
