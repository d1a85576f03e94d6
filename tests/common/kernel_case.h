// A kernel against a plain reference on random data, whole and in random parts, portable and as this machine runs it.
#pragma once

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#include "lib/runtime/bevel_runtime.h"
#include "lib/support/random.h"

namespace bevel::test {

struct Case {
  std::uint32_t kernel = 0;
  std::vector<std::uint32_t> params;
  std::vector<const void*> inputs;
  std::uint32_t range = 1;
};

template <typename Params>
std::vector<std::uint32_t> words(const Params& params) {
  std::vector<std::uint32_t> result(sizeof params / 4);
  std::memcpy(result.data(), &params, sizeof params);
  return result;
}

template <typename T>
std::vector<T> run(bvl_kernel_fn* function, const Case& c, std::size_t count, Random* split) {
  std::vector<T> y(count + 8, T(7));  // the guard behind the output must survive
  std::vector<std::uint64_t> scratch(bvl_kernel_scratch(c.kernel, c.params.data()) / 8 + 4);
  void* outputs[] = {y.data()};
  for (std::uint32_t begin = 0; begin < c.range;) {
    const std::uint32_t end = split ? begin + 1 + static_cast<std::uint32_t>(split->below(c.range - begin)) : c.range;
    function(c.params.data(), c.inputs.data(), outputs, scratch.data(), begin, end);
    begin = end;
  }
  for (std::size_t i = 0; i < 8; ++i) REQUIRE(y[count + i] == T(7));
  y.resize(count);
  return y;
}

template <typename T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  return a == b;
}
inline bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

// The kernel gives `want`, whole and split, portable and as this machine runs it.
template <typename T>
void check(const Case& c, const std::vector<T>& want, Random& random) {
  bvl_kernel_fn* portable = bvl_portable_kernel_function(c.kernel);
  bvl_kernel_fn* native = bvl_kernel_function(c.kernel);
  INFO(bvl_kernel_name(c.kernel));
  REQUIRE(std::strlen(bvl_kernel_param_layout(c.kernel)) == c.params.size());
  REQUIRE(same_bits(run<T>(portable, c, want.size(), nullptr), want));
  REQUIRE(same_bits(run<T>(portable, c, want.size(), &random), want));
  REQUIRE(same_bits(run<T>(native, c, want.size(), nullptr), want));
  REQUIRE(same_bits(run<T>(native, c, want.size(), &random), want));
}

inline int between(Random& random, int low, int high) {
  return low + static_cast<int>(random.below(static_cast<std::uint64_t>(high - low + 1)));
}
inline std::vector<std::int8_t> bytes(Random& random, std::size_t count) {
  std::vector<std::int8_t> result(count);
  for (auto& v : result) v = static_cast<std::int8_t>(between(random, -128, 127));
  return result;
}
inline std::vector<float> floats(Random& random, std::size_t count, float reach = 4) {
  std::vector<float> result(count);
  for (auto& v : result) v = random.uniform(-reach, reach);
  return result;
}

// round half to even by the C library, after a clamp: the definition.
inline std::int8_t rounded(float v, int zero_point, int low, int high) {
  const double r = std::nearbyint(static_cast<double>(v)) + zero_point;
  return static_cast<std::int8_t>(std::min<double>(std::max<double>(r, low), high));
}

struct Window {
  int in, out, kernel, stride, dilation, pad_before, pad_after;
};
inline Window window(Random& random, int max_in, int max_kernel) {
  for (;;) {
    Window w{between(random, 1, max_in), 0, between(random, 1, max_kernel), between(random, 1, 3), between(random, 1, 2), 0, 0};
    w.pad_before = between(random, 0, w.kernel - 1);
    w.pad_after = between(random, 0, w.kernel - 1);
    const int span = w.in + w.pad_before + w.pad_after - ((w.kernel - 1) * w.dilation + 1);
    if (span < 0) continue;
    w.out = span / w.stride + 1;
    return w;
  }
}

// Rows of weights in [-8, 7] as the kernels with packed weights read them, by their definition in bevel_kernels.h.
inline std::vector<std::uint8_t> packed_rows(const std::vector<std::int8_t>& weights, std::size_t rows) {
  constexpr std::size_t kOrder[8] = {0, 4, 1, 5, 2, 6, 3, 7};
  const std::size_t depth = weights.size() / rows, padded = (depth + 7) / 8 * 8;
  std::vector<std::uint8_t> result;
  for (std::size_t row = 0; row < rows; ++row) {
    for (std::size_t at = 0; at < padded; at += 2) {
      const auto half = [&](std::size_t place) {
        const std::size_t k = place / 8 * 8 + kOrder[place % 8];
        return k < depth ? static_cast<unsigned>(weights[row * depth + k]) & 15u : 0u;
      };
      result.push_back(static_cast<std::uint8_t>(half(at) | half(at + 1) << 4));
    }
  }
  return result;
}
inline std::vector<std::int8_t> fours(Random& random, std::size_t count) {
  std::vector<std::int8_t> result(count);
  for (auto& v : result) v = static_cast<std::int8_t>(between(random, -8, 7));
  return result;
}

inline std::vector<std::int16_t> shorts(Random& random, std::size_t count) {
  std::vector<std::int16_t> result(count);
  const bool extreme = random.below(4) == 0;  // all products of one sign and of full size: past 32 bits
  for (auto& v : result) v = static_cast<std::int16_t>(extreme ? -32768 : between(random, -32768, 32767));
  return result;
}
inline std::int16_t rounded16(float v, int low, int high) {
  return static_cast<std::int16_t>(std::min<double>(std::max<double>(std::nearbyint(static_cast<double>(v)), low), high));
}

// Float weights of 4, 8 or 16 bits and their bytes as kernels read them.
struct StoredRows {
  std::vector<float> values;
  std::vector<std::uint8_t> bytes;
};
inline StoredRows stored_rows(Random& random, int bits, std::size_t rows, std::size_t depth) {
  StoredRows result;
  const auto count = rows * depth;
  if (bits == 16) {
    for (std::size_t i = 0; i < count; ++i) {
      const auto half = static_cast<std::uint16_t>(random.next());
      const int exponent = half >> 10 & 31;
      const double magnitude = exponent == 0 ? (half & 1023) * 0x1p-24 : (1024 + (half & 1023)) * std::ldexp(1.0, exponent - 25);
      const auto finite = static_cast<std::uint16_t>(exponent == 31 ? half & 0x3ff : half);  // infinities become subnormals
      const double value = exponent == 31 ? (half & 1023) * 0x1p-24 : half & 0x8000 ? -magnitude : magnitude;
      result.values.push_back(static_cast<float>(value));
      result.bytes.push_back(static_cast<std::uint8_t>(finite));
      result.bytes.push_back(static_cast<std::uint8_t>(finite >> 8));
    }
    return result;
  }
  const auto q = bits == 4 ? fours(random, count) : bytes(random, count);
  result.values.assign(q.begin(), q.end());
  if (bits == 4) result.bytes = packed_rows(q, rows);
  else for (std::int8_t v : q) result.bytes.push_back(static_cast<std::uint8_t>(v));
  return result;
}

}  // namespace bevel::test
