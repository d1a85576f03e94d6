// Depthwise convolution in float32: every output element is one chain of fused multiply-adds over the kernel in
// row-major order, starting from the bias, whatever the vector width. The input plane is copied once into a frame of
// zeros, so that every output, edges included, is computed alike, eight at a time.
#include <cstring>
#include <memory>
#include <optional>

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

}  // namespace

void convolve_depthwise(const ConvShape& shape, const float* x, const float* w, float* y) {
  const std::int64_t in_size = shape.in_size(), out_size = shape.out_size(), kernel_size = shape.kernel_size();
  if (out_size == 0 || in_size == 0) return;
  const WindowAxis& last = shape.axes.back();
  // With strides of 1 the whole plane is one row of windows, a few of which lie between two output rows and are not kept.
  const bool linear = strides_are_one(shape);
  const auto in_lanes = [](std::int64_t count) { return (count + kLanes - 1) / kLanes * kLanes; };
  // Stride 2 reads one input more than it needs, and whole vectors.
  auto frame = last.stride <= 2 ? make_frame(shape, 1, linear ? last.out : in_lanes(last.out) + 1) : std::nullopt;
  if (!frame) return convolve_direct(shape, x, w, y);
  std::vector<Tap> taps;
  for (const std::int64_t offset : tap_offsets(shape, *frame)) taps.push_back({offset, 0});
  const std::vector<std::int64_t> origins = row_origins(shape, *frame);
  const std::int64_t columns = in_lanes(linear ? origins.back() + last.out : last.out);
  std::vector<float> line(static_cast<std::size_t>(columns));
  const auto row_bytes = static_cast<std::size_t>(last.out) * sizeof(float);
  for (std::int64_t n = 0; n < shape.batch; ++n) {
    for (std::int64_t channel = 0; channel < shape.channels; ++channel) {
      fill_plane(shape, x + (n * shape.channels + channel) * in_size, *frame, frame->data.get());
      for (std::int64_t m = channel * shape.group_out(); m < (channel + 1) * shape.group_out(); ++m) {
        for (std::size_t k = 0; k < taps.size(); ++k)
          taps[k].weight = w[m * kernel_size + static_cast<std::int64_t>(k)];
        float* out = y + (n * shape.out_channels + m) * out_size;
        const float start = out[0];  // the bias, everywhere
        if (linear) run_row<1>(taps, frame->data.get(), columns, start, line.data());
        for (const std::int64_t origin : origins) {
          if (linear) {
            std::memcpy(out, line.data() + origin, row_bytes);
          } else {
            const float* in = frame->data.get() + origin;
            if (last.stride == 1) run_row<1>(taps, in, columns, start, line.data());
            else run_row<2>(taps, in, columns, start, line.data());
            std::memcpy(out, line.data(), row_bytes);
          }
          out += last.out;
        }
      }
    }
  }
}

}  // namespace bevel::ops
