/* conv2d_s8_w4, portable and Arm DSP: as conv2d_s8, with packed int4 weights. Parameters and semantics: bevel_kernels.h. */
#include "lib/runtime/kernels/bevel_conv_gather.h"
#include "lib/runtime/kernels/bevel_dot_w4.h"
#include "lib/runtime/kernels/bevel_kernel_common.h"

BVL_LINKAGE void bvl_conv2d_s8_w4(const void* params, const void* const* in, void* const* out, void* scratch,
                                  uint32_t begin, uint32_t end) {
  const bvl_conv2d_s8_params* p = (const bvl_conv2d_s8_params*)params; /* the same fields */
  const uint8_t* weights = (const uint8_t*)in[1];
  const int32_t* bias = (const int32_t*)in[2];
  const float* multipliers = (const float*)in[3];
  const int32_t in_group = p->in_c / p->groups, out_group = p->out_c / p->groups;
  const int32_t padded = bvl_padded_w4(p->kernel_h * p->kernel_w * in_group), row_bytes = padded / 2;
  const bvl_output_range output = bvl_make_output_range(p->out_zp, p->low, p->high);
  const int32_t end_pixel = (int32_t)end * p->out_w;
  for (int32_t pixel = (int32_t)begin * p->out_w; pixel < end_pixel; pixel += 2) {
    const int32_t pair[2] = {pixel, bvl_min(pixel + 1, end_pixel - 1)}; /* an odd end computes its pixel twice */
    int8_t* y0 = (int8_t*)out[0] + pair[0] * p->out_c;
    int8_t* y1 = (int8_t*)out[0] + pair[1] * p->out_c;
    for (int32_t group = 0; group < p->groups; ++group) {
      for (int32_t i = 0; i < 2; ++i) {
        const int32_t row = pair[i] / p->out_w;
        const int8_t* image = (const int8_t*)in[0] + (row / p->out_h) * p->in_h * p->in_w * p->in_c;
        bvl_conv_gather(p, image, row % p->out_h, pair[i] % p->out_w, group * in_group, in_group,
                        bvl_patch_of_pixel(scratch, padded, i));
      }
      const int32_t last = (group + 1) * out_group - 1;
      for (int32_t c0 = group * out_group; c0 <= last; c0 += 2) {
        const int32_t c1 = bvl_min(c0 + 1, last);
        uint32_t acc[4] = {0, 0, 0, 0};
        bvl_dot_2x2_w4(weights + c0 * row_bytes, weights + c1 * row_bytes, scratch, padded, acc);
        y0[c0] = bvl_requantize(bvl_sum_w4(bias[c0], acc[0]), multipliers[c0], &output);
        y0[c1] = bvl_requantize(bvl_sum_w4(bias[c1], acc[2]), multipliers[c1], &output);
        y1[c0] = bvl_requantize(bvl_sum_w4(bias[c0], acc[1]), multipliers[c0], &output);
        y1[c1] = bvl_requantize(bvl_sum_w4(bias[c1], acc[3]), multipliers[c1], &output);
      }
    }
  }
}

#ifndef BVL_EMITTED
#include "lib/runtime/kernels/bevel_kernel_check.h"

/* Four int8 patches padded to 16 (vector overrides) or two int16 patches padded to 8 (DSP). */
uint64_t bvl_conv2d_s8_w4_scratch(const void* params) {
  const bvl_conv2d_s8_w4_params* p = (const bvl_conv2d_s8_w4_params*)params;
  if (p->groups <= 0) return 0;
  const uint64_t depth = (uint64_t)(uint32_t)p->kernel_h * (uint32_t)p->kernel_w * (uint32_t)(p->in_c / p->groups);
  return 4 * ((depth + 15) / 16 * 16);
}

int bvl_conv2d_s8_w4_check(const void* params, const bvl_step* step, const bvl_tensor* const* in,
                           const bvl_tensor* const* out) {
  const bvl_conv2d_s8_w4_params* p = (const bvl_conv2d_s8_w4_params*)params;
  return bvl_counts_ok(step, 4, 1, bvl_times(p->n, p->out_h)) && p->groups > 0 && p->in_c > 0 && p->out_c > 0 &&
         p->in_c % p->groups == 0 && p->out_c % p->groups == 0 &&
         bvl_window_ok(p->in_h, p->out_h, p->kernel_h, p->stride_h, p->dilation_h, p->pad_top) &&
         bvl_window_ok(p->in_w, p->out_w, p->kernel_w, p->stride_w, p->dilation_w, p->pad_left) &&
         bvl_is_s8(p->in_zp) && bvl_bounds_ok(p->out_zp, p->low, p->high) &&
         bvl_s8_ok(in[0], bvl_times4(p->n, p->in_h, p->in_w, p->in_c)) &&
         bvl_w4_ok(in[1], p->out_c, bvl_times4(p->kernel_h, p->kernel_w, p->in_c / p->groups, 1)) &&
         bvl_s32_ok(in[2], p->out_c) && bvl_f32_ok(in[3], p->out_c) &&
         bvl_s8_ok(out[0], bvl_times4(p->n, p->out_h, p->out_w, p->out_c)) &&
         step->scratch_bytes >= bvl_conv2d_s8_w4_scratch(params);
}
#endif
