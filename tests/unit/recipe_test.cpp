// Recipes: what is written reads back; what is wrong is refused with exit code 5 and says where.
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>

#include "lib/driver/recipe_choice.h"
#include "lib/ir/text.h"
#include "passes/recipe.h"

using namespace bevel;
using namespace bevel::passes;

namespace {

std::string refused(const std::string& json) {
  const auto recipe = parse_recipe(json, "r.json");
  REQUIRE_FALSE(recipe.has_value());
  CHECK(recipe.error().code == ExitCode::input);
  CHECK(recipe.error().message.starts_with("r.json: "));
  return recipe.error().message;
}

bool has(const std::string& text, const char* part) {
  UNSCOPED_INFO(text);
  return text.find(part) != std::string::npos;
}

const char* const kFull = R"({ "format": "bevel-recipe/1",
  "defaults": { "weights": "float32", "activations": "uint8", "range": "percentile:99.9", "per_channel": false, "block_size": 32,
                "rounding": "nearest", "equalize": false },
  "nodes": { "conv1": { "precision": "float32", "activations": "int16" }, "fc/1": { "range": "minmax", "sparsity": 0.5, "kept_channels": 12, "precision": "int8" } } })";

}  // namespace

TEST_CASE("a recipe reads, writes, and reads back the same") {
  const auto recipe = parse_recipe(kFull, "r.json");
  INFO((recipe ? "" : recipe.error().message));
  REQUIRE(recipe.has_value());
  CHECK(recipe->precision == "float32");
  CHECK(recipe->activations == "uint8");
  CHECK(recipe->range.kind == RangeMethod::Kind::percentile);
  CHECK(recipe->range.percentile == 99.9);
  CHECK_FALSE(recipe->per_channel);
  CHECK(recipe->block_size == 32);
  CHECK(recipe->rounding == "nearest");
  CHECK_FALSE(recipe->equalize);
  REQUIRE(recipe->nodes.size() == 2);
  CHECK(recipe->nodes.at("conv1").precision == "float32");
  CHECK(recipe->nodes.at("conv1").activations == "int16");
  CHECK(recipe->nodes.at("fc/1").sparsity == 0.5);
  CHECK(recipe->nodes.at("fc/1").kept_channels == 12);
  CHECK(recipe->nodes.at("fc/1").range->kind == RangeMethod::Kind::minmax);
  const std::string json = to_json(*recipe);
  CHECK(json.back() == '\n');
  const auto again = parse_recipe(json, "again");
  REQUIRE(again.has_value());
  CHECK(*again == *recipe);
  CHECK(to_json(*again) == json);
}

TEST_CASE("defaults stand for what is left out") {
  const auto recipe = parse_recipe(R"({"format": "bevel-recipe/1"})", "r.json");
  REQUIRE(recipe.has_value());
  CHECK(*recipe == Recipe());
  CHECK(*parse_recipe(to_json(Recipe()), "r.json") == Recipe());
  CHECK_FALSE(recipe->activations.has_value());  // the target's to choose
}

TEST_CASE("wrong recipes are refused") {
  CHECK(has(refused(""), "not JSON"));
  CHECK(has(refused("{"), "not JSON"));
  CHECK(has(refused("[]"), "found array, expected an object"));
  CHECK(has(refused("{}"), "key 'format' is missing"));
  CHECK(has(refused(R"({"format": "bevel-recipe/2"})"), "found 'bevel-recipe/2', expected 'bevel-recipe/1'"));
  CHECK(has(refused(R"({"format": 1})"), "format: found number, expected a string"));
  CHECK(has(refused(R"({"format": "bevel-recipe/1", "default": {}})"), "unknown key 'default' (did you mean 'defaults'?)"));
  CHECK(has(refused(R"({"format": "bevel-recipe/1", "defaults": {"weight": "int8"}})"), "(did you mean 'weights'?)"));
  CHECK(has(refused(R"({"format": "bevel-recipe/1", "defaults": {"weights": "int5"}})"),
            "defaults.weights: found 'int5', expected 'int8', 'int4', 'float16', 'bfloat16', 'float8e4m3', 'float8e5m2' or 'float32'"));
  CHECK(has(refused(R"({"format": "bevel-recipe/1", "defaults": {"range": "median"}})"), "defaults.range: "));
  CHECK(has(refused(R"({"format": "bevel-recipe/1", "defaults": {"block_size": 48}})"), "defaults.block_size: found 48, expected"));
  CHECK(has(refused(R"({"format": "bevel-recipe/1", "defaults": {"per_channel": 1}})"), "expected true or false"));
  CHECK(has(refused(R"({"format": "bevel-recipe/1", "nodes": {"a": {"sparsity": 1}}})"), "nodes['a'].sparsity: found 1"));
  for (const char* wrong : {"0", "-3", "2.5", "\"all\"", "3000000000"}) {
    CHECK(has(refused(std::string(R"({"format": "bevel-recipe/1", "nodes": {"a": {"kept_channels": )") + wrong + "}}}"),
              "nodes['a'].kept_channels: found "));
  }
  CHECK(has(refused(R"({"format": "bevel-recipe/1", "nodes": {"a": {"precision": "int8"}, "a": {}}})"),
            "key \"a\" appears twice"));
  CHECK(has(refused(R"({"format": "bevel-recipe/1", "nodes": {"a": []}})"), "nodes['a']: found array"));
  CHECK(has(refused(R"({"format": "bevel-recipe/1", "nodes": {"a": {"activations": "uint8"}}})"), "nodes['a'].activations: found 'uint8', expected 'int16'"));
  std::string deep;
  for (int i = 0; i < 200000; ++i) deep += "[";
  CHECK(has(refused(deep), "not JSON"));
  CHECK(has(refused(deep + std::string(200000, ']')), "nested deeper than"));
  CHECK_FALSE(read_recipe("/nonexistent/recipe.json").has_value());
}

TEST_CASE("choices that exclude each other are refused; what needs no calibration, and what is for ONNX alone, is known") {
  const auto defaults = [](const std::string& text) {
    const auto recipe = parse_recipe(R"({"format": "bevel-recipe/1", "defaults": {)" + text + "}}", "r.json");
    REQUIRE(recipe.has_value());
    CHECK(*parse_recipe(to_json(*recipe), "again") == *recipe);
    return *recipe;
  };
  const auto refusal = [](const Recipe& recipe) {
    const auto status = check_combination(recipe);
    REQUIRE_FALSE(status.has_value());
    CHECK(status.error().code == ExitCode::usage);
    return status.error().message;
  };
  for (const char* good : {"", R"("weights": "float16")", R"("weights": "bfloat16", "activations": "float32")",
                           R"("weights": "int4", "block_size": 32, "activations": "float32")", R"("activations": "dynamic")"})
    CHECK(check_combination(defaults(good)).has_value());
  CHECK(has(refusal(defaults(R"("weights": "float16", "activations": "uint8")")), "uint8 activations without integer weights"));
  CHECK(has(refusal(defaults(R"("block_size": 32)")), "blocks of 32 without int4 weights"));
  CHECK(has(refusal(defaults(R"("weights": "int4", "activations": "dynamic")")), "int4 weights with dynamic activations"));
  CHECK(has(refusal(defaults(R"("rounding": "second-order", "activations": "dynamic")")), "rounded to nearest"));
  CHECK(has(refusal(defaults(R"("rounding": "second-order", "weights": "float16")")), "without integer weights"));
  CHECK(has(refusal(defaults(R"("weights": "int4", "matmul_form": "nbits", "activations": "float32")")), "the form nbits without"));
  for (const char* other : {"float32", "dynamic"}) {
    Recipe wide = defaults(fmt::format(R"("activations": "{}")", other));
    wide.nodes["a"].activations = "int16";
    CHECK(has(refusal(wide), "int16 activations of single nodes beside"));
    wide.activations = "uint8";
    CHECK(check_combination(wide).has_value());
  }
  const Recipe nbits = defaults(R"("weights": "int4", "block_size": 32, "matmul_form": "nbits", "activations": "float32")");
  CHECK(check_combination(nbits).has_value());
  CHECK(only_in_onnx(nbits) == "MatMulNBits");
  Recipe both = defaults(R"("weights": "float16")");
  both.nodes["a"].precision = "bfloat16";
  CHECK(has(refusal(both), "both float16 and bfloat16"));
  both.nodes["a"].precision = "int8";  // the rest in float16
  both.activations = "uint8";
  CHECK(check_combination(both).has_value());
  CHECK(needs_calibration(both));
  CHECK(needs_calibration(Recipe()));
  CHECK_FALSE(needs_calibration(defaults(R"("activations": "dynamic")")));
  CHECK_FALSE(needs_calibration(defaults(R"("activations": "float32")")));
  CHECK_FALSE(needs_calibration(defaults(R"("weights": "float16")")));
  CHECK(only_in_onnx(defaults(R"("weights": "bfloat16")")) == "bfloat16 arithmetic");
  CHECK(only_in_onnx(defaults(R"("activations": "dynamic")")) == "dynamic quantization");
  CHECK(only_in_onnx(Recipe()).empty());
}

TEST_CASE("a recipe names nodes that exist") {
  const auto model = parse_text(R"(<ir_version: 8, opset_import: ["" : 13]>
    g (float[2] x) => (float[2] y) { [conv1] a = Relu (x) [fc] y = Relu (a) })");
  REQUIRE(model.has_value());
  Recipe recipe;
  recipe.nodes["conv1"].precision = "float32";
  CHECK(check_recipe(recipe, model->graph).has_value());
  recipe.nodes["conv"].precision = "float32";
  const auto missing = check_recipe(recipe, model->graph);
  REQUIRE_FALSE(missing.has_value());
  CHECK(missing.error().code == ExitCode::input);
  CHECK(has(missing.error().message, "no node named 'conv' (did you mean 'conv1'?)"));
  recipe.nodes.erase("conv");
  recipe.nodes["fc"].sparsity = 0.5;
  const auto sparse = check_recipe(recipe, model->graph);
  REQUIRE_FALSE(sparse.has_value());
  CHECK(has(sparse.error().message, "nodes['fc'].sparsity is 0.5; sparsity is not supported yet"));
  recipe.nodes["fc"] = {};
  recipe.nodes["fc"].kept_channels = 3;
  const auto narrow = check_recipe(recipe, model->graph);
  REQUIRE_FALSE(narrow.has_value());
  CHECK(narrow.error().code == ExitCode::input);
  CHECK(has(narrow.error().message, "nodes['fc'].kept_channels is 3; removing channels is not supported yet"));
}

TEST_CASE("activations: a flag, then the recipe, then the target's default") {
  const auto model = parse_text(R"(<ir_version: 8, opset_import: ["" : 13]>
    g (float[2] x) => (float[2] y) { [fc] y = Relu (x) })");
  REQUIRE(model.has_value());
  const auto path = std::filesystem::temp_directory_path() / fmt::format("bevel_recipe_test_{}.json", getpid());
  const auto chosen = [&](const std::string& defaults, const driver::RecipeFlags& given) {
    std::ofstream(path) << R"({"format": "bevel-recipe/1", "defaults": )" << defaults << "}";
    driver::RecipeFlags flags = given;
    flags.recipe = path;
    const auto recipe = driver::choose_recipe(flags, "uint8", *model);
    INFO((recipe ? "" : recipe.error().message));
    REQUIRE(recipe.has_value());
    return recipe->activations.value_or("none");
  };
  CHECK(chosen("{}", {}) == "uint8");
  CHECK(chosen(R"({"activations": "int8"})", {}) == "int8");
  driver::RecipeFlags flags;
  flags.activations = "uint8";
  CHECK(chosen(R"({"activations": "int8"})", flags) == "uint8");
  std::filesystem::remove(path);
}

TEST_CASE("the runtime that integers must be safe in is read, written and refused when unknown") {
  const auto recipe = parse_recipe(R"({"format": "bevel-recipe/1", "defaults": {"runtime": "onnxruntime-avx2"}})", "r.json");
  REQUIRE(recipe);
  CHECK(recipe->runtime == std::string(kAvx2Runtime));
  const auto again = parse_recipe(to_json(*recipe), "r.json");
  REQUIRE(again);
  CHECK(*again == *recipe);
  CHECK(to_json(Recipe()).find("runtime") == std::string::npos);
  const auto wrong = parse_recipe(R"({"format": "bevel-recipe/1", "defaults": {"runtime": "onnxruntime-avx512"}})", "r.json");
  REQUIRE_FALSE(wrong);
  CHECK(wrong.error().message.find("defaults.runtime: found 'onnxruntime-avx512', expected 'any' or 'onnxruntime-avx2'") != std::string::npos);
}
