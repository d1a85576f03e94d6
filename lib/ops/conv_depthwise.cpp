// Depthwise convolution in float32: every output element is one chain of fused multiply-adds over the kernel in
// row-major order, starting from the bias, whatever the vector width. The input plane is copied once into a frame of
// zeros, so that every output, edges included, is computed alike, eight at a time.
#include <algorithm>
#include <optional>
#include <type_traits>

#include "lib/ops/conv_direct.h"
#include "lib/ops/conv_frame.h"

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

#if defined(__AVX2__) && defined(__FMA__)
__m256 finished(const RowEnds& ends, __m256 x) {
  if (ends.factor != nullptr) x = _mm256_add_ps(_mm256_mul_ps(x, _mm256_set1_ps(*ends.factor)), _mm256_set1_ps(*ends.offset));
  // The second operand where they are equal or one is NaN: as RowEnds::finish.
  if (ends.clamps) x = _mm256_min_ps(_mm256_set1_ps(ends.high), _mm256_max_ps(_mm256_set1_ps(ends.low), x));
  return x;
}

// A square window of Kernel x Kernel: Rows output rows share the input rows that they read, `Registers` * 8 columns at a time. Each
// output meets its taps in row-major order, since its input rows come in order.
template <int Kernel, int Stride, int Rows, int Registers>
void run_block(const __m256* weights, const float* in, std::int64_t pitch, const RowEnds& ends, float* const* out, std::int64_t column) {
  __m256 sum[Rows][Registers];
#pragma GCC unroll 8
  for (int r = 0; r < Rows; ++r) {
#pragma GCC unroll 2
    for (int v = 0; v < Registers; ++v) sum[r][v] = _mm256_set1_ps(*ends.start);
  }
#pragma GCC unroll 20
  for (int i = 0; i < (Rows - 1) * Stride + Kernel; ++i) {
#pragma GCC unroll 8
    for (int k = 0; k < Kernel; ++k) {
#pragma GCC unroll 2
      for (int v = 0; v < Registers; ++v) {
        const __m256 x = load_columns<Stride>(in + i * pitch + (column + kLanes * v) * Stride + k);
#pragma GCC unroll 8
        for (int r = 0; r < Rows; ++r) {
          const int tap = i - r * Stride;
          if (tap >= 0 && tap < Kernel) sum[r][v] = _mm256_fmadd_ps(weights[tap * Kernel + k], x, sum[r][v]);
        }
      }
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < Rows; ++r) {
#pragma GCC unroll 2
    for (int v = 0; v < Registers; ++v) _mm256_storeu_ps(out[r] + column + kLanes * v, finished(ends, sum[r][v]));
  }
}

// `columns` of Rows output rows. The last registers overlap those before them; fewer columns than a register are computed aside.
template <int Kernel, int Stride, int Rows>
void run_rows(const __m256* weights, const float* in, std::int64_t pitch, std::int64_t columns, const RowEnds& ends, float* out) {
  float* rows[Rows];
  if (columns < kLanes) {
    float aside[Rows][kLanes];
    for (int r = 0; r < Rows; ++r) rows[r] = aside[r];
    run_block<Kernel, Stride, Rows, 1>(weights, in, pitch, ends, rows, 0);
    for (int r = 0; r < Rows; ++r) copy_row(aside[r], columns, out + r * columns);
    return;
  }
  for (int r = 0; r < Rows; ++r) rows[r] = out + r * columns;
  std::int64_t column = 0;
  for (; column + 2 * kLanes <= columns; column += 2 * kLanes)
    run_block<Kernel, Stride, Rows, 2>(weights, in, pitch, ends, rows, column);
  for (; column < columns; column += kLanes)
    run_block<Kernel, Stride, Rows, 1>(weights, in, pitch, ends, rows, std::min(column, columns - kLanes));
}

template <int Kernel, int Stride>
void run_plane(const ConvShape& shape, const float* w, const float* in, std::int64_t pitch, const RowEnds& ends, float* out) {
  __m256 weights[Kernel * Kernel];
  for (int k = 0; k < Kernel * Kernel; ++k) weights[k] = _mm256_set1_ps(w[k]);
  const std::int64_t columns = shape.axes[1].out, rows = shape.axes[0].out;
  // So many rows at a time that the chains of additions hide each other's latency. The last rows are computed with some before them.
  const auto in_blocks = [&](auto block) {
    constexpr int kBlock = decltype(block)::value;
    for (std::int64_t next = 0; next < rows; next += kBlock) {
      const std::int64_t row = std::min(next, rows - kBlock);
      run_rows<Kernel, Stride, kBlock>(weights, in + row * Stride * pitch, pitch, columns, ends, out + row * columns);
    }
  };
  if (rows >= 8 && columns < 2 * kLanes) in_blocks(std::integral_constant<int, 8>());
  else if (rows >= 4) in_blocks(std::integral_constant<int, 4>());
  else in_blocks(std::integral_constant<int, 1>());
}

using PlaneKernel = void (*)(const ConvShape&, const float*, const float*, std::int64_t, const RowEnds&, float*);

// For the windows that depthwise convolutions mostly have: 3 x 3 and 5 x 5, strides of 1 and 2.
PlaneKernel plane_kernel(const ConvShape& shape) {
  if (shape.axes.size() != 2) return nullptr;
  const WindowAxis& rows = shape.axes[0];
  const WindowAxis& columns = shape.axes[1];
  if (rows.kernel != columns.kernel || rows.stride != columns.stride || rows.dilation != 1 || columns.dilation != 1) return nullptr;
  if (rows.kernel == 3) return rows.stride == 1 ? run_plane<3, 1> : rows.stride == 2 ? run_plane<3, 2> : nullptr;
  if (rows.kernel == 5) return rows.stride == 1 ? run_plane<5, 1> : rows.stride == 2 ? run_plane<5, 2> : nullptr;
  return nullptr;
}
#else
using PlaneKernel = void (*)(const ConvShape&, const float*, const float*, std::int64_t, const RowEnds&, float*);
PlaneKernel plane_kernel(const ConvShape&) { return nullptr; }
#endif

}  // namespace

void start_planes(const ConvShape& shape, const RowEnds& ends, float* y) {
  const std::int64_t size = shape.out_size();
  for (std::int64_t p = 0; p < shape.batch * shape.out_channels; ++p) std::fill_n(y + p * size, size, ends.start[p % shape.out_channels]);
}

void finish_planes(const ConvShape& shape, const RowEnds& ends, float* y) {
  if (ends.factor == nullptr && !ends.clamps) return;
  const std::int64_t size = shape.out_size();
  for (std::int64_t p = 0; p < shape.batch * shape.out_channels; ++p) {
    const RowEnds plane = ends.from(p % shape.out_channels);
    for (std::int64_t i = 0; i < size; ++i) y[p * size + i] = plane.finish(y[p * size + i]);
  }
}

void convolve_depthwise(const ConvShape& shape, const float* x, const float* w, const RowEnds& ends, float* y) {
  const std::int64_t in_size = shape.in_size(), out_size = shape.out_size(), kernel_size = shape.kernel_size();
  if (out_size == 0) return;
  const WindowAxis& last = shape.axes.back();
  const PlaneKernel kernel = plane_kernel(shape);
  // With strides of 1 the whole plane is one row of windows, a few of which lie between two output rows and are not kept.
  const bool linear = kernel == nullptr && strides_are_one(shape);
  const auto in_lanes = [](std::int64_t count) { return (count + kLanes - 1) / kLanes * kLanes; };
  // Stride 2 reads one input more than it needs, and whole vectors.
  auto frame = in_size > 0 && last.stride <= 2 ? make_frame(shape, 1, linear ? last.out : in_lanes(last.out) + 1) : std::nullopt;
  if (!frame) {
    start_planes(shape, ends, y);
    if (in_size > 0) convolve_direct(shape, x, w, y);
    return finish_planes(shape, ends, y);
  }
  std::vector<Tap> taps;
  for (const std::int64_t offset : tap_offsets(shape, *frame)) taps.push_back({offset, 0});
  const std::vector<std::int64_t> origins = kernel == nullptr ? row_origins(shape, *frame) : std::vector<std::int64_t>();
  const std::int64_t columns = kernel != nullptr ? 0 : in_lanes(linear ? origins.back() + last.out : last.out);
  std::vector<float> line(static_cast<std::size_t>(columns));
  for (std::int64_t n = 0; n < shape.batch; ++n) {
    for (std::int64_t channel = 0; channel < shape.channels; ++channel) {
      fill_plane(shape, x + (n * shape.channels + channel) * in_size, *frame, frame->data);
      for (std::int64_t m = channel * shape.group_out(); m < (channel + 1) * shape.group_out(); ++m) {
        float* out = y + (n * shape.out_channels + m) * out_size;
        const RowEnds plane = ends.from(m);
        if (kernel != nullptr) {
          kernel(shape, w + m * kernel_size, frame->data, frame->strides[0], plane, out);
          continue;
        }
        for (std::size_t k = 0; k < taps.size(); ++k)
          taps[k].weight = w[m * kernel_size + static_cast<std::int64_t>(k)];
        if (linear) run_row<1>(taps, frame->data, columns, *plane.start, line.data());
        for (const std::int64_t origin : origins) {
          if (linear) {
            copy_row(line.data() + origin, last.out, out);
          } else {
            const float* in = frame->data + origin;
            if (last.stride == 1) run_row<1>(taps, in, columns, *plane.start, line.data());
            else run_row<2>(taps, in, columns, *plane.start, line.data());
            copy_row(line.data(), last.out, out);
          }
          if (plane.factor != nullptr || plane.clamps) {
            for (std::int64_t j = 0; j < last.out; ++j) out[j] = plane.finish(out[j]);
          }
          out += last.out;
        }
      }
    }
  }
}

}  // namespace bevel::ops
