/* conv2d_s8_w4 for AVX2: four output pixels meet two output channels at a time. */
#if defined(__AVX2__)
#include "lib/runtime/arch/avx2/avx2_w4.h"
#include "lib/runtime/kernel_table.h"
#include "lib/runtime/kernels/bevel_conv_gather.h"

void bvl_conv2d_s8_w4_avx2(const void* params, const void* const* in, void* const* out, void* scratch, uint32_t begin,
                           uint32_t end) {
  const bvl_conv2d_s8_params* p = (const bvl_conv2d_s8_params*)params; /* the same fields */
  const uint8_t* weights = (const uint8_t*)in[1];
  const int32_t* bias = (const int32_t*)in[2];
  const float* multipliers = (const float*)in[3];
  const int32_t in_group = p->in_c / p->groups, out_group = p->out_c / p->groups;
  const int32_t depth = p->kernel_h * p->kernel_w * in_group, patch_bytes = (depth + 15) / 16 * 16;
  const int32_t row_bytes = bvl_padded_w4(depth) / 2;
  const bvl_output_range output = bvl_make_output_range(p->out_zp, p->low, p->high);
  /* A pixel's channels are its patch where no byte past them is read. */
  const int direct = p->kernel_h == 1 && p->kernel_w == 1 && p->pad_top == 0 && p->pad_left == 0 && depth % 16 == 0 &&
                     (p->out_h - 1) * p->stride_h < p->in_h && (p->out_w - 1) * p->stride_w < p->in_w;
  for (int32_t row = (int32_t)begin; row < (int32_t)end; ++row) {
    const int8_t* image = (const int8_t*)in[0] + (row / p->out_h) * p->in_h * p->in_w * p->in_c;
    const int32_t oy = row % p->out_h;
    for (int32_t ox = 0; ox < p->out_w; ox += 4) {
      const int32_t pixels = bvl_min(4, p->out_w - ox);
      int8_t* y[4];
      const int8_t* x[4];
      for (int32_t i = 0; i < 4; ++i) y[i] = (int8_t*)out[0] + (row * p->out_w + ox + bvl_min(i, pixels - 1)) * p->out_c;
      for (int32_t group = 0; group < p->groups; ++group) {
        for (int32_t i = 0; i < 4; ++i) {
          const int32_t pixel = bvl_min(i, pixels - 1);
          if (direct) {
            x[i] = image + (oy * p->stride_h * p->in_w + (ox + pixel) * p->stride_w) * p->in_c + group * in_group;
          } else {
            int8_t* patch = (int8_t*)scratch + pixel * patch_bytes;
            if (i < pixels) bvl_conv_gather(p, image, oy, ox + i, group * in_group, in_group, patch);
            x[i] = patch;
          }
        }
        const int8_t* x_end = (const int8_t*)scratch + 4 * patch_bytes; /* of patches; direct rows have no tail */
        const int32_t last = (group + 1) * out_group - 1;
        for (int32_t c0 = group * out_group; c0 <= last; c0 += 2) {
          const int32_t c1 = bvl_min(c0 + 1, last);
          __m128i dots[2];
          bvl_avx2_dot_4x2_w4(x, x_end, weights + c0 * row_bytes, weights + c1 * row_bytes, depth, dots);
          dots[0] = _mm_add_epi32(dots[0], _mm_set1_epi32(bias[c0]));
          dots[1] = _mm_add_epi32(dots[1], _mm_set1_epi32(bias[c1]));
          const __m256 scale = _mm256_set_m128(_mm_set1_ps(multipliers[c1]), _mm_set1_ps(multipliers[c0]));
          const __m256i values = bvl_avx2_requantize(_mm256_set_m128i(dots[1], dots[0]), scale, &output);
          bvl_avx2_store_block(bvl_avx2_narrow(values), y, pixels, c0, c1 > c0);
        }
      }
    }
  }
}
#else
typedef int bvl_no_avx2; /* a translation unit must not be empty */
#endif
