/* select with broadcasting, a row of the last axis at a time. Semantics: bevel_kernels.h. */
#include "lib/runtime/kernels/bevel_kernel_common.h"

BVL_LINKAGE void bvl_select(const void* params, const void* const* in, void* const* out, void* scratch, uint32_t begin,
                            uint32_t end) {
  const bvl_select_params* p = (const bvl_select_params*)params;
  const int32_t last = p->rank - 1, bytes = p->element_bytes;
  int32_t rows = 1, length = p->dims[last];
  for (int32_t k = 1; k < last; ++k) rows *= p->dims[k];
  if (p->rank == 1) length = (int32_t)(end - begin); /* the row itself is [begin, end) */
  const int32_t first_row = p->rank == 1 ? 0 : (int32_t)begin * rows, end_row = p->rank == 1 ? 1 : (int32_t)end * rows;
  uint8_t* y = (uint8_t*)out[0] + (p->rank == 1 ? (int32_t)begin : first_row * length) * bytes;
  (void)scratch;
  for (int32_t row = first_row; row < end_row; ++row) {
    int32_t condition = 0, a = 0, b = 0;
    if (p->rank == 1) {
      condition = (int32_t)begin * p->condition_strides[0], a = (int32_t)begin * p->a_strides[0], b = (int32_t)begin * p->b_strides[0];
    }
    for (int32_t k = last - 1, rest = row; k >= 0; --k) {
      const int32_t index = k == 0 ? rest : rest % p->dims[k];
      rest /= p->dims[k];
      condition += index * p->condition_strides[k];
      a += index * p->a_strides[k];
      b += index * p->b_strides[k];
    }
    for (int32_t i = 0; i < length; ++i, y += bytes) {
      const int32_t is_a = ((const uint8_t*)in[0])[condition + i * p->condition_strides[last]] != 0;
      const int32_t at = is_a ? a + i * p->a_strides[last] : b + i * p->b_strides[last];
      const uint8_t* from = (const uint8_t*)in[is_a ? 1 : 2] + (size_t)at * (size_t)bytes;
      if (bytes == 4) memcpy(y, from, 4);
      else if (bytes == 1) *y = *from;
      else memcpy(y, from, (size_t)bytes);
    }
  }
}

#ifndef BVL_EMITTED
#include "lib/runtime/kernels/bevel_kernel_check.h"

uint64_t bvl_select_scratch(const void* params) {
  (void)params;
  return 0;
}

/* Any element type, as `copy` takes it: what is read lies inside the operand's bytes. */
static int bvl_select_operand_ok(const bvl_select_params* p, const int32_t* strides, int32_t bytes, const bvl_tensor* tensor) {
  return tensor->encoding == BVL_ENCODING_DENSE && tensor->offset % (uint32_t)bytes == 0 &&
         bvl_strides_ok(p->rank, p->dims, strides, 0, (int64_t)(tensor->bytes / (uint32_t)bytes));
}

int bvl_select_check(const void* params, const bvl_step* step, const bvl_tensor* const* in, const bvl_tensor* const* out) {
  const bvl_select_params* p = (const bvl_select_params*)params;
  const int32_t bytes = p->element_bytes;
  const int64_t count = bvl_dims_count(p->rank, p->dims);
  if (count <= 0 || (bytes != 1 && bytes != 2 && bytes != 4 && bytes != 8)) return 0;
  return bvl_counts_ok(step, 3, 1, p->dims[0]) && bvl_operand_ok(in[0], BVL_BOOL, 1, 1) && bvl_select_operand_ok(p, p->condition_strides, 1, in[0]) &&
         bvl_select_operand_ok(p, p->a_strides, bytes, in[1]) && bvl_select_operand_ok(p, p->b_strides, bytes, in[2]) &&
         out[0]->encoding == BVL_ENCODING_DENSE && out[0]->offset % (uint32_t)bytes == 0 && (uint64_t)count * (uint32_t)bytes <= out[0]->bytes;
}
#endif
