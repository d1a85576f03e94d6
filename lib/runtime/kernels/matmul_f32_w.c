/* matmul_f32_w: four columns at a time, each its own sums in the stated order. Semantics: bevel_kernels.h. */
#include "lib/runtime/kernels/bevel_kernel_common.h"
#include "lib/runtime/kernels/bevel_weight_rows.h"

/* sums[i] += x * row i over [first, last), in order. */
static inline void bvl_sums_of_weights(const float* x, const uint8_t* const w[4], int32_t first, int32_t last, int32_t bits,
                                       float sums[4]) {
  float a0 = sums[0], a1 = sums[1], a2 = sums[2], a3 = sums[3];
  for (int32_t k = first; k < last; ++k) {
    const float value = x[k];
    a0 += value * bvl_weight_at(w[0], k, bits);
    a1 += value * bvl_weight_at(w[1], k, bits);
    a2 += value * bvl_weight_at(w[2], k, bits);
    a3 += value * bvl_weight_at(w[3], k, bits);
  }
  sums[0] = a0, sums[1] = a1, sums[2] = a2, sums[3] = a3;
}

BVL_LINKAGE void bvl_matmul_f32_w(const void* params, const void* const* in, void* const* out, void* scratch,
                                  uint32_t begin, uint32_t end) {
  const bvl_matmul_f32_w_params* p = (const bvl_matmul_f32_w_params*)params;
  const uint8_t* weights = (const uint8_t*)in[1];
  const float* scales = (const float*)in[2];
  const float* bias = (const float*)in[3];
  const int32_t row_bytes = bvl_weight_row_bytes(p->in_c, p->bits), blocks = (p->in_c + p->block - 1) / p->block;
  (void)scratch;
  for (int32_t row = (int32_t)begin; row < (int32_t)end; ++row) {
    const float* x = (const float*)in[0] + row * p->in_c;
    float* y = (float*)out[0] + row * p->out_c;
    for (int32_t column = 0; column < p->out_c; column += 4) {
      const int32_t count = bvl_min(4, p->out_c - column);
      const uint8_t* w[4];
      const float* scale[4];
      float total[4];
      for (int32_t i = 0; i < 4; ++i) { /* past the end the last column is computed again */
        const int32_t c = column + bvl_min(i, count - 1);
        w[i] = weights + c * row_bytes;
        scale[i] = scales + c * blocks;
        total[i] = bias[c];
      }
      for (int32_t block = 0; block < blocks; ++block) {
        const int32_t first = block * p->block, last = p->in_c - first < p->block ? p->in_c : first + p->block;
        float sums[4] = {0.0f, 0.0f, 0.0f, 0.0f};
        if (p->bits == 8) bvl_sums_of_weights(x, w, first, last, 8, sums);
        else if (p->bits == 4) bvl_sums_of_weights(x, w, first, last, 4, sums);
        else bvl_sums_of_weights(x, w, first, last, 16, sums);
        for (int32_t i = 0; i < 4; ++i) total[i] += bvl_product(sums[i], scale[i][block]);
      }
      for (int32_t i = 0; i < count; ++i) {
        const float v = total[i] < p->low ? p->low : total[i];
        y[column + i] = v > p->high ? p->high : v;
      }
    }
  }
}

#ifndef BVL_EMITTED
#include "lib/runtime/kernels/bevel_kernel_check.h"

uint64_t bvl_matmul_f32_w_scratch(const void* params) {
  (void)params;
  return 0;
}

int bvl_matmul_f32_w_check(const void* params, const bvl_step* step, const bvl_tensor* const* in,
                           const bvl_tensor* const* out) {
  const bvl_matmul_f32_w_params* p = (const bvl_matmul_f32_w_params*)params;
  if (p->in_c <= 0 || p->block <= 0 || p->block > BVL_MAX_ELEMENTS || p->in_c > BVL_MAX_ELEMENTS) return 0;
  const int64_t blocks = ((int64_t)p->in_c + p->block - 1) / p->block;
  return bvl_counts_ok(step, 4, 1, p->rows) && bvl_f32_ok(in[0], bvl_times(p->rows, p->in_c)) &&
         bvl_weight_rows_ok(in[1], p->bits, p->out_c, p->in_c) && bvl_f32_ok(in[2], bvl_times(p->out_c, blocks)) &&
         bvl_f32_ok(in[3], p->out_c) && bvl_f32_ok(out[0], bvl_times(p->rows, p->out_c));
}
#endif
