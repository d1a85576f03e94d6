// From a histogram to a quantization range.
#pragma once

#include <string>
#include <string_view>

#include "lib/data/measure.h"
#include "lib/support/result.h"

namespace bevel::passes {

struct Range {
  float low = 0, high = 0;  // low <= 0 <= high
};

struct RangeMethod {
  // automatic: whichever of the others errs least where the value is used (passes/quantize/scales.h); on the value alone, mse.
  enum class Kind { minmax, percentile, mse, entropy, automatic } kind = Kind::minmax;
  double percentile = 99.99;
  bool operator==(const RangeMethod&) const = default;
};
// "auto", "minmax", "percentile", "percentile:99.9", "mse", "entropy". Exit 5 otherwise.
Result<RangeMethod> parse_range_method(std::string_view text);
std::string to_string(const RangeMethod& method);

// Zero always inside. `bits` of the integer grid; symmetric: low = -high.
Range choose_range(const data::ValueStatistics& statistics, const RangeMethod& method, int bits, bool symmetric);

struct ScaleZeroPoint {
  float scale = 1;
  int zero_point = 0;
  bool operator==(const ScaleZeroPoint&) const = default;
};
// Asymmetric grid qmin..qmax; zero exactly representable; a range of no extent gives scale 1.
ScaleZeroPoint affine_grid(Range range, int qmin, int qmax);
// Zero point 0, for a grid that is symmetric about it.
ScaleZeroPoint symmetric_grid(Range range, int qmax);

// Mean square of what rounding to the grid and clipping to its ends changes.
double mean_square_error(const data::Histogram& histogram, const ScaleZeroPoint& grid, int qmin, int qmax);
double mean_square(const data::Histogram& histogram);

}  // namespace bevel::passes
