// explain on nets with planted faults, each of which must be named: real quantization, real runs.
#include <catch2/catch.hpp>

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "calibration/calibration.h"
#include "lib/driver/explain.h"
#include "lib/driver/explain_causes.h"
#include "lib/driver/explain_fixes.h"
#include "lib/driver/output_distance.h"
#include "lib/driver/quantize_leg.h"
#include "lib/eval/evaluator.h"
#include "lib/ir/text.h"
#include "lib/ops/op.h"
#include "lib/ops/qoperator.h"
#include "lib/report/report.h"
#include "lib/support/random.h"

using namespace bevel;
using namespace bevel::driver;

namespace {

// float[1,4,6,6], uniform in [-1, 1); channel 0 is 0 but for a rare 1.
class Images final : public data::Dataset {
 public:
  explicit Images(std::size_t count) : count_(count) {}
  [[nodiscard]] std::size_t size() const override { return count_; }
  [[nodiscard]] Result<std::vector<Tensor>> sample(std::size_t index) const override {
    Random random(index);
    std::vector<float> values;
    for (int i = 0; i < 36; ++i) values.push_back(random.below(150) == 0 ? 1.0f : 0.0f);
    for (int i = 0; i < 3 * 36; ++i) values.push_back(random.uniform(-1, 1));
    return std::vector<Tensor>{Tensor::of<float>({1, 4, 6, 6}, values)};
  }
  [[nodiscard]] std::optional<std::int64_t> label(std::size_t) const override { return {}; }
  [[nodiscard]] bool has_labels() const override { return false; }
  [[nodiscard]] std::string metric() const override { return ""; }
  [[nodiscard]] std::string content_hash() const override { return ""; }

 private:
  std::size_t count_;
};

constexpr const char* kTwoLayers = R"(<ir_version: 8, opset_import: ["" : 13]>
"main" (float[N,4,6,6] x) => (float[N,3,6,6] out)
<float[8,4,1,1] w1 = random(1), float[8] b1 = random(2), float[3,8,3,3] w2 = random(3)>
{
  ["first"] y = Conv (x, w1, b1)
  ["relu"] z = Relu (y)
  ["second"] out = Conv <pads = [1, 1, 1, 1]> (z, w2)
}
)";

constexpr const char* kThreeLayers = R"(<ir_version: 8, opset_import: ["" : 13]>
"main" (float[N,4,6,6] x) => (float[N,5,6,6] out)
<float[8,4,1,1] w1 = random(1), float[8] b1 = random(2), float[3,8,3,3] w2 = random(3), float[5,3,1,1] w3 = random(4)>
{
  ["first"] y = Conv (x, w1, b1)
  ["relu"] z = Relu (y)
  ["second"] a = Conv <pads = [1, 1, 1, 1]> (z, w2)
  ["third"] out = Conv (a, w3)
}
)";

constexpr const char* kBranches = R"(<ir_version: 8, opset_import: ["" : 13]>
"main" (float[N,4,6,6] x) => (float[N,3,6,6] out)
<float[4,4,1,1] wn = random(1), float[4,4,1,1] ww = random(2), float[3,8,1,1] w2 = random(3)>
{
  ["narrow"] n = Conv (x, wn)
  ["wide"] w = Conv (x, ww)
  ["join"] j = Concat <axis = 1> (n, w)
  ["last"] out = Conv (j, w2)
}
)";

Model parsed(const char* text) {
  auto model = parse_text(text);
  INFO((model ? "" : model.error().message));
  REQUIRE(model);
  REQUIRE(ops::infer_types(*model));
  return std::move(*model);
}

// Multiplies the weights of output channels [first, last).
void scale_channels(Model& model, const char* name, std::int64_t first, std::int64_t last, float factor) {
  const ValueId id = model.graph.find_value(name);
  Tensor weights = *model.graph.constant(id);
  const std::int64_t per_channel = weights.size() / weights.dim(0);
  const auto values = weights.mutable_values<float>();
  for (std::int64_t i = first * per_channel; i < last * per_channel; ++i) values[static_cast<std::size_t>(i)] *= factor;
  model.graph.set_constant(id, std::move(weights));
}

passes::Recipe plain_recipe() {
  passes::Recipe recipe;
  recipe.range = {passes::RangeMethod::Kind::minmax};
  recipe.rounding = "nearest";
  recipe.equalize = false;
  return recipe;
}

struct Run {
  Model reference, model;
  report::ExplainRecord record;
  const report::ExplainLayer& layer(const std::string& node) const {
    const auto found = std::find_if(record.layers.begin(), record.layers.end(), [&](const auto& row) { return row.node == node; });
    REQUIRE(found != record.layers.end());
    return *found;
  }
};

const report::ExplainCause* cause(const report::ExplainLayer& layer, const std::string& kind) {
  const auto found = std::find_if(layer.causes.begin(), layer.causes.end(), [&](const auto& one) { return one.kind == kind; });
  return found == layer.causes.end() ? nullptr : &*found;
}

Model quantized(const Model& reference, passes::Recipe recipe, const Images& images) {
  WorkerPool pool(2);
  const auto measure = calibration::measure_by_running(images, pool);
  Model model = reference;
  const auto made = quantize_model(model, recipe, measure.get());
  INFO((made ? "" : made.error().message));
  REQUIRE(made);
  REQUIRE(ops::infer_types(model));
  return model;
}

// `recipe`: absent for a model of somebody else's making.
Run explained(Model reference, Model model, const std::optional<passes::Recipe>& recipe, std::size_t samples = 32, unsigned threads = 2,
              std::size_t worst = 0) {
  const Images images(samples);
  WorkerPool pool(threads);
  const auto measure = calibration::measure_by_running(images, pool);
  Run run{std::move(reference), std::move(model), {}};
  Explained input;
  input.reference = &run.reference;
  input.model = &run.model;
  input.calibration = input.judge = measure.get();
  input.recipe = recipe ? &*recipe : nullptr;
  input.worst = worst;
  const auto status = explain_layers(input, run.record);
  INFO((status ? "" : status.error().message));
  REQUIRE(status);
  return run;
}

Run explained(const Model& reference, const passes::Recipe& recipe, std::size_t samples = 32, unsigned threads = 2, std::size_t worst = 0) {
  return explained(reference, quantized(reference, recipe, Images(samples)), recipe, samples, threads, worst);
}

}  // namespace

TEST_CASE("a layer that reads the inputs errs alone as it errs in the net, and layers are ranked by what they cost") {
  const Run run = explained(parsed(kTwoLayers), plain_recipe());
  REQUIRE(run.record.layers.size() == 2);
  const auto& first = run.layer("first");
  CHECK(first.value == "z");  // behind the clamp that its rounding implies
  CHECK(first.matched_by == "name");
  CHECK(first.alone_db == first.accumulated_db);
  CHECK(first.alone_db > 30);
  CHECK(first.alone_low_db <= first.alone_db);
  CHECK(first.alone_high_db >= first.alone_db);
  const auto& second = run.layer("second");
  CHECK(second.alone_db > second.accumulated_db - 0.5);
  REQUIRE(first.weights_db);
  CHECK(*first.weights_db > first.alone_db);
  REQUIRE(first.contribution_db);
  CHECK(*first.contribution_db > 0);
  CHECK(*run.record.layers[0].contribution_db >= *run.record.layers[1].contribution_db);
  CHECK(run.record.outputs_db == Approx(second.accumulated_db));
}

TEST_CASE("a planted outlier channel is named, with what it stretches") {
  Model reference = parsed(kTwoLayers);
  Tensor weights = *reference.graph.constant(reference.graph.find_value("w1"));
  for (int i = 0; i < 4; ++i) weights.mutable_values<float>()[static_cast<std::size_t>(5 * 4 + i)] = i == 0 ? 40.0f : 0.0f;  // of the rare input
  reference.graph.set_constant(reference.graph.find_value("w1"), std::move(weights));
  const Run run = explained(reference, plain_recipe());
  const auto& layer = run.layer("first");
  REQUIRE(!layer.causes.empty());
  const auto& found = layer.causes[0];
  INFO(found.text);
  CHECK(found.kind == "range-outlier");
  CHECK(found.figures.at("channel") == 5);
  CHECK(found.figures.at("sigmas") > 6);
  CHECK(found.figures.at("stretched") > 0.8);
  CHECK(found.text.find("channel 5 of its result") != std::string::npos);
}

TEST_CASE("a planted spread of channels is told from an outlier") {
  Model reference = parsed(kTwoLayers);
  scale_channels(reference, "w1", 0, 3, 40);
  scale_channels(reference, "b1", 0, 3, 40);
  const Run run = explained(reference, plain_recipe());
  const auto* found = cause(run.layer("first"), "channel-spread");
  REQUIRE(found != nullptr);
  CHECK(found->figures.at("ratio") > 15);
}

TEST_CASE("a scale that is shared with a wider branch is named, and the branch") {
  Model reference = parsed(kBranches);
  scale_channels(reference, "ww", 0, 4, 25);
  const Run run = explained(reference, plain_recipe());
  const auto& found = run.layer("narrow").causes.at(0);
  INFO(found.text);
  CHECK(found.kind == "shared-scale");
  CHECK(found.text.find("the wider branch \"w\"") != std::string::npos);
  CHECK(found.figures.at("bits_lost") > 3);
  CHECK(cause(run.layer("wide"), "shared-scale") == nullptr);
}

TEST_CASE("planted dead channels are counted") {
  Model reference = parsed(kTwoLayers);
  for (const char* name : {"w1", "b1"}) {
    scale_channels(reference, name, 2, 3, 0);
    scale_channels(reference, name, 6, 7, 0);
  }
  const Run run = explained(reference, plain_recipe());
  const auto* found = cause(run.layer("first"), "dead-channels");
  REQUIRE(found != nullptr);
  CHECK(found->figures.at("count") == 2);
  CHECK(found->text.find("(2, 6)") != std::string::npos);
  CHECK(cause(run.layer("second"), "dead-channels") == nullptr);
}

TEST_CASE("a clipped range is named, what follows is told to inherit it, and the recipe line that mends it gains what it says") {
  const Model reference = parsed(kThreeLayers);
  passes::Recipe recipe = plain_recipe();
  recipe.nodes["relu"].range = passes::RangeMethod{passes::RangeMethod::Kind::percentile, 90};
  const Run run = explained(reference, recipe, 32, 2, 2);
  const auto& layer = run.layer("first");
  INFO(layer.causes.at(0).text);
  CHECK(layer.causes[0].kind == "clipped");
  CHECK(layer.causes[0].figures.at("fraction") > 0.02);
  CHECK(layer.causes[0].figures.at("error_share") > 0.9);
  CHECK(run.layer("second").causes.at(0).text.find("its input \"z\"") != std::string::npos);
  CHECK(run.layer("third").causes.at(0).kind == "accumulated");
  CHECK(run.layer("third").alone_db > run.layer("third").accumulated_db + 10);
  CHECK(run.record.layers[0].node == "first");
  REQUIRE(!layer.fixes.empty());
  CHECK(layer.fixes[0].node == "relu");
  CHECK(layer.fixes[0].key == "range");
  CHECK(layer.fixes[0].measured_by == "requantized");
  CHECK(layer.fixes[0].gain_db > 6);
  REQUIRE(run.record.recipe_gain_db);
  auto mended = passes::parse_recipe(run.record.recipe, "it");
  REQUIRE(mended);
  const Images images(32);
  WorkerPool pool(1);
  const auto measure = calibration::measure_by_running(images, pool);
  const auto before = output_error(*measure, reference, quantized(reference, recipe, images));
  const auto after = output_error(*measure, reference, quantized(reference, *mended, images));
  REQUIRE(before);
  REQUIRE(after);
  CHECK(decibels_of(*after) - decibels_of(*before) == Approx(*run.record.recipe_gain_db));
}

TEST_CASE("the recipe that is printed gives the gain that is printed, equalization and second-order rounding included") {
  const std::filesystem::path data = std::filesystem::path(BEVEL_SOURCE_DIR) / "testdata" / "fashion";
  const std::filesystem::path folder = std::filesystem::temp_directory_path() / fmt::format("bevel_explain_test_{}", ::getpid());
  std::filesystem::create_directories(folder);
  const auto explained_by = [&](const std::string& recipe, std::size_t worst) {
    const std::filesystem::path path = folder / "recipe.json";
    std::ofstream(path) << recipe;
    ExplainRequest request;
    request.model = data / "model.onnx";
    request.calibration = data / "calib.json";
    request.max_samples = 12;
    request.recipe.recipe = path;
    request.worst = worst;
    request.threads = 2;
    auto record = explain(request);
    INFO((record ? "" : record.error().message));
    REQUIRE(record);
    return std::move(*record);
  };
  const auto before = explained_by(R"({"format": "bevel-recipe/1", "nodes": {"/features/features.2/Clip": {"range": "percentile:60"}}})", 1);
  REQUIRE(before.recipe_gain_db);
  CHECK(*before.recipe_gain_db > 1);
  REQUIRE_FALSE(before.recipe_lines.empty());
  const auto recipe = passes::parse_recipe(before.recipe, "printed");
  REQUIRE(recipe);
  CHECK(recipe->equalize);
  CHECK(recipe->rounding == "second-order");
  const auto after = explained_by(before.recipe, 0);
  CHECK(after.outputs_db - before.outputs_db == Approx(*before.recipe_gain_db).margin(0.01));
  std::filesystem::remove_all(folder);
}

TEST_CASE("weights of four bits are named, and eight bits are the line that helps or float is") {
  passes::Recipe recipe = plain_recipe();
  recipe.precision = "int4";
  const Model reference = parsed(kTwoLayers);
  Model model = quantized(reference, recipe, Images(32));
  Model lifted = reference;
  lifted.set_opset("", model.opset());
  const Run run = explained(std::move(lifted), std::move(model), recipe, 32, 2, 1);
  const auto& found = run.layer("second").causes.at(0);
  INFO(found.text);
  CHECK(found.kind == "low-bit-weights");
  CHECK(found.figures.at("bits") == 4);
  const auto& fixes = run.record.layers[0].fixes;
  const auto eight = std::find_if(fixes.begin(), fixes.end(), [](const auto& fix) { return fix.value == "int8"; });
  REQUIRE(eight != fixes.end());
  CHECK(eight->gain_db > 1);
}

TEST_CASE("few samples are said to be few") {
  const Run run = explained(parsed(kTwoLayers), plain_recipe(), 2);
  const auto* found = cause(run.layer("first"), "too-few-samples");
  REQUIRE(found != nullptr);
  CHECK(found->figures.at("samples") == 2);
  CHECK(cause(explained(parsed(kTwoLayers), plain_recipe(), 64).layer("first"), "too-few-samples") == nullptr);
}

TEST_CASE("a model quantized elsewhere is matched by the order of its products where no name is left, and patched") {
  const Model reference = parsed(kTwoLayers);
  passes::Recipe recipe = plain_recipe();
  recipe.nodes["relu"].range = passes::RangeMethod{passes::RangeMethod::Kind::percentile, 90};
  const Model model = quantized(reference, recipe, Images(32));
  const Run named = explained(reference, model, std::nullopt, 32, 2, 2);
  Model renamed = model;
  int number = 0;
  for (const ValueId id : renamed.graph.value_ids()) {
    const Value& value = renamed.graph.value(id);
    if (!value.is_input && value.output_slots == 0) renamed.graph.rename_value(id, fmt::format("value{}", number++));
  }
  for (const NodeId id : renamed.graph.node_order()) renamed.graph.rename_node(id, fmt::format("node{}", number++));
  const Run run = explained(reference, std::move(renamed), std::nullopt, 32, 2, 2);
  REQUIRE(run.record.layers.size() == 2);
  const auto& layer = run.record.layers[0];
  CHECK(layer.value == "z");
  CHECK(layer.matched_by == "position");
  CHECK(layer.alone_db == named.layer("first").alone_db);
  CHECK(layer.contribution_db == named.layer("first").contribution_db);
  CHECK(layer.causes.at(0).kind == "clipped");
  REQUIRE(!layer.fixes.empty());
  CHECK(layer.fixes[0].measured_by == "patched");
  CHECK(layer.fixes[0].gain_db > 6);
  CHECK(!run.record.recipe_gain_db);
}

TEST_CASE("a model whose grids are computed as it runs is compared, and said to have none to change") {
  Model reference = parsed(kTwoLayers);
  passes::Recipe recipe;
  recipe.activations = "dynamic";
  Model model = quantized(reference, recipe, Images(16));
  reference.set_opset("", model.opset());
  const Run run = explained(std::move(reference), std::move(model), std::nullopt, 16, 2, 2);
  REQUIRE_FALSE(run.record.layers.empty());
  for (const auto& layer : run.record.layers) {
    INFO(layer.node);
    CHECK(std::isfinite(layer.alone_db));
    REQUIRE_FALSE(layer.causes.empty());
    CHECK(cause(layer, "clipped") == nullptr);
    for (const auto& fix : layer.fixes) CHECK(fix.key == "precision");
  }
  CHECK_FALSE(run.record.recipe_gain_db);
}

TEST_CASE("nodes of a quantized model without a counterpart are listed") {
  const Model reference = parsed(kTwoLayers);
  Model other = parsed(R"(<ir_version: 8, opset_import: ["" : 13]>
"main" (float[N,4,6,6] x) => (float[N,3,6,6] elsewhere)
<float[3,4,1,1] w = random(3)>
{
  ["only"] elsewhere = Conv (x, w)
}
)");
  Model model = quantized(other, plain_recipe(), Images(8));
  const Run run = explained(reference, std::move(model), std::nullopt, 8);
  CHECK(run.record.layers.empty());
  REQUIRE(run.record.without_counterpart.size() == 1);
  CHECK(run.record.without_counterpart[0].node == "only");
}

TEST_CASE("a quantized model's own float version keeps what its grids clamp") {
  const Model model = quantized(parsed(kTwoLayers), plain_recipe(), Images(32));  // its Relu is gone: the grid implies it
  Model own = model;
  CHECK(passes::strip_roundings(own) == 3);
  REQUIRE(ops::infer_types(own));
  const Run run = explained(std::move(own), model, std::nullopt);
  CHECK(run.record.outputs_db > 30);
  CHECK(run.layer("first").alone_db > 30);
}

TEST_CASE("what explain says does not depend on threads") {
  const Model reference = parsed(kTwoLayers);
  passes::Recipe recipe = plain_recipe();
  recipe.nodes["relu"].range = passes::RangeMethod{passes::RangeMethod::Kind::percentile, 95};
  const std::string one = report::to_json(explained(reference, recipe, 16, 1, 2).record);
  CHECK(one == report::to_json(explained(reference, recipe, 16, 3, 2).record));
  const auto json = nlohmann::json::parse(one);
  CHECK(json["format"] == "bevel-explain/1");
  for (const char* key : {"reference", "calibration", "samples", "outputs", "outputs_sqnr_db", "metric", "layers", "without_counterpart", "stays_float",
                          "recipe_lines", "recipe_gain_db", "recipe", "notes"})
    CHECK(json.contains(key));
  const auto& layer = json["layers"][0];
  for (const char* key : {"node", "op", "value", "matched_by", "sqnr_alone_db", "sqnr_alone_interval_db", "sqnr_accumulated_db", "sqnr_weights_db",
                          "contribution_db", "causes", "fixes"})
    CHECK(layer.contains(key));
  CHECK(layer["causes"][0].contains("figures"));
  CHECK(layer["fixes"][0]["recipe"]["nodes"].size() == 1);
}

TEST_CASE("the bootstrap of equal samples has no width, and the same seed each time") {
  std::vector<data::Difference> equal(10);
  for (auto& one : equal) {
    one.signal = 100;
    one.noise = 1;
  }
  CHECK(bootstrap(equal).low == Approx(20));
  CHECK(bootstrap(equal).high == Approx(20));
  equal[3].noise = 50;
  const SqnrInterval one = bootstrap(equal), two = bootstrap(equal);
  CHECK(one.low == two.low);
  CHECK(one.low < one.high);
}

TEST_CASE("QLinearConv and QLinearMatMul said as nodes give the integers that they gave") {
  Model model = parsed(R"(<ir_version: 8, opset_import: ["" : 13]>
"main" (uint8[1,2,2,2] x) => (uint8[1,2,2,2] "c_quantized", uint8[1,2,2,2] m)
<float[1] sx = {0.05}, uint8[1] zx = {128}, int8[2,2,1,1] w = {50, -7, 3, 90}, float[2] sw = {0.02, 0.01}, int8[2] zw = {0, 0},
 float[1] sy = {0.07}, uint8[1] zy = {100}, int32[2] b = {300, -400}, uint8[2,2] v = {1, 200, 90, 30}, float sv = {0.03}, uint8 zv = {110}>
{
  ["conv"] "c_quantized" = QLinearConv (x, sx, zx, w, sw, zw, sy, zy, b)
  ["product"] m = QLinearMatMul ("c_quantized", sy, zy, v, sv, zv, sy, zy)
}
)");
  const auto run = [](const Model& which) {
    auto evaluator = eval::Evaluator::create(which);
    INFO((evaluator ? "" : evaluator.error().message));
    REQUIRE(evaluator);
    const std::vector<std::uint8_t> values{0, 255, 130, 7, 90, 128, 201, 66};
    const std::vector<Datum> inputs{Tensor::of<std::uint8_t>({1, 2, 2, 2}, values)};
    auto outputs = (*evaluator)->run(inputs);
    INFO((outputs ? "" : outputs.error().message));
    REQUIRE(outputs);
    std::vector<std::vector<std::int64_t>> integers;
    for (const Datum& output : *outputs) integers.push_back(output.tensor()->as_int64s());
    return integers;
  };
  const auto before = run(model);
  REQUIRE(ops::works_on_stored_integers(model, model.graph.find_node("conv")));
  REQUIRE(ops::state_quantization_as_nodes(model));
  CHECK_FALSE(ops::works_on_stored_integers(model, model.graph.find_node("conv")));
  CHECK(model.graph.find_value("c").valid());  // the float value behind c_quantized
  CHECK(run(model) == before);
}
