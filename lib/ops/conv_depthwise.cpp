// Depthwise convolution in float32: every output element is one chain of fused multiply-adds over the kernel in
// row-major order, starting from the bias, whatever the vector width. The input plane is copied once into a frame of
// zeros, so that every output, edges included, is computed alike, eight columns at a time.
#include <cstring>
#include <memory>
#include <optional>

#include "lib/ops/conv_direct.h"

#if defined(__AVX2__) && defined(__FMA__)
#include <immintrin.h>
#endif

namespace bevel::ops {
namespace {

constexpr std::int64_t kLanes = 8;

struct Tap {
  std::int64_t offset;  // in the framed plane, from the window's first element
  float weight;
};

#if defined(__AVX2__) && defined(__FMA__)
// Eight inputs of eight neighbouring output columns; stride 2 reads one input more than it needs.
template <int Stride>
__m256 load_columns(const float* in) {
  if constexpr (Stride == 1) {
    return _mm256_loadu_ps(in);
  } else {
    const __m256 even = _mm256_shuffle_ps(_mm256_loadu_ps(in), _mm256_loadu_ps(in + kLanes), 0x88);
    return _mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(even), 0xD8));
  }
}

template <int Stride, int Registers>
std::int64_t run_columns(const std::vector<Tap>& taps, const float* in, std::int64_t column, std::int64_t end,
                         float start, float* out) {
  for (; column + kLanes * Registers <= end; column += kLanes * Registers) {
    __m256 sum[Registers];
    for (int r = 0; r < Registers; ++r) sum[r] = _mm256_set1_ps(start);
    for (const Tap& tap : taps) {
      const __m256 weight = _mm256_set1_ps(tap.weight);
      const float* from = in + tap.offset + column * Stride;
      for (int r = 0; r < Registers; ++r) {
        sum[r] = _mm256_fmadd_ps(weight, load_columns<Stride>(from + kLanes * Stride * r), sum[r]);
      }
    }
    for (int r = 0; r < Registers; ++r) _mm256_storeu_ps(out + column + kLanes * r, sum[r]);
  }
  return column;
}

template <int Stride>
void run_row(const std::vector<Tap>& taps, const float* in, std::int64_t columns, float start, float* out) {
  std::int64_t column = run_columns<Stride, 4>(taps, in, 0, columns, start, out);
  column = run_columns<Stride, 2>(taps, in, column, columns, start, out);
  run_columns<Stride, 1>(taps, in, column, columns, start, out);
}
#else
template <int Stride>
void run_row(const std::vector<Tap>& taps, const float* in, std::int64_t columns, float start, float* out) {
  for (std::int64_t column = 0; column < columns; ++column) {
    float sum = start;
    for (const Tap& tap : taps) sum = __builtin_fmaf(tap.weight, in[tap.offset + column * Stride], sum);
    out[column] = sum;
  }
}
#endif

// One input plane in a frame of zeros: along the last axis wide enough for `columns` output columns (a multiple of
// kLanes).
struct Frame {
  std::int64_t columns = 0;
  Dims dims, strides;
  std::int64_t size = 0;
  std::unique_ptr<float[]> data;
};

std::optional<Frame> frame_for(const ConvShape& shape) {
  Frame frame;
  for (std::size_t a = 0; a < shape.axes.size(); ++a) {
    const WindowAxis& axis = shape.axes[a];
    std::int64_t out = axis.out;
    if (a + 1 == shape.axes.size()) out = frame.columns = (out + kLanes - 1) / kLanes * kLanes;
    const std::int64_t reach = (axis.kernel - 1) * axis.dilation + 1;
    frame.dims.push_back((out - 1) * axis.stride + reach + 1);
    // Large strides, and pads or dilations far beyond the image, would make the frame larger than what it serves.
    constexpr std::int64_t kMargin = 64;
    if (frame.dims.back() > 2 * axis.in + kMargin) return std::nullopt;
  }
  frame.strides = row_major_strides(frame.dims);
  const auto size = element_count(frame.dims);
  constexpr std::int64_t kMaxSize = std::int64_t{1} << 28;
  if (!size || *size > kMaxSize) return std::nullopt;
  frame.size = *size;
  frame.data = std::make_unique<float[]>(static_cast<std::size_t>(frame.size + 2 * kLanes));
  return frame;
}

// Walks all positions of the outer axes in row-major order.
template <typename Body>
void for_each_row(const std::vector<WindowAxis>& axes, std::int64_t WindowAxis::*extent, Body&& body) {
  const std::size_t outer = axes.size() - 1;
  std::vector<std::int64_t> at(outer, 0);
  for (std::int64_t row = 0;; ++row) {
    body(row, at);
    std::size_t a = outer;
    while (a > 0 && ++at[a - 1] == axes[a - 1].*extent) at[--a] = 0;
    if (a == 0) return;
  }
}

void fill_frame(const ConvShape& shape, const float* plane, Frame& frame) {
  const WindowAxis& last = shape.axes.back();
  const std::int64_t copied = std::min(last.in, std::max<std::int64_t>(0, frame.dims.back() - last.pad_begin));
  for_each_row(shape.axes, &WindowAxis::in, [&](std::int64_t row, const std::vector<std::int64_t>& at) {
    std::int64_t target = last.pad_begin;
    for (std::size_t a = 0; a < at.size(); ++a) {
      if (at[a] + shape.axes[a].pad_begin >= frame.dims[a]) return;  // behind the last window
      target += (at[a] + shape.axes[a].pad_begin) * frame.strides[a];
    }
    std::memcpy(frame.data.get() + target, plane + row * last.in, static_cast<std::size_t>(copied) * sizeof(float));
  });
}

}  // namespace

void convolve_depthwise(const ConvShape& shape, const float* x, const float* w, float* y) {
  const std::int64_t in_size = shape.in_size(), out_size = shape.out_size(), kernel_size = shape.kernel_size();
  if (out_size == 0 || in_size == 0) return;
  const WindowAxis& last = shape.axes.back();
  auto frame = last.stride <= 2 ? frame_for(shape) : std::nullopt;
  if (!frame) return convolve_direct(shape, x, w, y);
  std::vector<Tap> taps;
  for_each_row(shape.axes, &WindowAxis::kernel, [&](std::int64_t, const std::vector<std::int64_t>& at) {
    std::int64_t offset = 0;
    for (std::size_t a = 0; a < at.size(); ++a) offset += at[a] * shape.axes[a].dilation * frame->strides[a];
    for (std::int64_t k = 0; k < last.kernel; ++k) taps.push_back({offset + k * last.dilation, 0});
  });
  std::vector<std::int64_t> origins;  // of each output row
  for_each_row(shape.axes, &WindowAxis::out, [&](std::int64_t, const std::vector<std::int64_t>& at) {
    std::int64_t origin = 0;
    for (std::size_t a = 0; a < at.size(); ++a) origin += at[a] * shape.axes[a].stride * frame->strides[a];
    origins.push_back(origin);
  });
  std::vector<float> line(static_cast<std::size_t>(frame->columns));
  const auto line_bytes = static_cast<std::size_t>(last.out) * sizeof(float);
  for (std::int64_t n = 0; n < shape.batch; ++n) {
    for (std::int64_t channel = 0; channel < shape.channels; ++channel) {
      fill_frame(shape, x + (n * shape.channels + channel) * in_size, *frame);
      for (std::int64_t m = channel * shape.group_out(); m < (channel + 1) * shape.group_out(); ++m) {
        for (std::size_t k = 0; k < taps.size(); ++k)
          taps[k].weight = w[m * kernel_size + static_cast<std::int64_t>(k)];
        float* out = y + (n * shape.out_channels + m) * out_size;
        const float start = out[0];  // the bias, everywhere
        for (const std::int64_t origin : origins) {
          const float* in = frame->data.get() + origin;
          if (last.stride == 1) {
            run_row<1>(taps, in, frame->columns, start, line.data());
          } else {
            run_row<2>(taps, in, frame->columns, start, line.data());
          }
          std::memcpy(out, line.data(), line_bytes);
          out += last.out;
        }
      }
    }
  }
}

}  // namespace bevel::ops
