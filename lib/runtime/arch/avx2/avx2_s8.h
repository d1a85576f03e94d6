/* Shared by the AVX2 overrides: exact int8 dot products (sign-extended to int16, VPMADDWD; its int32 sums of two products of
 * int8 cannot overflow, unlike VPMADDUBSW's int16 sums) and the rounding of bevel_kernel_common.h, eight at a time. */
#ifndef BEVEL_AVX2_S8_H
#define BEVEL_AVX2_S8_H

#include <immintrin.h>

#include "lib/runtime/kernels/bevel_kernel_common.h"

static inline __m256i bvl_avx2_widen(const int8_t* bytes) {
  return _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i*)(const void*)bytes));
}

/* 16 bytes of which the first `count` matter; never reads at or past `end`. */
static inline __m128i bvl_avx2_load_tail(const int8_t* bytes, int32_t count, const int8_t* end) {
  if (end - bytes >= 16) return _mm_loadu_si128((const __m128i*)(const void*)bytes);
  int8_t copy[16] = {0};
  memcpy(copy, bytes, (size_t)count);
  return _mm_loadu_si128((const __m128i*)(const void*)copy);
}

static inline __m128i bvl_avx2_sum_of_four(__m256i a, __m256i b, __m256i c, __m256i d) {
  const __m256i sums = _mm256_hadd_epi32(_mm256_hadd_epi32(a, b), _mm256_hadd_epi32(c, d));
  return _mm_add_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256(sums, 1));
}

/* Four rows a against `rows_b` (1 or 2) rows b, `depth` long: result[j] = {a0*bj, a1*bj, a2*bj, a3*bj}. The ends bound what may be
 * read. */
static inline __attribute__((always_inline)) void bvl_avx2_dot(const int8_t* const a[4], const int8_t* a_end,
                                                               const int8_t* b0, const int8_t* b1,
                                                               const int8_t* b_end, int32_t depth, int rows_b,
                                                               __m128i result[2]) {
  __m256i s00 = _mm256_setzero_si256(), s10 = s00, s20 = s00, s30 = s00;
  __m256i s01 = s00, s11 = s00, s21 = s00, s31 = s00;
  const int8_t *a0 = a[0], *a1 = a[1], *a2 = a[2], *a3 = a[3];
  int32_t k = 0;
  for (; k + 16 <= depth; k += 16) {
    const __m256i v0 = bvl_avx2_widen(b0 + k);
    const __m256i x0 = bvl_avx2_widen(a0 + k), x1 = bvl_avx2_widen(a1 + k);
    const __m256i x2 = bvl_avx2_widen(a2 + k), x3 = bvl_avx2_widen(a3 + k);
    s00 = _mm256_add_epi32(s00, _mm256_madd_epi16(x0, v0));
    s10 = _mm256_add_epi32(s10, _mm256_madd_epi16(x1, v0));
    s20 = _mm256_add_epi32(s20, _mm256_madd_epi16(x2, v0));
    s30 = _mm256_add_epi32(s30, _mm256_madd_epi16(x3, v0));
    if (rows_b == 2) {
      const __m256i v1 = bvl_avx2_widen(b1 + k);
      s01 = _mm256_add_epi32(s01, _mm256_madd_epi16(x0, v1));
      s11 = _mm256_add_epi32(s11, _mm256_madd_epi16(x1, v1));
      s21 = _mm256_add_epi32(s21, _mm256_madd_epi16(x2, v1));
      s31 = _mm256_add_epi32(s31, _mm256_madd_epi16(x3, v1));
    }
  }
  if (k < depth) { /* what b has past its end meets zeros of a */
    const int32_t rest = depth - k;
    const __m128i index = _mm_setr_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const __m128i mask = _mm_cmpgt_epi8(_mm_set1_epi8((char)rest), index);
    const __m256i v0 = _mm256_cvtepi8_epi16(bvl_avx2_load_tail(b0 + k, rest, b_end));
    const __m256i v1 = rows_b == 2 ? _mm256_cvtepi8_epi16(bvl_avx2_load_tail(b1 + k, rest, b_end)) : v0;
    const __m256i x0 = _mm256_cvtepi8_epi16(_mm_and_si128(mask, bvl_avx2_load_tail(a0 + k, rest, a_end)));
    const __m256i x1 = _mm256_cvtepi8_epi16(_mm_and_si128(mask, bvl_avx2_load_tail(a1 + k, rest, a_end)));
    const __m256i x2 = _mm256_cvtepi8_epi16(_mm_and_si128(mask, bvl_avx2_load_tail(a2 + k, rest, a_end)));
    const __m256i x3 = _mm256_cvtepi8_epi16(_mm_and_si128(mask, bvl_avx2_load_tail(a3 + k, rest, a_end)));
    s00 = _mm256_add_epi32(s00, _mm256_madd_epi16(x0, v0));
    s10 = _mm256_add_epi32(s10, _mm256_madd_epi16(x1, v0));
    s20 = _mm256_add_epi32(s20, _mm256_madd_epi16(x2, v0));
    s30 = _mm256_add_epi32(s30, _mm256_madd_epi16(x3, v0));
    if (rows_b == 2) {
      s01 = _mm256_add_epi32(s01, _mm256_madd_epi16(x0, v1));
      s11 = _mm256_add_epi32(s11, _mm256_madd_epi16(x1, v1));
      s21 = _mm256_add_epi32(s21, _mm256_madd_epi16(x2, v1));
      s31 = _mm256_add_epi32(s31, _mm256_madd_epi16(x3, v1));
    }
  }
  result[0] = bvl_avx2_sum_of_four(s00, s10, s20, s30);
  if (rows_b == 2) result[1] = bvl_avx2_sum_of_four(s01, s11, s21, s31);
}

/* VMAXPS and VMINPS give their second operand for NaN, as bvl_round_clamp does; VCVTPS2DQ rounds half to even. */
static inline __m256i bvl_avx2_round_clamp(__m256 v, const bvl_output_range* output) {
  v = _mm256_min_ps(_mm256_max_ps(v, _mm256_set1_ps(output->low)), _mm256_set1_ps(output->high));
  return _mm256_add_epi32(_mm256_cvtps_epi32(v), _mm256_set1_epi32(output->zero_point));
}

static inline __m256i bvl_avx2_requantize(__m256i acc, __m256 multipliers, const bvl_output_range* output) {
  return bvl_avx2_round_clamp(_mm256_mul_ps(_mm256_cvtepi32_ps(acc), multipliers), output);
}

/* Eight int32 within int8 as eight bytes. */
static inline __m128i bvl_avx2_narrow(__m256i values) {
  const __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(values), _mm256_extracti128_si256(values, 1));
  return _mm_packs_epi16(words, words);
}

/* Eight results, {c0: pixels 0..3, c1: pixels 0..3}, to the pixels' places. */
static inline void bvl_avx2_store_block(__m128i bytes, int8_t* const y[4], int32_t pixels, int32_t c0, int32_t two) {
  const __m128i pairs = _mm_unpacklo_epi8(bytes, _mm_srli_si128(bytes, 4)); /* c0,c1 of pixel 0, of pixel 1, ... */
  uint64_t words = (uint64_t)_mm_cvtsi128_si64(pairs);
  for (int32_t pixel = 0; pixel < pixels; ++pixel, words >>= 16) {
    if (two) memcpy(y[pixel] + c0, &words, 2);
    else memcpy(y[pixel] + c0, &words, 1);
  }
}

#endif
