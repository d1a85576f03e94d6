// Every kernel against a plain reference on random shapes, whole and in random parts; overrides against portable C, bit for
// bit; and files: round trip, every byte flipped, every truncation.
#include <catch2/catch.hpp>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "lib/runtime/bevel_math.h"
#include "lib/runtime/bevel_runtime.h"
#include "lib/support/random.h"

namespace {

using bevel::Random;

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

bool same_bits(const std::vector<std::int8_t>& a, const std::vector<std::int8_t>& b) { return a == b; }
bool same_bits(const std::vector<std::int16_t>& a, const std::vector<std::int16_t>& b) { return a == b; }
bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
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

int between(Random& random, int low, int high) {
  return low + static_cast<int>(random.below(static_cast<std::uint64_t>(high - low + 1)));
}
std::vector<std::int8_t> bytes(Random& random, std::size_t count) {
  std::vector<std::int8_t> result(count);
  for (auto& v : result) v = static_cast<std::int8_t>(between(random, -128, 127));
  return result;
}
std::vector<float> floats(Random& random, std::size_t count, float reach = 4) {
  std::vector<float> result(count);
  for (auto& v : result) v = random.uniform(-reach, reach);
  return result;
}

// round half to even by the C library, after a clamp: the definition.
std::int8_t rounded(float v, int zero_point, int low, int high) {
  const double r = std::nearbyint(static_cast<double>(v)) + zero_point;
  return static_cast<std::int8_t>(std::min<double>(std::max<double>(r, low), high));
}

struct Window {
  int in, out, kernel, stride, dilation, pad_before, pad_after;
};
Window window(Random& random, int max_in, int max_kernel) {
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

bvl_conv2d_s8_params conv_params(Random& random, int in_group, int out_group, int groups) {
  const Window h = window(random, 9, 4), w = window(random, 11, 5);
  bvl_conv2d_s8_params p{};
  p.n = between(random, 1, 2);
  p.in_h = h.in, p.out_h = h.out, p.kernel_h = h.kernel, p.stride_h = h.stride, p.dilation_h = h.dilation, p.pad_top = h.pad_before;
  p.in_w = w.in, p.out_w = w.out, p.kernel_w = w.kernel, p.stride_w = w.stride, p.dilation_w = w.dilation, p.pad_left = w.pad_before;
  p.groups = groups, p.in_c = groups * in_group, p.out_c = groups * out_group;
  p.in_zp = between(random, -128, 127), p.out_zp = between(random, -128, 127);
  p.low = between(random, -128, 0), p.high = between(random, 0, 127);
  return p;
}

// Reference convolution with int64 sums over unfolded zero points; weight(c, ky, kx, i) by the caller's layout.
template <typename Weight>
std::vector<std::int8_t> reference_conv(const bvl_conv2d_s8_params& p, const std::vector<std::int8_t>& x, Weight weight,
                                        const std::vector<std::int32_t>& unfolded, const std::vector<float>& multipliers) {
  std::vector<std::int8_t> y;
  const int in_group = p.in_c / p.groups, out_group = p.out_c / p.groups;
  for (int n = 0; n < p.n; ++n)
    for (int oy = 0; oy < p.out_h; ++oy)
      for (int ox = 0; ox < p.out_w; ++ox)
        for (int c = 0; c < p.out_c; ++c) {
          std::int64_t acc = unfolded[c];
          for (int ky = 0; ky < p.kernel_h; ++ky)
            for (int kx = 0; kx < p.kernel_w; ++kx)
              for (int i = 0; i < in_group; ++i) {
                const int yy = oy * p.stride_h - p.pad_top + ky * p.dilation_h;
                const int xx = ox * p.stride_w - p.pad_left + kx * p.dilation_w;
                if (yy < 0 || yy >= p.in_h || xx < 0 || xx >= p.in_w) continue;
                const int v = x[((static_cast<std::size_t>(n) * p.in_h + yy) * p.in_w + xx) * p.in_c + c / out_group * in_group + i];
                acc += static_cast<std::int64_t>(v - p.in_zp) * weight(c, ky, kx, i);
              }
          y.push_back(rounded(static_cast<float>(static_cast<std::int32_t>(acc)) * multipliers[c], p.out_zp, p.low, p.high));
        }
  return y;
}

// Rows of weights in [-8, 7] as the kernels with packed weights read them, by their definition in bevel_kernels.h.
std::vector<std::uint8_t> packed_rows(const std::vector<std::int8_t>& weights, std::size_t rows) {
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
std::vector<std::int8_t> fours(Random& random, std::size_t count) {
  std::vector<std::int8_t> result(count);
  for (auto& v : result) v = static_cast<std::int8_t>(between(random, -8, 7));
  return result;
}

void conv_case(Random& random, int in_group, int out_group, int groups, bool depthwise, bool pointwise = false, bool four = false) {
  bvl_conv2d_s8_params p = conv_params(random, in_group, out_group, groups);
  if (pointwise) {
    p.kernel_h = p.kernel_w = p.dilation_h = p.dilation_w = 1, p.pad_top = p.pad_left = 0;
    p.out_h = (p.in_h - 1) / p.stride_h + 1, p.out_w = (p.in_w - 1) / p.stride_w + 1;
  }
  const int taps = p.kernel_h * p.kernel_w;
  const auto x = bytes(random, static_cast<std::size_t>(p.n) * p.in_h * p.in_w * p.in_c);
  const std::size_t weight_count = static_cast<std::size_t>(p.out_c) * taps * in_group;
  const auto w = four ? fours(random, weight_count) : bytes(random, weight_count);
  const auto weight = [&](int c, int ky, int kx, int i) -> int {
    return depthwise ? w[(static_cast<std::size_t>(ky) * p.kernel_w + kx) * p.out_c + c]
                     : w[((static_cast<std::size_t>(c) * p.kernel_h + ky) * p.kernel_w + kx) * in_group + i];
  };
  std::vector<std::int32_t> unfolded(p.out_c), folded(p.out_c);
  std::vector<float> multipliers(p.out_c);
  for (int c = 0; c < p.out_c; ++c) {
    unfolded[c] = between(random, -40000, 40000);
    folded[c] = unfolded[c];
    for (int ky = 0; ky < p.kernel_h; ++ky)
      for (int kx = 0; kx < p.kernel_w; ++kx)
        for (int i = 0; i < in_group; ++i) folded[c] -= p.in_zp * weight(c, ky, kx, i);
    // Steps of 2^-9 make exact ties frequent.
    multipliers[c] = random.below(2) ? random.uniform(1e-4f, 0.02f) : static_cast<float>(between(random, 1, 8)) * 0x1p-9f;
  }
  const auto want = reference_conv(p, x, weight, unfolded, multipliers);
  const auto packed = packed_rows(four ? w : std::vector<std::int8_t>(), static_cast<std::size_t>(depthwise ? taps : p.out_c));
  Case c{depthwise ? BVL_KERNEL_DEPTHWISE_CONV2D_S8 : BVL_KERNEL_CONV2D_S8, words(p),
         {x.data(), w.data(), folded.data(), multipliers.data()}, static_cast<std::uint32_t>(p.n * p.out_h)};
  if (four) {
    c.kernel = depthwise ? BVL_KERNEL_DEPTHWISE_CONV2D_S8_W4 : BVL_KERNEL_CONV2D_S8_W4;
    c.inputs[1] = packed.data();
  }
  check(c, want, random);
}

// Random broadcasting: dims and the strides of an operand that misses some axes.
struct Broadcast {
  std::int32_t rank, dims[8], strides[2][8];
  std::size_t sizes[2], count;
};
Broadcast broadcast(Random& random) {
  Broadcast b{};
  b.rank = between(random, 1, 4);
  b.count = 1;
  for (int k = 0; k < b.rank; ++k) b.dims[k] = between(random, 1, k == b.rank - 1 ? 30 : 5);
  for (int k = 0; k < b.rank; ++k) b.count *= static_cast<std::size_t>(b.dims[k]);
  for (int side = 0; side < 2; ++side) {
    std::size_t size = 1;
    for (int k = b.rank - 1; k >= 0; --k) {
      const bool missing = random.below(3) == 0;
      b.strides[side][k] = missing ? 0 : static_cast<std::int32_t>(size);
      if (!missing) size *= static_cast<std::size_t>(b.dims[k]);
    }
    b.sizes[side] = size;
  }
  return b;
}
std::size_t element(const Broadcast& b, int side, std::size_t flat) {
  std::size_t at = 0;
  for (int k = b.rank - 1; k >= 0; --k) {
    at += flat % static_cast<std::size_t>(b.dims[k]) * static_cast<std::size_t>(b.strides[side][k]);
    flat /= static_cast<std::size_t>(b.dims[k]);
  }
  return at;
}

}  // namespace

TEST_CASE("conv2d_s8") {
  Random random(1);
  for (int i = 0; i < 120; ++i) conv_case(random, between(random, 1, 40), between(random, 1, 9), 1, false);
  for (int i = 0; i < 40; ++i) conv_case(random, between(random, 1, 5) * 16, between(random, 1, 9), 1, false, true);
  for (int i = 0; i < 40; ++i) conv_case(random, between(random, 1, 6), between(random, 1, 5), between(random, 2, 4), false);
}

TEST_CASE("depthwise_conv2d_s8") {
  Random random(2);
  for (int i = 0; i < 100; ++i) conv_case(random, 1, 1, between(random, 1, 50), true);
  for (int i = 0; i < 30; ++i) conv_case(random, 1, between(random, 2, 3), between(random, 1, 9), true);
}

TEST_CASE("convolutions with packed int4 weights") {
  Random random(21);
  for (int i = 0; i < 120; ++i) conv_case(random, between(random, 1, 40), between(random, 1, 9), 1, false, false, true);
  for (int i = 0; i < 40; ++i) conv_case(random, between(random, 1, 80), between(random, 1, 9), 1, false, true, true);
  for (int i = 0; i < 40; ++i) conv_case(random, between(random, 1, 9), between(random, 1, 5), between(random, 2, 4), false, false, true);
  for (int i = 0; i < 100; ++i) conv_case(random, 1, 1, between(random, 1, 50), true, false, true);
  for (int i = 0; i < 40; ++i) conv_case(random, 1, 1, between(random, 2, 8) * 8, true, false, true);
  for (int i = 0; i < 30; ++i) conv_case(random, 1, between(random, 2, 3), between(random, 1, 9), true, false, true);
}

// --- int16 activations: sums in 64 bits, rounded as the definition says ---
std::vector<std::int16_t> shorts(Random& random, std::size_t count) {
  std::vector<std::int16_t> result(count);
  const bool extreme = random.below(4) == 0;  // all products of one sign and of full size: past 32 bits
  for (auto& v : result) v = static_cast<std::int16_t>(extreme ? -32768 : between(random, -32768, 32767));
  return result;
}
std::int16_t rounded16(float v, int low, int high) {
  return static_cast<std::int16_t>(std::min<double>(std::max<double>(std::nearbyint(static_cast<double>(v)), low), high));
}
void wide_conv_case(Random& random, int in_group, int out_group, int groups, bool depthwise) {
  const bvl_conv2d_s8_params s = conv_params(random, in_group, out_group, groups);
  const bvl_conv2d_s16_params p{s.n, s.in_h, s.in_w, s.in_c, s.out_h, s.out_w, s.out_c, s.kernel_h, s.kernel_w, s.stride_h, s.stride_w,
                                s.dilation_h, s.dilation_w, s.pad_top, s.pad_left, s.groups, between(random, -32768, 0), between(random, 0, 32767)};
  const auto x = shorts(random, static_cast<std::size_t>(p.n) * p.in_h * p.in_w * p.in_c);
  auto w = bytes(random, static_cast<std::size_t>(p.out_c) * p.kernel_h * p.kernel_w * in_group);
  if (random.below(3) == 0) w.assign(w.size(), -128);
  std::vector<std::int64_t> bias(p.out_c);
  std::vector<float> multipliers(p.out_c);
  for (auto& v : bias) v = (static_cast<std::int64_t>(random.below(2000001)) - 1000000) * (random.below(2) ? 1 : 100000);
  for (auto& v : multipliers) v = random.below(2) ? random.uniform(1e-7f, 1e-4f) : static_cast<float>(between(random, 1, 8)) * 0x1p-9f;
  std::vector<std::int16_t> want;
  for (int n = 0; n < p.n; ++n)
    for (int oy = 0; oy < p.out_h; ++oy)
      for (int ox = 0; ox < p.out_w; ++ox)
        for (int c = 0; c < p.out_c; ++c) {
          std::int64_t acc = bias[c];
          for (int ky = 0; ky < p.kernel_h; ++ky)
            for (int kx = 0; kx < p.kernel_w; ++kx)
              for (int i = 0; i < in_group; ++i) {
                const int yy = oy * p.stride_h - p.pad_top + ky * p.dilation_h, xx = ox * p.stride_w - p.pad_left + kx * p.dilation_w;
                if (yy < 0 || yy >= p.in_h || xx < 0 || xx >= p.in_w) continue;
                const std::size_t at = ((static_cast<std::size_t>(n) * p.in_h + yy) * p.in_w + xx) * p.in_c + c / out_group * in_group + i;
                const std::size_t tap = static_cast<std::size_t>(ky) * p.kernel_w + kx;
                const int weight = depthwise ? w[tap * p.out_c + c] : w[(static_cast<std::size_t>(c) * p.kernel_h * p.kernel_w + tap) * in_group + i];
                acc += static_cast<std::int64_t>(x[at]) * weight;
              }
          want.push_back(rounded16(static_cast<float>(acc) * multipliers[c], p.low, p.high));
        }
  check(Case{depthwise ? BVL_KERNEL_DEPTHWISE_CONV2D_S16 : BVL_KERNEL_CONV2D_S16, words(p), {x.data(), w.data(), bias.data(), multipliers.data()},
             static_cast<std::uint32_t>(p.n * p.out_h)}, want, random);
}

TEST_CASE("int16 convolutions") {
  Random random(22);
  for (int i = 0; i < 100; ++i) wide_conv_case(random, between(random, 1, 70), between(random, 1, 9), 1, false);
  for (int i = 0; i < 40; ++i) wide_conv_case(random, between(random, 1, 9), between(random, 1, 5), between(random, 2, 4), false);
  for (int i = 0; i < 100; ++i) wide_conv_case(random, 1, 1, between(random, 1, 50), true);
  for (int i = 0; i < 30; ++i) wide_conv_case(random, 1, between(random, 2, 3), between(random, 1, 9), true);
  // A window of more taps than a run of 32-bit sums has.
  const bvl_depthwise_conv2d_s16_params p{1, 20, 21, 4, 1, 1, 4, 20, 21, 1, 1, 1, 1, 0, 0, 4, -32768, 32767};
  const std::vector<std::int16_t> x(20 * 21 * 4, -32768);
  const std::vector<std::int8_t> w(20 * 21 * 4, -128);
  const std::vector<std::int64_t> bias = {0, 1, -5, 7};
  const std::vector<float> multipliers(4, 1e-5f);
  std::vector<std::int16_t> want;
  for (std::int64_t b : bias) want.push_back(rounded16(static_cast<float>(b + std::int64_t{420} * 32768 * 128) * 1e-5f, -32768, 32767));
  check(Case{BVL_KERNEL_DEPTHWISE_CONV2D_S16, words(p), {x.data(), w.data(), bias.data(), multipliers.data()}, 1}, want, random);
}

TEST_CASE("dense_s16") {
  Random random(23);
  for (int i = 0; i < 120; ++i) {
    const bvl_dense_s16_params p{i % 2 ? 1 : between(random, 2, 7), between(random, 1, i % 5 ? 90 : 1500), between(random, 1, 21), -32768, between(random, 0, 32767)};
    const auto x = shorts(random, static_cast<std::size_t>(p.rows) * p.in_c);
    auto w = bytes(random, static_cast<std::size_t>(p.out_c) * p.in_c);
    if (random.below(3) == 0) w.assign(w.size(), -128);
    std::vector<std::int64_t> bias(p.out_c);
    std::vector<float> multipliers(p.out_c);
    std::vector<std::int16_t> want;
    for (auto& v : bias) v = static_cast<std::int64_t>(random.below(2000000001)) * 10 - 10000000000;
    for (auto& v : multipliers) v = random.uniform(1e-7f, 1e-5f);
    for (int r = 0; r < p.rows; ++r)
      for (int c = 0; c < p.out_c; ++c) {
        std::int64_t acc = bias[c];
        for (int k = 0; k < p.in_c; ++k) acc += static_cast<std::int64_t>(x[static_cast<std::size_t>(r) * p.in_c + k]) * w[static_cast<std::size_t>(c) * p.in_c + k];
        want.push_back(rounded16(static_cast<float>(acc) * multipliers[c], p.low, p.high));
      }
    check(Case{BVL_KERNEL_DENSE_S16, words(p), {x.data(), w.data(), bias.data(), multipliers.data()},
               static_cast<std::uint32_t>(p.rows == 1 ? p.out_c : p.rows)}, want, random);
  }
}

TEST_CASE("dense_s8, dense_s8_w4") {
  Random random(3);
  for (int i = 0; i < 200; ++i) {
    const bool four = i >= 100;
    bvl_dense_s8_params p{};
    p.rows = i % 2 ? 1 : between(random, 2, 7);
    p.in_c = between(random, 1, 70), p.out_c = between(random, 1, 21);
    p.in_zp = between(random, -128, 127), p.out_zp = between(random, -128, 127), p.low = -128, p.high = between(random, 0, 127);
    const std::size_t weight_count = static_cast<std::size_t>(p.out_c) * p.in_c;
    const auto x = bytes(random, static_cast<std::size_t>(p.rows) * p.in_c), w = four ? fours(random, weight_count) : bytes(random, weight_count);
    const auto packed = packed_rows(four ? w : std::vector<std::int8_t>(), static_cast<std::size_t>(p.out_c));
    std::vector<std::int32_t> bias(p.out_c);
    std::vector<float> multipliers(p.out_c);
    std::vector<std::int8_t> want;
    for (auto& v : bias) v = between(random, -100000, 100000);
    for (auto& v : multipliers) v = random.uniform(1e-4f, 0.01f);
    for (int r = 0; r < p.rows; ++r)
      for (int c = 0; c < p.out_c; ++c) {
        std::int64_t acc = bias[c];
        for (int k = 0; k < p.in_c; ++k) acc += x[static_cast<std::size_t>(r) * p.in_c + k] * w[static_cast<std::size_t>(c) * p.in_c + k];
        want.push_back(rounded(static_cast<float>(static_cast<std::int32_t>(acc)) * multipliers[c], p.out_zp, p.low, p.high));
      }
    Case c{four ? BVL_KERNEL_DENSE_S8_W4 : BVL_KERNEL_DENSE_S8, words(p),
           {x.data(), four ? static_cast<const void*>(packed.data()) : w.data(), bias.data(), multipliers.data()},
           static_cast<std::uint32_t>(p.rows == 1 ? p.out_c : p.rows)};
    check(c, want, random);
  }
}

TEST_CASE("add, mul, binary_f32 broadcast") {
  Random random(4);
  for (int i = 0; i < 200; ++i) {
    const Broadcast b = broadcast(random);
    const auto x = bytes(random, b.sizes[0]), y = bytes(random, b.sizes[1]);
    const auto range = static_cast<std::uint32_t>(b.dims[0]);
    const int a_zp = between(random, -128, 127), b_zp = between(random, -128, 127), zp = between(random, -128, 127);
    const int low = between(random, -128, 0), high = between(random, 0, 127);
    const float ma = random.uniform(-1, 1), mb = i % 3 ? random.uniform(0, 1) : 0.5f;
    bvl_add_s8_params add{};
    add.rank = b.rank, add.a_zp = a_zp, add.b_zp = b_zp, add.out_zp = zp, add.low = low, add.high = high;
    add.a_multiplier = i % 3 ? ma : 0.5f, add.b_multiplier = mb;
    std::memcpy(add.dims, b.dims, sizeof b.dims);
    std::memcpy(add.a_strides, b.strides[0], sizeof b.dims);
    std::memcpy(add.b_strides, b.strides[1], sizeof b.dims);
    bvl_mul_s8_params mul{};
    mul.rank = b.rank, mul.a_zp = a_zp, mul.b_zp = b_zp, mul.out_zp = zp, mul.low = low, mul.high = high;
    mul.multiplier = i % 3 ? random.uniform(0, 0.02f) : 0x1p-7f;
    std::memcpy(mul.dims, b.dims, sizeof b.dims);
    std::memcpy(mul.a_strides, b.strides[0], sizeof b.dims);
    std::memcpy(mul.b_strides, b.strides[1], sizeof b.dims);
    std::vector<std::int8_t> sums, products;
    for (std::size_t k = 0; k < b.count; ++k) {
      const int av = x[element(b, 0, k)] - a_zp, bv = y[element(b, 1, k)] - b_zp;
      const float left = static_cast<float>(av) * add.a_multiplier, right = static_cast<float>(bv) * mb;
      sums.push_back(rounded(left + right, zp, low, high));
      const float scaled = static_cast<float>(av * bv) * mul.multiplier;
      products.push_back(rounded(scaled + static_cast<float>(zp + 128), -128, low, high));
    }
    check(Case{BVL_KERNEL_ADD_S8, words(add), {x.data(), y.data()}, range}, sums, random);
    check(Case{BVL_KERNEL_MUL_S8, words(mul), {x.data(), y.data()}, range}, products, random);

    const auto wide_x = shorts(random, b.sizes[0]), wide_y = shorts(random, b.sizes[1]);
    bvl_add_s16_params wide_add{};
    wide_add.rank = b.rank, wide_add.low = low * 256, wide_add.high = high * 256, wide_add.a_multiplier = add.a_multiplier, wide_add.b_multiplier = mb;
    std::memcpy(wide_add.dims, b.dims, sizeof b.dims);
    std::memcpy(wide_add.a_strides, b.strides[0], sizeof b.dims);
    std::memcpy(wide_add.b_strides, b.strides[1], sizeof b.dims);
    bvl_mul_s16_params wide_mul{};
    wide_mul.rank = b.rank, wide_mul.low = low * 256, wide_mul.high = high * 256, wide_mul.multiplier = mul.multiplier * 0x1p-8f;
    std::memcpy(wide_mul.dims, b.dims, sizeof b.dims);
    std::memcpy(wide_mul.a_strides, b.strides[0], sizeof b.dims);
    std::memcpy(wide_mul.b_strides, b.strides[1], sizeof b.dims);
    std::vector<std::int16_t> wide_sums, wide_products;
    for (std::size_t k = 0; k < b.count; ++k) {
      const int av = wide_x[element(b, 0, k)], bv = wide_y[element(b, 1, k)];
      const float left = static_cast<float>(av) * wide_add.a_multiplier, right = static_cast<float>(bv) * mb;
      wide_sums.push_back(rounded16(left + right, low * 256, high * 256));
      wide_products.push_back(rounded16(static_cast<float>(av * bv) * wide_mul.multiplier, low * 256, high * 256));
    }
    check(Case{BVL_KERNEL_ADD_S16, words(wide_add), {wide_x.data(), wide_y.data()}, range}, wide_sums, random);
    check(Case{BVL_KERNEL_MUL_S16, words(wide_mul), {wide_x.data(), wide_y.data()}, range}, wide_products, random);

    const auto fa = floats(random, b.sizes[0]), fb = floats(random, b.sizes[1]);
    bvl_binary_f32_params f{};
    f.rank = b.rank, f.op = i % 7, f.low = -3, f.high = 5;
    std::memcpy(f.dims, b.dims, sizeof b.dims);
    std::memcpy(f.a_strides, b.strides[0], sizeof b.dims);
    std::memcpy(f.b_strides, b.strides[1], sizeof b.dims);
    std::vector<float> results;
    for (std::size_t k = 0; k < b.count; ++k) {
      const float u = fa[element(b, 0, k)], v = fb[element(b, 1, k)];
      const float all[] = {u + v, u - v, u * v, u / v, std::min(u, v), std::max(u, v), u < 0 ? u * v : u};
      results.push_back(std::min(std::max(all[f.op], f.low), f.high));
    }
    check(Case{BVL_KERNEL_BINARY_F32, words(f), {fa.data(), fb.data()}, range}, results, random);
  }
}

TEST_CASE("pooling") {
  Random random(5);
  for (int i = 0; i < 120; ++i) {
    const Window h = window(random, 9, 4), w = window(random, 9, 4);
    const int n = between(random, 1, 2), c = between(random, 1, 20);
    const auto x = bytes(random, static_cast<std::size_t>(n) * h.in * w.in * c);
    const auto xf = floats(random, x.size());
    bvl_avg_pool_s8_params average{n, h.in, w.in, c, h.out, w.out, h.kernel, w.kernel, h.stride, w.stride, h.dilation, w.dilation,
                                   h.pad_before, w.pad_before, h.pad_after, w.pad_after, i % 2, between(random, -128, 127),
                                   between(random, -128, 127), random.uniform(0.01f, 0.1f), random.uniform(0.01f, 0.1f), -128,
                                   between(random, 0, 127)};
    bvl_max_pool_s8_params largest{n, h.in, w.in, c, h.out, w.out, h.kernel, w.kernel, h.stride, w.stride, h.dilation,
                                   w.dilation, h.pad_before, w.pad_before, between(random, -128, 0), between(random, 0, 127)};
    bvl_avg_pool_f32_params average_f{n, h.in, w.in, c, h.out, w.out, h.kernel, w.kernel, h.stride, w.stride, h.dilation,
                                      w.dilation, h.pad_before, w.pad_before, h.pad_after, w.pad_after, i % 2};
    bvl_max_pool_f32_params largest_f{n, h.in, w.in, c, h.out, w.out, h.kernel, w.kernel, h.stride, w.stride, h.dilation,
                                      w.dilation, h.pad_before, w.pad_before};
    const auto xw = shorts(random, x.size());
    const bvl_avg_pool_s16_params average_w{n, h.in, w.in, c, h.out, w.out, h.kernel, w.kernel, h.stride, w.stride, h.dilation, w.dilation,
                                            h.pad_before, w.pad_before, h.pad_after, w.pad_after, i % 2, average.in_scale, average.out_scale,
                                            -32768, between(random, 0, 32767)};
    const bvl_max_pool_s16_params largest_w{n, h.in, w.in, c, h.out, w.out, h.kernel, w.kernel, h.stride, w.stride, h.dilation,
                                            w.dilation, h.pad_before, w.pad_before, between(random, -32768, 0), between(random, 0, 32767)};
    std::vector<std::int8_t> averages, maxima;
    std::vector<std::int16_t> averages_w, maxima_w;
    std::vector<float> averages_f, maxima_f;
    for (int b = 0; b < n; ++b)
      for (int oy = 0; oy < h.out; ++oy)
        for (int ox = 0; ox < w.out; ++ox)
          for (int k = 0; k < c; ++k) {
            std::int64_t sum = 0;
            std::int64_t sum_w = 0;
            int most = -128, most_w = -32768, inside = 0, padded = 0;
            float sum_f = 0, most_f = -std::numeric_limits<float>::infinity();
            for (int ky = 0; ky < h.kernel; ++ky)
              for (int kx = 0; kx < w.kernel; ++kx) {
                const int yy = oy * h.stride - h.pad_before + ky * h.dilation, xx = ox * w.stride - w.pad_before + kx * w.dilation;
                padded += yy < h.in + h.pad_after && xx < w.in + w.pad_after;
                if (yy < 0 || yy >= h.in || xx < 0 || xx >= w.in) continue;
                const std::size_t at = ((static_cast<std::size_t>(b) * h.in + yy) * w.in + xx) * c + k;
                ++inside;
                sum += x[at] - average.in_zp;
                most = std::max<int>(most, x[at]);
                sum_w += xw[at];
                most_w = std::max<int>(most_w, xw[at]);
                sum_f += xf[at];
                most_f = std::max(most_f, xf[at]);
              }
            const auto divisor = static_cast<float>(i % 2 ? padded : inside);
            const float multiplier = average.in_scale / (average.out_scale * divisor);
            averages.push_back(inside == 0 && divisor == 0 ? static_cast<std::int8_t>(-128)
                                                           : rounded(static_cast<float>(sum) * multiplier, average.out_zp, -128, average.high));
            maxima.push_back(static_cast<std::int8_t>(std::min(std::max(most, largest.low), largest.high)));
            averages_w.push_back(inside == 0 && divisor == 0 ? static_cast<std::int16_t>(-32768)
                                                             : rounded16(static_cast<float>(sum_w) * multiplier, -32768, average_w.high));
            maxima_w.push_back(static_cast<std::int16_t>(std::min(std::max(most_w, largest_w.low), largest_w.high)));
            averages_f.push_back(sum_f / divisor);
            maxima_f.push_back(most_f);
          }
    const auto range = static_cast<std::uint32_t>(n * h.out);
    check(Case{BVL_KERNEL_AVG_POOL_S8, words(average), {x.data()}, range}, averages, random);
    check(Case{BVL_KERNEL_MAX_POOL_S8, words(largest), {x.data()}, range}, maxima, random);
    check(Case{BVL_KERNEL_AVG_POOL_S16, words(average_w), {xw.data()}, range}, averages_w, random);
    check(Case{BVL_KERNEL_MAX_POOL_S16, words(largest_w), {xw.data()}, range}, maxima_w, random);
    bool empty_window = false;  // 0/0: NaN bits differ between machines
    for (float v : averages_f) empty_window |= std::isnan(v);
    if (!empty_window) check(Case{BVL_KERNEL_AVG_POOL_F32, words(average_f), {xf.data()}, range}, averages_f, random);
    check(Case{BVL_KERNEL_MAX_POOL_F32, words(largest_f), {xf.data()}, range}, maxima_f, random);
  }
}

TEST_CASE("softmax") {
  Random random(6);
  for (int i = 0; i < 60; ++i) {
    const int outer = between(random, 1, 5), depth = between(random, 1, 60), inner = between(random, 1, 4);
    const auto count = static_cast<std::size_t>(outer) * depth * inner;
    const double scale = random.uniform(0.005f, 0.3f);
    std::vector<std::uint32_t> table(256);
    for (int d = 0; d < 256; ++d) table[d] = static_cast<std::uint32_t>(std::nearbyint(std::exp(-scale * d) * 0x1p31));
    const auto x = bytes(random, count);
    const auto xf = floats(random, count, 20);
    std::vector<std::int8_t> want(count);
    std::vector<float> want_f(count);
    for (int o = 0; o < outer; ++o)
      for (int k = 0; k < inner; ++k) {
        const auto at = [&](int d) { return (static_cast<std::size_t>(o) * depth + d) * inner + k; };
        int most = -128;
        double sum = 0;
        float most_f = -1e30f, sum_f = 0;
        for (int d = 0; d < depth; ++d) most = std::max<int>(most, x[at(d)]), most_f = std::max(most_f, xf[at(d)]);
        for (int d = 0; d < depth; ++d) sum += table[most - x[at(d)]], sum_f += bvl_expf(xf[at(d)] - most_f);
        for (int d = 0; d < depth; ++d) {
          want[at(d)] = static_cast<std::int8_t>(std::min(255.0, std::nearbyint(table[most - x[at(d)]] * 256.0 / sum)) - 128);
          want_f[at(d)] = i % 2 ? (xf[at(d)] - most_f) - bvl_logf(sum_f) : bvl_expf(xf[at(d)] - most_f) / sum_f;
        }
      }
    check(Case{BVL_KERNEL_SOFTMAX_S8, words(bvl_softmax_s8_params{outer, depth, inner}), {x.data(), table.data()},
               static_cast<std::uint32_t>(outer)}, want, random);
    check(Case{BVL_KERNEL_SOFTMAX_F32, words(bvl_softmax_f32_params{outer, depth, inner, i % 2}), {xf.data()},
               static_cast<std::uint32_t>(outer)}, want_f, random);
  }
}

TEST_CASE("pointwise kernels in blocks of 1024") {
  Random random(7);
  for (const int count : {1, 8, 1023, 1024, 1025, 5000}) {
    const auto range = static_cast<std::uint32_t>((count + 1023) / 1024);
    const auto n = static_cast<std::size_t>(count);
    const auto x = bytes(random, n), table = bytes(random, 256);
    auto xf = floats(random, n, 40);
    xf[0] = std::numeric_limits<float>::quiet_NaN();
    std::vector<std::int8_t> looked_up(n), quantized(n);
    std::vector<float> real(n), leaky(n), rooted(n);
    const bvl_quantize_f32_s8_params q{count, 0.25f, 3, -120, 120};
    for (std::size_t i = 0; i < n; ++i) {
      looked_up[i] = table[static_cast<std::size_t>(x[i] + 128)];
      quantized[i] = std::isnan(xf[i]) ? static_cast<std::int8_t>(-120) : rounded(xf[i] / 0.25f, 3, -120, 120);
      real[i] = static_cast<float>(x[i] - 5) * 0.3f;
    }
    check(Case{BVL_KERNEL_LUT_S8, words(bvl_lut_s8_params{count}), {x.data(), table.data()}, range}, looked_up, random);
    check(Case{BVL_KERNEL_QUANTIZE_F32_S8, words(q), {xf.data()}, range}, quantized, random);
    check(Case{BVL_KERNEL_DEQUANTIZE_S8_F32, words(bvl_dequantize_s8_f32_params{count, 0.3f, 5}), {x.data()}, range}, real, random);
    xf[0] = 1;
    for (std::size_t i = 0; i < n; ++i) leaky[i] = xf[i] < 0 ? xf[i] * 0.1f : xf[i], rooted[i] = std::sqrt(std::fabs(xf[i]));
    check(Case{BVL_KERNEL_UNARY_F32, words(bvl_unary_f32_params{BVL_UNARY_LEAKY_RELU, count, 0.1f, 0}), {xf.data()}, range}, leaky, random);
    for (auto& v : xf) v = std::fabs(v);
    check(Case{BVL_KERNEL_UNARY_F32, words(bvl_unary_f32_params{BVL_UNARY_SQRT, count, 0, 0}), {xf.data()}, range}, rooted, random);
  }
}

TEST_CASE("pointwise int16 kernels in blocks of 1024") {
  Random random(24);
  for (const int count : {1, 8, 1023, 1024, 1025, 5000}) {
    const auto range = static_cast<std::uint32_t>((count + 1023) / 1024);
    const auto n = static_cast<std::size_t>(count);
    const auto x = shorts(random, n);
    auto xf = floats(random, n, 40);
    xf[0] = std::numeric_limits<float>::quiet_NaN();
    std::vector<std::int16_t> rescaled(n), quantized(n), sigmoids(n);
    std::vector<float> real(n);
    for (std::size_t i = 0; i < n; ++i) {
      const float value = static_cast<float>(x[i]) * 0.0003f;
      rescaled[i] = rounded16(value / 0.00041f, -30000, 20000);
      sigmoids[i] = rounded16(bvl_sigmoidf(value) / 0.00003f, 0, 32767);
      quantized[i] = std::isnan(xf[i]) ? static_cast<std::int16_t>(-32000) : rounded16(xf[i] / 0.0009f, -32000, 32000);
      real[i] = value;
    }
    check(Case{BVL_KERNEL_RESCALE_S16, words(bvl_rescale_s16_params{count, 0.0003f, 0.00041f, -30000, 20000}), {x.data()}, range}, rescaled, random);
    check(Case{BVL_KERNEL_UNARY_S16, words(bvl_unary_s16_params{BVL_UNARY_SIGMOID, count, 0, 0, 0.0003f, 0.00003f, 0, 32767}), {x.data()}, range},
          sigmoids, random);
    check(Case{BVL_KERNEL_QUANTIZE_F32_S16, words(bvl_quantize_f32_s16_params{count, 0.0009f, -32000, 32000}), {xf.data()}, range}, quantized, random);
    check(Case{BVL_KERNEL_DEQUANTIZE_S16_F32, words(bvl_dequantize_s16_f32_params{count, 0.0003f}), {x.data()}, range}, real, random);
  }
  for (int i = 0; i < 60; ++i) {
    const int outer = between(random, 1, 5), depth = between(random, 1, 60), inner = between(random, 1, 4);
    const auto x = shorts(random, static_cast<std::size_t>(outer) * depth * inner);
    const float scale = random.uniform(0.0001f, 0.001f);
    std::vector<std::int16_t> want(x.size());
    for (int o = 0; o < outer; ++o)
      for (int k = 0; k < inner; ++k) {
        const auto at = [&](int d) { return (static_cast<std::size_t>(o) * depth + d) * inner + k; };
        int most = -32768;
        float sum = 0;
        for (int d = 0; d < depth; ++d) most = std::max<int>(most, x[at(d)]);
        for (int d = 0; d < depth; ++d) sum += bvl_expf(static_cast<float>(x[at(d)] - most) * scale);
        for (int d = 0; d < depth; ++d) {
          const float share = bvl_expf(static_cast<float>(x[at(d)] - most) * scale) / sum;
          want[at(d)] = rounded16(share / 0.00003052f, -32768, 32767);
        }
      }
    check(Case{BVL_KERNEL_SOFTMAX_S16, words(bvl_softmax_s16_params{outer, depth, inner, scale, 0.00003052f, -32768, 32767}), {x.data()},
               static_cast<std::uint32_t>(outer)}, want, random);
  }
}

TEST_CASE("unary_f32 functions follow their definitions") {
  Random random(8);
  const auto x = floats(random, 1000, 6);
  const auto alpha = 0.2f, beta = 0.5f;
  const auto close = [&](int op, auto definition, bool positive = false) {
    auto input = x;
    if (positive) for (auto& v : input) v = std::fabs(v) + 1e-3f;
    Case c{BVL_KERNEL_UNARY_F32, words(bvl_unary_f32_params{op, 1000, alpha, beta}), {input.data()}, 1};
    const auto y = run<float>(bvl_portable_kernel_function(c.kernel), c, 1000, nullptr);
    for (std::size_t i = 0; i < 1000; ++i) {
      const double want = definition(static_cast<double>(input[i]));
      INFO(op << " at " << input[i]);
      REQUIRE(y[i] == Approx(want).epsilon(2e-6).margin(1e-6));
    }
  };
  const auto unit = [](double v) { return std::min(1.0, std::max(0.0, v)); };
  close(BVL_UNARY_CLIP, [&](double v) { return std::min<double>(beta, std::max<double>(alpha, v)); });
  close(BVL_UNARY_SIGMOID, [](double v) { return 1 / (1 + std::exp(-v)); });
  close(BVL_UNARY_TANH, [](double v) { return std::tanh(v); });
  close(BVL_UNARY_HARD_SIGMOID, [&](double v) { return unit(v * alpha + beta); });
  close(BVL_UNARY_HARD_SWISH, [&](double v) { return v * unit(v * alpha + beta); });
  close(BVL_UNARY_ELU, [&](double v) { return v < 0 ? alpha * std::expm1(v) : v; });
  close(BVL_UNARY_SOFTPLUS, [](double v) { return std::log1p(std::exp(v)); });
  close(BVL_UNARY_GELU, [](double v) { return 0.5 * v * (1 + std::erf(v / std::sqrt(2.0))); });
  close(BVL_UNARY_GELU_TANH, [](double v) { return 0.5 * v * (1 + std::tanh(std::sqrt(2 / M_PI) * (v + 0.044715 * v * v * v))); });
  close(BVL_UNARY_ERF, [](double v) { return std::erf(v); });
  close(BVL_UNARY_EXP, [](double v) { return std::exp(v); });
  close(BVL_UNARY_LOG, [](double v) { return std::log(v); }, true);
  close(BVL_UNARY_RECIPROCAL, [](double v) { return 1 / v; }, true);
  close(BVL_UNARY_ABS, [](double v) { return std::fabs(v); });
  close(BVL_UNARY_NEG, [](double v) { return -v; });
  close(BVL_UNARY_FLOOR, [](double v) { return std::floor(v); });
  close(BVL_UNARY_CEIL, [](double v) { return std::ceil(v); });
}

TEST_CASE("copy and fill") {
  Random random(9);
  for (int i = 0; i < 150; ++i) {
    const int size = 1 << random.below(4);
    bvl_copy_params p{};
    p.element_bytes = size, p.rank = between(random, 1, 4);
    int count = 1, order[4] = {0, 1, 2, 3};
    for (int k = 0; k < p.rank; ++k) p.dims[k] = between(random, 1, 6), count *= p.dims[k];
    for (int k = p.rank - 1; k > 0; --k) std::swap(order[k], order[between(random, 0, k)]);
    int stride = 1;
    for (int k = p.rank - 1; k >= 0; --k) p.out_strides[k] = stride, stride *= p.dims[k];
    stride = 1;
    for (int k = p.rank - 1; k >= 0; --k) {  // the source is transposed, some axes are walked backwards
      const int axis = order[k];
      const bool backwards = random.below(3) == 0;
      p.in_strides[axis] = backwards ? -stride : stride;
      if (backwards) p.in_offset += (p.dims[axis] - 1) * stride;
      stride *= p.dims[axis];
    }
    if (i % 3 == 0) std::memcpy(p.in_strides, p.out_strides, sizeof p.in_strides), p.in_offset = 0;
    const auto x = bytes(random, static_cast<std::size_t>(count) * size);
    std::vector<std::int8_t> want(x.size());
    for (int flat = 0; flat < count; ++flat) {
      int rest = flat, from = p.in_offset;
      for (int k = p.rank - 1; k >= 0; --k) from += rest % p.dims[k] * p.in_strides[k], rest /= p.dims[k];
      std::memcpy(&want[static_cast<std::size_t>(flat) * size], &x[static_cast<std::size_t>(from) * size], static_cast<std::size_t>(size));
    }
    check(Case{BVL_KERNEL_COPY, words(p), {x.data()}, static_cast<std::uint32_t>(p.dims[0])}, want, random);
  }
  std::vector<float> ones(37, 1.5f);
  check(Case{BVL_KERNEL_FILL, words(bvl_fill_params{4, 37, static_cast<std::int32_t>(bvl_float_bits(1.5f))}), {}, 1}, ones, random);
  check(Case{BVL_KERNEL_FILL, words(bvl_fill_params{1, 9, -3}), {}, 1}, std::vector<std::int8_t>(9, -3), random);
}

// Float weights of 4, 8 or 16 bits and their bytes as kernels read them.
struct StoredRows {
  std::vector<float> values;
  std::vector<std::uint8_t> bytes;
};
StoredRows stored_rows(Random& random, int bits, std::size_t rows, std::size_t depth) {
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

TEST_CASE("float kernels with stored weights keep the stated order") {
  Random random(25);
  for (int i = 0; i < 90; ++i) {
    const int bits = i % 3 == 0 ? 4 : i % 3 == 1 ? 8 : 16;
    const bvl_matmul_f32_w_params p{between(random, 1, 5), between(random, 1, 70), between(random, 1, 13), between(random, 1, 40), bits, -50, 60};
    const auto x = floats(random, static_cast<std::size_t>(p.rows) * p.in_c);
    const auto w = stored_rows(random, bits, static_cast<std::size_t>(p.out_c), static_cast<std::size_t>(p.in_c));
    const int blocks = (p.in_c + p.block - 1) / p.block;
    const auto scales = floats(random, static_cast<std::size_t>(p.out_c) * blocks), bias = floats(random, static_cast<std::size_t>(p.out_c));
    std::vector<float> want;
    for (int r = 0; r < p.rows; ++r)
      for (int c = 0; c < p.out_c; ++c) {
        float total = bias[c];
        for (int b = 0; b < blocks; ++b) {
          float sum = 0;
          for (int k = b * p.block; k < std::min(p.in_c, (b + 1) * p.block); ++k) {
            const float product = x[static_cast<std::size_t>(r) * p.in_c + k] * w.values[static_cast<std::size_t>(c) * p.in_c + k];
            sum += product;
          }
          const float scaled = sum * scales[static_cast<std::size_t>(c) * blocks + b];
          total += scaled;
        }
        want.push_back(std::min(std::max(total, p.low), p.high));
      }
    check(Case{BVL_KERNEL_MATMUL_F32_W, words(p), {x.data(), w.bytes.data(), scales.data(), bias.data()}, static_cast<std::uint32_t>(p.rows)}, want, random);
  }
  for (int i = 0; i < 90; ++i) {
    const int bits = i % 3 == 0 ? 4 : i % 3 == 1 ? 8 : 16, groups = i % 2 ? 1 : between(random, 2, 6);
    const bvl_conv2d_s8_params s = conv_params(random, i % 4 ? between(random, 1, 7) : 1, between(random, 1, 7), groups);
    const bvl_conv2d_f32_w_params p{s.n, s.in_h, s.in_w, s.in_c, s.out_h, s.out_w, s.out_c, s.kernel_h, s.kernel_w, s.stride_h,
                                    s.stride_w, s.dilation_h, s.dilation_w, s.pad_top, s.pad_left, s.groups, -50, 60, bits};
    const int in_group = p.in_c / groups, out_group = p.out_c / groups;
    const auto x = floats(random, static_cast<std::size_t>(p.n) * p.in_h * p.in_w * p.in_c);
    const auto w = stored_rows(random, bits, static_cast<std::size_t>(p.out_c), static_cast<std::size_t>(p.kernel_h) * p.kernel_w * in_group);
    const auto scales = floats(random, static_cast<std::size_t>(p.out_c)), bias = floats(random, static_cast<std::size_t>(p.out_c));
    std::vector<float> want;
    for (int n = 0; n < p.n; ++n)
      for (int oy = 0; oy < p.out_h; ++oy)
        for (int ox = 0; ox < p.out_w; ++ox)
          for (int c = 0; c < p.out_c; ++c) {
            float sum = 0;
            for (int ky = 0; ky < p.kernel_h; ++ky)
              for (int kx = 0; kx < p.kernel_w; ++kx)
                for (int k = 0; k < in_group; ++k) {
                  const int yy = oy * p.stride_h - p.pad_top + ky * p.dilation_h, xx = ox * p.stride_w - p.pad_left + kx * p.dilation_w;
                  if (yy < 0 || yy >= p.in_h || xx < 0 || xx >= p.in_w) continue;
                  const float product = x[((static_cast<std::size_t>(n) * p.in_h + yy) * p.in_w + xx) * p.in_c + c / out_group * in_group + k] *
                                        w.values[((static_cast<std::size_t>(c) * p.kernel_h + ky) * p.kernel_w + kx) * in_group + k];
                  sum += product;
                }
            const float scaled = sum * scales[c];
            want.push_back(std::min(std::max(bias[c] + scaled, p.low), p.high));
          }
    check(Case{BVL_KERNEL_CONV2D_F32_W, words(p), {x.data(), w.bytes.data(), scales.data(), bias.data()}, static_cast<std::uint32_t>(p.n * p.out_h)}, want, random);
  }
}

TEST_CASE("gather finds a row for any index") {
  Random random(26);
  for (int i = 0; i < 90; ++i) {
    const int bits = i % 3 == 0 ? 4 : i % 3 == 1 ? 8 : 16, extent = between(random, 1, 9), count = between(random, 1, 8);
    std::vector<std::int64_t> wide(count);
    for (auto& v : wide) v = random.below(5) ? between(random, -extent, extent - 1) : static_cast<std::int64_t>(random.next());
    std::vector<std::int32_t> narrow;
    for (std::int64_t v : wide) narrow.push_back(static_cast<std::int32_t>(std::clamp<std::int64_t>(v, INT32_MIN, INT32_MAX)));
    const auto row_of = [&](int k) {
      const std::int64_t index = wide[k] < 0 ? wide[k] + extent : wide[k];
      return static_cast<std::size_t>(wide[k] < -extent ? 0 : std::min<std::int64_t>(index, extent - 1));
    };
    const void* indices = i % 2 ? static_cast<const void*>(wide.data()) : narrow.data();
    const int depth = between(random, 1, 30), block = between(random, 1, 40), blocks = (depth + block - 1) / block;
    const bvl_gather_f32_w_params p{extent, count, depth, block, i / 3 % 2, bits, i % 2 ? 8 : 4};
    const auto table = stored_rows(random, bits, static_cast<std::size_t>(extent), static_cast<std::size_t>(depth));
    const auto scales = floats(random, static_cast<std::size_t>(extent) * blocks);
    std::vector<float> want;
    for (int k = 0; k < count; ++k)
      for (int d = 0; d < depth; ++d) {
        const std::size_t scale = (p.row_scales ? row_of(k) * blocks : 0) + static_cast<std::size_t>(d / block);
        want.push_back(table.values[row_of(k) * depth + d] * scales[scale]);
      }
    check(Case{BVL_KERNEL_GATHER_F32_W, words(p), {table.bytes.data(), indices, scales.data()}, static_cast<std::uint32_t>(count)}, want, random);
    const bvl_gather_params g{between(random, 1, 3), extent, count, depth, p.index_bytes};
    const auto x = bytes(random, static_cast<std::size_t>(g.outer) * extent * depth);
    std::vector<std::int8_t> rows;
    for (int o = 0; o < g.outer; ++o)
      for (int k = 0; k < count; ++k) {
        const auto from = x.begin() + static_cast<std::ptrdiff_t>((static_cast<std::size_t>(o) * extent + row_of(k)) * depth);
        rows.insert(rows.end(), from, from + depth);
      }
    check(Case{BVL_KERNEL_GATHER, words(g), {x.data(), indices}, static_cast<std::uint32_t>(g.outer * count)}, rows, random);
  }
}

TEST_CASE("float convolution, product and reduction keep the stated order") {
  Random random(10);
  const float infinity = std::numeric_limits<float>::infinity();
  for (int i = 0; i < 60; ++i) {
    const int groups = i % 3 ? 1 : between(random, 2, 4);
    const bvl_conv2d_s8_params s = conv_params(random, between(random, 1, 7), between(random, 1, 7), groups);
    const bvl_conv2d_f32_params p{s.n, s.in_h, s.in_w, s.in_c, s.out_h, s.out_w, s.out_c, s.kernel_h, s.kernel_w, s.stride_h,
                                  s.stride_w, s.dilation_h, s.dilation_w, s.pad_top, s.pad_left, s.groups, -5, i % 2 ? 6 : infinity};
    const int in_group = p.in_c / groups, out_group = p.out_c / groups;
    const auto x = floats(random, static_cast<std::size_t>(p.n) * p.in_h * p.in_w * p.in_c);
    const auto w = floats(random, static_cast<std::size_t>(p.out_c) * p.kernel_h * p.kernel_w * in_group, 0.5f);
    const auto bias = floats(random, static_cast<std::size_t>(p.out_c));
    std::vector<float> want;
    for (int n = 0; n < p.n; ++n)
      for (int oy = 0; oy < p.out_h; ++oy)
        for (int ox = 0; ox < p.out_w; ++ox)
          for (int c = 0; c < p.out_c; ++c) {
            float acc = bias[c];
            for (int ky = 0; ky < p.kernel_h; ++ky)
              for (int kx = 0; kx < p.kernel_w; ++kx)
                for (int k = 0; k < in_group; ++k) {
                  const int yy = oy * p.stride_h - p.pad_top + ky * p.dilation_h, xx = ox * p.stride_w - p.pad_left + kx * p.dilation_w;
                  if (yy < 0 || yy >= p.in_h || xx < 0 || xx >= p.in_w) continue;
                  const float product = x[((static_cast<std::size_t>(n) * p.in_h + yy) * p.in_w + xx) * p.in_c + c / out_group * in_group + k] *
                                        w[((static_cast<std::size_t>(c) * p.kernel_h + ky) * p.kernel_w + kx) * in_group + k];
                  acc += product;
                }
            want.push_back(std::min(std::max(acc, p.low), p.high));
          }
    check(Case{BVL_KERNEL_CONV2D_F32, words(p), {x.data(), w.data(), bias.data()}, static_cast<std::uint32_t>(p.n * p.out_h)}, want, random);

    bvl_matmul_f32_params m{between(random, 1, 3), between(random, 1, 4), between(random, 1, 20), between(random, 1, 20), 0, 0, i % 2, i % 3 == 0, -infinity, infinity};
    m.a_batch = i % 5 ? m.rows * m.in_c : 0, m.b_batch = i % 4 ? m.in_c * m.out_c : 0;
    const auto a = floats(random, static_cast<std::size_t>(m.batch) * m.rows * m.in_c), b = floats(random, static_cast<std::size_t>(m.batch) * m.in_c * m.out_c);
    const auto shift = floats(random, static_cast<std::size_t>(m.out_c));
    std::vector<float> products;
    for (int n = 0; n < m.batch; ++n)
      for (int r = 0; r < m.rows; ++r)
        for (int c = 0; c < m.out_c; ++c) {
          float acc = m.has_bias ? shift[c] : 0;
          for (int k = 0; k < m.in_c; ++k) {
            const float product = a[n * m.a_batch + r * m.in_c + k] * b[n * m.b_batch + (m.b_transposed ? c * m.in_c + k : k * m.out_c + c)];
            acc += product;
          }
          products.push_back(acc);
        }
    check(Case{BVL_KERNEL_MATMUL_F32, words(m), {a.data(), b.data(), shift.data()}, static_cast<std::uint32_t>(m.batch * m.rows)}, products, random);

    const bvl_reduce_f32_params r{i % 4, between(random, 1, 4), between(random, 1, 9), between(random, 1, 5)};
    const auto v = floats(random, static_cast<std::size_t>(r.outer) * r.depth * r.inner);
    std::vector<float> reduced;
    for (int o = 0; o < r.outer; ++o)
      for (int k = 0; k < r.inner; ++k) {
        float acc = v[static_cast<std::size_t>(o) * r.depth * r.inner + k];
        for (int d = 1; d < r.depth; ++d) {
          const float next = v[(static_cast<std::size_t>(o) * r.depth + d) * r.inner + k];
          acc = r.op < 2 ? acc + next : r.op == BVL_REDUCE_MAX ? std::max(acc, next) : std::min(acc, next);
        }
        reduced.push_back(r.op == BVL_REDUCE_MEAN ? acc / static_cast<float>(r.depth) : acc);
      }
    check(Case{BVL_KERNEL_REDUCE_F32, words(r), {v.data()}, static_cast<std::uint32_t>(r.outer)}, reduced, random);
  }
}
