// Operands of any floating type as arrays of the type in which arithmetic on them is done: float for float32 and the 16-bit
// floats, double for float64. Families whose arithmetic is the same for all of them write it once, over float and double.
#pragma once

#include <span>
#include <vector>

#include "lib/ops/family.h"
#include "lib/ops/matrix_product.h"

namespace bevel::ops {

// The elements of a tensor as C; float32 and float64 are read where they lie, others are converted and held.
template <typename C>
class FloatOperand {
 public:
  FloatOperand() = default;
  explicit FloatOperand(const Tensor& tensor) : tensor_(tensor) {
    if (tensor.dtype() == DTypeOf<C>::value) {
      values_ = tensor_.template values<C>();
      return;
    }
    if constexpr (std::is_same_v<C, float>) {
      held_ = tensor_.as_floats();
    } else {
      held_ = to_doubles(tensor_);
    }
    values_ = held_;
  }
  FloatOperand(const FloatOperand&) = delete;
  FloatOperand& operator=(const FloatOperand&) = delete;
  [[nodiscard]] const C* data() const { return values_.data(); }
  [[nodiscard]] std::size_t size() const { return values_.size(); }
  C operator[](std::size_t i) const { return values_[i]; }

 private:
  Tensor tensor_;  // keeps the elements alive
  std::vector<C> held_;
  std::span<const C> values_;
};

template <typename C>
Tensor from_computed(DType dtype, Dims dims, std::span<const C> values) {
  if constexpr (std::is_same_v<C, float>) {
    return from_floats(dtype, std::move(dims), values);
  } else {
    return from_doubles(dtype, std::move(dims), values);
  }
}
template <typename C>
Tensor from_computed(DType dtype, Dims dims, const std::vector<C>& values) {
  return from_computed<C>(dtype, std::move(dims), std::span<const C>(values));
}

// The nearest value of a floating dtype.
template <typename C>
C rounded_to(DType dtype, C value) {
  switch (dtype) {
    case DType::float16: return static_cast<C>(widen_float16(narrow_float16(static_cast<float>(value))));
    case DType::bfloat16: return static_cast<C>(widen_bfloat16(narrow_bfloat16(static_cast<float>(value))));
    case DType::float32: return static_cast<C>(static_cast<float>(value));
    default: return value;
  }
}
template <typename C>
void round_to(DType dtype, std::span<C> values) {
  if (dtype == DTypeOf<C>::value || dtype == DType::float64) return;
  for (C& value : values) value = rounded_to(dtype, value);
}

// Calls body(TypeTag<float>{}) or body(TypeTag<double>{}), whose result it returns.
template <typename Body>
Outputs with_compute_type(DType dtype, std::string_view role, Body&& body) {
  if (!is_plain_float(dtype)) return fail_dtype(dtype, role);
  return dtype == DType::float64 ? body(TypeTag<double>{}) : body(TypeTag<float>{});
}

// A matrix of C: element (i, j) is data[i * row_stride + j * column_stride].
template <typename C>
struct Matrix {
  const C* data = nullptr;
  std::int64_t row_stride = 0;
  std::int64_t column_stride = 1;
};
// c[m, n] += a[m, k] * b[k, n], each element one chain in the order of k.
template <typename C>
void multiply_into(std::int64_t rows, std::int64_t columns, std::int64_t depth, Matrix<C> a, Matrix<C> b, C* c,
                   std::int64_t c_stride) {
  if constexpr (std::is_same_v<C, float>) {
    multiply_add(rows, columns, depth, {a.data, a.row_stride, a.column_stride}, {b.data, b.row_stride, b.column_stride},
                 c, c_stride);
  } else {
    multiply_add_plain(rows, columns, depth, a.data, a.row_stride, a.column_stride, b.data, b.row_stride,
                       b.column_stride, c, c_stride);
  }
}

}  // namespace bevel::ops
