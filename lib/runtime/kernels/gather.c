/* gather: rows of bytes by index. Semantics: bevel_kernels.h. */
#include "lib/runtime/kernels/bevel_gather_index.h"
#include "lib/runtime/kernels/bevel_kernel_common.h"

BVL_LINKAGE void bvl_gather(const void* params, const void* const* in, void* const* out, void* scratch, uint32_t begin,
                            uint32_t end) {
  const bvl_gather_params* p = (const bvl_gather_params*)params;
  (void)scratch;
  for (int32_t row = (int32_t)begin; row < (int32_t)end; ++row) {
    const int32_t index = bvl_gather_index(in[1], p->index_bytes, row % p->count, p->extent);
    const uint8_t* from = (const uint8_t*)in[0] + (size_t)(row / p->count * p->extent + index) * (size_t)p->row_bytes;
    memcpy((uint8_t*)out[0] + (size_t)row * (size_t)p->row_bytes, from, (size_t)p->row_bytes);
  }
}

#ifndef BVL_EMITTED
#include "lib/runtime/kernels/bevel_kernel_check.h"

uint64_t bvl_gather_scratch(const void* params) {
  (void)params;
  return 0;
}

int bvl_gather_check(const void* params, const bvl_step* step, const bvl_tensor* const* in,
                     const bvl_tensor* const* out) {
  const bvl_gather_params* p = (const bvl_gather_params*)params;
  const int64_t table = bvl_times4(p->outer, p->extent, p->row_bytes, 1), rows = bvl_times(p->outer, p->count);
  return bvl_counts_ok(step, 2, 1, rows) && table > 0 && (uint64_t)table <= in[0]->bytes &&
         bvl_indices_ok(in[1], p->index_bytes, p->count) && bvl_times(rows, p->row_bytes) > 0 &&
         (uint64_t)bvl_times(rows, p->row_bytes) <= out[0]->bytes && in[0]->encoding == BVL_ENCODING_DENSE;
}
#endif
