/* dense_s8_w4 for AVX2: one row of x against four channels, or four rows against two channels. */
#if defined(__AVX2__)
#include "lib/runtime/arch/avx2/avx2_w4.h"
#include "lib/runtime/kernel_table.h"

static void one_row(const bvl_dense_s8_w4_params* p, const int8_t* x, const uint8_t* weights, const int32_t* bias,
                    const float* multipliers, int8_t* y, int32_t begin, int32_t end) {
  const bvl_output_range output = bvl_make_output_range(p->out_zp, p->low, p->high);
  const int32_t row_bytes = bvl_padded_w4(p->in_c) / 2;
  for (int32_t c = begin; c < end; c += 4) {
    const int32_t count = bvl_min(4, end - c);
    const uint8_t* rows[4];
    int32_t acc[4];
    for (int32_t i = 0; i < 4; ++i) rows[i] = weights + (c + bvl_min(i, count - 1)) * row_bytes;
    _mm_storeu_si128((__m128i*)(void*)acc, bvl_avx2_dot_1x4_w4(x, x + p->in_c, rows, p->in_c));
    for (int32_t i = 0; i < count; ++i) {
      y[c + i] = bvl_requantize((uint32_t)acc[i] + (uint32_t)bias[c + i], multipliers[c + i], &output);
    }
  }
}

static void four_rows(const bvl_dense_s8_w4_params* p, const int8_t* const x[4], const int8_t* x_end,
                      const uint8_t* weights, const int32_t* bias, const float* multipliers, int8_t* const y[4]) {
  const bvl_output_range output = bvl_make_output_range(p->out_zp, p->low, p->high);
  const int32_t row_bytes = bvl_padded_w4(p->in_c) / 2;
  for (int32_t c0 = 0; c0 < p->out_c; c0 += 2) {
    const int32_t c1 = bvl_min(c0 + 1, p->out_c - 1);
    __m128i dots[2];
    int8_t bytes[16];
    bvl_avx2_dot_4x2_w4(x, x_end, weights + c0 * row_bytes, weights + c1 * row_bytes, p->in_c, dots);
    dots[0] = _mm_add_epi32(dots[0], _mm_set1_epi32(bias[c0]));
    dots[1] = _mm_add_epi32(dots[1], _mm_set1_epi32(bias[c1]));
    const __m256 scale = _mm256_set_m128(_mm_set1_ps(multipliers[c1]), _mm_set1_ps(multipliers[c0]));
    const __m256i values = bvl_avx2_requantize(_mm256_set_m128i(dots[1], dots[0]), scale, &output);
    _mm_storeu_si128((__m128i*)(void*)bytes, bvl_avx2_narrow(values));
    for (int32_t i = 0; i < 4; ++i) {
      y[i][c0] = bytes[i];
      y[i][c1] = bytes[4 + i];
    }
  }
}

void bvl_dense_s8_w4_avx2(const void* params, const void* const* in, void* const* out, void* scratch, uint32_t begin,
                          uint32_t end) {
  const bvl_dense_s8_w4_params* p = (const bvl_dense_s8_w4_params*)params;
  const int8_t* x = (const int8_t*)in[0];
  const uint8_t* weights = (const uint8_t*)in[1];
  const int32_t* bias = (const int32_t*)in[2];
  const float* multipliers = (const float*)in[3];
  int8_t* y = (int8_t*)out[0];
  (void)scratch;
  if (p->rows == 1) {
    one_row(p, x, weights, bias, multipliers, y, (int32_t)begin, (int32_t)end);
    return;
  }
  for (int32_t row = (int32_t)begin; row < (int32_t)end; row += 4) {
    const int8_t* rows[4];
    int8_t* results[4];
    for (int32_t i = 0; i < 4; ++i) { /* past the end the last row is computed again */
      const int32_t at = bvl_min(row + i, (int32_t)end - 1);
      rows[i] = x + at * p->in_c;
      results[i] = y + at * p->out_c;
    }
    four_rows(p, rows, x + p->rows * p->in_c, weights, bias, multipliers, results);
  }
}
#else
typedef int bvl_no_avx2; /* a translation unit must not be empty */
#endif
