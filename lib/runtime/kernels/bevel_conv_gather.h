/* im2col of one output pixel of conv2d_s8, into a patch of bevel_dot_s8.h. */
#ifndef BEVEL_CONV_GATHER_H
#define BEVEL_CONV_GATHER_H

#include "lib/runtime/kernels/bevel_dot_s8.h"

/* Gathers one output pixel's window of one group; what lies in the padding is the input's zero point. */
static inline void bvl_conv_gather(const bvl_conv2d_s8_params* p, const int8_t* image, int32_t oy, int32_t ox,
                                   int32_t first_channel, int32_t channels, void* patch) {
  const int32_t y0 = oy * p->stride_h - p->pad_top, x0 = ox * p->stride_w - p->pad_left;
  const int32_t kx0 = bvl_first_tap(x0, p->dilation_w);
  const int32_t kx1 = bvl_end_tap(x0, p->dilation_w, p->kernel_w, p->in_w);
  const int whole_rows = p->dilation_w == 1 && channels == p->in_c;
  const int32_t row = p->kernel_w * channels;
  int32_t at = 0;
  for (int32_t ky = 0; ky < p->kernel_h; ++ky, at += row) {
    const int32_t y = y0 + ky * p->dilation_h;
    if (y < 0 || y >= p->in_h || kx1 <= kx0) {
      bvl_patch_put(patch, at, NULL, row, p->in_zp);
      continue;
    }
    const int8_t* line = image + (y * p->in_w) * p->in_c + first_channel;
    const int32_t left = kx0 * channels, right = kx1 * channels;
    if (left > 0) bvl_patch_put(patch, at, NULL, left, p->in_zp);
    if (whole_rows) {
      bvl_patch_put(patch, at + left, line + (x0 + kx0) * channels, right - left, 0);
    } else {
      for (int32_t kx = kx0; kx < kx1; ++kx) {
        bvl_patch_put(patch, at + kx * channels, line + (x0 + kx * p->dilation_w) * p->in_c, channels, 0);
      }
    }
    if (right < row) bvl_patch_put(patch, at + right, NULL, row - right, p->in_zp);
  }
}

#endif
