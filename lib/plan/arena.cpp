// The arena: blocks with lifetimes, placed so that no two that live at the same step overlap. Offline dynamic storage
// allocation is NP-hard; as in J. Lee et al., "Efficient Memory Management for Deep Neural Net Inference" (2020), greedy
// placement in a few orders comes within a few percent of the bound, and a short search over swaps closes most of the rest.
#include <algorithm>
#include <numeric>

#include "lib/plan/program.h"
#include "lib/support/check.h"
#include "lib/support/random.h"

namespace bevel::plan {
namespace {

// Swaps tried when no order reaches the bound; a swap costs one placement, quadratic in the blocks.
constexpr int kSearchRounds = 400;
constexpr std::size_t kSearchBlocks = 256;
constexpr std::uint64_t kSearchSeed = 1;

std::uint64_t align_up(std::uint64_t bytes, std::uint64_t alignment) {
  return (bytes + alignment - 1) / alignment * alignment;
}

bool overlap(const ArenaBlock& a, const ArenaBlock& b) { return a.first <= b.last && b.first <= a.last; }

enum class Fit { first, best };

// Places blocks in the given order; returns the arena's size.
std::uint64_t place_in_order(std::vector<ArenaBlock>& blocks, const std::vector<std::size_t>& order, Fit fit,
                             std::uint64_t alignment) {
  std::vector<std::size_t> placed;  // sorted by offset
  std::uint64_t size = 0;
  for (std::size_t index : order) {
    ArenaBlock& block = blocks[index];
    const std::uint64_t bytes = align_up(block.bytes, alignment);
    std::uint64_t offset = 0, chosen = 0, smallest_gap = UINT64_MAX;
    bool found = false;
    for (std::size_t other_index : placed) {
      const ArenaBlock& other = blocks[other_index];
      if (!overlap(block, other) || other.bytes == 0) continue;
      if (other.offset >= offset + bytes) {
        const std::uint64_t gap = other.offset - offset;
        if (!found || (fit == Fit::best && gap < smallest_gap)) {
          chosen = offset;
          smallest_gap = gap;
          found = true;
        }
        if (fit == Fit::first) break;
      }
      offset = std::max(offset, other.offset + align_up(other.bytes, alignment));
    }
    block.offset = found ? chosen : offset;
    if (block.bytes == 0) block.offset = 0;
    size = std::max(size, block.offset + bytes);
    const auto position = std::lower_bound(placed.begin(), placed.end(), index, [&](std::size_t a, std::size_t b) {
      return std::pair(blocks[a].offset, a) < std::pair(blocks[b].offset, b);
    });
    placed.insert(position, index);
  }
  return size;
}

}  // namespace

std::uint64_t arena_lower_bound(const std::vector<ArenaBlock>& blocks, std::uint64_t alignment,
                                std::uint32_t* peak_step) {
  // The sum changes only where a block begins, so that the beginnings are the candidates.
  std::uint64_t bound = 0;
  std::uint32_t peak = 0;
  for (const ArenaBlock& begin : blocks) {
    std::uint64_t sum = 0;
    for (const ArenaBlock& block : blocks) {
      if (block.first <= begin.first && begin.first <= block.last) sum += align_up(block.bytes, alignment);
    }
    if (sum > bound || (sum == bound && begin.first < peak)) {
      bound = sum;
      peak = begin.first;
    }
  }
  if (peak_step != nullptr) *peak_step = peak;
  return bound;
}

std::uint64_t place_blocks(std::vector<ArenaBlock>& blocks, std::uint64_t alignment) {
  BEVEL_CHECK(alignment > 0);
  if (blocks.empty()) return 0;
  const std::uint64_t bound = arena_lower_bound(blocks, alignment, nullptr);
  const auto length = [&](std::size_t i) { return std::uint64_t{blocks[i].last} - blocks[i].first + 1; };
  std::vector<std::size_t> base(blocks.size());
  std::iota(base.begin(), base.end(), std::size_t{0});
  const auto sorted_by = [&](auto key) {
    std::vector<std::size_t> order = base;
    std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return key(a) < key(b); });
    return order;
  };
  // Keys ascend; ~x sorts by x descending.
  const std::vector<std::vector<std::size_t>> orders = {
      sorted_by([&](std::size_t i) { return std::pair(~blocks[i].bytes, ~length(i)); }),
      sorted_by([&](std::size_t i) { return std::pair(~length(i), ~blocks[i].bytes); }),
      sorted_by([&](std::size_t i) { return std::pair(std::uint64_t{blocks[i].first}, ~blocks[i].bytes); }),
      sorted_by([&](std::size_t i) { return std::pair(~(blocks[i].bytes / 64 * length(i)), ~blocks[i].bytes); }),
      sorted_by([&](std::size_t i) { return std::pair(~std::uint64_t{blocks[i].last}, ~blocks[i].bytes); }),
  };
  std::uint64_t best = UINT64_MAX;
  std::vector<ArenaBlock> result;
  std::vector<std::size_t> best_order;
  const auto attempt = [&](const std::vector<std::size_t>& order, Fit fit) {
    std::vector<ArenaBlock> trial = blocks;
    const std::uint64_t size = place_in_order(trial, order, fit, alignment);
    if (size >= best) return false;
    best = size;
    result = std::move(trial);
    best_order = order;
    return true;
  };
  for (const auto& order : orders) {
    for (Fit fit : {Fit::best, Fit::first}) attempt(order, fit);
  }
  if (best > bound && blocks.size() > 1 && blocks.size() <= kSearchBlocks) {
    Random random(kSearchSeed);
    for (int round = 0; round < kSearchRounds && best > bound; ++round) {
      std::vector<std::size_t> order = best_order;
      const std::size_t swaps = 1 + random.below(3);
      for (std::size_t s = 0; s < swaps; ++s) {
        std::swap(order[random.below(order.size())], order[random.below(order.size())]);
      }
      attempt(order, round % 2 == 0 ? Fit::best : Fit::first);
    }
  }
  blocks = std::move(result);
  return best;
}

}  // namespace bevel::plan
