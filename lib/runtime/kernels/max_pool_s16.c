/* max_pool_s16: taps inside the image only. Semantics: bevel_kernels.h. */
#include "lib/runtime/kernels/bevel_kernel_common.h"

BVL_LINKAGE void bvl_max_pool_s16(const void* params, const void* const* in, void* const* out, void* scratch,
                                 uint32_t begin, uint32_t end) {
  const bvl_max_pool_s16_params* p = (const bvl_max_pool_s16_params*)params;
  (void)scratch;
  for (int32_t row = (int32_t)begin; row < (int32_t)end; ++row) {
    const int16_t* image = (const int16_t*)in[0] + (row / p->out_h) * p->in_h * p->in_w * p->c;
    int16_t* y = (int16_t*)out[0] + row * p->out_w * p->c;
    const int32_t y0 = (row % p->out_h) * p->stride_h - p->pad_top;
    const int32_t ky0 = bvl_first_tap(y0, p->dilation_h);
    const int32_t ky1 = bvl_end_tap(y0, p->dilation_h, p->kernel_h, p->in_h);
    for (int32_t ox = 0; ox < p->out_w; ++ox, y += p->c) {
      const int32_t x0 = ox * p->stride_w - p->pad_left;
      const int32_t kx0 = bvl_first_tap(x0, p->dilation_w);
      const int32_t kx1 = bvl_end_tap(x0, p->dilation_w, p->kernel_w, p->in_w);
      for (int32_t c = 0; c < p->c; ++c) y[c] = (int16_t)p->low;
      for (int32_t ky = ky0; ky < ky1; ++ky) {
        for (int32_t kx = kx0; kx < kx1; ++kx) {
          const int16_t* x = image + ((y0 + ky * p->dilation_h) * p->in_w + x0 + kx * p->dilation_w) * p->c;
          for (int32_t c = 0; c < p->c; ++c) y[c] = x[c] > y[c] ? x[c] : y[c];
        }
      }
      for (int32_t c = 0; c < p->c; ++c) y[c] = y[c] < p->high ? y[c] : (int16_t)p->high;
    }
  }
}

#ifndef BVL_EMITTED
#include "lib/runtime/kernels/bevel_kernel_check.h"

uint64_t bvl_max_pool_s16_scratch(const void* params) {
  (void)params;
  return 0;
}

int bvl_max_pool_s16_check(const void* params, const bvl_step* step, const bvl_tensor* const* in,
                          const bvl_tensor* const* out) {
  const bvl_max_pool_s16_params* p = (const bvl_max_pool_s16_params*)params;
  return bvl_counts_ok(step, 1, 1, bvl_times(p->n, p->out_h)) &&
         bvl_window_ok(p->in_h, p->out_h, p->kernel_h, p->stride_h, p->dilation_h, p->pad_top) &&
         bvl_window_ok(p->in_w, p->out_w, p->kernel_w, p->stride_w, p->dilation_w, p->pad_left) &&
         bvl_bounds_s16_ok(p->low, p->high) && bvl_s16_ok(in[0], bvl_times4(p->n, p->in_h, p->in_w, p->c)) &&
         bvl_s16_ok(out[0], bvl_times4(p->n, p->out_h, p->out_w, p->c));
}
#endif
