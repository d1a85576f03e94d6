/* avg_pool_s16, global pooling included. Semantics: bevel_kernels.h. */
#include "lib/runtime/kernels/bevel_kernel_common.h"

BVL_LINKAGE void bvl_avg_pool_s16(const void* params, const void* const* in, void* const* out, void* scratch,
                                  uint32_t begin, uint32_t end) {
  const bvl_avg_pool_s16_params* p = (const bvl_avg_pool_s16_params*)params;
  const float low = (float)p->low, high = (float)p->high;
  const int32_t channels = p->c;
  (void)scratch;
  for (int32_t row = (int32_t)begin; row < (int32_t)end; ++row) {
    const int16_t* image = (const int16_t*)in[0] + (row / p->out_h) * p->in_h * p->in_w * channels;
    int16_t* y = (int16_t*)out[0] + row * p->out_w * channels;
    const int32_t y0 = (row % p->out_h) * p->stride_h - p->pad_top;
    const int32_t ky0 = bvl_first_tap(y0, p->dilation_h);
    const int32_t ky1 = bvl_end_tap(y0, p->dilation_h, p->kernel_h, p->in_h);
    const int32_t rows = p->count_padding ? bvl_end_tap(y0, p->dilation_h, p->kernel_h, p->in_h + p->pad_bottom)
                                          : ky1 - ky0;
    for (int32_t ox = 0; ox < p->out_w; ++ox, y += channels) {
      const int32_t x0 = ox * p->stride_w - p->pad_left;
      const int32_t kx0 = bvl_first_tap(x0, p->dilation_w);
      const int32_t kx1 = bvl_end_tap(x0, p->dilation_w, p->kernel_w, p->in_w);
      const int32_t columns = p->count_padding ? bvl_end_tap(x0, p->dilation_w, p->kernel_w, p->in_w + p->pad_right)
                                               : kx1 - kx0;
      const float multiplier = p->in_scale / (p->out_scale * (float)(rows * columns));
      const int32_t columns_inside = bvl_max(kx1 - kx0, 0), rows_inside = columns_inside > 0 ? bvl_max(ky1 - ky0, 0) : 0;
      for (int32_t c = 0; c < channels; ++c) {
        uint32_t acc = 0;
        for (int32_t ky = ky0; ky < ky0 + rows_inside; ++ky) {
          const int16_t* x = image + ((y0 + ky * p->dilation_h) * p->in_w + x0 + kx0 * p->dilation_w) * channels + c;
          for (int32_t count = columns_inside; count > 0; --count) {
            acc = bvl_mac(acc, *x, 1);
            x += p->dilation_w * channels;
          }
        }
        y[c] = (int16_t)bvl_round_clamp((float)(int32_t)acc * multiplier, low, high);
      }
    }
  }
}

#ifndef BVL_EMITTED
#include "lib/runtime/kernels/bevel_kernel_check.h"

uint64_t bvl_avg_pool_s16_scratch(const void* params) {
  (void)params;
  return 0;
}

int bvl_avg_pool_s16_check(const void* params, const bvl_step* step, const bvl_tensor* const* in,
                           const bvl_tensor* const* out) {
  const bvl_avg_pool_s16_params* p = (const bvl_avg_pool_s16_params*)params;
  return bvl_counts_ok(step, 1, 1, bvl_times(p->n, p->out_h)) &&
         bvl_window_ok(p->in_h, p->out_h, p->kernel_h, p->stride_h, p->dilation_h, p->pad_top) &&
         bvl_window_ok(p->in_w, p->out_w, p->kernel_w, p->stride_w, p->dilation_w, p->pad_left) &&
         bvl_window_ok(p->in_h, 1, 1, 1, 1, p->pad_bottom) && bvl_window_ok(p->in_w, 1, 1, 1, 1, p->pad_right) &&
         bvl_window_counts_ok(p->kernel_h, p->pad_top, p->kernel_w, p->pad_left) && bvl_times(p->dilation_w, p->c) > 0 &&
         bvl_bounds_s16_ok(p->low, p->high) && bvl_s16_ok(in[0], bvl_times4(p->n, p->in_h, p->in_w, p->c)) &&
         bvl_s16_ok(out[0], bvl_times4(p->n, p->out_h, p->out_w, p->c));
}
#endif
