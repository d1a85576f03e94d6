/* conv2d_s16 for AVX2: two output pixels meet four output channels at a time. */
#if defined(__AVX2__)
#include "lib/runtime/arch/avx2/avx2_s16.h"
#include "lib/runtime/kernel_table.h"
#include "lib/runtime/kernels/bevel_s16.h"
#include "lib/runtime/kernels/bevel_conv_gather_s16.h"

void bvl_conv2d_s16_avx2(const void* params, const void* const* in, void* const* out, void* scratch, uint32_t begin,
                         uint32_t end) {
  const bvl_conv2d_s16_params* p = (const bvl_conv2d_s16_params*)params;
  const int8_t* weights = (const int8_t*)in[1];
  const int64_t* bias = (const int64_t*)in[2];
  const float* multipliers = (const float*)in[3];
  const int32_t in_group = p->in_c / p->groups, out_group = p->out_c / p->groups;
  const int32_t depth = p->kernel_h * p->kernel_w * in_group, patch = (depth + 15) / 16 * 16;
  const int8_t* weights_end = weights + p->out_c * depth;
  const float low = (float)p->low, high = (float)p->high;
  int16_t* patches = (int16_t*)scratch;
  const int32_t end_pixel = (int32_t)end * p->out_w;
  for (int32_t pixel = (int32_t)begin * p->out_w; pixel < end_pixel; pixel += 2) {
    const int32_t pair[2] = {pixel, bvl_min(pixel + 1, end_pixel - 1)}; /* an odd end computes its pixel twice */
    for (int32_t group = 0; group < p->groups; ++group) {
      for (int32_t i = 0; i < 2; ++i) {
        const int32_t row = pair[i] / p->out_w;
        const int16_t* image = (const int16_t*)in[0] + (row / p->out_h) * p->in_h * p->in_w * p->in_c;
        bvl_conv_gather_s16(p, image, row % p->out_h, pair[i] % p->out_w, group * in_group, in_group, patches + i * patch);
      }
      const int32_t last = (group + 1) * out_group - 1;
      for (int32_t c = group * out_group; c <= last; c += 4) {
        const int8_t* rows[4];
        int64_t acc[2][4];
        for (int32_t i = 0; i < 4; ++i) { /* past the end the last channel is computed again */
          const int32_t channel = bvl_min(c + i, last);
          rows[i] = weights + channel * depth;
          acc[0][i] = acc[1][i] = bvl_bias_s16(bias[channel]);
        }
        bvl_avx2_dot_s16(rows, weights_end, patches, patches + patch, patches + 2 * patch, depth, acc);
        for (int32_t j = 0; j < 2; ++j) {
          int16_t* y = (int16_t*)out[0] + pair[j] * p->out_c + c;
          for (int32_t i = 0; i < 4 && c + i <= last; ++i) y[i] = bvl_requantize_s16(acc[j][i], multipliers[c + i], low, high);
        }
      }
    }
  }
}
#else
typedef int bvl_no_avx2; /* a translation unit must not be empty */
#endif
