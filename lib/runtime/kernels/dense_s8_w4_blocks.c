/* dense_s8_w4_blocks, portable and Arm DSP: as dense_s8_w4, each block's sum times its factor. Semantics: bevel_kernels.h. */
#include "lib/runtime/kernels/bevel_dot_w4.h"
#include "lib/runtime/kernels/bevel_kernel_common.h"
#include "lib/runtime/kernels/bevel_w4_blocks.h"

BVL_LINKAGE void bvl_dense_s8_w4_blocks(const void* params, const void* const* in, void* const* out, void* scratch,
                                        uint32_t begin, uint32_t end) {
  const bvl_dense_s8_w4_blocks_params* p = (const bvl_dense_s8_w4_blocks_params*)params;
  const uint8_t* weights = (const uint8_t*)in[1];
  const int16_t* factors = (const int16_t*)in[2];
  const int64_t* bias = (const int64_t*)in[3];
  const float* multipliers = (const float*)in[4];
  const int32_t row_bytes = bvl_padded_w4(p->in_c) / 2, blocks = (p->in_c + p->block - 1) / p->block;
  const bvl_output_range output = bvl_make_output_range(p->out_zp, p->low, p->high);
  const int one_row = p->rows == 1;
  const int32_t first_row = one_row ? 0 : (int32_t)begin, end_row = one_row ? 1 : (int32_t)end;
  const int32_t first = one_row ? (int32_t)begin : 0, last = (one_row ? (int32_t)end : p->out_c) - 1;
  (void)scratch;
  for (int32_t row = first_row; row < end_row; ++row) {
    const int8_t* x = (const int8_t*)in[0] + row * p->in_c;
    int8_t* y = (int8_t*)out[0] + row * p->out_c;
    for (int32_t c = first; c <= last; c += 4) {
      const uint8_t* w[4];
      const int16_t* factor[4];
      int64_t acc[4];
      for (int32_t i = 0; i < 4; ++i) { /* past the end the last channel is computed again */
        const int32_t channel = bvl_min(c + i, last);
        w[i] = weights + channel * row_bytes;
        factor[i] = factors + channel * blocks;
        acc[i] = bvl_bias_blocks(bias[channel]);
      }
      for (int32_t block = 0, k = 0; block < blocks; ++block, k += p->block) {
        const int32_t count = bvl_min(p->block, p->in_c - k);
        uint32_t sums[4] = {0, 0, 0, 0};
        bvl_dot_1x4_w4(x + k, w, count, sums);
        for (int32_t i = 0; i < 4; ++i) {
          acc[i] += (int64_t)((int32_t)sums[i] >> 4) * factor[i][block];
          w[i] += count / 2; /* whole blocks of eight; after the last it is not read */
        }
      }
      for (int32_t i = 0; i < 4 && c + i <= last; ++i) y[c + i] = bvl_requantize_blocks(acc[i], multipliers[c + i], &output);
    }
  }
}

#ifndef BVL_EMITTED
#include "lib/runtime/kernels/bevel_kernel_check.h"

/* A block's sixteenfold sum of products below 2^14 stays in 32 bits, whatever the file holds. */
#define BVL_MAX_BLOCK_W4 (1 << 16)

uint64_t bvl_dense_s8_w4_blocks_scratch(const void* params) {
  (void)params;
  return 0;
}

int bvl_dense_s8_w4_blocks_check(const void* params, const bvl_step* step, const bvl_tensor* const* in,
                                 const bvl_tensor* const* out) {
  const bvl_dense_s8_w4_blocks_params* p = (const bvl_dense_s8_w4_blocks_params*)params;
  if (p->block <= 0 || p->block > BVL_MAX_BLOCK_W4 || p->block % 8 != 0 || p->in_c <= 0 || p->in_c > BVL_MAX_ELEMENTS) return 0;
  const int64_t blocks = ((int64_t)p->in_c + p->block - 1) / p->block;
  return bvl_counts_ok(step, 5, 1, p->rows == 1 ? p->out_c : p->rows) && bvl_bounds_ok(p->out_zp, p->low, p->high) &&
         bvl_s8_ok(in[0], bvl_times(p->rows, p->in_c)) && bvl_w4_ok(in[1], p->out_c, p->in_c) &&
         bvl_s16_ok(in[2], bvl_times(p->out_c, blocks)) && bvl_s64_ok(in[3], p->out_c) && bvl_f32_ok(in[4], p->out_c) &&
         bvl_s8_ok(out[0], bvl_times(p->rows, p->out_c));
}
#endif
