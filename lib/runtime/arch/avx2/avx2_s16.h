/* int16 activations for the AVX2 overrides: dot products with int8 weights by VPMADDWD, in runs whose sums fit 32 bits. */
#ifndef BEVEL_AVX2_S16_H
#define BEVEL_AVX2_S16_H

#include "lib/runtime/arch/avx2/avx2_s8.h"
#include "lib/runtime/kernels/bevel_s16.h"

/* 16 values of which the first `count` matter; never reads at or past `end`. */
static inline __m256i bvl_avx2_load_tail_s16(const int16_t* values, int32_t count, const int16_t* end) {
  if (end - values >= 16) return _mm256_loadu_si256((const __m256i*)(const void*)values);
  int16_t copy[16] = {0};
  memcpy(copy, values, (size_t)count * 2);
  return _mm256_loadu_si256((const __m256i*)(const void*)copy);
}

/* Four rows of weights against two of x: acc[j][i] += wi * xj. The ends bound what may be read. */
static inline void bvl_avx2_dot_s16(const int8_t* const w[4], const int8_t* w_end, const int16_t* x0, const int16_t* x1,
                                    const int16_t* x_end, int32_t depth, int64_t acc[2][4]) {
  const __m128i index = _mm_setr_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  for (int32_t run = 0; run < depth; run += BVL_RUN_S16) {
    const int32_t end = bvl_min(run + BVL_RUN_S16, depth);
    __m256i s00 = _mm256_setzero_si256(), s10 = s00, s20 = s00, s30 = s00;
    __m256i s01 = s00, s11 = s00, s21 = s00, s31 = s00;
    for (int32_t k = run; k < end; k += 16) {
      const int32_t rest = end - k;
      __m256i v0, v1, v2, v3, u0, u1;
      if (rest >= 16) {
        v0 = bvl_avx2_widen(w[0] + k), v1 = bvl_avx2_widen(w[1] + k);
        v2 = bvl_avx2_widen(w[2] + k), v3 = bvl_avx2_widen(w[3] + k);
        u0 = _mm256_loadu_si256((const __m256i*)(const void*)(x0 + k));
        u1 = _mm256_loadu_si256((const __m256i*)(const void*)(x1 + k));
      } else { /* what x has past its end meets zeros of w */
        const __m128i mask = _mm_cmpgt_epi8(_mm_set1_epi8((char)rest), index);
        v0 = _mm256_cvtepi8_epi16(_mm_and_si128(mask, bvl_avx2_load_tail(w[0] + k, rest, w_end)));
        v1 = _mm256_cvtepi8_epi16(_mm_and_si128(mask, bvl_avx2_load_tail(w[1] + k, rest, w_end)));
        v2 = _mm256_cvtepi8_epi16(_mm_and_si128(mask, bvl_avx2_load_tail(w[2] + k, rest, w_end)));
        v3 = _mm256_cvtepi8_epi16(_mm_and_si128(mask, bvl_avx2_load_tail(w[3] + k, rest, w_end)));
        u0 = bvl_avx2_load_tail_s16(x0 + k, rest, x_end);
        u1 = bvl_avx2_load_tail_s16(x1 + k, rest, x_end);
      }
      s00 = _mm256_add_epi32(s00, _mm256_madd_epi16(v0, u0));
      s10 = _mm256_add_epi32(s10, _mm256_madd_epi16(v1, u0));
      s20 = _mm256_add_epi32(s20, _mm256_madd_epi16(v2, u0));
      s30 = _mm256_add_epi32(s30, _mm256_madd_epi16(v3, u0));
      s01 = _mm256_add_epi32(s01, _mm256_madd_epi16(v0, u1));
      s11 = _mm256_add_epi32(s11, _mm256_madd_epi16(v1, u1));
      s21 = _mm256_add_epi32(s21, _mm256_madd_epi16(v2, u1));
      s31 = _mm256_add_epi32(s31, _mm256_madd_epi16(v3, u1));
    }
    int32_t sums[2][4];
    _mm_storeu_si128((__m128i*)(void*)sums[0], bvl_avx2_sum_of_four(s00, s10, s20, s30));
    _mm_storeu_si128((__m128i*)(void*)sums[1], bvl_avx2_sum_of_four(s01, s11, s21, s31));
    for (int32_t i = 0; i < 4; ++i) acc[0][i] += sums[0][i], acc[1][i] += sums[1][i];
  }
}

#endif
