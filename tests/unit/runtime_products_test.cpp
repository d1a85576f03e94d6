// Kernels of sums of products (convolutions, matrix products, reductions) against plain references, bit for bit.
#include <algorithm>
#include <limits>

#include "tests/common/kernel_case.h"

using namespace bevel;
using namespace bevel::test;

namespace {

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

TEST_CASE("matmul_s8 reads operands in any order of their axes") {
  Random random(31);
  for (int i = 0; i < 150; ++i) {
    const int batches[2] = {between(random, 1, 3), between(random, 1, 3)};
    bvl_matmul_s8_params p{};
    p.rank = 2;
    p.rows = between(random, 1, 9), p.in_c = i % 5 ? between(random, 1, 40) : 1, p.out_c = between(random, 1, 11);
    p.a_zp = between(random, -128, 127), p.b_zp = between(random, -128, 127), p.out_zp = between(random, -128, 127);
    p.multiplier = random.uniform(1e-5f, 0.004f), p.low = between(random, -128, 0), p.high = between(random, 0, 127);
    for (int k = 0; k < 2; ++k) p.dims[k] = batches[k];
    // Axes of a: its two batches and rows in any order in front of k. Axes of b: all four in any order. Either may be the same for a batch axis.
    const auto place = [&](std::vector<int> order, const std::vector<int>& extents, std::vector<int*> strides) {
      for (std::size_t k = order.size(); k-- > 1;) std::swap(order[k], order[random.below(k + 1)]);
      int stride = 1;
      for (int axis : order) {
        const bool same = axis < 2 && random.below(4) == 0;
        *strides[static_cast<std::size_t>(axis)] = same ? 0 : stride;
        if (!same) stride *= extents[static_cast<std::size_t>(axis)];
      }
      return stride;
    };
    int unit = 1;
    const int a_lines = place({0, 1, 2}, {batches[0], batches[1], p.rows}, {&p.a_strides[0], &p.a_strides[1], &p.a_row});
    for (int* stride : {&p.a_strides[0], &p.a_strides[1], &p.a_row}) *stride *= p.in_c;
    const int b_size = place({0, 1, 2, 3}, {batches[0], batches[1], p.in_c, p.out_c}, {&p.b_strides[0], &p.b_strides[1], &p.b_step, &p.b_column});
    if (i % 3 == 0) p.b_step = 1, p.b_column = p.in_c, p.b_strides[0] = p.b_strides[1] = 0, unit = p.in_c * p.out_c;
    auto a = bytes(random, static_cast<std::size_t>(a_lines) * p.in_c), b = bytes(random, static_cast<std::size_t>(std::max(b_size, unit)));
    if (i % 7 == 0) a.assign(a.size(), -128), b.assign(b.size(), -128), p.a_zp = p.b_zp = 127;
    std::vector<std::int8_t> want;
    for (int n = 0; n < batches[0]; ++n)
      for (int m = 0; m < batches[1]; ++m)
        for (int r = 0; r < p.rows; ++r)
          for (int c = 0; c < p.out_c; ++c) {
            std::int64_t acc = 0;
            for (int k = 0; k < p.in_c; ++k) {
              acc += (a[static_cast<std::size_t>(n * p.a_strides[0] + m * p.a_strides[1] + r * p.a_row + k)] - p.a_zp) *
                     (b[static_cast<std::size_t>(n * p.b_strides[0] + m * p.b_strides[1] + k * p.b_step + c * p.b_column)] - p.b_zp);
            }
            want.push_back(rounded(static_cast<float>(static_cast<std::int32_t>(acc)) * p.multiplier, p.out_zp, p.low, p.high));
          }
    check(Case{BVL_KERNEL_MATMUL_S8, words(p), {a.data(), b.data()}, static_cast<std::uint32_t>(batches[0] * batches[1] * p.rows)}, want, random);
  }
}

TEST_CASE("dense_s8_w4_blocks") {
  Random random(32);
  for (int i = 0; i < 150; ++i) {
    const bvl_dense_s8_w4_blocks_params p{i % 2 ? 1 : between(random, 2, 7), i % 6 ? between(random, 1, 150) : 1, between(random, 1, 21),
                                          8 * between(random, 1, i % 3 ? 4 : 16), between(random, -128, 127), -128, between(random, 0, 127)};
    const int blocks = (p.in_c + p.block - 1) / p.block;
    auto x = bytes(random, static_cast<std::size_t>(p.rows) * p.in_c), w = fours(random, static_cast<std::size_t>(p.out_c) * p.in_c);
    if (i % 7 == 0) x.assign(x.size(), -128), w.assign(w.size(), -8);  // sums of full size
    const auto packed = packed_rows(w, static_cast<std::size_t>(p.out_c));
    std::vector<std::int16_t> factors(static_cast<std::size_t>(p.out_c) * blocks);
    for (auto& v : factors) v = static_cast<std::int16_t>(i % 7 ? between(random, 0, 32767) : 32767);
    std::vector<std::int64_t> bias(p.out_c);
    std::vector<float> multipliers(p.out_c);
    for (auto& v : bias) v = (static_cast<std::int64_t>(random.below(2000001)) - 1000000) * (random.below(2) ? 1 : 10000);
    for (auto& v : multipliers) v = random.uniform(1e-9f, 1e-6f);
    std::vector<std::int8_t> want;
    for (int r = 0; r < p.rows; ++r)
      for (int c = 0; c < p.out_c; ++c) {
        std::int64_t acc = bias[c];
        for (int k = 0; k < p.in_c; ++k) {
          acc += std::int64_t{x[static_cast<std::size_t>(r) * p.in_c + k]} * w[static_cast<std::size_t>(c) * p.in_c + k] *
                 factors[static_cast<std::size_t>(c) * blocks + k / p.block];
        }
        want.push_back(rounded(static_cast<float>(acc) * multipliers[c], p.out_zp, p.low, p.high));
      }
    check(Case{BVL_KERNEL_DENSE_S8_W4_BLOCKS, words(p), {x.data(), packed.data(), factors.data(), bias.data(), multipliers.data()},
               static_cast<std::uint32_t>(p.rows == 1 ? p.out_c : p.rows)}, want, random);
  }
}
