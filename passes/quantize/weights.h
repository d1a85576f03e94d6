// Constant operands as integers behind a DequantizeLinear: per-channel int8 weights, int32 biases, 8-bit constants of
// elementwise ops.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "lib/ir/graph.h"
#include "lib/support/result.h"
#include "passes/quantize/scales.h"

namespace bevel::passes {

// Symmetric int8 scales of a weight: max|w| / 127 per index of `axis` (one without axis). With `bias`, each is raised where
// needed so that bias / (input_scale * scale) stays below 2^30: an all-zero (pruned) channel keeps its bias exactly enough, and the
// int32 accumulator keeps a bit of headroom. Exit 5 when a weight or bias is NaN or infinite.
Result<std::vector<float>> weight_scales(const Tensor& weight, std::optional<int> axis, const Tensor* bias,
                                         float input_scale);
// round_half_even(w / scale), within -127..127.
Tensor quantize_weight(const Tensor& weight, std::optional<int> axis, const std::vector<float>& scales);
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
                                                     float input_scale) const;
  // Each gives the dequantized value to read instead of the constant; new nodes come before `position`.
  ValueId weight(ValueId weight, std::optional<int> axis, const std::vector<float>& scales, NodeId position);
  ValueId bias(ValueId bias, float input_scale, const std::vector<float>& scales, NodeId position);
  ValueId activation(ValueId constant, const ScaleZeroPoint& grid, const ActivationFormat& format, NodeId position);

 private:
  ValueId dequantize(const std::string& base, Tensor integers, Tensor scale, Tensor zero_point, std::optional<int> axis,
                     NodeId position);
  Graph& graph_;
  bool forms_only_;
  // (constant, role and axis, scales) -> dequantized value, with the node that makes it
  std::map<std::tuple<ValueId, int, std::vector<float>>, ValueId> made_;
};

}  // namespace bevel::passes
