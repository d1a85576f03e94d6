// An image plane in a frame of zeros, so that no window of it meets an edge.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "lib/ops/conv.h"

#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace bevel::ops {

// A short row of floats: what most images are made of. No call, and no element outside is touched.
inline void copy_row(const float* in, std::int64_t count, float* out) {
#if defined(__AVX2__)
  if (count >= 8) {
    for (std::int64_t i = 0; i + 8 <= count; i += 8) _mm256_storeu_ps(out + i, _mm256_loadu_ps(in + i));
    if (count % 8 != 0) _mm256_storeu_ps(out + count - 8, _mm256_loadu_ps(in + count - 8));
    return;
  }
  if (count >= 4) {
    const __m128 begin = _mm_loadu_ps(in), end = _mm_loadu_ps(in + count - 4);
    _mm_storeu_ps(out, begin);
    _mm_storeu_ps(out + count - 4, end);
    return;
  }
#endif
  for (std::int64_t i = 0; i < count; ++i) out[i] = in[i];
}

struct Frame {
  Dims dims, strides;      // of one plane, pads included
  std::int64_t size = 0;   // elements of one plane
  Tensor buffer;           // `planes` of them, and kSlack elements behind the last: reads of whole vectors
  float* data = nullptr;
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
