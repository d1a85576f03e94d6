#include "lib/driver/recipe_choice.h"

#include <fstream>
#include <nlohmann/json.hpp>

#include "passes/ranges.h"

namespace bevel::driver {

namespace {

// Whether a recipe (already read and found sound) says anything of the activations' dtype. A Recipe cannot tell "int8" from
// "not said", and a recipe about two nodes must not take the target's dtype away.
bool states_activations(const std::filesystem::path& path) {
  std::ifstream stream(path);
  const nlohmann::json json = nlohmann::json::parse(stream, nullptr, /*allow_exceptions=*/false);
  return json.is_object() && json.contains("defaults") && json["defaults"].is_object() && json["defaults"].contains("activations");
}

}  // namespace

Result<passes::Recipe> choose_recipe(const RecipeFlags& flags, const std::string& default_activations, const Graph& graph) {
  passes::Recipe recipe;
  recipe.activations = default_activations;
  if (flags.recipe) {
    BEVEL_TRY(recipe, passes::read_recipe(*flags.recipe));
    auto known = passes::check_recipe(recipe, graph);
    if (!known) return located(printable(flags.recipe->string()), std::move(known).error());
    if (!states_activations(*flags.recipe)) recipe.activations = default_activations;
  }
  if (flags.activations) {
    if (*flags.activations != "int8" && *flags.activations != "uint8")
      return fail(ExitCode::usage, "--activations '{}': expected int8 or uint8.", printable(*flags.activations));
    recipe.activations = *flags.activations;
  }
  if (flags.range) {
    auto range = passes::parse_range_method(*flags.range);
    if (!range) return fail(ExitCode::usage, "--range: {}", range.error().message);
    recipe.range = *range;
  }
  for (const std::string& name : flags.keep_float) {
    if (graph.find_node(name).valid()) {
      recipe.nodes[name].precision = "float32";
      continue;
    }
    bool found = false;
    for (const NodeId id : graph.node_order())
      if (graph.node(id).op_type == name) {
        recipe.nodes[graph.node(id).name].precision = "float32";
        found = true;
      }
    if (!found)
      return fail(ExitCode::usage,
                  "--keep-float '{}': the simplified model has no node of that name and no operator of that type; "
                  "`bevel inspect` lists both.",
                  printable(name));
  }
  return recipe;
}

}  // namespace bevel::driver
