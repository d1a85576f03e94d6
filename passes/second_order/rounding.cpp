#include "passes/second_order/rounding.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <span>

#include "lib/support/check.h"
#include "passes/second_order/lanes.h"

namespace bevel::second_order {
namespace {

// Shrinking the largest weight's scale: 28 steps down to 0.29 of it.
constexpr int kScaleCandidates = 28;
constexpr double kScaleStep = 0.955;
constexpr int kSweeps = 4;  // of one descent; few integers move after the first two
// Products that trying scales by nearest plane may take for one layer, about a second of one core.
constexpr double kPlaneProducts = 4e9;

struct Job {
  std::int64_t channel = 0;
  std::vector<float> scales;
};

// Up to sixteen jobs side by side; vectors are by position.
struct Tile {
  std::vector<Lanes> target, weights, integers;
  std::vector<Lanes> difference;  // target - integers * scale
  std::vector<Lanes> gradient;    // A (v - t)
  std::vector<Lanes> scale;       // by block
};

bool keeps_pairs(std::span<const std::int8_t> integers, const Grid& grid) {  // of one channel, by column
  for (std::size_t i = 0; i < grid.partner.size(); ++i) {
    if (grid.partner[i] < 0) continue;
    const int a = integers[i], b = integers[static_cast<std::size_t>(grid.partner[i])];
    if (std::max(a, 0) + std::max(b, 0) > grid.pair_limit || std::max(-a, 0) + std::max(-b, 0) > grid.pair_limit) return false;
  }
  return true;
}

class Search {
 public:
  Search(const Quadratic& quadratic, const Grid& grid, const RoundingOptions& options)
      : quadratic_(quadratic), grid_(grid), options_(options), k_(quadratic.k), block_(static_cast<std::size_t>(k_), 0),
        partner_(static_cast<std::size_t>(k_), -1), members_(static_cast<std::size_t>(grid.blocks)) {
    std::vector<std::int32_t> position(static_cast<std::size_t>(k_));
    for (std::int64_t p = 0; p < k_; ++p) position[column(p)] = static_cast<std::int32_t>(p);
    for (std::int64_t p = 0; p < k_; ++p) {
      if (!grid.block_of.empty()) block_[at(p)] = grid.block_of[column(p)];
      members_[static_cast<std::size_t>(block_[at(p)])].push_back(p);
      if (grid.partner.empty() || grid.partner[column(p)] < 0) continue;
      partner_[at(p)] = position[static_cast<std::size_t>(grid.partner[column(p)])];
    }
  }

  [[nodiscard]] std::size_t column(std::int64_t p) const { return static_cast<std::size_t>(quadratic_.column[at(p)]); }
  [[nodiscard]] std::int32_t block(std::int64_t p) const { return block_[at(p)]; }

  [[nodiscard]] Tile tile_of(std::span<const Job> jobs) const {
    Tile tile;
    const auto size = static_cast<std::size_t>(k_);
    tile.target.resize(size), tile.weights.resize(size), tile.integers.resize(size), tile.difference.resize(size), tile.gradient.resize(size);
    tile.scale.assign(static_cast<std::size_t>(grid_.blocks), Lanes::all(1.0));
    for (std::size_t lane = 0; lane < jobs.size(); ++lane) {
      const auto l = static_cast<std::int64_t>(lane);
      for (std::size_t b = 0; b < tile.scale.size(); ++b) tile.scale[b].set(l, static_cast<double>(jobs[lane].scales[b]));
      for (std::int64_t p = 0; p < k_; ++p) {
        tile.target[at(p)].set(l, quadratic_.target.at(p, jobs[lane].channel));
        tile.weights[at(p)].set(l, quadratic_.weights.at(p, jobs[lane].channel));
      }
    }
    return tile;
  }

  // (v - t) A (v - t)^T of the result, which is the sum of what each position could not make good.
  Lanes nearest_plane(Tile& tile) const {
    Lanes error;
    for (std::int64_t p = k_ - 1; p >= 0; --p) {
      const double* row = quadratic_.r.row(p);
      Lanes even, odd;
      std::int64_t q = p + 1;
      for (; q + 1 < k_; q += 2) {
        even.add_product(row[q], tile.difference[at(q)]);
        odd.add_product(row[q + 1], tile.difference[at(q + 1)]);
      }
      if (q < k_) even.add_product(row[q], tile.difference[at(q)]);
      const Lanes wanted = tile.target[at(p)] + (1.0 / row[p]) * (even + odd);
      const Lanes& scale = tile.scale[static_cast<std::size_t>(block_[at(p)])];
      Lanes steps = wanted / scale;
      if (const std::int32_t other = partner_[at(p)]; other >= 0 && other < p) {  // not yet chosen: its share is left to it
        const Lanes likely = tile.target[at(other)] / tile.scale[static_cast<std::size_t>(block_[at(other)])];
        steps -= give_way(steps, likely, share_of(p, other));
      }
      const Lanes integer = allowed(tile, p, steps, partner_[at(p)] > p);
      const Lanes value = integer * scale, residual = row[p] * (wanted - value);
      tile.integers[at(p)] = integer;
      tile.difference[at(p)] = tile.target[at(p)] - value;
      error += residual * residual;
    }
    return error;
  }

  void find_gradient(Tile& tile) const {
    for (std::int64_t p = 0; p < k_; ++p) {
      const double* row = quadratic_.a.row(p);
      Lanes even, odd;
      std::int64_t q = 0;
      for (; q + 1 < k_; q += 2) {
        even.subtract_product(row[q], tile.difference[at(q)]);
        odd.subtract_product(row[q + 1], tile.difference[at(q + 1)]);
      }
      if (q < k_) even.subtract_product(row[q], tile.difference[at(q)]);
      tile.gradient[at(p)] = even + odd;
    }
  }

  // Each integer in turn to the best value it has while the others stay.
  void descend(Tile& tile) const {
    for (int sweep = 0; sweep < kSweeps; ++sweep) {
      bool moved = false;
      for (std::int64_t p = k_ - 1; p >= 0; --p) {
        const double* row = quadratic_.a.row(p);
        const Lanes& scale = tile.scale[static_cast<std::size_t>(block_[at(p)])];
        const Lanes best = tile.integers[at(p)] - tile.gradient[at(p)] / (row[p] * scale);
        const Lanes integer = allowed(tile, p, best, partner_[at(p)] >= 0);
        const Lanes step = integer - tile.integers[at(p)];
        if (!all_zero(step)) {
          moved = true;
          const Lanes change = step * scale;
          tile.integers[at(p)] = integer;
          tile.difference[at(p)] -= change;
          for (std::int64_t q = 0; q < k_; ++q) tile.gradient[at(q)].add_product(row[q], change);
        }
        if (partner_[at(p)] > p && exchange(tile, p, partner_[at(p)])) moved = true;
      }
      if (!moved) return;
    }
  }

  // Two that are at their limit can only move together: what one gains the other loses. Whether some did.
  bool exchange(Tile& tile, std::int64_t p, std::int64_t q) const {
    if (block_[at(p)] != block_[at(q)]) return false;
    const Lanes none, one = Lanes::all(1.0), high = Lanes::all(grid_.high);
    const Lanes sign = minimum(maximum(tile.integers[at(p)], Lanes::all(-1.0)), one);
    const Lanes a = sign * tile.integers[at(p)], b = sign * tile.integers[at(q)];
    const Lanes full = minimum(maximum(a + b - Lanes::all(grid_.pair_limit - 1), none), one) * minimum(maximum(b, none), one);
    if (all_zero(full)) return false;
    const double *row_p = quadratic_.a.row(p), *row_q = quadratic_.a.row(q);
    const Lanes& scale = tile.scale[static_cast<std::size_t>(block_[at(p)])];
    const double curvature = row_p[p] + row_q[q] - 2 * row_p[q];
    if (!(curvature > 0)) return false;
    const Lanes best = sign * (tile.gradient[at(q)] - tile.gradient[at(p)]) / (curvature * scale);
    const Lanes lowest = Lanes::all(-1.0) * minimum(a, high - b), highest = minimum(b, high - a);
    const Lanes step = full * sign * nearest(minimum(maximum(best, lowest), highest));
    if (all_zero(step)) return false;
    const Lanes change = step * scale;
    tile.integers[at(p)] += step;
    tile.integers[at(q)] -= step;
    tile.difference[at(p)] -= change;
    tile.difference[at(q)] += change;
    for (std::int64_t i = 0; i < k_; ++i) tile.gradient[at(i)].add_product(row_p[i] - row_q[i], change);
    return true;
  }

  // Each block's scale in turn to its best value: s + (q . -G) / (q A q).
  void refit(Tile& tile, std::span<const Job> jobs) const {
    std::vector<Lanes> along(static_cast<std::size_t>(k_));  // A q, q of this block alone
    for (std::size_t b = 0; b < members_.size(); ++b) {
      for (std::int64_t p = 0; p < k_; ++p) {
        const double* row = quadratic_.a.row(p);
        Lanes sum;
        for (const std::int64_t q : members_[b]) sum.add_product(row[q], tile.integers[at(q)]);
        along[at(p)] = sum;
      }
      Lanes slope, curvature;
      for (const std::int64_t p : members_[b]) {
        slope += tile.integers[at(p)] * tile.gradient[at(p)];
        curvature += tile.integers[at(p)] * along[at(p)];
      }
      Lanes change;
      for (std::size_t lane = 0; lane < jobs.size(); ++lane) {
        const auto l = static_cast<std::int64_t>(lane);
        const double present = tile.scale[b][l];
        if (!(curvature[l] > 0)) continue;
        const float wanted = usable_scale(present - slope[l] / curvature[l], jobs[lane].channel);
        change.set(l, static_cast<double>(wanted) - present);
      }
      tile.scale[b] += change;
      for (const std::int64_t p : members_[b]) tile.difference[at(p)] -= change * tile.integers[at(p)];
      for (std::int64_t p = 0; p < k_; ++p) tile.gradient[at(p)] += change * along[at(p)];
    }
  }

  // (v - t) A (v - t)^T, for which the gradient must be there.
  [[nodiscard]] Lanes distance(const Tile& tile) const {
    Lanes sum;
    for (std::int64_t p = 0; p < k_; ++p) sum -= tile.difference[at(p)] * tile.gradient[at(p)];
    return sum;
  }
  // |v - w|^2
  [[nodiscard]] Lanes departure(const Tile& tile) const {
    Lanes sum;
    for (std::int64_t p = 0; p < k_; ++p) {
      const Lanes change = tile.target[at(p)] - tile.difference[at(p)] - tile.weights[at(p)];
      sum += change * change;
    }
    return sum;
  }

  // What can stand in a file, and is not below the channel's least.
  [[nodiscard]] float usable_scale(double scale, std::int64_t channel) const {
    double least = std::numeric_limits<float>::min();
    if (!options_.least_scale.empty()) least = std::max(least, options_.least_scale[static_cast<std::size_t>(channel)]);
    auto rounded = static_cast<float>(std::min<double>(std::max(scale, least), std::numeric_limits<float>::max()));
    if (static_cast<double>(rounded) < least) rounded = std::nextafter(rounded, std::numeric_limits<float>::infinity());
    return rounded;
  }

  // Scales for each channel, the most promising first.
  [[nodiscard]] std::vector<std::vector<Job>> candidates(std::span<const std::int64_t> channels, const GridWeights& before,
                                                         std::size_t count) const;

 private:
  static std::size_t at(std::int64_t i) { return static_cast<std::size_t>(i); }

  // Of what a pair is beyond its limit, the part that position p takes upon itself, by what each one's error costs.
  [[nodiscard]] double share_of(std::int64_t p, std::int64_t q) const {
    const double mine = quadratic_.r.at(p, p), other = quadratic_.r.at(q, q);
    return other * other / (mine * mine + other * other);
  }
  // What `a`, in steps, has to give way beside `b`: of the excess of their positive parts, less that of their negative ones.
  [[nodiscard]] Lanes give_way(const Lanes& a, const Lanes& b, double share) const {
    const Lanes none, limit = Lanes::all(grid_.pair_limit), minus = Lanes::all(-1.0);
    const Lanes up = maximum(a, none), down = maximum(minus * a, none);
    const Lanes above = maximum(up + maximum(b, none) - limit, none), below = maximum(down + maximum(minus * b, none) - limit, none);
    return minimum(share * above, up) - minimum(share * below, down);
  }

  // The nearest integer that position p may have; `paired`: its partner's stands.
  [[nodiscard]] Lanes allowed(const Tile& tile, std::int64_t p, const Lanes& wanted, bool paired) const {
    Lanes low = Lanes::all(grid_.low), high = Lanes::all(grid_.high);
    if (partner_[at(p)] >= 0) {
      low = maximum(low, Lanes::all(-grid_.pair_limit));
      high = minimum(high, Lanes::all(grid_.pair_limit));
    }
    if (paired) {
      const Lanes& other = tile.integers[at(partner_[at(p)])];
      const Lanes limit = Lanes::all(grid_.pair_limit), none;
      high = minimum(high, limit - maximum(other, none));
      low = maximum(low, minimum(other, none) * Lanes::all(-1.0) - limit);
    }
    return nearest(minimum(maximum(wanted, low), high));
  }

  const Quadratic& quadratic_;
  const Grid& grid_;
  const RoundingOptions& options_;
  std::int64_t k_;
  std::vector<std::int32_t> block_, partner_;  // by position
  std::vector<std::vector<std::int64_t>> members_;  // positions of each block
};

std::vector<std::vector<Job>> Search::candidates(std::span<const std::int64_t> channels, const GridWeights& before,
                                                 std::size_t count) const {
  const auto blocks = static_cast<std::size_t>(grid_.blocks);
  std::vector<Job> jobs;
  for (const std::int64_t channel : channels) {
    const auto first = before.scales.begin() + channel * grid_.blocks;
    jobs.push_back({channel, std::vector<float>(first, first + grid_.blocks)});
  }
  std::vector<std::vector<Job>> result(channels.size());
  if (options_.keep_scales) {
    for (std::size_t i = 0; i < jobs.size(); ++i) result[i] = {jobs[i]};
    return result;
  }
  const Tile tile = tile_of(jobs);
  std::vector<Lanes> largest(blocks);
  for (std::int64_t p = 0; p < k_; ++p) {
    Lanes& most = largest[static_cast<std::size_t>(block(p))];
    const Lanes none, negated = Lanes::all(-1.0) * tile.target[at(p)];
    most = maximum(most, maximum(tile.target[at(p)], negated));
    if (partner_[at(p)] < 0) continue;
    // A pair's parts must fit its limit together.
    const Lanes& other = tile.target[at(partner_[at(p)])];
    const Lanes positive = maximum(tile.target[at(p)], none) + maximum(other, none);
    const Lanes negative = maximum(negated, none) + maximum(Lanes::all(-1.0) * other, none);
    most = maximum(most, (static_cast<double>(grid_.high) / grid_.pair_limit) * maximum(positive, negative));
  }
  // [candidate][block]: the scale, and what rounding with it costs.
  std::vector<std::vector<Lanes>> scale(kScaleCandidates, std::vector<Lanes>(blocks, Lanes::all(1.0))), cost(kScaleCandidates, std::vector<Lanes>(blocks));
  double share = 1.0 / grid_.high;
  for (std::size_t c = 0; c < kScaleCandidates; ++c, share *= kScaleStep) {
    for (std::size_t b = 0; b < blocks; ++b) {
      for (std::size_t lane = 0; lane < jobs.size(); ++lane) {
        const auto l = static_cast<std::int64_t>(lane);
        scale[c][b].set(l, static_cast<double>(usable_scale(largest[b][l] * share, jobs[lane].channel)));
      }
    }
    const Lanes low = Lanes::all(grid_.low), high = Lanes::all(grid_.high);
    const auto rounded = [&](std::int64_t p) { return nearest(minimum(maximum(tile.target[at(p)] / scale[c][static_cast<std::size_t>(block(p))], low), high)); };
    for (std::int64_t p = 0; p < k_; ++p) {
      const auto b = static_cast<std::size_t>(block(p));
      const double weight = quadratic_.r.at(p, p);
      Lanes integer = rounded(p);
      if (partner_[at(p)] >= 0) integer -= give_way(integer, rounded(partner_[at(p)]), share_of(p, partner_[at(p)]));
      const Lanes value = integer * scale[c][b];
      const Lanes error = weight * (tile.target[at(p)] - value);
      cost[c][b] += error * error;
    }
  }
  for (std::size_t i = 0; i < jobs.size(); ++i) {
    const auto lane = static_cast<std::int64_t>(i);
    std::vector<std::vector<std::size_t>> ranking(blocks);
    for (std::size_t b = 0; b < blocks; ++b) {
      ranking[b].resize(kScaleCandidates);
      std::iota(ranking[b].begin(), ranking[b].end(), std::size_t{0});
      std::stable_sort(ranking[b].begin(), ranking[b].end(), [&](std::size_t x, std::size_t y) { return cost[x][b][lane] < cost[y][b][lane]; });
    }
    for (std::size_t n = 0; n < std::min<std::size_t>(count, kScaleCandidates); ++n) {
      Job job{jobs[i].channel, std::vector<float>(blocks)};
      for (std::size_t b = 0; b < blocks; ++b) job.scales[b] = static_cast<float>(scale[ranking[b][n]][b][lane]);
      if (result[i].empty() || result[i].back().scales != job.scales) result[i].push_back(std::move(job));
    }
  }
  return result;
}

// Splits jobs into tiles and runs them on the pool; visit(first job's index, its jobs).
template <typename Visit>
void for_each_tile(const std::vector<Job>& jobs, WorkerPool* pool, const Visit& visit) {
  const auto count = static_cast<std::int64_t>(jobs.size());
  for_each(pool, (count + Lanes::kCount - 1) / Lanes::kCount, [&](std::int64_t tile) {
    const std::int64_t first = tile * Lanes::kCount, width = std::min(Lanes::kCount, count - first);
    visit(static_cast<std::size_t>(first), std::span<const Job>(jobs).subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(width)));
  });
}

// The `keep` jobs of least error of each channel; jobs of one channel stand together.
std::vector<Job> best_jobs(const std::vector<Job>& jobs, const std::vector<double>& error, std::size_t keep) {
  std::vector<Job> best;
  for (std::size_t first = 0; first < jobs.size();) {
    std::size_t last = first;
    while (last < jobs.size() && jobs[last].channel == jobs[first].channel) ++last;
    std::vector<std::size_t> order(last - first);
    std::iota(order.begin(), order.end(), first);
    std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return error[a] < error[b]; });
    for (std::size_t i = 0; i < std::min(keep, order.size()); ++i) best.push_back(jobs[order[i]]);
    first = last;
  }
  return best;
}

}  // namespace

Rounded round_weights(const Quadratic& quadratic, const Grid& grid, const GridWeights& before, const RoundingOptions& options,
                      WorkerPool* pool) {
  const std::int64_t k = quadratic.k, channels = quadratic.channels;
  BEVEL_CHECK(static_cast<std::int64_t>(before.integers.size()) == channels * k &&
              static_cast<std::int64_t>(before.scales.size()) == channels * grid.blocks && (grid.block_of.empty() || static_cast<std::int64_t>(grid.block_of.size()) == k));
  const Search search(quadratic, grid, options);
  Rounded result;
  result.weights = before;
  result.error_before.resize(static_cast<std::size_t>(channels));
  result.changed.resize(static_cast<std::size_t>(channels), false);
  std::vector<double> distance_before(static_cast<std::size_t>(channels)), signal(distance_before);

  // The weights as given.
  std::vector<Job> given;
  for (std::int64_t channel = 0; channel < channels; ++channel) {
    const auto first = before.scales.begin() + channel * grid.blocks;
    given.push_back({channel, std::vector<float>(first, first + grid.blocks)});
  }
  for_each_tile(given, pool, [&](std::size_t first, std::span<const Job> jobs) {
    Tile tile = search.tile_of(jobs);
    tile.difference = tile.target;  // of v = 0
    search.find_gradient(tile);
    const Lanes whole = search.distance(tile);
    for (std::int64_t p = 0; p < k; ++p) {
      const auto at = static_cast<std::size_t>(p);
      for (std::size_t lane = 0; lane < jobs.size(); ++lane) {
        const auto l = static_cast<std::int64_t>(lane);
        tile.integers[at].set(l, before.integers[static_cast<std::size_t>(jobs[lane].channel * k) + search.column(p)]);
      }
      tile.difference[at] = tile.target[at] - tile.integers[at] * tile.scale[static_cast<std::size_t>(search.block(p))];
    }
    search.find_gradient(tile);
    const Lanes distance = search.distance(tile), departure = search.departure(tile);
    for (std::size_t lane = 0; lane < jobs.size(); ++lane) {
      const auto l = static_cast<std::int64_t>(lane);
      result.error_before[first + lane] = distance[l] - quadratic.damping * departure[l];
      distance_before[first + lane] = distance[l];
      signal[first + lane] = whole[l];
    }
  });

  // How many scales each channel can afford to try.
  const double plane = static_cast<double>(channels) * static_cast<double>(k) * static_cast<double>(k) / 2;
  const auto affordable = static_cast<std::int64_t>(std::min(1e6, kPlaneProducts / std::max(plane, 1.0)));
  const auto tried = static_cast<std::size_t>(std::clamp<std::int64_t>(affordable, 1, std::max(options.plane_candidates, 1)));
  const auto finished = static_cast<std::size_t>(std::clamp<std::int64_t>(affordable / 8, 1, std::max(options.full_candidates, 1)));

  std::vector<std::vector<Job>> by_tile(static_cast<std::size_t>((channels + Lanes::kCount - 1) / Lanes::kCount));
  for_each(pool, static_cast<std::int64_t>(by_tile.size()), [&](std::int64_t tile) {
    std::vector<std::int64_t> members;
    for (std::int64_t c = tile * Lanes::kCount; c < std::min((tile + 1) * Lanes::kCount, channels); ++c) members.push_back(c);
    for (auto& jobs : search.candidates(members, before, tried)) {
      for (Job& job : jobs) by_tile[static_cast<std::size_t>(tile)].push_back(std::move(job));
    }
  });
  std::vector<Job> jobs;
  for (auto& list : by_tile) jobs.insert(jobs.end(), std::make_move_iterator(list.begin()), std::make_move_iterator(list.end()));

  if (tried > finished) {
    std::vector<double> error(jobs.size());
    for_each_tile(jobs, pool, [&](std::size_t first, std::span<const Job> of_tile) {
      Tile tile = search.tile_of(of_tile);
      const Lanes found = search.nearest_plane(tile);
      for (std::size_t lane = 0; lane < of_tile.size(); ++lane) error[first + lane] = found[static_cast<std::int64_t>(lane)];
    });
    jobs = best_jobs(jobs, error, finished);
  }

  // All three steps; a channel's best is kept.
  struct Candidate {
    double error = 0, distance = 0;
    std::vector<std::int8_t> integers;
    std::vector<float> scales;
  };
  std::vector<Candidate> found(jobs.size());
  for_each_tile(jobs, pool, [&](std::size_t first, std::span<const Job> of_tile) {
    Tile tile = search.tile_of(of_tile);
    search.nearest_plane(tile);
    search.find_gradient(tile);
    search.descend(tile);
    for (int i = 0; i < (options.keep_scales ? 0 : options.refits); ++i) {
      search.refit(tile, of_tile);
      search.descend(tile);
    }
    const Lanes distance = search.distance(tile), departure = search.departure(tile);
    for (std::size_t lane = 0; lane < of_tile.size(); ++lane) {
      const auto l = static_cast<std::int64_t>(lane);
      Candidate& candidate = found[first + lane];
      candidate.distance = distance[l];
      candidate.error = distance[l] - quadratic.damping * departure[l];
      candidate.integers.resize(static_cast<std::size_t>(k));
      for (std::int64_t p = 0; p < k; ++p) {
        candidate.integers[search.column(p)] = static_cast<std::int8_t>(tile.integers[static_cast<std::size_t>(p)][l]);
      }
      for (const Lanes& scale : tile.scale) candidate.scales.push_back(static_cast<float>(scale[l]));
    }
  });
  std::vector<double> distance_after = distance_before;
  result.error_after = result.error_before;
  for (std::int64_t channel = 0; channel < channels; ++channel) {
    const std::span<const std::int8_t> integers(before.integers.data() + channel * k, static_cast<std::size_t>(k));
    if (!keeps_pairs(integers, grid)) result.error_after[static_cast<std::size_t>(channel)] = std::numeric_limits<double>::infinity();
  }
  for (std::size_t i = 0; i < jobs.size(); ++i) {
    const auto channel = static_cast<std::size_t>(jobs[i].channel);
    if (!(found[i].error < result.error_after[channel])) continue;
    result.error_after[channel] = found[i].error;
    distance_after[channel] = found[i].distance;
    result.changed[channel] = true;
    std::copy(found[i].integers.begin(), found[i].integers.end(), result.weights.integers.begin() + jobs[i].channel * k);
    std::copy(found[i].scales.begin(), found[i].scales.end(), result.weights.scales.begin() + jobs[i].channel * grid.blocks);
  }
  for (std::size_t channel = 0; channel < signal.size(); ++channel) {
    result.signal += signal[channel];
    result.distance_before += distance_before[channel];
    result.distance_after += distance_after[channel];
  }
  result.distance = std::move(distance_after);
  return result;
}

Rounded within_pairs(Rounded result, const Rounded& safe, const Grid& grid) {
  const auto channels = static_cast<std::int64_t>(result.changed.size());
  const std::int64_t k = channels == 0 ? 0 : static_cast<std::int64_t>(result.weights.integers.size()) / channels;
  result.distance_after = 0;
  for (std::int64_t channel = 0; channel < channels; ++channel) {
    const auto at = static_cast<std::size_t>(channel);
    const std::span<const std::int8_t> integers(result.weights.integers.data() + channel * k, static_cast<std::size_t>(k));
    if (!keeps_pairs(integers, grid) || safe.error_after[at] < result.error_after[at]) {
      result.error_after[at] = safe.error_after[at];
      result.distance[at] = safe.distance[at];
      result.changed[at] = safe.changed[at];
      std::copy_n(safe.weights.integers.begin() + channel * k, k, result.weights.integers.begin() + channel * k);
      std::copy_n(safe.weights.scales.begin() + channel * grid.blocks, grid.blocks, result.weights.scales.begin() + channel * grid.blocks);
    }
    result.distance_after += result.distance[at];
  }
  return result;
}

}  // namespace bevel::second_order
