/* depthwise_conv2d_s16: a pixel's taps inside the image, four channels at a time; a row of taps is one run of 32-bit sums unless it
 * is longer than a run may be. Semantics: bevel_kernels.h. */
#include "lib/runtime/kernels/bevel_kernel_common.h"
#include "lib/runtime/kernels/bevel_s16.h"

BVL_LINKAGE void bvl_depthwise_conv2d_s16(const void* params, const void* const* in, void* const* out, void* scratch,
                                          uint32_t begin, uint32_t end) {
  const bvl_depthwise_conv2d_s16_params* p = (const bvl_depthwise_conv2d_s16_params*)params;
  const int8_t* weights = (const int8_t*)in[1];
  const int64_t* bias = (const int64_t*)in[2];
  const float* multipliers = (const float*)in[3];
  const int32_t channels = p->out_c, in_c = p->in_c, per_input = p->out_c / p->in_c;
  const float low = (float)p->low, high = (float)p->high;
  const int32_t x_step = p->dilation_w * in_c;
  const int narrow = p->kernel_h <= BVL_RUN_S16 / p->kernel_w; /* a whole window is one run */
  const int32_t blocks = per_input == 1 && narrow ? channels & ~3 : 0;
  (void)scratch;
  for (int32_t row = (int32_t)begin; row < (int32_t)end; ++row) {
    const int16_t* image = (const int16_t*)in[0] + (row / p->out_h) * p->in_h * p->in_w * in_c;
    int16_t* y = (int16_t*)out[0] + row * p->out_w * channels;
    const int32_t y0 = (row % p->out_h) * p->stride_h - p->pad_top;
    const int32_t ky0 = bvl_first_tap(y0, p->dilation_h);
    const int32_t ky1 = bvl_end_tap(y0, p->dilation_h, p->kernel_h, p->in_h);
    for (int32_t ox = 0; ox < p->out_w; ++ox, y += channels) {
      const int32_t x0 = ox * p->stride_w - p->pad_left;
      const int32_t kx0 = bvl_first_tap(x0, p->dilation_w);
      const int32_t kx1 = bvl_end_tap(x0, p->dilation_w, p->kernel_w, p->in_w);
      const int32_t columns = bvl_max(kx1 - kx0, 0);
      const int32_t tap_rows = columns > 0 ? bvl_max(ky1 - ky0, 0) : 0;
      for (int32_t c = 0; c < blocks; c += 4) {
        uint32_t a0 = 0, a1 = 0, a2 = 0, a3 = 0;
        for (int32_t ky = ky0; ky < ky0 + tap_rows; ++ky) {
          const int8_t* w = weights + (ky * p->kernel_w + kx0) * channels + c;
          const int16_t* x = image + ((y0 + ky * p->dilation_h) * p->in_w + x0 + kx0 * p->dilation_w) * in_c + c;
          for (int32_t count = columns; count > 0; --count) {
            a0 = bvl_mac(a0, x[0], w[0]);
            a1 = bvl_mac(a1, x[1], w[1]);
            a2 = bvl_mac(a2, x[2], w[2]);
            a3 = bvl_mac(a3, x[3], w[3]);
            x += x_step;
            w += channels;
          }
        }
        y[c] = bvl_requantize_s16(bvl_bias_s16(bias[c]) + (int32_t)a0, multipliers[c], low, high);
        y[c + 1] = bvl_requantize_s16(bvl_bias_s16(bias[c + 1]) + (int32_t)a1, multipliers[c + 1], low, high);
        y[c + 2] = bvl_requantize_s16(bvl_bias_s16(bias[c + 2]) + (int32_t)a2, multipliers[c + 2], low, high);
        y[c + 3] = bvl_requantize_s16(bvl_bias_s16(bias[c + 3]) + (int32_t)a3, multipliers[c + 3], low, high);
      }
      for (int32_t c = blocks; c < channels; ++c) {
        int64_t acc = bvl_bias_s16(bias[c]);
        const int32_t channel = c / per_input;
        for (int32_t ky = ky0; ky < ky0 + tap_rows; ++ky) {
          const int8_t* w = weights + (ky * p->kernel_w + kx0) * channels + c;
          const int16_t* x = image + ((y0 + ky * p->dilation_h) * p->in_w + x0 + kx0 * p->dilation_w) * in_c + channel;
          for (int32_t count = columns; count > 0; --count) {
            acc += (int32_t)*x * *w;
            x += x_step;
            w += channels;
          }
        }
        y[c] = bvl_requantize_s16(acc, multipliers[c], low, high);
      }
    }
  }
}

#ifndef BVL_EMITTED
#include "lib/runtime/kernels/bevel_kernel_check.h"

uint64_t bvl_depthwise_conv2d_s16_scratch(const void* params) {
  (void)params;
  return 0;
}

int bvl_depthwise_conv2d_s16_check(const void* params, const bvl_step* step, const bvl_tensor* const* in,
                                   const bvl_tensor* const* out) {
  const bvl_depthwise_conv2d_s16_params* p = (const bvl_depthwise_conv2d_s16_params*)params;
  return bvl_counts_ok(step, 4, 1, bvl_times(p->n, p->out_h)) && p->in_c > 0 && p->groups == p->in_c &&
         p->out_c > 0 && p->out_c % p->in_c == 0 &&
         bvl_window_ok(p->in_h, p->out_h, p->kernel_h, p->stride_h, p->dilation_h, p->pad_top) &&
         bvl_window_ok(p->in_w, p->out_w, p->kernel_w, p->stride_w, p->dilation_w, p->pad_left) &&
         bvl_bounds_s16_ok(p->low, p->high) && bvl_s16_ok(in[0], bvl_times4(p->n, p->in_h, p->in_w, p->in_c)) &&
         bvl_s8_ok(in[1], bvl_times4(p->kernel_h, p->kernel_w, p->out_c, 1)) && bvl_s64_ok(in[2], p->out_c) &&
         bvl_f32_ok(in[3], p->out_c) && bvl_s16_ok(out[0], bvl_times4(p->n, p->out_h, p->out_w, p->out_c)) &&
         bvl_times(p->dilation_w, p->in_c) > 0 && bvl_times4(p->dilation_h, p->in_w, p->in_c, 1) > 0;
}
#endif
