// bevel_math.h against the C library's long double functions: the errors that its header states.
#include <catch2/catch.hpp>
#include <cmath>
#include <cstdint>
#include <limits>

#include "lib/runtime/bevel_math.h"
#include "lib/support/random.h"

namespace {

using Reference = long double (*)(long double);

// Largest error over `count` arguments in [low, high), in units in the last place of the result's type.
template <typename T>
double largest_error(T (*function)(T), Reference reference, double low, double high, int count = 40000) {
  bevel::Random random(static_cast<std::uint64_t>(high * 977 + 13));
  double largest = 0;
  for (int i = 0; i < count; ++i) {
    const double unit = static_cast<double>(random.next() >> 11) * 0x1p-53;
    const T x = static_cast<T>(low + (high - low) * unit);
    const long double want = reference(x);
    int exponent = 0;
    std::frexp(want, &exponent);
    const int digits = std::numeric_limits<T>::digits;
    exponent = std::max(exponent, std::numeric_limits<T>::min_exponent);
    const long double unit_in_last_place = std::ldexp(1.0L, exponent - digits);
    largest = std::max(largest, static_cast<double>(std::fabs(function(x) - want) / unit_in_last_place));
  }
  return largest;
}

long double sigmoid(long double x) { return 1 / (1 + std::exp(-x)); }

}  // namespace

TEST_CASE("double functions keep their stated errors") {
  CHECK(largest_error<double>(bvl_exp, std::exp, -745, 709.7) <= 1);
  CHECK(largest_error<double>(bvl_exp, std::exp, -1, 1) <= 1);
  CHECK(largest_error<double>(bvl_log, std::log, 0.5, 2) <= 1);
  CHECK(largest_error<double>(bvl_log, std::log, 0, 1e-300) <= 1);
  CHECK(largest_error<double>(bvl_log, std::log, 0, 1e5) <= 1);
  CHECK(largest_error<double>(bvl_tanh, std::tanh, -0.7, 0.7) <= 2);
  CHECK(largest_error<double>(bvl_tanh, std::tanh, 0.6, 25) <= 2);
  CHECK(largest_error<double>(bvl_erf, std::erf, -1, 1) <= 2);
  CHECK(largest_error<double>(bvl_erf, std::erf, -7, -1) <= 2);
}

TEST_CASE("float functions keep their stated errors") {
  CHECK(largest_error<float>(bvl_expf, std::exp, -104, 88.7) <= 1);
  CHECK(largest_error<float>(bvl_expf, std::exp, -1, 1) <= 1);
  CHECK(largest_error<float>(bvl_expm1f, std::expm1, -10, 3) <= 4);
  CHECK(largest_error<float>(bvl_expm1f, std::expm1, -0.4, 0.4) <= 4);
  CHECK(largest_error<float>(bvl_logf, std::log, 0.5, 2) <= 1);
  CHECK(largest_error<float>(bvl_logf, std::log, 0, 1e-37) <= 1);
  CHECK(largest_error<float>(bvl_log1pf, std::log1p, 0, 1) <= 3);
  CHECK(largest_error<float>(bvl_tanhf, std::tanh, -0.7, 0.7) <= 2);
  CHECK(largest_error<float>(bvl_tanhf, std::tanh, -10, -0.6) <= 2);
  CHECK(largest_error<float>(bvl_erff, std::erf, -1, 1) <= 2);
  CHECK(largest_error<float>(bvl_erff, std::erf, 1, 5) <= 2);
  CHECK(largest_error<float>(bvl_sigmoidf, sigmoid, -80, 80) <= 3);
  CHECK(largest_error<float>(bvl_sigmoidf, sigmoid, -4, 4) <= 3);
}

TEST_CASE("square root, floor and ceiling are exact") {
  bevel::Random random(5);
  for (int i = 0; i < 200000; ++i) {
    const float x = bvl_bits_float(static_cast<std::uint32_t>(random.next()));
    if (std::isnan(x)) continue;
    REQUIRE(bvl_float_bits(bvl_floorf(x)) == bvl_float_bits(std::floor(x)));
    REQUIRE(bvl_float_bits(bvl_ceilf(x)) == bvl_float_bits(std::ceil(x)));
    if (x >= 0) REQUIRE(bvl_sqrtf(x) == std::sqrt(x));
  }
  CHECK(bvl_sqrtf(1e-45f) == std::sqrt(1e-45f));
  CHECK(std::isnan(bvl_sqrtf(-1.0f)));
}

TEST_CASE("powers") {
  CHECK(bvl_pow(-2, 3) == -8);
  CHECK(bvl_pow(-8, 2) == 64);
  CHECK(bvl_pow(2, -2) == 0.25);
  CHECK(bvl_pow(0, 0) == 1);
  CHECK(bvl_pow(0, -1) == std::numeric_limits<double>::infinity());
  CHECK(bvl_pow(-0.0, -3) == -std::numeric_limits<double>::infinity());
  CHECK(std::isnan(bvl_pow(-2, 0.5)));
  bevel::Random random(9);
  for (int i = 0; i < 20000; ++i) {
    const double x = random.uniform(1e-3f, 50), y = random.uniform(-20, 20);
    const long double want = std::pow(static_cast<long double>(x), static_cast<long double>(y));
    REQUIRE(std::fabs(static_cast<double>((bvl_pow(x, y) - want) / want)) < 2e-13);
  }
}

TEST_CASE("special values") {
  const double infinity = std::numeric_limits<double>::infinity();
  CHECK(bvl_exp(infinity) == infinity);
  CHECK(bvl_exp(-infinity) == 0);
  CHECK(bvl_exp(0) == 1);
  CHECK(bvl_log(1) == 0);
  CHECK(bvl_log(0) == -infinity);
  CHECK(std::isnan(bvl_log(-1)));
  CHECK(std::isnan(bvl_exp(std::nan(""))));
  CHECK(std::isnan(bvl_tanh(std::nan(""))));
  CHECK(std::isnan(bvl_erff(std::nanf(""))));
  CHECK(bvl_tanh(infinity) == 1);
  CHECK(bvl_erf(-infinity) == -1);
  CHECK(bvl_expf(89.0f) == std::numeric_limits<float>::infinity());
  CHECK(bvl_sigmoidf(-200.0f) == 0);
  CHECK(bvl_log1pf(std::numeric_limits<float>::infinity()) == std::numeric_limits<float>::infinity());
}
