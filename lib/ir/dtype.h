// Element types, numbered as in ONNX's TensorProto.DataType (onnx 1.23), and their exact conversions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace bevel {

enum class DType : std::uint8_t {
  undefined = 0,
  float32 = 1,
  uint8 = 2,
  int8 = 3,
  uint16 = 4,
  int16 = 5,
  int32 = 6,
  int64 = 7,
  string = 8,
  boolean = 9,
  float16 = 10,
  float64 = 11,
  uint32 = 12,
  uint64 = 13,
  complex64 = 14,
  complex128 = 15,
  bfloat16 = 16,
  float8e4m3fn = 17,
  float8e4m3fnuz = 18,
  float8e5m2 = 19,
  float8e5m2fnuz = 20,
  uint4 = 21,
  int4 = 22,
  float4e2m1 = 23,
  float8e8m0 = 24,
  uint2 = 25,
  int2 = 26,
};
constexpr int kDTypeCount = 27;

// True for numbers 1..26.
bool is_known_dtype(int number);
// Text form's name: "float", "uint8", ..., as ONNX's text syntax spells it.
std::string_view dtype_name(DType dtype);
std::optional<DType> dtype_from_name(std::string_view name);
// Bits per element as ONNX packs them (4 for int4; two elements share a byte, the first in the low bits). 0 for strings.
int dtype_bits(DType dtype);
// Bytes of `count` packed elements, rounded up; nullopt on overflow.
std::optional<std::size_t> packed_bytes(DType dtype, std::int64_t count);
bool is_floating(DType dtype);  // float16 .. float64, bfloat16, float8*, float4
bool is_integer(DType dtype);   // signed and unsigned, without boolean
bool is_signed_integer(DType dtype);

// The C++ type that holds one element of an unpacked dtype in memory (16-bit and 8-bit floats as their bits).
template <typename T>
struct DTypeOf;
template <> struct DTypeOf<float> { static constexpr DType value = DType::float32; };
template <> struct DTypeOf<double> { static constexpr DType value = DType::float64; };
template <> struct DTypeOf<std::int8_t> { static constexpr DType value = DType::int8; };
template <> struct DTypeOf<std::uint8_t> { static constexpr DType value = DType::uint8; };
template <> struct DTypeOf<std::int16_t> { static constexpr DType value = DType::int16; };
template <> struct DTypeOf<std::uint16_t> { static constexpr DType value = DType::uint16; };
template <> struct DTypeOf<std::int32_t> { static constexpr DType value = DType::int32; };
template <> struct DTypeOf<std::uint32_t> { static constexpr DType value = DType::uint32; };
template <> struct DTypeOf<std::int64_t> { static constexpr DType value = DType::int64; };
template <> struct DTypeOf<std::uint64_t> { static constexpr DType value = DType::uint64; };
template <> struct DTypeOf<bool> { static constexpr DType value = DType::boolean; };

// Small floats. Narrowing rounds half to even; `saturate` is ONNX Cast's attribute (opset 19) and matters for 8 bits only.
float widen_float16(std::uint16_t bits);
std::uint16_t narrow_float16(float value);
float widen_bfloat16(std::uint16_t bits);
std::uint16_t narrow_bfloat16(float value);
// float8e4m3fn, float8e4m3fnuz, float8e5m2, float8e5m2fnuz, float8e8m0, float4e2m1 (bits in the low nibble).
float widen_small_float(DType dtype, std::uint8_t bits);
std::uint8_t narrow_small_float(DType dtype, float value, bool saturate = true);

}  // namespace bevel
