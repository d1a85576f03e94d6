// A bilinear op as products of rows: what every method that looks at weights and their inputs together (rounding, scales, bias
// correction, equalization, pruning) needs to know of it, derived from the iteration space alone.
//
//   output[group, row, channel] = sum over i < k of  operand0[group, row, i] * operand1[group, channel, i]  (+ bias[group, channel])
//
// group: loops that both operands and the output share (a Conv's groups, a MatMul's batch when its weights have one); row: parallel loops of operand 0
// alone (batch, positions); channel: parallel loops of operand 1 alone; i: the reduced loops. Within each, loops are row-major in the order
// of IterationSpace::loops. What an op multiplies the sum with (Gemm's alpha) is not in it.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "lib/ir/graph.h"
#include "lib/ir/tensor.h"
#include "lib/ops/facts.h"

namespace bevel::ops {

struct ProductView {
  std::int64_t groups = 1, channels = 1, k = 1;  // channels of one group
  // Offsets into a contiguous operand 1: of [group, channel, i] = group_offset[group] + channel_offset[channel] + k_offset[i].
  std::vector<std::int64_t> group_offset, channel_offset, k_offset;
  [[nodiscard]] std::int64_t weight_index(std::int64_t group, std::int64_t channel, std::int64_t i) const {
    return group_offset[static_cast<std::size_t>(group)] + channel_offset[static_cast<std::size_t>(channel)] +
           k_offset[static_cast<std::size_t>(i)];
  }
};

// nullopt when the op is not bilinear, its output is no plain sum (ConvTranspose, whose products overlap), or operand 1's axes are not
// each a plain loop, a window's inner loop or factors of loops, or it has no elements. `weight_dims` are operand 1's; they say what the space leaves unknown.
std::optional<ProductView> product_view(const IterationSpace& space, std::span<const std::int64_t> weight_dims);

// Copies rows of operand 0 out of a tensor at its actual shape: elements that a window takes from the padding are 0.
// `positions`: at most that many of the rows, one in each of as many equal stretches; where in its stretch, `seed` tells, so that no
// period of the image is met again and again. Row-major [groups][rows][k]; nullopt as above, or when the tensor's shape does
// not fit the space. Unknown extents are the tensor's, but for how often a window fits: that takes the padding behind (see space_at).
struct GatheredRows {
  std::int64_t groups = 1, rows = 0, k = 1;
  std::vector<float> values;
};
std::optional<GatheredRows> gather_rows(const IterationSpace& space, const Tensor& operand0, std::int64_t positions,
                                        std::uint64_t seed = 0);

// The space with operands 0 and 1 in each other's place, so that the above tell of operand 1's rows.
IterationSpace with_operands_swapped(IterationSpace space);

// The node's iteration space where an operand has these dims, whatever is known of them before.
IterationSpace space_at(const Model& model, const Graph& graph, NodeId node, std::size_t operand,
                        std::span<const std::int64_t> dims);

}  // namespace bevel::ops
