#include "lib/ir/dtype.h"

#include <array>

namespace bevel {

namespace {

struct Row {
  std::string_view name;
  int bits;
};

// Indexed by ONNX's number. Strings have no fixed width.
constexpr std::array<Row, kDTypeCount> kRows = {{
    {"undefined", 0}, {"float", 32},       {"uint8", 8},           {"int8", 8},          {"uint16", 16},
    {"int16", 16},    {"int32", 32},       {"int64", 64},          {"string", 0},        {"bool", 8},
    {"float16", 16},  {"double", 64},      {"uint32", 32},         {"uint64", 64},       {"complex64", 64},
    {"complex128", 128}, {"bfloat16", 16}, {"float8e4m3fn", 8},    {"float8e4m3fnuz", 8}, {"float8e5m2", 8},
    {"float8e5m2fnuz", 8}, {"uint4", 4},   {"int4", 4},            {"float4e2m1", 4},    {"float8e8m0", 8},
    {"uint2", 2},     {"int2", 2},
}};

const Row& row(DType dtype) { return kRows[static_cast<std::size_t>(dtype)]; }

}  // namespace

bool is_known_dtype(int number) { return number > 0 && number < kDTypeCount; }

std::string_view dtype_name(DType dtype) { return row(dtype).name; }

std::optional<DType> dtype_from_name(std::string_view name) {
  for (int i = 1; i < kDTypeCount; ++i)
    if (kRows[static_cast<std::size_t>(i)].name == name) return static_cast<DType>(i);
  return std::nullopt;
}

int dtype_bits(DType dtype) { return row(dtype).bits; }

std::optional<std::size_t> packed_bytes(DType dtype, std::int64_t count) {
  if (count < 0) return std::nullopt;
  std::size_t bits = 0;
  if (__builtin_mul_overflow(static_cast<std::size_t>(count), static_cast<std::size_t>(dtype_bits(dtype)), &bits) ||
      bits > SIZE_MAX - 7)
    return std::nullopt;
  return (bits + 7) / 8;
}

bool is_floating(DType dtype) {
  switch (dtype) {
    case DType::float16: case DType::float32: case DType::float64: case DType::bfloat16:
    case DType::float8e4m3fn: case DType::float8e4m3fnuz: case DType::float8e5m2: case DType::float8e5m2fnuz:
    case DType::float8e8m0: case DType::float4e2m1:
      return true;
    default:
      return false;
  }
}

bool is_signed_integer(DType dtype) {
  switch (dtype) {
    case DType::int8: case DType::int16: case DType::int32: case DType::int64: case DType::int4: case DType::int2:
      return true;
    default:
      return false;
  }
}

bool is_integer(DType dtype) {
  switch (dtype) {
    case DType::uint8: case DType::uint16: case DType::uint32: case DType::uint64: case DType::uint4: case DType::uint2:
      return true;
    default:
      return is_signed_integer(dtype);
  }
}

}  // namespace bevel
