// Scaled dot-product attention: what Attention and FlexAttention share.
#pragma once

#include <span>
#include <vector>

#include "lib/ops/float_operands.h"

namespace bevel::ops {

// Extents of Q [batch, q_heads, queries, head], K [batch, kv_heads, keys, head], V [batch, kv_heads, keys, v_head].
struct AttentionShape {
  std::int64_t batch = 0, q_heads = 0, kv_heads = 0, queries = 0, keys = 0, head = 0, v_head = 0;
  [[nodiscard]] std::int64_t kv_head_of(std::int64_t q_head) const { return q_head / (q_heads / kv_heads); }
};
// Heads per group, and that batch and head extents of 4-D operands agree.
Result<AttentionShape> attention_shape(std::span<const std::int64_t> q, std::span<const std::int64_t> k,
                                       std::span<const std::int64_t> v);

// MACs of both products, and which axes follow which loops; opaque unless all three operands have rank 4 or 3.
IterationSpace attention_space(const FactsContext& ctx, std::int64_t q_heads, std::int64_t kv_heads);

// Softmax of one row in place, in S, every step rounded to `dtype`. A row that is -infinity throughout becomes zeros.
template <typename S>
void attention_softmax(DType dtype, std::span<S> row);

// The factor for Q and for K each, sqrt(scale), as the operands' element type holds it; scale 0 where none is given means
// 1 / sqrt(head).
Result<double> attention_factor(const Node& node, DType dtype, std::int64_t head);

// out[i] = x[i] * factor, rounded to dtype.
template <typename C>
void scaled_rows(DType dtype, const C* x, std::int64_t rows, std::int64_t columns, std::int64_t row_stride, C factor,
                 std::vector<C>& out) {
  out.resize(static_cast<std::size_t>(rows * columns));
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t c = 0; c < columns; ++c) {
      out[static_cast<std::size_t>(r * columns + c)] = rounded_to(dtype, x[r * row_stride + c] * factor);
    }
  }
}

}  // namespace bevel::ops
