// HannWindow, HammingWindow, BlackmanWindow and MelWeightMatrix (ONNX opset 17): constants of signal processing, from sizes.
#include <cmath>
#include <numbers>

#include "lib/ops/scalar_operand.h"
#include "lib/ops/tensor_family.h"

namespace bevel::ops {
namespace {

Result<DType> output_dtype(const Node& node) {
  BEVEL_TRY(const DType dtype, attr_dtype(node, "output_datatype", DType::float32));
  if (!is_plain_float(dtype) && !(is_integer(dtype) && dtype_bits(dtype) >= 8)) {
    return fail_input("attribute 'output_datatype' is {}, expected a float or an integer of 8 bits or more", dtype_name(dtype));
  }
  return dtype;
}

// Rounded once to a float, truncated to an integer.
Tensor as_dtype(DType dtype, Dims dims, std::span<const double> values) {
  if (is_plain_float(dtype)) return from_doubles(dtype, std::move(dims), values);
  Tensor tensor = Tensor::zeros(dtype, std::move(dims));
  for (std::size_t i = 0; i < values.size(); ++i) {
    tensor.set_from_int64(static_cast<std::int64_t>(i), static_cast<std::int64_t>(values[i]));
  }
  return tensor;
}

Status infer_window(InferContext& ctx) {
  BEVEL_TRY(const DType dtype, output_dtype(ctx.node()));
  Shape shape = unknown_dims(1);
  if (const auto ints = ctx.input_ints(0); ints && ints->size() == 1) shape.dims[0] = (*ints)[0];
  shape.dims[0].denotation.clear();
  ctx.set_output(0, Type::tensor(dtype, std::move(shape)));
  return {};
}

// a - b cos(angle) + c cos(2 angle), the angle going once round in `size` steps (periodic) or `size - 1` (symmetric).
Outputs evaluate_cosine_window(const EvalContext& ctx, double a, double b, double c) {
  BEVEL_TRY(const std::int64_t size, scalar_int(ctx, 0, "size"));
  BEVEL_TRY(const bool periodic, attr_flag(ctx.node(), "periodic", true));
  BEVEL_TRY(const DType dtype, output_dtype(ctx.node()));
  if (size < 0) return fail_operand(0, "size", "is {}, expected 0 or more", size);
  const Dims dims{size};
  BEVEL_TRY_STATUS(ctx.reserve(DType::float64, dims));
  std::vector<double> values(static_cast<std::size_t>(size));
  const auto steps = static_cast<double>(periodic ? size : size - 1);
  for (std::size_t n = 0; n < values.size(); ++n) {
    const double angle = 2 * std::numbers::pi * static_cast<double>(n) / steps;
    // A symmetric window of one point is its own peak.
    values[n] = steps == 0 ? 1.0 : a - b * std::cos(angle) + c * std::cos(2 * angle);
  }
  return std::vector<Datum>{as_dtype(dtype, dims, values)};
}

Outputs evaluate_hann(const EvalContext& ctx) { return evaluate_cosine_window(ctx, 0.5, 0.5, 0); }
Outputs evaluate_hamming(const EvalContext& ctx) { return evaluate_cosine_window(ctx, 25.0 / 46, 21.0 / 46, 0); }
Outputs evaluate_blackman(const EvalContext& ctx) { return evaluate_cosine_window(ctx, 0.42, 0.5, 0.08); }

// --- mel -------------------------------------------------------------------------------------------------------------
Status infer_mel(InferContext& ctx) {
  BEVEL_TRY(const DType dtype, output_dtype(ctx.node()));
  Shape shape = unknown_dims(2);
  if (const auto length = known_scalar_int(ctx, 1); length && *length >= 0) shape.dims[0] = Dim(*length / 2 + 1);
  if (const auto bands = known_scalar_int(ctx, 0); bands && *bands >= 0) shape.dims[1] = Dim(*bands);
  ctx.set_output(0, Type::tensor(dtype, std::move(shape)));
  return {};
}

double mel_of(double hertz) { return 2595 * std::log10(1 + hertz / 700); }
double hertz_of(double mel) { return 700 * (std::pow(10.0, mel / 2595) - 1); }

// [dft_length / 2 + 1, num_mel_bins]: triangles between bins that lie evenly on the mel scale. As ONNX's reference and ONNX Runtime
// do it, num_mel_bins + 2 edges stand one (num_mel_bins + 2)th of the range apart, so that the last one stays below its upper end.
Outputs evaluate_mel(const EvalContext& ctx) {
  BEVEL_TRY(const std::int64_t bands, scalar_int(ctx, 0, "num_mel_bins"));
  BEVEL_TRY(const std::int64_t length, scalar_int(ctx, 1, "dft_length"));
  BEVEL_TRY(const std::int64_t rate, scalar_int(ctx, 2, "sample_rate"));
  BEVEL_TRY(const double lower, scalar_double(ctx, 3, "lower_edge_hertz"));
  BEVEL_TRY(const double upper, scalar_double(ctx, 4, "upper_edge_hertz"));
  BEVEL_TRY(const DType dtype, output_dtype(ctx.node()));
  constexpr std::int64_t kMost = std::int64_t{1} << 31;
  if (bands < 0 || bands > kMost) return fail_operand(0, "num_mel_bins", "is {}, expected 0 to {}", bands, kMost);
  if (length < 0 || length > kMost) return fail_operand(1, "dft_length", "is {}, expected 0 to {}", length, kMost);
  if (rate < 1) return fail_operand(2, "sample_rate", "is {}, expected 1 or more", rate);
  if (!(lower >= 0 && upper >= lower && upper <= static_cast<double>(rate))) {
    return fail_input("lower_edge_hertz {} and upper_edge_hertz {}: expected 0 <= lower <= upper <= sample_rate {}", lower, upper, rate);
  }
  const std::int64_t bins = length / 2 + 1;
  const Dims dims{bins, bands};
  BEVEL_TRY_STATUS(ctx.reserve(DType::float64, dims));
  std::vector<std::int64_t> edges(static_cast<std::size_t>(bands) + 2);
  const double low = mel_of(lower), step = (mel_of(upper) - low) / static_cast<double>(edges.size());
  for (std::size_t i = 0; i < edges.size(); ++i) {
    const double hertz = hertz_of(low + static_cast<double>(i) * step);
    edges[i] = static_cast<std::int64_t>(std::floor(static_cast<double>(length + 1) * hertz / static_cast<double>(rate)));
    if (edges[i] > bins) return fail_input("the edge at {} Hz lies beyond the {} bins of a transform of {} at {} Hz", hertz, bins, length, rate);
  }
  std::vector<double> weights(static_cast<std::size_t>(bins * bands));
  const auto weight = [&](std::int64_t bin, std::int64_t band) -> double& { return weights[static_cast<std::size_t>(bin * bands + band)]; };
  for (std::int64_t band = 0; band < bands; ++band) {
    const std::int64_t* edge = &edges[static_cast<std::size_t>(band)];
    const std::int64_t rise = edge[1] - edge[0], fall = edge[2] - edge[1];
    if (edge[1] >= bins) return fail_input("the centre of band {} lies beyond the {} bins of a transform of {}", band, bins, length);
    if (rise == 0) weight(edge[1], band) = 1;
    for (std::int64_t bin = edge[0]; rise > 0 && bin <= edge[1]; ++bin) {
      weight(bin, band) = static_cast<double>(bin - edge[0]) / static_cast<double>(rise);
    }
    for (std::int64_t bin = edge[1]; bin < edge[2]; ++bin) {
      weight(bin, band) = static_cast<double>(edge[2] - bin) / static_cast<double>(fall);
    }
  }
  return std::vector<Datum>{as_dtype(dtype, dims, weights)};
}

}  // namespace

extern const OpRecord hann_window_record{.name = "HannWindow", .since = 17, .infer = infer_window, .evaluate = evaluate_hann};
extern const OpRecord hamming_window_record{.name = "HammingWindow", .since = 17, .infer = infer_window, .evaluate = evaluate_hamming};
extern const OpRecord blackman_window_record{.name = "BlackmanWindow", .since = 17, .infer = infer_window, .evaluate = evaluate_blackman};
extern const OpRecord mel_weight_matrix_record{.name = "MelWeightMatrix", .since = 17, .min_inputs = 5, .max_inputs = 5,
                                               .infer = infer_mel, .evaluate = evaluate_mel};

}  // namespace bevel::ops
