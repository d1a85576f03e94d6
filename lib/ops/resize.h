// Resize resolved against actual extents: sizes, scales and the sampling positions of every axis.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "lib/ir/graph.h"
#include "lib/support/result.h"

namespace bevel::ops {

struct ResizeAttributes {
  std::string mode, transformation, nearest_mode, policy;
  float cubic_a = -0.75f;
  float extrapolation = 0;
  bool exclude_outside = false, antialias = false;
  std::optional<std::vector<std::int64_t>> axes;
};
Result<ResizeAttributes> resize_attributes(const Node& node);

struct ResizedAxis {
  std::int64_t input = 0, output = 0;
  float scale = 1;
  float fractional_output = 0;  // scale * input before rounding down; what align_corners divides by
  float roi_begin = 0, roi_end = 1;
};
// `scales` or `sizes`, one entry per axis of the attribute (all axes without it); exactly one is given.
Result<std::vector<ResizedAxis>> resize_axes(const ResizeAttributes& attributes, std::span<const std::int64_t> dims,
                                             const std::optional<std::vector<float>>& scales,
                                             const std::optional<std::vector<std::int64_t>>& sizes,
                                             const std::optional<std::vector<float>>& roi);

}  // namespace bevel::ops
