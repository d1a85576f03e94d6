#include "lib/data/accumulator.h"

#include <algorithm>
#include <bit>

namespace bevel::data {
namespace {

constexpr std::uint32_t kMagnitude = 0x7FFFFFFFu;
constexpr std::uint32_t kInfinity = 0x7F800000u;
// A block's two passes read it from the first-level cache.
constexpr std::size_t kBlock = 4096;

// Signed integers that compare as the floats do (-0 just below +0).
std::int32_t ordered_bits(std::uint32_t bits) {
  const auto value = static_cast<std::int32_t>(bits);
  return value ^ static_cast<std::int32_t>(static_cast<std::uint32_t>(value >> 31) & kMagnitude);
}
float from_ordered(std::int32_t ordered) {
  return std::bit_cast<float>(ordered_bits(static_cast<std::uint32_t>(ordered))) + 0.0f;  // -0 becomes +0
}

}  // namespace

void Accumulator::Side::cover(std::uint32_t first, std::uint32_t last) {
  if (counts.size() == 1) {
    base = first;
    counts.resize(2 + (last - first));
    return;
  }
  if (first < base) {
    counts.insert(counts.begin() + 1, base - first, 0);
    base = first;
  }
  if (last - base + 2 > counts.size()) counts.resize(last - base + 2);
}

void Accumulator::make_room(std::uint64_t count) {
  if (pending_ + count > std::numeric_limits<std::uint32_t>::max()) carry();
  pending_ += count;
}

void Accumulator::carry() {
  constexpr std::uint32_t kSignBin = 1u << (31 - Histogram::kShift);
  carried_.set_zeros(carried_.zeros() + sides_[0].counts[0] + sides_[1].counts[0]);
  Histogram counted;
  for (std::uint32_t sign = 0; sign < 2; ++sign) {
    Side& side = sides_[sign];
    for (std::size_t k = 1; k < side.counts.size(); ++k) {
      if (side.counts[k] > 0) counted.add_to_bin(sign * kSignBin + side.base + static_cast<std::uint32_t>(k) - 1, side.counts[k]);
    }
    std::fill(side.counts.begin(), side.counts.end(), 0);
  }
  carried_.merge(counted);
  pending_ = 0;
}

void Accumulator::clear() {
  for (Side& side : sides_) side.counts.assign(1, 0);
  pending_ = 0;
  carried_ = {};
  lowest_ = std::numeric_limits<std::int32_t>::max();
  highest_ = std::numeric_limits<std::int32_t>::min();
}

bool Accumulator::add_block(std::span<const float> values) {
  // First pass (vectorizes): which leading bits occur, extremes, and whether all are finite.
  std::uint32_t largest = 0;
  std::uint32_t smallest_less_one = kMagnitude;  // smallest nonzero magnitude - 1; a zero wraps to the maximum
  std::int32_t lowest = lowest_, highest = highest_;
  for (const float value : values) {
    const auto bits = std::bit_cast<std::uint32_t>(value);
    const std::uint32_t magnitude = bits & kMagnitude;
    largest = std::max(largest, magnitude);
    smallest_less_one = std::min(smallest_less_one, magnitude - 1);
    lowest = std::min(lowest, ordered_bits(bits));
    highest = std::max(highest, ordered_bits(bits));
  }
  if (largest >= kInfinity) return false;
  make_room(values.size());
  lowest_ = lowest;
  highest_ = highest;
  if (largest > 0) {
    const std::uint32_t first = (smallest_less_one + 1) >> Histogram::kShift, last = largest >> Histogram::kShift;
    sides_[0].cover(first, last);
    if (lowest < -1) sides_[1].cover(first, last);
  }
  // Second pass: count. No branch on zero, which after an activation is as frequent as not.
  std::uint32_t* const counts[2] = {sides_[0].counts.data(), sides_[1].counts.data()};
  const std::uint32_t before[2] = {sides_[0].base - 1, sides_[1].base - 1};
  for (const float value : values) {
    const auto bits = std::bit_cast<std::uint32_t>(value);
    const std::uint32_t magnitude = bits & kMagnitude, sign = bits >> 31;
    const std::uint32_t nonzero = 0u - static_cast<std::uint32_t>(magnitude != 0);
    counts[sign][((magnitude >> Histogram::kShift) - before[sign]) & nonzero] += 1;
  }
  return true;
}

bool Accumulator::add(std::span<const float> values) {
  while (!values.empty()) {
    const std::size_t count = std::min(values.size(), kBlock);
    if (!add_block(values.first(count))) return false;
    values = values.subspan(count);
  }
  return true;
}

void Accumulator::merge(const Accumulator& other) {
  lowest_ = std::min(lowest_, other.lowest_);
  highest_ = std::max(highest_, other.highest_);
  carried_.merge(other.carried_);
  make_room(other.pending_);
  for (int sign = 0; sign < 2; ++sign) {
    Side& side = sides_[sign];
    const Side& from = other.sides_[sign];
    side.counts[0] += from.counts[0];
    if (from.counts.size() == 1) continue;
    side.cover(from.base, from.base + static_cast<std::uint32_t>(from.counts.size()) - 2);
    for (std::size_t k = 1; k < from.counts.size(); ++k) side.counts[from.base - side.base + k] += from.counts[k];
  }
}

ValueStatistics Accumulator::statistics() const {
  ValueStatistics result;
  if (lowest_ <= highest_) {
    result.minimum = from_ordered(lowest_);
    result.maximum = from_ordered(highest_);
  }
  Accumulator all = *this;
  all.carry();
  result.histogram = std::move(all.carried_);
  result.histogram.shrink();
  return result;
}

}  // namespace bevel::data
