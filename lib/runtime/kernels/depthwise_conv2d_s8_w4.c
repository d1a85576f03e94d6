/* depthwise_conv2d_s8_w4, portable and Arm DSP: as depthwise_conv2d_s8, with packed int4 weights, a block of eight channels at a time.
 *
 * Scratch holds 16 * in_zp * sum(weights of c): taps inside the image add (x - in_zp) * 16 * w. Semantics: bevel_kernels.h. */
#include "lib/runtime/kernels/bevel_dot_w4.h"
#include "lib/runtime/kernels/bevel_kernel_common.h"

/* Sixteen times the weight of channel c in a tap's row. */
static inline int32_t bvl_channel_w4(const uint8_t* row, int32_t c) {
  const uint8_t byte = row[c / 8 * 4 + (c & 3)];
  return (c & 4) ? bvl_high_w4(byte) : bvl_low_w4(byte);
}

BVL_LINKAGE void bvl_depthwise_conv2d_s8_w4(const void* params, const void* const* in, void* const* out, void* scratch,
                                            uint32_t begin, uint32_t end) {
  const bvl_depthwise_conv2d_s8_w4_params* p = (const bvl_depthwise_conv2d_s8_w4_params*)params;
  const uint8_t* weights = (const uint8_t*)in[1];
  const int32_t* bias = (const int32_t*)in[2];
  const float* multipliers = (const float*)in[3];
  uint32_t* base = (uint32_t*)scratch;
  const int32_t channels = p->out_c, in_c = p->in_c, per_input = p->out_c / p->in_c, zp = p->in_zp;
  const int32_t tap_bytes = bvl_padded_w4(channels) / 2;
  const bvl_output_range output = bvl_make_output_range(p->out_zp, p->low, p->high);
  for (int32_t c = 0; c < channels; ++c) {
    uint32_t sum = 0;
    for (int32_t tap = 0; tap < p->kernel_h * p->kernel_w; ++tap) sum = bvl_mac(sum, zp, bvl_channel_w4(weights + tap * tap_bytes, c));
    base[c] = sum;
  }
  const int32_t x_step = p->dilation_w * in_c;
  const int32_t blocks = per_input == 1 ? channels & ~7 : 0; /* channels that go eight at a time */
#if BVL_ARM_DSP
  const uint32_t minus_zp = ((uint32_t)-zp & 0xffffu) * 0x10001u;
#endif
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
      for (int32_t c = 0; c < blocks; c += 8) {
        uint32_t acc[8];
        for (int32_t j = 0; j < 8; ++j) acc[j] = base[c + j];
        for (int32_t ky = ky0; ky < ky0 + tap_rows; ++ky) {
          const uint8_t* w = weights + (ky * p->kernel_w + kx0) * tap_bytes + c / 2;
          const int8_t* x = image + ((y0 + ky * p->dilation_h) * p->in_w + x0 + kx0 * p->dilation_w) * in_c + c;
          for (int32_t count = columns; count > 0; --count) {
#if BVL_ARM_DSP
            const uint32_t word = bvl_load_w4(w), low = bvl_low_bytes_w4(word), high = bvl_high_bytes_w4(word);
            const uint32_t first = bvl_load4(x), second = bvl_load4(x + 4);
            const uint32_t x02 = bvl_add_bytes02(minus_zp, first), x13 = bvl_add_bytes13(minus_zp, first);
            const uint32_t x46 = bvl_add_bytes02(minus_zp, second), x57 = bvl_add_bytes13(minus_zp, second);
            const uint32_t w02 = bvl_bytes02(low), w13 = bvl_bytes13(low), w46 = bvl_bytes02(high), w57 = bvl_bytes13(high);
            acc[0] = bvl_smlabb(x02, w02, acc[0]);
            acc[1] = bvl_smlabb(x13, w13, acc[1]);
            acc[2] = bvl_smlatt(x02, w02, acc[2]);
            acc[3] = bvl_smlatt(x13, w13, acc[3]);
            acc[4] = bvl_smlabb(x46, w46, acc[4]);
            acc[5] = bvl_smlabb(x57, w57, acc[5]);
            acc[6] = bvl_smlatt(x46, w46, acc[6]);
            acc[7] = bvl_smlatt(x57, w57, acc[7]);
#else
            for (int32_t j = 0; j < 4; ++j) {
              acc[j] = bvl_mac(acc[j], x[j] - zp, bvl_low_w4(w[j]));
              acc[j + 4] = bvl_mac(acc[j + 4], x[j + 4] - zp, bvl_high_w4(w[j]));
            }
#endif
            x += x_step;
            w += tap_bytes;
          }
        }
        for (int32_t j = 0; j < 8; ++j) y[c + j] = bvl_requantize(bvl_sum_w4(bias[c + j], acc[j]), multipliers[c + j], &output);
      }
      for (int32_t c = blocks; c < channels; ++c) {
        uint32_t acc = base[c];
        const int32_t channel = c / per_input;
        for (int32_t ky = ky0; ky < ky0 + tap_rows; ++ky) {
          const uint8_t* w = weights + (ky * p->kernel_w + kx0) * tap_bytes;
          const int8_t* x = image + ((y0 + ky * p->dilation_h) * p->in_w + x0 + kx0 * p->dilation_w) * in_c + channel;
          for (int32_t count = columns; count > 0; --count) {
            acc = bvl_mac(acc, *x - zp, bvl_channel_w4(w, c));
            x += x_step;
            w += tap_bytes;
          }
        }
        y[c] = bvl_requantize(bvl_sum_w4(bias[c], acc), multipliers[c], &output);
      }
    }
  }
}

#ifndef BVL_EMITTED
#include "lib/runtime/kernels/bevel_kernel_check.h"

uint64_t bvl_depthwise_conv2d_s8_w4_scratch(const void* params) {
  const bvl_depthwise_conv2d_s8_w4_params* p = (const bvl_depthwise_conv2d_s8_w4_params*)params;
  return 4 * (uint64_t)(uint32_t)p->out_c;
}

int bvl_depthwise_conv2d_s8_w4_check(const void* params, const bvl_step* step, const bvl_tensor* const* in,
                                     const bvl_tensor* const* out) {
  const bvl_depthwise_conv2d_s8_w4_params* p = (const bvl_depthwise_conv2d_s8_w4_params*)params;
  return bvl_counts_ok(step, 4, 1, bvl_times(p->n, p->out_h)) && p->in_c > 0 && p->groups == p->in_c &&
         p->out_c > 0 && p->out_c % p->in_c == 0 &&
         bvl_window_ok(p->in_h, p->out_h, p->kernel_h, p->stride_h, p->dilation_h, p->pad_top) &&
         bvl_window_ok(p->in_w, p->out_w, p->kernel_w, p->stride_w, p->dilation_w, p->pad_left) &&
         bvl_is_s8(p->in_zp) && bvl_bounds_ok(p->out_zp, p->low, p->high) &&
         bvl_s8_ok(in[0], bvl_times4(p->n, p->in_h, p->in_w, p->in_c)) &&
         bvl_w4_ok(in[1], bvl_times(p->kernel_h, p->kernel_w), p->out_c) && bvl_s32_ok(in[2], p->out_c) &&
         bvl_f32_ok(in[3], p->out_c) && bvl_s8_ok(out[0], bvl_times4(p->n, p->out_h, p->out_w, p->out_c)) &&
         bvl_times(p->dilation_w, p->in_c) > 0 && bvl_times4(p->dilation_h, p->in_w, p->in_c, 1) > 0 &&
         step->scratch_bytes >= bvl_depthwise_conv2d_s8_w4_scratch(params);
}
#endif
