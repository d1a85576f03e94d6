// Conversions of float16, bfloat16, the float8 kinds and float4, all by bits, so that they are the same everywhere.
// Formats: IEEE 754 binary16; OCP 8-bit Floating Point (E4M3FN, E5M2), ONNX "Float stored in 8 bits" for the FNUZ kinds
// (Noune et al., "8-bit Numerical Formats for Deep Neural Networks", 2022); OCP Microscaling for E8M0 and E2M1.
#include <bit>
#include <cmath>
#include <limits>

#include "lib/ir/dtype.h"
#include "lib/support/check.h"

#if defined(__F16C__)
#include <immintrin.h>
#endif

namespace bevel {

namespace {

struct Format {
  int exponent_bits, mantissa_bits, bias;
  bool infinities;     // exponent all ones, mantissa 0
  bool fnuz;           // no negative zero: its bits are NaN; no infinities
  bool nan;            // has a NaN at all
};

Format format_of(DType dtype) {
  switch (dtype) {
    case DType::float8e4m3fn: return {4, 3, 7, false, false, true};
    case DType::float8e4m3fnuz: return {4, 3, 8, false, true, true};
    case DType::float8e5m2: return {5, 2, 15, true, false, true};
    case DType::float8e5m2fnuz: return {5, 2, 16, false, true, true};
    case DType::float4e2m1: return {2, 1, 1, false, false, false};
    case DType::float16: return {5, 10, 15, true, false, true};
    default: BEVEL_CHECK(false && "not a small float"); return {};
  }
}

float widen(const Format& f, std::uint32_t bits) {
  const std::uint32_t mantissa_mask = (1u << f.mantissa_bits) - 1;
  const std::uint32_t exponent_mask = (1u << f.exponent_bits) - 1;
  const bool negative = (bits >> (f.exponent_bits + f.mantissa_bits)) & 1;
  const std::uint32_t exponent = (bits >> f.mantissa_bits) & exponent_mask;
  const std::uint32_t mantissa = bits & mantissa_mask;
  const float nan = std::numeric_limits<float>::quiet_NaN();
  if (f.fnuz && negative && exponent == 0 && mantissa == 0) return nan;
  if (f.infinities && exponent == exponent_mask) {
    if (mantissa != 0) return negative ? -nan : nan;
    return negative ? -std::numeric_limits<float>::infinity() : std::numeric_limits<float>::infinity();
  }
  if (f.nan && !f.infinities && !f.fnuz && exponent == exponent_mask && mantissa == mantissa_mask) return nan;
  float magnitude = exponent == 0 ? std::ldexp(static_cast<float>(mantissa), 1 - f.bias - f.mantissa_bits)
                                  : std::ldexp(static_cast<float>(mantissa | (1u << f.mantissa_bits)),
                                               static_cast<int>(exponent) - f.bias - f.mantissa_bits);
  return negative ? -magnitude : magnitude;
}

// Largest finite value's magnitude bits.
std::uint32_t largest(const Format& f) {
  const std::uint32_t all = (1u << (f.exponent_bits + f.mantissa_bits)) - 1;
  if (f.infinities) return ((1u << f.exponent_bits) - 1) * (1u << f.mantissa_bits) - 1;
  return f.nan && !f.fnuz ? all - 1 : all;
}

std::uint32_t narrow(const Format& f, float value, bool saturate) {
  const std::uint32_t sign = std::signbit(value) ? 1u << (f.exponent_bits + f.mantissa_bits) : 0;
  const std::uint32_t infinity = ((1u << f.exponent_bits) - 1) << f.mantissa_bits;
  const std::uint32_t nan = f.fnuz           ? 1u << (f.exponent_bits + f.mantissa_bits)
                            : f.infinities   ? sign | infinity | (1u << (f.mantissa_bits - 1))
                            : f.nan          ? sign | (infinity | ((1u << f.mantissa_bits) - 1))
                            // float4e2m1 has none. ONNX's table (technical/float4) says 6, its operator tests expect what its
                            // reference implementation gives, the zero of the other sign: those are taken.
                                             : sign ^ (1u << (f.exponent_bits + f.mantissa_bits));
  if (std::isnan(value)) return nan;
  const std::uint32_t overflow = f.infinities && !saturate ? sign | infinity
                                 : saturate || !f.nan      ? sign | largest(f)
                                                           : nan;
  if (std::isinf(value)) return f.infinities && !saturate ? sign | infinity : overflow;
  // Scale to an integer multiple of the spacing at this exponent, round half to even, and reassemble.
  const float magnitude = std::fabs(value);
  if (magnitude == 0) return f.fnuz ? 0 : sign;
  int exponent = std::ilogb(magnitude);
  if (exponent < 1 - f.bias) exponent = 1 - f.bias;  // subnormal spacing
  const double units = std::ldexp(static_cast<double>(magnitude), f.mantissa_bits - exponent);
  double rounded = std::nearbyint(units);  // default rounding mode: half to even
  std::uint32_t bits;
  if (rounded >= std::ldexp(1.0, f.mantissa_bits + 1)) {
    rounded /= 2;
    ++exponent;
  }
  if (exponent + f.bias > (1 << f.exponent_bits)) return overflow;
  if (rounded < std::ldexp(1.0, f.mantissa_bits))
    bits = static_cast<std::uint32_t>(rounded);
  else
    bits = (static_cast<std::uint32_t>(exponent + f.bias) << f.mantissa_bits) +
           (static_cast<std::uint32_t>(rounded) - (1u << f.mantissa_bits));
  if (bits > largest(f)) return overflow;
  if (f.fnuz && bits == 0) return 0;
  return sign | bits;
}

}  // namespace

// The machine's conversions where it has them: the same bits, but for the payload of a NaN, which is ours to choose.
float widen_float16(std::uint16_t bits) {
#if defined(__F16C__)
  if ((bits & 0x7FFFu) <= 0x7C00u) return _cvtsh_ss(bits);
#endif
  return widen(format_of(DType::float16), bits);
}
std::uint16_t narrow_float16(float value) {
#if defined(__F16C__)
  if (!std::isnan(value)) return static_cast<std::uint16_t>(_cvtss_sh(value, _MM_FROUND_TO_NEAREST_INT));
#endif
  return static_cast<std::uint16_t>(narrow(format_of(DType::float16), value, false));
}

float widen_bfloat16(std::uint16_t bits) { return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16); }
std::uint16_t narrow_bfloat16(float value) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(value);
  if (std::isnan(value)) return static_cast<std::uint16_t>((bits >> 16) | 0x40u);
  return static_cast<std::uint16_t>((bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16);
}

float widen_small_float(DType dtype, std::uint8_t bits) {
  if (dtype == DType::float8e8m0)
    return bits == 0xFF ? std::numeric_limits<float>::quiet_NaN() : std::ldexp(1.0f, static_cast<int>(bits) - 127);
  if (dtype == DType::float4e2m1) bits &= 0x0F;
  return widen(format_of(dtype), bits);
}

std::uint8_t narrow_small_float(DType dtype, float value, bool saturate) {
  if (dtype == DType::float8e8m0) {  // powers of two only; rounds up, as ONNX's Cast does by default
    if (std::isnan(value) || value < 0) return 0xFF;
    if (value == 0) return 0;
    if (std::isinf(value)) return saturate ? 0xFE : 0xFF;
    int exponent = 0;
    const float mantissa = std::frexp(value, &exponent);  // value = mantissa * 2^exponent, mantissa in [0.5, 1)
    const int ceiling = mantissa > 0.5f ? exponent : exponent - 1;
    return static_cast<std::uint8_t>(ceiling < -127 ? 0 : ceiling > 127 ? (saturate ? 254 : 255) : ceiling + 127);
  }
  return static_cast<std::uint8_t>(narrow(format_of(dtype), value, saturate));
}

}  // namespace bevel
