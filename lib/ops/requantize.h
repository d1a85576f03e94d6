// Helpers of the operators that work on stored integers: zero points, scales, requantization.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "lib/ops/family.h"

namespace bevel::ops {

// Round half to even, by the exact float trick for |x| < 2^22 and as is beyond 2^23; NaN stays NaN. No libm, no mode.
float round_half_even(float x);
double round_half_even(double x);

// clamp(round_half_even(scaled) + zero_point, low, high): how every integer that the host computes from a real value over its
// scale is rounded (QuantizeLinear-23), and the kernels with it. NaN gives low, as they do.
constexpr IntegerRange kInt8Range{-128, 127};
constexpr IntegerRange kInt16Range{-32768, 32767};
std::int64_t quantize(double scaled, std::int64_t zero_point, IntegerRange range);

// Zero point(s) of operand i: int8 or uint8 as `dtype`; `count` 1 or one per channel. Absent: one zero.
Result<std::vector<std::int32_t>> zero_points(const EvalContext& ctx, std::size_t i, std::string_view role, DType dtype,
                                              std::int64_t channels);
// Scale(s), float32 (or a 16-bit float): one, or one per channel.
Result<std::vector<float>> scales(const EvalContext& ctx, std::size_t i, std::string_view role, std::int64_t channels);
// x - zero_point per element of a per-tensor quantized int8/uint8 tensor.
std::vector<std::int32_t> centred(const Tensor& x, std::int32_t zero_point);

// clamp(round_half_even(float(acc) * multiplier) + zero_point) to `range`, as ONNX Runtime does.
std::int32_t requantize(std::int64_t acc, float multiplier, std::int32_t zero_point, IntegerRange range);

}  // namespace bevel::ops
