// From flags, target and a recipe file to the one recipe that the passes see, and that is written as recipe.json.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "lib/ir/graph.h"
#include "lib/support/result.h"
#include "passes/recipe.h"

namespace bevel::driver {

struct RecipeFlags {
  std::optional<std::filesystem::path> recipe;
  std::optional<std::string> preset;       // instead of a recipe; presets.h
  std::optional<std::string> precision;    // "auto": searched, precision_search.h
  std::vector<std::string> keep_float;     // node names, or op types
  std::optional<std::string> range;        // "minmax", ...
  std::optional<std::string> activations;  // as in the recipe
  std::optional<std::string> weights;      // as in the recipe: "int8", "int4", "float16", ...
  std::optional<std::size_t> block_size;   // as in the recipe
  std::optional<std::string> matmul_form;  // as in the recipe
  std::optional<std::string> runtime;      // as in the recipe
};

// Whether flags or preset ask for a search for formats (precision_search.h).
bool searches_precision(const RecipeFlags& flags);

// `default_activations`: the target's, where neither flag nor recipe states one. Flags go over the recipe file or preset. `model` is the simplified one,
// whose node names recipes speak of, its types inferred. Exit 2 for a wrong flag, 5 for a wrong recipe.
Result<passes::Recipe> choose_recipe(const RecipeFlags& flags, const std::string& default_activations, const Model& model);

}  // namespace bevel::driver
