/* fill: one value in every element. Semantics: bevel_kernels.h. */
#include "lib/runtime/kernels/bevel_kernel_common.h"

BVL_LINKAGE void bvl_fill(const void* params, const void* const* in, void* const* out, void* scratch, uint32_t begin,
                          uint32_t end) {
  const bvl_fill_params* p = (const bvl_fill_params*)params;
  uint8_t* y = (uint8_t*)out[0];
  (void)in, (void)scratch;
  if (begin >= end) return;
  if (p->element_bytes == 1) {
    memset(y, p->bits & 0xff, (size_t)p->count);
    return;
  }
  for (int32_t i = 0; i < p->count; ++i) {
    uint32_t bits = (uint32_t)p->bits;
    for (int32_t byte = 0; byte < p->element_bytes; ++byte, bits >>= 8) *y++ = (uint8_t)bits;
  }
}

#ifndef BVL_EMITTED
#include "lib/runtime/kernels/bevel_kernel_check.h"

uint64_t bvl_fill_scratch(const void* params) {
  (void)params;
  return 0;
}

int bvl_fill_check(const void* params, const bvl_step* step, const bvl_tensor* const* in,
                   const bvl_tensor* const* out) {
  const bvl_fill_params* p = (const bvl_fill_params*)params;
  const int32_t size = p->element_bytes;
  (void)in;
  return bvl_counts_ok(step, 0, 1, 1) && (size == 1 || size == 2 || size == 4 || size == 8) &&
         bvl_times(p->count, size) > 0 && (uint64_t)bvl_times(p->count, size) <= out[0]->bytes;
}
#endif
