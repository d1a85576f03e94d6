// float32 matrix products whose bits depend on nothing but the operands: every element of the result is one chain of
// fused multiply-adds in the order of k, starting from the value already there. Any split over rows, columns, k, caches
// or threads gives the same bits, on every machine. Blocking as in K. Goto, R. van de Geijn: "Anatomy of
// High-Performance Matrix Multiplication", ACM TOMS 34(3), 2008.
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <span>

namespace bevel::ops {

// Element (i, j) is data[i * row_stride + j * column_stride].
struct MatrixView {
  const float* data = nullptr;
  std::int64_t row_stride = 0;
  std::int64_t column_stride = 1;
};

// The left operand, rearranged once into panels of a few rows; serves many products.
class PackedRows {
 public:
  static constexpr std::int64_t kPanel = 12;  // rows of one panel: 12 x 32 accumulators fill 24 of the 32 AVX-512 registers
  PackedRows(std::int64_t rows, std::int64_t depth, MatrixView a);
  [[nodiscard]] std::int64_t rows() const { return rows_; }
  [[nodiscard]] std::int64_t depth() const { return depth_; }
  [[nodiscard]] std::int64_t pitch() const { return pitch_; }
  [[nodiscard]] const float* panel(std::int64_t index) const { return data_.get() + index * depth_ * pitch_; }
  [[nodiscard]] std::uint64_t heap_bytes() const { return bytes_; }

 private:
  std::int64_t rows_, depth_, pitch_;
  std::uint64_t bytes_ = 0;
  std::unique_ptr<float[]> data_;  // [panel][k][row of the panel, pitch_ of them]; rows beyond the last are never read
};

// Where the rows of a product start, and what is done to them at the end: x = x * factor + offset (rounded twice), then low where
// x < low, then high where x > high. One number per row.
struct RowEnds {
  const float* start = nullptr;                      // nullptr: what c holds
  const float* factor = nullptr, *offset = nullptr;  // both or none
  float low = -std::numeric_limits<float>::infinity(), high = std::numeric_limits<float>::infinity();
  bool clamps = false;
  // Of the rows from `row` on.
  [[nodiscard]] RowEnds from(std::int64_t row) const;
  // Does to one element of row 0 what is done at the end.
  [[nodiscard]] float finish(float x) const;
};

// The right operand [depth, columns], made tile by tile (an image's columns for a convolution).
constexpr std::int64_t kTileColumns = 32;
class ColumnSource {
 public:
  virtual ~ColumnSource() = default;
  // Writes elements (k, n), k in [k0, k0 + kc), n in [n0, n0 + nc), nc <= kTileColumns, to tile[(k - k0) * kTileColumns + (n - n0)].
  // What stands behind a row's nc elements is of no matter; up to kTileSlack elements behind the tile may be written.
  virtual void fill(std::int64_t k0, std::int64_t kc, std::int64_t n0, std::int64_t nc, float* tile) const = 0;
};
constexpr std::int64_t kTileSlack = 8;

// c[m, n] += a[m, k] * b[k, n]; rows of c are c_stride apart.
void multiply_add(const PackedRows& a, std::int64_t columns, const ColumnSource& b, float* c, std::int64_t c_stride,
                  const RowEnds& ends = {});
// b[k, n] = b[offsets[k] + n]: windows over an image that lies in memory with its padding. Up to 31 elements behind each row's last
// column are read. A block of a few hundred columns at a time is what caches hold.
void multiply_add(const PackedRows& a, std::int64_t columns, const float* b, std::span<const std::int64_t> offsets, float* c,
                  std::int64_t c_stride, const RowEnds& ends = {});
// b[k, n] = b[k * b_stride + n], read in place as far as whole tiles go: for few rows.
void multiply_add(const PackedRows& a, std::int64_t columns, const float* b, std::int64_t b_stride, float* c, std::int64_t c_stride,
                  const RowEnds& ends = {});
void multiply_add(std::int64_t rows, std::int64_t columns, std::int64_t depth, MatrixView a, MatrixView b, float* c,
                  std::int64_t c_stride);

// The right operand rearranged once, for products with few rows of which it is the constant.
class PackedColumns {
 public:
  PackedColumns(std::int64_t depth, std::int64_t columns, MatrixView b);
  [[nodiscard]] std::int64_t columns() const { return columns_; }
  [[nodiscard]] std::int64_t depth() const { return depth_; }
  [[nodiscard]] const float* tile(std::int64_t index) const { return data_ + index * depth_ * kTileColumns; }
  [[nodiscard]] std::uint64_t heap_bytes() const { return bytes_; }

 private:
  std::int64_t depth_, columns_;
  std::uint64_t bytes_ = 0;
  std::unique_ptr<float[]> block_;
  float* data_ = nullptr;  // [tile][k][kTileColumns], zero behind the last column
};
// `low` and `high` of the ends only: starts, factors and offsets would be the columns'.
void multiply_add(std::int64_t rows, MatrixView a, const PackedColumns& b, float* c, std::int64_t c_stride, const RowEnds& ends = {});

// Off: machines with AVX-512 compute as those without. For the test that the bits are the same.
void allow_wide_registers(bool allowed);

// The same for other element types, without blocking: T wraps as unsigned integers do.
template <typename T, typename A, typename B>
void multiply_add_plain(std::int64_t rows, std::int64_t columns, std::int64_t depth, const A* a, std::int64_t a_row,
                        std::int64_t a_column, const B* b, std::int64_t b_row, std::int64_t b_column, T* c,
                        std::int64_t c_stride) {
  for (std::int64_t i = 0; i < rows; ++i) {
    for (std::int64_t k = 0; k < depth; ++k) {
      const T left = static_cast<T>(a[i * a_row + k * a_column]);
      const B* right = b + k * b_row;
      T* out = c + i * c_stride;
      for (std::int64_t j = 0; j < columns; ++j) out[j] += left * static_cast<T>(right[j * b_column]);
    }
  }
}

}  // namespace bevel::ops
