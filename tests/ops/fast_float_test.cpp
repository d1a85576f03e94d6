// Float evaluation takes short cuts (weights rearranged once, maps done ahead, results written into operands that die): the bits are
// those of every node by itself, whatever vectors the machine has, and however often a model ran before.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "lib/eval/evaluator.h"
#include "lib/ops/matrix_product.h"
#include "lib/support/random.h"
#include "tests/common/node_case.h"

namespace {

using namespace bevel;
using testing::parsed;
using Floats = std::vector<float>;

struct Window {
  std::int64_t channels, out_channels, groups, height, width, kernel, stride, pad;
};

Floats uniform(std::int64_t count, std::uint64_t seed) {
  Random random(seed);
  Floats values(static_cast<std::size_t>(count));
  for (float& value : values) value = random.uniform(-1, 1);
  return values;
}

Floats run(const eval::Evaluator& evaluator, const Tensor& input, const eval::Tap* tap = nullptr) {
  const auto outputs = evaluator.run(std::vector<Datum>{input}, tap);
  INFO((outputs ? std::string() : outputs.error().message));
  REQUIRE(outputs.has_value());
  return (*outputs)[0].tensor()->as_floats();
}

std::string numbers(std::int64_t count, double first, double step) {
  std::string text;
  for (std::int64_t i = 0; i < count; ++i) text += (i ? ", " : "") + std::to_string(first + step * static_cast<double>(i % 7));
  return text;
}

// Each output element one chain of fused multiply-adds from the bias, over the channels and the window in order, outside of the image
// left out: a product with zero changes no sum that is not -0.
Floats convolve(const Window& w, const Floats& x, const Floats& weights, const Floats& bias, std::int64_t batch) {
  const std::int64_t out_h = (w.height + 2 * w.pad - w.kernel) / w.stride + 1, out_w = (w.width + 2 * w.pad - w.kernel) / w.stride + 1;
  const std::int64_t in = w.channels / w.groups, per_group = w.out_channels / w.groups;
  Floats y;
  for (std::int64_t n = 0; n < batch; ++n)
    for (std::int64_t m = 0; m < w.out_channels; ++m)
      for (std::int64_t i = 0; i < out_h; ++i)
        for (std::int64_t j = 0; j < out_w; ++j) {
          float sum = bias[static_cast<std::size_t>(m)];
          for (std::int64_t c = 0; c < in; ++c)
            for (std::int64_t k = 0; k < w.kernel; ++k)
              for (std::int64_t l = 0; l < w.kernel; ++l) {
                const std::int64_t row = i * w.stride - w.pad + k, column = j * w.stride - w.pad + l;
                if (row < 0 || row >= w.height || column < 0 || column >= w.width) continue;
                const std::int64_t plane = n * w.channels + m / per_group * in + c;
                sum = std::fmaf(weights[static_cast<std::size_t>(((m * in + c) * w.kernel + k) * w.kernel + l)],
                                x[static_cast<std::size_t>((plane * w.height + row) * w.width + column)], sum);
              }
          y.push_back(sum);
        }
  return y;
}

}  // namespace

TEST_CASE("Conv, BatchNormalization and Clip in one: the bits of each by itself") {
  const Window windows[] = {
      {3, 16, 1, 20, 33, 3, 1, 1},  {16, 16, 1, 32, 32, 3, 1, 1}, {20, 30, 1, 9, 8, 3, 1, 1},   {33, 64, 1, 8, 8, 3, 1, 1},
      {8, 40, 1, 11, 13, 3, 2, 1},  {5, 13, 1, 17, 7, 3, 3, 0},   {24, 100, 1, 7, 7, 1, 1, 0},  {64, 7, 1, 25, 5, 1, 1, 0},
      {16, 32, 1, 15, 16, 1, 2, 0}, {12, 24, 3, 10, 10, 3, 1, 1}, {300, 26, 1, 6, 6, 1, 1, 0},  {64, 64, 64, 25, 5, 3, 1, 1},
      {8, 8, 8, 14, 14, 3, 1, 1},   {8, 8, 8, 15, 17, 3, 2, 1},   {6, 12, 6, 7, 7, 5, 1, 2},    {4, 4, 4, 28, 29, 5, 2, 2},
      {4, 4, 4, 3, 3, 3, 1, 1},     {5, 5, 5, 12, 21, 4, 1, 1},   {5, 5, 5, 12, 21, 4, 2, 0},   {3, 3, 3, 20, 20, 3, 3, 1},
  };
  constexpr std::int64_t kBatch = 2;
  for (const Window& w : windows) {
    const std::int64_t weight_count = w.out_channels * (w.channels / w.groups) * w.kernel * w.kernel;
    const auto dims = [](std::initializer_list<std::int64_t> extents) {
      std::string text;
      for (const std::int64_t extent : extents) text += (text.empty() ? "" : ",") + std::to_string(extent);
      return text;
    };
    const std::string channels = dims({w.out_channels}), n = std::to_string(w.pad);
    const Model model = parsed(
        "<ir_version: 8, opset_import: [\"\" : 13]> g (float[" + dims({kBatch, w.channels, w.height, w.width}) + "] x) => (float[a,b,c,d] y)\n<float[" +
        dims({w.out_channels, w.channels / w.groups, w.kernel, w.kernel}) + "] w = random(1), float[" + channels + "] bias = random(2), float[" +
        channels + "] scale = {" + numbers(w.out_channels, -0.9, 0.4) + "}, float[" + channels + "] shift = random(3), float[" + channels +
        "] mean = random(4), float[" + channels + "] var = {" + numbers(w.out_channels, 0.3, 0.2) +
        "}, float low = {-0.3}, float high = {0.4}>\n{ conv = Conv <group = " + std::to_string(w.groups) + ", strides = [" +
        std::to_string(w.stride) + ", " + std::to_string(w.stride) + "], pads = [" + n + ", " + n + ", " + n + ", " + n +
        "]> (x, w, bias)\n normal = BatchNormalization (conv, scale, shift, mean, var)\n y = Clip (normal, low, high) }");
    INFO(w.channels << " to " << w.out_channels << " in " << w.groups << " of " << w.height << "x" << w.width << ", kernel " << w.kernel
                    << ", stride " << w.stride);
    const auto evaluator = eval::Evaluator::create(model);
    REQUIRE(evaluator.has_value());
    const Floats x = uniform(kBatch * w.channels * w.height * w.width, 5);
    const Tensor input = Tensor::of<float>({kBatch, w.channels, w.height, w.width}, x);
    std::map<std::string, Floats> seen;
    const eval::Tap tap = [&](const std::string& name, const Tensor& tensor) -> Status {
      seen[name] = tensor.as_floats();
      return {};
    };
    const Floats apart = run(**evaluator, input, &tap);
    REQUIRE(seen.size() == 3);
    const auto weights = model.graph.constant(model.graph.find_value("w"))->as_floats();
    REQUIRE(weights.size() == static_cast<std::size_t>(weight_count));
    CHECK(seen["conv"] == convolve(w, x, weights, model.graph.constant(model.graph.find_value("bias"))->as_floats(), kBatch));
    CHECK(run(**evaluator, input) == apart);
    CHECK(run(**evaluator, input) == apart);  // with what the first run kept
    ops::allow_wide_registers(false);
    CHECK(run(**evaluator, input) == apart);
    ops::allow_wide_registers(true);
    (*evaluator)->set_tapped({"y"});
    seen.clear();
    CHECK(run(**evaluator, input, &tap) == apart);
    CHECK(seen.size() == 1);
    CHECK(seen["y"] == apart);
  }
}

TEST_CASE("A map is not done ahead of another reader, nor of an output") {
  const Model model = parsed(R"(<ir_version: 8, opset_import: ["" : 13]> g (float[1,4,9,9] x) => (float[a,b,c,d] y, float[e,f,g,h] second)
<float[4,4,3,3] w = random(1)> { first = Conv (x, w) positive = Relu (first) y = Sub (first, positive) second = Conv (y, w) z = Relu (second) })");
  const auto evaluator = eval::Evaluator::create(model);
  REQUIRE(evaluator.has_value());
  const Floats y = run(**evaluator, Tensor::of<float>({1, 4, 9, 9}, uniform(4 * 81, 6)));
  CHECK(std::any_of(y.begin(), y.end(), [](float value) { return value < 0; }));  // min(first, 0)
  CHECK(std::all_of(y.begin(), y.end(), [](float value) { return value <= 0; }));
}

TEST_CASE("Results written into operands leave inputs, constants and other readers alone") {
  const Model model = parsed(R"(<ir_version: 8, opset_import: ["" : 13]> g (float[2,300] x) => (float[2,300] y, float[2,300] z)
<float[2,300] c = random(1), float low = {-0.1}> { a = Relu (x) b = Relu (c) d = Add (x, c) e = Sub (d, a) z = Add (e, b) f = Clip (d, low) y = Mul (f, f) })");
  const auto evaluator = eval::Evaluator::create(model);
  REQUIRE(evaluator.has_value());
  const Floats x = uniform(600, 7), c = model.graph.constant(model.graph.find_value("c"))->as_floats();
  const Tensor input = Tensor::of<float>({2, 300}, x);
  for (int round = 0; round < 2; ++round) {
    const auto outputs = (*evaluator)->run(std::vector<Datum>{input});
    REQUIRE(outputs.has_value());
    CHECK(input.as_floats() == x);
    for (std::size_t i = 0; i < x.size(); ++i) {
      const float d = x[i] + c[i], f = d < -0.1f ? -0.1f : d;
      CHECK((*outputs)[0].tensor()->values<float>()[i] == f * f);
      CHECK((*outputs)[1].tensor()->values<float>()[i] == (d - (x[i] < 0 ? 0 : x[i])) + (c[i] < 0 ? 0 : c[i]));
    }
  }
}

TEST_CASE("Max pooling by vectors: the first of equal ones, and NaN, as one by one") {
  const float nan = std::nanf("");
  for (const std::int64_t width : {5, 8, 9, 16, 17, 31}) {
    Floats x = uniform(6 * width, 8);
    for (std::size_t i = 0; i < x.size(); i += 3) x[i] = i % 2 ? 0.0f : -0.0f;
    x[static_cast<std::size_t>(width + 3)] = nan;
    for (const std::int64_t stride : {1, 2, 3}) {
      testing::Case pool("MaxPool");
      const auto set = [&](testing::Case& one) -> testing::Case& {
        return one.in(Tensor::of<float>({1, 1, 6, width}, x))
            .attr("kernel_shape", std::vector<std::int64_t>{3, 3})
            .attr("strides", std::vector<std::int64_t>{stride, stride})
            .attr("pads", std::vector<std::int64_t>{1, 1, 1, 1});
      };
      const Tensor fast = set(pool).result();
      // One by one.
      const std::int64_t out = fast.dim(3);
      for (std::int64_t i = 0; i < fast.dim(2); ++i)
        for (std::int64_t j = 0; j < out; ++j) {
          float best = -std::numeric_limits<float>::infinity();
          for (std::int64_t k = i * stride - 1; k < i * stride + 2; ++k)
            for (std::int64_t l = j * stride - 1; l < j * stride + 2; ++l) {
              if (k < 0 || k >= 6 || l < 0 || l >= width) continue;
              const float value = x[static_cast<std::size_t>(k * width + l)];
              if (best == best && (value > best || value != value)) best = value;
            }
          const float found = fast.values<float>()[static_cast<std::size_t>(i * out + j)];
          INFO(width << " wide, stride " << stride << ": " << i << ", " << j);
          CHECK(((found == best && std::signbit(found) == std::signbit(best)) || (found != found && best != best)));
        }
    }
  }
}
