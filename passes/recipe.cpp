// Recipes: strict reading (a key that is unknown or repeated is an error, since a mistyped choice would be silence), and
// writing in one canonical form.
#include "passes/recipe.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <vector>

#include "lib/support/mapped_file.h"
#include "lib/support/nearest_name.h"
#include "lib/support/strict_json.h"
#include "passes/bodies.h"

namespace bevel::passes {
namespace {

using Json = nlohmann::json;

constexpr std::uint64_t kMaxChannels = INT32_MAX;
constexpr std::string_view kPrecisions[] = {"int8", "int4", "float16", "bfloat16", "float8e4m3", "float8e5m2", "float32"};
constexpr std::string_view kActivations[] = {"int8", "uint8", "int16", "dynamic", "float32"};
constexpr std::string_view kNodeActivations[] = {"int16"};
constexpr std::string_view kMatmulForms[] = {"qdq", "nbits"};
constexpr std::string_view kRuntimes[] = {"any", kAvx2Runtime};
constexpr std::string_view kRoundings[] = {"nearest", "second-order"};
constexpr std::string_view kFormat = "bevel-recipe/1";

// An object whose keys are all known.
Status check_keys(const Json& json, const std::string& where, std::span<const std::string_view> known) {
  if (!json.is_object()) return fail_input("{}: found {}, expected an object", where, json.type_name());
  for (const auto& [key, value] : json.items()) {
    bool found = false;
    for (const std::string_view one : known) found = found || one == key;
    if (found) continue;
    std::string list;
    for (const std::string_view one : known) list += fmt::format("{}{}", list.empty() ? "" : ", ", one);
    return fail_input("{}: unknown key '{}'{}; the keys are {}", where, printable(key), suggestion(key, known), list);
  }
  return {};
}

Result<std::string> text_of(const Json& json, const std::string& where) {
  if (!json.is_string()) return fail_input("{}: found {}, expected a string", where, json.type_name());
  return json.get<std::string>();
}

Result<std::string> one_of(const Json& json, const std::string& where, std::span<const std::string_view> words) {
  BEVEL_TRY(std::string text, text_of(json, where));
  if (std::find(words.begin(), words.end(), text) != words.end()) return text;
  std::string list;
  for (std::size_t i = 0; i < words.size(); ++i)
    list += fmt::format("{}'{}'", i == 0 ? "" : i + 1 == words.size() ? " or " : ", ", words[i]);
  return fail_input("{}: found '{}', expected {}", where, printable(text), list);
}

Result<bool> truth_of(const Json& json, const std::string& where) {
  if (!json.is_boolean()) return fail_input("{}: found {}, expected true or false", where, json.type_name());
  return json.get<bool>();
}

Result<std::int64_t> block_size_of(const Json& json, const std::string& where) {
  if (json.is_number_unsigned() && is_block_size(json.get<std::uint64_t>())) return json.get<std::int64_t>();
  return fail_input("{}: found {}, expected 0, 16, 32, 64 or 128", where,
                    printable(json.dump(-1, ' ', true, Json::error_handler_t::replace)));
}

Result<RangeMethod> range_of(const Json& json, const std::string& where) {
  BEVEL_TRY(const std::string text, text_of(json, where));
  auto method = parse_range_method(text);
  if (!method) return located(where, std::move(method).error());
  return *method;
}

Status read_defaults(const Json& json, Recipe& recipe) {
  constexpr std::string_view kKeys[] = {"weights", "activations", "block_size", "matmul_form", "range", "rounding", "runtime",
                                        "equalize", "per_channel"};
  BEVEL_TRY_STATUS(check_keys(json, "defaults", kKeys));
  if (json.contains("weights")) {
    BEVEL_TRY(recipe.precision, one_of(json["weights"], "defaults.weights", kPrecisions));
  }
  if (json.contains("activations")) {
    BEVEL_TRY(recipe.activations, one_of(json["activations"], "defaults.activations", kActivations));
  }
  if (json.contains("range")) {
    BEVEL_TRY(recipe.range, range_of(json["range"], "defaults.range"));
  }
  if (json.contains("block_size")) {
    BEVEL_TRY(recipe.block_size, block_size_of(json["block_size"], "defaults.block_size"));
  }
  if (json.contains("matmul_form")) {
    BEVEL_TRY(recipe.matmul_form, one_of(json["matmul_form"], "defaults.matmul_form", kMatmulForms));
  }
  if (json.contains("rounding")) {
    BEVEL_TRY(recipe.rounding, one_of(json["rounding"], "defaults.rounding", kRoundings));
  }
  if (json.contains("runtime")) {
    BEVEL_TRY(recipe.runtime, one_of(json["runtime"], "defaults.runtime", kRuntimes));
  }
  if (json.contains("equalize")) {
    BEVEL_TRY(recipe.equalize, truth_of(json["equalize"], "defaults.equalize"));
  }
  if (json.contains("per_channel")) {
    BEVEL_TRY(recipe.per_channel, truth_of(json["per_channel"], "defaults.per_channel"));
  }
  return {};
}

Result<NodeChoice> read_choice(const Json& json, const std::string& where) {
  constexpr std::string_view kKeys[] = {"precision", "range", "activations", "sparsity", "kept_channels"};
  BEVEL_TRY_STATUS(check_keys(json, where, kKeys));
  NodeChoice choice;
  if (json.contains("precision")) {
    BEVEL_TRY(choice.precision, one_of(json["precision"], where + ".precision", kPrecisions));
  }
  if (json.contains("range")) {
    BEVEL_TRY(choice.range, range_of(json["range"], where + ".range"));
  }
  if (json.contains("activations")) {
    BEVEL_TRY(choice.activations, one_of(json["activations"], where + ".activations", kNodeActivations));
  }
  if (json.contains("sparsity")) {
    const Json& value = json["sparsity"];
    if (!value.is_number() || !(value.get<double>() >= 0 && value.get<double>() < 1)) {
      return fail_input("{}.sparsity: found {}, expected a number in [0, 1)", where, printable(value.dump(-1, ' ', true)));
    }
    choice.sparsity = value.get<double>();
  }
  if (json.contains("kept_channels")) {
    const Json& value = json["kept_channels"];
    if (!value.is_number_unsigned() || value.get<std::uint64_t>() < 1 || value.get<std::uint64_t>() > kMaxChannels) {
      return fail_input("{}.kept_channels: found {}, expected a whole number from 1 to {}", where,
                        printable(value.dump(-1, ' ', true, Json::error_handler_t::replace)), kMaxChannels);
    }
    choice.kept_channels = value.get<std::int64_t>();
  }
  return choice;
}

Result<Recipe> read(const Json& json) {
  constexpr std::string_view kKeys[] = {"format", "defaults", "nodes"};
  BEVEL_TRY_STATUS(check_keys(json, "the recipe", kKeys));
  if (!json.contains("format")) return fail_input("key 'format' is missing; expected \"format\": \"{}\"", kFormat);
  BEVEL_TRY(const std::string format, text_of(json["format"], "format"));
  if (format != kFormat) return fail_input("format: found '{}', expected '{}'", printable(format), kFormat);
  Recipe recipe;
  if (json.contains("defaults")) BEVEL_TRY_STATUS(read_defaults(json["defaults"], recipe));
  if (json.contains("nodes")) {
    const Json& nodes = json["nodes"];
    if (!nodes.is_object()) return fail_input("nodes: found {}, expected an object", nodes.type_name());
    for (const auto& [name, value] : nodes.items()) {
      BEVEL_TRY(NodeChoice choice, read_choice(value, fmt::format("nodes['{}']", printable(name))));
      recipe.nodes.emplace(name, std::move(choice));
    }
  }
  return recipe;
}

}  // namespace

std::span<const std::string_view> recipe_precisions() { return kPrecisions; }
std::span<const std::string_view> recipe_activations() { return kActivations; }
std::span<const std::string_view> recipe_matmul_forms() { return kMatmulForms; }
std::span<const std::string_view> recipe_runtimes() { return kRuntimes; }

bool is_half(std::string_view precision) { return precision == "float16" || precision == "bfloat16"; }
bool is_float8(std::string_view precision) { return precision == "float8e4m3" || precision == "float8e5m2"; }
bool is_block_size(std::uint64_t size) { return size == 0 || size == 16 || size == 32 || size == 64 || size == 128; }

namespace {

// Whether the default precision, or some node's, is such a one.
template <typename Is>
bool any_precision(const Recipe& recipe, const Is& is) {
  if (is(recipe.precision)) return true;
  return std::any_of(recipe.nodes.begin(), recipe.nodes.end(),
                     [&](const auto& node) { return node.second.precision && is(*node.second.precision); });
}
bool uses(const Recipe& recipe, std::string_view word) {
  return any_precision(recipe, [&](std::string_view precision) { return precision == word; });
}

}  // namespace

bool has_integers(const Recipe& recipe) {
  return any_precision(recipe, [](std::string_view precision) { return precision.starts_with("int"); });
}

Status check_combination(const Recipe& recipe) {
  const auto refuse = [](std::string_view what) { return fail(ExitCode::usage, "the recipe asks for {}.", what); };
  const std::string activations = recipe.activations.value_or("");
  if (uses(recipe, "float16") && uses(recipe, "bfloat16"))
    return refuse("both float16 and bfloat16, and a model computes in one of them: choose one");
  if (!activations.empty() && activations != "float32" && !has_integers(recipe) && any_precision(recipe, is_half))
    return refuse(fmt::format("{} activations without integer weights: leave the activations out, they are {} as the weights are",
                              activations, recipe.precision));
  if (any_precision(recipe, is_float8)) {
    if (has_integers(recipe) || any_precision(recipe, is_half))
      return refuse("float8 beside integers or half precision in one model: float8 and float32 go together");
    if (!activations.empty() && activations != "float32")
      return refuse(fmt::format("{} activations with float8 weights: leave the activations out, they are float8 as the weights are, or say float32",
                                activations));
    if (recipe.rounding == "second-order")
      return refuse("second-order rounding with float8 weights, which are rounded to nearest: leave the rounding out");
  }
  if (recipe.block_size != 0 && !uses(recipe, "int4"))
    return refuse(fmt::format("blocks of {} without int4 weights, which alone have them: add weights int4", recipe.block_size));
  if (recipe.matmul_form == "nbits" && (!uses(recipe, "int4") || recipe.block_size == 0 || activations != "float32"))
    return refuse("the form nbits without int4 weights in blocks beside float32 activations, which alone have it: add weights int4, a block "
                  "size and activations float32");
  if (activations == "dynamic" && uses(recipe, "int4"))
    return refuse("int4 weights with dynamic activations, and ONNX's integer products take 8 bits: choose int8 weights");
  const bool wide = std::any_of(recipe.nodes.begin(), recipe.nodes.end(), [](const auto& node) { return node.second.activations.has_value(); });
  if (wide && (activations == "float32" || activations == "dynamic"))
    return refuse(fmt::format("int16 activations of single nodes beside {} activations: they go with int8 or uint8 ones", activations));
  if (recipe.rounding == "second-order" && activations == "dynamic")
    return refuse("second-order rounding with dynamic activations, whose weights are rounded to nearest: leave the rounding out");
  if (recipe.rounding == "second-order" && !has_integers(recipe) && any_precision(recipe, is_half))
    return refuse("second-order rounding without integer weights: leave the rounding out");
  return {};
}

bool needs_calibration(const Recipe& recipe) {
  return recipe.activations != "float32" && recipe.activations != "dynamic" && (has_integers(recipe) || any_precision(recipe, is_float8));
}

std::int64_t least_opset(const Recipe& recipe) {
  constexpr std::int64_t kPerAxis = 13, kSmallIntegers = 21, kBfloat16 = 22;
  if (uses(recipe, "bfloat16")) return kBfloat16;
  const bool wide = std::any_of(recipe.nodes.begin(), recipe.nodes.end(), [](const auto& node) { return node.second.activations == "int16"; });
  return uses(recipe, "int4") || recipe.activations == "int16" || wide || any_precision(recipe, is_float8) ? kSmallIntegers : kPerAxis;
}

std::string only_in_onnx(const Recipe& recipe) {
  for (const std::string_view half : {"float16", "bfloat16"})
    if (uses(recipe, half)) return fmt::format("{} arithmetic", half);
  for (const std::string_view narrow : {"float8e4m3", "float8e5m2"})
    if (uses(recipe, narrow)) return fmt::format("{} weights", narrow);
  if (recipe.activations == "dynamic") return "dynamic quantization";
  if (recipe.matmul_form == "nbits") return "MatMulNBits";
  return "";
}

Result<Recipe> parse_recipe(std::string_view json, const std::string& source_name) {
  BEVEL_TRY(const Json parsed, parse_strict_json(json, printable(source_name)));
  auto recipe = read(parsed);
  if (!recipe) return located(printable(source_name), std::move(recipe).error());
  return recipe;
}

Result<Recipe> read_recipe(const std::filesystem::path& path) {
  BEVEL_TRY(const auto file, MappedFile::open(path));
  const auto bytes = file->bytes();
  return parse_recipe({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, path.string());
}

std::string to_json(const Recipe& recipe) {
  Json json;  // keys come out sorted
  json["format"] = kFormat;
  json["defaults"] = {{"weights", recipe.precision},
                      {"range", to_string(recipe.range)},
                      {"equalize", recipe.equalize},
                      {"per_channel", recipe.per_channel}};
  if (recipe.rounding) json["defaults"]["rounding"] = *recipe.rounding;
  if (recipe.runtime) json["defaults"]["runtime"] = *recipe.runtime;
  if (recipe.block_size != 0) json["defaults"]["block_size"] = recipe.block_size;
  if (recipe.matmul_form != "qdq") json["defaults"]["matmul_form"] = recipe.matmul_form;
  if (recipe.activations) json["defaults"]["activations"] = *recipe.activations;
  json["nodes"] = Json::object();
  for (const auto& [name, choice] : recipe.nodes) {
    Json one = Json::object();
    if (choice.precision) one["precision"] = *choice.precision;
    if (choice.range) one["range"] = to_string(*choice.range);
    if (choice.activations) one["activations"] = *choice.activations;
    if (choice.sparsity) one["sparsity"] = *choice.sparsity;
    if (choice.kept_channels) one["kept_channels"] = *choice.kept_channels;
    json["nodes"][name] = std::move(one);
  }
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

Status check_recipe(const Recipe& recipe, const Graph& graph) {
  for (const auto& [name, choice] : recipe.nodes) {
    std::vector<std::string_view> names;
    for_each_node(graph, [&](const Node& node) { names.push_back(node.name); });
    if (std::find(names.begin(), names.end(), name) == names.end()) {
      return fail_input("recipe: the model has no node named '{}'{}", printable(name), suggestion(name, names));
    }
    if (choice.sparsity && *choice.sparsity > 0) {
      return fail_input("recipe: nodes['{}'].sparsity is {}; sparsity is not supported yet", printable(name),
                        *choice.sparsity);
    }
    if (choice.kept_channels) {
      return fail_input("recipe: nodes['{}'].kept_channels is {}; removing channels is not supported yet", printable(name),
                        *choice.kept_channels);
    }
  }
  return {};
}

}  // namespace bevel::passes
