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
    add_to_bin(std::bit_cast<std::uint32_t>(value) >> kShift, count);
  }
}

namespace {

bool before(const std::pair<std::uint32_t, std::uint64_t>& bin, std::uint32_t index) { return bin.first < index; }

}  // namespace

bool Histogram::has_bin(std::uint32_t index) const {
  const auto found = std::lower_bound(bins_.begin(), bins_.end(), index, before);
  return found != bins_.end() && found->first == index;
}

void Histogram::add_to_bin(std::uint32_t index, std::uint64_t count) {
  if (bins_.empty() || bins_.back().first < index) {
    bins_.emplace_back(index, count);
    return;
  }
  const auto found = std::lower_bound(bins_.begin(), bins_.end(), index, before);
  if (found->first == index) found->second += count;
  else bins_.emplace(found, index, count);
}

void Histogram::merge(const Histogram& other) {
  zeros_ += other.zeros_;
  if (other.bins_.empty()) return;
  Bins merged;
  merged.reserve(bins_.size() + other.bins_.size());
  auto mine = bins_.begin();
  for (const auto& bin : other.bins_) {
    while (mine != bins_.end() && mine->first < bin.first) merged.push_back(*mine++);
    if (mine != bins_.end() && mine->first == bin.first) merged.emplace_back(bin.first, bin.second + (mine++)->second);
    else merged.push_back(bin);
  }
  merged.insert(merged.end(), mine, bins_.end());
  bins_ = std::move(merged);
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
