#include "lib/ops/fourier.h"

#include <bit>
#include <cmath>
#include <cstdint>
#include <numbers>
#include <utility>

namespace bevel::ops {
namespace {

// exp(-2 pi i numerator / denominator).
Complex root_of_unity(std::uint64_t numerator, std::uint64_t denominator) {
  const double angle = -2 * std::numbers::pi * (static_cast<double>(numerator) / static_cast<double>(denominator));
  return {std::cos(angle), std::sin(angle)};
}

std::size_t padded_length(std::size_t length) {
  return std::has_single_bit(length) ? length : std::bit_ceil(2 * length - 1);
}

}  // namespace

std::size_t FourierTransform::scratch_elements(std::size_t length) {
  // Twiddles, work, filter, chirp.
  return 3 * padded_length(length) + length;
}

// L. Bluestein, "A linear filtering approach to the computation of discrete Fourier transform", 1970: with kn = (k^2 + n^2 - (k-n)^2)/2
// the transform is a convolution with a chirp, which a longer transform of a power of two computes.
FourierTransform::FourierTransform(std::size_t length, bool inverse)
    : length_(length), padded_(padded_length(length)), inverse_(inverse), work_(padded_) {
  twiddles_.resize(padded_ / 2);
  for (std::size_t k = 0; k < twiddles_.size(); ++k) twiddles_[k] = root_of_unity(k, padded_);
  if (padded_ == length_) return;
  chirp_.resize(length_);
  filter_.resize(padded_);
  std::uint64_t square = 0;  // n^2 modulo 2 * length: the angle stays exact for any length
  for (std::size_t n = 0; n < length_; ++n) {
    chirp_[n] = root_of_unity(square, 2 * length_);
    square = (square + 2 * n + 1) % (2 * length_);
  }
  filter_[0] = conjugate(chirp_[0]);
  for (std::size_t n = 1; n < length_; ++n) filter_[n] = filter_[padded_ - n] = conjugate(chirp_[n]);
  radix2(filter_);
}

// Decimation in time (Cooley, Tukey 1965); the order of sums depends on the length alone.
void FourierTransform::radix2(std::vector<Complex>& values) const {
  for (std::size_t i = 1, reversed = 0; i < padded_; ++i) {
    std::size_t bit = padded_ >> 1;
    for (; reversed & bit; bit >>= 1) reversed ^= bit;
    reversed ^= bit;
    if (i < reversed) std::swap(values[i], values[reversed]);
  }
  for (std::size_t half = 1; half < padded_; half *= 2) {
    const std::size_t stride = padded_ / (2 * half);
    for (std::size_t block = 0; block < padded_; block += 2 * half) {
      for (std::size_t k = 0; k < half; ++k) {
        Complex& low = values[block + k];
        Complex& high = values[block + k + half];
        const Complex turned = high * twiddles_[k * stride];
        high = {low.re - turned.re, low.im - turned.im};
        low = {low.re + turned.re, low.im + turned.im};
      }
    }
  }
}

void FourierTransform::run(Complex* signal) {
  // The inverse is the conjugate of the transform of the conjugate.
  const auto in = [this](Complex value) { return inverse_ ? conjugate(value) : value; };
  for (std::size_t n = 0; n < length_; ++n) work_[n] = chirp_.empty() ? in(signal[n]) : in(signal[n]) * chirp_[n];
  for (std::size_t n = length_; n < padded_; ++n) work_[n] = {};
  radix2(work_);
  if (!chirp_.empty()) {
    // The convolution's inverse transform, by the same conjugation.
    for (std::size_t k = 0; k < padded_; ++k) work_[k] = conjugate(work_[k] * filter_[k]);
    radix2(work_);
    const double scale = 1.0 / static_cast<double>(padded_);
    for (std::size_t k = 0; k < length_; ++k) {
      work_[k] = Complex{work_[k].re * scale, -work_[k].im * scale} * chirp_[k];
    }
  }
  const double scale = inverse_ ? 1.0 / static_cast<double>(length_) : 1.0;
  for (std::size_t k = 0; k < length_; ++k) {
    const Complex value = in(work_[k]);
    signal[k] = {value.re * scale, value.im * scale};
  }
}

}  // namespace bevel::ops
