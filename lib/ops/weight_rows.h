// Weights that float kernels read as the model stores them: 8-bit or 4-bit integers behind DequantizeLinear, float16 behind a Cast.
#pragma once

#include <functional>

#include "lib/ops/lower_common.h"

namespace bevel::ops {

// A product of float32 activations and a constant (operand 1) that the float kernels with stored weights may read.
inline bool has_stored_weights(const LowerContext& context) {
  const GroupOperand& weights = context.inputs[1];
  return context.inputs[0].dtype == DType::float32 && weights.constant != nullptr &&
         (weights.quantization.has_value() || weights.constant->dtype() == DType::float16);
}
// Symmetric integers or float16; the reason otherwise.
std::optional<std::string> check_stored_weights(const GroupOperand& operand);
std::int32_t stored_bits(DType dtype);  // 4, 8 or 16
// `rows` rows as bevel_weight_rows.h reads them; element i of the result, row-major, is element source(i) of the tensor.
PackedConstant stored_rows(const std::string& name, const Tensor& tensor, std::int64_t rows,
                           std::function<std::int64_t(std::int64_t)> source);

// Scales of a weight matrix by output channel and block along the summed axis: float32 [channels, blocks].
struct BlockScales {
  std::int32_t block = 1;     // summed elements that share a scale
  std::vector<float> values;  // [channels, blocks]
  PackedConstant constant;    // of them
};
// `channel_axis`, `sum_axis`: of the operand, which has two. `factor` scales all of them.
Lowered<BlockScales> block_scales(const GroupOperand& operand, int channel_axis, int sum_axis, float factor);

// The float32 values of a constant bias, dequantized where it is quantized; `count` of them (one is repeated), times factor. Absent: zeros.
Lowered<PackedConstant> real_bias(const GroupOperand* operand, std::int64_t count, float factor);

}  // namespace bevel::ops
