// Second moments and channels while they grow: integers on a grid that the largest magnitude of all samples sets, so that they are the
// same for any order of samples and any number of threads. Two passes over the samples: one for the magnitudes, one for the sums.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "lib/data/measure.h"
#include "lib/ops/product_view.h"
#include "lib/support/result.h"
#include "lib/support/worker_pool.h"

namespace bevel::calibration {

// The power of two whose multiples up to kLargestInteger reach `magnitude` (finite, >= 0): the least such; 0 for a magnitude of 0.
int grid_exponent(float magnitude);
// The nearest multiple of 2^exponent, as its factor; halves to even.
std::int16_t on_grid(float value, int exponent);

// The rows that an operand of a node brings to its products.
class OperandRows {
 public:
  // Errors: no such node or operand; an operator that is no plain sum of products of its operands 0 and 1.
  static Result<OperandRows> create(const Model& model, const data::OperandKey& key);
  // As ops::gather_rows at the tensor's shape; an error when it has no rows there. Thread-safe.
  [[nodiscard]] Result<ops::GatheredRows> gather(const Tensor& tensor, std::int64_t positions, std::uint64_t seed) const;
  [[nodiscard]] const std::string& value() const { return value_; }  // the operand's name
  [[nodiscard]] std::string place() const { return fmt::format("node '{}': operand {}", printable(key_.node), key_.operand); }

 private:
  const Model* model_ = nullptr;  // types inferred; outlives this
  data::OperandKey key_;
  NodeId node_;
  std::string value_;
  struct Spaces {
    std::mutex mutex;
    std::map<Dims, ops::IterationSpace> known;
  };
  std::shared_ptr<Spaces> spaces_;
};

// Of one operand. Not thread-safe but where it says so.
class MomentSums {
 public:
  // First pass, in any order, thread-safe: the magnitudes of a sample's rows (and of the reference's, or none).
  Status see(std::size_t sample, const ops::GatheredRows& rows, const ops::GatheredRows* reference);
  // Between the passes. Errors: samples whose rows are of different lengths; more sums than memory is meant for.
  Status start(const std::string& place, bool with_reference);
  // Second pass. Room for some samples; then their rows, thread-safe for different samples; then the sums.
  [[nodiscard]] std::int64_t elements_of(std::size_t sample) const;
  void make_room(std::span<const std::size_t> samples);
  void put(std::size_t sample, const ops::GatheredRows& rows, const ops::GatheredRows* reference);
  [[nodiscard]] std::size_t tiles() const;
  void add_tile(std::size_t tile);  // thread-safe for different tiles
  void end_batch();
  [[nodiscard]] std::vector<data::SecondMoment> take();

 private:
  struct Shape {
    std::int64_t groups = 0, rows = 0, k = 0;
    bool operator==(const Shape&) const = default;
  };
  std::mutex mutex_;
  std::map<std::size_t, Shape> shapes_;  // by sample
  std::vector<float> largest_, largest_reference_;  // by group
  std::string mismatch_;
  bool with_reference_ = false;
  std::int64_t groups_ = 0, k_ = 0, blocks_ = 0;
  std::vector<data::SecondMoment> moments_;
  // Of a batch: [group][feature][length].
  std::size_t length_ = 0;
  std::map<std::size_t, std::size_t> begin_;  // by sample: its first row in the batch
  std::vector<std::int16_t> rows_, reference_rows_;
};

// Of one value's axis.
class ChannelSums {
 public:
  ChannelSums(data::ChannelKey key) : key_(std::move(key)) {}
  // First pass and second pass; both thread-safe.
  Status see(std::size_t sample, const Tensor& tensor);
  Status start();
  Status add(const Tensor& tensor);
  [[nodiscard]] std::vector<data::ChannelStatistics> take() { return std::move(channels_); }

 private:
  [[nodiscard]] Result<std::pair<std::int64_t, std::int64_t>> extent_and_inner(const Tensor& tensor) const;
  data::ChannelKey key_;
  std::mutex mutex_;
  std::map<std::size_t, std::int64_t> extents_;  // by sample
  std::vector<data::ChannelStatistics> channels_;
};

}  // namespace bevel::calibration
