// What every operator family shares: attributes with defaults and checks, shapes, broadcasting, dispatch over dtypes,
// errors that name the operand. Families include this; other rooms do not need it.
#pragma once

#include <bit>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "lib/ir/dtype.h"
#include "lib/ir/graph.h"
#include "lib/ir/tensor.h"
#include "lib/ir/type.h"
#include "lib/ops/facts.h"
#include "lib/ops/op.h"
#include "lib/support/result.h"

namespace bevel::ops {

// --- attributes ------------------------------------------------------------------------------------------------------
// The attribute's value, `fallback` when absent, an error when it has another kind. Facts use .value_or().
bool has_attr(const Node& node, std::string_view name);
Result<std::int64_t> attr_int(const Node& node, std::string_view name, std::int64_t fallback);
Result<float> attr_float(const Node& node, std::string_view name, float fallback);
Result<std::string> attr_string(const Node& node, std::string_view name, std::string_view fallback);
Result<std::vector<std::int64_t>> attr_ints(const Node& node, std::string_view name,
                                            std::vector<std::int64_t> fallback = {});
Result<std::vector<float>> attr_floats(const Node& node, std::string_view name, std::vector<float> fallback = {});
// nullptr when absent (not an error) or of another kind.
const Tensor* attr_tensor(const Node& node, std::string_view name);
const GraphPtr* attr_graph(const Node& node, std::string_view name);
// An attribute that must be there.
Result<std::int64_t> require_int(const Node& node, std::string_view name);
// An int attribute that holds a TensorProto.DataType.
Result<DType> attr_dtype(const Node& node, std::string_view name, DType fallback);
// 0 or 1.
Result<bool> attr_flag(const Node& node, std::string_view name, bool fallback);

// --- errors ----------------------------------------------------------------------------------------------------------
// "input 1 (W): ...": exit 5; the caller adds file and node.
template <typename... Args>
[[nodiscard]] Failure fail_operand(std::size_t index, std::string_view role, fmt::format_string<Args...> format,
                                   Args&&... args) {
  return fail_input("input {} ({}): {}", index, role, fmt::format(format, std::forward<Args>(args)...));
}
std::string to_string(std::span<const std::int64_t> dims);  // "[1, 3, 224, 224]"

// --- sizes -----------------------------------------------------------------------------------------------------------
std::optional<std::int64_t> checked_add(std::int64_t a, std::int64_t b);
std::optional<std::int64_t> checked_mul(std::int64_t a, std::int64_t b);
Dims row_major_strides(std::span<const std::int64_t> dims);
// Product of dims[first, last); dims are a tensor's, so that it cannot overflow when none is 0 (0 otherwise allowed).
std::int64_t product(std::span<const std::int64_t> dims, std::size_t first, std::size_t last);

// --- axes and shapes ---------------------------------------------------------------------------------------------------
// axis in [-rank, rank) to [0, rank). `allow_end`: axis == rank is allowed too (Flatten).
Result<std::int64_t> normalize_axis(std::int64_t axis, std::size_t rank, bool allow_end = false);
// As given, in order; a repeated axis is an error.
Result<std::vector<std::int64_t>> normalize_axes(std::span<const std::int64_t> axes, std::size_t rank);
// NumPy's multidirectional broadcasting.
Result<Dims> broadcast_dims(std::span<const std::int64_t> a, std::span<const std::int64_t> b);
// With unknown dimensions: 1 yields to the other, a known extent > 1 wins over an unknown one.
Result<Shape> broadcast_shapes(const Shape& a, const Shape& b);
// What both state: known wins over named, named over unknown; two known extents must be equal.
Result<Dim> unify_dims(const Dim& a, const Dim& b);
Result<Shape> unify_shapes(const Shape& a, const Shape& b);
// Element strides that walk a tensor of `dims` along the axes of the broadcast result `out` (0 on broadcast axes).
Dims broadcast_strides(std::span<const std::int64_t> dims, std::span<const std::int64_t> out);

// --- inference ---------------------------------------------------------------------------------------------------------
// The shape of input i; without rank when unknown, absent or not a tensor.
const Shape& input_shape(const InferContext& ctx, std::size_t i);
DType input_dtype(const InferContext& ctx, std::size_t i);
// Output 0 (or `output`) has the type of input 0.
Status infer_same_type(InferContext& ctx);
// Fails when the rank of input i is known and is not in [least, most].
Status expect_rank(const InferContext& ctx, std::size_t i, std::string_view role, std::size_t least,
                   std::size_t most = 64);
Status expect_dtype(DType found, std::size_t i, std::string_view role, std::initializer_list<DType> allowed);

// --- facts -------------------------------------------------------------------------------------------------------------
// The elementwise space of output 0 over its (broadcast) inputs 0..operands-1; opaque when ranks are unknown.
IterationSpace elementwise_space(const FactsContext& ctx, std::size_t operands);
// Facts of a unary pointwise function y = f(x) that 8-bit quantization turns into a table.
Facts unary_facts(const FactsContext& ctx, bool monotone = false, Interval result = {});
// Extent of a dimension for a loop, -1 when unknown.
inline std::int64_t extent(const Dim& dim) { return dim.known() ? dim.value : -1; }
inline std::int64_t extent(const Shape& shape, std::size_t axis) {
  return shape.has_rank && axis < shape.rank() ? extent(shape.dims[axis]) : -1;
}
const Shape& input_shape(const FactsContext& ctx, std::size_t i);
const Shape& output_shape(const FactsContext& ctx, std::size_t i);

// --- dtypes ------------------------------------------------------------------------------------------------------------
// Element access of the 16-bit floats, tagged so that dispatch can tell them from uint16.
struct Half {
  std::uint16_t bits = 0;
  explicit operator float() const { return widen_float16(bits); }
  static Half of(float value) { return {narrow_float16(value)}; }
};
struct BFloat {
  std::uint16_t bits = 0;
  explicit operator float() const { return widen_bfloat16(bits); }
  static BFloat of(float value) { return {narrow_bfloat16(value)}; }
};

template <typename T>
struct TypeTag {
  using type = T;
};

// Calls body(TypeTag<T>{}) with the element type of an integer, boolean or plain float dtype; false for other dtypes.
template <typename Body>
bool dispatch_integers(DType dtype, Body&& body) {
  switch (dtype) {
    case DType::int8: body(TypeTag<std::int8_t>{}); return true;
    case DType::uint8: body(TypeTag<std::uint8_t>{}); return true;
    case DType::int16: body(TypeTag<std::int16_t>{}); return true;
    case DType::uint16: body(TypeTag<std::uint16_t>{}); return true;
    case DType::int32: body(TypeTag<std::int32_t>{}); return true;
    case DType::uint32: body(TypeTag<std::uint32_t>{}); return true;
    case DType::int64: body(TypeTag<std::int64_t>{}); return true;
    case DType::uint64: body(TypeTag<std::uint64_t>{}); return true;
    default: return false;
  }
}
template <typename Body>
bool dispatch_floats(DType dtype, Body&& body) {
  switch (dtype) {
    case DType::float32: body(TypeTag<float>{}); return true;
    case DType::float64: body(TypeTag<double>{}); return true;
    case DType::float16: body(TypeTag<Half>{}); return true;
    case DType::bfloat16: body(TypeTag<BFloat>{}); return true;
    default: return false;
  }
}
template <typename Body>
bool dispatch_numeric(DType dtype, Body&& body) {
  return dispatch_integers(dtype, body) || dispatch_floats(dtype, body);
}

// The type in which arithmetic on T is done: float for the 16-bit floats, T itself otherwise.
template <typename T>
using ComputeOf = std::conditional_t<std::is_same_v<T, Half> || std::is_same_v<T, BFloat>, float, T>;
template <typename T>
ComputeOf<T> load(T value) {
  return static_cast<ComputeOf<T>>(value);
}
template <typename T>
T store(ComputeOf<T> value) {
  if constexpr (std::is_same_v<T, Half> || std::is_same_v<T, BFloat>) {
    return T::of(value);
  } else {
    return value;
  }
}

// All elements in double or float (any real dtype, sub-byte types included).
std::vector<double> to_doubles(const Tensor& tensor);
// A tensor of a floating dtype from computed values, rounded once.
Tensor from_floats(DType dtype, Dims dims, std::span<const float> values);
Tensor from_doubles(DType dtype, Dims dims, std::span<const double> values);
// The range of an integer dtype of at most 32 bits, sub-byte types included: {low, high}.
struct IntegerRange {
  std::int64_t low = 0, high = 0;
};
std::optional<IntegerRange> integer_range(DType dtype);
inline bool is_plain_float(DType dtype) {
  return dtype == DType::float32 || dtype == DType::float64 || dtype == DType::float16 || dtype == DType::bfloat16;
}
// "dtype float8e4m3fn is not supported by this operator's evaluation": exit 5.
Failure fail_dtype(DType dtype, std::string_view role);

}  // namespace bevel::ops
