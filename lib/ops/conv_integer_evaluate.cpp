#include "lib/ops/conv_direct.h"
#include "lib/ops/nn_families.h"
#include "lib/ops/requantize.h"

namespace bevel::ops {
namespace {

// Sums of (x - x_zero) * (w - w_zero) in int64: exact whatever the extents.
Result<std::vector<std::int64_t>> accumulate(const EvalContext& ctx, const ConvShape& shape, std::size_t x_index,
                                             std::size_t x_zero_index, std::size_t w_index, std::size_t w_zero_index) {
  const Tensor& x = ctx.tensor(x_index);
  const Tensor& w = ctx.tensor(w_index);
  BEVEL_TRY_STATUS(expect_dtype(x.dtype(), x_index, "x", {DType::int8, DType::uint8}));
  BEVEL_TRY_STATUS(expect_dtype(w.dtype(), w_index, "w", {DType::int8, DType::uint8}));
  BEVEL_TRY(const auto x_zero, zero_points(ctx, x_zero_index, "x_zero_point", x.dtype(), 1));
  BEVEL_TRY(const auto w_zero, zero_points(ctx, w_zero_index, "w_zero_point", w.dtype(), shape.out_channels));
  if (x_zero.size() != 1 || w_zero.empty()) return fail_operand(x_zero_index, "x_zero_point", "has no element");
  BEVEL_TRY_STATUS(ctx.reserve(DType::int32, x.dims()));
  BEVEL_TRY_STATUS(ctx.reserve(DType::int32, w.dims()));
  BEVEL_TRY_STATUS(ctx.reserve(DType::int64, shape.out_dims()));
  const std::vector<std::int32_t> image = centred(x, x_zero[0]);
  std::vector<std::int32_t> weights = centred(w, w_zero[0]);
  const std::size_t per_channel =
      shape.out_channels == 0 ? 0 : weights.size() / static_cast<std::size_t>(shape.out_channels);
  for (std::size_t m = 1; m < w_zero.size(); ++m) {
    for (std::size_t k = m * per_channel; k < (m + 1) * per_channel; ++k) weights[k] += w_zero[0] - w_zero[m];
  }
  std::vector<std::int64_t> acc(static_cast<std::size_t>(*element_count(shape.out_dims())), 0);
  convolve_direct(shape, image.data(), weights.data(), acc.data());
  return acc;
}

}  // namespace

Outputs evaluate_conv_integer(const EvalContext& ctx) {
  BEVEL_TRY(const ConvShape shape, conv_shape(ctx.node(), ctx.tensor(0).dims(), ctx.tensor(1).dims()));
  BEVEL_TRY(const auto acc, accumulate(ctx, shape, 0, 2, 1, 3));
  BEVEL_TRY_STATUS(ctx.reserve(DType::int32, shape.out_dims()));
  Tensor y = Tensor::zeros(DType::int32, shape.out_dims());
  const auto out = y.mutable_values<std::int32_t>();
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = static_cast<std::int32_t>(acc[i]);  // wraps as int32 sums do
  return std::vector<Datum>{std::move(y)};
}

Outputs evaluate_qlinear_conv(const EvalContext& ctx) {
  BEVEL_TRY(const ConvShape shape, conv_shape(ctx.node(), ctx.tensor(0).dims(), ctx.tensor(3).dims()));
  const DType dtype = ctx.tensor(7).dtype();
  BEVEL_TRY_STATUS(expect_dtype(dtype, 7, "y_zero_point", {DType::int8, DType::uint8}));
  BEVEL_TRY(const auto x_scale, scales(ctx, 1, "x_scale", 1));
  BEVEL_TRY(const auto w_scale, scales(ctx, 4, "w_scale", shape.out_channels));
  BEVEL_TRY(const auto y_scale, scales(ctx, 6, "y_scale", 1));
  BEVEL_TRY(const auto y_zero, zero_points(ctx, 7, "y_zero_point", dtype, 1));
  BEVEL_TRY(const auto acc, accumulate(ctx, shape, 0, 2, 3, 5));
  std::vector<std::int64_t> bias(static_cast<std::size_t>(shape.out_channels), 0);
  if (ctx.has_input(8)) {
    const Tensor& b = ctx.tensor(8);
    if (b.dtype() != DType::int32 || b.dims() != Dims{shape.out_channels}) {
      return fail_operand(8, "B", "is {} {}, expected int32 [{}]", dtype_name(b.dtype()), to_string(b.dims()),
                          shape.out_channels);
    }
    bias = b.as_int64s();
  }
  BEVEL_TRY_STATUS(ctx.reserve(dtype, shape.out_dims()));
  Tensor y = Tensor::zeros(dtype, shape.out_dims());
  const IntegerRange range = *integer_range(dtype);
  const auto out = y.mutable_values<std::uint8_t>();
  const std::int64_t size = shape.out_size();
  std::size_t i = 0;
  for (std::int64_t n = 0; n < shape.batch; ++n) {
    for (std::int64_t m = 0; m < shape.out_channels; ++m) {
      const float multiplier =
          (x_scale[0] * w_scale[w_scale.size() == 1 ? 0 : static_cast<std::size_t>(m)]) / y_scale[0];
      for (std::int64_t o = 0; o < size; ++o, ++i) {
        out[i] = static_cast<std::uint8_t>(
            requantize(acc[i] + bias[static_cast<std::size_t>(m)], multiplier, y_zero[0], range));
      }
    }
  }
  return std::vector<Datum>{std::move(y)};
}

}  // namespace bevel::ops
