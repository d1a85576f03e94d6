// Parts of an axis, resolved against its extent: Slice and Split.
#pragma once

#include <cstdint>
#include <vector>

#include "lib/support/result.h"

namespace bevel::ops {

struct SlicedAxis {
  std::int64_t start = 0, step = 1, count = 0;
};
SlicedAxis slice_axis(std::int64_t extent, std::int64_t start, std::int64_t end, std::int64_t step);

// The default division of an axis: `parts` pieces of ceil(extent / parts), the last ones smaller (Split-18).
Result<std::vector<std::int64_t>> equal_parts(std::int64_t extent, std::int64_t parts);

}  // namespace bevel::ops
