/* depthwise_conv2d_s8_w4 for AVX2: sixteen channels at a time; (x - in_zp) * 16 * w is at most 255 * 128 and fits int16. */
#if defined(__AVX2__)
#include "lib/runtime/arch/avx2/avx2_w4.h"
#include "lib/runtime/kernel_table.h"

void bvl_depthwise_conv2d_s8_w4_avx2(const void* params, const void* const* in, void* const* out, void* scratch,
                                     uint32_t begin, uint32_t end) {
  const bvl_depthwise_conv2d_s8_w4_params* p = (const bvl_depthwise_conv2d_s8_w4_params*)params;
  const int32_t channels = p->out_c;
  if (p->out_c != p->in_c || channels < 16 || channels % 8 != 0) {
    bvl_depthwise_conv2d_s8_w4(params, in, out, scratch, begin, end);
    return;
  }
  const uint8_t* weights = (const uint8_t*)in[1];
  const int32_t* bias = (const int32_t*)in[2];
  const float* multipliers = (const float*)in[3];
  int32_t* base = (int32_t*)scratch; /* as in the portable kernel: sixteen times the zero point's share */
  const int32_t tap_bytes = channels / 2;
  const bvl_output_range output = bvl_make_output_range(p->out_zp, p->low, p->high);
  for (int32_t c = 0; c < channels; ++c) {
    uint32_t sum = 0;
    for (int32_t tap = 0; tap < p->kernel_h * p->kernel_w; ++tap) {
      const uint8_t byte = weights[tap * tap_bytes + c / 8 * 4 + (c & 3)];
      sum = bvl_mac(sum, p->in_zp, (c & 4) ? bvl_high_w4(byte) : bvl_low_w4(byte));
    }
    base[c] = (int32_t)sum;
  }
  const __m256i zero_point = _mm256_set1_epi16((int16_t)p->in_zp);
  const int32_t x_step = p->dilation_w * channels;
  for (int32_t row = (int32_t)begin; row < (int32_t)end; ++row) {
    const int8_t* image = (const int8_t*)in[0] + (row / p->out_h) * p->in_h * p->in_w * channels;
    int8_t* y = (int8_t*)out[0] + row * p->out_w * channels;
    const int32_t y0 = (row % p->out_h) * p->stride_h - p->pad_top;
    const int32_t ky0 = bvl_first_tap(y0, p->dilation_h);
    const int32_t ky1 = bvl_end_tap(y0, p->dilation_h, p->kernel_h, p->in_h);
    for (int32_t ox = 0; ox < p->out_w; ++ox, y += channels) {
      const int32_t x0 = ox * p->stride_w - p->pad_left;
      const int32_t kx0 = bvl_first_tap(x0, p->dilation_w);
      const int32_t kx1 = bvl_end_tap(x0, p->dilation_w, p->kernel_w, p->in_w);
      const int32_t columns = bvl_max(kx1 - kx0, 0);
      const int32_t tap_rows = columns > 0 ? bvl_max(ky1 - ky0, 0) : 0; /* none: their place is no address */
      for (int32_t block = 0; block < channels; block += 16) {
        const int32_t c = bvl_min(block, channels - 16); /* the last block may repeat channels */
        __m256i low = _mm256_loadu_si256((const __m256i*)(const void*)(base + c));
        __m256i high = _mm256_loadu_si256((const __m256i*)(const void*)(base + c + 8));
        for (int32_t ky = ky0; ky < ky0 + tap_rows; ++ky) {
          const uint8_t* w = weights + (ky * p->kernel_w + kx0) * tap_bytes + c / 2;
          const int8_t* x = image + ((y0 + ky * p->dilation_h) * p->in_w + x0 + kx0 * p->dilation_w) * channels + c;
          for (int32_t count = columns; count > 0; --count) {
            const __m256i value = _mm256_sub_epi16(bvl_avx2_widen(x), zero_point);
            const __m256i product = _mm256_mullo_epi16(value, bvl_avx2_weights_w4(w));
            low = _mm256_add_epi32(low, _mm256_cvtepi16_epi32(_mm256_castsi256_si128(product)));
            high = _mm256_add_epi32(high, _mm256_cvtepi16_epi32(_mm256_extracti128_si256(product, 1)));
            x += x_step;
            w += tap_bytes;
          }
        }
        low = _mm256_add_epi32(_mm256_srai_epi32(low, 4), _mm256_loadu_si256((const __m256i*)(const void*)(bias + c)));
        high = _mm256_add_epi32(_mm256_srai_epi32(high, 4), _mm256_loadu_si256((const __m256i*)(const void*)(bias + c + 8)));
        low = bvl_avx2_requantize(low, _mm256_loadu_ps(multipliers + c), &output);
        high = bvl_avx2_requantize(high, _mm256_loadu_ps(multipliers + c + 8), &output);
        const __m128i bytes = _mm_unpacklo_epi64(bvl_avx2_narrow(low), bvl_avx2_narrow(high));
        _mm_storeu_si128((__m128i*)(void*)(y + c), bytes);
      }
    }
  }
}
#else
typedef int bvl_no_avx2; /* a translation unit must not be empty */
#endif
