#include "lib/ops/window.h"

#include <algorithm>

#include "lib/ops/family.h"

namespace bevel::ops {
namespace {

// Extents, strides and pads beyond this are refused, so that the kernels' index arithmetic stays in int32.
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
                          const std::vector<std::int64_t>& kernel) {
  const std::size_t rank = spatial_rank;
  if (kernel.size() != rank) return no_kernel("the kernel has {} extents for {} spatial axes", kernel.size(), rank);
  const auto ints = [&](const char* name, std::size_t count, std::int64_t fallback) {
    std::vector<std::int64_t> values = attr_ints(node, name).value_or(std::vector<std::int64_t>{});
    if (values.empty()) values.assign(count, fallback);
    return values;
  };
  const auto strides = ints("strides", rank, 1), dilations = ints("dilations", rank, 1);
  auto pads = ints("pads", 2 * rank, 0);
  if (strides.size() != rank || dilations.size() != rank || pads.size() != 2 * rank) {
    return no_kernel("strides, dilations or pads do not fit {} spatial axes", rank);
  }
  const std::string auto_pad = attr_string(node, "auto_pad", "NOTSET").value_or("NOTSET");
  Window window;
  for (std::size_t i = 0; i < rank; ++i) {
    const std::size_t slot = i + 2 - rank;
    if (!within(kernel[i], 1) || !within(strides[i], 1) || !within(dilations[i], 1)) {
      return no_kernel("kernel, stride or dilation of spatial axis {} is out of range", i);
    }
    const std::int64_t extent = slot == 0 ? in.h : in.w;
    const std::int64_t span = (kernel[i] - 1) * dilations[i] + 1;
    if (!within(span, 1)) return no_kernel("the dilated kernel spans {} elements", span);
    if (auto_pad == "VALID") {
      pads[i] = pads[i + rank] = 0;
    } else if (auto_pad == "SAME_UPPER" || auto_pad == "SAME_LOWER") {
      const std::int64_t out = (extent + strides[i] - 1) / strides[i];
      const std::int64_t total = std::max<std::int64_t>(0, (out - 1) * strides[i] + span - extent);
      const std::int64_t small = total / 2, large = total - small;
      pads[i] = auto_pad == "SAME_UPPER" ? small : large;
      pads[i + rank] = total - pads[i];
    }
    if (!within(pads[i], 0) || !within(pads[i + rank], 0)) return no_kernel("spatial axis {} has negative padding", i);
    window.kernel[slot] = static_cast<std::int32_t>(kernel[i]);
    window.stride[slot] = static_cast<std::int32_t>(strides[i]);
    window.dilation[slot] = static_cast<std::int32_t>(dilations[i]);
    window.pad_begin[slot] = static_cast<std::int32_t>(pads[i]);
    window.pad_end[slot] = static_cast<std::int32_t>(pads[i + rank]);
  }
  return window;
}

}  // namespace bevel::ops
