// Operands of one element: sizes, steps, thresholds, rates.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "lib/ops/family.h"

namespace bevel::ops {

// The one element of a present int32 or int64 input, of whatever rank.
inline Result<std::int64_t> scalar_int(const EvalContext& ctx, std::size_t i, std::string_view role) {
  const Tensor& tensor = ctx.tensor(i);
  if (tensor.dtype() != DType::int64 && tensor.dtype() != DType::int32) {
    return fail_operand(i, role, "element type is {}, expected int64 or int32", dtype_name(tensor.dtype()));
  }
  if (tensor.size() != 1) return fail_operand(i, role, "has {} elements, expected 1", tensor.size());
  return tensor.as_int64(0);
}

// The one element of a present input of a floating dtype.
inline Result<double> scalar_double(const EvalContext& ctx, std::size_t i, std::string_view role) {
  const Tensor& tensor = ctx.tensor(i);
  if (!is_plain_float(tensor.dtype())) {
    return fail_operand(i, role, "element type is {}, expected a float", dtype_name(tensor.dtype()));
  }
  if (tensor.size() != 1) return fail_operand(i, role, "has {} elements, expected 1", tensor.size());
  return tensor.as_double(0);
}

// The same while types are inferred: nullopt when it is not known (or wrong, which evaluation reports).
inline std::optional<std::int64_t> known_scalar_int(const InferContext& ctx, std::size_t i) {
  const Tensor* tensor = ctx.input_constant(i);
  if (tensor != nullptr) {
    if (!is_integer(tensor->dtype()) || tensor->size() != 1) return std::nullopt;
    return tensor->as_int64(0);
  }
  const auto ints = ctx.input_ints(i);
  if (!ints || ints->size() != 1 || !(*ints)[0].known()) return std::nullopt;
  return (*ints)[0].value;
}

}  // namespace bevel::ops
