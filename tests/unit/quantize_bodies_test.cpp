// Quantization inside If, Loop and Scan: weights wherever they stand, ranges where branches can be measured, and what goes back.
#include <catch2/catch.hpp>

#include <algorithm>
#include <cmath>
#include <functional>

#include "calibration/calibration.h"
#include "lib/driver/quantize_leg.h"
#include "lib/eval/evaluator.h"
#include "lib/ir/text.h"
#include "lib/ir/verify.h"
#include "lib/ops/op.h"
#include "lib/ops/subgraphs.h"
#include "lib/support/random.h"
#include "passes/bodies.h"

using namespace bevel;
using namespace bevel::driver;

namespace {

// float[1,16] in [-1, 1); the flag is set in every sample but the first, or in none.
class Rows final : public data::Dataset {
 public:
  explicit Rows(bool taken) : taken_(taken) {}
  [[nodiscard]] std::size_t size() const override { return 24; }
  [[nodiscard]] Result<std::vector<Tensor>> sample(std::size_t index) const override {
    Random random(index);
    std::vector<float> values;
    for (int i = 0; i < 16; ++i) values.push_back(random.uniform(-1, 1));
    Tensor flag = Tensor::zeros(DType::boolean, {});
    flag.set_from_int64(0, taken_ && index > 0);
    return std::vector<Tensor>{Tensor::of<float>({1, 16}, values), flag};
  }
  [[nodiscard]] std::optional<std::int64_t> label(std::size_t) const override { return {}; }
  [[nodiscard]] bool has_labels() const override { return false; }
  [[nodiscard]] std::string metric() const override { return ""; }
  [[nodiscard]] std::string content_hash() const override { return ""; }

 private:
  bool taken_;
};

// Both branches read `shared`; each has a layer of its own, one of them in a branch of a branch.
constexpr const char* kBranches = R"(<ir_version: 8, opset_import: ["" : 13]>
"main" (float[1,16] x, bool flag) => (float[1,8] y)
<float[16,32] shared = random(1), float[32,8] own = random(2), float[32,8] other = random(3), float[32] bias = random(4)>
{
  ["choice"] y = If <
    then_branch = yes () => (float[1,8] then_y) {
      ["up"] a = Gemm (x, shared, bias)
      ["rectify"] r = Relu (a)
      ["down"] then_y = MatMul (r, own)
    },
    else_branch = no () => (float[1,8] else_y) {
      ["inner"] else_y = If <
        then_branch = inner_yes () => (float[1,8] inner_then) {
          ["up_again"] b = MatMul (x, shared)
          ["down_again"] inner_then = MatMul (b, other)
        },
        else_branch = inner_no () => (float[1,8] inner_else) {
          ["halves"] inner_else, rest = Split <axis = 1> (x)
        }
      > (flag)
    }
  > (flag)
}
)";

constexpr const char* kLoop = R"(<ir_version: 8, opset_import: ["" : 13]>
"main" (float[1,16] x, bool flag) => (float[1,16] y)
<float[16,16] w = random(5), int64 trips = {3}, bool go = {1}>
{
  ["loop"] y = Loop <
    body = step (int64 i, bool cond, float[1,16] state) => (bool cond_out, float[1,16] next) {
      cond_out = Identity (cond)
      ["turn"] t = MatMul (state, w)
      ["squash"] next = Tanh (t)
    }
  > (trips, go, x)
}
)";

Model parsed(const char* text) {
  auto model = parse_text(text);
  INFO((model ? "" : model.error().message));
  REQUIRE(model);
  REQUIRE(ops::infer_types(*model));
  return std::move(*model);
}

struct Made {
  Model model;
  Quantized quantized;
};

Made quantized(const char* text, passes::Recipe recipe, const Rows* rows = nullptr) {
  WorkerPool pool(2);
  Made made{parsed(text), {}};
  std::unique_ptr<data::Measure> measure;
  if (rows != nullptr) measure = calibration::measure_by_running(*rows, pool);
  auto result = quantize_model(made.model, recipe, measure.get(), &pool, {rows, {}});
  INFO((result ? "" : result.error().message));
  REQUIRE(result);
  made.quantized = std::move(*result);
  const Status verified = verify(made.model);
  INFO((verified ? "" : verified.error().message));
  REQUIRE(verified);
  return made;
}

passes::Recipe weights(const char* precision) {
  passes::Recipe recipe;
  recipe.precision = precision;
  recipe.activations = "float32";
  return recipe;
}

// Bytes of float32 and of 4- and 8-bit constants in all graphs.
struct Bytes {
  std::size_t floats = 0, integers = 0;
};
Bytes constants(const Graph& graph) {
  Bytes bytes;
  for (const ValueId id : graph.value_ids()) {
    if (const Tensor* constant = graph.constant(id)) {
      if (constant->dtype() == DType::float32) bytes.floats += constant->bytes().size();
      if (constant->dtype() == DType::int8 || constant->dtype() == DType::int4) bytes.integers += constant->bytes().size();
    }
  }
  for (const NodeId id : graph.node_order()) {
    ops::for_each_subgraph(graph.node(id), [&](const GraphPtr& body) {
      const Bytes inner = constants(*body);
      bytes.floats += inner.floats;
      bytes.integers += inner.integers;
    });
  }
  return bytes;
}

std::size_t count(const Graph& graph, std::string_view op_type) {
  std::size_t found = 0;
  passes::for_each_node(graph, [&](const Node& node) { found += node.op_type == op_type ? 1 : 0; });
  return found;
}

double sqnr(const char* text, const Model& model, const Rows& rows) {
  const auto run = [&](const Model& one, std::size_t sample) {
    auto evaluator = eval::Evaluator::create(one);
    INFO((evaluator ? "" : evaluator.error().message));
    REQUIRE(evaluator);
    auto inputs = rows.sample(sample);
    auto outputs = (*evaluator)->run(std::vector<Datum>(inputs->begin(), inputs->end()));
    INFO((outputs ? "" : outputs.error().message));
    REQUIRE(outputs);
    return (*outputs)[0].tensor()->as_floats();
  };
  const Model source = parsed(text);
  double signal = 0, noise = 0;
  for (std::size_t sample = 0; sample < rows.size(); ++sample) {
    const auto expected = run(source, sample), got = run(model, sample);
    REQUIRE(expected.size() == got.size());
    for (std::size_t i = 0; i < expected.size(); ++i) {
      signal += static_cast<double>(expected[i]) * expected[i];
      noise += (static_cast<double>(expected[i]) - got[i]) * (static_cast<double>(expected[i]) - got[i]);
    }
  }
  return 10 * std::log10(signal / noise);
}

bool mentions(const std::vector<std::string>& notes, const std::string& text) {
  return std::any_of(notes.begin(), notes.end(), [&](const std::string& note) { return note.find(text) != std::string::npos; });
}

}  // namespace

TEST_CASE("Weights of branches become integers; what several graphs read stands once, before them") {
  const Rows rows(true);
  for (const auto& [precision, least] : {std::pair("int8", 35.0), {"int4", 12.0}}) {
    const Made made = quantized(kBranches, weights(precision));
    CHECK(made.quantized.changes == 4);
    const Bytes bytes = constants(made.model.graph);
    const std::size_t elements = 16 * 32 + 2 * 32 * 8;
    CHECK(bytes.integers >= elements / (precision == std::string("int4") ? 2 : 1));
    CHECK(bytes.integers < elements / (precision == std::string("int4") ? 2 : 1) + 128);  // zero points
    CHECK(bytes.floats < 4 * (32 + 32 + 2 * 8 + 1));                                       // the bias and scales
    // shared: dequantized in the main graph; the layers of single branches where they run.
    CHECK(count(made.model.graph, "DequantizeLinear") == 3);
    const auto top = made.model.graph.node_order();
    CHECK(std::count_if(top.begin(), top.end(), [&](NodeId id) { return made.model.graph.node(id).op_type == "DequantizeLinear"; }) == 1);
    CHECK(sqnr(kBranches, made.model, rows) > least);
  }
}

TEST_CASE("Weights of a loop are dequantized once, before it") {
  const Made made = quantized(kLoop, weights("int8"));
  const Graph& graph = made.model.graph;
  const auto order = graph.node_order();
  REQUIRE(order.size() == 2);
  CHECK(graph.node(order[0]).op_type == "DequantizeLinear");
  CHECK(graph.node(order[1]).name == "loop");
  CHECK(count(graph, "DequantizeLinear") == 1);
  CHECK(constants(graph).integers == 16 * 16 + 16);
  CHECK(sqnr(kLoop, made.model, Rows(true)) > 30);
}

TEST_CASE("A branch that samples take is quantized on what they bring it; another has integer weights alone, and that is said") {
  const Rows rows(true);
  const Made made = quantized(kBranches, {}, &rows);
  CHECK(count(made.model.graph, "QuantizeLinear") >= 2);
  CHECK(sqnr(kBranches, made.model, rows) > 25);
  CHECK(mentions(made.quantized.notes, "in else_branch of If 'choice': in then_branch of If 'inner': weights alone are integers, for no calibration"));
  const Bytes bytes = constants(made.model.graph);
  CHECK(bytes.floats < 4 * 16 * 32);  // no weights

  const Rows none(false);
  const Made untaken = quantized(kBranches, {}, &none);
  CHECK(mentions(untaken.quantized.notes, "in then_branch of If 'choice': weights alone are integers, for no calibration sample takes the branch"));
}

TEST_CASE("Ranges within loops are not measured: their weights alone are integers") {
  const Rows rows(true);
  const Made made = quantized(kLoop, {}, &rows);
  CHECK(mentions(made.quantized.notes, "in body of Loop 'loop': weights alone are integers, for the ranges of values within loops are not measured"));
  CHECK(constants(made.model.graph).integers >= 16 * 16);
}

TEST_CASE("Bodies are quantized dynamically and in half precision") {
  const Rows rows(true);
  passes::Recipe dynamic;
  dynamic.activations = "dynamic";
  const Made by_run = quantized(kBranches, dynamic);
  CHECK(count(by_run.model.graph, "MatMulInteger") == 4);
  CHECK(sqnr(kBranches, by_run.model, rows) > 25);

  for (const auto& [word, least] : {std::pair("float16", 55.0), {"bfloat16", 35.0}}) {
    passes::Recipe half;
    half.precision = word;
    const Made made = quantized(kBranches, half);
    CHECK(constants(made.model.graph).floats == 0);
    CHECK(sqnr(kBranches, made.model, rows) > least);
    const Made loop = quantized(kLoop, half);
    CHECK(constants(loop.model.graph).floats == 0);
  }
}

TEST_CASE("A node of a body is kept in float by its name; bodies where nothing is asked stay as they are") {
  passes::Recipe recipe = weights("int8");
  for (const char* name : {"up", "down", "down_again", "up_again"}) recipe.nodes[name].precision = "float32";
  REQUIRE(passes::check_recipe(recipe, parsed(kBranches).graph));
  const Made made = quantized(kBranches, recipe);
  CHECK(made.quantized.changes == 0);
  std::string why;
  CHECK(same_model(parsed(kBranches), made.model, &why));
  INFO(why);
}

TEST_CASE("Values of bodies get names that no enclosing graph has") {
  const Made made = quantized(kBranches, weights("int8"));
  std::function<void(const Graph&, std::vector<std::string>)> check = [&](const Graph& graph, std::vector<std::string> taken) {
    for (const ValueId id : graph.value_ids()) {
      if (graph.value(id).is_capture) continue;
      CHECK(std::find(taken.begin(), taken.end(), graph.value(id).name) == taken.end());
    }
    for (const ValueId id : graph.value_ids()) taken.push_back(graph.value(id).name);
    for (const NodeId id : graph.node_order()) ops::for_each_subgraph(graph.node(id), [&](const GraphPtr& body) { check(*body, taken); });
  };
  check(made.model.graph, {});
}

namespace {

// y = layer(x, w, r) by `op`, of `gates` gates of 16 hidden values.
std::string recurrent(const std::string& op, int gates) {
  return fmt::format(R"(<ir_version: 8, opset_import: ["" : 14]>
"main" (float[5,1,16] x) => (float[5,1,1,16] y)
<float[1,{0},16] w = random(6), float[1,{0},16] r = random(7), float[1,{1}] b = random(8)>
{{
  ["layer"] y = {2} <hidden_size = 16> (x, w, r, b)
}}
)", 16 * gates, 32 * gates, op);
}

}  // namespace

TEST_CASE("Recurrent layers: weights of input and state become integers with a scale per gate's row, biases stay") {
  for (const auto& [op, gates] : {std::pair("LSTM", 4), {"GRU", 3}, {"RNN", 1}}) {
    for (const char* precision : {"int8", "int4"}) {
      const Made made = quantized(recurrent(op, gates).c_str(), weights(precision));
      const Graph& graph = made.model.graph;
      const NodeId layer = graph.find_node("layer");
      REQUIRE(layer.valid());
      for (const std::size_t operand : {1u, 2u}) {
        const NodeId dequantize = graph.value(graph.node(layer).inputs[operand]).producer;
        REQUIRE(dequantize.valid());
        CHECK(graph.constant(graph.node(dequantize).inputs[1])->dims() == Dims{16 * gates});
      }
      CHECK(graph.constant(graph.node(layer).inputs[3]) != nullptr);
    }
  }
}
