#include "calibration/integer_products.h"

#include <algorithm>

namespace bevel::calibration {
namespace {

// 256 products below 2^22 stay within 31 bits.
constexpr std::size_t kChunk = 256;

// Four sums at a time, so that a is loaded once for them. The compiler makes vpmaddwd of it.
void four(const std::int16_t* a, const std::int16_t* b, std::size_t length, std::size_t rows, std::int64_t* sums) {
  const std::int16_t *b0 = b, *b1 = b + length, *b2 = b + 2 * length, *b3 = b + 3 * length;
  for (std::size_t begin = 0; begin < rows; begin += kChunk) {
    const std::size_t end = std::min(rows, begin + kChunk);
    std::int32_t s0 = 0, s1 = 0, s2 = 0, s3 = 0;
    for (std::size_t r = begin; r < end; ++r) {
      s0 += a[r] * b0[r];
      s1 += a[r] * b1[r];
      s2 += a[r] * b2[r];
      s3 += a[r] * b3[r];
    }
    sums[0] += s0;
    sums[1] += s1;
    sums[2] += s2;
    sums[3] += s3;
  }
}

void one(const std::int16_t* a, const std::int16_t* b, std::size_t rows, std::int64_t* sum) {
  for (std::size_t begin = 0; begin < rows; begin += kChunk) {
    const std::size_t end = std::min(rows, begin + kChunk);
    std::int32_t s = 0;
    for (std::size_t r = begin; r < end; ++r) s += a[r] * b[r];
    *sum += s;
  }
}

}  // namespace

void add_products(const std::int16_t* a, std::size_t a_count, const std::int16_t* b, std::size_t b_count, std::size_t length,
                  std::size_t rows, bool upper, std::int64_t* sums, std::size_t stride) {
  for (std::size_t i = 0; i < a_count; ++i) {
    std::size_t j = upper ? i : 0;
    for (; j + 4 <= b_count; j += 4) four(a + i * length, b + j * length, length, rows, sums + i * stride + j);
    for (; j < b_count; ++j) one(a + i * length, b + j * length, rows, sums + i * stride + j);
  }
}

}  // namespace bevel::calibration
