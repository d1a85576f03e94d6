#include "lib/ops/window.h"

#include "lib/ops/sliding_window.h"

namespace bevel::ops {
namespace {

// Extents, strides and pads beyond this (model text may ask for more) are refused, so that the kernels' index arithmetic stays in int32.
constexpr std::int64_t kMaxExtent = 1 << 24;

bool within(std::int64_t value, std::int64_t least) { return value >= least && value <= kMaxExtent; }

}  // namespace

Lowered<Image> image_of(const GroupOperand& operand, const std::string& role) {
  const std::size_t rank = operand.dims.size();
  if (rank != 3 && rank != 4) return no_kernel("{} has rank {}: kernels take 1-D and 2-D images", role, rank);
  if (!in_channels_last_order(operand)) return no_kernel("{} lies in memory as {}", role, order_text(operand.order));
  const auto count = kernel_count(operand.dims, role);
  if (!count) return Reason(count.error());
  for (std::int64_t dim : operand.dims) {
    if (!within(dim, 1)) return no_kernel("{} has the extent {}", role, dim);
  }
  Image image;
  image.n = static_cast<std::int32_t>(operand.dims[0]);
  image.c = static_cast<std::int32_t>(operand.dims[1]);
  image.h = rank == 4 ? static_cast<std::int32_t>(operand.dims[2]) : 1;
  image.w = static_cast<std::int32_t>(operand.dims[rank - 1]);
  return image;
}

Lowered<Window> window_of(const Node& node, const Image& in, std::size_t spatial_rank,
                          std::span<const std::int64_t> kernel) {
  const auto attributes = window_attributes(node, spatial_rank, kernel);
  if (!attributes) return no_kernel("{}", attributes.error().message);
  const bool depends_on_extent = attributes->auto_pad == AutoPad::same_upper || attributes->auto_pad == AutoPad::same_lower;
  Window window;
  for (std::size_t i = 0; i < spatial_rank; ++i) {
    const std::size_t slot = i + 2 - spatial_rank;
    const std::int64_t extent = slot == 0 ? in.h : in.w;
    // Elsewhere the extent is left out: on trial an unknown one stands as 1, which the window may well exceed.
    const auto axis = window_axis(*attributes, i, depends_on_extent ? extent : -1);
    if (!axis) return no_kernel("{}", axis.error().message);
    if (!within(axis->kernel, 1) || !within(axis->stride, 1) || !within(axis->dilation, 1) ||
        !within((axis->kernel - 1) * axis->dilation + 1, 1) || !within(axis->pad_begin, 0) || !within(axis->pad_end, 0)) {
      return no_kernel("the window along spatial axis {} (kernel {}, stride {}, dilation {}, padding {} and {}) is beyond {}", i,
                       axis->kernel, axis->stride, axis->dilation, axis->pad_begin, axis->pad_end, kMaxExtent);
    }
    window.kernel[slot] = static_cast<std::int32_t>(axis->kernel);
    window.stride[slot] = static_cast<std::int32_t>(axis->stride);
    window.dilation[slot] = static_cast<std::int32_t>(axis->dilation);
    window.pad_begin[slot] = static_cast<std::int32_t>(axis->pad_begin);
    window.pad_end[slot] = static_cast<std::int32_t>(axis->pad_end);
  }
  return window;
}

}  // namespace bevel::ops
