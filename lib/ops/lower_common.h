// What the lowering functions share: reasons, orders and strides, copies, tables, packed constants.
#pragma once

#include <fmt/core.h>

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "lib/ops/lowering.h"
#include "lib/runtime/bevel_kernels.h"

namespace bevel::ops {

using Reason = tl::unexpected<std::string>;
template <typename T>
using Lowered = tl::expected<T, std::string>;
template <typename... Args>
[[nodiscard]] Reason no_kernel(fmt::format_string<Args...> format, Args&&... args) {
  return Reason(fmt::format(format, std::forward<Args>(args)...));
}

// --- dtypes ----------------------------------------------------------------------------------------------------------
inline bool is_8bit(DType dtype) { return dtype == DType::int8 || dtype == DType::uint8; }
inline bool is_4bit(DType dtype) { return dtype == DType::int4 || dtype == DType::uint4; }
// Integers that a group's activations may hold, and those of a bilinear op's weights.
inline bool is_activation_dtype(DType dtype) { return is_8bit(dtype) || dtype == DType::int16; }
inline bool is_weight_dtype(DType dtype) { return is_8bit(dtype) || is_4bit(dtype); }
// The dtype among BVL_ELEMENT_*, which comparisons and casts take. nullopt: none of them.
std::optional<std::int32_t> element_code(DType dtype);
// Data operands and output 0 hold 8-bit integers, with a stated quantization or as they are (a MaxPool between QLinear ops).
bool eight_bit(const LowerContext& context);
// The operand as one scale for the whole 8-bit tensor; 8-bit values without a stated quantization count as scale 1, the same for
// all. The reason names the role ("input 0").
Lowered<Quantization> activation_quantization(const GroupOperand& operand, const std::string& role);
// The scale of an operand that is int16 with one scale and the zero point 0, as the kernels on int16 take it.
Lowered<float> symmetric_scale(const GroupOperand& operand, const std::string& role);
// activation_quantization, or of an int16 operand what symmetric_scale demands.
Lowered<Quantization> product_quantization(const GroupOperand& operand, bool wide, const std::string& role);
// Data operands and the output are float32.
std::optional<std::string> check_float(const LowerContext& context);
// 8-bit or 4-bit tensor as int8 in the device domain (uint8 q as q - 128, uint4 q as q - 8).
std::vector<std::int8_t> device_int8(const Tensor& tensor);
// Rows of integers in [-8, 7] as a kernel with packed int4 weights reads them (bevel_dot_w4.h): each row padded to blocks of eight.
// dims: [rows, padded depth], dtype int4.
Tensor packed_int4_rows(const std::vector<std::int8_t>& values, std::int64_t rows);
inline std::int64_t padded_int4_depth(std::int64_t depth) { return (depth + 7) / 8 * 8; }
// q of a real value, rounded half to even and clamped to [-128, 127], device domain (int16: to its range); NaN gives the lowest.
std::int32_t quantize_value(double real, const Quantization& quantization);

// --- shapes ----------------------------------------------------------------------------------------------------------
bool fits_int32(std::int64_t value);
// Elements of a tensor that a kernel may index: in (0, 2^30).
Lowered<std::int32_t> kernel_count(const Dims& dims, const std::string& role);
Dims memory_strides(const Dims& logical, const MemoryOrder& order);  // by logical axis, in elements
inline bool in_logical_order(const GroupOperand& operand) {
  return same_memory(operand.dims, operand.order, logical_order(operand.dims.size()));
}
inline bool in_channels_last_order(const GroupOperand& operand) {
  return same_memory(operand.dims, operand.order, channels_last_order(operand.dims.size()));
}
std::string order_text(const MemoryOrder& order);

// A loop nest over elements: extents, and for each operand its stride along each loop.
struct Walk {
  Dims dims;
  std::vector<Dims> strides;  // [operand][loop]
};
// Drops loops of extent 1 and joins neighbours that all operands walk without a gap; at least one loop stays. nullopt: more than 8
// loops, or an extent or stride past int32.
std::optional<Walk> coalesce(const Walk& walk);
// Stride of `operand` along each memory axis of `out` (0 where it is broadcast, NumPy's rule).
Dims strides_along(const GroupOperand& operand, const GroupOperand& out);

// --- steps -----------------------------------------------------------------------------------------------------------
// out[out_offset + walk] = in[in_offset + walk]; strides[0] is the input's, strides[1] the output's.
Lowered<LoweredStep> copy_step(StepOperand in, StepOperand out, const Walk& walk, std::int64_t in_offset,
                               std::int64_t out_offset, DType dtype);
LoweredStep lut_step(StepOperand in, StepOperand out, int table, std::int64_t count);
PackedConstant table_constant(std::function<Result<Tensor>()> pack);
// 256 int8 values: the step from one quantization to another, clamped: r((x - zx) * sx / sy) + zy, as DQ and Q compute it.
// nullopt when the table is the identity.
std::optional<PackedConstant> requantization_table(const Quantization& x, const Quantization& y,
                                                   const std::optional<Interval>& clamp);
// int16: from one scale to another, clamped. nullopt where that is the identity.
std::optional<LoweredStep> rescale_step(StepOperand in, StepOperand out, float in_scale, const Quantization& y,
                                        const std::optional<Interval>& clamp, std::int32_t count);
template <typename Params>
LoweredStep make_step(bvl_kernel kernel, std::vector<StepOperand> reads, std::vector<StepOperand> writes,
                      const Params& params, std::int64_t range, std::uint64_t work) {
  LoweredStep step;
  step.kernel = kernel;
  step.reads = std::move(reads);
  step.writes = std::move(writes);
  step.params = as_words(params);
  step.range = static_cast<std::uint32_t>(range);
  step.macs = work;
  return step;
}
// Range of the kernels that work in blocks of 1024 elements.
inline std::int64_t block_range(std::int64_t count) { return (count + 1023) / 1024; }

// --- bilinear ops ------------------------------------------------------------------------------------------------------
// y = x * w + bias in integers, whatever node states it (QDQ around Conv or MatMul, QLinearConv, QLinearMatMul).
struct IntegerProduct {
  Quantization x, w, y;
  Tensor weights;                    // 8-bit or 4-bit, the graph's layout
  std::optional<Tensor> bias;        // int32, or float to be rounded to the accumulator's scale
  std::optional<Quantization> bias_quantization;
  std::int64_t channels = 0;         // output channels
  std::int64_t products = 0;         // summed into one output element
  // Output channel of a weight by its row-major index in the graph's layout.
  std::function<std::int64_t(std::int64_t)> channel_of;
  std::optional<Interval> clamp;
};
// Zero points of weights are 0, scales fit the channels, and |bias| + 256 * sum|w| stays in int32 for every channel (|x|, |x - zx|
// <= 255): by the number of products alone where that suffices, else from the weights. 4-bit weights meet x sixteenfold: 2048 * sum|w|.
// The reason otherwise.
std::optional<std::string> check_product(const IntegerProduct& product);
// The same but for the accumulator, which has 64 bits where x is int16.
std::optional<std::string> check_operands(const IntegerProduct& product);
// int64 [channels], x without a zero point.
PackedConstant wide_bias_constant(const IntegerProduct& product);
// Bias with the input's zero point folded in, and the multipliers (sx*sw)/sy; both [channels].
PackedConstant bias_constant(const IntegerProduct& product);
PackedConstant multipliers_constant(const IntegerProduct& product);

// Scales and zero points given as tensors (QLinear*): per tensor, or along `axis` of the quantized tensor.
Lowered<Quantization> quantization_from(const Tensor* scale, const Tensor* zero_point, DType dtype, int axis,
                                        const std::string& role);

}  // namespace bevel::ops
