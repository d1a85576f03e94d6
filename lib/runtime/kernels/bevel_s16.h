/* What the kernels on int16 activations share: the rounding, and dot products with int8 weights, exact in 64 bits.
 *
 * A product is below 2^22: a run of BVL_RUN_S16 of them fits 32 bits, and the sums of runs are added in 64. With Arm's DSP extension
 * the patches of convolutions are those of bevel_dot_s8.h, whose loops take int16 inputs there. */
#ifndef BEVEL_S16_H
#define BEVEL_S16_H

#include "lib/runtime/kernels/bevel_dot_s8.h"

#define BVL_RUN_S16 256

/* A bias, as the accumulator starts from it: no file's can push a sum out of 64 bits (products stay below 2^53). */
static inline int64_t bvl_bias_s16(int64_t bias) {
  const int64_t limit = (int64_t)1 << 62;
  return bias > limit ? limit : bias < -limit ? -limit : bias;
}

/* clamp(round_half_even(float(acc) * multiplier), low, high). */
static inline int16_t bvl_requantize_s16(int64_t acc, float multiplier, float low, float high) {
  const int32_t narrow = (int32_t)acc;
  const float value = (int64_t)narrow == acc ? (float)narrow : (float)acc; /* the same float; fast where it is frequent */
  return (int16_t)bvl_round_clamp(value * multiplier, low, high);
}

/* acc[i] += sum of x * row i of four weight rows, `count` <= BVL_RUN_S16 long. */
static inline void bvl_run_1x4_s16(const int16_t* x, const int8_t* w0, const int8_t* w1, const int8_t* w2, const int8_t* w3,
                                   int32_t count, int64_t acc[4]) {
  uint32_t a0 = 0, a1 = 0, a2 = 0, a3 = 0;
  int32_t k = 0;
#if BVL_ARM_DSP
  for (; k + 4 <= count; k += 4) {
    uint32_t x01, x23;
    memcpy(&x01, x, sizeof x01);
    memcpy(&x23, x + 2, sizeof x23);
    const uint32_t x02 = (x01 & 0xffffu) | (x23 << 16), x13 = (x01 >> 16) | (x23 & 0xffff0000u);
    const uint32_t v0 = bvl_load4(w0), v1 = bvl_load4(w1), v2 = bvl_load4(w2), v3 = bvl_load4(w3);
    a0 = bvl_smlad(x13, bvl_bytes13(v0), bvl_smlad(x02, bvl_bytes02(v0), a0));
    a1 = bvl_smlad(x13, bvl_bytes13(v1), bvl_smlad(x02, bvl_bytes02(v1), a1));
    a2 = bvl_smlad(x13, bvl_bytes13(v2), bvl_smlad(x02, bvl_bytes02(v2), a2));
    a3 = bvl_smlad(x13, bvl_bytes13(v3), bvl_smlad(x02, bvl_bytes02(v3), a3));
    x += 4, w0 += 4, w1 += 4, w2 += 4, w3 += 4;
  }
#endif
  for (; k < count; ++k) {
    const int32_t value = *x++;
    a0 = bvl_mac(a0, value, *w0++);
    a1 = bvl_mac(a1, value, *w1++);
    a2 = bvl_mac(a2, value, *w2++);
    a3 = bvl_mac(a3, value, *w3++);
  }
  acc[0] += (int32_t)a0, acc[1] += (int32_t)a1, acc[2] += (int32_t)a2, acc[3] += (int32_t)a3;
}

/* Where a pixel's patch begins in scratch; `depth` values each. */
static inline void* bvl_patch_of_pixel_s16(void* scratch, int32_t depth, int32_t pixel) {
  return BVL_ARM_DSP ? bvl_patch_of_pixel(scratch, depth, pixel) : (int16_t*)scratch + depth * pixel;
}

/* Appends `count` values at `at`: of `source`, or zeros when source is null. */
static inline void bvl_patch_put_s16(void* patch, int32_t at, const int16_t* source, int32_t count) {
#if BVL_ARM_DSP
  while (count > 0) {
    if ((at & 3) == 0 && count >= 4) {
      uint32_t* words = (uint32_t*)patch + at;
      uint32_t x01 = 0, x23 = 0;
      if (source) memcpy(&x01, source, sizeof x01), memcpy(&x23, source + 2, sizeof x23);
      words[0] = (x01 & 0xffffu) | (x23 << 16);
      words[1] = (x01 >> 16) | (x23 & 0xffff0000u);
      source = source ? source + 4 : source;
      at += 4;
      count -= 4;
    } else {
      *bvl_patch_element(patch, at++) = (int16_t)(source ? *source++ : 0);
      --count;
    }
  }
#else
  if (source) memcpy((int16_t*)patch + at, source, (size_t)count * 2);
  else memset((int16_t*)patch + at, 0, (size_t)count * 2);
#endif
}

/* acc = {w0*p0, w0*p1, w1*p0, w1*p1} added, p the patches of the two pixels in scratch. */
static inline void bvl_dot_2x2_s16(const int8_t* w0, const int8_t* w1, const void* scratch, int32_t depth, int64_t acc[4]) {
  for (int32_t k = 0; k < depth; k += BVL_RUN_S16) {
    const int32_t count = bvl_min(BVL_RUN_S16, depth - k);
    uint32_t sums[4] = {0, 0, 0, 0};
    if (BVL_ARM_DSP) {
      bvl_dot_2x2(w0 + k, w1 + k, (const uint32_t*)scratch + k, count, sums);
    } else {
      const int16_t* p0 = (const int16_t*)scratch + k;
      const int16_t* p1 = p0 + depth;
      uint32_t a00 = 0, a01 = 0, a10 = 0, a11 = 0;
      for (int32_t i = 0; i < count; ++i) {
        const int32_t x0 = p0[i], x1 = p1[i], v0 = w0[k + i], v1 = w1[k + i];
        a00 = bvl_mac(a00, x0, v0);
        a01 = bvl_mac(a01, x1, v0);
        a10 = bvl_mac(a10, x0, v1);
        a11 = bvl_mac(a11, x1, v1);
      }
      sums[0] = a00, sums[1] = a01, sums[2] = a10, sums[3] = a11;
    }
    for (int32_t i = 0; i < 4; ++i) acc[i] += (int32_t)sums[i];
  }
}

#endif
