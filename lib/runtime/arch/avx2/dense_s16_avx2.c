/* dense_s16 for AVX2: one or two rows of x against four channels. */
#if defined(__AVX2__)
#include "lib/runtime/arch/avx2/avx2_s16.h"
#include "lib/runtime/kernel_table.h"
#include "lib/runtime/kernels/bevel_s16.h"

void bvl_dense_s16_avx2(const void* params, const void* const* in, void* const* out, void* scratch, uint32_t begin,
                        uint32_t end) {
  const bvl_dense_s16_params* p = (const bvl_dense_s16_params*)params;
  const int8_t* weights = (const int8_t*)in[1];
  const int64_t* bias = (const int64_t*)in[2];
  const float* multipliers = (const float*)in[3];
  const int16_t* x_end = (const int16_t*)in[0] + p->rows * p->in_c;
  const float low = (float)p->low, high = (float)p->high;
  const int one_row = p->rows == 1;
  const int32_t first_row = one_row ? 0 : (int32_t)begin, end_row = one_row ? 1 : (int32_t)end;
  const int32_t first = one_row ? (int32_t)begin : 0, last = (one_row ? (int32_t)end : p->out_c) - 1;
  (void)scratch;
  for (int32_t row = first_row; row < end_row; row += 2) {
    const int32_t pair[2] = {row, bvl_min(row + 1, end_row - 1)};
    const int16_t* x0 = (const int16_t*)in[0] + pair[0] * p->in_c;
    const int16_t* x1 = (const int16_t*)in[0] + pair[1] * p->in_c;
    for (int32_t c = first; c <= last; c += 4) {
      const int8_t* rows[4];
      int64_t acc[2][4];
      for (int32_t i = 0; i < 4; ++i) { /* past the end the last channel is computed again */
        const int32_t channel = bvl_min(c + i, last);
        rows[i] = weights + channel * p->in_c;
        acc[0][i] = acc[1][i] = bvl_bias_s16(bias[channel]);
      }
      bvl_avx2_dot_s16(rows, weights + p->out_c * p->in_c, x0, x1, x_end, p->in_c, acc);
      for (int32_t j = 0; j < 2; ++j) {
        int16_t* y = (int16_t*)out[0] + pair[j] * p->out_c + c;
        for (int32_t i = 0; i < 4 && c + i <= last; ++i) y[i] = bvl_requantize_s16(acc[j][i], multipliers[c + i], low, high);
      }
    }
  }
}
#else
typedef int bvl_no_avx2; /* a translation unit must not be empty */
#endif
