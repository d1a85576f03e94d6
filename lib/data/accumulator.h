// A histogram while it grows: dense 32-bit counters over the exponents seen so far, instead of Histogram's sparse map. Before a
// counter could overflow, all are carried over into the sparse map.
#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "lib/data/measure.h"

namespace bevel::data {

class Accumulator {
 public:
  // Counts all values, or, when one is NaN or infinite, none of its block and returns false.
  [[nodiscard]] bool add(std::span<const float> values);
  // Exact, whatever the order: counts and extremes only.
  void merge(const Accumulator& other);
  // As new, with the memory kept for the next values.
  void clear();
  [[nodiscard]] ValueStatistics statistics() const;

 private:
  // Counters of one sign: slot 0 counts zeros of that sign, slot 1 + k the magnitudes whose leading bits are base + k.
  struct Side {
    std::uint32_t base = 0;
    std::vector<std::uint32_t> counts{0};
    void cover(std::uint32_t first, std::uint32_t last);
  };
  // Makes room for `count` more values in the 32-bit counters.
  void make_room(std::uint64_t count);
  void carry();
  [[nodiscard]] bool add_block(std::span<const float> values);
  std::array<Side, 2> sides_;
  std::uint64_t pending_ = 0;  // values in sides_; no counter can exceed it
  Histogram carried_;
  // Extremes as integers in the order of the floats (see ordered_bits in the .cpp).
  std::int32_t lowest_ = std::numeric_limits<std::int32_t>::max();
  std::int32_t highest_ = std::numeric_limits<std::int32_t>::min();
};

}  // namespace bevel::data
