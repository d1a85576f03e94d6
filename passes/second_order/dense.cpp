#include "passes/second_order/dense.h"

#include <algorithm>
#include <cmath>

#include "passes/second_order/lanes.h"

namespace bevel::second_order {
namespace {

constexpr std::int64_t kBlock = 64;  // rows of R that update the rest at once; their strip of eight columns (4 KB) stays in the first-level cache
constexpr std::int64_t kStrip = 8;
constexpr std::int64_t kTileRows = 4;
constexpr std::int64_t kTaskRows = 32;  // of the rest, that one thread updates

// c[4][8] -= sum over l of left[l][0..3] * right[l][0..7], l in order.
void update_tile(std::int64_t depth, const double* left, const double* right, double* c, std::int64_t pitch) {
  Double4 sum[kTileRows][2] = {};
  for (std::int64_t l = 0; l < depth; ++l, left += kStrip, right += kStrip) {
    Double4 r0, r1;
    __builtin_memcpy(&r0, right, sizeof r0);
    __builtin_memcpy(&r1, right + 4, sizeof r1);
#pragma GCC unroll 4
    for (int i = 0; i < kTileRows; ++i) {
      sum[i][0] += left[i] * r0;
      sum[i][1] += left[i] * r1;
    }
  }
  for (int i = 0; i < kTileRows; ++i) {
    for (int j = 0; j < 4; ++j) {
      c[i * pitch + j] -= sum[i][0][j];
      c[i * pitch + 4 + j] -= sum[i][1][j];
    }
  }
}

// Rows first .. last - 1 of R from what is left of A's after the rows above were taken off.
bool factor_rows(Matrix& a, std::int64_t first, std::int64_t last, double least) {
  for (std::int64_t i = first; i < last; ++i) {
    double* row = a.row(i);
    for (std::int64_t l = first; l < i; ++l) {
      const double* above = a.row(l);
      const double factor = above[i];
      for (std::int64_t j = i; j < a.columns; ++j) row[j] -= factor * above[j];
    }
    if (!(row[i] > least)) return false;  // NaN too
    const double pivot = std::sqrt(row[i]), inverse = 1.0 / pivot;
    row[i] = pivot;
    for (std::int64_t j = i + 1; j < a.columns; ++j) row[j] *= inverse;
  }
  return true;
}

}  // namespace

bool cholesky(Matrix& a, double least, WorkerPool* pool) {
  const std::int64_t k = a.rows;
  std::vector<double> strips;  // [strip][l][8] of the present rows
  for (std::int64_t first = 0; first < k; first += kBlock) {
    const std::int64_t last = std::min(first + kBlock, k), depth = last - first;
    if (!factor_rows(a, first, last, least)) return false;
    if (last == k) break;
    // `last` is a multiple of eight, and rows are filled up to one with zeros.
    const std::int64_t strip_count = (a.pitch - last) / kStrip;
    strips.resize(static_cast<std::size_t>(strip_count * depth * kStrip));
    for (std::int64_t strip = 0; strip < strip_count; ++strip) {
      for (std::int64_t l = 0; l < depth; ++l) {
        std::copy_n(a.row(first + l) + last + strip * kStrip, kStrip, strips.data() + (strip * depth + l) * kStrip);
      }
    }
    for_each(pool, (k - last + kTaskRows - 1) / kTaskRows, [&](std::int64_t task) {
      const std::int64_t begin = last + task * kTaskRows, end = std::min(begin + kTaskRows, k);
      for (std::int64_t strip = (begin - last) / kStrip; strip < strip_count; ++strip) {
        const std::int64_t column = last + strip * kStrip;
        const double* right = strips.data() + strip * depth * kStrip;
        for (std::int64_t i = begin; i < end && i < column + kStrip; i += kTileRows) {
          const double* left = strips.data() + ((i - last) / kStrip * depth) * kStrip + (i - last) % kStrip;
          if (i + kTileRows <= k) {
            update_tile(depth, left, right, a.row(i) + column, a.pitch);
            continue;
          }
          for (std::int64_t r = i; r < k; ++r) {
            for (std::int64_t j = 0; j < kStrip; ++j) {
              double sum = 0;
              for (std::int64_t l = 0; l < depth; ++l) sum += left[l * kStrip + r - i] * right[l * kStrip + j];
              a.row(r)[column + j] -= sum;
            }
          }
        }
      }
    });
  }
  return true;
}

void solve(const Matrix& r, Matrix& b, WorkerPool* pool) {
  const std::int64_t k = r.rows, tiles = (b.columns + Lanes::kCount - 1) / Lanes::kCount;
  for_each(pool, tiles, [&](std::int64_t tile) {
    const std::int64_t first = tile * Lanes::kCount, width = std::min(Lanes::kCount, b.columns - first);
    std::vector<Lanes> x(static_cast<std::size_t>(k));
    for (std::int64_t i = 0; i < k; ++i) {
      for (std::int64_t lane = 0; lane < width; ++lane) x[static_cast<std::size_t>(i)].set(lane, b.row(i)[first + lane]);
    }
    for (std::int64_t i = 0; i < k; ++i) {  // R^T y = b
      const double* row = r.row(i);
      Lanes& y = x[static_cast<std::size_t>(i)];
      y = (1.0 / row[i]) * y;
      for (std::int64_t j = i + 1; j < k; ++j) x[static_cast<std::size_t>(j)].subtract_product(row[j], y);
    }
    for (std::int64_t i = k - 1; i >= 0; --i) {  // R x = y
      const double* row = r.row(i);
      Lanes even, odd;
      std::int64_t j = i + 1;
      for (; j + 1 < k; j += 2) {
        even.add_product(row[j], x[static_cast<std::size_t>(j)]);
        odd.add_product(row[j + 1], x[static_cast<std::size_t>(j + 1)]);
      }
      if (j < k) even.add_product(row[j], x[static_cast<std::size_t>(j)]);
      x[static_cast<std::size_t>(i)] = (1.0 / row[i]) * (x[static_cast<std::size_t>(i)] - (even + odd));
    }
    for (std::int64_t i = 0; i < k; ++i) {
      for (std::int64_t lane = 0; lane < width; ++lane) b.row(i)[first + lane] = x[static_cast<std::size_t>(i)][lane];
    }
  });
}

}  // namespace bevel::second_order
