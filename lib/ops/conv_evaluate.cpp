#include <algorithm>
#include <cstring>

#include "lib/ops/conv_direct.h"
#include "lib/ops/conv_frame.h"
#include "lib/ops/element_map.h"
#include "lib/ops/matrix_product.h"
#include "lib/ops/nn_families.h"

namespace bevel::ops {
namespace {

// The image of one group as the matrix [group_in * kernel, output positions], made tile by tile, never as a whole: for all shapes, where
// no frame serves.
class ImageColumns final : public ColumnSource {
 public:
  ImageColumns(const ConvShape& shape, const float* x)
      : shape_(shape), x_(x), in_size_(shape.in_size()), kernel_size_(shape.kernel_size()) {
    const WindowAxis& last = shape.axes.back();
    for (std::int64_t k = 0; k < last.kernel; ++k) {
      first_.push_back(last.first_inside(k));
      end_.push_back(last.last_inside(k));
    }
  }

  void fill(std::int64_t k0, std::int64_t kc, std::int64_t n0, std::int64_t nc, float* tile) const override {
    // A block of output positions is a run of (parts of) rows along the last axis.
    const std::size_t rank = shape_.axes.size();
    const WindowAxis& last = shape_.axes[rank - 1];
    struct Segment {
      std::int64_t column, count;
    };
    std::vector<Segment> segments;
    std::vector<std::int64_t> origins;  // per segment and outer axis: the input position of kernel offset 0
    std::vector<std::int64_t> tap(rank);
    std::int64_t row = n0 / last.out, column = n0 % last.out;
    for (std::int64_t done = 0; done < nc; ++row, column = 0) {
      const std::int64_t count = std::min(last.out - column, nc - done);
      segments.push_back({column, count});
      std::int64_t outer = row;
      origins.resize(origins.size() + rank - 1);
      for (std::size_t a = rank - 1; a-- > 0;) {
        const WindowAxis& axis = shape_.axes[a];
        origins[origins.size() - (rank - 1) + a] = outer % axis.out * axis.stride - axis.pad_begin;
        outer /= axis.out;
      }
      done += count;
    }
    std::int64_t channel = k0 / kernel_size_, rest = k0 % kernel_size_;
    for (std::size_t a = rank; a-- > 0;) {
      tap[a] = rest % shape_.axes[a].kernel;
      rest /= shape_.axes[a].kernel;
    }
    for (std::int64_t k = 0; k < kc; ++k) {
      const float* plane = x_ + channel * in_size_ + tap[rank - 1] * last.dilation - last.pad_begin;
      const std::int64_t first = first_[static_cast<std::size_t>(tap[rank - 1])];
      const std::int64_t end = end_[static_cast<std::size_t>(tap[rank - 1])];
      float* out = tile + k * kTileColumns;
      const std::int64_t* origin = origins.data();
      for (const Segment& segment : segments) {
        std::int64_t source = 0;
        bool inside = true;
        for (std::size_t a = 0; a + 1 < rank; ++a) {
          const WindowAxis& axis = shape_.axes[a];
          const std::int64_t i = origin[a] + tap[a] * axis.dilation;
          inside = inside && i >= 0 && i < axis.in;
          source = source * axis.in + i;
        }
        origin += rank - 1;
        if (inside) {
          copy_row(plane + source * last.in, last.stride, segment.column, segment.count, first, end, out);
        } else {
          std::fill_n(out, segment.count, 0.0f);
        }
        out += segment.count;
      }
      std::size_t a = rank;
      while (a > 0 && ++tap[a - 1] == shape_.axes[a - 1].kernel) tap[--a] = 0;
      if (a == 0) ++channel;
    }
  }

 private:
  // Output columns [column, column + count): inside the image for [first, end), zero elsewhere.
  static void copy_row(const float* in, std::int64_t stride, std::int64_t column, std::int64_t count,
                       std::int64_t first, std::int64_t end, float* out) {
    const std::int64_t low = std::clamp<std::int64_t>(first - column, 0, count);
    const std::int64_t high = std::clamp<std::int64_t>(end - column, low, count);
    for (std::int64_t j = 0; j < low; ++j) out[j] = 0.0f;
    if (stride == 1) {
      std::memcpy(out + low, in + column + low, static_cast<std::size_t>(high - low) * sizeof(float));
    } else {
      for (std::int64_t j = low; j < high; ++j) out[j] = in[(column + j) * stride];
    }
    for (std::int64_t j = high; j < count; ++j) out[j] = 0.0f;
  }

  const ConvShape& shape_;
  const float* x_;
  std::int64_t in_size_, kernel_size_;
  std::vector<std::int64_t> first_, end_;
};

// The same from a frame, where every window lies whole: each element of the kernel is an offset from the window's first.
class FrameColumns final : public ColumnSource {
 public:
  FrameColumns(const ConvShape& shape, const Frame& frame, std::span<const std::int64_t> offsets, std::span<const std::int64_t> origins)
      : last_(shape.axes.back()), frame_(frame), offsets_(offsets), origins_(origins) {}

  void fill(std::int64_t k0, std::int64_t kc, std::int64_t n0, std::int64_t nc, float* tile) const override {
    // Parts of output rows.
    struct Part {
      std::int64_t origin, count;
    };
    Part parts[kTileColumns];
    int count = 0;
    std::int64_t row = n0 / last_.out, column = n0 % last_.out;
    for (std::int64_t done = 0; done < nc; ++row, column = 0) {
      const std::int64_t length = std::min(last_.out - column, nc - done);
      parts[count++] = {origins_[static_cast<std::size_t>(row)] + column * last_.stride, length};
      done += length;
    }
    for (std::int64_t k = 0; k < kc; ++k) {
      const float* window = frame_.data + offsets_[static_cast<std::size_t>(k0 + k)];
      float* out = tile + k * kTileColumns;
      for (int p = 0; p < count; ++p) {
        copy_windows(window + parts[p].origin, parts[p].count, out);
        out += parts[p].count;
      }
    }
  }

 private:
  // Whole vectors: what is written behind the part, the next one or the next k overwrites; what is read behind it, the frame holds.
  void copy_windows(const float* in, std::int64_t count, float* out) const {
#if defined(__AVX2__)
    if (last_.stride == 1) {
      for (std::int64_t j = 0; j < count; j += 8) _mm256_storeu_ps(out + j, _mm256_loadu_ps(in + j));
      return;
    }
    if (last_.stride == 2) {
      for (std::int64_t j = 0; j < count; j += 8) {
        const __m256 even = _mm256_shuffle_ps(_mm256_loadu_ps(in + 2 * j), _mm256_loadu_ps(in + 2 * j + 8), 0x88);
        _mm256_storeu_ps(out + j, _mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(even), 0xD8)));
      }
      return;
    }
#endif
    for (std::int64_t j = 0; j < count; ++j) out[j] = in[j * last_.stride];
  }

  const WindowAxis& last_;
  const Frame& frame_;
  std::span<const std::int64_t> offsets_, origins_;
};

// Planes that are the right operand as they lie.
class PlaneColumns final : public ColumnSource {
 public:
  PlaneColumns(const float* x, std::int64_t size) : x_(x), size_(size) {}
  void fill(std::int64_t k0, std::int64_t kc, std::int64_t n0, std::int64_t nc, float* tile) const override {
    const float* in = x_ + k0 * size_ + n0;
    for (std::int64_t k = 0; k < kc; ++k) copy_row(in + k * size_, nc, tile + k * kTileColumns);
  }

 private:
  const float* x_;
  std::int64_t size_;
};

struct ConvWeights final : Kept {
  std::vector<PackedRows> groups;
  ConvWeights(const ConvShape& shape, const float* w) {
    const std::int64_t depth = shape.group_in() * shape.kernel_size(), rows = shape.group_out();
    for (std::int64_t g = 0; g < shape.groups; ++g) groups.emplace_back(rows, depth, MatrixView{w + g * rows * depth, depth, 1});
  }
  [[nodiscard]] std::uint64_t heap_bytes() const override {
    std::uint64_t bytes = 0;
    for (const PackedRows& group : groups) bytes += group.heap_bytes();
    return bytes;
  }
};

bool is_pointwise(const ConvShape& shape) {
  return std::all_of(shape.axes.begin(), shape.axes.end(), [](const WindowAxis& axis) {
    return axis.kernel == 1 && axis.stride == 1 && axis.in == axis.out && axis.pad_begin == 0;
  });
}

// Few rows of stride 1 read their windows from the frame where they lie, instead of copying each input kernel_size times; what is computed
// between two output rows is thrown away.
bool reads_in_place(const ConvShape& shape, std::int64_t columns) {
  constexpr std::int64_t kFewRows = 24, kShare = 8;
  return strides_are_one(shape) && shape.group_out() <= kFewRows && columns <= shape.out_size() + shape.out_size() / kShare;
}

void convolve_in_place(const ConvShape& shape, const PackedRows& weights, const Frame& frame, std::span<const std::int64_t> offsets,
                       std::span<const std::int64_t> origins, const RowEnds& ends, float* y) {
  constexpr std::int64_t kColumnBlock = 256;
  const std::int64_t width = shape.axes.back().out, out_size = shape.out_size(), rows = weights.rows();
  const std::int64_t columns = origins.back() + width;
  thread_local std::vector<float> block;
  block.resize(static_cast<std::size_t>(rows * kColumnBlock));
  std::size_t row = 0;  // the first output row with columns in the block
  for (std::int64_t n0 = 0; n0 < columns; n0 += kColumnBlock) {
    const std::int64_t nc = std::min(kColumnBlock, columns - n0);
    multiply_add(weights, nc, frame.data + n0, offsets, block.data(), kColumnBlock, ends);
    for (std::size_t r = row; r < origins.size() && origins[r] < n0 + nc; ++r) {
      const std::int64_t from = std::max(origins[r], n0), to = std::min(origins[r] + width, n0 + nc);
      for (std::int64_t m = 0; m < rows && from < to; ++m) {
        copy_row(block.data() + m * kColumnBlock + from - n0, to - from,
                 y + m * out_size + static_cast<std::int64_t>(r) * width + from - origins[r]);
      }
      if (origins[r] + width <= n0 + nc) row = r + 1;
    }
  }
}

void convolve_pointwise(const ConvShape& shape, const float* x, const ConvWeights& weights, const RowEnds& ends, float* y) {
  constexpr std::int64_t kFewRows = PackedRows::kPanel;
  const std::int64_t size = shape.out_size();
  for (std::int64_t n = 0; n < shape.batch; ++n) {
    for (std::int64_t g = 0; g < shape.groups; ++g) {
      const float* image = x + (n * shape.channels + g * shape.group_in()) * size;
      const PackedRows& rows = weights.groups[static_cast<std::size_t>(g)];
      float* out = y + (n * shape.out_channels + g * shape.group_out()) * size;
      const RowEnds group_ends = ends.from(g * shape.group_out());
      if (rows.rows() <= kFewRows) multiply_add(rows, size, image, size, out, size, group_ends);
      else multiply_add(rows, size, PlaneColumns(image, size), out, size, group_ends);
    }
  }
}

// float32: a product of the weights with the image's columns.
void convolve_float(const ConvShape& shape, const float* x, const ConvWeights& weights, const RowEnds& ends, float* y) {
  const std::int64_t out_size = shape.out_size(), in_size = shape.in_size();
  if (out_size == 0) return;
  if (is_pointwise(shape)) return convolve_pointwise(shape, x, weights, ends, y);
  const auto frame = in_size > 0 ? make_frame(shape, shape.group_in(), shape.axes.back().out) : std::nullopt;
  std::vector<std::int64_t> offsets, origins;
  if (frame) {
    const std::vector<std::int64_t> taps = tap_offsets(shape, *frame);
    offsets.reserve(static_cast<std::size_t>(shape.group_in()) * taps.size());
    for (std::int64_t c = 0; c < shape.group_in(); ++c)
      for (const std::int64_t tap : taps) offsets.push_back(c * frame->size + tap);
    origins = row_origins(shape, *frame);
  }
  for (std::int64_t n = 0; n < shape.batch; ++n) {
    for (std::int64_t g = 0; g < shape.groups; ++g) {
      const float* image = x + (n * shape.channels + g * shape.group_in()) * in_size;
      const PackedRows& rows = weights.groups[static_cast<std::size_t>(g)];
      float* out = y + (n * shape.out_channels + g * shape.group_out()) * out_size;
      const RowEnds group_ends = ends.from(g * shape.group_out());
      if (!frame) {
        multiply_add(rows, out_size, ImageColumns(shape, image), out, out_size, group_ends);
        continue;
      }
      for (std::int64_t c = 0; c < shape.group_in(); ++c) fill_plane(shape, image + c * in_size, *frame, frame->data + c * frame->size);
      if (reads_in_place(shape, origins.back() + shape.axes.back().out)) {
        convolve_in_place(shape, rows, *frame, offsets, origins, group_ends, out);
      } else {
        multiply_add(rows, out_size, FrameColumns(shape, *frame, offsets, origins), out, out_size, group_ends);
      }
    }
  }
}

}  // namespace

Status check_float_operands(const EvalContext& ctx, std::int64_t out_channels) {
  const DType dtype = ctx.tensor(0).dtype(), weights = ctx.tensor(1).dtype();
  if (!is_plain_float(dtype)) return fail_dtype(dtype, "X");
  if (weights != dtype) {
    return fail_operand(1, "W", "element type is {}, expected {} as X", dtype_name(weights), dtype_name(dtype));
  }
  if (!ctx.has_input(2)) return {};
  const Tensor& bias = ctx.tensor(2);
  if (bias.dtype() == dtype && bias.dims() == Dims{out_channels}) return {};
  return fail_operand(2, "B", "is {} {}, expected {} [{}]", dtype_name(bias.dtype()), to_string(bias.dims()),
                      dtype_name(dtype), out_channels);
}

Outputs evaluate_conv(const EvalContext& ctx) {
  const Tensor& x = ctx.tensor(0);
  const Tensor& w = ctx.tensor(1);
  BEVEL_TRY(const ConvShape shape, conv_shape(ctx.node(), x.dims(), w.dims()));
  BEVEL_TRY_STATUS(check_float_operands(ctx, shape.out_channels));
  const DType dtype = x.dtype();
  const Tensor* bias = ctx.has_input(2) ? &ctx.tensor(2) : nullptr;
  const Dims dims = shape.out_dims();
  BEVEL_TRY_STATUS(ctx.reserve(dtype, dims));
  if (dtype == DType::float64) {
    Tensor y = Tensor::zeros(dtype, dims);
    double* out = y.mutable_values<double>().data();
    const std::int64_t size = shape.out_size();
    for (std::int64_t p = 0; bias != nullptr && p < shape.batch * shape.out_channels; ++p)
      std::fill_n(out + p * size, size, bias->values<double>()[static_cast<std::size_t>(p % shape.out_channels)]);
    convolve_direct(shape, x.values<double>().data(), w.values<double>().data(), out);
    return std::vector<Datum>{std::move(y)};
  }
  const std::vector<float> start =
      bias != nullptr ? bias->as_floats() : std::vector<float>(static_cast<std::size_t>(shape.out_channels), 0.0f);
  RowEnds ends;
  ends.start = start.data();
  const auto convolve = [&](const float* in, const float* weights, float* out) {
    if (shape.group_in() == 1 && shape.groups > 1) return convolve_depthwise(shape, in, weights, ends, out);
    const auto packed = ctx.keep(1, [&] { return std::make_shared<const ConvWeights>(shape, weights); });
    convolve_float(shape, in, static_cast<const ConvWeights&>(*packed), ends, out);
  };
  if (dtype == DType::float32) {
    if (const ElementMap* map = ctx.claim_map()) {
      if (map->scales()) {
        ends.factor = map->factor.data();
        ends.offset = map->offset.data();
      }
      ends.low = map->low;
      ends.high = map->high;
      ends.clamps = map->clamps;
    }
    Tensor y = Tensor::for_overwrite(dtype, dims);
    convolve(x.values<float>().data(), w.values<float>().data(), y.mutable_values<float>().data());
    return std::vector<Datum>{std::move(y)};
  }
  BEVEL_TRY_STATUS(ctx.reserve(DType::float32, dims));
  std::vector<float> out(static_cast<std::size_t>(*element_count(dims)));
  const std::vector<float> image = x.as_floats(), weights = w.as_floats();
  convolve(image.data(), weights.data(), out.data());
  return std::vector<Datum>{from_floats(dtype, dims, out)};
}

}  // namespace bevel::ops
