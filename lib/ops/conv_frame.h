// An image plane in a frame of zeros, so that no window of it meets an edge.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "lib/ops/conv.h"

namespace bevel::ops {

struct Frame {
  Dims dims, strides;      // of one plane, pads included
  std::int64_t size = 0;   // elements of one plane
  std::unique_ptr<float[]> data;  // `planes` of them, and kSlack elements behind the last: reads of whole vectors
  static constexpr std::int64_t kSlack = 32;
};

// Room for `planes` planes whose last axis serves `columns` outputs, all zero; nullopt where it would be much larger than the image (large
// strides, pads or dilations).
std::optional<Frame> make_frame(const ConvShape& shape, std::int64_t planes, std::int64_t columns);
// Copies an image plane into a plane of the frame, whose border stays zero.
void fill_plane(const ConvShape& shape, const float* image, const Frame& frame, float* plane);
// Where each kernel offset lies from a window's first element, and each output row's first window in the plane; row-major.
std::vector<std::int64_t> tap_offsets(const ConvShape& shape, const Frame& frame);
std::vector<std::int64_t> row_origins(const ConvShape& shape, const Frame& frame);
// All strides are 1: then windows that follow each other in the plane follow each other in the output, but for a few between rows.
bool strides_are_one(const ConvShape& shape);

}  // namespace bevel::ops
