/* conv2d_s16, portable and Arm DSP: two output pixels are gathered into scratch, then meet two output channels at a time.
 * Parameters and semantics: bevel_kernels.h. */
#include "lib/runtime/kernels/bevel_conv_gather_s16.h"
#include "lib/runtime/kernels/bevel_kernel_common.h"
#include "lib/runtime/kernels/bevel_s16.h"

BVL_LINKAGE void bvl_conv2d_s16(const void* params, const void* const* in, void* const* out, void* scratch,
                                uint32_t begin, uint32_t end) {
  const bvl_conv2d_s16_params* p = (const bvl_conv2d_s16_params*)params;
  const int8_t* weights = (const int8_t*)in[1];
  const int64_t* bias = (const int64_t*)in[2];
  const float* multipliers = (const float*)in[3];
  const int32_t in_group = p->in_c / p->groups, out_group = p->out_c / p->groups;
  const int32_t depth = p->kernel_h * p->kernel_w * in_group;
  const float low = (float)p->low, high = (float)p->high;
  const int32_t end_pixel = (int32_t)end * p->out_w;
  for (int32_t pixel = (int32_t)begin * p->out_w; pixel < end_pixel; pixel += 2) {
    const int32_t pair[2] = {pixel, bvl_min(pixel + 1, end_pixel - 1)}; /* an odd end computes its pixel twice */
    int16_t* y0 = (int16_t*)out[0] + pair[0] * p->out_c;
    int16_t* y1 = (int16_t*)out[0] + pair[1] * p->out_c;
    for (int32_t group = 0; group < p->groups; ++group) {
      for (int32_t i = 0; i < 2; ++i) {
        const int32_t row = pair[i] / p->out_w;
        const int16_t* image = (const int16_t*)in[0] + (row / p->out_h) * p->in_h * p->in_w * p->in_c;
        bvl_conv_gather_s16(p, image, row % p->out_h, pair[i] % p->out_w, group * in_group, in_group,
                            bvl_patch_of_pixel_s16(scratch, depth, i));
      }
      const int32_t last = (group + 1) * out_group - 1;
      for (int32_t c0 = group * out_group; c0 <= last; c0 += 2) {
        const int32_t c1 = bvl_min(c0 + 1, last);
        int64_t acc[4] = {bvl_bias_s16(bias[c0]), bvl_bias_s16(bias[c0]), bvl_bias_s16(bias[c1]), bvl_bias_s16(bias[c1])};
        bvl_dot_2x2_s16(weights + c0 * depth, weights + c1 * depth, scratch, depth, acc);
        y0[c0] = bvl_requantize_s16(acc[0], multipliers[c0], low, high);
        y0[c1] = bvl_requantize_s16(acc[2], multipliers[c1], low, high);
        y1[c0] = bvl_requantize_s16(acc[1], multipliers[c0], low, high);
        y1[c1] = bvl_requantize_s16(acc[3], multipliers[c1], low, high);
      }
    }
  }
}

#ifndef BVL_EMITTED
#include "lib/runtime/kernels/bevel_kernel_check.h"

/* Two int16 patches padded to 16. */
uint64_t bvl_conv2d_s16_scratch(const void* params) {
  const bvl_conv2d_s16_params* p = (const bvl_conv2d_s16_params*)params;
  if (p->groups <= 0) return 0;
  const uint64_t depth = (uint64_t)(uint32_t)p->kernel_h * (uint32_t)p->kernel_w * (uint32_t)(p->in_c / p->groups);
  return 4 * ((depth + 15) / 16 * 16);
}

int bvl_conv2d_s16_check(const void* params, const bvl_step* step, const bvl_tensor* const* in,
                         const bvl_tensor* const* out) {
  const bvl_conv2d_s16_params* p = (const bvl_conv2d_s16_params*)params;
  return bvl_counts_ok(step, 4, 1, bvl_times(p->n, p->out_h)) && p->groups > 0 && p->in_c > 0 && p->out_c > 0 &&
         p->in_c % p->groups == 0 && p->out_c % p->groups == 0 &&
         bvl_window_ok(p->in_h, p->out_h, p->kernel_h, p->stride_h, p->dilation_h, p->pad_top) &&
         bvl_window_ok(p->in_w, p->out_w, p->kernel_w, p->stride_w, p->dilation_w, p->pad_left) &&
         bvl_bounds_s16_ok(p->low, p->high) && bvl_s16_ok(in[0], bvl_times4(p->n, p->in_h, p->in_w, p->in_c)) &&
         bvl_s8_ok(in[1], bvl_times4(p->out_c, p->kernel_h, p->kernel_w, p->in_c / p->groups)) &&
         bvl_s64_ok(in[2], p->out_c) && bvl_f32_ok(in[3], p->out_c) &&
         bvl_s16_ok(out[0], bvl_times4(p->n, p->out_h, p->out_w, p->out_c)) &&
         step->scratch_bytes >= bvl_conv2d_s16_scratch(params);
}
#endif
