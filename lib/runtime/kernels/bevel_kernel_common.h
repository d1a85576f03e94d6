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

/* Machines whose float arithmetic is a library: there a sum or a scaled accumulator is first computed in fixed point, and in
 * float only where the fixed-point result lies so close to a tie that float's own rounding could decide. The same bits, about
 * five times faster. */
#ifndef BVL_SOFT_FLOAT
#if (defined(__arm__) && !defined(__ARM_FP)) || (defined(__riscv) && !defined(__riscv_flen))
#define BVL_SOFT_FLOAT 1
#else
#define BVL_SOFT_FLOAT 0
#endif
#endif

/* Cortex-M's FPU: VCVTR rounds half to even (the FPSCR's reset state) and saturates, so the clamp can follow in integers. */
#if defined(__ARM_FP) && defined(__ARM_ARCH_PROFILE) && defined(__GNUC__)
#if (__ARM_FP & 4) && __ARM_ARCH_PROFILE == 'M'
#define BVL_ARM_VCVTR 1
#endif
#endif
#ifndef BVL_ARM_VCVTR
#define BVL_ARM_VCVTR 0
#endif

/* The output side of an integer kernel: bounds relative to the zero point. */
typedef struct {
  float low, high;
  int32_t first, last; /* the same bounds */
  int32_t zero_point;
} bvl_output_range;

static inline bvl_output_range bvl_make_output_range(int32_t zero_point, int32_t low, int32_t high) {
  bvl_output_range output;
  output.first = low - zero_point;
  output.last = high - zero_point;
  output.low = (float)output.first;
  output.high = (float)output.last;
  output.zero_point = zero_point;
  return output;
}

/* round_half_even(v), clamped, plus the zero point. */
static inline int8_t bvl_round_to_output(float v, const bvl_output_range* output) {
#if BVL_ARM_VCVTR
  int32_t rounded;
  float register_value;
  __asm__("vcvtr.s32.f32 %0, %1" : "=t"(register_value) : "t"(v));
  memcpy(&rounded, &register_value, sizeof rounded);
  rounded = rounded > output->first ? rounded : output->first;
  rounded = rounded < output->last ? rounded : output->last;
  return (int8_t)(rounded + output->zero_point);
#else
  return (int8_t)(bvl_round_clamp(v, output->low, output->high) + output->zero_point);
#endif
}

/* clamp(round_half_even(float(acc) * multiplier) + zero point); acc holds an int32. */
static inline int8_t bvl_requantize(uint32_t acc, float multiplier, const bvl_output_range* output) {
#if BVL_SOFT_FLOAT
  /* |acc| * mantissa >> shift is |v| with 16 fraction bits, cut off: within 1 of 65536ths. float's roundings of acc and of the
   * product move |v| < 512 by less than 2^-14, 4 of 65536ths. */
  uint32_t bits;
  memcpy(&bits, &multiplier, sizeof bits);
  const uint32_t shift = 134u - (bits >> 23); /* wraps for a sign bit and large multipliers */
  const uint32_t negative = acc >> 31, magnitude = negative ? 0u - acc : acc;
  if (shift - 1u < 47u) {
    const uint64_t wide = ((uint64_t)magnitude * ((bits & 0x7fffffu) | 0x800000u)) >> shift;
    const uint32_t fixed = wide < (512u << 16) ? (uint32_t)wide : 512u << 16;
    if ((fixed & 0xffffu) - 0x7ff0u >= 0x20u) {
      int32_t rounded = (int32_t)((fixed + 0x8000u) >> 16);
      rounded = negative ? -rounded : rounded;
      rounded = rounded > output->first ? rounded : output->first;
      rounded = rounded < output->last ? rounded : output->last;
      return (int8_t)(rounded + output->zero_point);
    }
  }
#endif
  return bvl_round_to_output((float)(int32_t)acc * multiplier, output);
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
