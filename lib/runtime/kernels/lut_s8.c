/* lut_s8: any pointwise function of an int8 value, requantization included. Semantics: bevel_kernels.h. */
#include "lib/runtime/kernels/bevel_kernel_common.h"

BVL_LINKAGE void bvl_lut_s8(const void* params, const void* const* in, void* const* out, void* scratch, uint32_t begin,
                            uint32_t end) {
  const bvl_lut_s8_params* p = (const bvl_lut_s8_params*)params;
  const int8_t* x = (const int8_t*)in[0];
  const int8_t* table = (const int8_t*)in[1] + 128;
  int8_t* y = (int8_t*)out[0];
  const int32_t last = bvl_min(p->count, (int32_t)end * 1024);
  (void)scratch;
  for (int32_t i = (int32_t)begin * 1024; i < last; ++i) y[i] = table[x[i]];
}

#ifndef BVL_EMITTED
#include "lib/runtime/kernels/bevel_kernel_check.h"

uint64_t bvl_lut_s8_scratch(const void* params) {
  (void)params;
  return 0;
}

int bvl_lut_s8_check(const void* params, const bvl_step* step, const bvl_tensor* const* in,
                     const bvl_tensor* const* out) {
  const bvl_lut_s8_params* p = (const bvl_lut_s8_params*)params;
  return bvl_counts_ok(step, 2, 1, bvl_blocks_of_1024(p->count)) && bvl_s8_ok(in[0], bvl_times(p->count, 1)) &&
         bvl_s8_ok(in[1], 256) && bvl_s8_ok(out[0], bvl_times(p->count, 1));
}
#endif
