/* avg_pool_f32: the sum of the taps inside the image, in order, divided by the count. Semantics: bevel_kernels.h. */
#include "lib/runtime/kernels/bevel_kernel_common.h"

BVL_LINKAGE void bvl_avg_pool_f32(const void* params, const void* const* in, void* const* out, void* scratch,
                                  uint32_t begin, uint32_t end) {
  const bvl_avg_pool_f32_params* p = (const bvl_avg_pool_f32_params*)params;
  (void)scratch;
  for (int32_t row = (int32_t)begin; row < (int32_t)end; ++row) {
    const float* image = (const float*)in[0] + (row / p->out_h) * p->in_h * p->in_w * p->c;
    float* y = (float*)out[0] + row * p->out_w * p->c;
    const int32_t y0 = (row % p->out_h) * p->stride_h - p->pad_top;
    const int32_t ky0 = bvl_first_tap(y0, p->dilation_h);
    const int32_t ky1 = bvl_end_tap(y0, p->dilation_h, p->kernel_h, p->in_h);
    const int32_t rows = p->count_padding ? bvl_end_tap(y0, p->dilation_h, p->kernel_h, p->in_h + p->pad_bottom)
                                          : ky1 - ky0;
    for (int32_t ox = 0; ox < p->out_w; ++ox, y += p->c) {
      const int32_t x0 = ox * p->stride_w - p->pad_left;
      const int32_t kx0 = bvl_first_tap(x0, p->dilation_w);
      const int32_t kx1 = bvl_end_tap(x0, p->dilation_w, p->kernel_w, p->in_w);
      const int32_t columns = p->count_padding ? bvl_end_tap(x0, p->dilation_w, p->kernel_w, p->in_w + p->pad_right)
                                               : kx1 - kx0;
      for (int32_t c = 0; c < p->c; ++c) {
        float acc = 0.0f;
        for (int32_t ky = ky0; ky < ky1; ++ky) {
          for (int32_t kx = kx0; kx < kx1; ++kx) {
            acc += image[((y0 + ky * p->dilation_h) * p->in_w + x0 + kx * p->dilation_w) * p->c + c];
          }
        }
        y[c] = acc / (float)(rows * columns);
      }
    }
  }
}

#ifndef BVL_EMITTED
#include "lib/runtime/kernels/bevel_kernel_check.h"

uint64_t bvl_avg_pool_f32_scratch(const void* params) {
  (void)params;
  return 0;
}

int bvl_avg_pool_f32_check(const void* params, const bvl_step* step, const bvl_tensor* const* in,
                           const bvl_tensor* const* out) {
  const bvl_avg_pool_f32_params* p = (const bvl_avg_pool_f32_params*)params;
  return bvl_counts_ok(step, 1, 1, bvl_times(p->n, p->out_h)) &&
         bvl_window_ok(p->in_h, p->out_h, p->kernel_h, p->stride_h, p->dilation_h, p->pad_top) &&
         bvl_window_ok(p->in_w, p->out_w, p->kernel_w, p->stride_w, p->dilation_w, p->pad_left) &&
         bvl_window_ok(p->in_h, 1, 1, 1, 1, p->pad_bottom) && bvl_window_ok(p->in_w, 1, 1, 1, 1, p->pad_right) &&
         bvl_window_counts_ok(p->kernel_h, p->pad_top, p->kernel_w, p->pad_left) &&
         bvl_f32_ok(in[0], bvl_times4(p->n, p->in_h, p->in_w, p->c)) &&
         bvl_f32_ok(out[0], bvl_times4(p->n, p->out_h, p->out_w, p->c));
}
#endif
