// Which weights x86 without VNNI sums in 16 bits, and weights rounded to nearest that keep to what such a sum holds.
#include <catch2/catch.hpp>

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "lib/support/random.h"
#include "passes/quantize/saturating_pairs.h"
#include "passes/quantize/weights.h"

using namespace bevel;
using namespace bevel::passes;

namespace {

Node node_of(const std::string& op_type, std::vector<Attribute> attributes = {}) {
  Node node;
  node.op_type = op_type;
  node.attributes = std::move(attributes);
  return node;
}

Tensor random_weight(const Dims& dims, std::uint64_t seed) {
  Random random(seed);
  std::int64_t count = 1;
  for (const std::int64_t extent : dims) count *= extent;
  std::vector<float> values(static_cast<std::size_t>(count));
  for (float& value : values) value = random.uniform(-1, 1);
  return Tensor::of<float>(dims, values);
}

// What vpmaddubsw does to two products, for activations from 0 to 255.
bool exact_in_16_bits(int a, int b) {
  for (const int x : {0, 255}) {
    for (const int y : {0, 255}) {
      if (std::clamp(x * a + y * b, -32768, 32767) != x * a + y * b) return false;
    }
  }
  return true;
}

double error_of(const Tensor& weight, const Tensor& integers, std::int64_t first, std::int64_t count, float scale) {
  double sum = 0;
  for (std::int64_t i = first; i < first + count; ++i) {
    const double error = static_cast<double>(weight.values<float>()[static_cast<std::size_t>(i)]) - static_cast<double>(scale) * static_cast<double>(integers.as_int64(i));
    sum += error * error;
  }
  return sum;
}

}  // namespace

TEST_CASE("two weights saturate exactly where some activations make their 16-bit sum wrong") {
  int differ = 0;
  for (int a = -127; a <= 127; ++a) {
    for (int b = -127; b <= 127; ++b) differ += pair_saturates(a, b) == exact_in_16_bits(a, b) ? 1 : 0;
  }
  CHECK(differ == 0);
  CHECK_FALSE(pair_saturates(127, -127));
  CHECK_FALSE(pair_saturates(64, 64));
  CHECK(pair_saturates(65, 64));
  CHECK(pair_saturates(-2, -127));
}

TEST_CASE("the order of pairs is that of the operator's kernel") {
  const auto order = [](const Node& node, std::vector<std::int64_t> dims) { return pair_order(node, dims); };
  CHECK(order(node_of("Conv"), {8, 3, 3, 3}) == PairOrder::channels_last);
  CHECK(order(node_of("Conv"), {8, 3, 3}) == PairOrder::channels_last);
  CHECK(order(node_of("Conv", {{"group", std::int64_t{2}, ""}}), {8, 3, 3, 3}) == PairOrder::channels_last);
  // Depthwise kernels are exact; with more output than input channels there is none, and the group is summed like any other.
  CHECK(order(node_of("Conv", {{"group", std::int64_t{8}, ""}}), {8, 1, 3, 3}) == PairOrder::none);
  CHECK(order(node_of("Conv", {{"group", std::int64_t{8}, ""}}), {16, 1, 3, 3}) == PairOrder::channels_last);
  CHECK(order(node_of("Conv"), {1, 1, 3, 3}) == PairOrder::channels_last);
  CHECK(order(node_of("MatMul"), {6, 4}) == PairOrder::along_second_last);
  CHECK(order(node_of("MatMul"), {2, 6, 4}) == PairOrder::along_second_last);
  CHECK(order(node_of("MatMul"), {6}) == PairOrder::along_last);
  CHECK(order(node_of("Gemm"), {6, 4}) == PairOrder::along_second_last);
  CHECK(order(node_of("Gemm", {{"transB", std::int64_t{1}, ""}}), {4, 6}) == PairOrder::along_last);
  CHECK(order(node_of("ConvTranspose"), {4, 6, 3, 3}) == PairOrder::none);
  Node foreign = node_of("MatMul");
  foreign.domain = "com.example";
  CHECK(order(foreign, {6, 4}) == PairOrder::none);
}

TEST_CASE("partners: along a matrix's rows or columns, and over places with channels innermost") {
  const std::vector<std::int64_t> matrix{5, 2}, stack{2, 3, 2}, odd{2, 3, 1, 3}, even{1, 2, 2};
  const auto partners = [](PairOrder order, const std::vector<std::int64_t>& dims) {
    std::int64_t count = 1;
    for (const std::int64_t extent : dims) count *= extent;
    std::vector<std::int64_t> all;
    for (std::int64_t i = 0; i < count; ++i) all.push_back(pair_partner(order, dims, i));
    return all;
  };
  CHECK(partners(PairOrder::along_second_last, matrix) == std::vector<std::int64_t>{2, 3, 0, 1, 6, 7, 4, 5, -1, -1});
  CHECK(partners(PairOrder::along_last, {2, 3}) == std::vector<std::int64_t>{1, 0, -1, 4, 3, -1});
  CHECK(partners(PairOrder::along_second_last, stack) == std::vector<std::int64_t>{2, 3, 0, 1, -1, -1, 8, 9, 6, 7, -1, -1});
  // [M=2, C=3, places=3]: element c * 3 + p stands at p * 3 + c; 0 1 | 2 3 | 4 5 | 6 7 | 8 of that order.
  const auto found = partners(PairOrder::channels_last, odd);
  for (std::int64_t m = 0; m < 2; ++m) {
    for (std::int64_t at = 0; at < 9; ++at) {
      const auto element = [&](std::int64_t position) { return m * 9 + position % 3 * 3 + position / 3; };
      CHECK(found[static_cast<std::size_t>(element(at))] == (at == 8 ? -1 : element(at ^ 1)));
    }
  }
  CHECK(partners(PairOrder::channels_last, even) == std::vector<std::int64_t>{2, 3, 0, 1});
  CHECK(pair_partner(PairOrder::none, matrix, 0) == -1);
}

TEST_CASE("rounding to nearest keeps every pair within its limit, at less than a bit's cost") {
  struct Case {
    PairOrder order;
    Dims dims;
    std::optional<int> axis;
  };
  for (const Case& one : {Case{PairOrder::channels_last, {8, 3, 3, 3}, 0}, Case{PairOrder::along_second_last, {33, 8}, 1}, Case{PairOrder::along_last, {8, 33}, 0},
                          Case{PairOrder::along_second_last, {33, 8}, std::nullopt}}) {
    const Tensor weight = random_weight(one.dims, 3);
    WeightFormat format, free;
    format.pairs = one.order;
    const auto scales = weight_scales(weight, one.axis, nullptr, 1, format), narrow = weight_scales(weight, one.axis, nullptr, 1, free);
    REQUIRE(scales);
    const Tensor limited = quantize_weight(weight, one.axis, *scales, format), nearest = quantize_weight(weight, one.axis, *narrow, free);
    int saturating = 0, before = 0;
    double error = 0, error_before = 0, error_of_seven_bits = 0;
    for (std::int64_t i = 0; i < weight.size(); ++i) {
      const std::int64_t other = pair_partner(one.order, one.dims, i);
      const auto at = [&](const Tensor& tensor, std::int64_t element) { return static_cast<int>(tensor.as_int64(element)); };
      if (other >= 0) {
        saturating += exact_in_16_bits(at(limited, i), at(limited, other)) ? 0 : 1;
        before += exact_in_16_bits(at(nearest, i), at(nearest, other)) ? 0 : 1;
      }
      const std::size_t channel = !one.axis ? 0 : static_cast<std::size_t>(*one.axis == 0 ? i / (weight.size() / one.dims[0]) : i % one.dims[1]);
      error += error_of(weight, limited, i, 1, (*scales)[channel]);
      error_before += error_of(weight, nearest, i, 1, (*narrow)[channel]);
      const float coarse = (*narrow)[channel] * 127 / 63;
      error_of_seven_bits += static_cast<double>(coarse * coarse) / 12;  // as it is to be expected
    }
    CHECK(before > 0);
    CHECK(saturating == 0);
    CHECK(error > error_before);
    CHECK(error < 1.05 * error_of_seven_bits);  // these weights fill their range: most pairs are at the limit
    const auto cost = pair_cost(weight, one.axis, nullptr, 1, format);
    REQUIRE(cost);
    CHECK(cost->limited == before);
    CHECK(cost->db == Approx(10 * std::log10(error / error_before)).epsilon(1e-9));
  }
}

TEST_CASE("one pair beyond the limit is clipped where the channel's scale would cost more, and channels without one stay") {
  // 100 weights of 0.3 beside one pair of 1 and 0.4: growing the scale by 9 % would cost all of them.
  std::vector<float> values(204, 0.3037f);
  values[0] = 1, values[1] = 0.01f;
  for (std::size_t i = 3; i < 102; i += 2) values[i] = -0.11f;
  for (std::size_t i = 102; i < 204; ++i) values[i] = i % 2 == 0 ? 0.9f : -0.9f;
  const Tensor weight = Tensor::of<float>({2, 102}, values);
  WeightFormat format, free;
  format.pairs = PairOrder::along_last;
  const auto scales = weight_scales(weight, 0, nullptr, 1, format), narrow = weight_scales(weight, 0, nullptr, 1, free);
  REQUIRE(scales);
  CHECK((*scales)[1] == (*narrow)[1]);
  const Tensor limited = quantize_weight(weight, 0, *scales, format), nearest = quantize_weight(weight, 0, *narrow, free);
  CHECK_FALSE(pair_saturates(static_cast<int>(limited.as_int64(0)), static_cast<int>(limited.as_int64(1))));
  for (std::int64_t i = 102; i < 204; ++i) CHECK(limited.as_int64(i) == nearest.as_int64(i));
  // Of two like ones both give way alike.
  const Tensor pair = Tensor::of<float>({1, 2}, std::vector<float>{1.0f, 1.0f});
  const Tensor halves = quantize_weight(pair, 0, {1.0f / 127}, format);
  CHECK(halves.as_int64(0) == 64);
  CHECK(halves.as_int64(1) == 64);
  const Tensor negative = quantize_weight(Tensor::of<float>({1, 2}, std::vector<float>{-1.0f, -0.5f}), 0, {1.0f / 127}, format);
  CHECK(negative.as_int64(0) + negative.as_int64(1) == -128);
  CHECK(negative.as_int64(0) < -94);
  CHECK(negative.as_int64(0) > -98);
}
