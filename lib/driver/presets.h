// Presets: names for recipes. What a preset chooses for single nodes it writes into the recipe, like everybody else.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "lib/ir/graph.h"
#include "lib/support/result.h"
#include "passes/recipe.h"

namespace bevel::driver {

struct Preset {
  std::string_view name, summary;
};
std::span<const Preset> presets();
constexpr std::string_view kDefaultPreset = "balanced";
// Exit 2 for a name that is none. `model` is the simplified one, its types inferred.
Result<passes::Recipe> recipe_of_preset(std::string_view name, const Model& model);

}  // namespace bevel::driver
