/* matmul_s8 for AVX2: two columns of b against four rows of a. */
#if defined(__AVX2__)
#include "lib/runtime/arch/avx2/avx2_s8.h"
#include "lib/runtime/kernel_table.h"
#include "lib/runtime/kernels/bevel_matmul_s8.h"

void bvl_matmul_s8_avx2(const void* params, const void* const* in, void* const* out, void* scratch, uint32_t begin, uint32_t end) {
  const bvl_matmul_s8_params* p = (const bvl_matmul_s8_params*)params;
  const bvl_output_range output = bvl_make_output_range(p->out_zp, p->low, p->high);
  const __m256 multiplier = _mm256_set1_ps(p->multiplier);
  uint32_t* row_sums = (uint32_t*)scratch;
  int8_t* gathered = (int8_t*)(row_sums + p->rows);
  for (int32_t unit = (int32_t)begin; unit < (int32_t)end;) {
    const int32_t batch = unit / p->rows, first = unit % p->rows, last = bvl_min(p->rows, first + (int32_t)end - unit);
    const int8_t* a = (const int8_t*)in[0] + bvl_batch_offset(batch, p->rank, p->dims, p->a_strides);
    const int8_t* b = (const int8_t*)in[1] + bvl_batch_offset(batch, p->rank, p->dims, p->b_strides);
    /* What certainly may be read: up to the end of the last row, and of each column by itself. */
    const int8_t* a_end = a + (p->rows - 1) * p->a_row + p->in_c;
    int8_t* y = (int8_t*)out[0] + batch * p->rows * p->out_c;
    for (int32_t row = first; row < last; ++row) row_sums[row] = bvl_row_sum(a + row * p->a_row, p->in_c) * (uint32_t)p->b_zp;
    for (int32_t c = 0; c < p->out_c; c += 2) {
      const int32_t c1 = bvl_min(c + 1, p->out_c - 1);
      const int8_t* columns[2];
      uint32_t start[2];
      bvl_columns(p, b, c, 2, gathered, columns, start);
      const int8_t* b_end = (columns[0] < columns[1] ? columns[0] : columns[1]) + p->in_c;
      const __m256i starts = _mm256_set_m128i(_mm_set1_epi32((int)start[1]), _mm_set1_epi32((int)start[0]));
      for (int32_t row = first; row < last; row += 4) {
        const int32_t at[4] = {row, bvl_min(row + 1, last - 1), bvl_min(row + 2, last - 1), bvl_min(row + 3, last - 1)};
        const int8_t* rows[4];
        int8_t bytes[16];
        __m128i dots[2];
        for (int32_t i = 0; i < 4; ++i) rows[i] = a + at[i] * p->a_row; /* past the end the last row is computed again */
        bvl_avx2_dot(rows, a_end, columns[0], columns[1], b_end, p->in_c, 2, dots);
        const __m128i shift = _mm_set_epi32((int)row_sums[at[3]], (int)row_sums[at[2]], (int)row_sums[at[1]], (int)row_sums[at[0]]);
        const __m256i acc = _mm256_sub_epi32(_mm256_add_epi32(_mm256_set_m128i(dots[1], dots[0]), starts), _mm256_set_m128i(shift, shift));
        _mm_storeu_si128((__m128i*)(void*)bytes, bvl_avx2_narrow(bvl_avx2_requantize(acc, multiplier, &output)));
        for (int32_t i = 0; i < 4; ++i) {
          y[at[i] * p->out_c + c] = bytes[i];
          y[at[i] * p->out_c + c1] = bytes[4 + i];
        }
      }
    }
    unit += last - first;
  }
}
#else
typedef int bvl_no_avx2; /* a translation unit must not be empty */
#endif
