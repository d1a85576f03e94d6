/* im2col of one output pixel of conv2d_s16, into a patch of bevel_s16.h. */
#ifndef BEVEL_CONV_GATHER_S16_H
#define BEVEL_CONV_GATHER_S16_H

#include "lib/runtime/kernels/bevel_s16.h"

/* Gathers one output pixel's window of one group; padding is 0. */
static inline void bvl_conv_gather_s16(const bvl_conv2d_s16_params* p, const int16_t* image, int32_t oy, int32_t ox,
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
      bvl_patch_put_s16(patch, at, NULL, row);
      continue;
    }
    const int16_t* line = image + (y * p->in_w) * p->in_c + first_channel;
    const int32_t left = kx0 * channels, right = kx1 * channels;
    if (left > 0) bvl_patch_put_s16(patch, at, NULL, left);
    if (whole_rows) {
      bvl_patch_put_s16(patch, at + left, line + (x0 + kx0) * channels, right - left);
    } else {
      for (int32_t kx = kx0; kx < kx1; ++kx) {
        bvl_patch_put_s16(patch, at + kx * channels, line + (x0 + kx * p->dilation_w) * p->in_c, channels);
      }
    }
    if (right < row) bvl_patch_put_s16(patch, at + right, NULL, row - right);
  }
}

#endif
