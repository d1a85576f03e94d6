/* matmul_s8, portable and Arm DSP: four columns of b, gathered where they do not lie along k, meet all rows of their batch. Semantics:
 * bevel_kernels.h. */
#include "lib/runtime/kernels/bevel_dot_s8.h"
#include "lib/runtime/kernels/bevel_kernel_common.h"
#include "lib/runtime/kernels/bevel_matmul_s8.h"

BVL_LINKAGE void bvl_matmul_s8(const void* params, const void* const* in, void* const* out, void* scratch,
                               uint32_t begin, uint32_t end) {
  const bvl_matmul_s8_params* p = (const bvl_matmul_s8_params*)params;
  const bvl_output_range output = bvl_make_output_range(p->out_zp, p->low, p->high);
  uint32_t* row_sums = (uint32_t*)scratch;
  int8_t* gathered = (int8_t*)(row_sums + p->rows);
  for (int32_t unit = (int32_t)begin; unit < (int32_t)end;) {
    const int32_t batch = unit / p->rows, first = unit % p->rows, last = bvl_min(p->rows, first + (int32_t)end - unit);
    const int8_t* a = (const int8_t*)in[0] + bvl_batch_offset(batch, p->rank, p->dims, p->a_strides);
    const int8_t* b = (const int8_t*)in[1] + bvl_batch_offset(batch, p->rank, p->dims, p->b_strides);
    int8_t* y = (int8_t*)out[0] + batch * p->rows * p->out_c;
    for (int32_t row = first; row < last; ++row) row_sums[row] = bvl_row_sum(a + row * p->a_row, p->in_c);
    for (int32_t c = 0; c < p->out_c; c += 4) {
      const int8_t* columns[4];
      uint32_t start[4];
      bvl_columns(p, b, c, 4, gathered, columns, start);
      for (int32_t row = first; row < last; ++row) {
        uint32_t acc[4];
        const uint32_t shift = row_sums[row] * (uint32_t)p->b_zp;
        for (int32_t i = 0; i < 4; ++i) acc[i] = start[i] - shift;
        bvl_dot_1x4(a + row * p->a_row, columns, p->in_c, acc);
        for (int32_t i = 0; i < 4 && c + i < p->out_c; ++i) {
          y[row * p->out_c + c + i] = bvl_requantize(acc[i], p->multiplier, &output);
        }
      }
    }
    unit += last - first;
  }
}

#ifndef BVL_EMITTED
#include "lib/runtime/kernels/bevel_kernel_check.h"

/* A sum for each row, and four columns that do not lie along k. */
uint64_t bvl_matmul_s8_scratch(const void* params) {
  const bvl_matmul_s8_params* p = (const bvl_matmul_s8_params*)params;
  return 4 * (uint64_t)(uint32_t)p->rows + (p->b_step == 1 ? 0 : 4 * (uint64_t)(uint32_t)p->in_c);
}

/* The walk over batches, lines and k stays inside the operand. */
static int bvl_matrix_ok(const bvl_matmul_s8_params* p, const int32_t* batch_strides, int32_t lines, int32_t line_stride, int32_t step,
                         const bvl_tensor* tensor) {
  int32_t dims[BVL_MAX_RANK], strides[BVL_MAX_RANK];
  for (int32_t k = 0; k < p->rank; ++k) dims[k] = p->dims[k], strides[k] = batch_strides[k];
  dims[p->rank] = lines, strides[p->rank] = line_stride;
  dims[p->rank + 1] = p->in_c, strides[p->rank + 1] = step;
  return bvl_s8_ok(tensor, 1) && bvl_strides_ok(p->rank + 2, dims, strides, 0, (int64_t)tensor->bytes);
}

int bvl_matmul_s8_check(const void* params, const bvl_step* step, const bvl_tensor* const* in,
                        const bvl_tensor* const* out) {
  const bvl_matmul_s8_params* p = (const bvl_matmul_s8_params*)params;
  if (p->rank > BVL_MAX_RANK - 2 || bvl_times(p->rows, p->in_c) < 0 || p->out_c <= 0) return 0;
  const int64_t batches = bvl_dims_count(p->rank, p->dims);
  return batches > 0 && bvl_counts_ok(step, 2, 1, bvl_times(batches, p->rows)) && bvl_is_s8(p->a_zp) && bvl_is_s8(p->b_zp) &&
         bvl_bounds_ok(p->out_zp, p->low, p->high) && bvl_matrix_ok(p, p->a_strides, p->rows, p->a_row, 1, in[0]) &&
         bvl_matrix_ok(p, p->b_strides, p->out_c, p->b_column, p->b_step, in[1]) &&
         bvl_s8_ok(out[0], bvl_times4(batches, p->rows, p->out_c, 1)) && step->scratch_bytes >= bvl_matmul_s8_scratch(params);
}
#endif
