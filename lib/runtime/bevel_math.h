/* exp, log, tanh, erf, pow, sqrt and rounding without libm: the same bits from every compiler on every IEEE-754 machine.
 *
 * Only +, -, *, /, comparisons and conversions are used, each rounded once: contraction is off below by what each compiler
 * obeys, and flags that let a compiler reorder or assume finite values are refused. The double functions serve the
 * toolchain (tables, multipliers); the float ones are built from float arithmetic alone, for machines without double.
 * Errors in units in the last place, measured by tests/unit/math_test.cpp against long double:
 *   double: exp 1, log 1, tanh 2, erf 2; pow 2e-13 relative (exp of y log x).
 *   float:  exp 1, expm1 4, log 1, log1p 3, tanh 2, erf 2, sigmoid 3; sqrt, floor, ceil exact.
 *
 * Argument reductions: W. Cody, W. Waite, "Software Manual for the Elementary Functions", 1980 (ln 2 in two parts, the first
 * short enough that its product with the exponent is exact). log's arrangement of f - (f*f/2 - s*(f*f/2 + R)), s = f/(2+f):
 * P. T. P. Tang, "Table-driven implementation of the logarithm function", ACM TOMS 16(4), 1990. tanh: Lambert's continued
 * fraction (1768). Polynomials with other than Taylor coefficients are interpolations at Chebyshev nodes, derived here in 50
 * digits; each states its interval and relative error.
 */
#ifndef BEVEL_MATH_H
#define BEVEL_MATH_H

#include <stdint.h>
#include <string.h>

#if defined(__FAST_MATH__) || (defined(__FINITE_MATH_ONLY__) && __FINITE_MATH_ONLY__)
#error "bevel: -ffast-math and -ffinite-math-only change results; compile without them"
#endif
#if defined(__FLT_EVAL_METHOD__) && __FLT_EVAL_METHOD__ != 0 && __FLT_EVAL_METHOD__ != 16
#error "bevel: needs float arithmetic in float (FLT_EVAL_METHOD 0); on 32-bit x86 add -msse2 -mfpmath=sse"
#endif
#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#elif defined(__GNUC__)
#pragma GCC push_options
#pragma GCC optimize("fp-contract=off")
#endif

static inline uint32_t bvl_float_bits(float x) {
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  return bits;
}

static inline float bvl_bits_float(uint32_t bits) {
  float x;
  memcpy(&x, &bits, sizeof x);
  return x;
}

static inline uint64_t bvl_double_bits(double x) {
  uint64_t bits;
  memcpy(&bits, &x, sizeof bits);
  return bits;
}

static inline double bvl_bits_double(uint64_t bits) {
  double x;
  memcpy(&x, &bits, sizeof x);
  return x;
}

/* 2^k for normal results: k in [-126, 127] and [-1022, 1023]. */
static inline float bvl_exp2i_f(int32_t k) { return bvl_bits_float((uint32_t)(k + 127) << 23); }
static inline double bvl_exp2i(int32_t k) { return bvl_bits_double((uint64_t)(k + 1023) << 52); }

#define BVL_INFINITY bvl_bits_float(0x7f800000u)
#define BVL_NAN bvl_bits_float(0x7fc00000u)

/* ---------------------------------------------------------------- double */

static inline double bvl_exp(double x) {
  if (x != x) return x;
  if (x > 709.79) return (double)BVL_INFINITY;
  if (x < -745.2) return 0.0;
  const int32_t k = (int32_t)(x * 1.4426950408889634 + (x < 0 ? -0.5 : 0.5));
  const double high = x - (double)k * 6.93147180369123816490e-01; /* 33 bits of ln 2: exact */
  const double low = (double)k * 1.90821492927058770002e-10;
  const double r = high - low; /* |r| <= 0.347 */
  const double lost = (high - r) - low;
  /* Taylor through r^13/13!: the next term is below 2^-57. */
  double p = 1.0 / 6227020800.0;
  p = p * r + 1.0 / 479001600.0;
  p = p * r + 1.0 / 39916800.0;
  p = p * r + 1.0 / 3628800.0;
  p = p * r + 1.0 / 362880.0;
  p = p * r + 1.0 / 40320.0;
  p = p * r + 1.0 / 5040.0;
  p = p * r + 1.0 / 720.0;
  p = p * r + 1.0 / 120.0;
  p = p * r + 1.0 / 24.0;
  p = p * r + 1.0 / 6.0;
  p = p * r + 0.5;
  const double y = 1.0 + (r + (r * r * p + lost));
  const int32_t half = k / 2;
  return y * bvl_exp2i(half) * bvl_exp2i(k - half);
}

static inline double bvl_log(double x) {
  if (x != x) return x;
  if (x < 0) return (double)BVL_NAN;
  if (x == 0) return -(double)BVL_INFINITY;
  uint64_t bits = bvl_double_bits(x);
  if (bits == 0x7ff0000000000000u) return x;
  int32_t k = -1023;
  if (bits < 0x0010000000000000u) { /* subnormal */
    bits = bvl_double_bits(x * 18014398509481984.0);
    k -= 54;
  }
  k += (int32_t)(bits >> 52);
  double m = bvl_bits_double((bits & 0x000fffffffffffffu) | 0x3ff0000000000000u);
  if (m > 1.4142135623730951) {
    m *= 0.5;
    k += 1;
  }
  const double f = m - 1.0; /* exact */
  const double s = f / (2.0 + f), z = s * s;
  /* log(1+f) = 2 atanh(s) = 2s + s*R, R = 2z/3 + 2z^2/5 + ...; z < 0.0295, the first term left out below 2^-61. */
  double p = 2.0 / 23.0;
  p = p * z + 2.0 / 21.0;
  p = p * z + 2.0 / 19.0;
  p = p * z + 2.0 / 17.0;
  p = p * z + 2.0 / 15.0;
  p = p * z + 2.0 / 13.0;
  p = p * z + 2.0 / 11.0;
  p = p * z + 2.0 / 9.0;
  p = p * z + 2.0 / 7.0;
  p = p * z + 2.0 / 5.0;
  p = p * z + 2.0 / 3.0;
  const double half_square = 0.5 * f * f;
  const double kd = (double)k;
  return kd * 6.93147180369123816490e-01 -
         ((half_square - (s * (half_square + p * z) + kd * 1.90821492927058770002e-10)) - f);
}

static inline double bvl_tanh(double x) {
  const double a = x < 0 ? -x : x;
  if (!(a < 0.625)) {
    if (x != x) return x;
    const double t = a > 22.0 ? 1.0 : 1.0 - 2.0 / (bvl_exp(2.0 * a) + 1.0);
    return x < 0 ? -t : t;
  }
  /* x / (1 + w), w = z/(3 + z/(5 + ... z/21)); z < 0.391: the tail is below 2^-60. */
  const double z = x * x;
  double w = z / 21.0;
  for (int32_t n = 19; n >= 3; n -= 2) w = z / ((double)n + w);
  return x - x * (w / (1.0 + w));
}

static inline double bvl_erf(double x) {
  const double a = x < 0 ? -x : x;
  if (a < 1.0) { /* erf(x)/x - 1 in x^2 on [0, 1], error 1.3e-19 */
    const double z = x * x;
    double q = 5.9571761477489114044e-11;
    q = q * z - 1.137284885679167367e-9;
    q = q * z + 1.4659775274047435814e-8;
    q = q * z - 1.6350312701054695011e-7;
    q = q * z + 1.6461000484121368033e-6;
    q = q * z - 0.000014925595266831181565;
    q = q * z + 0.00012055331111642710923;
    q = q * z - 0.00085483269808337899052;
    q = q * z + 0.0052239776248180144673;
    q = q * z - 0.026866170645076793248;
    q = q * z + 0.11283791670954878666;
    q = q * z - 0.37612638903183748056;
    q = q * z + 0.12837916709551257377;
    return x + x * q;
  }
  if (x != x) return x;
  double e = 1.0;
  if (a < 6.0) { /* exp(x^2) erfc(x) in 1/(x+2) - 0.23 on [1, 6], error 3.5e-16 of at most 0.16 */
    const double t = 1.0 / (a + 2.0) - 0.23;
    double g = 239.24359154423945785;
    g = g * t + 1041.2414398162002349;
    g = g * t - 426.37989365426916976;
    g = g * t - 165.58499322423738896;
    g = g * t + 165.89272044905250388;
    g = g * t - 2.419337293022263106;
    g = g * t - 48.540991128296378669;
    g = g * t + 11.4308830351262166;
    g = g * t + 14.952787280988293005;
    g = g * t - 5.6588481130182642349;
    g = g * t - 6.6160876830836417386;
    g = g * t + 1.6468870418959277095;
    g = g * t + 4.9501624647084120411;
    g = g * t + 3.5661106762704200684;
    g = g * t + 1.560111461977333669;
    g = g * t + 0.22272715951304601538;
    e = 1.0 - bvl_exp(-(a * a)) * g;
  }
  return x < 0 ? -e : e;
}

/* As C's pow: x^0 = 1, 1^y = 1, negative x with an integer y; NaN for another y. */
static inline double bvl_pow(double x, double y) {
  if (y == 0 || x == 1.0) return 1.0;
  if (x != x || y != y) return x + y;
  const double magnitude_y = y < 0 ? -y : y;
  int integer = 1, odd = 0;
  if (magnitude_y < 9007199254740992.0) { /* 2^53: all doubles above are even integers */
    const int64_t whole = (int64_t)y;
    integer = (double)whole == y;
    odd = integer && (whole & 1) != 0;
  }
  const int negative = (bvl_double_bits(x) >> 63) != 0;
  const double a = negative ? -x : x;
  double r;
  if (a == 0 || a == (double)BVL_INFINITY) {
    r = (a == 0) == (y > 0) ? 0.0 : (double)BVL_INFINITY;
  } else {
    if (negative && !integer) return (double)BVL_NAN;
    if (a == 1.0) {
      r = 1.0;
    } else if (integer && magnitude_y <= 4.0) { /* squares and cubes by products: within 2 ulp, x^2 exactly rounded */
      r = a;
      for (int32_t i = 1; i < (int32_t)magnitude_y; ++i) r *= a;
      if (y < 0) r = 1.0 / r;
    } else {
      r = bvl_exp(y * bvl_log(a));
    }
  }
  return negative && odd ? -r : r;
}

/* ---------------------------------------------------------------- float */

/* exp(r) - 1 for |r| <= ln(2)/2; error 1.7e-10. */
static inline float bvl_expm1_reduced_f(float r) {
  float p = 0.00019891080464f;
  p = p * r + 0.00139337307158f;
  p = p * r + 0.00833331084465f;
  p = p * r + 0.0416664641974f;
  p = p * r + 0.166666666817f;
  p = p * r + 0.500000001354f;
  return r + r * r * p;
}

static inline float bvl_expf(float x) {
  if (x != x) return x;
  if (x > 88.73f) return BVL_INFINITY;
  if (x < -104.0f) return 0.0f;
  const int32_t k = (int32_t)(x * 1.44269504f + (x < 0 ? -0.5f : 0.5f));
  const float r = (x - (float)k * 0.693359375f) - (float)k * -2.12194440055e-4f;
  const float y = 1.0f + bvl_expm1_reduced_f(r);
  const int32_t half = k / 2;
  return y * bvl_exp2i_f(half) * bvl_exp2i_f(k - half);
}

static inline float bvl_expm1f(float x) {
  if (x > -0.34f && x < 0.34f) return bvl_expm1_reduced_f(x);
  return bvl_expf(x) - 1.0f;
}

static inline float bvl_logf(float x) {
  if (x != x) return x;
  if (x < 0) return BVL_NAN;
  if (x == 0) return -BVL_INFINITY;
  uint32_t bits = bvl_float_bits(x);
  if (bits == 0x7f800000u) return x;
  int32_t k = -127;
  if (bits < 0x00800000u) { /* subnormal */
    bits = bvl_float_bits(x * 33554432.0f);
    k -= 25;
  }
  k += (int32_t)(bits >> 23);
  float m = bvl_bits_float((bits & 0x007fffffu) | 0x3f800000u);
  if (m > 1.41421356f) {
    m *= 0.5f;
    k += 1;
  }
  const float f = m - 1.0f; /* exact */
  const float s = f / (2.0f + f), z = s * s;
  float p = 2.0f / 11.0f; /* as bvl_log; the first term left out is below 2^-31 */
  p = p * z + 2.0f / 9.0f;
  p = p * z + 2.0f / 7.0f;
  p = p * z + 2.0f / 5.0f;
  p = p * z + 2.0f / 3.0f;
  const float half_square = 0.5f * f * f;
  const float kf = (float)k;
  return kf * 0.693359375f - ((half_square - (s * (half_square + p * z) + kf * -2.12194440055e-4f)) - f);
}

/* log(u) * e/(u - 1) with u = 1 + e rounded: the error of u cancels (W. Kahan, HP-15C Advanced Functions Handbook). */
static inline float bvl_log1pf(float e) {
  const float u = 1.0f + e;
  if (u == 1.0f || !(u < BVL_INFINITY)) return e;
  return bvl_logf(u) * (e / (u - 1.0f));
}

static inline float bvl_tanhf(float x) {
  const float a = x < 0 ? -x : x;
  if (!(a < 0.625f)) {
    if (x != x) return x;
    const float t = a > 9.5f ? 1.0f : 1.0f - 2.0f / (bvl_expf(2.0f * a) + 1.0f);
    return x < 0 ? -t : t;
  }
  const float z = x * x; /* (tanh(x)/x - 1)/z in z on [0, 0.390625], error 5.5e-10 of tanh(x)/x */
  float p = 0.00229274481618f;
  p = p * z - 0.00834394551584f;
  p = p * z + 0.021768918651f;
  p = p * z - 0.0539592595772f;
  p = p * z + 0.133333035569f;
  p = p * z - 0.333333331721f;
  return x + x * (z * p);
}

static inline float bvl_sigmoidf(float x) {
  if (x >= 0) return 1.0f / (1.0f + bvl_expf(-x));
  const float e = bvl_expf(x); /* keeps precision where the result is small; NaN passes through */
  return e / (1.0f + e);
}

static inline float bvl_erff(float x) {
  const float a = x < 0 ? -x : x;
  if (a < 1.0f) { /* erf(x)/x - 1 in x^2 on [0, 1], error 1.3e-9 */
    const float z = x * x;
    float q = 7.87587506269e-5f;
    q = q * z - 0.000801686428717f;
    q = q * z + 0.00518908742343f;
    q = q * z - 0.0268542120106f;
    q = q * z + 0.112835947152f;
    q = q * z - 0.376126266667f;
    q = q * z + 0.128379165848f;
    return x + x * q;
  }
  if (x != x) return x;
  float e = 1.0f;
  if (a < 4.0f) { /* exp(x^2) erfc(x) in 1/(x+2) - 0.25 on [1, 4], error 4.8e-8 of at most 0.16 */
    const float t = 1.0f / (a + 2.0f) - 0.25f;
    float g = -3.43234739692f;
    g = g * t - 6.97460749423f;
    g = g * t + 0.955487170289f;
    g = g * t + 5.05397159219f;
    g = g * t + 3.86653122441f;
    g = g * t + 1.70874395907f;
    g = g * t + 0.255395676311f;
    e = 1.0f - bvl_expf(-(a * a)) * g;
  }
  return x < 0 ? -e : e;
}

/* Correctly rounded, in integers, digit by digit: 24 result bits and one for rounding (a square root is never a tie). */
static inline float bvl_sqrtf(float x) {
  uint32_t bits = bvl_float_bits(x);
  if (x != x || x == 0 || bits == 0x7f800000u) return x;
  if (bits >> 31) return BVL_NAN;
  int32_t exponent = (int32_t)(bits >> 23);
  uint32_t m = bits & 0x007fffffu;
  if (exponent == 0) {
    exponent = 1;
    while (!(m & 0x00800000u)) {
      m <<= 1;
      --exponent;
    }
  } else {
    m |= 0x00800000u;
  }
  exponent -= 127;
  if (exponent & 1) {
    m <<= 1;
    --exponent;
  }
  m <<= 1; /* m / 2^24 in [1, 4) */
  uint32_t root = 0, sum = 0;
  for (uint32_t bit = 0x01000000u; bit != 0; bit >>= 1) {
    const uint32_t trial = sum + bit;
    if (trial <= m) {
      sum = trial + bit;
      m -= trial;
      root += bit;
    }
    m <<= 1;
  }
  root += root & 1u; /* 25 bits of root; the last rounds */
  return bvl_bits_float((root >> 1) + ((uint32_t)(exponent / 2 + 126) << 23));
}

static inline float bvl_floorf(float x) {
  const float a = x < 0 ? -x : x;
  if (!(a < 8388608.0f) || x == 0) return x; /* 2^23: all floats above are integers; NaN, -0 */
  const float whole = (float)(int32_t)x;
  if (whole > x) return whole - 1.0f;
  return x < 0 && whole == 0 ? -0.0f : whole;
}

static inline float bvl_ceilf(float x) { return -bvl_floorf(-x); }

#if !defined(__clang__) && defined(__GNUC__)
#pragma GCC pop_options
#endif

#endif
