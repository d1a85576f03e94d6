/* add_s8 with broadcasting: the two scaled sides are added in float, in the order that bevel_kernels.h states. */
#include "lib/runtime/kernels/bevel_broadcast.h"
#include "lib/runtime/kernels/bevel_kernel_common.h"

#if BVL_SOFT_FLOAT
/* Multipliers with 20 fraction bits, for |multiplier| < 4 (else 0, and *exact = 0): a sum of two products with int8 differences
 * is within 255 + 128 of 2^-20 of the float sum (255 halves for each multiplier; float's roundings of values below 2048). */
static inline int32_t bvl_add_s8_fixed(float multiplier, int* exact) {
  if (!(multiplier < 4.0f && multiplier > -4.0f)) *exact = 0;
  return *exact ? (int32_t)(multiplier * 1048576.0f + (multiplier < 0 ? -0.5f : 0.5f)) : 0;
}
#endif

BVL_LINKAGE void bvl_add_s8(const void* params, const void* const* in, void* const* out, void* scratch, uint32_t begin,
                            uint32_t end) {
  const bvl_add_s8_params* p = (const bvl_add_s8_params*)params;
  const bvl_output_range output = bvl_make_output_range(p->out_zp, p->low, p->high);
  const int32_t a_step = p->a_strides[p->rank - 1], b_step = p->b_strides[p->rank - 1];
  int32_t row_elements = 1;
  for (int32_t k = 1; k < p->rank; ++k) row_elements *= p->dims[k];
  int8_t* y = (int8_t*)out[0] + (int32_t)begin * row_elements;
  bvl_walk walk = bvl_walk_start(p->rank, p->dims, p->a_strides, p->b_strides, (int32_t)begin, (int32_t)end);
  (void)scratch;
#if BVL_SOFT_FLOAT
  int fast = 1;
  const int32_t a_fixed = bvl_add_s8_fixed(p->a_multiplier, &fast), b_fixed = bvl_add_s8_fixed(p->b_multiplier, &fast);
#endif
  do {
    const int8_t* a = (const int8_t*)in[0] + walk.a;
    const int8_t* b = (const int8_t*)in[1] + walk.b;
    for (int32_t i = 0; i < walk.length; ++i) {
      const int32_t a_value = a[i * a_step] - p->a_zp, b_value = b[i * b_step] - p->b_zp;
#if BVL_SOFT_FLOAT
      const int32_t fixed = a_value * a_fixed + b_value * b_fixed; /* below 2^31 */
      if (fast && ((uint32_t)fixed & 0xfffffu) - 0x7fe00u >= 0x400u) {
        int32_t rounded = (fixed + 0x80000) >> 20;
        /* Written out: a helper that only this branch calls would be unused wherever there is an FPU. */
        if (rounded < output.first) rounded = output.first;
        if (rounded > output.last) rounded = output.last;
        y[i] = (int8_t)(rounded + output.zero_point);
        continue;
      }
#endif
      const float left = bvl_product((float)a_value, p->a_multiplier);
      const float right = bvl_product((float)b_value, p->b_multiplier);
      y[i] = bvl_round_to_output(left + right, &output);
    }
    y += walk.length;
  } while (bvl_walk_next(&walk, p->rank, p->dims, p->a_strides, p->b_strides, (int32_t)end));
}

#ifndef BVL_EMITTED
#include "lib/runtime/kernels/bevel_kernel_check.h"

uint64_t bvl_add_s8_scratch(const void* params) {
  (void)params;
  return 0;
}

int bvl_add_s8_check(const void* params, const bvl_step* step, const bvl_tensor* const* in,
                     const bvl_tensor* const* out) {
  const bvl_add_s8_params* p = (const bvl_add_s8_params*)params;
  const int64_t count = bvl_dims_count(p->rank, p->dims);
  return count > 0 && bvl_counts_ok(step, 2, 1, p->dims[0]) && bvl_is_s8(p->a_zp) && bvl_is_s8(p->b_zp) &&
         bvl_bounds_ok(p->out_zp, p->low, p->high) && bvl_s8_ok(in[0], 1) && bvl_s8_ok(in[1], 1) &&
         bvl_s8_ok(out[0], count) && bvl_strides_ok(p->rank, p->dims, p->a_strides, 0, (int64_t)in[0]->bytes) &&
         bvl_strides_ok(p->rank, p->dims, p->b_strides, 0, (int64_t)in[1]->bytes);
}
#endif
