// Evaluation functions of the neural network families, declared once: x.cpp holds the record, x_evaluate.cpp the arithmetic.
#pragma once

#include "lib/ops/op.h"

namespace bevel::ops {

Outputs evaluate_conv(const EvalContext& ctx);
Outputs evaluate_conv_integer(const EvalContext& ctx);
Outputs evaluate_qlinear_conv(const EvalContext& ctx);
Outputs evaluate_conv_transpose(const EvalContext& ctx);
Outputs evaluate_matmul(const EvalContext& ctx);
Outputs evaluate_matmul_integer(const EvalContext& ctx);
Outputs evaluate_qlinear_matmul(const EvalContext& ctx);
Outputs evaluate_einsum(const EvalContext& ctx);
Outputs evaluate_gemm(const EvalContext& ctx);
Outputs evaluate_batch_normalization(const EvalContext& ctx);
Outputs evaluate_instance_normalization(const EvalContext& ctx);
Outputs evaluate_layer_normalization(const EvalContext& ctx);
Outputs evaluate_lrn(const EvalContext& ctx);
Outputs evaluate_lp_normalization(const EvalContext& ctx);
Outputs evaluate_max_pool(const EvalContext& ctx);
Outputs evaluate_average_pool(const EvalContext& ctx);
Outputs evaluate_lp_pool(const EvalContext& ctx);
Outputs evaluate_global_pool(const EvalContext& ctx);
Outputs evaluate_softmax(const EvalContext& ctx);
Outputs evaluate_attention(const EvalContext& ctx);
Outputs evaluate_activation(const EvalContext& ctx);
Outputs evaluate_clip(const EvalContext& ctx);
Outputs evaluate_prelu(const EvalContext& ctx);
Outputs evaluate_dropout(const EvalContext& ctx);
Outputs evaluate_quantize_linear(const EvalContext& ctx);
Outputs evaluate_dequantize_linear(const EvalContext& ctx);
Outputs evaluate_dynamic_quantize_linear(const EvalContext& ctx);

}  // namespace bevel::ops
