/* conv2d_f32_w: four output channels at a time, each its own sum in the stated order; padding is skipped. Semantics:
 * bevel_kernels.h. */
#include "lib/runtime/kernels/bevel_kernel_common.h"
#include "lib/runtime/kernels/bevel_weight_rows.h"

BVL_LINKAGE void bvl_conv2d_f32_w(const void* params, const void* const* in, void* const* out, void* scratch,
                                  uint32_t begin, uint32_t end) {
  const bvl_conv2d_f32_w_params* p = (const bvl_conv2d_f32_w_params*)params;
  const uint8_t* weights = (const uint8_t*)in[1];
  const float* scales = (const float*)in[2];
  const float* bias = (const float*)in[3];
  const int32_t in_group = p->in_c / p->groups, out_group = p->out_c / p->groups, bits = p->bits;
  const int32_t row_bytes = bvl_weight_row_bytes(p->kernel_h * p->kernel_w * in_group, bits);
  (void)scratch;
  for (int32_t row = (int32_t)begin; row < (int32_t)end; ++row) {
    const float* image = (const float*)in[0] + (row / p->out_h) * p->in_h * p->in_w * p->in_c;
    float* y = (float*)out[0] + row * p->out_w * p->out_c;
    const int32_t y0 = (row % p->out_h) * p->stride_h - p->pad_top;
    const int32_t ky0 = bvl_first_tap(y0, p->dilation_h);
    const int32_t ky1 = bvl_end_tap(y0, p->dilation_h, p->kernel_h, p->in_h);
    for (int32_t ox = 0; ox < p->out_w; ++ox, y += p->out_c) {
      const int32_t x0 = ox * p->stride_w - p->pad_left;
      const int32_t kx0 = bvl_first_tap(x0, p->dilation_w);
      const int32_t kx1 = bvl_end_tap(x0, p->dilation_w, p->kernel_w, p->in_w);
      for (int32_t channel = 0; channel < p->out_c;) {
        const int32_t group = channel / out_group;
        const int32_t count = bvl_min(4, (group + 1) * out_group - channel);
        const uint8_t* w[4];
        float acc[4] = {0.0f, 0.0f, 0.0f, 0.0f};
        for (int32_t i = 0; i < 4; ++i) w[i] = weights + (channel + bvl_min(i, count - 1)) * row_bytes;
        for (int32_t ky = ky0; ky < ky1; ++ky) {
          for (int32_t kx = kx0; kx < kx1; ++kx) {
            const float* x = image + ((y0 + ky * p->dilation_h) * p->in_w + x0 + kx * p->dilation_w) * p->in_c +
                             group * in_group;
            const int32_t at = (ky * p->kernel_w + kx) * in_group;
            for (int32_t c = 0; c < in_group; ++c) {
              const float value = x[c];
              acc[0] += value * bvl_weight_at(w[0], at + c, bits);
              acc[1] += value * bvl_weight_at(w[1], at + c, bits);
              acc[2] += value * bvl_weight_at(w[2], at + c, bits);
              acc[3] += value * bvl_weight_at(w[3], at + c, bits);
            }
          }
        }
        for (int32_t i = 0; i < count; ++i) {
          const float sum = bias[channel + i] + bvl_product(acc[i], scales[channel + i]);
          const float v = sum < p->low ? p->low : sum;
          y[channel + i] = v > p->high ? p->high : v;
        }
        channel += count;
      }
    }
  }
}

#ifndef BVL_EMITTED
#include "lib/runtime/kernels/bevel_kernel_check.h"

uint64_t bvl_conv2d_f32_w_scratch(const void* params) {
  (void)params;
  return 0;
}

int bvl_conv2d_f32_w_check(const void* params, const bvl_step* step, const bvl_tensor* const* in,
                           const bvl_tensor* const* out) {
  const bvl_conv2d_f32_w_params* p = (const bvl_conv2d_f32_w_params*)params;
  return bvl_counts_ok(step, 4, 1, bvl_times(p->n, p->out_h)) && p->groups > 0 && p->in_c > 0 && p->out_c > 0 &&
         p->in_c % p->groups == 0 && p->out_c % p->groups == 0 &&
         bvl_window_ok(p->in_h, p->out_h, p->kernel_h, p->stride_h, p->dilation_h, p->pad_top) &&
         bvl_window_ok(p->in_w, p->out_w, p->kernel_w, p->stride_w, p->dilation_w, p->pad_left) &&
         bvl_f32_ok(in[0], bvl_times4(p->n, p->in_h, p->in_w, p->in_c)) &&
         bvl_weight_rows_ok(in[1], p->bits, p->out_c, bvl_times4(p->kernel_h, p->kernel_w, p->in_c / p->groups, 1)) &&
         bvl_f32_ok(in[2], p->out_c) && bvl_f32_ok(in[3], p->out_c) &&
         bvl_f32_ok(out[0], bvl_times4(p->n, p->out_h, p->out_w, p->out_c));
}
#endif
