// Windows that slide over spatial axes: what Conv, ConvTranspose and the pooling operators share (kernel_shape,
// strides, dilations, pads, auto_pad, ceil_mode), checked and resolved to numbers per axis.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "lib/ops/family.h"

namespace bevel::ops {

// Bounds of what a model may ask of a window; within them no index computation below overflows int64.
constexpr std::int64_t kMaxWindowNumber = std::int64_t{1} << 30;
constexpr std::int64_t kMaxSpatialExtent = std::int64_t{1} << 40;

enum class AutoPad : std::uint8_t { explicit_pads, same_upper, same_lower, valid };

struct WindowAttributes {
  AutoPad auto_pad = AutoPad::explicit_pads;
  bool ceil_mode = false;
  std::vector<std::int64_t> kernel, strides, dilations;  // one per spatial axis
  std::vector<std::int64_t> pads;                        // begins, then ends
};

// One spatial axis, resolved. Output o reads inputs o * stride - pad_begin + k * dilation, k in [0, kernel).
struct WindowAxis {
  std::int64_t in = -1, out = -1;  // -1: unknown
  std::int64_t kernel = 1, stride = 1, dilation = 1, pad_begin = 0, pad_end = 0;
  // Outputs [first, last) whose input for kernel offset k lies inside the image.
  [[nodiscard]] std::int64_t first_inside(std::int64_t k) const;
  [[nodiscard]] std::int64_t last_inside(std::int64_t k) const;
  // Kernel offsets [first, last) that lie inside the image for output o.
  [[nodiscard]] std::int64_t first_tap(std::int64_t o) const;
  [[nodiscard]] std::int64_t last_tap(std::int64_t o) const;
};

// `kernel`: the weights' spatial extents (-1 unknown); empty when the attribute kernel_shape must say it.
Result<WindowAttributes> window_attributes(const Node& node, std::size_t spatial_rank,
                                           std::span<const std::int64_t> kernel);
// `in` may be -1 (then out is -1, and the pads of SAME_* are 0). Error when the kernel is larger than the padded input.
Result<WindowAxis> window_axis(const WindowAttributes& attributes, std::size_t axis, std::int64_t in);
// As a dimension: keeps the input's symbol where the window does not change the extent.
Result<Dim> window_output_dim(const WindowAttributes& attributes, std::size_t axis, const Dim& in);

}  // namespace bevel::ops
