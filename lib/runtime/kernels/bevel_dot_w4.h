/* Dot products of int8 rows with int4 weights, which stay packed until they meet their inputs.
 *
 * A row of weights lies in blocks of eight, four bytes each: byte j of a block holds weight j in its low half and weight j + 4 in
 * its high half, so that one mask gives four neighbours; zeros fill the last block. A half moved to the top of its byte is the
 * weight times 16 as int8. Sums are taken of those products, exact as with int8 weights, and divided by 16, again exactly, when they
 * are complete (bvl_sum_w4). */
#ifndef BEVEL_DOT_W4_H
#define BEVEL_DOT_W4_H

#include "lib/runtime/kernels/bevel_dot_s8.h"

/* Weights of a row with its padding. */
static inline int32_t bvl_padded_w4(int32_t depth) { return (depth + 7) / 8 * 8; }

/* Sixteen times the weight in the low (high) half of a byte. */
static inline int32_t bvl_low_w4(uint8_t byte) { return (int8_t)(uint8_t)(byte << 4); }
static inline int32_t bvl_high_w4(uint8_t byte) { return (int8_t)(uint8_t)(byte & 0xf0); }

/* bias + sixteenfold / 16 for a sum that is a multiple of 16. */
static inline uint32_t bvl_sum_w4(int32_t bias, uint32_t sixteenfold) {
  return (uint32_t)bias + (uint32_t)((int32_t)sixteenfold >> 4);
}

#if BVL_ARM_DSP
/* Weights 0 to 3 (4 to 7) of a block, sixteenfold, as the bytes of a word. */
static inline uint32_t bvl_load_w4(const uint8_t* bytes) {
  uint32_t word;
  memcpy(&word, bytes, sizeof word);
  return word;
}
static inline uint32_t bvl_low_bytes_w4(uint32_t word) { return (word << 4) & 0xf0f0f0f0u; }
static inline uint32_t bvl_high_bytes_w4(uint32_t word) { return word & 0xf0f0f0f0u; }
#endif

/* acc[i] += 16 * sum of x * row i of four weight rows. */
static inline void bvl_dot_1x4_w4(const int8_t* x, const uint8_t* const w[4], int32_t depth, uint32_t acc[4]) {
  uint32_t a0 = acc[0], a1 = acc[1], a2 = acc[2], a3 = acc[3];
  const uint8_t *w0 = w[0], *w1 = w[1], *w2 = w[2], *w3 = w[3];
  int32_t k = 0;
  for (; k + 8 <= depth; k += 8, x += 8, w0 += 4, w1 += 4, w2 += 4, w3 += 4) {
#if BVL_ARM_DSP
    const uint32_t low = bvl_load4(x), high = bvl_load4(x + 4);
    const uint32_t x02 = bvl_bytes02(low), x13 = bvl_bytes13(low), x46 = bvl_bytes02(high), x57 = bvl_bytes13(high);
    uint32_t word = bvl_load_w4(w0), part = bvl_low_bytes_w4(word);
    a0 = bvl_smlad(x13, bvl_bytes13(part), bvl_smlad(x02, bvl_bytes02(part), a0));
    part = bvl_high_bytes_w4(word);
    a0 = bvl_smlad(x57, bvl_bytes13(part), bvl_smlad(x46, bvl_bytes02(part), a0));
    word = bvl_load_w4(w1), part = bvl_low_bytes_w4(word);
    a1 = bvl_smlad(x13, bvl_bytes13(part), bvl_smlad(x02, bvl_bytes02(part), a1));
    part = bvl_high_bytes_w4(word);
    a1 = bvl_smlad(x57, bvl_bytes13(part), bvl_smlad(x46, bvl_bytes02(part), a1));
    word = bvl_load_w4(w2), part = bvl_low_bytes_w4(word);
    a2 = bvl_smlad(x13, bvl_bytes13(part), bvl_smlad(x02, bvl_bytes02(part), a2));
    part = bvl_high_bytes_w4(word);
    a2 = bvl_smlad(x57, bvl_bytes13(part), bvl_smlad(x46, bvl_bytes02(part), a2));
    word = bvl_load_w4(w3), part = bvl_low_bytes_w4(word);
    a3 = bvl_smlad(x13, bvl_bytes13(part), bvl_smlad(x02, bvl_bytes02(part), a3));
    part = bvl_high_bytes_w4(word);
    a3 = bvl_smlad(x57, bvl_bytes13(part), bvl_smlad(x46, bvl_bytes02(part), a3));
#else
    for (int32_t j = 0; j < 4; ++j) {
      const int32_t low = x[j], high = x[j + 4];
      a0 = bvl_mac(bvl_mac(a0, low, bvl_low_w4(w0[j])), high, bvl_high_w4(w0[j]));
      a1 = bvl_mac(bvl_mac(a1, low, bvl_low_w4(w1[j])), high, bvl_high_w4(w1[j]));
      a2 = bvl_mac(bvl_mac(a2, low, bvl_low_w4(w2[j])), high, bvl_high_w4(w2[j]));
      a3 = bvl_mac(bvl_mac(a3, low, bvl_low_w4(w3[j])), high, bvl_high_w4(w3[j]));
    }
#endif
  }
  for (int32_t j = 0; k < depth; ++k, ++j) { /* the last block in part: x ends */
    const int32_t value = *x++, at = j & 3;
    a0 = bvl_mac(a0, value, j < 4 ? bvl_low_w4(w0[at]) : bvl_high_w4(w0[at]));
    a1 = bvl_mac(a1, value, j < 4 ? bvl_low_w4(w1[at]) : bvl_high_w4(w1[at]));
    a2 = bvl_mac(a2, value, j < 4 ? bvl_low_w4(w2[at]) : bvl_high_w4(w2[at]));
    a3 = bvl_mac(a3, value, j < 4 ? bvl_low_w4(w3[at]) : bvl_high_w4(w3[at]));
  }
  acc[0] = a0, acc[1] = a1, acc[2] = a2, acc[3] = a3;
}

/* acc = 16 * {w0*p0, w0*p1, w1*p0, w1*p1} added, p the patches of the two pixels in scratch, each with room for `padded` values, a
 * multiple of 8: what a patch holds past its depth meets weights of 0. */
static inline void bvl_dot_2x2_w4(const uint8_t* w0, const uint8_t* w1, const void* scratch, int32_t padded, uint32_t acc[4]) {
  uint32_t a00 = acc[0], a01 = acc[1], a10 = acc[2], a11 = acc[3];
#if BVL_ARM_DSP
  const uint32_t* x = (const uint32_t*)scratch;
  const uint32_t* end = x + padded;
  for (; x != end; x += 8, w0 += 4, w1 += 4) {
    const uint32_t v0 = bvl_load_w4(w0), v1 = bvl_load_w4(w1);
    uint32_t p0 = bvl_low_bytes_w4(v0), p1 = bvl_low_bytes_w4(v1);
    uint32_t p0_02 = bvl_bytes02(p0), p0_13 = bvl_bytes13(p0), p1_02 = bvl_bytes02(p1), p1_13 = bvl_bytes13(p1);
    a00 = bvl_smlad(x[1], p0_13, bvl_smlad(x[0], p0_02, a00));
    a10 = bvl_smlad(x[1], p1_13, bvl_smlad(x[0], p1_02, a10));
    a01 = bvl_smlad(x[3], p0_13, bvl_smlad(x[2], p0_02, a01));
    a11 = bvl_smlad(x[3], p1_13, bvl_smlad(x[2], p1_02, a11));
    p0 = bvl_high_bytes_w4(v0), p1 = bvl_high_bytes_w4(v1);
    p0_02 = bvl_bytes02(p0), p0_13 = bvl_bytes13(p0), p1_02 = bvl_bytes02(p1), p1_13 = bvl_bytes13(p1);
    a00 = bvl_smlad(x[5], p0_13, bvl_smlad(x[4], p0_02, a00));
    a10 = bvl_smlad(x[5], p1_13, bvl_smlad(x[4], p1_02, a10));
    a01 = bvl_smlad(x[7], p0_13, bvl_smlad(x[6], p0_02, a01));
    a11 = bvl_smlad(x[7], p1_13, bvl_smlad(x[6], p1_02, a11));
  }
#else
  const int8_t* p0 = (const int8_t*)scratch;
  const int8_t* p1 = p0 + padded;
  for (int32_t k = 0; k < padded; k += 8, p0 += 8, p1 += 8, w0 += 4, w1 += 4) {
    for (int32_t j = 0; j < 4; ++j) {
      const int32_t low0 = bvl_low_w4(w0[j]), high0 = bvl_high_w4(w0[j]), low1 = bvl_low_w4(w1[j]), high1 = bvl_high_w4(w1[j]);
      a00 = bvl_mac(bvl_mac(a00, p0[j], low0), p0[j + 4], high0);
      a01 = bvl_mac(bvl_mac(a01, p1[j], low0), p1[j + 4], high0);
      a10 = bvl_mac(bvl_mac(a10, p0[j], low1), p0[j + 4], high1);
      a11 = bvl_mac(bvl_mac(a11, p1[j], low1), p1[j + 4], high1);
    }
  }
#endif
  acc[0] = a00, acc[1] = a01, acc[2] = a10, acc[3] = a11;
}

#endif
