#include <algorithm>
#include <bit>
#include <cmath>

#include "lib/data/measure.h"
#include "lib/support/check.h"

namespace bevel::data {

void Histogram::add(float value, std::uint64_t count) {
  BEVEL_CHECK(std::isfinite(value));
  if (value == 0) {
    zeros_ += count;
  } else {
    bins_[std::bit_cast<std::uint32_t>(value) >> kShift] += count;
  }
}

void Histogram::merge(const Histogram& other) {
  zeros_ += other.zeros_;
  for (const auto& [index, count] : other.bins_) bins_[index] += count;
}

std::uint64_t Histogram::total() const {
  std::uint64_t sum = zeros_;
  for (const auto& [index, count] : bins_) sum += count;
  return sum;
}

Histogram::Bin Histogram::bin(std::uint32_t index) {
  BEVEL_CHECK(index < (1u << (32 - kShift)));
  const std::uint32_t first = index << kShift;
  Bin bin{};
  bin.low = std::bit_cast<float>(first);
  // The last finite bin's upper border is infinity's bits; the largest finite float stands for it.
  const float next = std::bit_cast<float>(first + (1u << kShift));
  bin.high = std::isfinite(next) ? next : std::bit_cast<float>(first | ((1u << kShift) - 1));
  bin.middle = std::bit_cast<float>(first + (1u << (kShift - 1)));
  return bin;
}

void merge(ValueStatistics& into, const ValueStatistics& other) {
  if (other.histogram.total() == 0) return;
  if (into.histogram.total() == 0) {
    into.minimum = other.minimum;
    into.maximum = other.maximum;
  } else {
    into.minimum = std::min(into.minimum, other.minimum);
    into.maximum = std::max(into.maximum, other.maximum);
  }
  into.histogram.merge(other.histogram);
}

}  // namespace bevel::data
