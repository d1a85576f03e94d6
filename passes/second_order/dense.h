// Dense matrices of doubles and the factorization that everything here rests on. Blocks are fixed and sums have one order, so that the bits
// are the same on any processor and for any number of threads (which is why this is no library's).
#pragma once

#include <cstdint>
#include <vector>

#include "lib/support/worker_pool.h"

namespace bevel::second_order {

// Row-major; rows start on multiples of eight elements, which are zero beyond `columns`.
struct Matrix {
  std::int64_t rows = 0, columns = 0, pitch = 0;
  std::vector<double> values;

  Matrix() = default;
  Matrix(std::int64_t row_count, std::int64_t column_count)
      : rows(row_count), columns(column_count), pitch((column_count + 7) / 8 * 8),
        values(static_cast<std::size_t>(rows * pitch), 0.0) {}
  [[nodiscard]] double* row(std::int64_t i) { return values.data() + i * pitch; }
  [[nodiscard]] const double* row(std::int64_t i) const { return values.data() + i * pitch; }
  [[nodiscard]] double at(std::int64_t i, std::int64_t j) const { return row(i)[j]; }
};

// body(i) for i in [0, count), on the pool where there is one.
template <typename Body>
void for_each(WorkerPool* pool, std::int64_t count, const Body& body) {
  if (pool != nullptr && count > 1) {
    pool->for_each(static_cast<std::size_t>(count), [&](std::size_t item, unsigned) { body(static_cast<std::int64_t>(item)); });
  } else {
    for (std::int64_t i = 0; i < count; ++i) body(i);
  }
}

// The upper triangle of a symmetric matrix becomes R with R^T R = A; below the diagonal is scratch. False (and A is spoilt) when a pivot
// is not above `least`: A is not positive definite to the precision at hand. k^3 / 3 products.
[[nodiscard]] bool cholesky(Matrix& a, double least, WorkerPool* pool);

// Columns of b [k][n] become the solutions x of (R^T R) x = b. n k^2 products.
void solve(const Matrix& r, Matrix& b, WorkerPool* pool);

}  // namespace bevel::second_order
