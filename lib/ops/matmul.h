// Geometry of MatMul and its integer forms: NumPy's matmul.
#pragma once

#include <span>
#include <vector>

#include "lib/ops/family.h"

namespace bevel::ops {

struct MatMulShape {
  std::int64_t rows = 1, columns = 1, depth = 1;
  Dims batch;                 // broadcast batch extents
  Dims a_strides, b_strides;  // in matrices, along the batch axes; 0 where broadcast
  Dims out;                   // the result's dimensions
  [[nodiscard]] std::int64_t batch_count() const { return product(batch, 0, batch.size()); }
  // Calls body(a matrix, b matrix, y matrix) with matrix indices, in row-major order of the batch.
  template <typename Body>
  void for_each_matrix(Body&& body) const {
    const std::int64_t count = rows == 0 || columns == 0 ? 0 : batch_count();  // matrices of nothing may be many
    std::vector<std::int64_t> index(batch.size(), 0);
    for (std::int64_t n = 0; n < count; ++n) {
      std::int64_t a = 0, b = 0;
      for (std::size_t i = 0; i < index.size(); ++i) {
        a += index[i] * a_strides[i];
        b += index[i] * b_strides[i];
      }
      body(a, b, n);
      for (std::size_t i = index.size(); i-- > 0;) {
        if (++index[i] < batch[i]) break;
        index[i] = 0;
      }
    }
  }
};
Result<MatMulShape> matmul_shape(std::span<const std::int64_t> a, std::span<const std::int64_t> b);
Result<Shape> infer_matmul_shape(const Shape& a, const Shape& b);
// The iteration space with operands `a` and `b` among `input_count` inputs.
IterationSpace matmul_space(const FactsContext& ctx, std::size_t input_count, std::size_t a, std::size_t b);

}  // namespace bevel::ops
