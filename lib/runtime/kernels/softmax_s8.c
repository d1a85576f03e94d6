/* softmax_s8, all in integers: exponentials from a table of the difference to the largest. Semantics: bevel_kernels.h. */
#include "lib/runtime/kernels/bevel_kernel_common.h"

BVL_LINKAGE void bvl_softmax_s8(const void* params, const void* const* in, void* const* out, void* scratch,
                                uint32_t begin, uint32_t end) {
  const bvl_softmax_s8_params* p = (const bvl_softmax_s8_params*)params;
  const uint32_t* table = (const uint32_t*)in[1];
  const int32_t depth = p->depth, inner = p->inner;
  (void)scratch;
  for (int32_t row = (int32_t)begin; row < (int32_t)end; ++row) {
    for (int32_t i = 0; i < inner; ++i) {
      const int8_t* x = (const int8_t*)in[0] + row * depth * inner + i;
      int8_t* y = (int8_t*)out[0] + row * depth * inner + i;
      int32_t largest = -128;
      uint64_t sum = 0;
      for (int32_t d = 0; d < depth; ++d) largest = bvl_max(largest, x[d * inner]);
      for (int32_t d = 0; d < depth; ++d) sum += table[largest - x[d * inner]];
      if (sum == 0) sum = 1; /* a table of zeros */
      for (int32_t d = 0; d < depth; ++d) {
        const uint64_t scaled = (uint64_t)table[largest - x[d * inner]] << 8;
        uint64_t quotient = scaled / sum;
        const uint64_t twice_rest = 2 * (scaled - quotient * sum);
        if (twice_rest > sum || (twice_rest == sum && (quotient & 1))) ++quotient;
        y[d * inner] = (int8_t)((quotient > 255 ? 255 : (int32_t)quotient) - 128);
      }
    }
  }
}

#ifndef BVL_EMITTED
#include "lib/runtime/kernels/bevel_kernel_check.h"

uint64_t bvl_softmax_s8_scratch(const void* params) {
  (void)params;
  return 0;
}

int bvl_softmax_s8_check(const void* params, const bvl_step* step, const bvl_tensor* const* in,
                         const bvl_tensor* const* out) {
  const bvl_softmax_s8_params* p = (const bvl_softmax_s8_params*)params;
  return bvl_counts_ok(step, 2, 1, p->outer) && bvl_s8_ok(in[0], bvl_times4(p->outer, p->depth, p->inner, 1)) &&
         bvl_operand_ok(in[1], BVL_UINT32, 4, 256) && bvl_s8_ok(out[0], bvl_times4(p->outer, p->depth, p->inner, 1));
}
#endif
