/* compare with broadcasting. Semantics: bevel_kernels.h. */
#include "lib/runtime/kernels/bevel_broadcast.h"
#include "lib/runtime/kernels/bevel_kernel_common.h"

/* GREATER and GREATER_OR_EQUAL are asked with the sides changed. */
#define BVL_COMPARE_ROW(type)                                                                       \
  do {                                                                                              \
    const type *u = (const type*)left + l, *v = (const type*)right + r;                             \
    for (int32_t i = 0; i < length; ++i, u += l_step, v += r_step) {                                \
      y[i] = op == BVL_COMPARE_EQUAL ? *u == *v : op == BVL_COMPARE_LESS ? *u < *v : *u <= *v;      \
    }                                                                                               \
  } while (0)

BVL_LINKAGE void bvl_compare(const void* params, const void* const* in, void* const* out, void* scratch, uint32_t begin,
                             uint32_t end) {
  const bvl_compare_params* p = (const bvl_compare_params*)params;
  const int swap = p->op == BVL_COMPARE_GREATER || p->op == BVL_COMPARE_GREATER_OR_EQUAL;
  const int32_t op = p->op == BVL_COMPARE_GREATER ? BVL_COMPARE_LESS : p->op == BVL_COMPARE_GREATER_OR_EQUAL ? BVL_COMPARE_LESS_OR_EQUAL : p->op;
  const void *left = in[swap], *right = in[!swap];
  const int32_t l_step = (swap ? p->b_strides : p->a_strides)[p->rank - 1], r_step = (swap ? p->a_strides : p->b_strides)[p->rank - 1];
  int32_t row_elements = 1;
  for (int32_t k = 1; k < p->rank; ++k) row_elements *= p->dims[k];
  uint8_t* y = (uint8_t*)out[0] + (int32_t)begin * row_elements;
  bvl_walk walk = bvl_walk_start(p->rank, p->dims, p->a_strides, p->b_strides, (int32_t)begin, (int32_t)end);
  (void)scratch;
  do {
    const int32_t l = swap ? walk.b : walk.a, r = swap ? walk.a : walk.b, length = walk.length;
    if (p->element == BVL_ELEMENT_FLOAT32) BVL_COMPARE_ROW(float);
    else if (p->element == BVL_ELEMENT_INT64) BVL_COMPARE_ROW(int64_t);
    else BVL_COMPARE_ROW(int32_t);
    y += length;
  } while (bvl_walk_next(&walk, p->rank, p->dims, p->a_strides, p->b_strides, (int32_t)end));
}
#undef BVL_COMPARE_ROW

#ifndef BVL_EMITTED
#include "lib/runtime/kernels/bevel_kernel_check.h"

uint64_t bvl_compare_scratch(const void* params) {
  (void)params;
  return 0;
}

int bvl_compare_check(const void* params, const bvl_step* step, const bvl_tensor* const* in, const bvl_tensor* const* out) {
  const bvl_compare_params* p = (const bvl_compare_params*)params;
  const int64_t count = bvl_dims_count(p->rank, p->dims);
  if (p->element == BVL_ELEMENT_BOOL || !bvl_element_ok(in[0], p->element, 1) || !bvl_element_ok(in[1], p->element, 1)) return 0;
  const int64_t bytes = p->element == BVL_ELEMENT_INT64 ? 8 : 4;
  return count > 0 && p->op >= BVL_COMPARE_EQUAL && p->op <= BVL_COMPARE_GREATER_OR_EQUAL && bvl_counts_ok(step, 2, 1, p->dims[0]) &&
         bvl_element_ok(out[0], BVL_ELEMENT_BOOL, count) &&
         bvl_strides_ok(p->rank, p->dims, p->a_strides, 0, (int64_t)in[0]->bytes / bytes) &&
         bvl_strides_ok(p->rank, p->dims, p->b_strides, 0, (int64_t)in[1]->bytes / bytes);
}
#endif
