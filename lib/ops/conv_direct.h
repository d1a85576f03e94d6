// Convolution of one plane without rearranging it: depthwise convolutions, and all element types but float32.
#pragma once

#include <algorithm>
#include <cstdint>
#include <type_traits>
#include <vector>

#include "lib/ops/conv.h"
#include "lib/ops/matrix_product.h"

namespace bevel::ops {

// One input plane and one kernel plane into one output plane: y[o] += sum_k w[k] * x[o * stride - pad + k * dilation],
// k in row-major order, positions outside the image left out. float: fused multiply-adds.
template <typename X, typename W, typename Y>
void convolve_plane(const ConvShape& shape, const X* x, const W* w, Y* y) {
  const std::size_t rank = shape.axes.size();
  const WindowAxis& last = shape.axes[rank - 1];
  std::vector<std::int64_t> first(static_cast<std::size_t>(last.kernel)), end(first.size());
  for (std::int64_t k = 0; k < last.kernel; ++k) {
    first[static_cast<std::size_t>(k)] = last.first_inside(k);
    end[static_cast<std::size_t>(k)] = last.last_inside(k);
  }
  std::vector<std::int64_t> o(rank, 0), k(rank, 0);
  const std::int64_t rows = last.out == 0 ? 0 : shape.out_size() / last.out;
  const std::int64_t kernel_rows = shape.kernel_size() / last.kernel;
  for (std::int64_t row = 0; row < rows; ++row) {
    Y* out = y + row * last.out;
    std::fill(k.begin(), k.end(), 0);
    for (std::int64_t kernel_row = 0; kernel_row < kernel_rows; ++kernel_row) {
      std::int64_t source = 0;
      bool inside = true;
      for (std::size_t a = 0; a + 1 < rank; ++a) {
        const WindowAxis& axis = shape.axes[a];
        const std::int64_t i = o[a] * axis.stride - axis.pad_begin + k[a] * axis.dilation;
        inside = inside && i >= 0 && i < axis.in;
        source = source * axis.in + i;
      }
      if (inside) {
        const X* in = x + source * last.in;
        const W* weights = w + kernel_row * last.kernel;
        for (std::int64_t kw = 0; kw < last.kernel; ++kw) {
          const Y weight = static_cast<Y>(weights[kw]);
          const std::int64_t begin = first[static_cast<std::size_t>(kw)], stop = end[static_cast<std::size_t>(kw)];
          const std::int64_t offset = kw * last.dilation - last.pad_begin;
          if (last.stride == 1) {
            for (std::int64_t j = begin; j < stop; ++j) {
              const Y value = static_cast<Y>(in[j + offset]);
              if constexpr (std::is_same_v<Y, float>) {
                out[j] = __builtin_fmaf(weight, value, out[j]);
              } else {
                out[j] += weight * value;
              }
            }
          } else {
            for (std::int64_t j = begin; j < stop; ++j) {
              const Y value = static_cast<Y>(in[j * last.stride + offset]);
              if constexpr (std::is_same_v<Y, float>) {
                out[j] = __builtin_fmaf(weight, value, out[j]);
              } else {
                out[j] += weight * value;
              }
            }
          }
        }
      }
      for (std::size_t a = rank - 1; a-- > 0;) {
        if (++k[a] < shape.axes[a].kernel) break;
        k[a] = 0;
      }
    }
    for (std::size_t a = rank - 1; a-- > 0;) {
      if (++o[a] < shape.axes[a].out) break;
      o[a] = 0;
    }
  }
}

// All planes; y holds the bias or zeros on entry.
template <typename X, typename W, typename Y>
void convolve_direct(const ConvShape& shape, const X* x, const W* w, Y* y) {
  const std::int64_t in_size = shape.in_size(), out_size = shape.out_size(), kernel_size = shape.kernel_size();
  if (out_size == 0) return;
  for (std::int64_t n = 0; n < shape.batch; ++n) {
    for (std::int64_t m = 0; m < shape.out_channels; ++m) {
      const std::int64_t group = m / shape.group_out();
      Y* out = y + (n * shape.out_channels + m) * out_size;
      for (std::int64_t c = 0; c < shape.group_in(); ++c) {
        const X* in = x + (n * shape.channels + group * shape.group_in() + c) * in_size;
        convolve_plane(shape, in, w + (m * shape.group_in() + c) * kernel_size, out);
      }
    }
  }
}

// float32 with one input channel per group: the bits of convolve_direct. y[m] starts as ends.start[m], and ends as they say.
void convolve_depthwise(const ConvShape& shape, const float* x, const float* w, const RowEnds& ends, float* y);

// y starts as ends.start says, for what adds to it; and ends so.
void start_planes(const ConvShape& shape, const RowEnds& ends, float* y);
void finish_planes(const ConvShape& shape, const RowEnds& ends, float* y);

}  // namespace bevel::ops
