// Sampling positions are computed in float32, as ONNX Runtime does, so that ties of nearest fall the same way; weights and sums in
// double. Interpolation is separable: one axis after the other. Cubic: R. Keys, "Cubic convolution interpolation for digital
// image processing", IEEE TASSP 29(6), 1981, equation 4.
#include "lib/ops/resize.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "lib/ops/movement.h"
#include "lib/ops/tensor_family.h"

namespace bevel::ops {
namespace {

// Position in the input's coordinates of output element x. ONNX Resize-19, coordinate_transformation_mode.
float original_position(const ResizedAxis& axis, const std::string& mode, std::int64_t at) {
  const auto x = static_cast<float>(at), input = static_cast<float>(axis.input);
  // ONNX's tests divide by the fractional width in align_corners; ONNX Runtime takes the whole one and excludes those tests.
  const float width = axis.fractional_output;
  if (mode == "align_corners") return width == 1 ? 0 : x * (input - 1) / (width - 1);
  if (mode == "asymmetric") return x / axis.scale;
  if (mode == "tf_crop_and_resize") {
    const float span = axis.roi_end - axis.roi_begin;
    const float inside = width == 1 ? span * (input - 1) / 2 : x * span * (input - 1) / (width - 1);
    return inside + axis.roi_begin * (input - 1);
  }
  if (mode == "pytorch_half_pixel" && axis.output == 1) return 0;
  if (mode == "tf_half_pixel_for_nn") return (x + 0.5f) / axis.scale;
  if (mode == "half_pixel_symmetric") {
    const float adjustment = static_cast<float>(axis.output) / width;
    return input / 2 * (1 - adjustment) + (x + 0.5f) / axis.scale - 0.5f;
  }
  return (x + 0.5f) / axis.scale - 0.5f;
}

std::int64_t nearest_index(float position, const std::string& mode) {
  double rounded = 0;
  if (mode == "floor") rounded = std::floor(position);
  else if (mode == "ceil") rounded = std::ceil(position);
  else if (mode == "round_prefer_ceil") rounded = std::floor(static_cast<double>(position) + 0.5);
  else rounded = std::ceil(static_cast<double>(position) - 0.5);
  // NaN and far positions (a roi may hold anything) end at a border.
  if (!(rounded > -1e9)) return -1000000000;
  return rounded < 1e9 ? static_cast<std::int64_t>(rounded) : 1000000000;
}

double cubic_weight(double x, double a) {
  x = std::fabs(x);
  if (x <= 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  if (x < 2) return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a;
  return 0;
}

// The weights of one output position, for input elements first, first + 1, ... (borders repeat).
struct Taps {
  std::int64_t first = 0;
  std::vector<double> weights;
};

Taps taps_at(float position, const ResizedAxis& axis, const ResizeAttributes& attributes) {
  // A filter stretched by 1 / scale when shrinking (antialias), else of its own width.
  const double stretch = attributes.antialias ? std::min(1.0, static_cast<double>(axis.scale)) : 1.0;
  const bool cubic = attributes.mode == "cubic";
  const auto begin = static_cast<std::int64_t>(std::floor((cubic ? -2.0 : -1.0) / stretch)) + 1;
  const std::int64_t count = 2 - 2 * begin;
  const auto base = static_cast<std::int64_t>(std::ceil(position)) - 1;  // base < position <= base + 1
  const double ratio = static_cast<double>(position) - static_cast<double>(base);
  Taps taps;
  taps.first = base + begin;
  double sum = 0;
  for (std::int64_t i = begin; i < begin + count; ++i) {
    const double distance = (static_cast<double>(i) - ratio) * stretch;
    double weight = cubic ? cubic_weight(distance, static_cast<double>(attributes.cubic_a)) : std::max(0.0, 1 - std::fabs(distance));
    const std::int64_t index = base + i;
    if (attributes.exclude_outside && (index < 0 || index >= axis.input)) weight = 0;
    taps.weights.push_back(weight);
    sum += weight;
  }
  if ((attributes.antialias || attributes.exclude_outside) && sum != 0) {
    for (double& weight : taps.weights) weight /= sum;
  }
  return taps;
}

bool keeps(const ResizedAxis& axis, const ResizeAttributes& attributes) {
  return axis.input == axis.output && axis.scale == 1 && attributes.transformation != "tf_crop_and_resize" &&
         attributes.transformation != "tf_half_pixel_for_nn";
}

// Rank-wide interpolation; `outside[axis][i]` marks positions that tf_crop_and_resize extrapolates.
std::vector<double> interpolate(std::vector<double> values, Dims dims, const std::vector<ResizedAxis>& axes,
                                const ResizeAttributes& attributes) {
  for (std::size_t a = 0; a < axes.size(); ++a) {
    if (keeps(axes[a], attributes)) continue;
    const std::int64_t outer = product(dims, 0, a), inner = product(dims, a + 1, dims.size());
    const std::int64_t input = axes[a].input, output = axes[a].output;
    std::vector<double> result(static_cast<std::size_t>(outer * output * inner));
    for (std::int64_t x = 0; x < output; ++x) {
      const float position = original_position(axes[a], attributes.transformation, x);
      const bool far = !(std::fabs(position) < 1e9f);
      const bool outside = attributes.transformation == "tf_crop_and_resize" &&
                           !(position >= 0 && position <= static_cast<float>(input - 1));
      const Taps taps = outside || far ? Taps{} : taps_at(position, axes[a], attributes);
      for (std::int64_t o = 0; o < outer; ++o) {
        double* row = result.data() + (o * output + x) * inner;
        if (outside || far) {
          std::fill(row, row + inner, static_cast<double>(attributes.extrapolation));
          continue;
        }
        for (std::size_t t = 0; t < taps.weights.size(); ++t) {
          const double weight = taps.weights[t];
          if (weight == 0) continue;
          const std::int64_t index = std::clamp<std::int64_t>(taps.first + static_cast<std::int64_t>(t), 0, input - 1);
          const double* source = values.data() + (o * input + index) * inner;
          for (std::int64_t i = 0; i < inner; ++i) row[i] += weight * source[i];
        }
      }
    }
    dims[a] = output;
    values = std::move(result);
  }
  return values;
}

Tensor rounded_to(DType dtype, Dims dims, std::span<const double> values, bool antialias) {
  if (is_plain_float(dtype)) return from_doubles(dtype, std::move(dims), values);
  Tensor out = Tensor::zeros(dtype, std::move(dims));
  const auto range = integer_range(dtype);
  for (std::size_t i = 0; i < values.size(); ++i) {
    // Integers: truncated as ONNX Runtime's plain interpolation does; its antialiased one rounds half up.
    double value = antialias ? std::floor(values[i] + 0.5) : std::trunc(values[i]);
    if (range) value = std::clamp(value, static_cast<double>(range->low), static_cast<double>(range->high));
    else value = std::clamp(value, dtype == DType::uint64 ? 0.0 : -0x1p62, 0x1p62);
    out.set_from_double(static_cast<std::int64_t>(i), value);
  }
  return out;
}

}  // namespace

Outputs evaluate_resize(const EvalContext& ctx) {
  const Tensor& x = ctx.tensor(0);
  BEVEL_TRY(const ResizeAttributes attributes, resize_attributes(ctx.node()));
  std::optional<std::vector<float>> scales, roi;
  std::optional<std::vector<std::int64_t>> sizes;
  for (std::size_t i = 1; i <= 2; ++i) {
    if (!ctx.has_input(i) || ctx.tensor(i).size() == 0) continue;
    if (!is_plain_float(ctx.tensor(i).dtype())) return fail_operand(i, i == 1 ? "roi" : "scales", "is not of floats");
    (i == 1 ? roi : scales) = ctx.tensor(i).as_floats();
  }
  if (ctx.has_input(3) && ctx.tensor(3).size() > 0) {
    BEVEL_TRY(sizes, evaluated_ints(ctx, 3, "sizes"));
    if (scales) return fail_input("'scales' and 'sizes' are both given, expected one of them");
  }
  if (x.rank() == 0) return std::vector<Datum>{x};
  BEVEL_TRY(const auto axes, resize_axes(attributes, x.dims(), scales, sizes, roi));
  Dims dims;
  for (const ResizedAxis& axis : axes) dims.push_back(axis.output);
  BEVEL_TRY_STATUS(ctx.reserve(x.dtype(), dims));
  if (element_count(dims) == 0) return std::vector<Datum>{Tensor::zeros(x.dtype(), dims)};
  if (attributes.mode == "nearest") {
    std::vector<std::vector<std::int64_t>> tables;
    bool extrapolates = false;
    for (const ResizedAxis& axis : axes) {
      std::vector<std::int64_t> table(static_cast<std::size_t>(axis.output));
      for (std::int64_t i = 0; i < axis.output; ++i) {
        std::int64_t& entry = table[static_cast<std::size_t>(i)];
        if (keeps(axis, attributes)) {
          entry = i;
          continue;
        }
        const float position = original_position(axis, attributes.transformation, i);
        const bool outside = attributes.transformation == "tf_crop_and_resize" &&
                             !(position >= 0 && position <= static_cast<float>(axis.input - 1));
        entry = outside ? -1 : std::clamp<std::int64_t>(nearest_index(position, attributes.nearest_mode), 0, axis.input - 1);
        extrapolates = extrapolates || outside;
      }
      tables.push_back(std::move(table));
    }
    Tensor out = Tensor::zeros(x.dtype(), dims);
    if (extrapolates && x.dtype() != DType::string && attributes.extrapolation != 0) {
      Tensor value = Tensor::zeros(x.dtype(), {});
      value.set_from_double(0, static_cast<double>(attributes.extrapolation));
      fill(out, value);
    }
    copy_by_tables(x, out, tables);
    return std::vector<Datum>{std::move(out)};
  }
  if (!dispatch_numeric(x.dtype(), [](auto) {})) return fail_dtype(x.dtype(), "the input");
  // The largest intermediate, in doubles: both ends of the way.
  Dims largest(dims.size());
  for (std::size_t i = 0; i < dims.size(); ++i) largest[i] = std::max(dims[i], x.dim(i));
  BEVEL_TRY_STATUS(ctx.reserve(DType::float64, largest));
  const std::vector<double> values = interpolate(to_doubles(x), x.dims(), axes, attributes);
  return std::vector<Datum>{rounded_to(x.dtype(), dims, values, attributes.antialias)};
}

}  // namespace bevel::ops
