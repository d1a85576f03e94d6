/* reduce_f32: sum, mean, max, min over the middle axis, in order. Semantics: bevel_kernels.h. */
#include "lib/runtime/kernels/bevel_kernel_common.h"

BVL_LINKAGE void bvl_reduce_f32(const void* params, const void* const* in, void* const* out, void* scratch,
                                uint32_t begin, uint32_t end) {
  const bvl_reduce_f32_params* p = (const bvl_reduce_f32_params*)params;
  (void)scratch;
  for (int32_t row = (int32_t)begin; row < (int32_t)end; ++row) {
    for (int32_t i = 0; i < p->inner; ++i) {
      const float* x = (const float*)in[0] + row * p->depth * p->inner + i;
      float acc = x[0];
      for (int32_t d = 1; d < p->depth; ++d) {
        const float v = x[d * p->inner];
        if (p->op == BVL_REDUCE_MAX) acc = v > acc || v != v ? v : acc;
        else if (p->op == BVL_REDUCE_MIN) acc = v < acc || v != v ? v : acc;
        else acc += v;
      }
      if (p->op == BVL_REDUCE_MEAN) acc /= (float)p->depth;
      ((float*)out[0])[row * p->inner + i] = acc;
    }
  }
}

#ifndef BVL_EMITTED
#include "lib/runtime/kernels/bevel_kernel_check.h"

uint64_t bvl_reduce_f32_scratch(const void* params) {
  (void)params;
  return 0;
}

int bvl_reduce_f32_check(const void* params, const bvl_step* step, const bvl_tensor* const* in,
                         const bvl_tensor* const* out) {
  const bvl_reduce_f32_params* p = (const bvl_reduce_f32_params*)params;
  return p->op >= 0 && p->op <= BVL_REDUCE_MIN && bvl_counts_ok(step, 1, 1, p->outer) &&
         bvl_f32_ok(in[0], bvl_times4(p->outer, p->depth, p->inner, 1)) &&
         bvl_f32_ok(out[0], bvl_times(p->outer, p->inner));
}
#endif
