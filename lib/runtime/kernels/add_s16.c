/* add_s16 with broadcasting: two rounded products and their sum, rounded half to even. Semantics: bevel_kernels.h. */
#include "lib/runtime/kernels/bevel_broadcast.h"
#include "lib/runtime/kernels/bevel_kernel_common.h"

BVL_LINKAGE void bvl_add_s16(const void* params, const void* const* in, void* const* out, void* scratch, uint32_t begin,
                            uint32_t end) {
  const bvl_add_s16_params* p = (const bvl_add_s16_params*)params;
  const float low = (float)p->low, high = (float)p->high;
  const int32_t a_step = p->a_strides[p->rank - 1], b_step = p->b_strides[p->rank - 1];
  int32_t row_elements = 1;
  for (int32_t k = 1; k < p->rank; ++k) row_elements *= p->dims[k];
  int16_t* y = (int16_t*)out[0] + (int32_t)begin * row_elements;
  bvl_walk walk = bvl_walk_start(p->rank, p->dims, p->a_strides, p->b_strides, (int32_t)begin, (int32_t)end);
  (void)scratch;
  do {
    const int16_t* a = (const int16_t*)in[0] + walk.a;
    const int16_t* b = (const int16_t*)in[1] + walk.b;
    for (int32_t i = 0; i < walk.length; ++i) {
      const float left = bvl_product((float)a[i * a_step], p->a_multiplier);
      const float right = bvl_product((float)b[i * b_step], p->b_multiplier);
      y[i] = (int16_t)bvl_round_clamp(left + right, low, high);
    }
    y += walk.length;
  } while (bvl_walk_next(&walk, p->rank, p->dims, p->a_strides, p->b_strides, (int32_t)end));
}

#ifndef BVL_EMITTED
#include "lib/runtime/kernels/bevel_kernel_check.h"

uint64_t bvl_add_s16_scratch(const void* params) {
  (void)params;
  return 0;
}

int bvl_add_s16_check(const void* params, const bvl_step* step, const bvl_tensor* const* in,
                     const bvl_tensor* const* out) {
  const bvl_add_s16_params* p = (const bvl_add_s16_params*)params;
  const int64_t count = bvl_dims_count(p->rank, p->dims);
  return count > 0 && bvl_counts_ok(step, 2, 1, p->dims[0]) && bvl_bounds_s16_ok(p->low, p->high) &&
         bvl_s16_ok(in[0], 1) && bvl_s16_ok(in[1], 1) && bvl_s16_ok(out[0], count) &&
         bvl_strides_ok(p->rank, p->dims, p->a_strides, 0, (int64_t)(in[0]->bytes / 2)) &&
         bvl_strides_ok(p->rank, p->dims, p->b_strides, 0, (int64_t)(in[1]->bytes / 2));
}
#endif
