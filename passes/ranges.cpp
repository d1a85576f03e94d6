// Ranges from histograms. All arithmetic is in double over bins in index order, without libm: the same bits everywhere.
#include "passes/ranges.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <vector>

#include "lib/support/check.h"

namespace bevel::passes {
namespace {

struct WeightedBin {
  double low, high, middle, count;  // low < high in value, whatever the sign
};

// In increasing order of value; exact zeros are a bin without width.
std::vector<WeightedBin> sorted_bins(const data::Histogram& histogram) {
  std::vector<WeightedBin> bins;
  bins.reserve(histogram.bins().size() + 1);
  for (const auto& [index, count] : histogram.bins()) {
    const data::Histogram::Bin bin = data::Histogram::bin(index);
    bins.push_back({std::min(bin.low, bin.high), std::max(bin.low, bin.high), bin.middle, static_cast<double>(count)});
  }
  if (histogram.zeros() > 0) bins.push_back({0, 0, 0, static_cast<double>(histogram.zeros())});
  std::sort(bins.begin(), bins.end(), [](const auto& a, const auto& b) { return a.middle < b.middle; });
  return bins;
}

double reach(Range range) { return std::max(-static_cast<double>(range.low), static_cast<double>(range.high)); }

Range from_doubles(double low, double high) { return {static_cast<float>(low), static_cast<float>(high)}; }

// Cuts (100 - percentile) / 2 percent of the values off each end; symmetric: all of it off the magnitudes.
Range percentile_range(const std::vector<WeightedBin>& bins, Range extremes, double percentile, bool symmetric) {
  double total = 0;
  for (const WeightedBin& bin : bins) total += bin.count;
  const double excess = total * (100 - percentile) / 100;
  if (symmetric) {
    auto magnitudes = bins;
    for (WeightedBin& bin : magnitudes) bin.high = std::max(std::fabs(bin.low), std::fabs(bin.high));
    std::sort(magnitudes.begin(), magnitudes.end(), [](const auto& a, const auto& b) { return a.high < b.high; });
    double cut = excess;
    std::size_t last = magnitudes.size() - 1;
    while (last > 0 && magnitudes[last].count <= cut) cut -= magnitudes[last--].count;
    const double bound = std::min(magnitudes[last].high, reach(extremes));
    return from_doubles(-bound, bound);
  }
  std::size_t first = 0, last = bins.size() - 1;
  double below = excess / 2, above = excess / 2;
  while (first < last && bins[first].count <= below) below -= bins[first++].count;
  while (last > first && bins[last].count <= above) above -= bins[last--].count;
  return from_doubles(std::clamp<double>(bins[first].low, extremes.low, 0),
                      std::clamp<double>(bins[last].high, 0, extremes.high));
}

// Sum of squared errors of rounding to the grid of `range` and clipping to it.
double squared_error(const std::vector<WeightedBin>& bins, const ScaleZeroPoint& grid, int qmin, int qmax) {
  const double scale = grid.scale, inverse = 1 / scale;
  const double low = (qmin - grid.zero_point) * scale, high = (qmax - grid.zero_point) * scale;
  const double spread = scale * scale / 12;  // of values that fill a step evenly
  double sum = 0;
  for (const WeightedBin& bin : bins) {
    double error = spread;
    if (bin.middle < low || bin.middle > high) {
      const double beyond = bin.middle < low ? low - bin.middle : bin.middle - high;
      error = beyond * beyond;
    } else if (bin.high - bin.low < 0.5 * scale) {
      const double steps = bin.middle * inverse;
      const double rest = (steps - std::nearbyint(steps)) * scale;
      error = rest * rest;
    }
    sum += bin.count * error;
  }
  return sum;
}

// Shrinks each end in turn, in hundredths of the extreme, and keeps what errs least. Two rounds: the ends interact only
// through the step's size.
Range mse_range(const std::vector<WeightedBin>& bins, Range extremes, int bits, bool symmetric) {
  constexpr int kHundredths = 100, kLeast = 10, kRounds = 2;
  const int qmax = symmetric ? (1 << (bits - 1)) - 1 : (1 << bits) - 1;
  const int qmin = symmetric ? -qmax : 0;
  const double bound = reach(extremes);
  Range best = symmetric ? from_doubles(-bound, bound) : extremes;
  double least = squared_error(bins, affine_grid(best, qmin, qmax), qmin, qmax);
  const auto consider = [&](Range candidate) {
    const double error = squared_error(bins, affine_grid(candidate, qmin, qmax), qmin, qmax);
    if (error < least) {
      least = error;
      best = candidate;
    }
  };
  if (symmetric) {
    for (int k = kHundredths - 1; k >= kLeast; --k) consider(from_doubles(-bound * k / kHundredths, bound * k / kHundredths));
    return best;
  }
  for (int round = 0; round < kRounds; ++round) {
    for (int k = kHundredths; k >= kLeast && extremes.high > 0; --k) {
      consider({best.low, static_cast<float>(static_cast<double>(extremes.high) * k / kHundredths)});
    }
    for (int k = kHundredths; k >= kLeast && extremes.low < 0; --k) {
      consider({static_cast<float>(static_cast<double>(extremes.low) * k / kHundredths), best.high});
    }
    if (extremes.low == 0 || extremes.high == 0) break;
  }
  return best;
}

// ln x for x > 0: x = m * 2^e, ln m = 2 artanh((m - 1) / (m + 1)) by its series, m in [sqrt(1/2), sqrt(2)).
double natural_log(double x) {
  int exponent = 0;
  double m = std::frexp(x, &exponent);  // exact
  if (m < 0.70710678118654752) {
    m *= 2;
    --exponent;
  }
  const double t = (m - 1) / (m + 1), square = t * t;
  double sum = 0;
  for (int k = 27; k >= 1; k -= 2) sum = sum * square + 1.0 / k;
  return 2 * t * sum + exponent * 0.69314718055994531;
}

// The threshold whose clipped and quantized distribution diverges least from the original (S. Migacz, "8-bit inference
// with TensorRT", GTC 2017), on 2048 linear bins of magnitudes.
double entropy_threshold(const std::vector<WeightedBin>& bins, double bound, int levels) {
  constexpr int kBins = 2048, kStep = 16;
  std::vector<double> linear(kBins, 0.0);
  const double width = bound / kBins;
  for (const WeightedBin& bin : bins) {
    const double low = std::min(std::fabs(bin.low), std::fabs(bin.high)), high = std::max(std::fabs(bin.low), std::fabs(bin.high));
    const int first = std::min(kBins - 1, static_cast<int>(low / width));
    const int last = std::min(kBins - 1, static_cast<int>(high / width));
    for (int i = first; i <= last; ++i) linear[static_cast<std::size_t>(i)] += bin.count / (last - first + 1);
  }
  linear[0] = 0;  // zeros and values near them are always exact enough; their mass would drown the rest
  double best = bound, least = std::numeric_limits<double>::infinity();
  for (int cut = levels; cut <= kBins; cut += kStep) {
    double inside = 0, outside = 0;
    for (int i = 0; i < kBins; ++i) (i < cut ? inside : outside) += linear[static_cast<std::size_t>(i)];
    if (inside <= 0) continue;
    double divergence = 0;
    for (int level = 0; level < levels; ++level) {
      const int first = static_cast<int>(static_cast<std::int64_t>(level) * cut / levels);
      const int last = static_cast<int>(static_cast<std::int64_t>(level + 1) * cut / levels);
      double sum = 0;
      int filled = 0;
      for (int i = first; i < last; ++i) {
        sum += linear[static_cast<std::size_t>(i)];
        filled += linear[static_cast<std::size_t>(i)] > 0;
      }
      for (int i = first; i < last; ++i) {
        double p = linear[static_cast<std::size_t>(i)];
        if (i == cut - 1) p += outside;
        if (p <= 0) continue;
        // A level that held nothing but the clipped mass: the quantized distribution is all but empty there.
        const double q = filled > 0 && sum > 0 ? sum / filled : 1e-9 * inside;
        p /= inside + outside;
        divergence += p * natural_log(p * inside / q);
      }
    }
    if (divergence < least) {
      least = divergence;
      best = width * cut;
    }
  }
  return best;
}

}  // namespace

Result<RangeMethod> parse_range_method(std::string_view text) {
  RangeMethod method;
  if (text == "minmax") return method;
  method.kind = RangeMethod::Kind::automatic;
  if (text == "auto") return method;
  method.kind = RangeMethod::Kind::mse;
  if (text == "mse") return method;
  method.kind = RangeMethod::Kind::entropy;
  if (text == "entropy") return method;
  method.kind = RangeMethod::Kind::percentile;
  if (text == "percentile") return method;
  constexpr std::string_view kPrefix = "percentile:";
  if (text.starts_with(kPrefix)) {
    const char* end = text.data() + text.size();
    const auto [rest, error] = std::from_chars(text.data() + kPrefix.size(), end, method.percentile);
    if (error == std::errc() && rest == end && method.percentile > 50 && method.percentile <= 100) return method;
  }
  return fail_input("range method \"{}\": expected auto, minmax, percentile, percentile:P (50 < P <= 100), mse or entropy",
                    printable(text));
}

std::string to_string(const RangeMethod& method) {
  switch (method.kind) {
    case RangeMethod::Kind::automatic: return "auto";
    case RangeMethod::Kind::minmax: return "minmax";
    case RangeMethod::Kind::mse: return "mse";
    case RangeMethod::Kind::entropy: return "entropy";
    case RangeMethod::Kind::percentile: break;
  }
  return method == RangeMethod{RangeMethod::Kind::percentile, RangeMethod().percentile}
             ? "percentile"
             : fmt::format("percentile:{}", method.percentile);
}

Range choose_range(const data::ValueStatistics& statistics, const RangeMethod& method, int bits, bool symmetric) {
  BEVEL_CHECK(bits >= 2 && bits <= 16);
  const Range extremes{std::min(statistics.minimum, 0.0f), std::max(statistics.maximum, 0.0f)};
  const double bound = reach(extremes);
  const auto bins = sorted_bins(statistics.histogram);
  if (bound == 0 || bins.empty() || method.kind == RangeMethod::Kind::minmax) {
    return symmetric ? from_doubles(-bound, bound) : extremes;
  }
  if (method.kind == RangeMethod::Kind::percentile) return percentile_range(bins, extremes, method.percentile, symmetric);
  if (method.kind == RangeMethod::Kind::mse || method.kind == RangeMethod::Kind::automatic) return mse_range(bins, extremes, bits, symmetric);
  // Values of one sign have all levels on their side.
  const bool one_sided = !symmetric && (extremes.low == 0 || extremes.high == 0);
  const double threshold = entropy_threshold(bins, bound, one_sided ? (1 << bits) - 1 : 1 << (bits - 1));
  if (symmetric) return from_doubles(-threshold, threshold);
  return from_doubles(std::max<double>(extremes.low, -threshold), std::min<double>(extremes.high, threshold));
}

ScaleZeroPoint affine_grid(Range range, int qmin, int qmax) {
  BEVEL_CHECK(qmin < qmax);
  const double low = std::min(range.low, 0.0f), high = std::max(range.high, 0.0f);
  // In double: the extent of two large floats is no float. Below the smallest normal scale there is nothing to resolve.
  const double extent = (high - low) / (qmax - qmin);
  if (extent < std::numeric_limits<float>::min()) return {1.0f, qmin};
  const auto scale = static_cast<float>(extent);
  // Counted from qmin, so that int8 and uint8 grids are the same shifted by 128.
  const double zero = std::nearbyint(-low / static_cast<double>(scale));
  return {scale, qmin + static_cast<int>(std::clamp<double>(zero, 0, qmax - qmin))};
}

ScaleZeroPoint symmetric_grid(Range range, int qmax) {
  const double extent = reach(range) / qmax;
  return {extent < std::numeric_limits<float>::min() ? 1.0f : static_cast<float>(extent), 0};
}

double mean_square_error(const data::Histogram& histogram, const ScaleZeroPoint& grid, int qmin, int qmax) {
  const auto total = static_cast<double>(histogram.total());
  return total == 0 ? 0 : squared_error(sorted_bins(histogram), grid, qmin, qmax) / total;
}

double mean_square(const data::Histogram& histogram) {
  double sum = 0;
  for (const WeightedBin& bin : sorted_bins(histogram)) sum += bin.count * bin.middle * bin.middle;
  return sum == 0 ? 0 : sum / static_cast<double>(histogram.total());
}

}  // namespace bevel::passes
