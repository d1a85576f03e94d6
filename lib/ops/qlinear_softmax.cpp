// QLinearSoftmax (com.microsoft 1, ONNX Runtime's contributed operators): Softmax from stored integers to stored integers. The attribute
// `opset` says which Softmax is meant: up to 12 the input is a matrix split at `axis`, from 13 on the sums run along `axis` alone.
// ONNX Runtime sums exponentials rounded to a fixed point; here they are floats, so that single integers may differ by one step.
#include <algorithm>

#include "lib/ops/family.h"
#include "lib/ops/nn_families.h"
#include "lib/ops/requantize.h"
#include "lib/runtime/bevel_math.h"

namespace bevel::ops {
namespace {

constexpr std::int64_t kAlongAxisOpset = 13;

// Operands: X, X_scale, x_zero_point, y_scale, y_zero_point.
Status infer(InferContext& ctx) {
  BEVEL_TRY_STATUS(expect_dtype(input_dtype(ctx, 0), 0, "X", {DType::int8, DType::uint8}));
  BEVEL_TRY(const std::int64_t axis, attr_int(ctx.node(), "axis", -1));
  const Shape& x = input_shape(ctx, 0);
  if (x.has_rank) {
    if (auto checked = normalize_axis(axis, x.rank()); !checked) return Failure(std::move(checked).error());
  }
  return infer_same_type(ctx);
}

Facts facts(const FactsContext&) {
  Facts facts;
  facts.value.data_operands = {0};
  return facts;
}

// x[outer, length, inner] to y in the same places.
template <typename T>
void softmax(const T* x, float x_scale, float y_scale, std::int32_t y_zero, std::int64_t length, std::int64_t inner, T* y) {
  constexpr IntegerRange range{std::numeric_limits<T>::min(), std::numeric_limits<T>::max()};
  int largest = x[0];
  for (std::int64_t i = 1; i < length; ++i) largest = std::max<int>(largest, x[i * inner]);
  float sum = 0;  // the zero point falls out of the difference
  for (std::int64_t i = 0; i < length; ++i) sum += bvl_expf(static_cast<float>(x[i * inner] - largest) * x_scale);
  for (std::int64_t i = 0; i < length; ++i) {
    const float share = bvl_expf(static_cast<float>(x[i * inner] - largest) * x_scale) / sum;
    y[i * inner] = static_cast<T>(quantize(static_cast<double>(share / y_scale), y_zero, range));
  }
}

Outputs evaluate(const EvalContext& ctx) {
  const Tensor& x = ctx.tensor(0);
  BEVEL_TRY_STATUS(expect_dtype(x.dtype(), 0, "X", {DType::int8, DType::uint8}));
  BEVEL_TRY(const std::int64_t opset, attr_int(ctx.node(), "opset", kAlongAxisOpset));
  BEVEL_TRY(std::int64_t axis, attr_int(ctx.node(), "axis", -1));
  if (x.rank() == 0) return fail_operand(0, "X", "is a scalar, expected rank 1 or more");
  BEVEL_TRY(axis, normalize_axis(axis, x.rank()));
  BEVEL_TRY(const auto x_scale, scales(ctx, 1, "X_scale", 1));
  BEVEL_TRY_STATUS(zero_points(ctx, 2, "x_zero_point", x.dtype(), 1));
  BEVEL_TRY(const auto y_scale, scales(ctx, 3, "y_scale", 1));
  BEVEL_TRY(const auto y_zero, zero_points(ctx, 4, "y_zero_point", x.dtype(), 1));
  BEVEL_TRY_STATUS(ctx.reserve(x.dtype(), x.dims()));
  Tensor y = Tensor::zeros(x.dtype(), x.dims());
  if (x.size() == 0) return std::vector<Datum>{std::move(y)};
  const auto at = static_cast<std::size_t>(axis);
  const std::int64_t length = opset < kAlongAxisOpset ? product(x.dims(), at, x.rank()) : x.dim(at);
  const std::int64_t inner = opset < kAlongAxisOpset ? 1 : product(x.dims(), at + 1, x.rank());
  dispatch_integers(x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    if constexpr (sizeof(T) == 1) {
      const T* in = x.values<T>().data();
      T* out = y.mutable_values<T>().data();
      for (std::int64_t begin = 0; begin < x.size(); begin += length * inner)
        for (std::int64_t i = begin; i < begin + inner; ++i)
          softmax(in + i, x_scale[0], y_scale[0], y_zero[0], length, inner, out + i);
    }
  });
  return std::vector<Datum>{std::move(y)};
}

}  // namespace

extern const OpRecord qlinear_softmax_record = {.domain = "com.microsoft",
                                                .name = "QLinearSoftmax",
                                                .min_inputs = 4,
                                                .max_inputs = 5,
                                                .infer = infer,
                                                .facts = facts,
                                                .evaluate = evaluate};

}  // namespace bevel::ops
