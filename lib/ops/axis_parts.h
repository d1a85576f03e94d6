// Parts of a tensor along one axis: what Scan, SplitToSequence and ConcatFromSequence take out and put together.
#pragma once

#include <cstdint>

#include "lib/ir/tensor.h"

namespace bevel::ops {

// Entries [begin, begin + count) of `axis`; within range.
Tensor take_part(const Tensor& whole, std::size_t axis, std::int64_t begin, std::int64_t count);
// Entry `index` of `axis`, without that axis.
Tensor take_entry(const Tensor& whole, std::size_t axis, std::int64_t index);
// Writes `part` to entries [begin, begin + part.dim(axis)) of `axis`: same dtype, other extents equal, within range.
void put_part(const Tensor& part, Tensor& whole, std::size_t axis, std::int64_t begin);
// Writes `entry`, which lacks `axis`, as entry `index` of it.
void put_entry(const Tensor& entry, Tensor& whole, std::size_t axis, std::int64_t index);

Dims without_axis(Dims dims, std::size_t axis);
Dims with_axis(Dims dims, std::size_t axis, std::int64_t extent);

}  // namespace bevel::ops
