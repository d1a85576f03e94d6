// Second moments, rows, channels and comparisons by running samples: against plain arithmetic, on any number of threads, with and without
// the memory of earlier answers.
#include <atomic>

#include <catch2/catch.hpp>
#include <cmath>
#include <filesystem>
#include <map>

#include "calibration/activations.h"
#include "calibration/calibration.h"
#include "calibration/moments.h"
#include "lib/ir/text.h"
#include "lib/ops/op.h"
#include "lib/ops/product_view.h"
#include "lib/support/random.h"

using namespace bevel;
using namespace bevel::calibration;
using Catch::Contains;

namespace {

Model parsed(const std::string& text) {
  auto model = parse_text(text);
  INFO((model ? "" : model.error().message));
  REQUIRE(model);
  REQUIRE(ops::infer_types(*model));
  return std::move(*model);
}

// Random images; `poison`: the sample that holds a NaN.
class Images final : public data::Dataset {
 public:
  Images(std::size_t count, Dims dims) : count_(count), dims_(std::move(dims)) {}
  std::optional<std::size_t> poison;
  mutable std::atomic<std::size_t> reads{0};
  [[nodiscard]] std::size_t size() const override { return count_; }
  [[nodiscard]] Result<std::vector<Tensor>> sample(std::size_t index) const override {
    ++reads;
    Tensor tensor = Tensor::zeros(DType::float32, dims_);
    Random random(index + 1);
    for (float& value : tensor.mutable_values<float>()) value = random.uniform(-1, 2) * (1 + static_cast<float>(index % 3));
    if (poison == index) tensor.mutable_values<float>()[1] = NAN;
    return std::vector<Tensor>{std::move(tensor)};
  }
  [[nodiscard]] std::optional<std::int64_t> label(std::size_t) const override { return {}; }
  [[nodiscard]] bool has_labels() const override { return false; }
  [[nodiscard]] std::string metric() const override { return ""; }
  [[nodiscard]] std::string content_hash() const override { return ""; }

 private:
  std::size_t count_;
  Dims dims_;
};

// Convolutions, one of them depthwise, a residual, a product of matrices. `scale`: of the first layer's weights.
std::string float_text(const std::string& first = "random(1)") {
  return R"(<ir_version: 8, opset_import: ["" : 13]>
"main" (float[N,3,8,8] x) => (float[N,5] y)
<float[6,3,3,3] w1 = )" + first + R"(, float[6] b1 = random(2), float[6,1,3,3] w2 = random(3), float[6,6,1,1] w3 = random(4), float[6,5] w4 = random(5)>
{
  ["c1"] a1 = Conv <pads = [1,1,1,1]> (x, w1, b1)
  ["r1"] a = Relu (a1)
  ["c2"] d = Conv <group = 6, pads = [1,1,1,1]> (a, w2)
  ["c3"] e = Conv (d, w3)
  ["add"] f = Add (e, a)
  ["r2"] g = Relu (f)
  ["pool"] h = GlobalAveragePool (g)
  ["flat"] i = Flatten (h)
  ["mm"] y = MatMul (i, w4)
}
)";
}

// The same with its first two convolutions in integers; what follows is float.
constexpr const char* kQuantized = R"(<ir_version: 8, opset_import: ["" : 13]>
"main" (float[N,3,8,8] x) => (float[N,5] y)
<int8[6,3,3,3] w1 = random(1), float[6] b1 = random(2), int8[6,1,3,3] w2 = random(3), float[6,6,1,1] w3 = random(4), float[6,5] w4 = random(5),
 float s = {0.05}, float ws = {0.01}, uint8 z = {100}, int8 wz = {0}, int32[6] bq = {3, -4, 5, 60, -7, 80}, int32 bz = {0}, float bs = {0.0005}>
{
  xq = QuantizeLinear (x, s, z)
  xd = DequantizeLinear (xq, s, z)
  w1d = DequantizeLinear (w1, ws, wz)
  b1d = DequantizeLinear (bq, bs, bz)
  ["c1"] a1 = Conv <pads = [1,1,1,1]> (xd, w1d, b1d)
  ["r1"] a = Relu (a1)
  aq = QuantizeLinear (a, s, z)
  ad = DequantizeLinear (aq, s, z)
  w2d = DequantizeLinear (w2, ws, wz)
  ["c2"] d1 = Conv <group = 6, pads = [1,1,1,1]> (ad, w2d)
  dq = QuantizeLinear (d1, s, z)
  d = DequantizeLinear (dq, s, z)
  ["c3"] e = Conv (d, w3)
  ["add"] f = Add (e, ad)
  ["r2"] g = Relu (f)
  ["pool"] h = GlobalAveragePool (g)
  ["flat"] i = Flatten (h)
  ["mm"] y = MatMul (i, w4)
}
)";

data::Statistics measured(data::Measure& measure, const Model& model, const data::Request& request) {
  auto statistics = measure.measure(model, request);
  INFO((statistics ? "" : statistics.error().message));
  REQUIRE(statistics);
  return std::move(*statistics);
}

const std::vector<data::OperandKey> kOperands = {{"c1", 0}, {"c2", 0}, {"c3", 0}, {"mm", 0}};

// Every row of every sample, the operand's value computed by the whole model.
std::vector<ops::GatheredRows> all_rows(const Model& model, const Images& images, const data::OperandKey& key, std::int64_t positions) {
  auto evaluator = eval::Evaluator::create(model);
  REQUIRE(evaluator);
  const Graph& graph = (*evaluator)->model().graph;
  const NodeId node = graph.find_node(key.node);
  const ValueId operand = graph.node(node).inputs[static_cast<std::size_t>(key.operand)];
  const std::string name = graph.value(operand).name;
  std::vector<ops::GatheredRows> rows;
  for (std::size_t sample = 0; sample < images.size(); ++sample) {
    std::vector<Datum> inputs;
    auto tensors = images.sample(sample);
    for (Tensor& tensor : *tensors) inputs.emplace_back(std::move(tensor));
    Tensor found = name == "x" ? *inputs[0].tensor() : Tensor();
    const eval::Tap tap = [&](const std::string& value, const Tensor& tensor) -> Status {
      if (value == name) found = tensor;
      return {};
    };
    REQUIRE((*evaluator)->run(inputs, &tap));
    REQUIRE(found.defined());
    rows.push_back(*ops::gather_rows(ops::space_at((*evaluator)->model(), graph, node, 0, found.dims()), found, positions, sample));
  }
  return rows;
}

}  // namespace

TEST_CASE("the grid holds the largest magnitude in 12 bits", "[moments]") {
  for (const float x : {1.0f, 0.75f, 1e-40f, 3e38f, 2047.0f, 2047.5f, 2048.0f, 1.4e-45f}) {
    const int exponent = grid_exponent(x);
    CHECK(on_grid(x, exponent) <= 2047);
    CHECK(on_grid(x, exponent) >= 1023);
    CHECK(on_grid(-x, exponent) == -on_grid(x, exponent));
  }
  CHECK(grid_exponent(2047.0f) == 0);
  CHECK(grid_exponent(2047.5f) == 1);
  CHECK(grid_exponent(0) == 0);
  CHECK(on_grid(2.5f, 0) == 2);
  CHECK(on_grid(3.5f, 0) == 4);
}

TEST_CASE("moments are sums of the rounded rows, beside the reference's", "[moments]") {
  const Images images(11, {1, 3, 8, 8});
  const Model model = parsed(float_text("random(9)")), reference = parsed(float_text());
  data::Request request;
  request.moments = kOperands;
  request.reference = &reference;
  request.max_positions = 20;
  WorkerPool pool(2);
  const auto statistics = measured(*measure_by_running(images, pool), model, request);
  CHECK(statistics.samples == 11);
  for (const data::OperandKey& key : kOperands) {
    INFO(key.node);
    const auto own = all_rows(model, images, key, 20), other = all_rows(reference, images, key, 20);
    const auto& moments = statistics.moments.at(key);
    REQUIRE(static_cast<std::int64_t>(moments.size()) == own[0].groups);
    REQUIRE(own[0].groups == (key.node == "c2" ? 6 : 1));
    for (std::size_t g = 0; g < moments.size(); ++g) {
      const data::SecondMoment& moment = moments[g];
      const auto k = static_cast<std::size_t>(own[0].k);
      std::vector<std::int64_t> sum(k), reference_sum(k), gram(k * k), cross(k * k);
      std::int64_t rows = 0;
      float largest = 0;
      double exact = 0, on = 0;
      for (std::size_t s = 0; s < own.size(); ++s) {
        for (std::int64_t r = 0; r < own[s].rows; ++r, ++rows) {
          const float* x = own[s].values.data() + (static_cast<std::int64_t>(g) * own[s].rows + r) * own[s].k;
          const float* y = other[s].values.data() + (static_cast<std::int64_t>(g) * own[s].rows + r) * own[s].k;
          for (std::size_t i = 0; i < k; ++i) {
            largest = std::max(largest, std::fabs(x[i]));
            const std::int64_t xi = on_grid(x[i], moment.grid_exponent), yi = on_grid(y[i], moment.reference_exponent);
            sum[i] += xi;
            reference_sum[i] += yi;
            for (std::size_t j = 0; j < k; ++j) {
              gram[i * k + j] += xi * on_grid(x[j], moment.grid_exponent);
              cross[i * k + j] += yi * on_grid(x[j], moment.grid_exponent);
            }
          }
          exact += static_cast<double>(x[0]) * static_cast<double>(x[0]);
        }
      }
      on = std::ldexp(static_cast<double>(moment.gram[0]), 2 * moment.grid_exponent);
      CHECK(moment.rows == rows);
      CHECK(moment.grid_exponent == grid_exponent(largest));
      CHECK(moment.sum == sum);
      CHECK(moment.reference_sum == reference_sum);
      CHECK(moment.gram == gram);
      CHECK(moment.cross == cross);
      CHECK(on == Approx(exact).epsilon(0.01).margin(1e-6));
    }
  }
}

TEST_CASE("moments, rows, channels and comparisons hang on neither threads nor what was kept", "[moments]") {
  const Images images(23, {1, 3, 8, 8});
  const Model reference = parsed(float_text()), quantized = parsed(kQuantized);
  struct Answers {
    std::vector<data::Statistics> statistics;
    std::vector<std::vector<std::vector<data::Difference>>> differences;
  };
  const auto run = [&](unsigned threads, const Memo& memo) {
    WorkerPool pool(threads);
    const auto measure = measure_by_running(images, pool, {}, memo);
    CHECK(measure->has_samples());
    Answers answers;
    for (const data::OperandKey& key : kOperands) {
      data::Request request;
      request.moments = request.rows = {key};
      request.reference = &reference;
      request.max_rows = 37;
      answers.statistics.push_back(measured(*measure, quantized, request));
    }
    data::Request channels;
    channels.channels = {{"a", 1}, {"d", 1}, {"e", 1}, {"y", -1}, {"x", 2}};
    channels.values = {"x", "ad", "a1", "y"};
    answers.statistics.push_back(measured(*measure, quantized, channels));
    for (int again = 0; again < 3; ++again) {
      auto differences = measure->compare(reference, quantized, {{"a", "ad"}, {"y", "y"}, {"e", "e"}}, {});
      INFO((differences ? "" : differences.error().message));
      REQUIRE(differences);
      answers.differences.push_back(std::move(*differences));
    }
    return answers;
  };
  const Answers plain = run(1, {0, {}});
  const Memo memos[] = {{}, {1 << 20, {}}, {64 << 10, {}}, {kMemoBytes, "/nowhere"}};
  for (const Memo& memo : memos) {
    for (const unsigned threads : {1u, 3u}) {
      const Answers other = run(threads, memo);
      for (std::size_t i = 0; i < plain.statistics.size(); ++i) {
        const data::Statistics &a = plain.statistics[i], &b = other.statistics[i];
        CHECK(a.values == b.values);
        CHECK(a.moments == b.moments);
        REQUIRE(a.rows.size() == b.rows.size());
        for (const auto& [key, rows] : a.rows) {
          CHECK(rows.values == b.rows.at(key).values);
          CHECK(rows.count == b.rows.at(key).count);
        }
        REQUIRE(a.channels.size() == b.channels.size());
        for (const auto& [key, list] : a.channels) {
          for (std::size_t c = 0; c < list.size(); ++c) {
            const data::ChannelStatistics &x = list[c], &y = b.channels.at(key)[c];
            CHECK((x.minimum == y.minimum && x.maximum == y.maximum && x.count == y.count && x.grid_exponent == y.grid_exponent &&
                   x.sum == y.sum && x.square_sum == y.square_sum));
          }
        }
      }
      for (std::size_t i = 0; i < plain.differences.size(); ++i) {
        for (std::size_t p = 0; p < plain.differences[i].size(); ++p) {
          for (std::size_t s = 0; s < images.size(); ++s) {
            const data::Difference &x = plain.differences[i][p][s], &y = other.differences[i][p][s];
            CHECK((x.signal == y.signal && x.noise == y.noise && x.divergence == y.divergence && x.agreeing == y.agreeing && x.rows == y.rows));
          }
        }
      }
    }
  }
}

TEST_CASE("what is computed from kept values has the bits of a whole run", "[memo]") {
  const Images images(4, {1, 3, 8, 8});
  for (const auto& [text, kernels] : {std::pair(float_text(), eval::Kernels::automatic), std::pair(std::string(kQuantized), eval::Kernels::automatic),
                                      std::pair(std::string(kQuantized), eval::Kernels::integer)}) {
    const Model model = parsed(text);
    eval::EvalOptions options;
    options.kernels = kernels;
    Activations kept(images, options, kMemoBytes, {}), whole(images, options, 0, {});
    std::vector<std::string> names;
    for (const ValueId id : model.graph.value_ids()) {
      if (model.graph.value(id).constant || !model.graph.value(id).producer.valid()) continue;
      if (model.graph.node(model.graph.value(id).producer).inputs[0].valid() && model.graph.constant(model.graph.node(model.graph.value(id).producer).inputs[0])) continue;
      names.push_back(model.graph.value(id).name);
    }
    // Backwards and forwards, so that values are computed from the input and from each other.
    for (const bool backwards : {true, false}) {
      for (std::size_t n = 0; n < names.size(); ++n) {
        const std::string& name = backwards ? names[names.size() - 1 - n] : names[n];
        INFO(name);
        auto one = kept.ask(model, {name}, {name}), other = whole.ask(model, {name}, {});
        REQUIRE(one);
        REQUIRE(other);
        for (std::size_t s = 0; s < images.size(); ++s) {
          Tensor a, b;
          REQUIRE((*one)->run(s, [&](std::size_t, const Tensor& tensor) -> Status { a = tensor; return {}; }));
          REQUIRE((*other)->run(s, [&](std::size_t, const Tensor& tensor) -> Status { b = tensor; return {}; }));
          REQUIRE(a.defined());
          CHECK(a.same_bits(b));
        }
      }
    }
    // The evaluator itself, where it tells of the value.
    auto evaluator = eval::Evaluator::create(model, options);
    REQUIRE(evaluator);
    std::map<std::string, Tensor> seen;
    const eval::Tap tap = [&](const std::string& value, const Tensor& tensor) -> Status {
      seen.insert_or_assign(value, tensor);
      return {};
    };
    std::vector<Datum> inputs;
    auto tensors = images.sample(2);
    for (Tensor& tensor : *tensors) inputs.emplace_back(std::move(tensor));
    REQUIRE((*evaluator)->run(inputs, &tap));
    std::size_t compared = 0;
    for (const std::string& name : names) {
      if (!seen.contains(name)) continue;
      INFO(name);
      auto one = kept.ask(model, {name}, {name});
      REQUIRE(one);
      REQUIRE((*one)->run(2, [&](std::size_t, const Tensor& tensor) -> Status {
        CHECK(tensor.same_bits(seen.at(name)));
        ++compared;
        return {};
      }));
    }
    CHECK(compared >= 7);
  }
}

TEST_CASE("with integer kernels alone, what is in float has the bits of the float model", "[memo]") {
  const Images images(3, {1, 3, 8, 8});
  const Model plain = parsed(R"(<ir_version: 10, opset_import: ["" : 21]>
main (float[1,3,8,8] x) => (float[1,4,8,8] y) <float[4,3,3,3] w = random(2), float[4,4,1,1] v = random(3)> {
  c = Conv <pads = [1, 1, 1, 1]> (x, w) r = Relu (c) y = Conv (r, v) })");
  const Model mixed = parsed(R"(<ir_version: 10, opset_import: ["" : 21]>
main (float[1,3,8,8] x) => (float[1,4,8,8] y, float[1,4,8,8] z)
<float[4,3,3,3] w = random(2), float[4,4,1,1] v = random(3), int8[4,4,1,1] q = random(4), float[] s = {0.03125}, int8[] o = {0}> {
  c = Conv <pads = [1, 1, 1, 1]> (x, w) r = Relu (c) y = Conv (r, v)
  a = QuantizeLinear (r, s, o) b = DequantizeLinear (a, s, o) u = DequantizeLinear (q, s, o) t = Conv (b, u)
  e = QuantizeLinear (t, s, o) z = DequantizeLinear (e, s, o) })");
  std::map<eval::Kernels, std::vector<Datum>> found;
  auto tensors = images.sample(1);
  const std::vector<Datum> inputs = {(*tensors)[0]};
  for (const eval::Kernels kernels : {eval::Kernels::integer, eval::Kernels::all}) {
    eval::EvalOptions options;
    options.kernels = kernels;
    const auto evaluator = eval::Evaluator::create(mixed, options);
    REQUIRE(evaluator);
    found[kernels] = *(*evaluator)->run(inputs);
  }
  const auto reference = eval::Evaluator::create(plain);
  REQUIRE(reference);
  CHECK(found[eval::Kernels::integer][0].tensor()->same_bits(*(*(*reference)->run(inputs))[0].tensor()));
  CHECK(found[eval::Kernels::integer][1].tensor()->same_bits(*found[eval::Kernels::all][1].tensor()));
  // Nor is it computed again.
  WorkerPool pool(1);
  eval::EvalOptions options;
  options.kernels = eval::Kernels::integer;
  const auto measure = measure_by_running(images, pool, options);
  for (const auto& model : {&plain, &plain}) REQUIRE(measure->compare(*model, *model, {{"r", "r"}, {"y", "y"}}, {}));
  const std::size_t reads = images.reads;
  const auto differences = measure->compare(plain, mixed, {{"y", "y"}}, {});
  REQUIRE(differences);
  CHECK(images.reads == reads);
  for (const data::Difference& difference : (*differences)[0]) CHECK(difference.noise == 0);
}

TEST_CASE("a request costs what changed: samples are not read again for a layer behind a kept value", "[memo]") {
  const Images images(6, {1, 3, 8, 8});
  WorkerPool pool(1);
  const auto measure = measure_by_running(images, pool);
  const Model model = parsed(float_text());
  data::Request request;
  request.moments = {{"c2", 0}};
  measured(*measure, model, request);
  CHECK(images.reads == 6);  // the second pass finds what the first kept
  request.moments = {{"c3", 0}};
  measured(*measure, model, request);
  CHECK(images.reads == 6);
  // Another weight behind the kept value changes nothing before it; one before it does.
  Model behind = model;
  behind.graph.set_constant(behind.graph.find_value("w3"), Tensor::zeros(DType::float32, {6, 6, 1, 1}));
  request.moments = {{"mm", 0}};
  measured(*measure, behind, request);
  CHECK(images.reads == 6);
  Model before = model;
  before.graph.set_constant(before.graph.find_value("w1"), Tensor::zeros(DType::float32, {6, 3, 3, 3}));
  measured(*measure, before, request);
  CHECK(images.reads == 12);
}

TEST_CASE("rows are spread over samples and are the operand's own", "[rows]") {
  const Images images(10, {1, 3, 8, 8});
  WorkerPool pool(2);
  const Model model = parsed(float_text());
  data::Request request;
  request.rows = {{"c2", 0}, {"mm", 0}};
  request.max_rows = 25;
  const auto statistics = measured(*measure_by_running(images, pool), model, request);
  const data::Rows& rows = statistics.rows.at({"c2", 0});
  CHECK((rows.groups == 6 && rows.count == 25 && rows.k == 9));
  CHECK(rows.values.size() == 6u * 25 * 9);
  CHECK(statistics.rows.at({"mm", 0}).count == 10);  // a sample has one
  request.max_row_values = 60;
  CHECK(measured(*measure_by_running(images, pool), model, request).rows.at({"c2", 0}).count == 16);
}

TEST_CASE("channels have their extremes and sums", "[channels]") {
  const Images images(5, {2, 3, 8, 8});
  WorkerPool pool(2);
  data::Request request;
  request.channels = {{"x", 1}};
  const auto statistics = measured(*measure_by_running(images, pool), parsed(float_text()), request);
  const auto& channels = statistics.channels.at({"x", 1});
  REQUIRE(channels.size() == 3);
  for (std::size_t c = 0; c < 3; ++c) {
    float low = 0, high = 0;
    std::int64_t sum = 0, squares = 0, count = 0;
    for (std::size_t s = 0; s < 5; ++s) {
      const Tensor x = images.sample(s)->at(0);
      for (std::int64_t i = 0; i < x.size(); ++i) {
        if (static_cast<std::size_t>(i / 64 % 3) != c) continue;
        const float v = x.values<float>()[static_cast<std::size_t>(i)];
        low = std::min(low, v), high = std::max(high, v);
        const std::int64_t q = on_grid(v, channels[c].grid_exponent);
        sum += q, squares += q * q, ++count;
      }
    }
    CHECK((channels[c].minimum == low && channels[c].maximum == high && channels[c].count == count));
    CHECK((channels[c].sum == sum && channels[c].square_sum == squares));
    CHECK(channels[c].grid_exponent == grid_exponent(std::max(-low, high)));
  }
}

TEST_CASE("a comparison says how far apart two models are", "[compare]") {
  const Images images(3, {2, 3, 8, 8});
  WorkerPool pool(2);
  const Model reference = parsed(float_text());
  Model model = reference;
  std::vector<float> w4(30);
  for (std::size_t i = 0; i < 30; ++i) w4[i] = reference.graph.constant(reference.graph.find_value("w4"))->values<float>()[i] * 1.25f;
  model.graph.set_constant(model.graph.find_value("w4"), Tensor::of<float>({6, 5}, w4));
  const auto measure = measure_by_running(images, pool);
  const auto found = measure->compare(reference, model, {{"y", "y"}, {"a", "a"}}, 2);
  REQUIRE(found);
  REQUIRE(found->size() == 2);
  REQUIRE(found->at(0).size() == 2);
  for (const data::Difference& difference : found->at(0)) {
    CHECK(difference.noise == Approx(difference.signal / 16).epsilon(1e-4));
    CHECK(difference.divergence > 0);
    CHECK((difference.rows == 2 && difference.agreeing == 2));
  }
  for (const data::Difference& difference : found->at(1)) {
    CHECK((difference.noise == 0 && difference.signal > 0));
    CHECK((difference.rows == 0 && difference.divergence == 0));
  }
  // Known numbers: softmax(0, 0) beside softmax(ln 3, 0).
  const Model known = parsed(R"(<ir_version: 8, opset_import: ["" : 13]>
"main" (float[N,3,8,8] x) => (float[1,2] y) <float[1,2] b = {1.0986123, 0}, float zero = {0}> { s = ReduceMax <keepdims = 0> (x) t = Mul (s, zero) y = Add (t, b) })");
  Model flat = known;
  flat.graph.set_constant(flat.graph.find_value("b"), Tensor::zeros(DType::float32, {1, 2}));
  const auto divergence = measure->compare(flat, known, {{"y", "y"}}, 1);
  REQUIRE(divergence);
  CHECK(divergence->at(0).at(0).divergence == Approx(0.5 * std::log(0.5 / 0.75) + 0.5 * std::log(0.5 / 0.25)).epsilon(1e-6));
  CHECK_THAT(measure->compare(reference, model, {{"y", "a"}}, 1).error().message, Contains("\"a\" beside \"y\""));
}

TEST_CASE("what cannot be measured is said", "[moments]") {
  Images images(9, {1, 3, 8, 8});
  WorkerPool pool(3);
  const Model model = parsed(float_text());
  const auto error = [&](const data::Request& request) {
    auto statistics = measure_by_running(images, pool)->measure(model, request);
    REQUIRE_FALSE(statistics);
    CHECK(statistics.error().code == ExitCode::input);
    return statistics.error().message;
  };
  data::Request request;
  request.moments = {{"r1", 0}};
  CHECK_THAT(error(request), Contains("'r1'") && Contains("operand 0"));
  request.moments = {{"none", 0}};
  CHECK_THAT(error(request), Contains("'none'"));
  request.moments = {{"c1", 7}};
  CHECK_THAT(error(request), Contains("operand 7"));
  request.moments = {};
  request.channels = {{"x", 4}};
  CHECK_THAT(error(request), Contains("axis 4"));
  images.poison = 5;
  request.channels = {};
  request.moments = {{"c2", 0}};
  CHECK_THAT(error(request), Contains("sample 5") && Contains("\"x\"") && Contains("NaN"));
  const Images large(2, {1, 3, 8, 8});
  const Model overflow = parsed(R"(<ir_version: 8, opset_import: ["" : 13]>
"main" (float[N,3,8,8] x) => (float[N,1,8,8] y) <float[1,3,1,1] w = random(1), float huge = {3e38}>
{ big = Mul (x, huge) ["c"] y = Conv (big, w) })");
  request.moments = {{"c", 0}};
  auto statistics = measure_by_running(large, pool)->measure(overflow, request);
  REQUIRE_FALSE(statistics);
  CHECK_THAT(statistics.error().message, Contains("\"big\"") && Contains("infinite"));
}
