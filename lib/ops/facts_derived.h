// What follows from an iteration space, never restated per op.
#pragma once

#include <cstdint>
#include <optional>

#include "lib/ir/graph.h"
#include "lib/ops/facts.h"

namespace bevel::ops {

// Multiply-accumulates of a bilinear op: product of all loops; 0 for other kinds; nullopt when an extent is unknown.
std::optional<std::int64_t> macs(const IterationSpace& space);
// The axis of input `operand` that indexes output channels: the only axis whose loops are all parallel, follow the
// output and are not shared with operand 0. Conv weights: 0, ConvTranspose and MatMul weights: 1, Gemm transB: 0. nullopt
// when there is none (then per-tensor scales).
std::optional<int> channel_axis(const IterationSpace& space, int operand);
// Products summed into one output element (accumulator bound), nullopt when unknown.
std::optional<std::int64_t> reduction_size(const IterationSpace& space);
// Each channel is convolved by itself (groups with one input channel).
bool is_depthwise(const IterationSpace& space);
// May the clamp that reads `value` (facts `reader`) become bounds of the 8-bit result of the node that makes it? It is the value's
// only reader, in float32, and the producer's one output has no fixed grid. A chain folds one by one: `producer` stays the
// facts of the node in front. What the quantize pass folds and what grouping looks through both follow this.
bool may_fold_clamp(const Graph& graph, ValueId value, const ValueFacts& producer, std::size_t producer_outputs,
                    const ValueFacts& reader);

}  // namespace bevel::ops
