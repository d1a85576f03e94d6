// Kernels that work element by element, pool, move or pick, against plain references, bit for bit.
#include <algorithm>
#include <limits>

#include "lib/runtime/bevel_math.h"
#include "tests/common/kernel_case.h"

using namespace bevel;
using namespace bevel::test;

namespace {

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

TEST_CASE("select and compare broadcast") {
  Random random(33);
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (int i = 0; i < 200; ++i) {
    const Broadcast b = broadcast(random), conditions = [&] {  // the same loops, another operand
      Broadcast c = b;
      std::size_t size = 1;
      for (int k = b.rank - 1; k >= 0; --k) {
        const bool missing = random.below(3) == 0;
        c.strides[0][k] = missing ? 0 : static_cast<std::int32_t>(size);
        if (!missing) size *= static_cast<std::size_t>(b.dims[k]);
      }
      c.sizes[0] = size;
      return c;
    }();
    const auto range = static_cast<std::uint32_t>(b.dims[0]);
    const int size = 1 << i % 4;
    const auto x = bytes(random, b.sizes[0] * static_cast<std::size_t>(size)), y = bytes(random, b.sizes[1] * static_cast<std::size_t>(size));
    auto condition = bytes(random, conditions.sizes[0]);
    for (auto& v : condition) v = static_cast<std::int8_t>(random.below(2) ? v : 0);  // a hostile file's bytes are not 0 and 1 alone
    bvl_select_params select{};
    select.element_bytes = size, select.rank = b.rank;
    std::memcpy(select.dims, b.dims, sizeof b.dims);
    std::memcpy(select.condition_strides, conditions.strides[0], sizeof b.dims);
    std::memcpy(select.a_strides, b.strides[0], sizeof b.dims);
    std::memcpy(select.b_strides, b.strides[1], sizeof b.dims);
    std::vector<std::int8_t> chosen;
    for (std::size_t k = 0; k < b.count; ++k) {
      const bool first = condition[element(conditions, 0, k)] != 0;
      const auto from = (first ? x : y).begin() + static_cast<std::ptrdiff_t>(element(b, first ? 0 : 1, k) * static_cast<std::size_t>(size));
      chosen.insert(chosen.end(), from, from + size);
    }
    check(Case{BVL_KERNEL_SELECT, words(select), {condition.data(), x.data(), y.data()}, range}, chosen, random);

    const auto compared = [&](auto few, int element_code) {  // few values, so that equal ones are frequent
      using T = decltype(few());
      std::vector<T> u(b.sizes[0]), v(b.sizes[1]);
      for (T& value : u) value = few();
      for (T& value : v) value = few();
      bvl_compare_params p{};
      p.op = i % 5, p.element = element_code, p.rank = b.rank;
      std::memcpy(p.dims, b.dims, sizeof b.dims);
      std::memcpy(p.a_strides, b.strides[0], sizeof b.dims);
      std::memcpy(p.b_strides, b.strides[1], sizeof b.dims);
      std::vector<std::int8_t> want;
      for (std::size_t k = 0; k < b.count; ++k) {
        const T l = u[element(b, 0, k)], r = v[element(b, 1, k)];
        const bool all[] = {l == r, l < r, l <= r, l > r, l >= r};
        want.push_back(all[p.op]);
      }
      check(Case{BVL_KERNEL_COMPARE, words(p), {u.data(), v.data()}, range}, want, random);
    };
    compared([&] { return static_cast<std::int64_t>(between(random, -1, 1)) << 40; }, BVL_ELEMENT_INT64);
    compared([&] { return static_cast<std::int32_t>(between(random, -2, 2)); }, BVL_ELEMENT_INT32);
    compared([&] { return random.below(6) ? static_cast<float>(between(random, -1, 1)) * 0.5f : nan; }, BVL_ELEMENT_FLOAT32);
  }
}

TEST_CASE("cast in blocks of 1024") {
  Random random(34);
  for (int count : {1, 1023, 1024, 1025, 3000}) {
    std::vector<std::int64_t> wide(static_cast<std::size_t>(count));
    for (auto& v : wide) v = static_cast<std::int64_t>(random.next()) >> random.below(64);
    std::vector<std::int32_t> narrow(wide.begin(), wide.end());
    std::vector<std::uint8_t> bits;
    std::vector<float> real;
    for (auto v : wide) bits.push_back(static_cast<std::uint8_t>(v % 3 ? v : 0)), real.push_back(v % 3 ? static_cast<float>(v % 3) * 1e-30f : -0.0f);
    const auto range = static_cast<std::uint32_t>((count + 1023) / 1024);
    const auto to = [&](const auto& from, int from_code, auto value_of) {
      std::vector<float> floats_of;
      std::vector<std::int64_t> wide_of;
      std::vector<std::int32_t> narrow_of;
      std::vector<std::int8_t> bool_of;
      for (auto v : from) {
        const std::int64_t value = value_of(v);
        floats_of.push_back(static_cast<float>(value)), wide_of.push_back(value), bool_of.push_back(value != 0);
        narrow_of.push_back(static_cast<std::int32_t>(static_cast<std::uint32_t>(static_cast<std::uint64_t>(value))));
      }
      const auto with = [&](int code, const auto& want) { check(Case{BVL_KERNEL_CAST, words(bvl_cast_params{count, from_code, code}), {from.data()}, range}, want, random); };
      with(BVL_ELEMENT_BOOL, bool_of);
      if (from_code == BVL_ELEMENT_FLOAT32) return;
      with(BVL_ELEMENT_FLOAT32, floats_of), with(BVL_ELEMENT_INT64, wide_of), with(BVL_ELEMENT_INT32, narrow_of);
    };
    to(wide, BVL_ELEMENT_INT64, [](std::int64_t v) { return v; });
    to(narrow, BVL_ELEMENT_INT32, [](std::int32_t v) { return std::int64_t{v}; });
    to(bits, BVL_ELEMENT_BOOL, [](std::uint8_t v) { return std::int64_t{v != 0}; });
    to(real, BVL_ELEMENT_FLOAT32, [](float v) { return std::int64_t{v != 0}; });
  }
}
