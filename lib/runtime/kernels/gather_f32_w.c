/* gather_f32_w: rows of an int8, packed int4 or float16 table as float32. Semantics: bevel_kernels.h. */
#include "lib/runtime/kernels/bevel_gather_index.h"
#include "lib/runtime/kernels/bevel_kernel_common.h"
#include "lib/runtime/kernels/bevel_weight_rows.h"

BVL_LINKAGE void bvl_gather_f32_w(const void* params, const void* const* in, void* const* out, void* scratch,
                                  uint32_t begin, uint32_t end) {
  const bvl_gather_f32_w_params* p = (const bvl_gather_f32_w_params*)params;
  const int32_t row_bytes = bvl_weight_row_bytes(p->depth, p->bits), blocks = (p->depth + p->block - 1) / p->block;
  (void)scratch;
  for (int32_t at = (int32_t)begin; at < (int32_t)end; ++at) {
    const int32_t index = bvl_gather_index(in[1], p->index_bytes, at, p->extent);
    const uint8_t* row = (const uint8_t*)in[0] + index * row_bytes;
    const float* scale = (const float*)in[2] + (p->row_scales ? index * blocks : 0);
    float* y = (float*)out[0] + at * p->depth;
    int32_t rest = p->block;
    for (int32_t k = 0; k < p->depth; ++k, --rest) {
      if (rest == 0) ++scale, rest = p->block;
      y[k] = bvl_weight_at(row, k, p->bits) * *scale;
    }
  }
}

#ifndef BVL_EMITTED
#include "lib/runtime/kernels/bevel_kernel_check.h"

uint64_t bvl_gather_f32_w_scratch(const void* params) {
  (void)params;
  return 0;
}

int bvl_gather_f32_w_check(const void* params, const bvl_step* step, const bvl_tensor* const* in,
                           const bvl_tensor* const* out) {
  const bvl_gather_f32_w_params* p = (const bvl_gather_f32_w_params*)params;
  if (p->depth <= 0 || p->block <= 0 || p->block > BVL_MAX_ELEMENTS || p->depth > BVL_MAX_ELEMENTS) return 0;
  const int64_t blocks = ((int64_t)p->depth + p->block - 1) / p->block;
  return bvl_counts_ok(step, 3, 1, p->count) && bvl_weight_rows_ok(in[0], p->bits, p->extent, p->depth) &&
         bvl_indices_ok(in[1], p->index_bytes, p->count) &&
         bvl_f32_ok(in[2], p->row_scales ? bvl_times(p->extent, blocks) : blocks) &&
         bvl_f32_ok(out[0], bvl_times(p->count, p->depth));
}
#endif
