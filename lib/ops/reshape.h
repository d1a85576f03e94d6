// The dimensions that the reshaping ops give, from actual dimensions; inference and evaluation share them.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "lib/ir/tensor.h"
#include "lib/support/result.h"

namespace bevel::ops {

Result<Dims> reshaped_dims(const Dims& input, std::span<const std::int64_t> wanted, bool allow_zero);
Result<Dims> flattened_dims(const Dims& input, std::int64_t axis);
// nullopt axes: every axis of extent 1.
Result<Dims> squeezed_dims(const Dims& input, const std::optional<std::vector<std::int64_t>>& axes);
Result<Dims> unsqueezed_dims(const Dims& input, std::span<const std::int64_t> axes);

}  // namespace bevel::ops
