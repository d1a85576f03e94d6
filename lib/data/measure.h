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

// Second moments XX^T of the rows x that an operand brings to its node's products (for rounding, refitting and bias correction): a
// Conv's window of one group (k = channels per group * kernel), a MatMul's row. x is rounded to 12 bits on a power-of-two grid, so
// that sums are integers and merge exactly.
struct SecondMoment {
  int grid_exponent = 0;           // x = integer * 2^grid_exponent
  std::int64_t rows = 0;
  std::vector<std::int64_t> sum;   // [k]
  std::vector<std::int64_t> gram;  // [k*k], symmetric
  bool operator==(const SecondMoment&) const = default;
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

struct Request {
  std::vector<std::string> values;         // durable value names of the model's top graph
  // Measured in the same pass where they can be; one that is empty, no number, or NaN or infinite in some sample is left out of the
  // answer instead of failing it. Measures that cannot tell more than they were asked leave them out too.
  std::vector<std::string> optional_values;
  std::vector<OperandKey> moments;         // operands whose second moments are wanted
  std::optional<std::size_t> max_samples;  // default: all
};

struct Statistics {
  std::uint64_t samples = 0;
  std::map<std::string, ValueStatistics> values;
  std::map<OperandKey, std::vector<SecondMoment>> moments;  // one per group of the node
};

class Measure {
 public:
  virtual ~Measure() = default;
  // Statistics of the requested values of `model` as it now is. Errors name sample and tensor (NaN, Inf), or the value that
  // a stored profile does not hold.
  virtual Result<Statistics> measure(const Model& model, const Request& request) = 0;
};

}  // namespace bevel::data
