// Sums of products of small integers: the arithmetic of second moments.
#pragma once

#include <cstddef>
#include <cstdint>

namespace bevel::calibration {

// Magnitudes of the integers: 12 bits with their sign.
constexpr int kLargestInteger = 2047;
// Lengths of features are multiples of this, filled up with zeros.
constexpr std::size_t kLane = 16;

// sums[i * stride + j] += sum over r < rows of a[i * length + r] * b[j * length + r], for i < a_count and j in [first(i), b_count), first(i)
// being i where `upper`, else 0. Exact: rows is at most 2^20 a call, |a|, |b| <= kLargestInteger. `rows` is a multiple of kLane.
void add_products(const std::int16_t* a, std::size_t a_count, const std::int16_t* b, std::size_t b_count, std::size_t length,
                  std::size_t rows, bool upper, std::int64_t* sums, std::size_t stride);

}  // namespace bevel::calibration
