// The formulas of the activations, once for float and double. Attribute defaults are in activation.cpp.
#pragma once

#include "lib/runtime/bevel_math.h"

namespace bevel::ops::activation {

inline float exp(float x) { return bvl_expf(x); }
inline double exp(double x) { return bvl_exp(x); }
inline float expm1(float x) { return bvl_expm1f(x); }
// Taylor where exp(x) - 1 would cancel: |x|^7 / 8! is below 2^-53 of x at 0.01.
inline double expm1(double x) {
  if (x > -0.01 && x < 0.01) {
    return x * (1 + x * (0.5 + x * (1.0 / 6 + x * (1.0 / 24 + x * (1.0 / 120 + x * (1.0 / 720 + x / 5040))))));
  }
  return bvl_exp(x) - 1.0;
}
inline float log1p(float x) { return bvl_log1pf(x); }
// Kahan: the rounding of 1 + x is divided out.
inline double log1p(double x) {
  const double u = 1.0 + x;
  return u == 1.0 ? x : bvl_log(u) * (x / (u - 1.0));
}
inline float tanh(float x) { return bvl_tanhf(x); }
inline double tanh(double x) { return bvl_tanh(x); }
inline float erf(float x) { return bvl_erff(x); }
inline double erf(double x) { return bvl_erf(x); }

template <typename T>
T relu(T x) {
  return x < 0 ? T{0} : x;  // NaN stays NaN
}
template <typename T>
T sigmoid(T x) {
  if (x >= 0) return T{1} / (T{1} + exp(-x));
  const T e = exp(x);
  return e / (T{1} + e);
}
template <typename T>
T clamp01(T x) {
  return x < 0 ? T{0} : x > 1 ? T{1} : x;
}
template <typename T>
T softplus(T x) {
  // log(1 + e^x) = max(x, 0) + log(1 + e^-|x|)
  return (x > 0 ? x : x != x ? x : T{0}) + log1p(exp(x > 0 ? -x : x));
}
template <typename T>
T gelu(T x) {
  return T{0.5} * x * (T{1} + erf(x * static_cast<T>(0.70710678118654752440)));
}
template <typename T>
T gelu_tanh(T x) {
  return T{0.5} * x *
         (T{1} + tanh(static_cast<T>(0.79788456080286535588) * (x + static_cast<T>(0.044715) * x * x * x)));
}

}  // namespace bevel::ops::activation
