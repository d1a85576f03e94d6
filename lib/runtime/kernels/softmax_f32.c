/* softmax_f32 and its logarithm: shifted by the largest, summed in order. Semantics: bevel_kernels.h. */
#include "lib/runtime/bevel_math.h"
#include "lib/runtime/kernels/bevel_kernel_common.h"

BVL_LINKAGE void bvl_softmax_f32(const void* params, const void* const* in, void* const* out, void* scratch,
                                 uint32_t begin, uint32_t end) {
  const bvl_softmax_f32_params* p = (const bvl_softmax_f32_params*)params;
  (void)scratch;
  for (int32_t row = (int32_t)begin; row < (int32_t)end; ++row) {
    for (int32_t i = 0; i < p->inner; ++i) {
      const float* x = (const float*)in[0] + row * p->depth * p->inner + i;
      float* y = (float*)out[0] + row * p->depth * p->inner + i;
      float largest = x[0], sum = 0.0f;
      for (int32_t d = 1; d < p->depth; ++d) largest = x[d * p->inner] > largest ? x[d * p->inner] : largest;
      for (int32_t d = 0; d < p->depth; ++d) {
        const float e = bvl_expf(x[d * p->inner] - largest);
        sum += e;
        if (!p->log) y[d * p->inner] = e;
      }
      const float log_sum = p->log ? bvl_logf(sum) : 0.0f;
      for (int32_t d = 0; d < p->depth; ++d) {
        y[d * p->inner] = p->log ? (x[d * p->inner] - largest) - log_sum : y[d * p->inner] / sum;
      }
    }
  }
}

#ifndef BVL_EMITTED
#include "lib/runtime/kernels/bevel_kernel_check.h"

uint64_t bvl_softmax_f32_scratch(const void* params) {
  (void)params;
  return 0;
}

int bvl_softmax_f32_check(const void* params, const bvl_step* step, const bvl_tensor* const* in,
                          const bvl_tensor* const* out) {
  const bvl_softmax_f32_params* p = (const bvl_softmax_f32_params*)params;
  return bvl_counts_ok(step, 1, 1, p->outer) && bvl_f32_ok(in[0], bvl_times4(p->outer, p->depth, p->inner, 1)) &&
         bvl_f32_ok(out[0], bvl_times4(p->outer, p->depth, p->inner, 1));
}
#endif
