// Sixteen doubles that are computed side by side: one channel (or one candidate of a channel) in each. Lanes never mix, so that results
// do not depend on which channels share a tile, nor on the registers that the compiler finds: no sum crosses lanes.
#pragma once

#include <cstdint>

namespace bevel::second_order {

using Double4 = double __attribute__((vector_size(32)));

struct Lanes {
  static constexpr std::int64_t kCount = 16;
  Double4 part[4] = {};

  static Lanes all(double x) {
    const Double4 four = {x, x, x, x};
    return {{four, four, four, four}};
  }
  double operator[](std::int64_t lane) const { return part[lane / 4][lane % 4]; }
  void set(std::int64_t lane, double x) { part[lane / 4][lane % 4] = x; }

  Lanes& operator+=(const Lanes& b) {
    part[0] += b.part[0], part[1] += b.part[1], part[2] += b.part[2], part[3] += b.part[3];
    return *this;
  }
  Lanes& operator-=(const Lanes& b) {
    part[0] -= b.part[0], part[1] -= b.part[1], part[2] -= b.part[2], part[3] -= b.part[3];
    return *this;
  }
  // *this += x * b, and *this -= x * b: multiplied, rounded, added.
  void add_product(double x, const Lanes& b) {
    part[0] += x * b.part[0], part[1] += x * b.part[1], part[2] += x * b.part[2], part[3] += x * b.part[3];
  }
  void subtract_product(double x, const Lanes& b) {
    part[0] -= x * b.part[0], part[1] -= x * b.part[1], part[2] -= x * b.part[2], part[3] -= x * b.part[3];
  }
};

inline Lanes operator+(Lanes a, const Lanes& b) { return a += b; }
inline Lanes operator-(Lanes a, const Lanes& b) { return a -= b; }
inline Lanes operator*(const Lanes& a, const Lanes& b) {
  return {{a.part[0] * b.part[0], a.part[1] * b.part[1], a.part[2] * b.part[2], a.part[3] * b.part[3]}};
}
inline Lanes operator*(double x, const Lanes& b) { return {{x * b.part[0], x * b.part[1], x * b.part[2], x * b.part[3]}}; }
inline Lanes operator/(const Lanes& a, const Lanes& b) {
  return {{a.part[0] / b.part[0], a.part[1] / b.part[1], a.part[2] / b.part[2], a.part[3] / b.part[3]}};
}
inline Lanes minimum(const Lanes& a, const Lanes& b) {
  Lanes r;
  for (int i = 0; i < 4; ++i) r.part[i] = a.part[i] < b.part[i] ? a.part[i] : b.part[i];
  return r;
}
inline Lanes maximum(const Lanes& a, const Lanes& b) {
  Lanes r;
  for (int i = 0; i < 4; ++i) r.part[i] = a.part[i] > b.part[i] ? a.part[i] : b.part[i];
  return r;
}
// To the nearest integer, ties to even, for |x| < 2^51: the sum has no bits left for a fraction.
inline Lanes nearest(const Lanes& x) {
  const Lanes shift = Lanes::all(0x1.8p52);
  return (x + shift) - shift;
}
inline bool all_zero(const Lanes& x) {
  bool zero = true;
  for (std::int64_t lane = 0; lane < Lanes::kCount; ++lane) zero = zero && x[lane] == 0.0;
  return zero;
}

}  // namespace bevel::second_order
