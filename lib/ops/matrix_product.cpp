#include "lib/ops/matrix_product.h"

#include <algorithm>
#include <atomic>
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

// Where the rows of the right operand lie: a pitch apart, or wherever a list of offsets says.
struct Pitched {
  const float* data;
  std::int64_t pitch;
  [[nodiscard]] const float* row(std::int64_t k) const { return data + k * pitch; }
  [[nodiscard]] Pitched from(std::int64_t column) const { return {data + column, pitch}; }
};
struct Scattered {
  const float* data;
  const std::int64_t* offsets;
  [[nodiscard]] const float* row(std::int64_t k) const { return data + offsets[k]; }
  [[nodiscard]] Scattered from(std::int64_t column) const { return {data + column, offsets}; }
};

// c[R, 16] += a[k, R] * b[k, 16] for k in order. a: panel of pitch kRows.
template <int R, typename Right>
void micro_kernel(std::int64_t depth, const float* a, Right right, float* c, std::int64_t c_stride) {
#if defined(__AVX2__) && defined(__FMA__)
  __m256 sum[R][2];
  for (int i = 0; i < R; ++i) {
    sum[i][0] = _mm256_loadu_ps(c + i * c_stride);
    sum[i][1] = _mm256_loadu_ps(c + i * c_stride + 8);
  }
  for (std::int64_t k = 0; k < depth; ++k, a += kRows) {
    const float* b = right.row(k);
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
      for (int j = 0; j < kColumns; ++j) sum[j] = __builtin_fmaf(a[k * kRows + i], right.row(k)[j], sum[j]);
    }
    std::memcpy(c + i * c_stride, sum, sizeof sum);
  }
#endif
}

struct Narrow {
  template <int R, typename Right>
  static void run(std::int64_t depth, const float* a, Right right, float* c, std::int64_t c_stride) {
    micro_kernel<R>(depth, a, right, c, c_stride);
  }
};

// The kernel for as many rows as there are, which it knows when it is compiled.
template <typename Kernel, typename Right>
void run_kernel(std::int64_t rows, std::int64_t depth, const float* a, Right right, float* c, std::int64_t c_stride) {
  switch (rows) {
    case 1:
      return Kernel::template run<1>(depth, a, right, c, c_stride);
    case 2:
      return Kernel::template run<2>(depth, a, right, c, c_stride);
    case 3:
      return Kernel::template run<3>(depth, a, right, c, c_stride);
    case 4:
      return Kernel::template run<4>(depth, a, right, c, c_stride);
    case 5:
      return Kernel::template run<5>(depth, a, right, c, c_stride);
    default:
      return Kernel::template run<6>(depth, a, right, c, c_stride);
  }
}

#if defined(__AVX2__) && defined(__FMA__)
// Two AVX-512 registers of columns, on machines that have them: the same chain for every element, so the same bits.
constexpr std::int64_t kWideColumns = 32;
std::atomic<bool> wide_allowed = true;

bool wide_registers() {
  static const bool present = __builtin_cpu_supports("avx512f") != 0;
  return present && wide_allowed.load(std::memory_order_relaxed);
}

template <int R, typename Right>
__attribute__((target("avx512f"))) void wide_kernel(std::int64_t depth, const float* a, Right right, float* c,
                                                    std::int64_t c_stride) {
  __m512 sum[R][2];
  for (int i = 0; i < R; ++i) {
    sum[i][0] = _mm512_loadu_ps(c + i * c_stride);
    sum[i][1] = _mm512_loadu_ps(c + i * c_stride + 16);
  }
  for (std::int64_t k = 0; k < depth; ++k, a += kRows) {
    const float* b = right.row(k);
    const __m512 b0 = _mm512_loadu_ps(b);
    const __m512 b1 = _mm512_loadu_ps(b + 16);
#pragma GCC unroll 6
    for (int i = 0; i < R; ++i) {
      const __m512 left = _mm512_set1_ps(a[i]);
      sum[i][0] = _mm512_fmadd_ps(left, b0, sum[i][0]);
      sum[i][1] = _mm512_fmadd_ps(left, b1, sum[i][1]);
    }
  }
  for (int i = 0; i < R; ++i) {
    _mm512_storeu_ps(c + i * c_stride, sum[i][0]);
    _mm512_storeu_ps(c + i * c_stride + 16, sum[i][1]);
  }
}

struct Wide {
  template <int R, typename Right>
  static void run(std::int64_t depth, const float* a, Right right, float* c, std::int64_t c_stride) {
    wide_kernel<R>(depth, a, right, c, c_stride);
  }
};
#endif

// One block: all row panels against `columns` columns of the right operand, the last panel of columns through a padded copy of c.
template <typename Right>
void multiply_block(const PackedRows& a, std::int64_t k0, std::int64_t kc, Right right, std::int64_t columns, float* c,
                    std::int64_t c_stride) {
#if defined(__AVX2__) && defined(__FMA__)
  const bool wide = wide_registers();
#endif
  for (std::int64_t row = 0, index = 0; row < a.rows(); row += kRows, ++index) {
    const float* left = a.panel(index) + k0 * kRows;
    const std::int64_t rows = std::min(kRows, a.rows() - row);
    std::int64_t column = 0;
#if defined(__AVX2__) && defined(__FMA__)
    if (wide) {
      for (; column + kWideColumns <= columns; column += kWideColumns)
        run_kernel<Wide>(rows, kc, left, right.from(column), c + row * c_stride + column, c_stride);
    }
#endif
    for (; column + kColumns <= columns; column += kColumns)
      run_kernel<Narrow>(rows, kc, left, right.from(column), c + row * c_stride + column, c_stride);
    if (column == columns) continue;
    float edge[kRows * kColumns] = {};
    const std::size_t bytes = static_cast<std::size_t>(columns - column) * sizeof(float);
    for (std::int64_t i = 0; i < rows; ++i) std::memcpy(edge + i * kColumns, c + (row + i) * c_stride + column, bytes);
    run_kernel<Narrow>(rows, kc, left, right.from(column), edge, kColumns);
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

#if defined(__AVX2__) && defined(__FMA__)
// out[k * kRows + r] = rows[r][k] for k in [0, 8), r in [0, 6); writes two elements past the end.
void transpose_eight(const float* const* rows, std::int64_t k, float* out) {
  __m256 r[8];
  for (int i = 0; i < 6; ++i) r[i] = _mm256_loadu_ps(rows[i] + k);
  r[6] = r[7] = _mm256_setzero_ps();
  __m256 t[8], u[8];
  for (int i = 0; i < 4; ++i) {
    t[2 * i] = _mm256_unpacklo_ps(r[2 * i], r[2 * i + 1]);
    t[2 * i + 1] = _mm256_unpackhi_ps(r[2 * i], r[2 * i + 1]);
  }
  for (int i = 0; i < 2; ++i) {
    u[4 * i] = _mm256_shuffle_ps(t[4 * i], t[4 * i + 2], 0x44);
    u[4 * i + 1] = _mm256_shuffle_ps(t[4 * i], t[4 * i + 2], 0xEE);
    u[4 * i + 2] = _mm256_shuffle_ps(t[4 * i + 1], t[4 * i + 3], 0x44);
    u[4 * i + 3] = _mm256_shuffle_ps(t[4 * i + 1], t[4 * i + 3], 0xEE);
  }
  for (int i = 0; i < 4; ++i) _mm256_storeu_ps(out + i * kRows, _mm256_permute2f128_ps(u[i], u[4 + i], 0x20));
  for (int i = 0; i < 4; ++i) _mm256_storeu_ps(out + (4 + i) * kRows, _mm256_permute2f128_ps(u[i], u[4 + i], 0x31));
}
#endif

}  // namespace

void allow_wide_registers([[maybe_unused]] bool allowed) {
#if defined(__AVX2__) && defined(__FMA__)
  wide_allowed = allowed;
#endif
}

PackedRows::PackedRows(std::int64_t rows, std::int64_t depth, MatrixView a) : rows_(rows), depth_(depth) {
  constexpr std::int64_t kSlack = 2;  // transpose_eight stores eight floats for six
  const std::int64_t panels = (rows + kPanel - 1) / kPanel;
  data_ = std::make_unique_for_overwrite<float[]>(static_cast<std::size_t>(panels * depth * kPanel + kSlack));
  for (std::int64_t panel = 0; panel < panels; ++panel) {
    float* out = data_.get() + panel * depth * kPanel;
    const float* in[kPanel];
    // Rows beyond the last repeat it: they are packed, but no kernel reads them.
    for (std::int64_t r = 0; r < kPanel; ++r) in[r] = a.data + std::min(panel * kPanel + r, rows - 1) * a.row_stride;
    std::int64_t k = 0;
#if defined(__AVX2__) && defined(__FMA__)
    if (a.column_stride == 1) {
      for (; k + 8 <= depth; k += 8) transpose_eight(in, k, out + k * kPanel);
    }
#endif
    for (; k < depth; ++k) {
      for (std::int64_t r = 0; r < kPanel; ++r) out[k * kPanel + r] = in[r][k * a.column_stride];
    }
  }
}

void multiply_add(const PackedRows& a, std::int64_t columns, const ColumnSource& b, float* c, std::int64_t c_stride) {
  if (a.rows() == 0 || columns == 0 || a.depth() == 0) return;
  // One per thread, kept: a fresh block would cost page faults on every product.
  thread_local const auto block =
      std::make_unique_for_overwrite<float[]>(static_cast<std::size_t>(kDepthBlock * kBlockStride));
  for (std::int64_t n0 = 0; n0 < columns; n0 += kColumnBlock) {
    const std::int64_t nc = std::min(kColumnBlock, columns - n0);
    for (std::int64_t k0 = 0; k0 < a.depth(); k0 += kDepthBlock) {
      const std::int64_t kc = std::min(kDepthBlock, a.depth() - k0);
      b.fill(k0, kc, n0, nc, block.get(), kBlockStride);
      const std::int64_t padded = (nc + kColumns - 1) / kColumns * kColumns;
      for (std::int64_t k = 0; padded > nc && k < kc; ++k)
        std::fill_n(block.get() + k * kBlockStride + nc, padded - nc, 0.0f);
      multiply_block(a, k0, kc, Pitched{block.get(), kBlockStride}, nc, c + n0, c_stride);
    }
  }
}

void multiply_add(const PackedRows& a, std::int64_t columns, const float* b, std::span<const std::int64_t> offsets, float* c,
                  std::int64_t c_stride) {
  for (std::int64_t k0 = 0; k0 < a.depth(); k0 += kDepthBlock) {
    const std::int64_t kc = std::min(kDepthBlock, a.depth() - k0);
    multiply_block(a, k0, kc, Scattered{b, offsets.data() + k0}, columns, c, c_stride);
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
    multiply_block(packed, k0, kc, Pitched{b.data + k0 * b.row_stride, b.row_stride}, whole, c, c_stride);
  }
  if (whole < columns) {
    const ViewColumns rest({b.data + whole, b.row_stride, 1});
    multiply_add(packed, columns - whole, rest, c + whole, c_stride);
  }
}

}  // namespace bevel::ops
