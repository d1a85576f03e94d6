// Measure: how a pass asks for statistics of a graph, whoever answers (samples run by calibration, or a stored profile).
// Everything accumulated is an integer, so that merging is exact in any order and any sharding.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "lib/ir/graph.h"
#include "lib/support/result.h"

namespace bevel::data {

// A histogram of float32 values whose bins are the leading 17 bits of the float (sign, exponent, 8 mantissa bits): bin b holds
// the values x with bits(x) >> 15 == b. Exact zeros (either sign) are counted apart. Sparse: most bins are empty.
class Histogram {
 public:
  static constexpr int kShift = 15;
  void add(float value, std::uint64_t count = 1);  // finite
  void merge(const Histogram& other);
  [[nodiscard]] std::uint64_t zeros() const { return zeros_; }
  [[nodiscard]] std::uint64_t total() const;
  // Occupied bins in ascending order of their index. A flat vector: a profile holds some hundred histograms of thousands of bins.
  using Bins = std::vector<std::pair<std::uint32_t, std::uint64_t>>;
  [[nodiscard]] const Bins& bins() const { return bins_; }
  [[nodiscard]] bool has_bin(std::uint32_t index) const;
  void add_to_bin(std::uint32_t index, std::uint64_t count);  // quick at the end
  void shrink() { bins_.shrink_to_fit(); }
  void set_zeros(std::uint64_t zeros) { zeros_ = zeros; }
  // Bin borders and representative (midpoint) as floats; low <= |x| < high for the bin's values, sign applied.
  struct Bin {
    float low, high, middle;
  };
  static Bin bin(std::uint32_t index);
  bool operator==(const Histogram&) const = default;

 private:
  std::uint64_t zeros_ = 0;
  Bins bins_;
};

// Second moments of the rows x that an operand brings to its node's products (for rounding, refitting and bias correction): a Conv's
// window of one group (k = channels per group * kernel), a MatMul's row. Values are rounded to 12 bits on power-of-two grids, so that
// sums are integers and merge exactly. The elements of a row are in the order of ops::ProductView. With a reference model, beside the rows r that the same operand brings there.
struct SecondMoment {
  std::int64_t rows = 0;
  int grid_exponent = 0;                     // x = integer * 2^grid_exponent
  std::vector<std::int64_t> sum;             // [k], of x
  std::vector<std::int64_t> gram;            // [k*k], of x x^T, symmetric
  int reference_exponent = 0;                // r = integer * 2^reference_exponent
  std::vector<std::int64_t> reference_sum;   // [k], of r; empty without a reference
  std::vector<std::int64_t> cross;           // [k*k], of r x^T: row-major, r by row
  bool operator==(const SecondMoment&) const = default;
};

// Some rows of an operand as they are, spread evenly over samples and positions: for trying grids on.
struct Rows {
  std::int64_t groups = 1, count = 0, k = 0;
  std::vector<float> values;  // [groups][count][k]
};

// What the elements of a value along one axis (its channels) are like, over all samples.
struct ChannelStatistics {
  float minimum = 0, maximum = 0;
  std::int64_t count = 0;
  int grid_exponent = 0;               // of the integers that the sums are of, as in SecondMoment
  std::int64_t sum = 0, square_sum = 0;
};

struct ValueStatistics {
  Histogram histogram;
  float minimum = 0, maximum = 0;  // exact extremes
  bool operator==(const ValueStatistics&) const = default;
};

// Adds `other` to `into`, exactly, in any order; a side that has seen no value changes no extreme.
void merge(ValueStatistics& into, const ValueStatistics& other);

// An operand of a node of the model's top graph, by the node's durable name.
struct OperandKey {
  std::string node;
  int operand = 0;
  auto operator<=>(const OperandKey&) const = default;
};

// A value's axis.
struct ChannelKey {
  std::string value;
  int axis = 0;
  auto operator<=>(const ChannelKey&) const = default;
};

struct Request {
  std::vector<std::string> values;         // durable value names of the model's top graph
  // Measured in the same pass where they can be; one that is empty, no number, or NaN or infinite in some sample is left out of the
  // answer instead of failing it. Measures that cannot tell more than they were asked leave them out too.
  std::vector<std::string> optional_values;
  std::vector<OperandKey> moments;         // operands whose second moments are wanted
  // With one, moments hold the reference's rows too: of the operand of the same key in that model. Its inputs are the model's.
  const Model* reference = nullptr;
  std::size_t max_positions = 144;         // rows of each sample that moments count, spread evenly
  std::vector<OperandKey> rows;            // operands of which rows are wanted
  std::size_t max_rows = 512;              // of each operand and group, whatever the number of samples; fewer (at least 16) where
  std::size_t max_row_values = 1u << 18;   // an operand's rows of all groups would pass this many elements
  std::vector<ChannelKey> channels;
  std::optional<std::size_t> max_samples;  // default: all
};

struct Statistics {
  std::uint64_t samples = 0;
  std::map<std::string, ValueStatistics> values;
  std::map<OperandKey, std::vector<SecondMoment>> moments;  // one per group of the node
  std::map<OperandKey, Rows> rows;
  std::map<ChannelKey, std::vector<ChannelStatistics>> channels;  // by index along the axis
};

// A value of one model beside one of another: both numbers, of one shape.
struct ValuePair {
  std::string reference, value;
};
// Of one sample. Sums are over the elements in order, in double.
struct Difference {
  double signal = 0, noise = 0;   // of reference^2, of (value - reference)^2
  // Where the last axis may be class scores (more than one, one row per sample or token): the sum over rows of
  // KL(softmax(reference) || softmax(value)), rows whose largest element is the same one, and rows.
  double divergence = 0;
  std::int64_t agreeing = 0, rows = 0;
};

class Measure {
 public:
  virtual ~Measure() = default;
  // Statistics of the requested values of `model` as it now is. Errors name sample and tensor (NaN, Inf), or the value that
  // a stored profile does not hold.
  virtual Result<Statistics> measure(const Model& model, const Request& request) = 0;
  // How values of `model` differ from those of `reference`: for each pair, by sample. A Measure that has no samples cannot tell.
  virtual Result<std::vector<std::vector<Difference>>> compare(const Model& reference, const Model& model,
                                                               const std::vector<ValuePair>& pairs,
                                                               std::optional<std::size_t> max_samples = {}) {
    (void)reference, (void)model, (void)pairs, (void)max_samples;
    return fail(ExitCode::usage, "a profile holds no samples, and models are compared on samples: give the calibration data");
  }
  // Whether moments, rows, channels and comparisons can be asked for: samples can be run.
  [[nodiscard]] virtual bool has_samples() const { return false; }
};

}  // namespace bevel::data
