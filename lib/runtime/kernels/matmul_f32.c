/* matmul_f32: columns of the result in blocks, each its own sum in the stated order. Semantics: bevel_kernels.h. */
#include "lib/runtime/kernels/bevel_kernel_common.h"

#define BVL_MATMUL_COLUMNS 8

BVL_LINKAGE void bvl_matmul_f32(const void* params, const void* const* in, void* const* out, void* scratch,
                                uint32_t begin, uint32_t end) {
  const bvl_matmul_f32_params* p = (const bvl_matmul_f32_params*)params;
  const float* bias = p->has_bias ? (const float*)in[2] : NULL;
  const int32_t step = p->b_transposed ? 1 : p->out_c, column_step = p->b_transposed ? p->in_c : 1;
  (void)scratch;
  for (int32_t row = (int32_t)begin; row < (int32_t)end; ++row) {
    const int32_t batch = row / p->rows;
    const float* a = (const float*)in[0] + batch * p->a_batch + (row % p->rows) * p->in_c;
    const float* b = (const float*)in[1] + batch * p->b_batch;
    float* y = (float*)out[0] + row * p->out_c;
    for (int32_t column = 0; column < p->out_c; column += BVL_MATMUL_COLUMNS) {
      const int32_t count = bvl_min(BVL_MATMUL_COLUMNS, p->out_c - column);
      float acc[BVL_MATMUL_COLUMNS];
      for (int32_t i = 0; i < count; ++i) acc[i] = bias ? bias[column + i] : 0.0f;
      if (!p->b_transposed && count == BVL_MATMUL_COLUMNS) { /* constant steps: vectors of columns */
        const float* line = b + column;
        for (int32_t k = 0; k < p->in_c; ++k, line += p->out_c) {
          for (int32_t i = 0; i < BVL_MATMUL_COLUMNS; ++i) acc[i] += a[k] * line[i];
        }
      } else {
        for (int32_t i = 0; i < count; ++i) {
          const float* line = b + (column + i) * column_step;
          for (int32_t k = 0; k < p->in_c; ++k) acc[i] += a[k] * line[k * step];
        }
      }
      for (int32_t i = 0; i < count; ++i) {
        const float v = acc[i] < p->low ? p->low : acc[i];
        y[column + i] = v > p->high ? p->high : v;
      }
    }
  }
}

#ifndef BVL_EMITTED
#include "lib/runtime/kernels/bevel_kernel_check.h"

uint64_t bvl_matmul_f32_scratch(const void* params) {
  (void)params;
  return 0;
}

int bvl_matmul_f32_check(const void* params, const bvl_step* step, const bvl_tensor* const* in,
                         const bvl_tensor* const* out) {
  const bvl_matmul_f32_params* p = (const bvl_matmul_f32_params*)params;
  const int64_t a_matrix = bvl_times(p->rows, p->in_c), b_matrix = bvl_times(p->in_c, p->out_c);
  if (p->batch <= 0 || p->a_batch < 0 || p->b_batch < 0 || a_matrix < 0 || b_matrix < 0) return 0;
  const int64_t a_count = (int64_t)(p->batch - 1) * p->a_batch + a_matrix;
  const int64_t b_count = (int64_t)(p->batch - 1) * p->b_batch + b_matrix;
  return bvl_counts_ok(step, p->has_bias ? 3 : 2, 1, bvl_times(p->batch, p->rows)) && a_count <= BVL_MAX_ELEMENTS &&
         b_count <= BVL_MAX_ELEMENTS && p->a_batch <= BVL_MAX_ELEMENTS && p->b_batch <= BVL_MAX_ELEMENTS &&
         bvl_f32_ok(in[0], a_count) && bvl_f32_ok(in[1], b_count) &&
         (!p->has_bias || bvl_f32_ok(in[2], p->out_c)) &&
         bvl_f32_ok(out[0], bvl_times4(p->batch, p->rows, p->out_c, 1));
}
#endif
