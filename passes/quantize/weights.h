// Constant operands as integers behind a DequantizeLinear: per-channel int8 and int4 weights, int32 biases, 8-bit constants of
// elementwise ops.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "lib/ir/graph.h"
#include "lib/support/result.h"
#include "lib/ops/facts.h"
#include "passes/quantize/saturating_pairs.h"
#include "passes/quantize/scales.h"
#include "passes/recipe.h"

namespace bevel::passes {

// Integers of weights, symmetric about zero. int4 is nearest in -7..7 too; -8 is for rounding that looks further.
struct WeightFormat {
  DType dtype = DType::int8;
  int qmax = 127;
  std::int64_t block = 0;  // elements along the reduced axis of a matrix that share a scale; 0: all
  PairOrder pairs = PairOrder::none;  // int8: which two may not sum beyond kPairLimit
  [[nodiscard]] static WeightFormat int4(std::int64_t block_size = 0) { return {DType::int4, 7, block_size, PairOrder::none}; }
  bool operator==(const WeightFormat&) const = default;
};

// What the recipe says of a node's weights.
WeightFormat weight_format(const Recipe& recipe, const std::string& node);
// The axis along which a weight's elements are summed, where the format's blocks can lie along it: of a matrix. nullopt: no blocks.
std::optional<int> block_axis(const ops::Facts& facts, const Tensor& weight, const WeightFormat& format);

// Symmetric scales of a weight: max|w| / qmax per index of `axis` (one without axis). With `bias`, each is raised where
// needed so that bias / (input_scale * scale) stays below 2^30: an all-zero (pruned) channel keeps its bias exactly enough, and the
// int32 accumulator keeps a bit of headroom. A channel of whose pairs one would saturate gets the larger scale, up to that at which
// all fit as they are, whose integers err least. Exit 5 when a weight or bias is NaN or infinite.
Result<std::vector<float>> weight_scales(const Tensor& weight, std::optional<int> axis, const Tensor* bias,
                                         float input_scale, const WeightFormat& format = {});
// round_half_even(w / scale), within -qmax..qmax; of a pair beyond its limit the nearest two within it.
Tensor quantize_weight(const Tensor& weight, std::optional<int> axis, const std::vector<float>& scales,
                       const WeightFormat& format = {});
// What the format's pairs cost a weight: how many elements are in a pair that would saturate without them, and the decibels by which the
// weights' error grows. {0, 0} for PairOrder::none.
struct PairCost {
  std::int64_t limited = 0;
  double db = 0;
};
Result<PairCost> pair_cost(const Tensor& weight, std::optional<int> axis, const Tensor* bias, float input_scale, const WeightFormat& format);
// A matrix in blocks of format.block elements along `axis`: a scale (max|w| / qmax) for each block and each index of the other axis, in the
// matrix's layout, and the integers. Exit 5 when a weight is NaN or infinite.
Result<Tensor> block_scales(const Tensor& matrix, int axis, const WeightFormat& format);
Tensor quantize_blocks(const Tensor& matrix, int axis, const Tensor& scales, const WeightFormat& format);
// round_half_even(b / (input_scale * scale)), int32, in the bias's shape (one scale, or one per element).
Tensor quantize_bias(const Tensor& bias, float input_scale, const std::vector<float>& scales);
// To an activation's grid, saturating.
Tensor quantize_to_grid(const Tensor& tensor, const ScaleZeroPoint& grid, const ActivationFormat& format);

// Makes the initializers and DequantizeLinear nodes: of weights and biases once for all nodes that share a constant and its scales.
class ConstantQuantizer {
 public:
  // `forms_only`: scales are ones and integers zeros, and no constant is read.
  ConstantQuantizer(Graph& graph, bool forms_only) : graph_(graph), forms_only_(forms_only) {}
  // weight_scales.
  [[nodiscard]] Result<std::vector<float>> scales_of(const Tensor& weight, std::optional<int> axis, const Tensor* bias,
                                                     float input_scale, const WeightFormat& format) const;
  // Each gives the dequantized value to read instead of the constant; new nodes come before `position`.
  ValueId weight(ValueId weight, std::optional<int> axis, const std::vector<float>& scales, const WeightFormat& format, NodeId position);
  Result<ValueId> weight_in_blocks(ValueId weight, int axis, const WeightFormat& format, NodeId position);
  ValueId bias(ValueId bias, float input_scale, const std::vector<float>& scales, NodeId position);
  ValueId activation(ValueId constant, const ScaleZeroPoint& grid, const ActivationFormat& format, NodeId position);

 private:
  ValueId dequantize(const std::string& base, Tensor integers, Tensor scale, Tensor zero_point, std::optional<int> axis,
                     NodeId position, std::int64_t block = 0);
  Graph& graph_;
  bool forms_only_;
  // (constant, role and axis, scales, dtype, block, pairs) -> dequantized value, with the node that makes it
  std::map<std::tuple<ValueId, int, std::vector<float>, DType, std::int64_t, PairOrder>, ValueId> made_;
};

}  // namespace bevel::passes
