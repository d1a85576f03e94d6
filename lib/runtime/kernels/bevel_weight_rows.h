/* Rows of int8, packed int4 or float16 weights that float kernels read one at a time. */
#ifndef BEVEL_WEIGHT_ROWS_H
#define BEVEL_WEIGHT_ROWS_H

#include "lib/runtime/kernels/bevel_kernel_common.h"

/* Bytes of a row of `depth` weights; int4: whole blocks of eight in four bytes, byte j holds weights j and j + 4 (bevel_kernels.h). */
static inline int32_t bvl_weight_row_bytes(int32_t depth, int32_t bits) {
  return bits == 4 ? (depth + 7) / 8 * 4 : depth * (bits / 8);
}

/* float16 as float32, exact: subnormals, infinities and NaN too. */
static inline float bvl_half_to_float(uint16_t half) {
  const uint32_t sign = (uint32_t)(half & 0x8000u) << 16, exponent = (half >> 10) & 31u, fraction = half & 0x3ffu;
  uint32_t bits;
  float value;
  if (exponent == 0) {
    value = (float)fraction * 5.9604644775390625e-8f; /* 2^-24 */
    return sign ? -value : value;
  }
  bits = sign | (exponent == 31u ? 0x7f800000u : (exponent + 112u) << 23) | fraction << 13;
  memcpy(&value, &bits, sizeof value);
  return value;
}

static inline float bvl_weight_at(const uint8_t* row, int32_t k, int32_t bits) {
  if (bits == 8) return (float)(int8_t)row[k];
  if (bits == 4) {
    const uint32_t byte = row[(k >> 3) * 4 + (k & 3)];
    return (float)((int32_t)(byte << ((k & 4) ? 24 : 28)) >> 28);
  }
  uint16_t half;
  memcpy(&half, row + 2 * k, sizeof half);
  return bvl_half_to_float(half);
}

#endif
