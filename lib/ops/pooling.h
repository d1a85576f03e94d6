// Geometry of pooling, shared by inference, evaluation and lowering.
#pragma once

#include <span>
#include <vector>

#include "lib/ops/sliding_window.h"

namespace bevel::ops {

// x [batch, channels, in...], y [batch, channels, out...].
struct PoolShape {
  std::int64_t batch = 0, channels = 0;
  std::vector<WindowAxis> axes;
  [[nodiscard]] Dims out_dims() const;
};
// For MaxPool, AveragePool, LpPool.
Result<PoolShape> pool_shape(const Node& node, std::span<const std::int64_t> x);
// Whether the node pools over all spatial positions (GlobalAveragePool, ...).
bool is_global_pool(const Node& node);

}  // namespace bevel::ops
