// NegativeLogLikelihoodLoss (ONNX opsets 12, 13, 22) and SoftmaxCrossEntropyLoss (12, 13). Scores are [N, C, d1, ...], the
// target is one class per [N, d1, ...]; samples of class `ignore_index` count nothing. A mean is weighted by the
// classes' weights. Sums are in double, over the samples in row-major order.
#include "lib/ops/activation_functions.h"
#include "lib/ops/float_operands.h"
#include "lib/ops/tensor_family.h"

namespace bevel::ops {
namespace {

enum class Reduction : std::uint8_t { none, sum, mean };

struct LossAttributes {
  Reduction reduction = Reduction::mean;
  std::optional<std::int64_t> ignored;
};

Result<LossAttributes> attributes_of(const Node& node) {
  LossAttributes result;
  BEVEL_TRY(const std::string reduction, attr_string(node, "reduction", "mean"));
  if (reduction == "none") {
    result.reduction = Reduction::none;
  } else if (reduction == "sum") {
    result.reduction = Reduction::sum;
  } else if (reduction != "mean") {
    return fail_input("attribute 'reduction' is '{}', expected none, sum or mean", printable(reduction));
  }
  if (has_attr(node, "ignore_index")) {
    BEVEL_TRY(result.ignored, attr_int(node, "ignore_index", 0));
  }
  return result;
}

Status infer(InferContext& ctx) {
  BEVEL_TRY(const LossAttributes attributes, attributes_of(ctx.node()));
  BEVEL_TRY_STATUS(expect_rank(ctx, 0, "scores", 2));
  BEVEL_TRY_STATUS(expect_rank(ctx, 1, "target", 1));
  BEVEL_TRY_STATUS(expect_dtype(input_dtype(ctx, 1), 1, "target", {DType::int32, DType::int64}));
  BEVEL_TRY_STATUS(expect_rank(ctx, 2, "weight", 1, 1));
  const Shape& scores = input_shape(ctx, 0);
  Shape samples = input_shape(ctx, 1);
  if (scores.has_rank) {
    Shape expected = scores;
    expected.dims.erase(expected.dims.begin() + 1);
    auto both = unify_shapes(expected, samples);
    if (!both) return fail_operand(1, "target", "{} does not fit the scores: {}",
                                   bevel::to_string(Type::tensor(DType::undefined, samples)), both.error().message);
    samples = std::move(*both);
    const std::int64_t classes = extent(scores, 1), weights = extent(input_shape(ctx, 2), 0);
    if (classes >= 0 && weights >= 0 && classes != weights)
      return fail_operand(2, "weight", "has {} elements, expected one per class, {}", weights, classes);
  }
  for (Dim& dim : samples.dims) dim.denotation.clear();
  ctx.set_output(0, Type::tensor(input_dtype(ctx, 0),
                                 attributes.reduction == Reduction::none ? std::move(samples) : Shape(std::vector<Dim>())));
  if (ctx.node().outputs.size() > 1) {
    Type log_prob = ctx.input_type(0);
    for (Dim& dim : log_prob.shape.dims) dim.denotation.clear();
    ctx.set_output(1, std::move(log_prob));
  }
  return {};
}

Facts facts(const FactsContext&) {
  Facts facts;
  facts.value.data_operands = {0};
  return facts;
}

struct Geometry {
  std::int64_t batch = 0, classes = 0, inner = 0;  // scores are [batch, classes, inner], the target [batch, inner]
};

Result<Geometry> geometry_of(const EvalContext& ctx) {
  const Tensor& scores = ctx.tensor(0);
  const Tensor& target = ctx.tensor(1);
  if (scores.rank() < 2) return fail_operand(0, "scores", "has shape {}, expected rank 2 or more", to_string(scores.dims()));
  Dims samples = scores.dims();
  samples.erase(samples.begin() + 1);
  const bool integer = target.dtype() == DType::int32 || target.dtype() == DType::int64;
  if (!integer || target.dims() != samples) {
    return fail_operand(1, "target", "is {} {}, expected int32 or int64 {}", dtype_name(target.dtype()),
                        to_string(target.dims()), to_string(samples));
  }
  if (ctx.has_input(2) &&
      (ctx.tensor(2).dtype() != scores.dtype() || ctx.tensor(2).dims() != Dims{scores.dim(1)})) {
    return fail_operand(2, "weight", "is {} {}, expected {} [{}]", dtype_name(ctx.tensor(2).dtype()),
                        to_string(ctx.tensor(2).dims()), dtype_name(scores.dtype()), scores.dim(1));
  }
  if (!is_plain_float(scores.dtype())) return fail_dtype(scores.dtype(), "scores");
  return Geometry{scores.dim(0), scores.dim(1), product(scores.dims(), 2, scores.rank())};
}

// The loss of log probabilities that `log_prob(index)` gives in double.
template <typename LogProb>
Result<Tensor> loss_of(const EvalContext& ctx, const Geometry& geometry, const LogProb& log_prob) {
  BEVEL_TRY(const LossAttributes attributes, attributes_of(ctx.node()));
  const Tensor& target = ctx.tensor(1);
  const std::vector<double> weights = ctx.has_input(2) ? to_doubles(ctx.tensor(2)) : std::vector<double>();
  const bool keep = attributes.reduction == Reduction::none;
  const Dims dims = keep ? target.dims() : Dims{};
  const DType dtype = ctx.tensor(0).dtype();
  BEVEL_TRY_STATUS(ctx.reserve(DType::float64, dims));
  std::vector<double> losses(keep ? static_cast<std::size_t>(target.size()) : 1, 0.0);
  double sum = 0, weight_sum = 0;
  for (std::int64_t sample = 0; sample < target.size(); ++sample) {
    const std::int64_t label = target.as_int64(sample);
    if (attributes.ignored && label == *attributes.ignored) continue;
    if (label < 0 || label >= geometry.classes) {
      return fail_operand(1, "target", "element {} is {}, expected a class from 0 to {}", sample, label,
                          geometry.classes - 1);
    }
    const std::int64_t n = sample / geometry.inner, i = sample % geometry.inner;
    const double weight = weights.empty() ? 1.0 : weights[static_cast<std::size_t>(label)];
    const double loss = -log_prob((n * geometry.classes + label) * geometry.inner + i) * weight;
    if (keep) losses[static_cast<std::size_t>(sample)] = loss;
    sum += loss;
    weight_sum += weight;
  }
  if (!keep) losses[0] = attributes.reduction == Reduction::sum ? sum : sum / weight_sum;
  return from_doubles(dtype, dims, losses);
}

Outputs evaluate_negative_log_likelihood(const EvalContext& ctx) {
  BEVEL_TRY(const Geometry geometry, geometry_of(ctx));
  const Tensor& scores = ctx.tensor(0);
  BEVEL_TRY(Tensor loss, loss_of(ctx, geometry, [&](std::int64_t index) { return scores.as_double(index); }));
  return std::vector<Datum>{std::move(loss)};
}

// x - max - log(sum of exp(x - max)) along axis 1.
template <typename C>
void log_softmax(const Geometry& geometry, const C* x, C* y) {
  for (std::int64_t n = 0; n < geometry.batch; ++n) {
    for (std::int64_t i = 0; i < geometry.inner; ++i) {
      const std::int64_t base = n * geometry.classes * geometry.inner + i;
      C highest = x[base];
      for (std::int64_t c = 1; c < geometry.classes; ++c) highest = std::max(highest, x[base + c * geometry.inner]);
      double sum = 0;
      for (std::int64_t c = 0; c < geometry.classes; ++c)
        sum += static_cast<double>(activation::exp(x[base + c * geometry.inner] - highest));
      const C log_sum = static_cast<C>(bvl_log(sum));
      for (std::int64_t c = 0; c < geometry.classes; ++c) {
        const std::int64_t at = base + c * geometry.inner;
        y[at] = x[at] - highest - log_sum;
      }
    }
  }
}

Outputs evaluate_softmax_cross_entropy(const EvalContext& ctx) {
  BEVEL_TRY(const Geometry geometry, geometry_of(ctx));
  const Tensor& scores = ctx.tensor(0);
  return with_compute_type(scores.dtype(), "scores", [&](auto tag) -> Outputs {
    using C = typename decltype(tag)::type;
    BEVEL_TRY_STATUS(ctx.reserve(DTypeOf<C>::value, scores.dims()));
    const FloatOperand<C> x(scores);
    std::vector<C> log_prob(x.size());
    if (!log_prob.empty()) log_softmax<C>(geometry, x.data(), log_prob.data());
    BEVEL_TRY(Tensor loss, loss_of(ctx, geometry, [&](std::int64_t index) {
                return static_cast<double>(log_prob[static_cast<std::size_t>(index)]);
              }));
    std::vector<Datum> outputs{std::move(loss)};
    if (ctx.node().outputs.size() > 1) {
      BEVEL_TRY_STATUS(ctx.reserve(scores.dtype(), scores.dims()));
      outputs.emplace_back(from_computed<C>(scores.dtype(), scores.dims(), log_prob));
    }
    return outputs;
  });
}

}  // namespace

extern const OpRecord negative_log_likelihood_loss_record = {.name = "NegativeLogLikelihoodLoss",
                                                             .since = 12,
                                                             .min_inputs = 2,
                                                             .max_inputs = 3,
                                                             .infer = infer,
                                                             .facts = facts,
                                                             .evaluate = evaluate_negative_log_likelihood};
extern const OpRecord softmax_cross_entropy_loss_record = {.name = "SoftmaxCrossEntropyLoss",
                                                           .since = 12,
                                                           .min_inputs = 2,
                                                           .max_inputs = 3,
                                                           .max_outputs = 2,
                                                           .infer = infer,
                                                           .facts = facts,
                                                           .evaluate = evaluate_softmax_cross_entropy};

}  // namespace bevel::ops
