/* Kernels by id: one record each, from BVL_KERNELS, and the overrides of this build's instruction set. */
#include "lib/runtime/kernel_table.h"

#define BVL_LAYOUT_I(name) "i"
#define BVL_LAYOUT_F(name) "f"
#define BVL_LAYOUT_A(name) "iiiiiiii"

static const bvl_kernel_record kRecords[] = {
#define BVL_RECORD(id, NAME, name, version)                                                        \
  [id] = {#name, BVL_##NAME##_FIELDS(BVL_LAYOUT_I, BVL_LAYOUT_F, BVL_LAYOUT_A), bvl_##name,        \
          bvl_##name##_check, bvl_##name##_scratch, version,                                       \
          id == BVL_KERNEL_ADD_S8 || id == BVL_KERNEL_MUL_S8 || id == BVL_KERNEL_LUT_S8 ||         \
              id == BVL_KERNEL_BINARY_F32 || id == BVL_KERNEL_UNARY_F32 || id == BVL_KERNEL_ADD_S16 || \
              id == BVL_KERNEL_MUL_S16 || id == BVL_KERNEL_RESCALE_S16 || id == BVL_KERNEL_UNARY_S16},
    BVL_KERNELS(BVL_RECORD)
#undef BVL_RECORD
};

const bvl_kernel_record* bvl_kernel_find(uint32_t kernel) {
  if (kernel >= sizeof kRecords / sizeof kRecords[0] || kRecords[kernel].name == NULL) return NULL;
  return &kRecords[kernel];
}

bvl_kernel_fn* bvl_portable_kernel_function(uint32_t kernel) {
  const bvl_kernel_record* record = bvl_kernel_find(kernel);
  return record ? record->portable : NULL;
}

bvl_kernel_fn* bvl_kernel_function(uint32_t kernel) {
#if defined(__AVX2__)
  switch (kernel) {
    case BVL_KERNEL_CONV2D_S8: return bvl_conv2d_s8_avx2;
    case BVL_KERNEL_DEPTHWISE_CONV2D_S8: return bvl_depthwise_conv2d_s8_avx2;
    case BVL_KERNEL_DENSE_S8: return bvl_dense_s8_avx2;
    case BVL_KERNEL_ADD_S8: return bvl_add_s8_avx2;
    case BVL_KERNEL_CONV2D_S8_W4: return bvl_conv2d_s8_w4_avx2;
    case BVL_KERNEL_DEPTHWISE_CONV2D_S8_W4: return bvl_depthwise_conv2d_s8_w4_avx2;
    case BVL_KERNEL_DENSE_S8_W4: return bvl_dense_s8_w4_avx2;
    case BVL_KERNEL_CONV2D_S16: return bvl_conv2d_s16_avx2;
    case BVL_KERNEL_DENSE_S16: return bvl_dense_s16_avx2;
    case BVL_KERNEL_MATMUL_S8: return bvl_matmul_s8_avx2;
    default: break;
  }
#endif
  return bvl_portable_kernel_function(kernel);
}

uint64_t bvl_kernel_scratch(uint32_t kernel, const void* params) {
  const bvl_kernel_record* record = bvl_kernel_find(kernel);
  return record ? record->scratch(params) : 0;
}

const char* bvl_kernel_param_layout(uint32_t kernel) {
  const bvl_kernel_record* record = bvl_kernel_find(kernel);
  return record ? record->layout : NULL;
}

const char* bvl_kernel_name(uint32_t kernel) {
  const bvl_kernel_record* record = bvl_kernel_find(kernel);
  return record ? record->name : NULL;
}

uint32_t bvl_kernel_version(uint32_t kernel) {
  const bvl_kernel_record* record = bvl_kernel_find(kernel);
  return record ? record->version : 0;
}
