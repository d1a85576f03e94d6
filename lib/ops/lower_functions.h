// The lowering of each op, hooked into its record as `.lower`.
#pragma once

#include "lib/ops/lowering.h"

namespace bevel::ops {

LowerResult lower_conv(const LowerContext& context);            // conv_lower.cpp
LowerResult lower_qlinear_conv(const LowerContext& context);
LowerResult lower_matmul(const LowerContext& context);          // matmul_lower.cpp
LowerResult lower_gemm(const LowerContext& context);
LowerResult lower_qlinear_matmul(const LowerContext& context);
LowerResult lower_max_pool(const LowerContext& context);        // pooling_lower.cpp
LowerResult lower_average_pool(const LowerContext& context);
LowerResult lower_global_max_pool(const LowerContext& context);
LowerResult lower_reduce(const LowerContext& context);          // reduce_lower.cpp: Reduce*, GlobalAveragePool
LowerResult lower_binary(const LowerContext& context);          // elementwise_lower.cpp: Add .. Div, Min, Max, PRelu
LowerResult lower_comparison(const LowerContext& context);      // logic_lower.cpp: Equal, Less, ...
LowerResult lower_where(const LowerContext& context);
LowerResult lower_view(const LowerContext& context);            // movement_lower.cpp: Reshape and its like, Transpose
LowerResult lower_concat(const LowerContext& context);
LowerResult lower_slice(const LowerContext& context);           // slice_lower.cpp
LowerResult lower_split(const LowerContext& context);
LowerResult lower_pad(const LowerContext& context);
LowerResult lower_expand(const LowerContext& context);
LowerResult lower_gather(const LowerContext& context);          // gather_lower.cpp
LowerResult lower_unary(const LowerContext& context);           // activation_lower.cpp: every pointwise function
LowerResult lower_softmax(const LowerContext& context);         // softmax_lower.cpp: Softmax, LogSoftmax
LowerResult lower_quantize(const LowerContext& context);        // quantize_lower.cpp
LowerResult lower_dequantize(const LowerContext& context);
LowerResult lower_cast(const LowerContext& context);

}  // namespace bevel::ops
