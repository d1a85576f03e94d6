/* depthwise_conv2d_s8, portable and Arm DSP: a pixel's taps inside the image, four channels at a time.
 *
 * Taps in the padding read the zero point; instead of visiting them, scratch holds bias[c] + in_zp * sum(weights of c), the
 * bias with the zero point taken out again, and the taps inside add (x - in_zp) * w. Semantics: bevel_kernels.h. */
#include "lib/runtime/kernels/bevel_dot_s8.h"
#include "lib/runtime/kernels/bevel_kernel_common.h"

BVL_LINKAGE void bvl_depthwise_conv2d_s8(const void* params, const void* const* in, void* const* out, void* scratch,
                                         uint32_t begin, uint32_t end) {
  const bvl_depthwise_conv2d_s8_params* p = (const bvl_depthwise_conv2d_s8_params*)params;
  const int8_t* weights = (const int8_t*)in[1];
  const int32_t* bias = (const int32_t*)in[2];
  const float* multipliers = (const float*)in[3];
  uint32_t* base = (uint32_t*)scratch;
  const int32_t channels = p->out_c, in_c = p->in_c, per_input = p->out_c / p->in_c, zp = p->in_zp;
  const bvl_output_range output = bvl_make_output_range(p->out_zp, p->low, p->high);
  for (int32_t c = 0; c < channels; ++c) base[c] = (uint32_t)bias[c];
  for (int32_t tap = 0; tap < p->kernel_h * p->kernel_w; ++tap) {
    for (int32_t c = 0; c < channels; ++c) base[c] = bvl_mac(base[c], zp, weights[tap * channels + c]);
  }
  const int32_t x_step = p->dilation_w * in_c;
  const int32_t blocks = per_input == 1 ? channels & ~3 : 0; /* channels that go four at a time */
  for (int32_t row = (int32_t)begin; row < (int32_t)end; ++row) {
    const int8_t* image = (const int8_t*)in[0] + (row / p->out_h) * p->in_h * p->in_w * in_c;
    int8_t* y = (int8_t*)out[0] + row * p->out_w * channels;
    const int32_t y0 = (row % p->out_h) * p->stride_h - p->pad_top;
    const int32_t ky0 = bvl_first_tap(y0, p->dilation_h);
    const int32_t ky1 = bvl_end_tap(y0, p->dilation_h, p->kernel_h, p->in_h);
    for (int32_t ox = 0; ox < p->out_w; ++ox, y += channels) {
      const int32_t x0 = ox * p->stride_w - p->pad_left;
      const int32_t kx0 = bvl_first_tap(x0, p->dilation_w);
      const int32_t kx1 = bvl_end_tap(x0, p->dilation_w, p->kernel_w, p->in_w);
      const int32_t columns = bvl_max(kx1 - kx0, 0);
      const int32_t tap_rows = columns > 0 ? bvl_max(ky1 - ky0, 0) : 0;
      if (blocks > 0) {
        /* The first tap inside, for channel 0; and from a row's end to the next row. */
        const int32_t w_at = tap_rows > 0 ? (ky0 * p->kernel_w + kx0) * channels : 0;
        const int32_t x_at = tap_rows > 0 ? ((y0 + ky0 * p->dilation_h) * p->in_w + x0 + kx0 * p->dilation_w) * in_c : 0;
        const int32_t w_row = (p->kernel_w - columns) * channels;
        const int32_t x_row = p->dilation_h * p->in_w * in_c - columns * x_step;
#if BVL_ARM_DSP
        const uint32_t minus_zp = ((uint32_t)-zp & 0xffffu) * 0x10001u;
#endif
        for (int32_t c = 0; c < blocks; c += 4) {
          uint32_t a0 = base[c], a1 = base[c + 1], a2 = base[c + 2], a3 = base[c + 3];
          const int8_t *w = weights + w_at + c, *x = image + x_at + c;
          for (int32_t rows = tap_rows; rows > 0; --rows) {
            for (int32_t count = columns; count > 0; --count) {
#if BVL_ARM_DSP
              const uint32_t four_x = bvl_load4(x), four_w = bvl_load4(w);
              const uint32_t x02 = bvl_add_bytes02(minus_zp, four_x), x13 = bvl_add_bytes13(minus_zp, four_x);
              const uint32_t w02 = bvl_bytes02(four_w), w13 = bvl_bytes13(four_w);
              a0 = bvl_smlabb(x02, w02, a0);
              a1 = bvl_smlabb(x13, w13, a1);
              a2 = bvl_smlatt(x02, w02, a2);
              a3 = bvl_smlatt(x13, w13, a3);
#else
              a0 = bvl_mac(a0, x[0] - zp, w[0]);
              a1 = bvl_mac(a1, x[1] - zp, w[1]);
              a2 = bvl_mac(a2, x[2] - zp, w[2]);
              a3 = bvl_mac(a3, x[3] - zp, w[3]);
#endif
              x += x_step;
              w += channels;
            }
            x += x_row;
            w += w_row;
          }
          y[c] = bvl_requantize(a0, multipliers[c], &output);
          y[c + 1] = bvl_requantize(a1, multipliers[c + 1], &output);
          y[c + 2] = bvl_requantize(a2, multipliers[c + 2], &output);
          y[c + 3] = bvl_requantize(a3, multipliers[c + 3], &output);
        }
      }
      for (int32_t c = blocks; c < channels; ++c) {
        uint32_t acc = base[c];
        const int32_t channel = c / per_input;
        for (int32_t ky = ky0; ky < ky0 + tap_rows; ++ky) {
          const int8_t* w = weights + (ky * p->kernel_w + kx0) * channels + c;
          const int8_t* x = image + ((y0 + ky * p->dilation_h) * p->in_w + x0 + kx0 * p->dilation_w) * in_c + channel;
          for (int32_t count = columns; count > 0; --count) {
            acc = bvl_mac(acc, *x - zp, *w);
            x += x_step;
            w += channels;
          }
        }
        y[c] = bvl_requantize(acc, multipliers[c], &output);
      }
    }
  }
}

#ifndef BVL_EMITTED
#include "lib/runtime/kernels/bevel_kernel_check.h"

uint64_t bvl_depthwise_conv2d_s8_scratch(const void* params) {
  const bvl_depthwise_conv2d_s8_params* p = (const bvl_depthwise_conv2d_s8_params*)params;
  return 4 * (uint64_t)(uint32_t)p->out_c;
}

int bvl_depthwise_conv2d_s8_check(const void* params, const bvl_step* step, const bvl_tensor* const* in,
                                  const bvl_tensor* const* out) {
  const bvl_depthwise_conv2d_s8_params* p = (const bvl_depthwise_conv2d_s8_params*)params;
  return bvl_counts_ok(step, 4, 1, bvl_times(p->n, p->out_h)) && p->in_c > 0 && p->groups == p->in_c &&
         p->out_c > 0 && p->out_c % p->in_c == 0 &&
         bvl_window_ok(p->in_h, p->out_h, p->kernel_h, p->stride_h, p->dilation_h, p->pad_top) &&
         bvl_window_ok(p->in_w, p->out_w, p->kernel_w, p->stride_w, p->dilation_w, p->pad_left) &&
         bvl_is_s8(p->in_zp) && bvl_bounds_ok(p->out_zp, p->low, p->high) &&
         bvl_s8_ok(in[0], bvl_times4(p->n, p->in_h, p->in_w, p->in_c)) &&
         bvl_s8_ok(in[1], bvl_times4(p->kernel_h, p->kernel_w, p->out_c, 1)) && bvl_s32_ok(in[2], p->out_c) &&
         bvl_f32_ok(in[3], p->out_c) && bvl_s8_ok(out[0], bvl_times4(p->n, p->out_h, p->out_w, p->out_c)) &&
         bvl_times(p->dilation_w, p->in_c) > 0 && bvl_times4(p->dilation_h, p->in_w, p->in_c, 1) > 0 && step->scratch_bytes >= bvl_depthwise_conv2d_s8_scratch(params);
}
#endif
