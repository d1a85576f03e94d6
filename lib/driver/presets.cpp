#include "lib/driver/presets.h"

#include <vector>

#include "lib/ops/facts_derived.h"
#include "lib/ops/op.h"
#include "lib/support/nearest_name.h"

namespace bevel::driver {

namespace {

constexpr Preset kPresets[] = {
    {"fast", "int8, weights rounded to nearest: one pass over the samples"},
    {"balanced", "int8, weights rounded by second moments, channels equalized where that helps: a pass for each layer"},
    {"int4", "as balanced, weights int4; depthwise layers, the first and the last int8"},
    {"mixed", "int4, int8, int16 activations or float for each group of layers, by measurement: the fewest bytes that keep --max-drop"},
};

bool has_weights(const Graph& graph, NodeId id, const ops::Facts& facts) {
  const Node& node = graph.node(id);
  return facts.value.quant == ops::QuantRole::bilinear && node.inputs.size() > 1 && node.inputs[1].valid() &&
         graph.constant(node.inputs[1]) != nullptr;
}

// Layers that 4 bits cost most for what they save: those before and behind all others, and those with few weights per channel.
void keep_delicate_layers(const Model& model, passes::Recipe& recipe) {
  const Graph& graph = model.graph;
  const std::vector<NodeId> order = graph.node_order();
  std::vector<bool> behind(graph.value_capacity(), false), layer(graph.node_capacity(), false);
  std::vector<std::string> delicate;
  for (const NodeId id : order) {
    const Node& node = graph.node(id);
    const ops::Facts facts = ops::facts_of(model, graph, id);
    layer[id.index] = has_weights(graph, id, facts);
    bool follows = false;
    for (const ValueId input : node.inputs) follows = follows || (input.valid() && behind[input.index]);
    if (layer[id.index] && (!follows || ops::is_depthwise(facts.space))) delicate.push_back(node.name);
    for (const ValueId output : node.outputs)
      if (output.valid()) behind[output.index] = follows || layer[id.index];
  }
  std::vector<bool> before(graph.value_capacity(), false);
  for (auto id = order.rbegin(); id != order.rend(); ++id) {
    const Node& node = graph.node(*id);
    bool followed = false;
    for (const ValueId output : node.outputs) followed = followed || (output.valid() && before[output.index]);
    if (layer[id->index] && !followed) delicate.push_back(node.name);
    for (const ValueId input : node.inputs)
      if (input.valid() && (followed || layer[id->index])) before[input.index] = true;
  }
  for (const std::string& name : delicate) recipe.nodes[name].precision = "int8";
}

}  // namespace

std::span<const Preset> presets() { return kPresets; }

Result<passes::Recipe> recipe_of_preset(std::string_view name, const Model& model) {
  passes::Recipe recipe;
  if (name == "fast") {
    recipe.rounding = "nearest";
    recipe.equalize = false;
    return recipe;
  }
  // What mixed searches, it starts from this.
  if (name == "balanced" || name == "mixed") return recipe;
  if (name == "int4") {
    recipe.precision = "int4";
    keep_delicate_layers(model, recipe);
    return recipe;
  }
  std::vector<std::string_view> names;
  std::string list;
  for (const Preset& preset : kPresets) {
    names.push_back(preset.name);
    list += fmt::format("{}{}", list.empty() ? "" : ", ", preset.name);
  }
  return fail(ExitCode::usage, "--preset '{}': expected one of {}{}.", printable(name), list, suggestion(name, names));
}

}  // namespace bevel::driver
