// Geometry of ConvTranspose, shared by inference, evaluation and lowering.
#pragma once

#include <span>
#include <vector>

#include "lib/ops/sliding_window.h"

namespace bevel::ops {

// Input i reaches outputs i * stride - pad_begin + k * dilation. x [batch, channels, in...], w [channels, out_channels
// / groups, kernel...]; WindowAxis::out is the output's extent.
struct ConvTransposeShape {
  std::int64_t batch = 0, channels = 0, out_channels = 0, groups = 1;
  std::vector<WindowAxis> axes;
  [[nodiscard]] Dims out_dims() const;
};

// One axis; `in` -1: unknown (out is then -1 unless output_shape states it).
Result<std::vector<WindowAxis>> conv_transpose_axes(const Node& node, std::span<const std::int64_t> in,
                                                    std::span<const std::int64_t> kernel);
Result<ConvTransposeShape> conv_transpose_shape(const Node& node, std::span<const std::int64_t> x,
                                                std::span<const std::int64_t> w);

}  // namespace bevel::ops
