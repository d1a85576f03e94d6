#include "passes/quantize/weights.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <tuple>

#include "lib/ops/facts_derived.h"
#include "lib/ops/requantize.h"
#include "lib/support/check.h"

namespace bevel::passes {
namespace {

constexpr double kBiasLimit = 1073741824.0;          // 2^30
constexpr int kBiasRole = -2;  // beside a weight's axis (-1: none) in the sharing key

// Elements around `axis`: outer x channels x inner; one channel without axis.
struct Layout {
  std::int64_t outer = 1, channels = 1, inner = 1;
};
Layout layout_of(const Tensor& tensor, std::optional<int> axis) {
  Layout layout;
  for (std::size_t i = 0; i < tensor.rank(); ++i) {
    const bool before = axis && static_cast<int>(i) < *axis, at = axis && static_cast<int>(i) == *axis;
    (before ? layout.outer : at ? layout.channels : layout.inner) *= tensor.dim(i);
  }
  return layout;
}

template <typename Visit>  // visit(channel, element index)
void for_each_element(const Layout& layout, const Visit& visit) {
  std::int64_t index = 0;
  for (std::int64_t outer = 0; outer < layout.outer; ++outer) {
    for (std::int64_t channel = 0; channel < layout.channels; ++channel) {
      for (std::int64_t inner = 0; inner < layout.inner; ++inner) visit(static_cast<std::size_t>(channel), index++);
    }
  }
}

// As QuantizeLinear computes it: the quotient in float32.
std::int64_t rounded(float value, float scale, int zero_point, ops::IntegerRange range) {
  return ops::quantize(static_cast<double>(value / scale), zero_point, range);
}

// The integers of two weights of one channel, in steps, that are summed in a pair: nearest, and where that is beyond the limit the nearest that is
// not. Each is within -qmax..qmax beforehand.
struct Pair {
  std::int64_t a = 0, b = 0;
};
Pair within_limit(Pair pair, double a, double b, int qmax) {
  if (!pair_saturates(static_cast<int>(pair.a), static_cast<int>(pair.b))) return pair;
  // Both have one sign. On the line |a| + |b| = limit the nearest point is where both give way alike.
  const double sign = pair.a < 0 ? -1 : 1;
  const double middle = std::nearbyint((sign * a - sign * b + kPairLimit) / 2);
  const auto first = static_cast<std::int64_t>(std::clamp<double>(middle, kPairLimit - qmax, qmax));
  return {pair.a < 0 ? -first : first, pair.b < 0 ? first - kPairLimit : kPairLimit - first};
}

// The channel of an element, as for_each_element counts.
std::size_t channel_of(const Layout& layout, std::int64_t element) {
  return static_cast<std::size_t>(element / layout.inner % layout.channels);
}

// Rounds all elements to `scales` (by channel) under the format; visit(element, integer).
template <typename Visit>
void for_each_integer(const Tensor& weight, const Layout& layout, const std::vector<float>& scales, const WeightFormat& format, const Visit& visit) {
  const auto values = weight.values<float>();
  const ops::IntegerRange range{-format.qmax, format.qmax};
  for_each_element(layout, [&](std::size_t channel, std::int64_t index) {
    const std::int64_t other = pair_partner(format.pairs, weight.dims(), index);
    if (other >= 0 && other < index) return;  // came with the first of them
    const float value = values[static_cast<std::size_t>(index)], scale = scales[channel];
    const std::int64_t integer = rounded(value, scale, 0, range);
    if (other < 0) return visit(index, integer);
    const float other_value = values[static_cast<std::size_t>(other)], other_scale = scales[channel_of(layout, other)];
    const Pair pair = within_limit({integer, rounded(other_value, other_scale, 0, range)}, static_cast<double>(value / scale),
                                   static_cast<double>(other_value / other_scale), format.qmax);
    visit(index, pair.a);
    visit(other, pair.b);
  });
}

// (w - scale * integer)^2, summed by channel.
std::vector<double> rounding_errors(const Tensor& weight, const Layout& layout, const std::vector<float>& scales, const WeightFormat& format) {
  std::vector<double> errors(scales.size(), 0.0);
  const auto values = weight.values<float>();
  for_each_integer(weight, layout, scales, format, [&](std::int64_t index, std::int64_t integer) {
    const std::size_t channel = channel_of(layout, index);
    const double error = static_cast<double>(values[static_cast<std::size_t>(index)]) - static_cast<double>(scales[channel]) * static_cast<double>(integer);
    errors[channel] += error * error;
  });
  return errors;
}

// Between the scales, and those at which each pair fits unclipped, the ones of least error.
void widen_for_pairs(const Tensor& weight, const Layout& layout, const WeightFormat& format, std::vector<float>& scales) {
  constexpr int kSteps = 16;
  const std::vector<float> narrow = scales;
  std::vector<float> wide = scales;
  const auto values = weight.values<float>();
  for_each_element(layout, [&](std::size_t channel, std::int64_t index) {
    const std::int64_t other = pair_partner(format.pairs, weight.dims(), index);
    if (other < index) return;
    const float a = values[static_cast<std::size_t>(index)], b = values[static_cast<std::size_t>(other)];
    if ((a > 0) == (b > 0)) wide[channel] = std::max(wide[channel], (std::fabs(a) + std::fabs(b)) / static_cast<float>(kPairLimit));
  });
  if (wide == narrow) return;
  std::vector<double> least = rounding_errors(weight, layout, narrow, format);
  for (int step = 1; step <= kSteps; ++step) {
    std::vector<float> tried(narrow.size());
    for (std::size_t i = 0; i < tried.size(); ++i) tried[i] = narrow[i] + (wide[i] - narrow[i]) * (static_cast<float>(step) / kSteps);
    const std::vector<double> errors = rounding_errors(weight, layout, tried, format);
    for (std::size_t i = 0; i < tried.size(); ++i) {
      if (!(wide[i] > narrow[i]) || !std::isfinite(tried[i]) || !(errors[i] < least[i])) continue;
      least[i] = errors[i];
      scales[i] = tried[i];
    }
  }
}

// A single number stands for every channel.
Tensor bias_per_channel(const Tensor& bias, std::size_t channels) {
  if (bias.size() != 1 || channels <= 1) return bias;
  return Tensor::of<float>({static_cast<std::int64_t>(channels)}, std::vector<float>(channels, bias.values<float>()[0]));
}

}  // namespace

WeightFormat weight_format(const Recipe& recipe, const std::string& node) {
  const auto choice = recipe.nodes.find(node);
  const std::string& precision = choice != recipe.nodes.end() && choice->second.precision ? *choice->second.precision : recipe.precision;
  return precision == "int4" ? WeightFormat::int4(recipe.block_size) : WeightFormat();
}

std::optional<int> block_axis(const ops::Facts& facts, const Tensor& weight, const WeightFormat& format) {
  const auto axis = ops::channel_axis(facts.space, 1);
  if (format.block == 0 || !axis || weight.rank() != 2) return std::nullopt;
  return 1 - *axis;
}

Result<std::vector<float>> weight_scales(const Tensor& weight, std::optional<int> axis, const Tensor* bias,
                                         float input_scale, const WeightFormat& format) {
  const Layout layout = layout_of(weight, axis);
  std::vector<float> largest(static_cast<std::size_t>(layout.channels), 0.0f);
  const auto values = weight.values<float>();
  bool finite = true;
  for_each_element(layout, [&](std::size_t channel, std::int64_t index) {
    const float magnitude = std::fabs(values[static_cast<std::size_t>(index)]);
    finite = finite && std::isfinite(magnitude);
    largest[channel] = std::max(largest[channel], magnitude);
  });
  if (!finite) return fail_input("a weight is NaN or infinite");
  std::vector<float> scales(largest.size());
  if (bias != nullptr && bias->size() != 1 && bias->size() % layout.channels != 0) {
    return fail_input("{} biases do not fit {} output channels", bias->size(), layout.channels);
  }
  for (std::size_t channel = 0; channel < scales.size(); ++channel) scales[channel] = largest[channel] / static_cast<float>(format.qmax);
  if (bias != nullptr) {
    const Tensor floats = bias_per_channel(*bias, scales.size());
    const auto biases = floats.values<float>();
    for (std::size_t i = 0; i < biases.size(); ++i) {
      if (!std::isfinite(biases[i])) return fail_input("a bias is NaN or infinite");
      // Grouped transposed convolutions share one scale among groups: the i-th bias belongs to scale i mod count.
      float& scale = scales[i % scales.size()];
      const double least = std::fabs(static_cast<double>(biases[i])) / (static_cast<double>(input_scale) * kBiasLimit);
      if (static_cast<double>(scale) < least) {
        scale = std::nextafter(static_cast<float>(least), std::numeric_limits<float>::infinity());
      }
    }
  }
  for (float& scale : scales) {
    if (scale < std::numeric_limits<float>::min()) scale = 1.0f;  // nothing but zeros in the channel
  }
  if (format.pairs != PairOrder::none) widen_for_pairs(weight, layout, format, scales);
  return scales;
}

Result<PairCost> pair_cost(const Tensor& weight, std::optional<int> axis, const Tensor* bias, float input_scale, const WeightFormat& format) {
  PairCost cost;
  if (format.pairs == PairOrder::none) return cost;
  WeightFormat unlimited = format;
  unlimited.pairs = PairOrder::none;
  BEVEL_TRY(const std::vector<float> scales, weight_scales(weight, axis, bias, input_scale, unlimited));
  const Tensor integers = quantize_weight(weight, axis, scales, unlimited);
  for (std::int64_t i = 0; i < weight.size(); ++i) {
    const std::int64_t other = pair_partner(format.pairs, weight.dims(), i);
    if (other >= 0 && pair_saturates(static_cast<int>(integers.as_int64(i)), static_cast<int>(integers.as_int64(other)))) ++cost.limited;
  }
  if (cost.limited == 0) return cost;
  BEVEL_TRY(const std::vector<float> limited, weight_scales(weight, axis, bias, input_scale, format));
  double before = 0, after = 0;
  for (const double error : rounding_errors(weight, layout_of(weight, axis), scales, unlimited)) before += error;
  for (const double error : rounding_errors(weight, layout_of(weight, axis), limited, format)) after += error;
  if (before > 0 && after > before) cost.db = 10 * std::log10(after / before);
  return cost;
}

Tensor quantize_weight(const Tensor& weight, std::optional<int> axis, const std::vector<float>& scales, const WeightFormat& format) {
  Tensor result = Tensor::zeros(format.dtype, weight.dims());
  for_each_integer(weight, layout_of(weight, axis), scales, format,
                   [&](std::int64_t index, std::int64_t integer) { result.set_from_int64(index, integer); });
  return result;
}

namespace {

// visit(block's index in the scales, element index)
template <typename Visit>
void for_each_in_blocks(const Tensor& matrix, int axis, std::int64_t block, const Visit& visit) {
  const std::int64_t rows = matrix.dim(0), columns = matrix.dim(1);
  const std::int64_t scale_columns = axis == 1 ? (columns + block - 1) / block : columns;
  for (std::int64_t row = 0; row < rows; ++row) {
    for (std::int64_t column = 0; column < columns; ++column) {
      const std::int64_t at = axis == 0 ? (row / block) * scale_columns + column : row * scale_columns + column / block;
      visit(static_cast<std::size_t>(at), row * columns + column);
    }
  }
}

}  // namespace

Result<Tensor> block_scales(const Tensor& matrix, int axis, const WeightFormat& format) {
  Dims dims{matrix.dim(0), matrix.dim(1)};
  auto& extent = dims[static_cast<std::size_t>(axis)];
  extent = (extent + format.block - 1) / format.block;
  Tensor scales = Tensor::zeros(DType::float32, dims);
  const auto largest = scales.mutable_values<float>();
  const auto values = matrix.values<float>();
  bool finite = true;
  for_each_in_blocks(matrix, axis, format.block, [&](std::size_t at, std::int64_t index) {
    const float magnitude = std::fabs(values[static_cast<std::size_t>(index)]);
    finite = finite && std::isfinite(magnitude);
    largest[at] = std::max(largest[at], magnitude);
  });
  if (!finite) return fail_input("a weight is NaN or infinite");
  for (float& scale : largest) {
    scale /= static_cast<float>(format.qmax);
    if (scale < std::numeric_limits<float>::min()) scale = 1.0f;
  }
  return scales;
}

Tensor quantize_blocks(const Tensor& matrix, int axis, const Tensor& scales, const WeightFormat& format) {
  Tensor result = Tensor::zeros(format.dtype, matrix.dims());
  const auto values = matrix.values<float>();
  const auto steps = scales.values<float>();
  const ops::IntegerRange range{-format.qmax, format.qmax};
  for_each_in_blocks(matrix, axis, format.block, [&](std::size_t at, std::int64_t index) {
    result.set_from_int64(index, rounded(values[static_cast<std::size_t>(index)], steps[at], 0, range));
  });
  return result;
}

Tensor quantize_bias(const Tensor& bias, float input_scale, const std::vector<float>& scales) {
  Tensor result = Tensor::zeros(DType::int32, bias.dims());
  const auto values = bias.values<float>();
  const auto integers = result.mutable_values<std::int32_t>();
  for (std::size_t i = 0; i < values.size(); ++i) {
    const double step = static_cast<double>(input_scale * scales[i % scales.size()]);  // the float32 that the graph states
    integers[i] = static_cast<std::int32_t>(
        std::clamp<double>(std::nearbyint(static_cast<double>(values[i]) / step), -kBiasLimit * 1.5, kBiasLimit * 1.5));
  }
  return result;
}

Tensor quantize_to_grid(const Tensor& tensor, const ScaleZeroPoint& grid, const ActivationFormat& format) {
  Tensor result = Tensor::zeros(format.dtype, tensor.dims());
  const auto values = tensor.values<float>();
  for (std::size_t i = 0; i < values.size(); ++i) {
    result.set_from_int64(static_cast<std::int64_t>(i),
                          rounded(values[i], grid.scale, grid.zero_point, {format.qmin, format.qmax}));
  }
  return result;
}

Result<std::vector<float>> ConstantQuantizer::scales_of(const Tensor& weight, std::optional<int> axis, const Tensor* bias,
                                                        float input_scale, const WeightFormat& format) const {
  if (!forms_only_) return weight_scales(weight, axis, bias, input_scale, format);
  return std::vector<float>(axis ? static_cast<std::size_t>(weight.dim(static_cast<std::size_t>(*axis))) : 1, 1.0f);
}

ValueId ConstantQuantizer::dequantize(const std::string& base, Tensor integers, Tensor scale, Tensor zero_point,
                                      std::optional<int> axis, NodeId position, std::int64_t block) {
  const Type type = Type::tensor(DType::float32, integers.dims());
  const ValueId quantized = graph_.add_constant(base + "_quantized", std::move(integers));
  const ValueId scales = graph_.add_constant(base + "_scale", std::move(scale));
  const ValueId zeros = graph_.add_constant(base + "_zero_point", std::move(zero_point));
  std::vector<Attribute> attributes;
  if (axis) attributes.push_back({"axis", static_cast<std::int64_t>(*axis), ""});
  if (block != 0) attributes.push_back({"block_size", block, ""});
  const ValueId result = graph_
                             .build_before(position, "DequantizeLinear", base + "_dequantize", {quantized, scales, zeros},
                                           std::move(attributes), type)
                             .output;
  graph_.rename_value(result, base + "_dequantized");
  return result;
}

ValueId ConstantQuantizer::weight(ValueId weight, std::optional<int> axis, const std::vector<float>& scales,
                                  const WeightFormat& format, NodeId position) {
  auto& made = made_[{weight, axis.value_or(-1), scales, format.dtype, 0, format.pairs}];
  if (made.valid()) return made;
  const Value& value = graph_.value(weight);
  const auto count = static_cast<std::int64_t>(scales.size());
  const Dims dims = axis ? Dims{count} : Dims{};
  Tensor integers = forms_only_ ? Tensor::zeros(format.dtype, value.constant->dims())
                                : quantize_weight(*value.constant, axis, scales, format);
  made = dequantize(std::string(value.name), std::move(integers), Tensor::of<float>(dims, scales),
                    Tensor::zeros(format.dtype, dims), axis, position);
  return made;
}

Result<ValueId> ConstantQuantizer::weight_in_blocks(ValueId weight, int axis, const WeightFormat& format, NodeId position) {
  auto& made = made_[{weight, axis, {}, format.dtype, format.block, PairOrder::none}];
  if (made.valid()) return made;
  const Value& value = graph_.value(weight);
  const Tensor& matrix = *value.constant;
  Dims dims{matrix.dim(0), matrix.dim(1)};
  dims[static_cast<std::size_t>(axis)] = (dims[static_cast<std::size_t>(axis)] + format.block - 1) / format.block;
  Tensor scales = Tensor::zeros(DType::float32, dims);
  if (!forms_only_) {
    BEVEL_TRY(scales, block_scales(matrix, axis, format));
  }
  Tensor integers = forms_only_ ? Tensor::zeros(format.dtype, matrix.dims()) : quantize_blocks(matrix, axis, scales, format);
  Tensor zeros = Tensor::zeros(format.dtype, dims);
  made = dequantize(std::string(value.name), std::move(integers), std::move(scales), std::move(zeros), axis, position, format.block);
  return made;
}

ValueId ConstantQuantizer::bias(ValueId bias, float input_scale, const std::vector<float>& scales, NodeId position) {
  std::vector<float> steps(scales.size());
  for (std::size_t i = 0; i < steps.size(); ++i) steps[i] = input_scale * scales[i];
  auto& made = made_[{bias, kBiasRole, steps, DType::int32, 0, PairOrder::none}];
  if (made.valid()) return made;
  const Value& value = graph_.value(bias);
  const Tensor floats = bias_per_channel(*value.constant, scales.size());
  Tensor integers = quantize_bias(floats, input_scale, scales);
  // One scale per element where the channels have their own (grouped transposed convolutions repeat them).
  const bool per_channel = scales.size() > 1;
  if (per_channel && floats.size() != static_cast<std::int64_t>(steps.size())) {
    std::vector<float> repeated(static_cast<std::size_t>(floats.size()));
    for (std::size_t i = 0; i < repeated.size(); ++i) repeated[i] = steps[i % steps.size()];
    steps = std::move(repeated);
  }
  const Dims dims = per_channel ? Dims{static_cast<std::int64_t>(steps.size())} : Dims{};
  const auto axis = per_channel ? std::optional(static_cast<int>(floats.rank()) - 1) : std::nullopt;
  made = dequantize(std::string(value.name), std::move(integers), Tensor::of<float>(dims, steps),
                    Tensor::zeros(DType::int32, dims), axis, position);
  return made;
}

ValueId ConstantQuantizer::activation(ValueId constant, const ScaleZeroPoint& grid, const ActivationFormat& format,
                                      NodeId position) {
  // Each reader has its own copy, mostly of one element: ONNX Runtime 1.32 with session.x64quantprecision=1 (the session whose results
  // are the model's) does not load a file in which two nodes that it fuses read one quantized constant.
  const Value& value = graph_.value(constant);
  Tensor zero_point = Tensor::zeros(format.dtype, {});
  zero_point.set_from_int64(0, grid.zero_point);
  Tensor integers = forms_only_ ? Tensor::zeros(format.dtype, value.constant->dims()) : quantize_to_grid(*value.constant, grid, format);
  return dequantize(std::string(value.name), std::move(integers), Tensor::scalar<float>(grid.scale), std::move(zero_point),
                    std::nullopt, position);
}

}  // namespace bevel::passes
