// ONNX leaves the generator open. Here it is SplitMix64 (lib/support/random.h), started from the attribute 'seed', or without one
// from the node's name: the same numbers on every machine, in every run and in every call. A model that is run twice therefore
// draws the same numbers twice; two nodes draw different ones.
#include <algorithm>
#include <cmath>
#include <numbers>

#include "lib/ops/family.h"
#include "lib/ops/random.h"
#include "lib/runtime/bevel_math.h"
#include "lib/support/random.h"

namespace bevel::ops {
namespace {

Result<Random> stream_of(const Node& node) {
  if (has_attr(node, "seed")) {
    BEVEL_TRY(const float seed, attr_float(node, "seed", 0));
    return Random(std::bit_cast<std::uint32_t>(seed));
  }
  std::uint64_t hash = 0xcbf29ce484222325ull;  // FNV-1a
  for (const char c : node.name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3ull;
  return Random(hash);
}

// Uniform in [0, 1) with the 53 bits of a double.
double uniform(Random& random) { return static_cast<double>(random.next() >> 11) * 0x1p-53; }

// Standard normal, by pairs (Box, Muller: "A note on the generation of random normal deviates", 1958).
class Normal {
 public:
  explicit Normal(Random& random) : random_(random) {}
  double next() {
    if (spare_) {
      spare_ = false;
      return second_;
    }
    const double radius = std::sqrt(-2 * bvl_log(1 - uniform(random_)));  // 1 - u is above 0
    const double angle = 2 * std::numbers::pi * uniform(random_);
    second_ = radius * std::sin(angle);
    spare_ = true;
    return radius * std::cos(angle);
  }

 private:
  Random& random_;
  bool spare_ = false;
  double second_ = 0;
};

template <typename Draw>
Outputs drawn(const EvalContext& ctx, DType dtype, const Dims& dims, Draw draw) {
  BEVEL_TRY_STATUS(ctx.reserve(DType::float64, dims));
  std::vector<double> values(static_cast<std::size_t>(*element_count(dims)));
  for (double& value : values) value = draw();
  return std::vector<Datum>{from_doubles(dtype, dims, values)};
}

Outputs draw_uniform(const EvalContext& ctx, DType dtype, const Dims& dims) {
  BEVEL_TRY(const float low, attr_float(ctx.node(), "low", 0));
  BEVEL_TRY(const float high, attr_float(ctx.node(), "high", 1));
  BEVEL_TRY(Random random, stream_of(ctx.node()));
  return drawn(ctx, dtype, dims, [&] { return low + (static_cast<double>(high) - low) * uniform(random); });
}

Outputs draw_normal(const EvalContext& ctx, DType dtype, const Dims& dims) {
  BEVEL_TRY(const float mean, attr_float(ctx.node(), "mean", 0));
  BEVEL_TRY(const float scale, attr_float(ctx.node(), "scale", 1));
  BEVEL_TRY(Random random, stream_of(ctx.node()));
  Normal normal(random);
  return drawn(ctx, dtype, dims, [&] { return mean + scale * normal.next(); });
}

// The dtype of a result that may come from the input's.
Result<DType> known_dtype(Result<DType> dtype) {
  if (dtype && *dtype == DType::undefined) return fail_input("attribute 'dtype' is 0, expected an element type");
  return dtype;
}

}  // namespace

Outputs evaluate_random_uniform(const EvalContext& ctx) {
  BEVEL_TRY(const Dims dims, random_shape(ctx.node()));
  BEVEL_TRY(const DType dtype, known_dtype(random_dtype(ctx.node(), DType::float32)));
  return draw_uniform(ctx, dtype, dims);
}
Outputs evaluate_random_normal(const EvalContext& ctx) {
  BEVEL_TRY(const Dims dims, random_shape(ctx.node()));
  BEVEL_TRY(const DType dtype, known_dtype(random_dtype(ctx.node(), DType::float32)));
  return draw_normal(ctx, dtype, dims);
}
Outputs evaluate_random_uniform_like(const EvalContext& ctx) {
  BEVEL_TRY(const DType dtype, known_dtype(random_dtype(ctx.node(), ctx.tensor(0).dtype())));
  return draw_uniform(ctx, dtype, ctx.tensor(0).dims());
}
Outputs evaluate_random_normal_like(const EvalContext& ctx) {
  BEVEL_TRY(const DType dtype, known_dtype(random_dtype(ctx.node(), ctx.tensor(0).dtype())));
  return draw_normal(ctx, dtype, ctx.tensor(0).dims());
}

Outputs evaluate_bernoulli(const EvalContext& ctx) {
  const Tensor& x = ctx.tensor(0);
  if (!is_plain_float(x.dtype())) return fail_dtype(x.dtype(), "the input");
  BEVEL_TRY(const DType dtype, known_dtype(bernoulli_dtype(ctx.node(), x.dtype())));
  BEVEL_TRY(Random random, stream_of(ctx.node()));
  BEVEL_TRY_STATUS(ctx.reserve(DType::float64, x.dims()));
  BEVEL_TRY_STATUS(ctx.reserve(dtype, x.dims()));
  const std::vector<double> chances = to_doubles(x);
  Tensor out = Tensor::zeros(dtype, x.dims());
  for (std::size_t i = 0; i < chances.size(); ++i) {
    if (!(chances[i] >= 0 && chances[i] <= 1)) return fail_operand(0, "input", "element {} is {}, expected a probability", i, chances[i]);
    const bool one = uniform(random) < chances[i];
    if (is_plain_float(dtype)) out.set_from_double(static_cast<std::int64_t>(i), one ? 1 : 0);
    else out.set_from_int64(static_cast<std::int64_t>(i), one ? 1 : 0);
  }
  return std::vector<Datum>{std::move(out)};
}

// Rows of log-probabilities, not normalized; each sample is where a uniform number falls among their cumulated sums.
Outputs evaluate_multinomial(const EvalContext& ctx) {
  const Tensor& x = ctx.tensor(0);
  if (!is_plain_float(x.dtype())) return fail_dtype(x.dtype(), "the input");
  if (x.rank() != 2 || x.dim(1) == 0) return fail_operand(0, "input", "is {}, expected [batch, classes] with classes", to_string(x.dims()));
  BEVEL_TRY(const DType dtype, multinomial_dtype(ctx.node()));
  BEVEL_TRY(const std::int64_t samples, attr_int(ctx.node(), "sample_size", 1));
  if (samples < 0) return fail_input("attribute 'sample_size' is {}, expected 0 or more", samples);
  BEVEL_TRY(Random random, stream_of(ctx.node()));
  const Dims dims{x.dim(0), samples};
  BEVEL_TRY_STATUS(ctx.reserve(dtype, dims));
  BEVEL_TRY_STATUS(ctx.reserve(DType::float64, x.dims()));
  const std::vector<double> logs = to_doubles(x);
  Tensor out = Tensor::zeros(dtype, dims);
  if (out.size() == 0) return std::vector<Datum>{std::move(out)};  // however many classes there are
  const auto classes = static_cast<std::size_t>(x.dim(1));
  std::vector<double> cumulated(classes);
  for (std::int64_t row = 0; row < x.dim(0); ++row) {
    const double* log = logs.data() + static_cast<std::size_t>(row) * classes;
    double largest = log[0], sum = 0;
    for (std::size_t c = 0; c < classes; ++c) largest = log[c] > largest ? log[c] : largest;
    for (std::size_t c = 0; c < classes; ++c) cumulated[c] = sum += bvl_exp(log[c] - largest);
    if (!(sum > 0 && sum <= 0x1p62)) return fail_operand(0, "input", "row {} holds no distribution of log-probabilities", row);
    for (std::int64_t s = 0; s < samples; ++s) {
      const double at = uniform(random) * sum;
      out.set_from_int64(row * samples + s, std::upper_bound(cumulated.begin(), cumulated.end() - 1, at) - cumulated.begin());
    }
  }
  return std::vector<Datum>{std::move(out)};
}

}  // namespace bevel::ops
