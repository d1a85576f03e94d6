/* copy: a strided walk over the source beside one over the destination. Semantics: bevel_kernels.h. */
#include "lib/runtime/kernels/bevel_broadcast.h"
#include "lib/runtime/kernels/bevel_kernel_common.h"

BVL_LINKAGE void bvl_copy(const void* params, const void* const* in, void* const* out, void* scratch, uint32_t begin,
                          uint32_t end) {
  const bvl_copy_params* p = (const bvl_copy_params*)params;
  const size_t size = (size_t)p->element_bytes;
  const ptrdiff_t from_step = (ptrdiff_t)p->in_strides[p->rank - 1] * (ptrdiff_t)size;
  const ptrdiff_t to_step = (ptrdiff_t)p->out_strides[p->rank - 1] * (ptrdiff_t)size;
  const int dense = p->in_strides[p->rank - 1] == 1 && p->out_strides[p->rank - 1] == 1;
  bvl_walk walk = bvl_walk_start(p->rank, p->dims, p->in_strides, p->out_strides, (int32_t)begin, (int32_t)end);
  (void)scratch;
  do {
    const uint8_t* from = (const uint8_t*)in[0] + (ptrdiff_t)(p->in_offset + walk.a) * (ptrdiff_t)size;
    uint8_t* to = (uint8_t*)out[0] + (ptrdiff_t)(p->out_offset + walk.b) * (ptrdiff_t)size;
    if (dense) {
      memcpy(to, from, (size_t)walk.length * size);
      continue;
    }
    if (size == 1) {
      for (int32_t i = 0; i < walk.length; ++i, from += from_step, to += to_step) *to = *from;
    } else if (size == 4) {
      for (int32_t i = 0; i < walk.length; ++i, from += from_step, to += to_step) memcpy(to, from, 4);
    } else if (size == 2) {
      for (int32_t i = 0; i < walk.length; ++i, from += from_step, to += to_step) memcpy(to, from, 2);
    } else {
      for (int32_t i = 0; i < walk.length; ++i, from += from_step, to += to_step) memcpy(to, from, 8);
    }
  } while (bvl_walk_next(&walk, p->rank, p->dims, p->in_strides, p->out_strides, (int32_t)end));
}

#ifndef BVL_EMITTED
#include "lib/runtime/kernels/bevel_kernel_check.h"

uint64_t bvl_copy_scratch(const void* params) {
  (void)params;
  return 0;
}

int bvl_copy_check(const void* params, const bvl_step* step, const bvl_tensor* const* in,
                   const bvl_tensor* const* out) {
  const bvl_copy_params* p = (const bvl_copy_params*)params;
  const int32_t size = p->element_bytes;
  return (size == 1 || size == 2 || size == 4 || size == 8) && bvl_dims_count(p->rank, p->dims) > 0 &&
         bvl_counts_ok(step, 1, 1, p->dims[0]) && p->in_offset >= 0 && p->out_offset >= 0 &&
         bvl_strides_ok(p->rank, p->dims, p->in_strides, p->in_offset, (int64_t)in[0]->bytes / size) &&
         bvl_strides_ok(p->rank, p->dims, p->out_strides, p->out_offset, (int64_t)out[0]->bytes / size);
}
#endif
