/* dequantize_s16_f32. Semantics: bevel_kernels.h (ONNX DequantizeLinear, opset 21). */
#include "lib/runtime/kernels/bevel_kernel_common.h"

BVL_LINKAGE void bvl_dequantize_s16_f32(const void* params, const void* const* in, void* const* out, void* scratch,
                                        uint32_t begin, uint32_t end) {
  const bvl_dequantize_s16_f32_params* p = (const bvl_dequantize_s16_f32_params*)params;
  const int16_t* x = (const int16_t*)in[0];
  float* y = (float*)out[0];
  const int32_t last = bvl_min(p->count, (int32_t)end * 1024);
  (void)scratch;
  for (int32_t i = (int32_t)begin * 1024; i < last; ++i) y[i] = (float)x[i] * p->scale;
}

#ifndef BVL_EMITTED
#include "lib/runtime/kernels/bevel_kernel_check.h"

uint64_t bvl_dequantize_s16_f32_scratch(const void* params) {
  (void)params;
  return 0;
}

int bvl_dequantize_s16_f32_check(const void* params, const bvl_step* step, const bvl_tensor* const* in,
                                 const bvl_tensor* const* out) {
  const bvl_dequantize_s16_f32_params* p = (const bvl_dequantize_s16_f32_params*)params;
  return bvl_counts_ok(step, 1, 1, bvl_blocks_of_1024(p->count)) && bvl_s16_ok(in[0], bvl_times(p->count, 1)) &&
         bvl_f32_ok(out[0], bvl_times(p->count, 1));
}
#endif
