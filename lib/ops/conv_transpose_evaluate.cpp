#include <algorithm>

#include "lib/ops/conv.h"
#include "lib/ops/conv_transpose.h"
#include "lib/ops/matrix_product.h"
#include "lib/ops/nn_families.h"

namespace bevel::ops {
namespace {

std::int64_t plane(const std::vector<WindowAxis>& axes, std::int64_t WindowAxis::*extent) {
  std::int64_t size = 1;
  for (const WindowAxis& axis : axes) size *= axis.*extent;
  return size;
}

// Adds columns [kernel, in] (row-major) to the output plane at i * stride - pad + k * dilation.
template <typename T>
void scatter(const std::vector<WindowAxis>& axes, const T* columns, T* y) {
  const std::size_t rank = axes.size();
  const std::int64_t in_size = plane(axes, &WindowAxis::in), kernel_size = plane(axes, &WindowAxis::kernel);
  std::vector<std::int64_t> k(rank, 0), i(rank, 0);
  for (std::int64_t tap = 0; tap < kernel_size; ++tap) {
    std::fill(i.begin(), i.end(), 0);
    for (std::int64_t position = 0; position < in_size; ++position) {
      std::int64_t target = 0;
      bool inside = true;
      for (std::size_t a = 0; a < rank; ++a) {
        const std::int64_t o = i[a] * axes[a].stride - axes[a].pad_begin + k[a] * axes[a].dilation;
        inside = inside && o >= 0 && o < axes[a].out;
        target = target * axes[a].out + o;
      }
      if (inside) y[target] += columns[tap * in_size + position];
      for (std::size_t a = rank; a-- > 0;) {
        if (++i[a] < axes[a].in) break;
        i[a] = 0;
      }
    }
    for (std::size_t a = rank; a-- > 0;) {
      if (++k[a] < axes[a].kernel) break;
      k[a] = 0;
    }
  }
}

// y holds the bias on entry. columns[k, i] = sum_c w[c, m, k] * x[c, i], one output channel at a time.
template <typename T>
Status transpose_convolve(const EvalContext& ctx, const ConvTransposeShape& shape, const T* x, const T* w, T* y) {
  const std::int64_t in_size = plane(shape.axes, &WindowAxis::in), out_size = plane(shape.axes, &WindowAxis::out);
  const std::int64_t kernel_size = plane(shape.axes, &WindowAxis::kernel);
  const std::int64_t group_in = shape.channels / shape.groups, group_out = shape.out_channels / shape.groups;
  const std::int64_t column_dims[] = {kernel_size, in_size};
  BEVEL_TRY_STATUS(ctx.reserve(DTypeOf<T>::value, column_dims));
  std::vector<T> columns(static_cast<std::size_t>(kernel_size * in_size));
  for (std::int64_t n = 0; n < shape.batch; ++n) {
    for (std::int64_t m = 0; m < shape.out_channels; ++m) {
      const std::int64_t group = m / group_out;
      const T* image = x + (n * shape.channels + group * group_in) * in_size;
      const T* weights = w + (group * group_in * group_out + m % group_out) * kernel_size;
      std::fill(columns.begin(), columns.end(), T{0});
      const std::int64_t pitch = group_out * kernel_size;  // from one input channel's weights to the next
      if constexpr (std::is_same_v<T, float>) {
        multiply_add(kernel_size, in_size, group_in, {weights, 1, pitch}, {image, in_size, 1}, columns.data(), in_size);
      } else {
        multiply_add_plain(kernel_size, in_size, group_in, weights, 1, pitch, image, in_size, 1, columns.data(),
                           in_size);
      }
      scatter(shape.axes, columns.data(), y + (n * shape.out_channels + m) * out_size);
    }
  }
  return {};
}

template <typename T>
Result<std::vector<T>> run(const EvalContext& ctx, const ConvTransposeShape& shape, const T* x, const T* w,
                           const std::vector<T>& bias) {
  const Dims dims = shape.out_dims();
  BEVEL_TRY_STATUS(ctx.reserve(DTypeOf<T>::value, dims));
  std::vector<T> y(static_cast<std::size_t>(*element_count(dims)), T{0});
  const std::int64_t out_size = plane(shape.axes, &WindowAxis::out);
  if (!bias.empty()) {
    for (std::int64_t p = 0; p < shape.batch * shape.out_channels; ++p) {
      std::fill_n(y.begin() + p * out_size, out_size, bias[static_cast<std::size_t>(p % shape.out_channels)]);
    }
  }
  if (shape.out_channels > 0 && !y.empty()) BEVEL_TRY_STATUS(transpose_convolve(ctx, shape, x, w, y.data()));
  return y;
}

}  // namespace

Outputs evaluate_conv_transpose(const EvalContext& ctx) {
  const Tensor& x = ctx.tensor(0);
  const Tensor& w = ctx.tensor(1);
  BEVEL_TRY(const ConvTransposeShape shape, conv_transpose_shape(ctx.node(), x.dims(), w.dims()));
  BEVEL_TRY_STATUS(check_float_operands(ctx, shape.out_channels));
  const DType dtype = x.dtype();
  const Tensor* bias = ctx.has_input(2) ? &ctx.tensor(2) : nullptr;
  BEVEL_TRY_STATUS(ctx.reserve(dtype, shape.out_dims()));
  if (dtype == DType::float64) {
    BEVEL_TRY(const auto y, run<double>(ctx, shape, x.values<double>().data(), w.values<double>().data(),
                                        bias != nullptr ? to_doubles(*bias) : std::vector<double>()));
    return std::vector<Datum>{Tensor::of<double>(shape.out_dims(), y)};
  }
  const std::vector<float> start = bias != nullptr ? bias->as_floats() : std::vector<float>();
  if (dtype == DType::float32) {
    BEVEL_TRY(const auto y, run<float>(ctx, shape, x.values<float>().data(), w.values<float>().data(), start));
    return std::vector<Datum>{Tensor::of<float>(shape.out_dims(), y)};
  }
  BEVEL_TRY(const auto y, run<float>(ctx, shape, x.as_floats().data(), w.as_floats().data(), start));
  return std::vector<Datum>{from_floats(dtype, shape.out_dims(), y)};
}

}  // namespace bevel::ops
