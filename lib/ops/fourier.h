// Discrete Fourier transforms of any length in double: radix 2, and Bluestein's algorithm where the length is no power of two.
#pragma once

#include <cstddef>
#include <vector>

namespace bevel::ops {

struct Complex {
  double re = 0, im = 0;
};
inline Complex operator*(Complex a, Complex b) { return {a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re}; }
inline Complex conjugate(Complex a) { return {a.re, -a.im}; }

// y[k] = sum over n of x[n] * exp(-+2 pi i k n / length); the inverse divides by the length. One object serves many signals.
class FourierTransform {
 public:
  FourierTransform(std::size_t length, bool inverse);  // length > 0
  // In place; `signal` has `length` elements.
  void run(Complex* signal);
  // Elements of scratch that a transform of this length holds: what a caller must have admitted before.
  static std::size_t scratch_elements(std::size_t length);

 private:
  void radix2(std::vector<Complex>& values) const;

  std::size_t length_, padded_;  // padded_: a power of two; length_ itself when it is one
  bool inverse_;
  std::vector<Complex> twiddles_;         // exp(-2 pi i k / padded_) for k < padded_ / 2
  std::vector<Complex> chirp_, filter_;   // Bluestein; empty otherwise
  std::vector<Complex> work_;
};

}  // namespace bevel::ops
