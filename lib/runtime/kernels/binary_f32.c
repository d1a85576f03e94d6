/* binary_f32 with broadcasting. Semantics: bevel_kernels.h. */
#include "lib/runtime/kernels/bevel_broadcast.h"
#include "lib/runtime/kernels/bevel_kernel_common.h"

static float bvl_binary_apply(int32_t op, float a, float b) {
  switch (op) {
    case BVL_BINARY_ADD: return a + b;
    case BVL_BINARY_SUB: return a - b;
    case BVL_BINARY_MUL: return a * b;
    case BVL_BINARY_DIV: return a / b;
    case BVL_BINARY_MIN: return a != a || a < b ? a : b;
    case BVL_BINARY_MAX: return a != a || a > b ? a : b;
    default: return a < 0 ? a * b : a; /* BVL_BINARY_PRELU */
  }
}

BVL_LINKAGE void bvl_binary_f32(const void* params, const void* const* in, void* const* out, void* scratch,
                                uint32_t begin, uint32_t end) {
  const bvl_binary_f32_params* p = (const bvl_binary_f32_params*)params;
  const int32_t a_step = p->a_strides[p->rank - 1], b_step = p->b_strides[p->rank - 1];
  int32_t row_elements = 1;
  for (int32_t k = 1; k < p->rank; ++k) row_elements *= p->dims[k];
  float* y = (float*)out[0] + (int32_t)begin * row_elements;
  bvl_walk walk = bvl_walk_start(p->rank, p->dims, p->a_strides, p->b_strides, (int32_t)begin, (int32_t)end);
  (void)scratch;
  do {
    const float* a = (const float*)in[0] + walk.a;
    const float* b = (const float*)in[1] + walk.b;
    for (int32_t i = 0; i < walk.length; ++i) {
      const float v = bvl_binary_apply(p->op, a[i * a_step], b[i * b_step]);
      const float raised = v < p->low ? p->low : v;
      y[i] = raised > p->high ? p->high : raised;
    }
    y += walk.length;
  } while (bvl_walk_next(&walk, p->rank, p->dims, p->a_strides, p->b_strides, (int32_t)end));
}

#ifndef BVL_EMITTED
#include "lib/runtime/kernels/bevel_kernel_check.h"

uint64_t bvl_binary_f32_scratch(const void* params) {
  (void)params;
  return 0;
}

int bvl_binary_f32_check(const void* params, const bvl_step* step, const bvl_tensor* const* in,
                         const bvl_tensor* const* out) {
  const bvl_binary_f32_params* p = (const bvl_binary_f32_params*)params;
  const int64_t count = bvl_dims_count(p->rank, p->dims);
  return count > 0 && p->op >= 0 && p->op <= BVL_BINARY_PRELU && bvl_counts_ok(step, 2, 1, p->dims[0]) &&
         bvl_f32_ok(in[0], 1) && bvl_f32_ok(in[1], 1) && bvl_f32_ok(out[0], count) &&
         bvl_strides_ok(p->rank, p->dims, p->a_strides, 0, (int64_t)in[0]->bytes / 4) &&
         bvl_strides_ok(p->rank, p->dims, p->b_strides, 0, (int64_t)in[1]->bytes / 4);
}
#endif
