// Integer products of two activations (attention), to matmul_s8.
#pragma once

#include "lib/ops/lower_common.h"

namespace bevel::ops {

// a [batch.., rows, in_c] times b [batch.., in_c, out_c], 8-bit with one scale each, batches broadcast as in NumPy; b is input `b_index` of the
// group. Both are read where they lie when a's last axis is innermost in memory.
LowerResult activation_product(const GroupOperand& a, const GroupOperand& b, int b_index, const GroupOperand& y, const Quantization& qa,
                               const Quantization& qb, const Quantization& qy, const std::optional<Interval>& clamp);
// The same of a MatMul's operands.
LowerResult activation_product(const LowerContext& context);

}  // namespace bevel::ops
