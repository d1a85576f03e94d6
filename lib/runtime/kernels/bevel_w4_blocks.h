/* Sums of dense_s8_w4_blocks, exact in 64 bits: products of in_c inputs, weights and factors stay below 2^30 * 2^10 * 2^15. */
#ifndef BEVEL_W4_BLOCKS_H
#define BEVEL_W4_BLOCKS_H

#include "lib/runtime/kernels/bevel_kernel_common.h"

/* A bias, as the accumulator starts from it: no file's can push a sum out of 64 bits. */
static inline int64_t bvl_bias_blocks(int64_t bias) {
  const int64_t limit = (int64_t)1 << 62;
  return bias > limit ? limit : bias < -limit ? -limit : bias;
}

static inline int8_t bvl_requantize_blocks(int64_t acc, float multiplier, const bvl_output_range* output) {
  return bvl_round_to_output((float)acc * multiplier, output);
}

#endif
