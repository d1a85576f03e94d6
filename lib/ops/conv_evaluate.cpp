#include <algorithm>
#include <cstring>

#include "lib/ops/conv_direct.h"
#include "lib/ops/conv_frame.h"
#include "lib/ops/matrix_product.h"
#include "lib/ops/nn_families.h"

namespace bevel::ops {
namespace {

// The image of one group as the matrix [group_in * kernel, output positions], made block by block, never as a whole.
class ImageColumns final : public ColumnSource {
 public:
  ImageColumns(const ConvShape& shape, const float* x)
      : shape_(shape), x_(x), in_size_(shape.in_size()), kernel_size_(shape.kernel_size()) {
    const WindowAxis& last = shape.axes.back();
    for (std::int64_t k = 0; k < last.kernel; ++k) {
      first_.push_back(last.first_inside(k));
      end_.push_back(last.last_inside(k));
    }
    plain_ = kernel_size_ == 1;
    for (const WindowAxis& axis : shape.axes)
      plain_ = plain_ && axis.stride == 1 && axis.in == axis.out && axis.pad_begin == 0;
  }

  void fill(std::int64_t k0, std::int64_t kc, std::int64_t n0, std::int64_t nc, float* block,
            std::int64_t stride) const override {
    if (plain_) {
      for (std::int64_t k = 0; k < kc; ++k) {
        std::memcpy(block + k * stride, x_ + (k0 + k) * in_size_ + n0, static_cast<std::size_t>(nc) * sizeof(float));
      }
      return;
    }
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
      float* out = block + k * stride;
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
  bool plain_ = false;
};

// y starts as the bias of its channel, or zero.
template <typename T>
void start_with_bias(const ConvShape& shape, const std::vector<T>& bias, T* y) {
  const std::int64_t size = shape.out_size();
  for (std::int64_t n = 0; n < shape.batch; ++n) {
    for (std::int64_t m = 0; m < shape.out_channels; ++m) {
      std::fill_n(y + (n * shape.out_channels + m) * size, size,
                  bias.empty() ? T{0} : bias[static_cast<std::size_t>(m)]);
    }
  }
}

}  // namespace

namespace {

// Convolutions of stride 1 read their windows from a frame where they lie, instead of copying each input kernel_size times. What is
// computed between two output rows is thrown away; false where that would be much, and where so many rows read a copied block that the
// copy costs little.
bool convolve_in_frame(const ConvShape& shape, const float* x, const float* w, float* y) {
  constexpr std::int64_t kColumnBlock = 256, kFewRows = 96;
  if (!strides_are_one(shape) || shape.kernel_size() == 1 || shape.group_out() > kFewRows) return false;
  const WindowAxis& last = shape.axes.back();
  const auto frame = make_frame(shape, shape.group_in(), last.out);
  if (!frame) return false;
  const std::vector<std::int64_t> origins = row_origins(shape, *frame);
  const std::int64_t columns = origins.back() + last.out, out_size = shape.out_size();
  if (columns > out_size + out_size / 2) return false;
  const std::int64_t depth = shape.group_in() * shape.kernel_size(), rows = shape.group_out();
  std::vector<std::int64_t> offsets;
  for (std::int64_t c = 0; c < shape.group_in(); ++c)
    for (const std::int64_t tap : tap_offsets(shape, *frame)) offsets.push_back(c * frame->size + tap);
  const auto block = std::make_unique_for_overwrite<float[]>(static_cast<std::size_t>(rows * kColumnBlock));
  for (std::int64_t g = 0; g < shape.groups; ++g) {
    const PackedRows weights(rows, depth, {w + g * rows * depth, depth, 1});
    for (std::int64_t n = 0; n < shape.batch; ++n) {
      for (std::int64_t c = 0; c < shape.group_in(); ++c)
        fill_plane(shape, x + (n * shape.channels + g * shape.group_in() + c) * shape.in_size(), *frame,
                   frame->data.get() + c * frame->size);
      float* out = y + (n * shape.out_channels + g * rows) * out_size;
      std::size_t row = 0;  // the first output row with columns in the block
      for (std::int64_t n0 = 0; n0 < columns; n0 += kColumnBlock) {
        const std::int64_t nc = std::min(kColumnBlock, columns - n0);
        for (std::int64_t m = 0; m < rows; ++m) std::fill_n(block.get() + m * kColumnBlock, nc, out[m * out_size + out_size - 1]);
        multiply_add(weights, nc, frame->data.get() + n0, offsets, block.get(), kColumnBlock);
        for (std::size_t r = row; r < origins.size() && origins[r] < n0 + nc; ++r) {
          const std::int64_t from = std::max(origins[r], n0), to = std::min(origins[r] + last.out, n0 + nc);
          for (std::int64_t m = 0; m < rows && from < to; ++m)
            std::copy_n(block.get() + m * kColumnBlock + from - n0, to - from,
                        out + m * out_size + static_cast<std::int64_t>(r) * last.out + from - origins[r]);
          if (origins[r] + last.out <= n0 + nc) row = r + 1;
        }
      }
    }
  }
  return true;
}

}  // namespace

void convolve_float(const ConvShape& shape, const float* x, const float* w, float* y) {
  if (shape.group_in() == 1 && shape.groups > 1) return convolve_depthwise(shape, x, w, y);
  const std::int64_t depth = shape.group_in() * shape.kernel_size();
  const std::int64_t out_size = shape.out_size();
  if (depth == 0 || out_size == 0) return;
  if (shape.in_size() > 0 && convolve_in_frame(shape, x, w, y)) return;
  for (std::int64_t g = 0; g < shape.groups; ++g) {
    const PackedRows weights(shape.group_out(), depth, {w + g * shape.group_out() * depth, depth, 1});
    for (std::int64_t n = 0; n < shape.batch; ++n) {
      const ImageColumns columns(shape, x + (n * shape.channels + g * shape.group_in()) * shape.in_size());
      multiply_add(weights, out_size, columns, y + (n * shape.out_channels + g * shape.group_out()) * out_size,
                   out_size);
    }
  }
}

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
    start_with_bias(shape, bias != nullptr ? to_doubles(*bias) : std::vector<double>(),
                    y.mutable_values<double>().data());
    convolve_direct(shape, x.values<double>().data(), w.values<double>().data(), y.mutable_values<double>().data());
    return std::vector<Datum>{std::move(y)};
  }
  const std::vector<float> start = bias != nullptr ? bias->as_floats() : std::vector<float>();
  if (dtype == DType::float32) {
    Tensor y = Tensor::zeros(dtype, dims);
    float* out = y.mutable_values<float>().data();
    start_with_bias(shape, start, out);
    convolve_float(shape, x.values<float>().data(), w.values<float>().data(), out);
    return std::vector<Datum>{std::move(y)};
  }
  BEVEL_TRY_STATUS(ctx.reserve(DType::float32, dims));
  std::vector<float> out(static_cast<std::size_t>(*element_count(dims)));
  start_with_bias(shape, start, out.data());
  convolve_float(shape, x.as_floats().data(), w.as_floats().data(), out.data());
  return std::vector<Datum>{from_floats(dtype, dims, out)};
}

}  // namespace bevel::ops
