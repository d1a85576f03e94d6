// float32 matrix products whose bits depend on nothing but the operands: every element of the result is one chain of
// fused multiply-adds in the order of k, starting from the value already there. Any split over rows, columns, k, caches
// or threads gives the same bits, on every machine. Blocking as in K. Goto, R. van de Geijn: "Anatomy of
// High-Performance Matrix Multiplication", ACM TOMS 34(3), 2008.
#pragma once

#include <cstdint>
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
  static constexpr std::int64_t kPanel = 6;  // rows of one panel: 6 x 16 accumulators fill the 16 AVX2 registers
  PackedRows(std::int64_t rows, std::int64_t depth, MatrixView a);
  [[nodiscard]] std::int64_t rows() const { return rows_; }
  [[nodiscard]] std::int64_t depth() const { return depth_; }
  [[nodiscard]] const float* panel(std::int64_t index) const { return data_.get() + index * depth_ * kPanel; }

 private:
  std::int64_t rows_, depth_;
  std::unique_ptr<float[]> data_;  // [panel][k][row of the panel]; rows beyond the last are never read
};

// The right operand [depth, columns], made block by block (an image's columns for a convolution).
class ColumnSource {
 public:
  virtual ~ColumnSource() = default;
  // Writes elements (k, n), k in [k0, k0 + kc), n in [n0, n0 + nc), to block[(k - k0) * stride + (n - n0)].
  virtual void fill(std::int64_t k0, std::int64_t kc, std::int64_t n0, std::int64_t nc, float* block,
                    std::int64_t stride) const = 0;
};

// c[m, n] += a[m, k] * b[k, n]; rows of c are c_stride apart.
void multiply_add(const PackedRows& a, std::int64_t columns, const ColumnSource& b, float* c, std::int64_t c_stride);
// b[k, n] = b[offsets[k] + n]: windows over an image that lies in memory with its padding. Up to 15 elements behind each row's last
// column are read. A block of a few hundred columns at a time is what caches hold.
void multiply_add(const PackedRows& a, std::int64_t columns, const float* b, std::span<const std::int64_t> offsets, float* c,
                  std::int64_t c_stride);
void multiply_add(std::int64_t rows, std::int64_t columns, std::int64_t depth, MatrixView a, MatrixView b, float* c,
                  std::int64_t c_stride);

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
