// Pads resolved per axis.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "lib/support/result.h"

namespace bevel::ops {

struct AxisPads {
  std::int64_t begin = 0, end = 0;  // negative: cropped
};
Result<std::vector<AxisPads>> pads_per_axis(std::span<const std::int64_t> pads,
                                            const std::optional<std::vector<std::int64_t>>& axes, std::size_t rank);
Result<std::int64_t> padded_extent(std::int64_t extent, const AxisPads& pads);

}  // namespace bevel::ops
