// Windows of convolutions and pooling over channels-last images, as kernels take them: 1-D is 2-D with height 1.
#pragma once

#include <span>

#include "lib/ops/lower_common.h"

namespace bevel::ops {

struct Image {
  std::int32_t n = 1, h = 1, w = 1, c = 1;
};
// A rank 3 or 4 operand in channels-last memory.
Lowered<Image> image_of(const GroupOperand& operand, const std::string& role);

struct Window {  // [0]: height, [1]: width
  std::int32_t kernel[2] = {1, 1}, stride[2] = {1, 1}, dilation[2] = {1, 1}, pad_begin[2] = {0, 0}, pad_end[2] = {0, 0};
};
// The numbers of sliding_window.h as kernels take them: int32, and 2-D. `kernel`: the weights' spatial extents; empty for pooling.
Lowered<Window> window_of(const Node& node, const Image& in, std::size_t spatial_rank,
                          std::span<const std::int64_t> kernel);

// The fields that every windowed kernel names alike.
template <typename Params>
void set_window(Params& params, const Image& in, const Image& out, const Window& window) {
  params.n = in.n;
  params.in_h = in.h;
  params.in_w = in.w;
  params.out_h = out.h;
  params.out_w = out.w;
  params.kernel_h = window.kernel[0];
  params.kernel_w = window.kernel[1];
  params.stride_h = window.stride[0];
  params.stride_w = window.stride[1];
  params.dilation_h = window.dilation[0];
  params.dilation_w = window.dilation[1];
  params.pad_top = window.pad_begin[0];
  params.pad_left = window.pad_begin[1];
}

}  // namespace bevel::ops
