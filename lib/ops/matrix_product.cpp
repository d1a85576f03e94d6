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
constexpr std::int64_t kColumns = 16;      // two AVX2 registers
constexpr std::int64_t kDepthBlock = 256;  // 12 rows: 12 KB, 32 columns: 32 KB, both near enough for a kernel that reads them in order
constexpr std::int64_t kColumnTiles = 4;   // with kDepthBlock: 128 KB of tiles, in the second-level cache
// While the rows of a depth block fit this many floats, each tile is used by all of them as soon as it is filled, from the first level.
constexpr std::int64_t kManyWeights = 48 << 10;
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

struct Left {
  const float* data;
  std::int64_t pitch;  // from one k to the next
};

// c[R, 16] = start or c, += a[k, R] * b[k, 16] for k in order, and the ends.
template <int R, typename Right>
void micro_kernel(std::int64_t depth, Left left, Right right, float* c, std::int64_t c_stride, const RowEnds& ends) {
  const float* a = left.data;
#if defined(__AVX2__) && defined(__FMA__)
  __m256 sum[R][2];
  for (int i = 0; i < R; ++i) {
    if (ends.start != nullptr) {
      sum[i][0] = sum[i][1] = _mm256_broadcast_ss(ends.start + i);
    } else {
      sum[i][0] = _mm256_loadu_ps(c + i * c_stride);
      sum[i][1] = _mm256_loadu_ps(c + i * c_stride + 8);
    }
  }
  for (std::int64_t k = 0; k < depth; ++k, a += left.pitch) {
    const float* b = right.row(k);
    const __m256 b0 = _mm256_loadu_ps(b);
    const __m256 b1 = _mm256_loadu_ps(b + 8);
#pragma GCC unroll 6
    for (int i = 0; i < R; ++i) {
      const __m256 factor = _mm256_broadcast_ss(a + i);
      sum[i][0] = _mm256_fmadd_ps(factor, b0, sum[i][0]);
      sum[i][1] = _mm256_fmadd_ps(factor, b1, sum[i][1]);
    }
  }
  for (int i = 0; i < R; ++i) {
    for (int v = 0; v < 2; ++v) {
      __m256 x = sum[i][v];
      if (ends.factor != nullptr)
        x = _mm256_add_ps(_mm256_mul_ps(x, _mm256_broadcast_ss(ends.factor + i)), _mm256_broadcast_ss(ends.offset + i));
      // The second operand where they are equal or one is NaN: as RowEnds::finish.
      if (ends.clamps) x = _mm256_min_ps(_mm256_set1_ps(ends.high), _mm256_max_ps(_mm256_set1_ps(ends.low), x));
      _mm256_storeu_ps(c + i * c_stride + 8 * v, x);
    }
  }
#else
  for (int i = 0; i < R; ++i) {
    float sum[kColumns];
    std::memcpy(sum, c + i * c_stride, sizeof sum);
    for (int j = 0; ends.start != nullptr && j < kColumns; ++j) sum[j] = ends.start[i];
    for (std::int64_t k = 0; k < depth; ++k) {
      for (int j = 0; j < kColumns; ++j) sum[j] = __builtin_fmaf(a[k * left.pitch + i], right.row(k)[j], sum[j]);
    }
    for (int j = 0; j < kColumns; ++j) sum[j] = ends.from(i).finish(sum[j]);
    std::memcpy(c + i * c_stride, sum, sizeof sum);
  }
#endif
}

// The kernel for as many rows as there are, at most six, which it knows when it is compiled.
template <typename Right>
void run_narrow(std::int64_t rows, std::int64_t depth, Left left, Right right, float* c, std::int64_t c_stride, const RowEnds& ends) {
  switch (rows) {
    case 1: return micro_kernel<1>(depth, left, right, c, c_stride, ends);
    case 2: return micro_kernel<2>(depth, left, right, c, c_stride, ends);
    case 3: return micro_kernel<3>(depth, left, right, c, c_stride, ends);
    case 4: return micro_kernel<4>(depth, left, right, c, c_stride, ends);
    case 5: return micro_kernel<5>(depth, left, right, c, c_stride, ends);
    default: return micro_kernel<6>(depth, left, right, c, c_stride, ends);
  }
}

#if defined(__AVX2__) && defined(__FMA__)
// Two AVX-512 registers of columns, on machines that have them: the same chain for every element, so the same bits.
std::atomic<bool> wide_allowed = true;

bool wide_registers() {
  static const bool present = __builtin_cpu_supports("avx512f") != 0;
  return present && wide_allowed.load(std::memory_order_relaxed);
}

// `columns` of 16 * V, the last register's behind a mask.
template <int R, int V, typename Right>
__attribute__((target("avx512f"))) void wide_kernel(std::int64_t columns, std::int64_t depth, Left left, Right right, float* c,
                                                    std::int64_t c_stride, const RowEnds& ends) {
  const bool whole = columns == 16 * V;
  constexpr __mmask16 kAll = 0xFFFF;  // the intrinsics without a mask warn of their own uninitialized variable in GCC 12
  const auto mask = static_cast<__mmask16>((1u << (columns - 16 * (V - 1))) - 1);
  __m512 sum[R][V];
#pragma GCC unroll 12
  for (int i = 0; i < R; ++i) {
#pragma GCC unroll 2
    for (int v = 0; v < V; ++v) {
      if (ends.start != nullptr) sum[i][v] = _mm512_set1_ps(ends.start[i]);
      else if (whole || v + 1 < V) sum[i][v] = _mm512_loadu_ps(c + i * c_stride + 16 * v);
      else sum[i][v] = _mm512_maskz_loadu_ps(mask, c + i * c_stride + 16 * v);
    }
  }
  const float* a = left.data;
  for (std::int64_t k = 0; k < depth; ++k, a += left.pitch) {
    const float* from = right.row(k);
    __m512 b[V];
#pragma GCC unroll 2
    for (int v = 0; v < V; ++v) b[v] = _mm512_loadu_ps(from + 16 * v);
#pragma GCC unroll 12
    for (int i = 0; i < R; ++i) {
      const __m512 factor = _mm512_set1_ps(a[i]);
#pragma GCC unroll 2
      for (int v = 0; v < V; ++v) sum[i][v] = _mm512_fmadd_ps(factor, b[v], sum[i][v]);
    }
  }
#pragma GCC unroll 12
  for (int i = 0; i < R; ++i) {
#pragma GCC unroll 2
    for (int v = 0; v < V; ++v) {
      __m512 x = sum[i][v];
      if (ends.factor != nullptr) x = _mm512_add_ps(_mm512_mul_ps(x, _mm512_set1_ps(ends.factor[i])), _mm512_set1_ps(ends.offset[i]));
      if (ends.clamps) x = _mm512_maskz_min_ps(kAll, _mm512_set1_ps(ends.high), _mm512_maskz_max_ps(kAll, _mm512_set1_ps(ends.low), x));
      if (whole || v + 1 < V) _mm512_storeu_ps(c + i * c_stride + 16 * v, x);
      else _mm512_mask_storeu_ps(c + i * c_stride + 16 * v, mask, x);
    }
  }
}

template <int V, typename Right>
void run_wide(std::int64_t rows, std::int64_t columns, std::int64_t depth, Left left, Right right, float* c, std::int64_t c_stride,
              const RowEnds& ends) {
  switch (rows) {
    case 1: return wide_kernel<1, V>(columns, depth, left, right, c, c_stride, ends);
    case 2: return wide_kernel<2, V>(columns, depth, left, right, c, c_stride, ends);
    case 3: return wide_kernel<3, V>(columns, depth, left, right, c, c_stride, ends);
    case 4: return wide_kernel<4, V>(columns, depth, left, right, c, c_stride, ends);
    case 5: return wide_kernel<5, V>(columns, depth, left, right, c, c_stride, ends);
    case 6: return wide_kernel<6, V>(columns, depth, left, right, c, c_stride, ends);
    case 7: return wide_kernel<7, V>(columns, depth, left, right, c, c_stride, ends);
    case 8: return wide_kernel<8, V>(columns, depth, left, right, c, c_stride, ends);
    case 9: return wide_kernel<9, V>(columns, depth, left, right, c, c_stride, ends);
    case 10: return wide_kernel<10, V>(columns, depth, left, right, c, c_stride, ends);
    case 11: return wide_kernel<11, V>(columns, depth, left, right, c, c_stride, ends);
    default: return wide_kernel<12, V>(columns, depth, left, right, c, c_stride, ends);
  }
}
#else
bool wide_registers() { return false; }
#endif

// At most kRows rows against a tile of at most kTileColumns columns.
template <typename Right>
void multiply_tile(bool wide, std::int64_t rows, std::int64_t columns, std::int64_t depth, Left left, Right right, float* c,
                   std::int64_t c_stride, const RowEnds& ends) {
#if defined(__AVX2__) && defined(__FMA__)
  if (wide) {
    if (columns > kColumns) run_wide<2>(rows, columns, depth, left, right, c, c_stride, ends);
    else run_wide<1>(rows, columns, depth, left, right, c, c_stride, ends);
    return;
  }
#endif
  constexpr std::int64_t kHalf = 6;
  for (std::int64_t row = 0; row < rows; row += kHalf) {
    const std::int64_t some = std::min(kHalf, rows - row);
    const Left part{left.data + row, left.pitch};
    const RowEnds part_ends = ends.from(row);
    for (std::int64_t column = 0; column < columns; column += kColumns) {
      float* out = c + row * c_stride + column;
      const std::int64_t count = std::min(kColumns, columns - column);
      if (count == kColumns) {
        run_narrow(some, depth, part, right.from(column), out, c_stride, part_ends);
        continue;
      }
      float edge[kHalf * kColumns] = {};
      const std::size_t bytes = static_cast<std::size_t>(count) * sizeof(float);
      for (std::int64_t i = 0; ends.start == nullptr && i < some; ++i) std::memcpy(edge + i * kColumns, out + i * c_stride, bytes);
      run_narrow(some, depth, part, right.from(column), edge, kColumns, part_ends);
      for (std::int64_t i = 0; i < some; ++i) std::memcpy(out + i * c_stride, edge + i * kColumns, bytes);
    }
  }
}

// The ends of one block of k: the first starts, the last finishes.
RowEnds ends_of_block(const RowEnds& ends, bool first, bool last) {
  RowEnds block = ends;
  if (!first) block.start = nullptr;
  if (!last) {
    block.factor = block.offset = nullptr;
    block.clamps = false;
  }
  return block;
}

// All row panels against one tile.
template <typename Right>
void multiply_panels(bool wide, const PackedRows& a, std::int64_t k0, std::int64_t kc, Right right, std::int64_t columns, float* c,
                     std::int64_t c_stride, const RowEnds& ends) {
  for (std::int64_t row = 0, index = 0; row < a.rows(); row += kRows, ++index) {
    const Left left{a.panel(index) + k0 * a.pitch(), a.pitch()};
    multiply_tile(wide, std::min(kRows, a.rows() - row), columns, kc, left, right, c + row * c_stride, c_stride, ends.from(row));
  }
}

// Blocks of k, at least one (a product of no depth is where it starts).
template <typename Body>
void for_each_depth(std::int64_t depth, const RowEnds& ends, Body&& body) {
  std::int64_t k0 = 0;
  do {
    const std::int64_t kc = std::min(kDepthBlock, depth - k0);
    body(k0, kc, ends_of_block(ends, k0 == 0, k0 + kc >= depth));
    k0 += kDepthBlock;
  } while (k0 < depth);
}

class ViewColumns final : public ColumnSource {
 public:
  explicit ViewColumns(MatrixView view) : view_(view) {}
  void fill(std::int64_t k0, std::int64_t kc, std::int64_t n0, std::int64_t nc, float* tile) const override {
    const float* source = view_.data + k0 * view_.row_stride + n0 * view_.column_stride;
    if (view_.column_stride == 1) {
      for (std::int64_t k = 0; k < kc; ++k)
        std::memcpy(tile + k * kTileColumns, source + k * view_.row_stride, static_cast<std::size_t>(nc) * sizeof(float));
      return;
    }
    for (std::int64_t n = 0; n < nc; ++n) {
      const float* column = source + n * view_.column_stride;
      for (std::int64_t k = 0; k < kc; ++k) tile[k * kTileColumns + n] = column[k * view_.row_stride];
    }
  }

 private:
  MatrixView view_;
};

float* aligned(float* data) {
  constexpr std::uintptr_t kLine = 64;
  const auto at = reinterpret_cast<std::uintptr_t>(data);
  return data + (kLine - at % kLine) % kLine / sizeof(float);
}
constexpr std::int64_t kAlignSlack = 16;

#if defined(__AVX2__) && defined(__FMA__)
// out[k * pitch + r] = rows[r][k] for k in [0, 8), r in [0, 8).
void transpose_eight(const float* const* rows, std::int64_t k, float* out, std::int64_t pitch) {
  __m256 r[8], t[8], u[8];
  for (int i = 0; i < 8; ++i) r[i] = _mm256_loadu_ps(rows[i] + k);
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
  for (int i = 0; i < 4; ++i) _mm256_storeu_ps(out + i * pitch, _mm256_permute2f128_ps(u[i], u[4 + i], 0x20));
  for (int i = 0; i < 4; ++i) _mm256_storeu_ps(out + (4 + i) * pitch, _mm256_permute2f128_ps(u[i], u[4 + i], 0x31));
}
#endif

}  // namespace

void allow_wide_registers([[maybe_unused]] bool allowed) {
#if defined(__AVX2__) && defined(__FMA__)
  wide_allowed = allowed;
#endif
}

RowEnds RowEnds::from(std::int64_t row) const {
  RowEnds ends = *this;
  if (start != nullptr) ends.start += row;
  if (factor != nullptr) {
    ends.factor += row;
    ends.offset += row;
  }
  return ends;
}

float RowEnds::finish(float x) const {
  if (factor != nullptr) x = x * *factor + *offset;
  if (clamps && x < low) x = low;
  if (clamps && x > high) x = high;
  return x;
}

PackedRows::PackedRows(std::int64_t rows, std::int64_t depth, MatrixView a)
    : rows_(rows), depth_(depth), pitch_(rows > 8 ? kPanel : rows > 4 ? 8 : std::max<std::int64_t>(rows, 1)) {
  const std::int64_t panels = (rows + kPanel - 1) / kPanel;
  const auto count = static_cast<std::size_t>(panels * depth * pitch_);
  data_ = std::make_unique_for_overwrite<float[]>(count);
  bytes_ = count * sizeof(float);
  for (std::int64_t panel = 0; panel < panels; ++panel) {
    float* out = data_.get() + panel * depth * pitch_;
    const float* in[kPanel];
    // Rows beyond the last repeat it: they are packed, but no kernel reads them.
    for (std::int64_t r = 0; r < pitch_; ++r) in[r] = a.data + std::min(panel * kPanel + r, rows - 1) * a.row_stride;
    std::int64_t k = 0;
#if defined(__AVX2__) && defined(__FMA__)
    if (a.column_stride == 1 && pitch_ >= 8) {
      for (; k + 8 <= depth; k += 8) {
        transpose_eight(in, k, out + k * pitch_, pitch_);
        if (pitch_ == kPanel) transpose_eight(in + 4, k, out + k * pitch_ + 4, pitch_);  // four of them once more
      }
    }
#endif
    for (; k < depth; ++k) {
      for (std::int64_t r = 0; r < pitch_; ++r) out[k * pitch_ + r] = in[r][k * a.column_stride];
    }
  }
}

void multiply_add(const PackedRows& a, std::int64_t columns, const ColumnSource& b, float* c, std::int64_t c_stride,
                  const RowEnds& ends) {
  if (a.rows() == 0 || columns == 0) return;
  constexpr std::int64_t kTile = kDepthBlock * kTileColumns;
  // One per thread, kept: a fresh block would cost page faults on every product.
  thread_local const auto block = std::make_unique<float[]>(static_cast<std::size_t>(kColumnTiles * kTile + kTileSlack + kAlignSlack));
  float* const tiles = aligned(block.get());
  const bool wide = wide_registers();
  const bool by_tile = a.rows() * std::min(kDepthBlock, a.depth()) <= kManyWeights;
  const std::int64_t group = by_tile ? kTileColumns : kColumnTiles * kTileColumns;
  for (std::int64_t n0 = 0; n0 < columns; n0 += group) {
    const std::int64_t end = std::min(columns, n0 + group);
    for_each_depth(a.depth(), ends, [&](std::int64_t k0, std::int64_t kc, const RowEnds& block_ends) {
      for (std::int64_t n = n0; n < end; n += kTileColumns)
        b.fill(k0, kc, n, std::min(kTileColumns, end - n), tiles + (n - n0) / kTileColumns * kTile);
      for (std::int64_t row = 0, index = 0; row < a.rows(); row += kRows, ++index) {
        const Left left{a.panel(index) + k0 * a.pitch(), a.pitch()};
        const RowEnds row_ends = block_ends.from(row);
        for (std::int64_t n = n0; n < end; n += kTileColumns) {
          const Pitched right{tiles + (n - n0) / kTileColumns * kTile, kTileColumns};
          multiply_tile(wide, std::min(kRows, a.rows() - row), std::min(kTileColumns, end - n), kc, left, right,
                        c + row * c_stride + n, c_stride, row_ends);
        }
      }
    });
  }
}

void multiply_add(const PackedRows& a, std::int64_t columns, const float* b, std::span<const std::int64_t> offsets, float* c,
                  std::int64_t c_stride, const RowEnds& ends) {
  const bool wide = wide_registers();
  for (std::int64_t n = 0; n < columns; n += kTileColumns) {
    for_each_depth(a.depth(), ends, [&](std::int64_t k0, std::int64_t kc, const RowEnds& block_ends) {
      multiply_panels(wide, a, k0, kc, Scattered{b + n, offsets.data() + k0}, std::min(kTileColumns, columns - n), c + n, c_stride,
                      block_ends);
    });
  }
}

void multiply_add(const PackedRows& a, std::int64_t columns, const float* b, std::int64_t b_stride, float* c, std::int64_t c_stride,
                  const RowEnds& ends) {
  const bool wide = wide_registers();
  const std::int64_t whole = columns / kTileColumns * kTileColumns;
  for (std::int64_t n = 0; n < whole; n += kTileColumns) {
    for_each_depth(a.depth(), ends, [&](std::int64_t k0, std::int64_t kc, const RowEnds& block_ends) {
      multiply_panels(wide, a, k0, kc, Pitched{b + k0 * b_stride + n, b_stride}, kTileColumns, c + n, c_stride, block_ends);
    });
  }
  if (whole < columns) multiply_add(a, columns - whole, ViewColumns({b + whole, b_stride, 1}), c + whole, c_stride, ends);
}

void multiply_add(std::int64_t rows, std::int64_t columns, std::int64_t depth, MatrixView a, MatrixView b, float* c,
                  std::int64_t c_stride) {
  if (rows == 0 || columns == 0 || depth == 0) return;
  const PackedRows packed(rows, depth, a);
  if (rows <= kFewRows && b.column_stride == 1) return multiply_add(packed, columns, b.data, b.row_stride, c, c_stride);
  multiply_add(packed, columns, ViewColumns(b), c, c_stride);
}

PackedColumns::PackedColumns(std::int64_t depth, std::int64_t columns, MatrixView b) : depth_(depth), columns_(columns) {
  const std::int64_t tiles = (columns + kTileColumns - 1) / kTileColumns;
  const auto count = static_cast<std::size_t>(tiles * depth * kTileColumns + kAlignSlack);
  block_ = std::make_unique<float[]>(count);
  bytes_ = count * sizeof(float);
  data_ = aligned(block_.get());
  const ViewColumns source(b);
  for (std::int64_t t = 0; t < tiles; ++t)
    source.fill(0, depth, t * kTileColumns, std::min(kTileColumns, columns - t * kTileColumns), data_ + t * depth * kTileColumns);
}

void multiply_add(std::int64_t rows, MatrixView a, const PackedColumns& b, float* c, std::int64_t c_stride, const RowEnds& ends) {
  if (rows == 0 || b.columns() == 0) return;
  const PackedRows packed(rows, b.depth(), a);
  const bool wide = wide_registers();
  for (std::int64_t n = 0, t = 0; n < b.columns(); n += kTileColumns, ++t) {
    for_each_depth(b.depth(), ends, [&](std::int64_t k0, std::int64_t kc, const RowEnds& block_ends) {
      multiply_panels(wide, packed, k0, kc, Pitched{b.tile(t) + k0 * kTileColumns, kTileColumns},
                      std::min(kTileColumns, b.columns() - n), c + n, c_stride, block_ends);
    });
  }
}

}  // namespace bevel::ops
