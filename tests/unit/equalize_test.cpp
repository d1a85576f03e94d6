// equalize-channels leaves the function what it was on the samples, through everything that channels pass; what it lowers is measured.
#include <catch2/catch.hpp>

#include <algorithm>
#include <cmath>

#include "calibration/calibration.h"
#include "lib/eval/evaluator.h"
#include "lib/ir/text.h"
#include "lib/ir/verify.h"
#include "lib/ops/op.h"
#include "lib/support/random.h"
#include "passes/pass.h"

using namespace bevel;

namespace {

// One input of the given shape, uniform in [-1, 1).
class Noise final : public data::Dataset {
 public:
  explicit Noise(Dims dims) : dims_(std::move(dims)) {}
  [[nodiscard]] std::size_t size() const override { return 16; }
  [[nodiscard]] Result<std::vector<Tensor>> sample(std::size_t index) const override {
    Random random(index);
    Tensor tensor = Tensor::zeros(DType::float32, dims_);
    for (float& value : tensor.mutable_values<float>()) value = random.uniform(-1, 1);
    return std::vector<Tensor>{std::move(tensor)};
  }
  [[nodiscard]] std::optional<std::int64_t> label(std::size_t) const override { return {}; }
  [[nodiscard]] bool has_labels() const override { return false; }
  [[nodiscard]] std::string metric() const override { return ""; }
  [[nodiscard]] std::string content_hash() const override { return ""; }

 private:
  Dims dims_;
};

Model parsed(const std::string& text) {
  auto model = parse_text("<ir_version: 8, opset_import: [\"\" : 17]>\n" + text);
  INFO((model ? "" : model.error().message));
  REQUIRE(model);
  REQUIRE(ops::infer_types(*model));
  return std::move(*model);
}

// Output channels of a weight (axis 0) or a bias, scaled by 1, 1/8, 1/64, ... in turn.
void stagger(Model& model, const char* name, std::int64_t channels) {
  const ValueId id = model.graph.find_value(name);
  REQUIRE(id.valid());
  Tensor tensor = *model.graph.constant(id);
  const std::int64_t below = tensor.size() / channels;
  const auto values = tensor.mutable_values<float>();
  for (std::size_t i = 0; i < values.size(); ++i) values[i] *= std::ldexp(1.0f, -3 * static_cast<int>(static_cast<std::int64_t>(i) / below % 4));
  model.graph.set_constant(id, std::move(tensor));
}

std::vector<float> outputs_of(const Model& model, const Noise& samples) {
  auto evaluator = eval::Evaluator::create(model);
  INFO((evaluator ? "" : evaluator.error().message));
  REQUIRE(evaluator);
  std::vector<float> all;
  for (std::size_t i = 0; i < samples.size(); ++i) {
    const auto sample = samples.sample(i);
    const std::vector<Datum> inputs{(*sample)[0]};
    const auto outputs = (*evaluator)->run(inputs);
    REQUIRE(outputs);
    for (const Datum& output : *outputs)
      for (const float value : output.tensor()->values<float>()) all.push_back(value);
  }
  return all;
}

struct Equalized {
  Model model;
  passes::PassStats stats;
};

Equalized equalized(const Model& model, const Noise& samples, unsigned threads = 1) {
  WorkerPool pool(threads);
  const auto measure = calibration::measure_by_running(samples, pool);
  passes::PassContext context;
  context.measure = measure.get();
  context.pool = &pool;
  Equalized result{model, {}};
  auto stats = passes::find_pass("equalize-channels")->run(result.model, {}, context);
  INFO((stats ? "" : stats.error().message));
  REQUIRE(stats);
  result.stats = std::move(*stats);
  REQUIRE(verify(result.model));
  return result;
}

// Scaled, the same function, and the same on any number of threads.
Model scaled_alike(const Model& model, const Dims& input) {
  const Noise samples(input);
  const Equalized result = equalized(model, samples);
  CHECK(result.stats.changes > 0);
  CHECK_FALSE(same_model(model, result.model));
  const auto before = outputs_of(model, samples), after = outputs_of(result.model, samples);
  REQUIRE(before.size() == after.size());
  float largest = 0, difference = 0;
  for (std::size_t i = 0; i < before.size(); ++i) {
    largest = std::max(largest, std::fabs(before[i]));
    difference = std::max(difference, std::fabs(before[i] - after[i]));
  }
  CHECK(largest > 0);
  CHECK(difference < 1e-5f * largest);
  CHECK(same_model(result.model, equalized(model, samples, 3).model));
  return result.model;
}

const Tensor& constant(const Model& model, const char* name) { return *model.graph.constant(model.graph.find_value(name)); }

// Of output channel c (axis 0): the factor that it was divided by.
double factor(const Model& before, const Model& after, const char* name, std::int64_t c) {
  const Tensor &a = constant(before, name), &b = constant(after, name);
  const std::int64_t at = c * (a.size() / a.dim(0));
  return static_cast<double>(a.values<float>()[static_cast<std::size_t>(at)]) / static_cast<double>(b.values<float>()[static_cast<std::size_t>(at)]);
}

}  // namespace

TEST_CASE("channels are scaled through rectifiers with slopes: one for all, and one for each channel") {
  for (const char* rectifier : {"LeakyRelu <alpha = 0.2> (y)", "PRelu (y, slopes)"}) {
    Model model = parsed(std::string(R"("main" (float[1,4,6,6] x) => (float[1,5,6,6] out)
<float[8,4,3,3] w1 = random(1), float[8] b1 = random(2), float[8,1,1] slopes = random(3), float[5,8,1,1] w2 = random(4)>
{
  ["first"] y = Conv <pads = [1, 1, 1, 1]> (x, w1, b1)
  ["rectifier"] z = )") + rectifier + "\n  [\"second\"] out = Conv (z, w2)\n}\n");
    stagger(model, "w1", 8);
    stagger(model, "b1", 8);
    const Model after = scaled_alike(model, {1, 4, 6, 6});
    CHECK(factor(model, after, "w1", 3) < 0.2 * factor(model, after, "w1", 0));
  }
}

TEST_CASE("a depthwise layer between two others is read and makes: both its sides are scaled") {
  Model model = parsed(R"("main" (float[1,4,6,6] x) => (float[1,5,6,6] out)
<float[8,4,1,1] w1 = random(1), float[8] b1 = random(2), float[8,1,3,3] d = random(3), float[8] bd = random(5), float[5,8,1,1] w2 = random(4)>
{
  ["first"] y = Conv (x, w1, b1)
  ["r1"] z = Relu (y)
  ["depthwise"] u = Conv <group = 8, pads = [1, 1, 1, 1]> (z, d, bd)
  ["r2"] v = Relu (u)
  ["second"] out = Conv (v, w2)
}
)");
  for (const char* name : {"w1", "b1", "bd"}) stagger(model, name, 8);
  const Model after = scaled_alike(model, {1, 4, 6, 6});
  CHECK(factor(model, after, "w1", 3) < 0.2 * factor(model, after, "w1", 0));
  CHECK(factor(model, after, "bd", 3) < 0.2 * factor(model, after, "bd", 0));
}

TEST_CASE("parts of a concatenation keep factors of their own, also where a part is joined twice") {
  for (const char* join : {"(a, b)", "(a, b, a)"}) {
    const bool twice = std::string(join) == "(a, b, a)";
    Model model = parsed(R"("main" (float[1,4,6,6] x) => (float[1,5,6,6] out)
<float[4,4,1,1] wa = random(1), float[4,4,3,3] wb = random(2), float[5,)" + std::to_string(twice ? 12 : 8) + R"(,1,1] w2 = random(4)>
{
  ["narrow"] a = Conv (x, wa)
  ["wide"] y = Conv <pads = [1, 1, 1, 1]> (x, wb)
  ["relu"] b = Relu (y)
  ["join"] z = Concat <axis = 1> )" + join + R"(
  ["second"] out = Conv (z, w2)
}
)");
    stagger(model, "wa", 4);
    stagger(model, "wb", 4);
    const Model after = scaled_alike(model, {1, 4, 6, 6});
    CHECK(factor(model, after, "wa", 3) < 0.2 * factor(model, after, "wa", 0));
    CHECK(factor(model, after, "wb", 3) < 0.2 * factor(model, after, "wb", 0));
  }
}

TEST_CASE("all that a sum adds shares its factors, a constant too, and so do all that read any of it") {
  Model model = parsed(R"("main" (float[1,4,6,6] x) => (float[1,5,6,6] out, float[1,3,1,1] other)
<float[8,4,1,1] w1 = random(1), float[8,8,3,3] w2 = random(2), float[8,1,1] c = random(3), float[5,8,1,1] w3 = random(4), float[3,8,1,1] w4 = random(5)>
{
  ["first"] y = Conv (x, w1)
  ["branch"] u = Conv <pads = [1, 1, 1, 1]> (y, w2)
  ["sum"] s = Add (u, y)
  ["shift"] t = Add (s, c)
  ["relu"] z = Relu (t)
  ["last"] out = Conv (z, w3)
  ["pool"] p = GlobalAveragePool (z)
  ["head"] other = Conv (p, w4)
}
)");
  for (const char* name : {"w1", "w2", "c"}) stagger(model, name, 8);
  const Model after = scaled_alike(model, {1, 4, 6, 6});
  for (std::int64_t channel = 0; channel < 8; ++channel)
    CHECK(factor(model, after, "c", channel) == Approx(factor(model, after, "w1", channel)));
  CHECK(factor(model, after, "c", 3) < 0.2 * factor(model, after, "c", 0));
}

TEST_CASE("outliers of a normalization move into what reads it") {
  Model model = parsed(R"("main" (float[1,6,8] x) => (float[1,6,5] out)
<float[8] scale = {1, 0.02, 1, 0.03, 40, 0.05, 1, 1}, float[8] bias = {0, 0.1, 0, 0.1, 3, 0, 0, 0}, float[8,5] w = random(1)>
{
  ["norm"] y = LayerNormalization (x, scale, bias)
  ["product"] out = MatMul (y, w)
}
)");
  const Model after = scaled_alike(model, {1, 6, 8});
  CHECK(factor(model, after, "scale", 4) > 5 * factor(model, after, "scale", 1));
}

TEST_CASE("a clamp that no channel reaches may become wider, never narrower; a channel that reaches it keeps its factor") {
  const auto net = [](const char* bounds) {
    Model model = parsed(std::string(R"("main" (float[1,4,6,6] x) => (float[1,5,6,6] out)
<float[8,4,1,1] w1 = random(1), float[8] b1 = random(2), float[5,8,1,1] w2 = random(4), )") + bounds + R"(>
{
  ["first"] y = Conv (x, w1, b1)
  ["clip"] z = Clip (y, low, high)
  ["second"] out = Conv (z, w2)
}
)");
    for (const char* name : {"w1", "b1"}) stagger(model, name, 8);
    return model;
  };
  const Model wide = net("float[] low = {-60}, float[] high = {60}");
  const Model scaled = scaled_alike(wide, {1, 4, 6, 6});
  for (std::int64_t channel = 0; channel < 8; ++channel) CHECK(factor(wide, scaled, "w1", channel) >= 0.999999);
  CHECK(factor(wide, scaled, "w1", 0) > 5 * factor(wide, scaled, "w1", 3));
  // Here the large channels reach the bound, so that nothing is left to scale the small ones against.
  const Model tight = net("float[] low = {0}, float[] high = {0.4}");
  CHECK(equalized(tight, Noise({1, 4, 6, 6})).stats.changes == 0);
}

TEST_CASE("what a graph output, a softmax or a second reader of a constant sees is left alone") {
  const auto net = [](const std::string& outputs, const std::string& tail, const std::string& second) {
    Model model = parsed("\"main\" (float[1,4,6,6] x) => (float[1,5,6,6] out" + outputs + R"()
<float[8,4,1,1] w1 = random(1), float[5,8,1,1] w2 = random(4)>
{
  ["first"] y = Conv (x, w1)
  ["second"] out = Conv (y, )" + second + ")\n" + tail + "}\n");
    stagger(model, "w1", 8);
    return model;
  };
  const Noise samples({1, 4, 6, 6});
  CHECK(equalized(net("", "", "w2"), samples).stats.changes == 1);
  CHECK(equalized(net(", float[1,8,6,6] y", "", "w2"), samples).stats.changes == 0);
  CHECK(equalized(net(", float[1,8,6,6] s", "  [\"softmax\"] s = Softmax <axis = 1> (y)\n", "w2"), samples).stats.changes == 0);
  CHECK(equalized(net(", float[1,5,6,6] again", "  [\"again\"] again = Conv (y, w2)\n", "w2"), samples).stats.changes == 0);
}
