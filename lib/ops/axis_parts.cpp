#include "lib/ops/axis_parts.h"

#include <utility>

#include "lib/ops/family.h"
#include "lib/ops/movement.h"

namespace bevel::ops {
namespace {

Walk walk_from(const Tensor& whole, std::size_t axis, std::int64_t begin) {
  Walk walk{0, row_major_strides(whole.dims())};
  walk.offset = begin * walk.strides[axis];
  return walk;
}

}  // namespace

Dims without_axis(Dims dims, std::size_t axis) {
  dims.erase(dims.begin() + static_cast<std::ptrdiff_t>(axis));
  return dims;
}

Dims with_axis(Dims dims, std::size_t axis, std::int64_t extent) {
  dims.insert(dims.begin() + static_cast<std::ptrdiff_t>(axis), extent);
  return dims;
}

Tensor take_part(const Tensor& whole, std::size_t axis, std::int64_t begin, std::int64_t count) {
  Dims dims = whole.dims();
  dims[axis] = count;
  Tensor part = Tensor::zeros(whole.dtype(), dims);
  copy_walk(whole, walk_from(whole, axis, begin), part, {0, row_major_strides(dims)}, dims);
  return part;
}

Tensor take_entry(const Tensor& whole, std::size_t axis, std::int64_t index) {
  Tensor part = take_part(whole, axis, index, 1);
  return part.reshaped(without_axis(whole.dims(), axis));
}

void put_part(const Tensor& part, Tensor& whole, std::size_t axis, std::int64_t begin) {
  copy_walk(part, {0, row_major_strides(part.dims())}, whole, walk_from(whole, axis, begin), part.dims());
}

void put_entry(const Tensor& entry, Tensor& whole, std::size_t axis, std::int64_t index) {
  put_part(entry.reshaped(with_axis(entry.dims(), axis, 1)), whole, axis, index);
}

}  // namespace bevel::ops
