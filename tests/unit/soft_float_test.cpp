// The fixed-point shortcuts of machines without an FPU give float's bits: built here with BVL_SOFT_FLOAT, against the
// definition in float.
#define BVL_SOFT_FLOAT 1
#define BVL_EMITTED 1
#define BVL_LINKAGE static
#include "lib/runtime/kernels/add_s8.c"

#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>
#include <vector>

#include "lib/support/random.h"

namespace {

std::int8_t definition(float v, int zero_point, int low, int high) {
  return static_cast<std::int8_t>(std::min(std::max(std::nearbyint(static_cast<double>(v)) + zero_point, double(low)), double(high)));
}

}  // namespace

TEST_CASE("requantization in fixed point") {
  int differing = 0;
  bevel::Random random(21);
  for (int i = 0; i < 3000000; ++i) {
    // All magnitudes of accumulators; multipliers over the whole range, every fourth a sum of few powers of two (ties).
    const auto acc = static_cast<std::int32_t>(static_cast<std::uint32_t>(random.next()) >> random.below(32)) * (random.below(2) ? 1 : -1);
    std::uint32_t bits = static_cast<std::uint32_t>((90 + random.below(50)) << 23 | (random.next() & 0x7fffff));
    if (i % 4 == 0) bits &= 0xfff00000u;
    if (i % 1000 == 0) bits = static_cast<std::uint32_t>(random.next()) & 0xff7fffffu;  // any sign and size, finite
    float multiplier;
    std::memcpy(&multiplier, &bits, sizeof bits);
    const int zero_point = static_cast<int>(random.below(256)) - 128;
    const bvl_output_range output = bvl_make_output_range(zero_point, -128, 127 - static_cast<int>(random.below(100)));
    const int high = output.last + zero_point;
    const float v = static_cast<float>(acc) * multiplier;
    differing += bvl_requantize(static_cast<std::uint32_t>(acc), multiplier, &output) != definition(v, zero_point, -128, high);
  }
  CHECK(differing == 0);
}

TEST_CASE("near ties: the accumulator is chosen so that the product lies next to a half") {
  int differing = 0;
  bevel::Random random(22);
  const bvl_output_range output = bvl_make_output_range(3, -128, 127);
  for (int i = 0; i < 1000000; ++i) {
    const auto multiplier = static_cast<float>(std::ldexp(1.0 + random.uniform(), -static_cast<int>(random.below(22))));
    const double half = static_cast<double>(random.below(250)) - 125.0 + 0.5;
    const auto acc = static_cast<std::int32_t>(std::lround(half / multiplier)) + static_cast<int>(random.below(3)) - 1;
    differing += bvl_requantize(static_cast<std::uint32_t>(acc), multiplier, &output) !=
                 definition(static_cast<float>(acc) * multiplier, 3, -128, 127);
  }
  CHECK(differing == 0);
}

TEST_CASE("addition in fixed point") {
  int differing = 0;
  bevel::Random random(23);
  std::vector<std::int8_t> a(65536), b(65536), y(65536);
  for (int i = 0; i < 65536; ++i) a[i] = static_cast<std::int8_t>(i), b[i] = static_cast<std::int8_t>(i >> 8);
  for (int i = 0; i < 60; ++i) {
    bvl_add_s8_params p{};
    p.rank = 1, p.dims[0] = 65536, p.a_strides[0] = p.b_strides[0] = 1;
    p.a_zp = static_cast<int>(random.below(256)) - 128, p.b_zp = static_cast<int>(random.below(256)) - 128, p.out_zp = 5;
    const float reach = i % 3 == 0 ? 1.0f : i % 3 == 1 ? 4.5f : 0.1f;
    p.a_multiplier = random.uniform(-reach, reach), p.b_multiplier = random.uniform(-reach, reach);
    if (i % 5 == 0) p.a_multiplier = 0.5f, p.b_multiplier = i % 2 ? 0.25f : 0.75f;
    p.low = -128, p.high = 100;
    const void* in[] = {a.data(), b.data()};
    void* out[] = {y.data()};
    bvl_add_s8(&p, in, out, nullptr, 0, 65536);
    for (int k = 0; k < 65536; ++k) {
      const float left = static_cast<float>(a[k] - p.a_zp) * p.a_multiplier, right = static_cast<float>(b[k] - p.b_zp) * p.b_multiplier;
      differing += y[k] != definition(left + right, 5, -128, 100);
    }
  }
  CHECK(differing == 0);
}
