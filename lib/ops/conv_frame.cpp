#include "lib/ops/conv_frame.h"

#include <algorithm>

namespace bevel::ops {
namespace {

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

}  // namespace

std::optional<Frame> make_frame(const ConvShape& shape, std::int64_t planes, std::int64_t columns) {
  Frame frame;
  for (std::size_t a = 0; a < shape.axes.size(); ++a) {
    const WindowAxis& axis = shape.axes[a];
    const std::int64_t out = a + 1 == shape.axes.size() ? columns : axis.out;
    const std::int64_t reach = (axis.kernel - 1) * axis.dilation + 1;
    frame.dims.push_back((out - 1) * axis.stride + reach);
    constexpr std::int64_t kMargin = 64;
    if (frame.dims.back() > 2 * axis.in + kMargin) return std::nullopt;
  }
  frame.strides = row_major_strides(frame.dims);
  const auto size = element_count(frame.dims);
  constexpr std::int64_t kMaxSize = std::int64_t{1} << 28;
  if (!size || *size > kMaxSize || *size * planes > kMaxSize) return std::nullopt;
  frame.size = *size;
  frame.buffer = Tensor::zeros(DType::float32, {frame.size * planes + Frame::kSlack});
  frame.data = frame.buffer.mutable_values<float>().data();
  return frame;
}

void fill_plane(const ConvShape& shape, const float* image, const Frame& frame, float* plane) {
  const WindowAxis& last = shape.axes.back();
  const std::int64_t copied = std::min(last.in, std::max<std::int64_t>(0, frame.dims.back() - last.pad_begin));
  if (copied == 0) return;
  if (shape.axes.size() == 2) {
    const WindowAxis& outer = shape.axes[0];
    const std::int64_t rows = std::min(outer.in, std::max<std::int64_t>(0, frame.dims[0] - outer.pad_begin));
    float* target = plane + outer.pad_begin * frame.strides[0] + last.pad_begin;
    for (std::int64_t row = 0; row < rows; ++row) copy_row(image + row * last.in, copied, target + row * frame.strides[0]);
    return;
  }
  for_each_row(shape.axes, &WindowAxis::in, [&](std::int64_t row, const std::vector<std::int64_t>& at) {
    std::int64_t target = last.pad_begin;
    for (std::size_t a = 0; a < at.size(); ++a) {
      if (at[a] + shape.axes[a].pad_begin >= frame.dims[a]) return;  // behind the last window
      target += (at[a] + shape.axes[a].pad_begin) * frame.strides[a];
    }
    copy_row(image + row * last.in, copied, plane + target);
  });
}

std::vector<std::int64_t> tap_offsets(const ConvShape& shape, const Frame& frame) {
  const WindowAxis& last = shape.axes.back();
  std::vector<std::int64_t> offsets;
  for_each_row(shape.axes, &WindowAxis::kernel, [&](std::int64_t, const std::vector<std::int64_t>& at) {
    std::int64_t offset = 0;
    for (std::size_t a = 0; a < at.size(); ++a) offset += at[a] * shape.axes[a].dilation * frame.strides[a];
    for (std::int64_t k = 0; k < last.kernel; ++k) offsets.push_back(offset + k * last.dilation);
  });
  return offsets;
}

std::vector<std::int64_t> row_origins(const ConvShape& shape, const Frame& frame) {
  std::vector<std::int64_t> origins;
  for_each_row(shape.axes, &WindowAxis::out, [&](std::int64_t, const std::vector<std::int64_t>& at) {
    std::int64_t origin = 0;
    for (std::size_t a = 0; a < at.size(); ++a) origin += at[a] * shape.axes[a].stride * frame.strides[a];
    origins.push_back(origin);
  });
  return origins;
}

bool strides_are_one(const ConvShape& shape) {
  return std::all_of(shape.axes.begin(), shape.axes.end(), [](const WindowAxis& axis) { return axis.stride == 1; });
}

}  // namespace bevel::ops
