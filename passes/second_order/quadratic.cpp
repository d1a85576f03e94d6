#include "passes/second_order/quadratic.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "lib/support/check.h"
#include "passes/second_order/lanes.h"

namespace bevel::second_order {
namespace {

using Wide = __int128;

// How much the entries off the diagonal of a matrix that `rows` rows of k elements made are to be trusted less. As in Ledoit and Wolf
// ("A well-conditioned estimator for large-dimensional covariance matrices", 2004) the weight of the structured estimate falls with
// 1 / rows and saturates; their exact weight needs fourth moments, which nobody counts.
double shrinkage_of(std::int64_t rows, std::int64_t k) {
  const auto n = static_cast<double>(rows), d = static_cast<double>(k);
  return d / (d + n);
}

// One row of sum over rows of a b^T, about the means if centred: exact in integers, rounded once.
class Sums {
 public:
  Sums(const data::SecondMoment& moment, bool centred) : moment_(moment), centred_(centred) {}
  [[nodiscard]] double gram(std::int64_t i, std::int64_t j) const {
    return entry(moment_.gram, moment_.sum, i, j, 2 * moment_.grid_exponent);
  }
  [[nodiscard]] double cross(std::int64_t i, std::int64_t j) const {
    return entry(moment_.cross, moment_.reference_sum, i, j, moment_.reference_exponent + moment_.grid_exponent);
  }

 private:
  [[nodiscard]] double entry(const std::vector<std::int64_t>& products, const std::vector<std::int64_t>& left, std::int64_t i,
                             std::int64_t j, int exponent) const {
    const auto k = static_cast<std::int64_t>(moment_.sum.size());
    const std::int64_t product = products[static_cast<std::size_t>(i * k + j)];
    if (!centred_) return std::ldexp(static_cast<double>(product), exponent);
    const Wide exact = static_cast<Wide>(product) * moment_.rows -
                       static_cast<Wide>(left[static_cast<std::size_t>(i)]) * moment_.sum[static_cast<std::size_t>(j)];
    return std::ldexp(static_cast<double>(exact) / static_cast<double>(moment_.rows), exponent);
  }
  const data::SecondMoment& moment_;
  bool centred_;
};

std::vector<double> means(const std::vector<std::int64_t>& sums, std::int64_t rows, int exponent) {
  std::vector<double> mean(sums.size());
  for (std::size_t i = 0; i < mean.size(); ++i) {
    mean[i] = std::ldexp(static_cast<double>(sums[i]) / static_cast<double>(std::max<std::int64_t>(rows, 1)), exponent);
  }
  return mean;
}

}  // namespace

std::vector<double> mean_of(const data::SecondMoment& moment) { return means(moment.sum, moment.rows, moment.grid_exponent); }
std::vector<double> reference_mean_of(const data::SecondMoment& moment) {
  return moment.reference_sum.empty() ? mean_of(moment) : means(moment.reference_sum, moment.rows, moment.reference_exponent);
}

QuadraticBuilder::QuadraticBuilder(std::int64_t channels, std::int64_t k, std::vector<double> weights, bool centred, WorkerPool* pool)
    : channels_(channels), k_(k), weights_(std::move(weights)), centred_(centred), pool_(pool), gram_(k, k),
      difference_(k, channels), alive_(static_cast<std::size_t>(k), false) {
  BEVEL_CHECK(static_cast<std::int64_t>(weights_.size()) == channels * k);
}

void QuadraticBuilder::add(const data::SecondMoment& moment) {
  BEVEL_CHECK(static_cast<std::int64_t>(moment.sum.size()) == k_ && static_cast<std::int64_t>(moment.gram.size()) == k_ * k_);
  if (moment.rows == 0) return;
  const Sums sums(moment, centred_);
  const bool with_reference = !moment.cross.empty();
  // Columns in strips: the differences of one strip fit a cache and serve all channels.
  for_each(pool_, (k_ + Lanes::kCount - 1) / Lanes::kCount, [&](std::int64_t strip) {
    const std::int64_t first = strip * Lanes::kCount, width = std::min(Lanes::kCount, k_ - first);
    std::vector<Lanes> differences(static_cast<std::size_t>(with_reference ? k_ : 0));
    for (std::int64_t i = 0; i < k_; ++i) {
      for (std::int64_t lane = 0; lane < width; ++lane) {
        const double value = sums.gram(i, first + lane);
        gram_.row(i)[first + lane] += value;
        if (with_reference) differences[static_cast<std::size_t>(i)].set(lane, sums.cross(i, first + lane) - value);
      }
    }
    if (!with_reference) return;
    for (std::int64_t channel = 0; channel < channels_; ++channel) {
      const double* weights = weights_.data() + channel * k_;
      Lanes even, odd;
      std::int64_t i = 0;
      for (; i + 1 < k_; i += 2) {
        even.add_product(weights[i], differences[static_cast<std::size_t>(i)]);
        odd.add_product(weights[i + 1], differences[static_cast<std::size_t>(i + 1)]);
      }
      if (i < k_) even.add_product(weights[i], differences[static_cast<std::size_t>(i)]);
      const Lanes sum = even + odd;
      for (std::int64_t lane = 0; lane < width; ++lane) difference_.row(first + lane)[channel] += sum[lane];
    }
  });
  for (std::int64_t i = 0; i < k_; ++i) {
    if (moment.gram[static_cast<std::size_t>(i * k_ + i)] != 0) alive_[static_cast<std::size_t>(i)] = true;
  }
  rows_ += moment.rows;
}

double QuadraticBuilder::mean_diagonal() const {
  double sum = 0;
  std::int64_t count = 0;
  for (std::int64_t i = 0; i < k_; ++i) {
    if (!alive_[static_cast<std::size_t>(i)]) continue;
    sum += gram_.at(i, i);
    ++count;
  }
  return count == 0 || rows_ == 0 ? 0 : sum / static_cast<double>(count) / static_cast<double>(rows_);
}

Quadratic QuadraticBuilder::finish(const QuadraticOptions& options) && {
  Quadratic result;
  result.k = k_;
  result.channels = channels_;
  result.rows = rows_;
  result.dead = std::count(alive_.begin(), alive_.end(), false);
  result.shrinkage = shrinkage_of(rows_, k_);
  const double scale = rows_ == 0 ? 0 : 1.0 / static_cast<double>(rows_), kept = 1.0 - result.shrinkage;
  const double mean = mean_diagonal();

  result.column.resize(static_cast<std::size_t>(k_));
  std::iota(result.column.begin(), result.column.end(), 0);
  std::stable_sort(result.column.begin(), result.column.end(), [&](std::int32_t a, std::int32_t b) { return gram_.at(a, a) < gram_.at(b, b); });
  const auto& column = result.column;

  // A layer of no signal at all keeps its weights: any positive damping says so.
  double damping = std::max(options.damping * mean, options.least_damping);
  if (!(damping > 0)) damping = 1;
  const auto fill = [&](Matrix& to, bool upper_only) {
    to = Matrix(k_, k_);
    for_each(pool_, k_, [&](std::int64_t p) {
      double* row = to.row(p);
      const double* from = gram_.row(column[static_cast<std::size_t>(p)]);
      for (std::int64_t q = upper_only ? p : 0; q < k_; ++q) row[q] = from[column[static_cast<std::size_t>(q)]] * scale * kept;
      row[p] = from[column[static_cast<std::size_t>(p)]] * scale + damping;
    });
  };
  // Pivots of A are at least the damping but for rounding: one that is far below it is noise.
  constexpr double kPivotShare = 1e-3;
  constexpr int kRetries = 60;
  for (int attempt = 0;; ++attempt) {
    fill(result.r, true);
    if (cholesky(result.r, damping * kPivotShare, pool_)) break;
    BEVEL_CHECK(attempt < kRetries);
    damping *= 2;
  }
  result.damping = damping;
  fill(result.a, false);
  gram_ = Matrix();

  result.weights = Matrix(k_, channels_);
  Matrix change(k_, channels_);
  for (std::int64_t p = 0; p < k_; ++p) {
    const std::int64_t from = column[static_cast<std::size_t>(p)];
    for (std::int64_t channel = 0; channel < channels_; ++channel) {
      result.weights.row(p)[channel] = weights_[static_cast<std::size_t>(channel * k_ + from)];
      change.row(p)[channel] = difference_.at(from, channel) * scale * kept;
    }
  }
  result.target = result.weights;
  if (options.compensation == 0) return result;
  solve(result.r, change, pool_);
  for (std::size_t i = 0; i < change.values.size(); ++i) result.target.values[i] += options.compensation * change.values[i];
  return result;
}

}  // namespace bevel::second_order
