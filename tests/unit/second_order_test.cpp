// The second-order solver: factorization, a layer's quadratic, rounding. Judged against what the definitions say, written out plainly.
#include <catch2/catch.hpp>

#include <algorithm>
#include <cmath>
#include <limits>

#include "lib/support/random.h"
#include "passes/second_order/rounding.h"

using namespace bevel;
using namespace bevel::second_order;

namespace {

// Rows of integers, x and r, as Measure counts them.
struct Samples {
  std::int64_t k = 0;
  std::vector<std::vector<std::int64_t>> x, r;
  int exponent = -6;

  [[nodiscard]] data::SecondMoment moment(bool with_reference = true) const {
    data::SecondMoment m;
    const auto size = static_cast<std::size_t>(k);
    m.rows = static_cast<std::int64_t>(x.size());
    m.grid_exponent = exponent;
    m.reference_exponent = exponent;
    m.sum.assign(size, 0);
    m.gram.assign(size * size, 0);
    if (with_reference) m.reference_sum = m.sum, m.cross = m.gram;
    for (std::size_t n = 0; n < x.size(); ++n) {
      for (std::size_t i = 0; i < size; ++i) {
        m.sum[i] += x[n][i];
        if (with_reference) m.reference_sum[i] += r[n][i];
        for (std::size_t j = 0; j < size; ++j) {
          m.gram[i * size + j] += x[n][i] * x[n][j];
          if (with_reference) m.cross[i * size + j] += r[n][i] * x[n][j];
        }
      }
    }
    return m;
  }
};

// Correlated rows (a few hidden factors), with means; x is r, coarsened and shrunk as a compressed prefix does.
Samples correlated(std::int64_t k, std::int64_t rows, std::uint64_t seed) {
  Random random(seed);
  constexpr std::size_t kFactors = 3;
  std::vector<std::vector<float>> mix(static_cast<std::size_t>(k), std::vector<float>(kFactors));
  for (auto& row : mix) {
    for (float& value : row) value = random.uniform(-200, 200);
  }
  Samples samples;
  samples.k = k;
  for (std::int64_t n = 0; n < rows; ++n) {
    std::vector<float> factors(kFactors);
    for (float& factor : factors) factor = random.uniform(-1, 1);
    std::vector<std::int64_t> x, r;
    for (std::size_t i = 0; i < static_cast<std::size_t>(k); ++i) {
      float value = 100.0f + random.uniform(-60, 60);
      for (std::size_t f = 0; f < kFactors; ++f) value += mix[i][f] * factors[f];
      r.push_back(static_cast<std::int64_t>(value));
      x.push_back(static_cast<std::int64_t>(value * 0.9f) / 16 * 16);
    }
    samples.x.push_back(x);
    samples.r.push_back(r);
  }
  return samples;
}

std::vector<double> random_weights(std::int64_t count, std::uint64_t seed) {
  Random random(seed);
  std::vector<double> weights(static_cast<std::size_t>(count));
  for (double& weight : weights) weight = static_cast<double>(random.uniform(-1, 1) * random.uniform(0, 1));
  return weights;
}

// Per channel max|w| / high, and the nearest integers.
GridWeights nearest_weights(const std::vector<double>& weights, std::int64_t k, const Grid& grid) {
  GridWeights result;
  const auto size = static_cast<std::size_t>(k);
  for (std::size_t first = 0; first < weights.size(); first += size) {
    std::vector<double> largest(static_cast<std::size_t>(grid.blocks), 0.0);
    const auto block = [&](std::size_t i) { return grid.block_of.empty() ? 0u : static_cast<std::size_t>(grid.block_of[i]); };
    for (std::size_t i = 0; i < size; ++i) largest[block(i)] = std::max(largest[block(i)], std::fabs(weights[first + i]));
    std::vector<float> scales;
    for (const double most : largest) scales.push_back(most > 0 ? static_cast<float>(most / grid.high) : 1.0f);
    for (std::size_t i = 0; i < size; ++i) {
      const double steps = std::nearbyint(weights[first + i] / static_cast<double>(scales[block(i)]));
      result.integers.push_back(static_cast<std::int8_t>(std::clamp<double>(steps, grid.low, grid.high)));
    }
    result.scales.insert(result.scales.end(), scales.begin(), scales.end());
  }
  return result;
}

double value_of(const GridWeights& weights, const Grid& grid, std::int64_t k, std::int64_t channel, std::int64_t i) {
  const std::int64_t block = grid.block_of.empty() ? 0 : grid.block_of[static_cast<std::size_t>(i)];
  return static_cast<double>(weights.integers[static_cast<std::size_t>(channel * k + i)]) *
         static_cast<double>(weights.scales[static_cast<std::size_t>(channel * grid.blocks + block)]);
}

// The mean of (w r - v x)^2 over the rows, about its mean if centred: what everything is for.
double true_error(const Samples& samples, const std::vector<double>& w, const std::vector<double>& v, bool centred) {
  const double step = std::ldexp(1.0, samples.exponent);
  double sum = 0, square = 0;
  for (std::size_t n = 0; n < samples.x.size(); ++n) {
    double error = 0;
    for (std::size_t i = 0; i < w.size(); ++i) {
      error += w[i] * static_cast<double>(samples.r[n][i]) * step - v[i] * static_cast<double>(samples.x[n][i]) * step;
    }
    sum += error;
    square += error * error;
  }
  const auto rows = static_cast<double>(samples.x.size());
  return square / rows - (centred ? sum / rows * (sum / rows) : 0);
}

std::vector<double> channel_of(const std::vector<double>& weights, std::int64_t k, std::int64_t channel) {
  return {weights.begin() + channel * k, weights.begin() + (channel + 1) * k};
}
std::vector<double> channel_of(const GridWeights& weights, const Grid& grid, std::int64_t k, std::int64_t channel) {
  std::vector<double> values;
  for (std::int64_t i = 0; i < k; ++i) values.push_back(value_of(weights, grid, k, channel, i));
  return values;
}

Quadratic quadratic_of(const data::SecondMoment& moment, std::int64_t channels, const std::vector<double>& weights, bool centred,
                       const QuadraticOptions& options = {}, WorkerPool* pool = nullptr) {
  QuadraticBuilder builder(channels, static_cast<std::int64_t>(moment.sum.size()), weights, centred, pool);
  builder.add(moment);
  return std::move(builder).finish(options);
}

}  // namespace

TEST_CASE("a positive definite matrix is factored and its systems solved, whatever its size") {
  for (const std::int64_t k : {1, 2, 3, 5, 7, 8, 9, 63, 64, 65, 66, 71, 130, 201}) {
    INFO(k);
    Random random(static_cast<std::uint64_t>(k));
    Matrix factor(k, k + 3), a(k, k);
    for (double& value : factor.values) value = static_cast<double>(random.uniform(-1, 1));
    for (std::int64_t i = 0; i < k; ++i) {
      for (std::int64_t j = 0; j < k; ++j) {
        for (std::int64_t l = 0; l < k + 3; ++l) a.row(i)[j] += factor.at(i, l) * factor.at(j, l);
      }
      a.row(i)[i] += 0.5;
    }
    Matrix r = a;
    REQUIRE(cholesky(r, 1e-6, nullptr));
    double worst = 0;
    for (std::int64_t i = 0; i < k; ++i) {
      for (std::int64_t j = i; j < k; ++j) {
        double sum = 0;
        for (std::int64_t l = 0; l <= i; ++l) sum += r.at(l, i) * r.at(l, j);
        worst = std::max(worst, std::fabs(sum - a.at(i, j)));
      }
    }
    CHECK(worst < 1e-12 * static_cast<double>(k + 10));

    Matrix x(k, 19);
    for (std::int64_t i = 0; i < k; ++i) {
      for (std::int64_t j = 0; j < 19; ++j) x.row(i)[j] = static_cast<double>(random.uniform(-1, 1));
    }
    Matrix b(k, 19);
    for (std::int64_t i = 0; i < k; ++i) {
      for (std::int64_t j = 0; j < 19; ++j) {
        for (std::int64_t l = 0; l < k; ++l) b.row(i)[j] += a.at(i, l) * x.at(l, j);
      }
    }
    solve(r, b, nullptr);
    double off = 0;
    for (std::int64_t i = 0; i < k; ++i) {
      for (std::int64_t j = 0; j < 19; ++j) off = std::max(off, std::fabs(b.at(i, j) - x.at(i, j)));
    }
    CHECK(off < 1e-9);

    WorkerPool pool(3);
    Matrix again = a;
    REQUIRE(cholesky(again, 1e-6, &pool));
    bool same = true;
    for (std::int64_t i = 0; i < k; ++i) {
      for (std::int64_t j = i; j < k; ++j) same = same && again.at(i, j) == r.at(i, j);
    }
    CHECK(same);
  }
}

TEST_CASE("a matrix that is not positive definite is refused, also when only its last pivot shows it") {
  Matrix a(70, 70);
  for (std::int64_t i = 0; i < 70; ++i) a.row(i)[i] = 1;
  a.row(69)[69] = -1;
  CHECK_FALSE(cholesky(a, 1e-9, nullptr));
  Matrix nan(2, 2);
  nan.row(0)[0] = std::numeric_limits<double>::quiet_NaN();
  CHECK_FALSE(cholesky(nan, 1e-9, nullptr));
}

TEST_CASE("the quadratic's target is the float optimum, and errors of rounding are true errors") {
  constexpr std::int64_t k = 12, channels = 3;
  const Samples samples = correlated(k, 20000, 1);
  const auto weights = random_weights(channels * k, 2);
  for (const bool centred : {true, false}) {
    INFO(centred);
    QuadraticOptions options;
    options.damping = 1e-9;
    const Quadratic quadratic = quadratic_of(samples.moment(), channels, weights, centred, options);
    CHECK(quadratic.shrinkage < 1e-3);
    CHECK(quadratic.dead == 0);
    for (std::int64_t channel = 0; channel < channels; ++channel) {
      const auto w = channel_of(weights, k, channel);
      std::vector<double> target(k);
      for (std::int64_t p = 0; p < k; ++p) target[static_cast<std::size_t>(quadratic.column[static_cast<std::size_t>(p)])] = quadratic.target.at(p, channel);
      const double best = true_error(samples, w, target, centred), kept = true_error(samples, w, w, centred);
      CHECK(best < 0.7 * kept);
      for (std::size_t i = 0; i < target.size(); ++i) {  // a minimum: every step away from it costs
        for (const double step : {-0.01, 0.01}) {
          auto moved = target;
          moved[i] += step;
          CHECK(true_error(samples, w, moved, centred) > best);
        }
      }
    }
    const Grid grid{-7, 7, 1, {}, {}, 0};
    const GridWeights before = nearest_weights(weights, k, grid);
    const Rounded rounded = round_weights(quadratic, grid, before, {}, nullptr);
    for (std::int64_t channel = 0; channel < channels; ++channel) {
      const auto at = static_cast<std::size_t>(channel);
      const auto w = channel_of(weights, k, channel);
      const double difference = true_error(samples, w, channel_of(before, grid, k, channel), centred) -
                                true_error(samples, w, channel_of(rounded.weights, grid, k, channel), centred);
      CHECK(rounded.changed[at]);
      CHECK(difference > 0);
      CHECK(rounded.error_before[at] - rounded.error_after[at] == Approx(difference).epsilon(0.01));
    }
    CHECK(rounded.distance_after < 0.5 * rounded.distance_before);
    CHECK(rounded.signal > rounded.distance_before);
  }
}

TEST_CASE("without a reference, and where the reference is the same, the target is the weights") {
  constexpr std::int64_t k = 5;
  Samples samples = correlated(k, 300, 3);
  samples.r = samples.x;
  const auto weights = random_weights(k, 4);
  for (const bool with_reference : {true, false}) {
    const Quadratic quadratic = quadratic_of(samples.moment(with_reference), 1, weights, true);
    for (std::int64_t p = 0; p < k; ++p) CHECK(quadratic.target.at(p, 0) == quadratic.weights.at(p, 0));
  }
  QuadraticOptions plain;
  plain.compensation = 0;
  const Samples other = correlated(k, 300, 3);
  const Quadratic quadratic = quadratic_of(other.moment(), 1, weights, true, plain);
  for (std::int64_t p = 0; p < k; ++p) CHECK(quadratic.target.at(p, 0) == quadratic.weights.at(p, 0));
  // A share of the way to the optimum.
  QuadraticOptions half;
  half.compensation = 0.5;
  const Quadratic middle = quadratic_of(other.moment(), 1, weights, true, half), whole = quadratic_of(other.moment(), 1, weights, true);
  for (std::int64_t p = 0; p < k; ++p) {
    CHECK(whole.target.at(p, 0) != whole.weights.at(p, 0));
    CHECK(middle.target.at(p, 0) == Approx((whole.target.at(p, 0) + whole.weights.at(p, 0)) / 2));
  }
}

TEST_CASE("rounding with given scales comes near the best of all grid points, and is never above nearest") {
  constexpr std::int64_t k = 4;
  const Grid grid{-3, 3, 1, {}, {}, 0};
  RoundingOptions options;
  options.keep_scales = true;
  int optimal = 0;
  constexpr int kTrials = 60;
  double ours = 0, nearest = 0, optimum = 0;
  for (int trial = 0; trial < kTrials; ++trial) {
    const Samples samples = correlated(k, 400, static_cast<std::uint64_t>(100 + trial));
    const auto weights = random_weights(k, static_cast<std::uint64_t>(trial));
    QuadraticOptions sharp;
    sharp.damping = 1e-6;
    const Quadratic quadratic = quadratic_of(samples.moment(), 1, weights, true, sharp);
    const GridWeights before = nearest_weights(weights, k, grid);
    const Rounded rounded = round_weights(quadratic, grid, before, options, nullptr);
    CHECK(rounded.weights.scales == before.scales);
    CHECK(rounded.error_after[0] <= rounded.error_before[0]);
    double best = std::numeric_limits<double>::infinity();
    GridWeights any = before;
    for (int code = 0; code < 7 * 7 * 7 * 7; ++code) {
      for (int i = 0, rest = code; i < 4; ++i, rest /= 7) any.integers[static_cast<std::size_t>(i)] = static_cast<std::int8_t>(rest % 7 - 3);
      best = std::min(best, true_error(samples, weights, channel_of(any, grid, k, 0), true));
    }
    const double found = true_error(samples, weights, channel_of(rounded.weights, grid, k, 0), true);
    if (found <= best * 1.0001) ++optimal;
    ours += found;
    nearest += true_error(samples, weights, channel_of(before, grid, k, 0), true);
    optimum += best;
  }
  CHECK(optimal >= kTrials * 3 / 4);
  CHECK(ours < 1.15 * optimum);
  CHECK(nearest > 2 * optimum);
}

TEST_CASE("scales are searched: an outlier among the weights does not cost the others") {
  constexpr std::int64_t k = 24, channels = 2;
  const Samples samples = correlated(k, 3000, 7);
  auto weights = random_weights(channels * k, 8);
  weights[5] = 3;  // of channel 0
  const Grid grid{-8, 7, 1, {}, {}, 0};
  const Quadratic quadratic = quadratic_of(samples.moment(), channels, weights, true);
  const GridWeights before = nearest_weights(weights, k, grid);
  RoundingOptions keep;
  keep.keep_scales = true;
  const Rounded searched = round_weights(quadratic, grid, before, {}, nullptr), kept = round_weights(quadratic, grid, before, keep, nullptr);
  for (std::size_t channel = 0; channel < channels; ++channel) CHECK(searched.error_after[channel] < kept.error_after[channel]);

  RoundingOptions bounded;
  bounded.least_scale = {static_cast<double>(before.scales[0]) * 1.5, 0.0};
  const Rounded wide = round_weights(quadratic, grid, before, bounded, nullptr);
  if (wide.changed[0]) CHECK(static_cast<double>(wide.weights.scales[0]) >= bounded.least_scale[0]);
  CHECK(wide.weights.scales[1] == searched.weights.scales[1]);
}

TEST_CASE("blocks along the reduction have scales of their own, each with a search of its own") {
  constexpr std::int64_t k = 40, channels = 3;
  const Samples samples = correlated(k, 3000, 11);
  auto weights = random_weights(channels * k, 12);
  for (std::size_t i = 0; i < weights.size(); ++i) {
    if (i % k >= 16 && i % k < 32) weights[i] *= 20;
  }
  Grid whole{-8, 7, 1, {}, {}, 0}, blocks = whole;
  blocks.blocks = 3;
  for (std::int64_t i = 0; i < k; ++i) blocks.block_of.push_back(static_cast<std::int32_t>(i / 16));
  const Quadratic quadratic = quadratic_of(samples.moment(), channels, weights, true);
  const Rounded one = round_weights(quadratic, whole, nearest_weights(weights, k, whole), {}, nullptr);
  const GridWeights before = nearest_weights(weights, k, blocks);
  const Rounded three = round_weights(quadratic, blocks, before, {}, nullptr);
  CHECK(three.weights.scales.size() == channels * 3);
  CHECK(three.distance_after < 0.7 * three.distance_before);
  CHECK(three.distance_after < 0.7 * one.distance_after);
}

TEST_CASE("inputs that are always zero leave their weights nearest; a layer of no signal keeps all of them") {
  constexpr std::int64_t k = 10;
  Samples samples = correlated(k, 2000, 13);
  for (auto* rows : {&samples.x, &samples.r}) {
    for (auto& row : *rows) row[3] = row[7] = 0;
  }
  const auto weights = random_weights(k, 14);
  const Grid grid{-127, 127, 1, {}, {}, 0};
  const GridWeights before = nearest_weights(weights, k, grid);
  const Quadratic quadratic = quadratic_of(samples.moment(), 1, weights, true);
  CHECK(quadratic.dead == 2);
  const Rounded rounded = round_weights(quadratic, grid, before, {}, nullptr);
  for (const std::int64_t i : {3, 7}) {
    CHECK(value_of(rounded.weights, grid, k, 0, i) == Approx(weights[static_cast<std::size_t>(i)]).margin(0.51 * static_cast<double>(rounded.weights.scales[0])));
  }
  for (auto* rows : {&samples.x, &samples.r}) {
    for (auto& row : *rows) std::fill(row.begin(), row.end(), 0);
  }
  const Quadratic nothing = quadratic_of(samples.moment(), 1, weights, true);
  CHECK(nothing.dead == k);
  const Rounded kept = round_weights(nothing, grid, before, {}, nullptr);
  for (std::int64_t i = 0; i < k; ++i) {
    CHECK(value_of(kept.weights, grid, k, 0, i) == Approx(weights[static_cast<std::size_t>(i)]).margin(0.6 * static_cast<double>(before.scales[0])));
  }
}

TEST_CASE("few rows are trusted less: what they suggest does not run away") {
  constexpr std::int64_t k = 60;
  const Samples few = correlated(k, 30, 17), fresh = correlated(k, 4000, 17);  // the same factors
  const auto weights = random_weights(k, 18);
  const Grid grid{-127, 127, 1, {}, {}, 0};
  const Quadratic quadratic = quadratic_of(few.moment(), 1, weights, true);
  CHECK(quadratic.shrinkage > 0.5);
  CHECK(quadratic_of(fresh.moment(), 1, weights, true).shrinkage < 0.02);
  const GridWeights before = nearest_weights(weights, k, grid);
  const Rounded rounded = round_weights(quadratic, grid, before, {}, nullptr);
  CHECK(true_error(fresh, weights, channel_of(rounded.weights, grid, k, 0), true) <
        1.1 * true_error(fresh, weights, channel_of(before, grid, k, 0), true));
}

TEST_CASE("no pair of weights may sum beyond the limit, and what is lost by it is small") {
  constexpr std::int64_t k = 32, channels = 4;
  const Samples samples = correlated(k, 3000, 19);
  const auto weights = random_weights(channels * k, 20);
  Grid free{-127, 127, 1, {}, {}, 0}, paired = free;
  paired.pair_limit = 128;
  for (std::int64_t i = 0; i < k; ++i) paired.partner.push_back(static_cast<std::int32_t>(i ^ 1));
  const Quadratic quadratic = quadratic_of(samples.moment(), channels, weights, true);
  GridWeights before = nearest_weights(weights, k, free);
  for (std::int64_t channel = 0; channel < channels; ++channel) before.integers[static_cast<std::size_t>(channel * k)] = before.integers[static_cast<std::size_t>(channel * k + 1)] = 127;
  const Rounded rounded = round_weights(quadratic, paired, before, {}, nullptr);
  for (std::size_t i = 0; i < rounded.weights.integers.size(); i += 2) {
    const int a = rounded.weights.integers[i], b = rounded.weights.integers[i + 1];
    CHECK(std::max(a, 0) + std::max(b, 0) <= 128);
    CHECK(std::max(-a, 0) + std::max(-b, 0) <= 128);
  }
  const Rounded unbound = round_weights(quadratic, free, before, {}, nullptr);
  CHECK(rounded.distance_after < 4 * unbound.distance_after);  // a bit for all would be four times the error
}

TEST_CASE("under a pair limit the solution comes near the best of all that keep to it") {
  constexpr std::int64_t k = 4;
  Grid paired{-5, 5, 1, {}, {1, 0, 3, 2}, 6};
  RoundingOptions keep;
  keep.keep_scales = true;
  int optimal = 0;
  double ours = 0, optimum = 0;
  constexpr int kTrials = 60;
  for (int trial = 0; trial < kTrials; ++trial) {
    const Samples samples = correlated(k, 400, static_cast<std::uint64_t>(300 + trial));
    std::vector<double> weights = random_weights(k, static_cast<std::uint64_t>(trial));
    weights[1] = std::copysign(0.9, weights[0]), weights[0] = std::copysign(0.8, weights[0]);  // a pair that the limit holds back
    QuadraticOptions sharp;
    sharp.damping = 1e-6;
    const Quadratic quadratic = quadratic_of(samples.moment(), 1, weights, true, sharp);
    GridWeights before = nearest_weights(weights, k, Grid{-5, 5, 1, {}, {}, 0});
    const Rounded rounded = round_weights(quadratic, paired, before, keep, nullptr);
    const auto fits = [](int a, int b) { return std::max(a, 0) + std::max(b, 0) <= 6 && std::max(-a, 0) + std::max(-b, 0) <= 6; };
    const auto& found = rounded.weights.integers;
    REQUIRE((fits(found[0], found[1]) && fits(found[2], found[3])));
    double best = std::numeric_limits<double>::infinity();
    GridWeights any = before;
    for (int code = 0; code < 11 * 11 * 11 * 11; ++code) {
      for (int i = 0, rest = code; i < 4; ++i, rest /= 11) any.integers[static_cast<std::size_t>(i)] = static_cast<std::int8_t>(rest % 11 - 5);
      if (!fits(any.integers[0], any.integers[1]) || !fits(any.integers[2], any.integers[3])) continue;
      best = std::min(best, true_error(samples, weights, channel_of(any, paired, k, 0), true));
    }
    const double error = true_error(samples, weights, channel_of(rounded.weights, paired, k, 0), true);
    if (error <= best * 1.0001) ++optimal;
    ours += error;
    optimum += best;
  }
  CHECK(optimal >= kTrials / 2);
  CHECK(ours < 1.25 * optimum);
}

TEST_CASE("of a free and a limited result each channel takes the better that keeps its pairs") {
  Grid paired{-127, 127, 1, {}, {1, 0}, 128};
  Rounded free, safe;
  free.weights = {{100, 20, 100, 100, -7, 3}, {1, 2, 3}};
  safe.weights = {{90, 30, 64, 64, -6, 2}, {4, 5, 6}};
  free.error_after = {1, 1, 5}, safe.error_after = {2, 9, 4};
  free.distance = {1, 1, 5}, safe.distance = {2, 9, 4};
  free.changed = {true, true, true}, safe.changed = {true, true, false};
  const Rounded both = within_pairs(free, safe, paired);
  CHECK(both.weights.integers == std::vector<std::int8_t>{100, 20, 64, 64, -6, 2});
  CHECK(both.weights.scales == std::vector<float>{1, 5, 6});
  CHECK(both.error_after == std::vector<double>{1, 9, 4});
  CHECK(both.distance_after == 14);
  CHECK(both.changed == std::vector<bool>{true, true, false});
}

TEST_CASE("a channel's result depends on nothing but the channel, and on no number of threads") {
  constexpr std::int64_t k = 33, channels = 21;
  const Samples samples = correlated(k, 500, 23);
  const auto weights = random_weights(channels * k, 24);
  const Grid grid{-8, 7, 1, {}, {}, 0};
  const GridWeights before = nearest_weights(weights, k, grid);
  WorkerPool pool(3);
  const Rounded serial = round_weights(quadratic_of(samples.moment(), channels, weights, true), grid, before, {}, nullptr);
  const Rounded parallel = round_weights(quadratic_of(samples.moment(), channels, weights, true, {}, &pool), grid, before, {}, &pool);
  CHECK(serial.weights.integers == parallel.weights.integers);
  CHECK(serial.weights.scales == parallel.weights.scales);
  CHECK(serial.error_after == parallel.error_after);
  const auto alone = channel_of(weights, k, 17);
  const Rounded single = round_weights(quadratic_of(samples.moment(), 1, alone, true), grid, nearest_weights(alone, k, grid), {}, nullptr);
  CHECK(std::equal(single.weights.integers.begin(), single.weights.integers.end(), serial.weights.integers.begin() + 17 * k));
  CHECK(single.weights.scales[0] == serial.weights.scales[17]);
}

TEST_CASE("the rows of several readers of the same weights count together") {
  constexpr std::int64_t k = 6;
  const Samples first = correlated(k, 500, 29), second = correlated(k, 700, 30);
  Samples both = first;
  both.x.insert(both.x.end(), second.x.begin(), second.x.end());
  both.r.insert(both.r.end(), second.r.begin(), second.r.end());
  const auto weights = random_weights(k, 31);
  QuadraticBuilder builder(1, k, weights, false, nullptr);
  builder.add(first.moment());
  builder.add(second.moment());
  const Quadratic joint = std::move(builder).finish({}), all = quadratic_of(both.moment(), 1, weights, false);
  CHECK(joint.rows == 1200);
  CHECK(joint.column == all.column);
  for (std::int64_t p = 0; p < k; ++p) {
    CHECK(joint.target.at(p, 0) == Approx(all.target.at(p, 0)));
    for (std::int64_t q = 0; q < k; ++q) CHECK(joint.a.at(p, q) == Approx(all.a.at(p, q)));
  }
}
