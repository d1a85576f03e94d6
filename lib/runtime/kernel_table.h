/* The kernels' functions, declared from BVL_KERNELS: the kernel itself, its check (bevel_kernel_check.h) and its scratch. */
#ifndef BEVEL_KERNEL_TABLE_H
#define BEVEL_KERNEL_TABLE_H

#include "lib/runtime/bevel_runtime.h"

#define BVL_DECLARE_KERNEL(id, NAME, name, version)                                               \
  bvl_kernel_fn bvl_##name;                                                                       \
  uint64_t bvl_##name##_scratch(const void* params);                                              \
  int bvl_##name##_check(const void* params, const bvl_step* step, const bvl_tensor* const* in,   \
                         const bvl_tensor* const* out);
BVL_KERNELS(BVL_DECLARE_KERNEL)
#undef BVL_DECLARE_KERNEL

/* Inputs, and outputs, of a step at most. */
#define BVL_MAX_OPERANDS 8

/* Overrides: the same bits, faster. */
bvl_kernel_fn bvl_conv2d_s8_avx2, bvl_depthwise_conv2d_s8_avx2, bvl_dense_s8_avx2, bvl_add_s8_avx2,
    bvl_conv2d_s8_w4_avx2, bvl_depthwise_conv2d_s8_w4_avx2, bvl_dense_s8_w4_avx2,
    bvl_conv2d_s16_avx2, bvl_dense_s16_avx2, bvl_matmul_s8_avx2;

typedef int bvl_check_fn(const void* params, const bvl_step* step, const bvl_tensor* const* in,
                         const bvl_tensor* const* out);
typedef struct {
  const char* name;
  const char* layout; /* one char per parameter word */
  bvl_kernel_fn* portable;
  bvl_check_fn* check;
  uint64_t (*scratch)(const void* params);
  uint32_t version;
  int in_place; /* the output may be one of the inputs, at the same place */
} bvl_kernel_record;

/* NULL: unknown. */
const bvl_kernel_record* bvl_kernel_find(uint32_t kernel);

#endif
