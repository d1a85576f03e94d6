/* int4 weights for the AVX2 overrides: sixteen of bevel_dot_w4.h's packed weights, times 16, as int16. */
#ifndef BEVEL_AVX2_W4_H
#define BEVEL_AVX2_W4_H

#include "lib/runtime/arch/avx2/avx2_s8.h"
#include "lib/runtime/kernels/bevel_dot_w4.h"

/* Two blocks in the low eight bytes. */
static inline __m256i bvl_avx2_widen_w4(__m128i bytes) {
  const __m128i top = _mm_set1_epi8((char)0xf0);
  const __m128i low = _mm_and_si128(_mm_slli_epi16(bytes, 4), top), high = _mm_and_si128(bytes, top);
  return _mm256_cvtepi8_epi16(_mm_unpacklo_epi32(low, high));
}
static inline __m256i bvl_avx2_weights_w4(const uint8_t* bytes) {
  return bvl_avx2_widen_w4(_mm_loadl_epi64((const __m128i*)(const void*)bytes));
}
/* The last `rest` < 16 weights of a row, zeros behind its last block. */
static inline __m256i bvl_avx2_last_weights_w4(const uint8_t* bytes, int32_t rest) {
  uint32_t words[2] = {0, 0};
  memcpy(&words[0], bytes, 4);
  if (rest > 8) memcpy(&words[1], bytes + 4, 4);
  return bvl_avx2_widen_w4(_mm_set_epi32(0, 0, (int)words[1], (int)words[0]));
}

/* Four rows x against two rows of weights: result[j] = {x0*wj, x1*wj, x2*wj, x3*wj}, no longer sixteenfold. */
static inline __attribute__((always_inline)) void bvl_avx2_dot_4x2_w4(const int8_t* const x[4], const int8_t* x_end,
                                                                      const uint8_t* w0, const uint8_t* w1, int32_t depth,
                                                                      __m128i result[2]) {
  __m256i s00 = _mm256_setzero_si256(), s10 = s00, s20 = s00, s30 = s00;
  __m256i s01 = s00, s11 = s00, s21 = s00, s31 = s00;
  for (int32_t k = 0; k < depth; k += 16) {
    const int32_t rest = depth - k;
    const int whole = rest >= 16;
    const __m256i v0 = whole ? bvl_avx2_weights_w4(w0 + k / 2) : bvl_avx2_last_weights_w4(w0 + k / 2, rest);
    const __m256i v1 = whole ? bvl_avx2_weights_w4(w1 + k / 2) : bvl_avx2_last_weights_w4(w1 + k / 2, rest);
    __m256i x0, x1, x2, x3;
    if (whole) {
      x0 = bvl_avx2_widen(x[0] + k), x1 = bvl_avx2_widen(x[1] + k);
      x2 = bvl_avx2_widen(x[2] + k), x3 = bvl_avx2_widen(x[3] + k);
    } else { /* what x has past its end meets zeros */
      x0 = _mm256_cvtepi8_epi16(bvl_avx2_load_tail(x[0] + k, rest, x_end));
      x1 = _mm256_cvtepi8_epi16(bvl_avx2_load_tail(x[1] + k, rest, x_end));
      x2 = _mm256_cvtepi8_epi16(bvl_avx2_load_tail(x[2] + k, rest, x_end));
      x3 = _mm256_cvtepi8_epi16(bvl_avx2_load_tail(x[3] + k, rest, x_end));
    }
    s00 = _mm256_add_epi32(s00, _mm256_madd_epi16(x0, v0));
    s10 = _mm256_add_epi32(s10, _mm256_madd_epi16(x1, v0));
    s20 = _mm256_add_epi32(s20, _mm256_madd_epi16(x2, v0));
    s30 = _mm256_add_epi32(s30, _mm256_madd_epi16(x3, v0));
    s01 = _mm256_add_epi32(s01, _mm256_madd_epi16(x0, v1));
    s11 = _mm256_add_epi32(s11, _mm256_madd_epi16(x1, v1));
    s21 = _mm256_add_epi32(s21, _mm256_madd_epi16(x2, v1));
    s31 = _mm256_add_epi32(s31, _mm256_madd_epi16(x3, v1));
  }
  result[0] = _mm_srai_epi32(bvl_avx2_sum_of_four(s00, s10, s20, s30), 4);
  result[1] = _mm_srai_epi32(bvl_avx2_sum_of_four(s01, s11, s21, s31), 4);
}

/* One row x against four rows of weights. */
static inline __m128i bvl_avx2_dot_1x4_w4(const int8_t* x, const int8_t* x_end, const uint8_t* const w[4], int32_t depth) {
  __m256i s0 = _mm256_setzero_si256(), s1 = s0, s2 = s0, s3 = s0;
  int32_t k = 0;
  for (; k + 16 <= depth; k += 16) {
    const __m256i v = bvl_avx2_widen(x + k);
    s0 = _mm256_add_epi32(s0, _mm256_madd_epi16(v, bvl_avx2_weights_w4(w[0] + k / 2)));
    s1 = _mm256_add_epi32(s1, _mm256_madd_epi16(v, bvl_avx2_weights_w4(w[1] + k / 2)));
    s2 = _mm256_add_epi32(s2, _mm256_madd_epi16(v, bvl_avx2_weights_w4(w[2] + k / 2)));
    s3 = _mm256_add_epi32(s3, _mm256_madd_epi16(v, bvl_avx2_weights_w4(w[3] + k / 2)));
  }
  if (k < depth) {
    const int32_t rest = depth - k;
    const __m256i v = _mm256_cvtepi8_epi16(bvl_avx2_load_tail(x + k, rest, x_end));
    s0 = _mm256_add_epi32(s0, _mm256_madd_epi16(v, bvl_avx2_last_weights_w4(w[0] + k / 2, rest)));
    s1 = _mm256_add_epi32(s1, _mm256_madd_epi16(v, bvl_avx2_last_weights_w4(w[1] + k / 2, rest)));
    s2 = _mm256_add_epi32(s2, _mm256_madd_epi16(v, bvl_avx2_last_weights_w4(w[2] + k / 2, rest)));
    s3 = _mm256_add_epi32(s3, _mm256_madd_epi16(v, bvl_avx2_last_weights_w4(w[3] + k / 2, rest)));
  }
  return _mm_srai_epi32(bvl_avx2_sum_of_four(s0, s1, s2, s3), 4);
}

#endif
