#include "calibration/difference.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "lib/runtime/bevel_math.h"

namespace bevel::calibration {
namespace {

// ln of the sum of exp(row), and the row's largest element's index.
struct RowScale {
  double log_sum = 0;
  std::size_t largest = 0;
};
RowScale scale_of(std::span<const float> row) {
  RowScale scale;
  scale.largest = static_cast<std::size_t>(std::max_element(row.begin(), row.end()) - row.begin());
  const double top = row[scale.largest];
  double sum = 0;
  for (const float x : row) sum += bvl_exp(static_cast<double>(x) - top);
  scale.log_sum = top + bvl_log(sum);
  return scale;
}

// Maps of an image have other axes last than classes.
constexpr std::size_t kMostRankOfScores = 3;

}  // namespace

Result<data::Difference> difference(const Tensor& reference, const Tensor& value) {
  if (!reference.defined() || !value.defined() || reference.dtype() == DType::string || value.dtype() == DType::string)
    return fail_input("there are no numbers to compare");
  if (reference.dims() != value.dims()) {
    return fail_input("the reference is {}, but the value {}", to_string(Type::tensor(reference.dtype(), reference.dims())),
                      to_string(Type::tensor(value.dtype(), value.dims())));
  }
  const std::vector<float> r = reference.as_floats(), v = value.as_floats();
  data::Difference result;
  for (std::size_t i = 0; i < r.size(); ++i) {
    if (!std::isfinite(r[i]) || !std::isfinite(v[i])) {
      return fail_input("element {} of {} is {} in the {}; a comparison needs finite values", i, r.size(),
                        std::isnan(std::isfinite(r[i]) ? v[i] : r[i]) ? "NaN" : "infinite", std::isfinite(r[i]) ? "model" : "reference");
    }
    const double signal = r[i], noise = static_cast<double>(v[i]) - signal;
    result.signal += signal * signal;
    result.noise += noise * noise;
  }
  if (reference.rank() < 1 || reference.rank() > kMostRankOfScores || reference.dims().back() < 2) return result;
  const auto classes = static_cast<std::size_t>(reference.dims().back());
  for (std::size_t begin = 0; begin < r.size(); begin += classes) {
    const std::span<const float> p(r.data() + begin, classes), q(v.data() + begin, classes);
    const RowScale ps = scale_of(p), qs = scale_of(q);
    double divergence = 0;
    for (std::size_t i = 0; i < classes; ++i) {
      const double log_p = static_cast<double>(p[i]) - ps.log_sum;
      divergence += bvl_exp(log_p) * (log_p - (static_cast<double>(q[i]) - qs.log_sum));
    }
    result.divergence += std::max(0.0, divergence);  // below zero by rounding only
    result.agreeing += ps.largest == qs.largest;
    ++result.rows;
  }
  return result;
}

}  // namespace bevel::calibration
