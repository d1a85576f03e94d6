// Normalizations that ONNX defines by a function body: RMSNormalization (opset 23), GroupNormalization (18: scale and bias
// per group, 21: per channel) and MeanVarianceNormalization (9, 13). Moments are summed in double, in row-major order; the
// first stage gives the input's element type, the scale and the bias are applied in it.
#include <algorithm>

#include "lib/ops/float_operands.h"
#include "lib/ops/normalization.h"

namespace bevel::ops {
namespace {

constexpr std::int64_t kPerChannelOpset = 21;  // GroupNormalization
constexpr double kMeanVarianceEpsilon = 1e-9;  // added to the deviation by MeanVarianceNormalization's function body

Result<DType> stash_type(const Node& node) {
  BEVEL_TRY(const DType stash, attr_dtype(node, "stash_type", DType::float32));
  if (!is_plain_float(stash)) return fail_input("attribute 'stash_type' is {}, expected a floating type", dtype_name(stash));
  return stash;
}

// --- RMSNormalization ---

Status infer_rms(InferContext& ctx) {
  BEVEL_TRY(const std::int64_t axis, attr_int(ctx.node(), "axis", -1));
  BEVEL_TRY([[maybe_unused]] const DType stash, stash_type(ctx.node()));
  const Shape& x = input_shape(ctx, 0);
  Shape y = x;
  for (Dim& dim : y.dims) dim.denotation.clear();
  if (x.has_rank) {
    if (const auto normal = normalize_axis(axis, x.rank()); !normal) return Failure(normal.error());
    if (const auto fits = broadcast_shapes(x, input_shape(ctx, 1)); !fits)
      return fail_operand(1, "scale", "{}", fits.error().message);
  }
  ctx.set_output(0, Type::tensor(input_dtype(ctx, 1), std::move(y)));
  return {};
}

Facts facts_rms(const FactsContext& ctx) {
  const Shape& x = input_shape(ctx, 0);
  const auto axis = normalize_axis(attr_int(ctx.node(), "axis", -1).value_or(-1), x.rank());
  return facts_normalized(ctx, axis ? static_cast<std::size_t>(*axis) : 0, 64);
}

template <typename C>
Outputs normalize_rms(const EvalContext& ctx, std::size_t axis, DType stash, double epsilon) {
  const Tensor& x = ctx.tensor(0);
  const Tensor& scale = ctx.tensor(1);
  BEVEL_TRY_STATUS(ctx.reserve(DTypeOf<C>::value, x.dims()));
  const FloatOperand<C> in(x), factors(scale);
  const std::int64_t outer = x.size() == 0 ? 0 : product(x.dims(), 0, axis), inner = product(x.dims(), axis, x.rank());
  const Dims strides = broadcast_strides(scale.dims(), x.dims());
  std::vector<C> y(in.size());
  std::vector<std::int64_t> position(x.rank(), 0);
  for (std::int64_t n = 0; n < outer; ++n) {
    const C* row = in.data() + n * inner;
    double squares = 0;
    for (std::int64_t i = 0; i < inner; ++i) squares += static_cast<double>(row[i]) * static_cast<double>(row[i]);
    const double mean = inner > 0 ? squares / static_cast<double>(inner) : 0;
    const double root = __builtin_sqrt(mean + epsilon);
    for (std::int64_t i = 0; i < inner; ++i) {
      std::int64_t at = 0;
      for (std::size_t a = 0; a < position.size(); ++a) at += position[a] * strides[a];
      const C normal = rounded_to(x.dtype(), rounded_to(stash, static_cast<C>(static_cast<double>(row[i]) / root)));
      y[static_cast<std::size_t>(n * inner + i)] = normal * factors[static_cast<std::size_t>(at)];
      for (std::size_t a = position.size(); a-- > 0;) {
        if (++position[a] < x.dim(a)) break;
        position[a] = 0;
      }
    }
  }
  BEVEL_TRY_STATUS(ctx.reserve(scale.dtype(), x.dims()));
  return std::vector<Datum>{from_computed<C>(scale.dtype(), x.dims(), y)};
}

Outputs evaluate_rms(const EvalContext& ctx) {
  const Tensor& x = ctx.tensor(0);
  const Tensor& scale = ctx.tensor(1);
  BEVEL_TRY(const float epsilon, attr_float(ctx.node(), "epsilon", 1e-5f));
  BEVEL_TRY(std::int64_t axis, attr_int(ctx.node(), "axis", -1));
  BEVEL_TRY(axis, normalize_axis(axis, x.rank()));
  BEVEL_TRY(const DType stash, stash_type(ctx.node()));
  const auto fits = broadcast_dims(scale.dims(), x.dims());
  if (!is_plain_float(scale.dtype()) || !fits || *fits != x.dims()) {
    return fail_operand(1, "scale", "is {} {}, expected a floating type that broadcasts to {}", dtype_name(scale.dtype()),
                        to_string(scale.dims()), to_string(x.dims()));
  }
  if (!is_plain_float(x.dtype())) return fail_dtype(x.dtype(), "X");
  const bool wide = x.dtype() == DType::float64 || scale.dtype() == DType::float64 || stash == DType::float64;
  const auto first = static_cast<std::size_t>(axis);
  return wide ? normalize_rms<double>(ctx, first, stash, static_cast<double>(epsilon))
              : normalize_rms<float>(ctx, first, stash, static_cast<double>(epsilon));
}

// --- GroupNormalization ---

Status infer_group(InferContext& ctx) {
  BEVEL_TRY(const std::int64_t groups, require_int(ctx.node(), "num_groups"));
  BEVEL_TRY_STATUS(expect_rank(ctx, 0, "X", 2));
  const std::int64_t channels = extent(input_shape(ctx, 0), 1);
  if (groups < 1 || (channels >= 0 && channels % groups != 0))
    return fail_input("attribute 'num_groups' is {}, which does not divide {} channels", groups, channels);
  const std::int64_t expected = ctx.opset() < kPerChannelOpset ? groups : channels;
  for (const std::size_t i : {std::size_t{1}, std::size_t{2}}) {
    const std::string_view role = i == 1 ? "scale" : "bias";
    BEVEL_TRY_STATUS(expect_rank(ctx, i, role, 1, 1));
    const std::int64_t found = extent(input_shape(ctx, i), 0);
    if (found >= 0 && expected >= 0 && found != expected)
      return fail_operand(i, role, "has {} elements, expected {}", found, expected);
  }
  return infer_same_type(ctx);
}

Facts facts_group(const FactsContext& ctx) { return facts_normalized(ctx, 1, 64); }

Outputs evaluate_group(const EvalContext& ctx) {
  const Tensor& x = ctx.tensor(0);
  BEVEL_TRY(const float epsilon, attr_float(ctx.node(), "epsilon", 1e-5f));
  BEVEL_TRY(const std::int64_t groups, require_int(ctx.node(), "num_groups"));
  BEVEL_TRY(const DType stash, stash_type(ctx.node()));
  if (x.rank() < 2 || groups < 1 || x.dim(1) % groups != 0) {
    return fail_operand(0, "X", "has shape {}, expected a multiple of num_groups, {}, on axis 1", to_string(x.dims()), groups);
  }
  const std::int64_t channels = x.dim(1), group_channels = channels / groups, plane = product(x.dims(), 2, x.rank());
  const bool per_channel = ctx.opset() >= kPerChannelOpset;
  for (const std::size_t i : {std::size_t{1}, std::size_t{2}}) {
    const Tensor& tensor = ctx.tensor(i);
    if (tensor.dtype() != x.dtype() || tensor.dims() != Dims{per_channel ? channels : groups}) {
      return fail_operand(i, i == 1 ? "scale" : "bias", "is {} {}, expected {} [{}]", dtype_name(tensor.dtype()),
                          to_string(tensor.dims()), dtype_name(x.dtype()), per_channel ? channels : groups);
    }
  }
  return with_compute_type(x.dtype(), "X", [&](auto tag) -> Outputs {
    using C = typename decltype(tag)::type;
    BEVEL_TRY_STATUS(ctx.reserve(DTypeOf<C>::value, x.dims()));
    const FloatOperand<C> in(x), scale(ctx.tensor(1)), bias(ctx.tensor(2));
    std::vector<C> y(in.size());
    const std::int64_t size = group_channels * plane;
    for (std::int64_t g = 0; size > 0 && g < x.dim(0) * groups; ++g) {
      const C* values = in.data() + g * size;
      double sum = 0, squares = 0;
      for (std::int64_t i = 0; i < size; ++i) sum += static_cast<double>(values[i]);
      const double mean = sum / static_cast<double>(size);
      for (std::int64_t i = 0; i < size; ++i) {
        const double d = static_cast<double>(values[i]) - mean;
        squares += d * d;
      }
      const double root = __builtin_sqrt(squares / static_cast<double>(size) + static_cast<double>(epsilon));
      for (std::int64_t i = 0; i < size; ++i) {
        const std::int64_t at = per_channel ? g % groups * group_channels + i / plane : g % groups;
        const C normal = rounded_to(
            x.dtype(), rounded_to(stash, static_cast<C>((static_cast<double>(values[i]) - mean) / root)));
        y[static_cast<std::size_t>(g * size + i)] =
            rounded_to(x.dtype(), normal * scale[static_cast<std::size_t>(at)]) + bias[static_cast<std::size_t>(at)];
      }
    }
    return std::vector<Datum>{from_computed<C>(x.dtype(), x.dims(), y)};
  });
}

// --- MeanVarianceNormalization ---

Status infer_mean_variance(InferContext& ctx) {
  BEVEL_TRY(const auto axes, attr_ints(ctx.node(), "axes", {0, 2, 3}));
  const Shape& x = input_shape(ctx, 0);
  if (x.has_rank) {
    if (const auto normal = normalize_axes(axes, x.rank()); !normal) return Failure(normal.error());
  }
  return infer_same_type(ctx);
}

Facts facts_mean_variance(const FactsContext& ctx) { return facts_normalized(ctx, 0, 64); }

Outputs evaluate_mean_variance(const EvalContext& ctx) {
  const Tensor& x = ctx.tensor(0);
  BEVEL_TRY(const auto given, attr_ints(ctx.node(), "axes", {0, 2, 3}));
  BEVEL_TRY(const auto axes, normalize_axes(given, x.rank()));
  Dims kept = x.dims();
  for (const std::int64_t axis : axes) kept[static_cast<std::size_t>(axis)] = 1;
  const Dims strides = broadcast_strides(kept, x.dims());
  return with_compute_type(x.dtype(), "X", [&](auto tag) -> Outputs {
    using C = typename decltype(tag)::type;
    BEVEL_TRY_STATUS(ctx.reserve(DTypeOf<C>::value, x.dims()));
    BEVEL_TRY_STATUS(ctx.reserve(DType::int64, x.dims()));
    const FloatOperand<C> in(x);
    std::vector<std::int64_t> group(in.size());  // of each element
    std::vector<std::int64_t> position(x.rank(), 0);
    for (std::int64_t& at : group) {
      for (std::size_t a = 0; a < position.size(); ++a) at += position[a] * strides[a];
      for (std::size_t a = position.size(); a-- > 0;) {
        if (++position[a] < x.dim(a)) break;
        position[a] = 0;
      }
    }
    const auto groups = static_cast<std::size_t>(x.size() == 0 ? 0 : product(kept, 0, kept.size()));
    std::vector<double> means(groups, 0.0), deviations(groups, 0.0);
    const double count = groups == 0 ? 1 : static_cast<double>(in.size() / groups);
    for (std::size_t i = 0; i < in.size(); ++i) means[static_cast<std::size_t>(group[i])] += static_cast<double>(in[i]);
    for (double& mean : means) mean /= count;
    for (std::size_t i = 0; i < in.size(); ++i) {
      const auto g = static_cast<std::size_t>(group[i]);
      const double d = static_cast<double>(in[i]) - means[g];
      deviations[g] += d * d;
    }
    for (double& deviation : deviations) deviation = __builtin_sqrt(deviation / count) + kMeanVarianceEpsilon;
    std::vector<C> y(in.size());
    for (std::size_t i = 0; i < in.size(); ++i) {
      const auto g = static_cast<std::size_t>(group[i]);
      y[i] = static_cast<C>((static_cast<double>(in[i]) - means[g]) / deviations[g]);
    }
    return std::vector<Datum>{from_computed<C>(x.dtype(), x.dims(), y)};
  });
}

}  // namespace

extern const OpRecord rms_normalization_record = {.name = "RMSNormalization",
                                                  .since = 23,
                                                  .min_inputs = 2,
                                                  .max_inputs = 2,
                                                  .infer = infer_rms,
                                                  .facts = facts_rms,
                                                  .evaluate = evaluate_rms};
extern const OpRecord group_normalization_record = {.name = "GroupNormalization",
                                                    .since = 18,
                                                    .min_inputs = 3,
                                                    .max_inputs = 3,
                                                    .infer = infer_group,
                                                    .facts = facts_group,
                                                    .evaluate = evaluate_group};
extern const OpRecord mean_variance_normalization_record = {.name = "MeanVarianceNormalization",
                                                            .since = 9,
                                                            .infer = infer_mean_variance,
                                                            .facts = facts_mean_variance,
                                                            .evaluate = evaluate_mean_variance};

}  // namespace bevel::ops
