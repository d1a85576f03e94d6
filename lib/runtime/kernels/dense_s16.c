/* dense_s16, portable and Arm DSP: one row of x meets four output channels at a time. Semantics: bevel_kernels.h. */
#include "lib/runtime/kernels/bevel_kernel_common.h"
#include "lib/runtime/kernels/bevel_s16.h"

BVL_LINKAGE void bvl_dense_s16(const void* params, const void* const* in, void* const* out, void* scratch,
                               uint32_t begin, uint32_t end) {
  const bvl_dense_s16_params* p = (const bvl_dense_s16_params*)params;
  const int8_t* weights = (const int8_t*)in[1];
  const int64_t* bias = (const int64_t*)in[2];
  const float* multipliers = (const float*)in[3];
  const float low = (float)p->low, high = (float)p->high;
  const int one_row = p->rows == 1;
  const int32_t first_row = one_row ? 0 : (int32_t)begin, end_row = one_row ? 1 : (int32_t)end;
  const int32_t first = one_row ? (int32_t)begin : 0, last = (one_row ? (int32_t)end : p->out_c) - 1;
  (void)scratch;
  for (int32_t row = first_row; row < end_row; ++row) {
    const int16_t* x = (const int16_t*)in[0] + row * p->in_c;
    int16_t* y = (int16_t*)out[0] + row * p->out_c;
    for (int32_t c = first; c <= last; c += 4) {
      const int8_t* w[4];
      int64_t acc[4];
      for (int32_t i = 0; i < 4; ++i) { /* past the end the last channel is computed again */
        const int32_t channel = bvl_min(c + i, last);
        w[i] = weights + channel * p->in_c;
        acc[i] = bvl_bias_s16(bias[channel]);
      }
      for (int32_t k = 0; k < p->in_c; k += BVL_RUN_S16) {
        bvl_run_1x4_s16(x + k, w[0] + k, w[1] + k, w[2] + k, w[3] + k, bvl_min(BVL_RUN_S16, p->in_c - k), acc);
      }
      for (int32_t i = 0; i < 4 && c + i <= last; ++i) y[c + i] = bvl_requantize_s16(acc[i], multipliers[c + i], low, high);
    }
  }
}

#ifndef BVL_EMITTED
#include "lib/runtime/kernels/bevel_kernel_check.h"

uint64_t bvl_dense_s16_scratch(const void* params) {
  (void)params;
  return 0;
}

int bvl_dense_s16_check(const void* params, const bvl_step* step, const bvl_tensor* const* in,
                        const bvl_tensor* const* out) {
  const bvl_dense_s16_params* p = (const bvl_dense_s16_params*)params;
  return bvl_counts_ok(step, 4, 1, p->rows == 1 ? p->out_c : p->rows) && bvl_bounds_s16_ok(p->low, p->high) &&
         bvl_s16_ok(in[0], bvl_times(p->rows, p->in_c)) && bvl_s8_ok(in[1], bvl_times(p->out_c, p->in_c)) &&
         bvl_s64_ok(in[2], p->out_c) && bvl_f32_ok(in[3], p->out_c) && bvl_s16_ok(out[0], bvl_times(p->rows, p->out_c));
}
#endif
