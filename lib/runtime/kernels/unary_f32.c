/* unary_f32: float activations and functions. Semantics: bevel_kernels.h. */
#include "lib/runtime/kernels/bevel_kernel_common.h"
#include "lib/runtime/kernels/bevel_unary.h"

BVL_LINKAGE void bvl_unary_f32(const void* params, const void* const* in, void* const* out, void* scratch,
                               uint32_t begin, uint32_t end) {
  const bvl_unary_f32_params* p = (const bvl_unary_f32_params*)params;
  const float* x = (const float*)in[0];
  float* y = (float*)out[0];
  const int32_t last = bvl_min(p->count, (int32_t)end * 1024);
  (void)scratch;
  for (int32_t i = (int32_t)begin * 1024; i < last; ++i) y[i] = bvl_unary_apply(p->op, x[i], p->alpha, p->beta);
}

#ifndef BVL_EMITTED
#include "lib/runtime/kernels/bevel_kernel_check.h"

uint64_t bvl_unary_f32_scratch(const void* params) {
  (void)params;
  return 0;
}

int bvl_unary_f32_check(const void* params, const bvl_step* step, const bvl_tensor* const* in,
                        const bvl_tensor* const* out) {
  const bvl_unary_f32_params* p = (const bvl_unary_f32_params*)params;
  return p->op >= 0 && p->op <= BVL_UNARY_CEIL && bvl_counts_ok(step, 1, 1, bvl_blocks_of_1024(p->count)) &&
         bvl_f32_ok(in[0], bvl_times(p->count, 1)) && bvl_f32_ok(out[0], bvl_times(p->count, 1));
}
#endif
