/* What every kernel shares: contraction off by what each compiler obeys, and the one rounding.
 *
 * y = clamp(round_half_even(v) + zero_point, low, high) clamps v first, in float (the bounds are integers, so the result is
 * the same), then adds 1.5 * 2^23: the sum's low mantissa bits are v rounded half to even. The clamp stands between the
 * product and the addition, so no compiler can fuse them. */
#ifndef BEVEL_KERNEL_COMMON_H
#define BEVEL_KERNEL_COMMON_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "lib/runtime/bevel_kernels.h"

#if defined(__FAST_MATH__) || (defined(__FINITE_MATH_ONLY__) && __FINITE_MATH_ONLY__)
#error "bevel: -ffast-math and -ffinite-math-only change results; compile without them"
#endif
#if defined(__FLT_EVAL_METHOD__) && __FLT_EVAL_METHOD__ != 0 && __FLT_EVAL_METHOD__ != 16
#error "bevel: needs float arithmetic in float (FLT_EVAL_METHOD 0); on 32-bit x86 add -msse2 -mfpmath=sse"
#endif
#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#elif defined(__GNUC__)
#pragma GCC optimize("fp-contract=off")
#endif

/* Emitted C defines it as static. */
#ifndef BVL_LINKAGE
#define BVL_LINKAGE
#endif

/* Values that a float product can take: v in [low, high] after the clamp, NaN gives low. low and high are integers within
 * 2^21. */
static inline int32_t bvl_round_clamp(float v, float low, float high) {
  uint32_t bits;
  v = v > low ? v : low;
  v = v < high ? v : high;
  v += 12582912.0f;
  memcpy(&bits, &v, sizeof bits);
  return (int32_t)(bits - 0x4b400000u);
}

/* A product that is rounded before it is added to anything. clang's -ffp-contract=fast overrides the pragma above: there its
 * bits pass through an integer register. */
static inline float bvl_product(float a, float b) {
  float product = a * b;
#if defined(__clang__)
  uint32_t bits;
  memcpy(&bits, &product, sizeof bits);
  __asm__("" : "+r"(bits));
  memcpy(&product, &bits, sizeof bits);
#endif
  return product;
}

/* The output side of an integer kernel: bounds relative to the zero point, as float. */
typedef struct {
  float low, high;
  int32_t zero_point;
} bvl_output_range;

static inline bvl_output_range bvl_make_output_range(int32_t zero_point, int32_t low, int32_t high) {
  bvl_output_range output;
  output.low = (float)(low - zero_point);
  output.high = (float)(high - zero_point);
  output.zero_point = zero_point;
  return output;
}

static inline int8_t bvl_requantize(uint32_t acc, float multiplier, const bvl_output_range* output) {
  return (int8_t)(bvl_round_clamp((float)(int32_t)acc * multiplier, output->low, output->high) + output->zero_point);
}

/* Accumulators are uint32_t: the same bits as int32_t, and no undefined behaviour on a file that overflows them. */
static inline uint32_t bvl_mac(uint32_t acc, int32_t a, int32_t b) { return acc + (uint32_t)(a * b); }

static inline int32_t bvl_min(int32_t a, int32_t b) { return a < b ? a : b; }
static inline int32_t bvl_max(int32_t a, int32_t b) { return a > b ? a : b; }

/* First tap of a window that lies inside [0, extent), and one past the last: start + tap * dilation. */
static inline int32_t bvl_first_tap(int32_t start, int32_t dilation) {
  return start >= 0 ? 0 : (dilation - 1 - start) / dilation;
}
static inline int32_t bvl_end_tap(int32_t start, int32_t dilation, int32_t taps, int32_t extent) {
  return start >= extent ? 0 : bvl_min(taps, (extent - start + dilation - 1) / dilation);
}

#endif
