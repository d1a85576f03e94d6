#include "lib/driver/recipe_choice.h"

#include <algorithm>

#include "lib/driver/presets.h"
#include "passes/bodies.h"
#include "passes/ranges.h"

namespace bevel::driver {

namespace {

bool has_node(const Graph& graph, const std::string& name) {
  bool found = false;
  passes::for_each_node(graph, [&](const Node& node) { found = found || node.name == name; });
  return found;
}

// "Conv,Add" is two, unless a node has that very name.
std::vector<std::string> split_names(const std::vector<std::string>& texts, const Graph& graph) {
  std::vector<std::string> names;
  for (const std::string& text : texts) {
    if (has_node(graph, text)) {
      names.push_back(text);
      continue;
    }
    for (std::size_t at = 0; at <= text.size();) {
      const std::size_t comma = std::min(text.find(',', at), text.size());
      names.push_back(text.substr(at, comma - at));
      at = comma + 1;
    }
  }
  return names;
}

Result<std::string> one_of(const char* flag, const std::string& text, std::span<const std::string_view> words) {
  if (std::find(words.begin(), words.end(), text) != words.end()) return text;
  std::string list;
  for (std::size_t i = 0; i < words.size(); ++i) list += fmt::format("{}{}", i == 0 ? "" : i + 1 == words.size() ? " or " : ", ", words[i]);
  return fail(ExitCode::usage, "{} '{}': expected {}.", flag, printable(text), list);
}

}  // namespace

bool searches_precision(const RecipeFlags& flags) { return flags.precision || flags.preset == "mixed"; }

Result<passes::Recipe> choose_recipe(const RecipeFlags& flags, const std::string& default_activations, const Model& model) {
  const Graph& graph = model.graph;
  if (flags.precision && *flags.precision != "auto") return fail(ExitCode::usage, "--precision '{}': expected auto.", printable(*flags.precision));
  if (flags.recipe && flags.preset) return fail(ExitCode::usage, "--recipe and --preset exclude each other: give one of them.");
  BEVEL_TRY(passes::Recipe recipe, recipe_of_preset(flags.preset.value_or(std::string(kDefaultPreset)), model));
  if (flags.recipe) {
    BEVEL_TRY(recipe, passes::read_recipe(*flags.recipe));
    auto known = passes::check_recipe(recipe, graph);
    if (!known) return located(printable(flags.recipe->string()), std::move(known).error());
  }
  if (flags.activations) {
    BEVEL_TRY(recipe.activations, one_of("--activations", *flags.activations, passes::recipe_activations()));
  }
  if (flags.weights) {
    BEVEL_TRY(recipe.precision, one_of("--weights", *flags.weights, passes::recipe_precisions()));
  }
  if (flags.block_size) {
    if (!passes::is_block_size(*flags.block_size))
      return fail(ExitCode::usage, "--block-size {}: expected 0, 16, 32, 64 or 128.", *flags.block_size);
    recipe.block_size = static_cast<std::int64_t>(*flags.block_size);
  }
  if (flags.matmul_form) {
    BEVEL_TRY(recipe.matmul_form, one_of("--matmul-form", *flags.matmul_form, passes::recipe_matmul_forms()));
  }
  if (flags.runtime) {
    BEVEL_TRY(recipe.runtime, one_of("--runtime", *flags.runtime, passes::recipe_runtimes()));
  }
  const bool integers = passes::has_integers(recipe) || (!passes::is_half(recipe.precision) && !passes::is_float8(recipe.precision));
  if (!recipe.activations && integers) recipe.activations = default_activations;
  if (flags.range) {
    auto range = passes::parse_range_method(*flags.range);
    if (!range) return fail(ExitCode::usage, "--range: {}", range.error().message);
    recipe.range = *range;
  }
  for (const std::string& name : split_names(flags.keep_float, graph)) {
    if (has_node(graph, name)) {
      recipe.nodes[name].precision = "float32";
      continue;
    }
    bool found = false;
    passes::for_each_node(graph, [&](const Node& node) {
      if (node.op_type != name) return;
      recipe.nodes[node.name].precision = "float32";
      found = true;
    });
    if (!found)
      return fail(ExitCode::usage,
                  "--keep-float '{}': the simplified model has no node of that name and no operator of that type; "
                  "`bevel inspect` lists both.",
                  printable(name));
  }
  BEVEL_TRY_STATUS(passes::check_combination(recipe));
  return recipe;
}

}  // namespace bevel::driver
