/* quantize_f32_s16. Semantics: bevel_kernels.h (ONNX QuantizeLinear, opset 21). */
#include "lib/runtime/kernels/bevel_kernel_common.h"

BVL_LINKAGE void bvl_quantize_f32_s16(const void* params, const void* const* in, void* const* out, void* scratch,
                                      uint32_t begin, uint32_t end) {
  const bvl_quantize_f32_s16_params* p = (const bvl_quantize_f32_s16_params*)params;
  const float* x = (const float*)in[0];
  int16_t* y = (int16_t*)out[0];
  const float low = (float)p->low, high = (float)p->high;
  const int32_t last = bvl_min(p->count, (int32_t)end * 1024);
  (void)scratch;
  for (int32_t i = (int32_t)begin * 1024; i < last; ++i) y[i] = (int16_t)bvl_round_clamp(x[i] / p->scale, low, high);
}

#ifndef BVL_EMITTED
#include "lib/runtime/kernels/bevel_kernel_check.h"

uint64_t bvl_quantize_f32_s16_scratch(const void* params) {
  (void)params;
  return 0;
}

int bvl_quantize_f32_s16_check(const void* params, const bvl_step* step, const bvl_tensor* const* in,
                               const bvl_tensor* const* out) {
  const bvl_quantize_f32_s16_params* p = (const bvl_quantize_f32_s16_params*)params;
  return bvl_counts_ok(step, 1, 1, bvl_blocks_of_1024(p->count)) && bvl_bounds_s16_ok(p->low, p->high) &&
         bvl_f32_ok(in[0], bvl_times(p->count, 1)) && bvl_s16_ok(out[0], bvl_times(p->count, 1));
}
#endif
