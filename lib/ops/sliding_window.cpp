#include "lib/ops/sliding_window.h"

#include <algorithm>

namespace bevel::ops {
namespace {

std::int64_t floor_div(std::int64_t a, std::int64_t b) { return a >= 0 ? a / b : -((-a + b - 1) / b); }
std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return -floor_div(-a, b); }

Result<std::vector<std::int64_t>> numbers(const Node& node, std::string_view name, std::size_t count,
                                          std::int64_t fallback, std::int64_t least) {
  BEVEL_TRY(auto values, attr_ints(node, name));
  if (values.empty()) return std::vector<std::int64_t>(count, fallback);
  if (values.size() != count) {
    return fail_input("attribute '{}' has {} entries, expected {}", name, values.size(), count);
  }
  for (const std::int64_t value : values) {
    if (value < least || value > kMaxWindowNumber) {
      return fail_input("attribute '{}' contains {}, expected {} to {}", name, value, least, kMaxWindowNumber);
    }
  }
  return values;
}

}  // namespace

std::int64_t WindowAxis::first_inside(std::int64_t k) const {
  return std::clamp<std::int64_t>(ceil_div(pad_begin - k * dilation, stride), 0, out);
}
std::int64_t WindowAxis::last_inside(std::int64_t k) const {
  return std::clamp<std::int64_t>(floor_div(in - 1 + pad_begin - k * dilation, stride) + 1, first_inside(k), out);
}
std::int64_t WindowAxis::first_tap(std::int64_t o) const {
  return std::clamp<std::int64_t>(ceil_div(pad_begin - o * stride, dilation), 0, kernel);
}
std::int64_t WindowAxis::last_tap(std::int64_t o) const {
  return std::clamp<std::int64_t>(floor_div(in - 1 + pad_begin - o * stride, dilation) + 1, first_tap(o), kernel);
}

Result<WindowAttributes> window_attributes(const Node& node, std::size_t spatial_rank,
                                           std::span<const std::int64_t> kernel) {
  WindowAttributes result;
  BEVEL_TRY(const std::string auto_pad, attr_string(node, "auto_pad", "NOTSET"));
  if (auto_pad == "SAME_UPPER") {
    result.auto_pad = AutoPad::same_upper;
  } else if (auto_pad == "SAME_LOWER") {
    result.auto_pad = AutoPad::same_lower;
  } else if (auto_pad == "VALID") {
    result.auto_pad = AutoPad::valid;
  } else if (auto_pad != "NOTSET" && !auto_pad.empty()) {
    return fail_input("attribute 'auto_pad' is '{}', expected NOTSET, SAME_UPPER, SAME_LOWER or VALID",
                      printable(auto_pad));
  }
  BEVEL_TRY(result.ceil_mode, attr_flag(node, "ceil_mode", false));
  if (kernel.empty() && !has_attr(node, "kernel_shape")) {
    return fail_input("required attribute 'kernel_shape' is missing");
  }
  BEVEL_TRY(result.kernel, numbers(node, "kernel_shape", spatial_rank, kernel.empty() ? 1 : -1, 1));
  for (std::size_t i = 0; i < kernel.size() && i < spatial_rank; ++i) {
    if (kernel[i] < 0) continue;
    if (kernel[i] < 1 || kernel[i] > kMaxWindowNumber) {
      return fail_input("the weights' spatial extent {} is not in 1 to {}", kernel[i], kMaxWindowNumber);
    }
    if (result.kernel[i] >= 0 && result.kernel[i] != kernel[i]) {
      return fail_input("attribute 'kernel_shape' is {}, but the weights have {}", to_string(result.kernel),
                        to_string(kernel));
    }
    result.kernel[i] = kernel[i];
  }
  BEVEL_TRY(result.strides, numbers(node, "strides", spatial_rank, 1, 1));
  BEVEL_TRY(result.dilations, numbers(node, "dilations", spatial_rank, 1, 1));
  BEVEL_TRY(result.pads, numbers(node, "pads", 2 * spatial_rank, 0, 0));
  if (result.auto_pad != AutoPad::explicit_pads) result.pads.assign(2 * spatial_rank, 0);
  return result;
}

Result<WindowAxis> window_axis(const WindowAttributes& attributes, std::size_t axis, std::int64_t in) {
  WindowAxis result;
  result.in = in;
  result.kernel = attributes.kernel[axis];
  result.stride = attributes.strides[axis];
  result.dilation = attributes.dilations[axis];
  result.pad_begin = attributes.pads[axis];
  result.pad_end = attributes.pads[axis + attributes.kernel.size()];
  if (in > kMaxSpatialExtent) return fail_input("spatial extent {} is larger than {}", in, kMaxSpatialExtent);
  if (in < 0 || result.kernel < 0) return result;
  const std::int64_t reach = (result.kernel - 1) * result.dilation + 1;
  if (attributes.auto_pad == AutoPad::same_upper || attributes.auto_pad == AutoPad::same_lower) {
    result.out = ceil_div(in, result.stride);
    const std::int64_t total = std::max<std::int64_t>(0, (result.out - 1) * result.stride + reach - in);
    result.pad_begin = attributes.auto_pad == AutoPad::same_upper ? total / 2 : total - total / 2;
    result.pad_end = total - result.pad_begin;
    return result;
  }
  const std::int64_t room = in + result.pad_begin + result.pad_end - reach;
  if (room < 0) {
    return fail_input("the window reaches over {} elements along spatial axis {}, but the padded input has {}", reach,
                      axis, in + result.pad_begin + result.pad_end);
  }
  result.out = (attributes.ceil_mode ? ceil_div(room, result.stride) : room / result.stride) + 1;
  // A last window that would start behind the image (in the end padding) does not count.
  if (attributes.ceil_mode && (result.out - 1) * result.stride >= in + result.pad_begin) --result.out;
  return result;
}

Result<Dim> window_output_dim(const WindowAttributes& attributes, std::size_t axis, const Dim& in) {
  BEVEL_TRY(const WindowAxis resolved, window_axis(attributes, axis, extent(in)));
  if (resolved.out >= 0) return Dim(resolved.out);
  if (resolved.stride != 1 || resolved.kernel < 0 || !in.named()) return Dim();
  const bool same = attributes.auto_pad == AutoPad::same_upper || attributes.auto_pad == AutoPad::same_lower;
  const std::int64_t reach = (resolved.kernel - 1) * resolved.dilation;
  return same || resolved.pad_begin + resolved.pad_end == reach ? Dim::named(in.symbol) : Dim();
}

}  // namespace bevel::ops
