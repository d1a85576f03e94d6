/* cast between element types. Semantics: bevel_kernels.h. */
#include "lib/runtime/kernels/bevel_kernel_common.h"

BVL_LINKAGE void bvl_cast(const void* params, const void* const* in, void* const* out, void* scratch, uint32_t begin, uint32_t end) {
  const bvl_cast_params* p = (const bvl_cast_params*)params;
  const int32_t first = (int32_t)begin * 1024, last = (int32_t)end > p->count / 1024 ? p->count : (int32_t)end * 1024;
  (void)scratch;
  for (int32_t i = first; i < last; ++i) {
    int64_t value = 0;
    switch (p->from) {
      case BVL_ELEMENT_BOOL: value = ((const uint8_t*)in[0])[i] != 0; break;
      case BVL_ELEMENT_INT32: value = ((const int32_t*)in[0])[i]; break;
      case BVL_ELEMENT_INT64: value = ((const int64_t*)in[0])[i]; break;
      default: value = ((const float*)in[0])[i] != 0.0f; break; /* only to BOOL */
    }
    switch (p->to) {
      case BVL_ELEMENT_BOOL: ((uint8_t*)out[0])[i] = value != 0; break;
      case BVL_ELEMENT_INT32: ((uint32_t*)out[0])[i] = (uint32_t)(uint64_t)value; break;
      case BVL_ELEMENT_INT64: ((int64_t*)out[0])[i] = value; break;
      default: ((float*)out[0])[i] = (float)value; break;
    }
  }
}

#ifndef BVL_EMITTED
#include "lib/runtime/kernels/bevel_kernel_check.h"

uint64_t bvl_cast_scratch(const void* params) {
  (void)params;
  return 0;
}

int bvl_cast_check(const void* params, const bvl_step* step, const bvl_tensor* const* in, const bvl_tensor* const* out) {
  const bvl_cast_params* p = (const bvl_cast_params*)params;
  return (p->from != BVL_ELEMENT_FLOAT32 || p->to == BVL_ELEMENT_BOOL) && bvl_times(p->count, 1) > 0 &&
         bvl_counts_ok(step, 1, 1, bvl_blocks_of_1024(p->count)) && bvl_element_ok(in[0], p->from, p->count) &&
         bvl_element_ok(out[0], p->to, p->count);
}
#endif
