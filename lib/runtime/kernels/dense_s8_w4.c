/* dense_s8_w4, portable and Arm DSP: as dense_s8, with packed int4 weights. Semantics: bevel_kernels.h. */
#include "lib/runtime/kernels/bevel_dot_w4.h"
#include "lib/runtime/kernels/bevel_kernel_common.h"

BVL_LINKAGE void bvl_dense_s8_w4(const void* params, const void* const* in, void* const* out, void* scratch,
                                 uint32_t begin, uint32_t end) {
  const bvl_dense_s8_w4_params* p = (const bvl_dense_s8_w4_params*)params;
  const uint8_t* weights = (const uint8_t*)in[1];
  const int32_t* bias = (const int32_t*)in[2];
  const float* multipliers = (const float*)in[3];
  const int32_t row_bytes = bvl_padded_w4(p->in_c) / 2;
  const bvl_output_range output = bvl_make_output_range(p->out_zp, p->low, p->high);
  const int one_row = p->rows == 1;
  const int32_t first_row = one_row ? 0 : (int32_t)begin, end_row = one_row ? 1 : (int32_t)end;
  const int32_t first = one_row ? (int32_t)begin : 0, last = (one_row ? (int32_t)end : p->out_c) - 1;
  (void)scratch;
  for (int32_t row = first_row; row < end_row; ++row) {
    int8_t* y = (int8_t*)out[0] + row * p->out_c;
    for (int32_t c = first; c <= last; c += 4) {
      const uint8_t* w[4];
      uint32_t acc[4] = {0, 0, 0, 0};
      for (int32_t i = 0; i < 4; ++i) w[i] = weights + bvl_min(c + i, last) * row_bytes; /* past the end the last again */
      bvl_dot_1x4_w4((const int8_t*)in[0] + row * p->in_c, w, p->in_c, acc);
      for (int32_t i = 0; i < 4 && c + i <= last; ++i) {
        y[c + i] = bvl_requantize(bvl_sum_w4(bias[c + i], acc[i]), multipliers[c + i], &output);
      }
    }
  }
}

#ifndef BVL_EMITTED
#include "lib/runtime/kernels/bevel_kernel_check.h"

uint64_t bvl_dense_s8_w4_scratch(const void* params) {
  (void)params;
  return 0;
}

int bvl_dense_s8_w4_check(const void* params, const bvl_step* step, const bvl_tensor* const* in,
                          const bvl_tensor* const* out) {
  const bvl_dense_s8_w4_params* p = (const bvl_dense_s8_w4_params*)params;
  return bvl_counts_ok(step, 4, 1, p->rows == 1 ? p->out_c : p->rows) && bvl_is_s8(p->in_zp) &&
         bvl_bounds_ok(p->out_zp, p->low, p->high) && bvl_s8_ok(in[0], bvl_times(p->rows, p->in_c)) &&
         bvl_w4_ok(in[1], p->out_c, p->in_c) && bvl_s32_ok(in[2], p->out_c) && bvl_f32_ok(in[3], p->out_c) &&
         bvl_s8_ok(out[0], bvl_times(p->rows, p->out_c));
}
#endif
