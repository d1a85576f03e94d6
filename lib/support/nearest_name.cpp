#include "lib/support/nearest_name.h"

#include <algorithm>
#include <vector>

#include "lib/support/result.h"

namespace bevel {
namespace {

constexpr std::size_t kMaxLength = 256;  // names in files may be long; the table has the product of the lengths

std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t replaced = diagonal + (a[i - 1] != b[j - 1]);
      diagonal = row[j];
      row[j] = std::min({replaced, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row[b.size()];
}

}  // namespace

std::string_view nearest_name(std::string_view wanted, std::span<const std::string_view> candidates) {
  std::string_view best;
  std::size_t best_distance = 0;
  if (wanted.size() > kMaxLength) return best;
  for (const std::string_view candidate : candidates) {
    if (candidate.size() > kMaxLength) continue;
    const std::size_t distance = edit_distance(wanted, candidate);
    if (distance * 3 > std::max(wanted.size(), candidate.size())) continue;
    if (best.empty() || distance < best_distance) {
      best = candidate;
      best_distance = distance;
    }
  }
  return best;
}

std::string suggestion(std::string_view wanted, std::span<const std::string_view> candidates) {
  const std::string_view nearest = nearest_name(wanted, candidates);
  return nearest.empty() ? std::string() : fmt::format(" (did you mean '{}'?)", printable(nearest));
}

}  // namespace bevel
