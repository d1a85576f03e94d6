/* softmax_s16: exponentials of the distance to the largest, summed in order, in float. Semantics: bevel_kernels.h. */
#include "lib/runtime/bevel_math.h"
#include "lib/runtime/kernels/bevel_kernel_common.h"

BVL_LINKAGE void bvl_softmax_s16(const void* params, const void* const* in, void* const* out, void* scratch,
                                 uint32_t begin, uint32_t end) {
  const bvl_softmax_s16_params* p = (const bvl_softmax_s16_params*)params;
  const float low = (float)p->low, high = (float)p->high;
  float* exponentials = (float*)scratch;
  for (int32_t row = (int32_t)begin; row < (int32_t)end; ++row) {
    for (int32_t i = 0; i < p->inner; ++i) {
      const int16_t* x = (const int16_t*)in[0] + row * p->depth * p->inner + i;
      int16_t* y = (int16_t*)out[0] + row * p->depth * p->inner + i;
      int32_t largest = x[0];
      float sum = 0.0f;
      for (int32_t d = 1; d < p->depth; ++d) largest = bvl_max(largest, x[d * p->inner]);
      for (int32_t d = 0; d < p->depth; ++d) {
        exponentials[d] = bvl_expf((float)(x[d * p->inner] - largest) * p->in_scale);
        sum += exponentials[d];
      }
      for (int32_t d = 0; d < p->depth; ++d) {
        y[d * p->inner] = (int16_t)bvl_round_clamp(exponentials[d] / sum / p->out_scale, low, high);
      }
    }
  }
}

#ifndef BVL_EMITTED
#include "lib/runtime/kernels/bevel_kernel_check.h"

uint64_t bvl_softmax_s16_scratch(const void* params) {
  const bvl_softmax_s16_params* p = (const bvl_softmax_s16_params*)params;
  return 4 * (uint64_t)(uint32_t)p->depth;
}

int bvl_softmax_s16_check(const void* params, const bvl_step* step, const bvl_tensor* const* in,
                          const bvl_tensor* const* out) {
  const bvl_softmax_s16_params* p = (const bvl_softmax_s16_params*)params;
  return bvl_counts_ok(step, 1, 1, p->outer) && bvl_bounds_s16_ok(p->low, p->high) &&
         bvl_s16_ok(in[0], bvl_times4(p->outer, p->depth, p->inner, 1)) &&
         bvl_s16_ok(out[0], bvl_times4(p->outer, p->depth, p->inner, 1)) &&
         step->scratch_bytes >= bvl_softmax_s16_scratch(params);
}
#endif
