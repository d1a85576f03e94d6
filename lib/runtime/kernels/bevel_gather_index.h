/* Indices of Gather, which come at run time: whatever they are, the row exists. */
#ifndef BEVEL_GATHER_INDEX_H
#define BEVEL_GATHER_INDEX_H

#include "lib/runtime/kernels/bevel_kernel_common.h"

/* Index `at` of int32 or int64 ones; negative ones count from the end, what is out of range is the nearest row. */
static inline int32_t bvl_gather_index(const void* indices, int32_t index_bytes, int32_t at, int32_t extent) {
  int64_t index = index_bytes == 8 ? ((const int64_t*)indices)[at] : ((const int32_t*)indices)[at];
  if (index < 0) index = index < -(int64_t)extent ? 0 : index + extent;
  return index >= extent ? extent - 1 : (int32_t)index;
}

#endif
