/* The functions of unary_f32 and unary_s16, from bevel_math.h. Semantics: bevel_kernels.h. */
#ifndef BEVEL_UNARY_H
#define BEVEL_UNARY_H

#include "lib/runtime/bevel_math.h"
#include "lib/runtime/kernels/bevel_kernel_common.h"

static float bvl_unary_apply(int32_t op, float x, float alpha, float beta) {
  switch (op) {
    case BVL_UNARY_CLIP: {
      const float v = x < alpha ? alpha : x;
      return v > beta ? beta : v;
    }
    case BVL_UNARY_LEAKY_RELU: return x < 0 ? x * alpha : x;
    case BVL_UNARY_SIGMOID: return bvl_sigmoidf(x);
    case BVL_UNARY_TANH: return bvl_tanhf(x);
    case BVL_UNARY_HARD_SIGMOID:
    case BVL_UNARY_HARD_SWISH: {
      float v = x * alpha + beta;
      v = v < 0.0f ? 0.0f : v;
      v = v > 1.0f ? 1.0f : v;
      return op == BVL_UNARY_HARD_SWISH ? x * v : v;
    }
    case BVL_UNARY_ELU: return x < 0 ? alpha * bvl_expm1f(x) : x;
    case BVL_UNARY_SOFTPLUS: return (x > 0 ? x : 0.0f) + bvl_log1pf(bvl_expf(x > 0 ? -x : x));
    case BVL_UNARY_GELU: return 0.5f * x * (1.0f + bvl_erff(x * 0.707106781f));
    case BVL_UNARY_GELU_TANH: return 0.5f * x * (1.0f + bvl_tanhf(0.797884561f * (x + 0.044715f * (x * x * x))));
    case BVL_UNARY_ERF: return bvl_erff(x);
    case BVL_UNARY_EXP: return bvl_expf(x);
    case BVL_UNARY_LOG: return bvl_logf(x);
    case BVL_UNARY_SQRT: return bvl_sqrtf(x);
    case BVL_UNARY_RECIPROCAL: return 1.0f / x;
    case BVL_UNARY_ABS: return bvl_bits_float(bvl_float_bits(x) & 0x7fffffffu);
    case BVL_UNARY_NEG: return -x;
    case BVL_UNARY_FLOOR: return bvl_floorf(x);
    default: return bvl_ceilf(x); /* BVL_UNARY_CEIL */
  }
}

#endif
