// Rounding of a layer's weights to a grid so that the layer's output, not each weight, comes out nearest: minimize (v - t) A (v - t)^T over
// v = integers * scales (quadratic.h).
//
// Three steps for each channel, each of which only lowers the error that the next starts from:
//   nearest plane  GPTQ's column by column rounding, which is Babai's nearest plane algorithm on R (Chen et al., arXiv:2507.18553): the last
//                  position is rounded, its error is spread over the positions before it by R's entries, and so on. No inverse is needed.
//   descent        single integers move while that lowers the error, in a fixed order (coordinate descent).
//   refit          the scale that is best for the integers has a closed form; then integers may move again.
// The scale to start from is searched: shrunk step by step from the largest weight's, judged first by rounding alone under the weights R_ii^2 that
// nearest plane's error has, the best few then by nearest plane itself, the best of these by all three steps.
#pragma once

#include <cstdint>
#include <vector>

#include "lib/support/worker_pool.h"
#include "passes/second_order/quadratic.h"

namespace bevel::second_order {

// What a channel's weights may be.
struct Grid {
  int low = -127, high = 127;
  std::int64_t blocks = 1;             // scales of one channel
  std::vector<std::int32_t> block_of;  // [k], by column: which of them; empty: the only one
  // Columns that are summed in pairs by arithmetic that saturates (x86 without VNNI: 255 * (a + b) must stay in 16 bits): neither the positive nor
  // the negative parts of the two integers may sum beyond `pair_limit`. [k], by column: the other, -1 for none; empty: no pairs.
  std::vector<std::int32_t> partner;
  int pair_limit = 0;
};

// [channels][k] and [channels][blocks].
struct GridWeights {
  std::vector<std::int8_t> integers;
  std::vector<float> scales;
};

struct RoundingOptions {
  bool keep_scales = false;           // they are shared with weights that are not of this problem
  std::vector<double> least_scale;    // [channels]: no scale below; empty: none
  int refits = 2;                     // of scales, each followed by descent
  // Candidates for a channel's scale that are tried by nearest plane, and by all three steps; fewer where a layer is large.
  int plane_candidates = 8, full_candidates = 2;
};

struct Rounded {
  GridWeights weights;
  // By channel: E (w r - v x)^2 up to one constant, as given and as returned. The latter is never above.
  std::vector<double> error_before, error_after;
  std::vector<double> distance;  // by channel, as distance_after
  std::vector<bool> changed;
  // (t A t^T), summed over channels, and the errors (v - t) A (v - t)^T: what the layer puts out, and how far from what it could.
  double signal = 0, distance_before = 0, distance_after = 0;
};

// `before` is kept, channel by channel, where nothing better is found (unless it breaks the pairs' limit).
Rounded round_weights(const Quadratic& quadratic, const Grid& grid, const GridWeights& before, const RoundingOptions& options,
                      WorkerPool* pool);

// Of two results of one problem, channel by channel the one of less error whose pairs keep the grid's limit. Those of `safe` all do.
Rounded within_pairs(Rounded result, const Rounded& safe, const Grid& grid);

}  // namespace bevel::second_order
