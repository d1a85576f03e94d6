#include "lib/ops/matrix_product.h"

#include <algorithm>
#include <cstring>

#if defined(__AVX2__) && defined(__FMA__)
#include <immintrin.h>
#endif

namespace bevel::ops {
namespace {

constexpr std::int64_t kRows = PackedRows::kPanel;
constexpr std::int64_t kColumns = 16;       // two AVX2 registers
constexpr std::int64_t kDepthBlock = 256;   // 6 rows: 6 KB, 16 columns: 16 KB, both in the first-level cache
constexpr std::int64_t kColumnBlock = 128;  // with kDepthBlock: 144 KB, in the second-level cache
// Row pitch of a block: an odd number of cache lines, so that the rows of one panel spread over all cache sets.
constexpr std::int64_t kBlockStride = kColumnBlock + 16;
// Up to this many rows the right operand is read in place: it is used once or twice, copying would cost as much.
constexpr std::int64_t kFewRows = 12;

// c[R, 16] += a[k, R] * b[k, 16] for k in order. a: panel of pitch kRows.
template <int R>
void micro_kernel(std::int64_t depth, const float* a, const float* b, std::int64_t b_stride, float* c,
                  std::int64_t c_stride) {
#if defined(__AVX2__) && defined(__FMA__)
  __m256 sum[R][2];
  for (int i = 0; i < R; ++i) {
    sum[i][0] = _mm256_loadu_ps(c + i * c_stride);
    sum[i][1] = _mm256_loadu_ps(c + i * c_stride + 8);
  }
  for (std::int64_t k = 0; k < depth; ++k, a += kRows, b += b_stride) {
    const __m256 b0 = _mm256_loadu_ps(b);
    const __m256 b1 = _mm256_loadu_ps(b + 8);
#pragma GCC unroll 6
    for (int i = 0; i < R; ++i) {
      const __m256 left = _mm256_broadcast_ss(a + i);
      sum[i][0] = _mm256_fmadd_ps(left, b0, sum[i][0]);
      sum[i][1] = _mm256_fmadd_ps(left, b1, sum[i][1]);
    }
  }
  for (int i = 0; i < R; ++i) {
    _mm256_storeu_ps(c + i * c_stride, sum[i][0]);
    _mm256_storeu_ps(c + i * c_stride + 8, sum[i][1]);
  }
#else
  for (int i = 0; i < R; ++i) {
    float sum[kColumns];
    std::memcpy(sum, c + i * c_stride, sizeof sum);
    for (std::int64_t k = 0; k < depth; ++k) {
      for (int j = 0; j < kColumns; ++j) sum[j] = __builtin_fmaf(a[k * kRows + i], b[k * b_stride + j], sum[j]);
    }
    std::memcpy(c + i * c_stride, sum, sizeof sum);
  }
#endif
}

void run_kernel(std::int64_t rows, std::int64_t depth, const float* a, const float* b, std::int64_t b_stride, float* c,
                std::int64_t c_stride) {
  switch (rows) {
    case 1: return micro_kernel<1>(depth, a, b, b_stride, c, c_stride);
    case 2: return micro_kernel<2>(depth, a, b, b_stride, c, c_stride);
    case 3: return micro_kernel<3>(depth, a, b, b_stride, c, c_stride);
    case 4: return micro_kernel<4>(depth, a, b, b_stride, c, c_stride);
    case 5: return micro_kernel<5>(depth, a, b, b_stride, c, c_stride);
    default: return micro_kernel<6>(depth, a, b, b_stride, c, c_stride);
  }
}

// One block: all row panels against `columns` columns of b, the last panel of columns through a padded copy of c.
void multiply_block(const PackedRows& a, std::int64_t k0, std::int64_t kc, const float* b, std::int64_t b_stride,
                    std::int64_t columns, float* c, std::int64_t c_stride) {
  for (std::int64_t row = 0, index = 0; row < a.rows(); row += kRows, ++index) {
    const float* left = a.panel(index) + k0 * kRows;
    const std::int64_t rows = std::min(kRows, a.rows() - row);
    std::int64_t column = 0;
    for (; column + kColumns <= columns; column += kColumns) {
      run_kernel(rows, kc, left, b + column, b_stride, c + row * c_stride + column, c_stride);
    }
    if (column == columns) continue;
    float edge[kRows * kColumns] = {};
    const std::size_t bytes = static_cast<std::size_t>(columns - column) * sizeof(float);
    for (std::int64_t i = 0; i < rows; ++i) std::memcpy(edge + i * kColumns, c + (row + i) * c_stride + column, bytes);
    run_kernel(rows, kc, left, b + column, b_stride, edge, kColumns);
    for (std::int64_t i = 0; i < rows; ++i) std::memcpy(c + (row + i) * c_stride + column, edge + i * kColumns, bytes);
  }
}

class ViewColumns final : public ColumnSource {
 public:
  explicit ViewColumns(MatrixView view) : view_(view) {}
  void fill(std::int64_t k0, std::int64_t kc, std::int64_t n0, std::int64_t nc, float* block,
            std::int64_t stride) const override {
    const float* source = view_.data + k0 * view_.row_stride + n0 * view_.column_stride;
    if (view_.column_stride == 1) {
      for (std::int64_t k = 0; k < kc; ++k) {
        std::memcpy(block + k * stride, source + k * view_.row_stride, static_cast<std::size_t>(nc) * sizeof(float));
      }
      return;
    }
    for (std::int64_t n = 0; n < nc; ++n) {
      const float* column = source + n * view_.column_stride;
      for (std::int64_t k = 0; k < kc; ++k) block[k * stride + n] = column[k * view_.row_stride];
    }
  }

 private:
  MatrixView view_;
};

}  // namespace

PackedRows::PackedRows(std::int64_t rows, std::int64_t depth, MatrixView a) : rows_(rows), depth_(depth) {
  const std::int64_t panels = (rows + kPanel - 1) / kPanel;
  data_.resize(static_cast<std::size_t>(panels * depth * kPanel));
  for (std::int64_t row = 0; row < rows; ++row) {
    float* out = data_.data() + (row / kPanel) * depth * kPanel + row % kPanel;
    const float* in = a.data + row * a.row_stride;
    for (std::int64_t k = 0; k < depth; ++k) out[k * kPanel] = in[k * a.column_stride];
  }
}

void multiply_add(const PackedRows& a, std::int64_t columns, const ColumnSource& b, float* c, std::int64_t c_stride) {
  if (a.rows() == 0 || columns == 0 || a.depth() == 0) return;
  std::vector<float> block(static_cast<std::size_t>(std::min(kDepthBlock, a.depth()) * kBlockStride));
  for (std::int64_t n0 = 0; n0 < columns; n0 += kColumnBlock) {
    const std::int64_t nc = std::min(kColumnBlock, columns - n0);
    for (std::int64_t k0 = 0; k0 < a.depth(); k0 += kDepthBlock) {
      const std::int64_t kc = std::min(kDepthBlock, a.depth() - k0);
      b.fill(k0, kc, n0, nc, block.data(), kBlockStride);
      multiply_block(a, k0, kc, block.data(), kBlockStride, nc, c + n0, c_stride);
    }
  }
}

void multiply_add(std::int64_t rows, std::int64_t columns, std::int64_t depth, MatrixView a, MatrixView b, float* c,
                  std::int64_t c_stride) {
  if (rows == 0 || columns == 0 || depth == 0) return;
  const PackedRows packed(rows, depth, a);
  const ViewColumns source(b);
  if (rows > kFewRows || b.column_stride != 1) return multiply_add(packed, columns, source, c, c_stride);
  const std::int64_t whole = columns / kColumns * kColumns;
  for (std::int64_t k0 = 0; k0 < depth; k0 += kDepthBlock) {
    const std::int64_t kc = std::min(kDepthBlock, depth - k0);
    multiply_block(packed, k0, kc, b.data + k0 * b.row_stride, b.row_stride, whole, c, c_stride);
  }
  if (whole < columns) {
    const ViewColumns rest({b.data + whole, b.row_stride, 1});
    multiply_add(packed, columns - whole, rest, c + whole, c_stride);
  }
}

}  // namespace bevel::ops
