#include "passes/quantize/weight_only.h"

#include <algorithm>
#include <optional>
#include <vector>

#include "lib/ops/facts_derived.h"
#include "lib/ops/op.h"
#include "lib/ops/semantics.h"
#include "passes/quantize/selection.h"
#include "passes/quantize/weights.h"

namespace bevel::passes {
namespace {

// Below, scales and the node itself weigh as much as what is saved.
constexpr std::int64_t kLeastElements = 256;

}  // namespace

bool holds_weights(const Graph& graph, const Node& node, std::size_t operand, const ops::Facts& facts) {
  const ValueId value = node.inputs[operand];
  const Tensor* constant = value.valid() ? graph.constant(value) : nullptr;
  if (constant == nullptr || graph.value(value).is_input || constant->dtype() != DType::float32) return false;
  if (constant->rank() < 2 || constant->size() < kLeastElements || static_cast<int>(operand) == facts.value.bias_operand) return false;
  const auto& carried = facts.value.data_operands;
  switch (facts.space.kind) {
    case ops::OpKind::bilinear:
    case ops::OpKind::opaque:  // recurrent layers whose types are not known; biases, peepholes and first states stay as they are
      return std::find(carried.begin(), carried.end(), static_cast<int>(operand)) != carried.end();
    case ops::OpKind::move: {  // a table: its rows are picked by something computed
      const auto& data = facts.value.data_operands;
      return data.size() == 1 && data[0] == static_cast<int>(operand);
    }
    case ops::OpKind::elementwise:
    case ops::OpKind::reduce: break;
  }
  return false;
}

int weight_scale_axis(const Tensor& weight, std::size_t operand, const ops::Facts& facts) {
  const std::size_t rows = weight.rank() - 2;
  const auto& operands = facts.space.inputs;
  // Gates that are combined to one hidden value are no channels of the result, but rows that are summed one by one.
  const bool gates = operand < operands.size() && operands[operand].axes.size() == weight.rank() &&
                     operands[operand].axes[rows].kind == ops::AxisMap::Kind::factors &&
                     std::any_of(operands[operand].axes[rows].loops.begin(), operands[operand].axes[rows].loops.end(),
                                 [&](int loop) { return facts.space.loops[static_cast<std::size_t>(loop)].reduced; });
  if (facts.space.kind == ops::OpKind::bilinear && !gates) {
    if (const auto axis = ops::channel_axis(facts.space, static_cast<int>(operand))) return *axis;
  }
  return static_cast<int>(rows);
}

namespace {

// Of which two operands are weights of one activation: of the input, and of the state.
bool is_recurrent(const ops::Facts& facts) {
  return facts.value.quant == ops::QuantRole::none && facts.value.data_operands == std::vector<int>{0, 1, 2} &&
         (facts.space.kind == ops::OpKind::bilinear || facts.space.kind == ops::OpKind::opaque);
}

}  // namespace

Result<PassStats> quantize_weights_only(Model& model, const Recipe& recipe, std::string_view keep_float, bool forms_only, WeightsOf whose) {
  Graph& graph = model.graph;
  const std::vector<ops::Facts> facts = all_facts(model);
  BEVEL_TRY(const Selection selection, select_nodes(model, facts, recipe, keep_float));
  ConstantQuantizer constants(graph, forms_only);
  PassStats stats;
  for (const NodeId id : graph.node_order()) {
    const std::vector<ValueId> inputs = graph.node(id).inputs;
    if (ops::is_quantization(graph.node(id)) || selection.kept_float(id)) continue;
    if (whose == WeightsOf::recurrent_layers && !is_recurrent(facts[id.index])) continue;
    const WeightFormat format = weight_format(recipe, graph.node(id).name);
    bool changed = false;
    for (std::size_t operand = 0; operand < inputs.size(); ++operand) {
      if (!holds_weights(graph, graph.node(id), operand, facts[id.index])) continue;
      const Tensor weight = *graph.constant(inputs[operand]);
      const auto located_here = [&](Diagnostic diagnostic) {
        return located(fmt::format("node '{}' ({}), weights '{}'", printable(graph.node(id).name), printable(graph.node(id).op_type),
                                   printable(graph.value(inputs[operand]).name)), std::move(diagnostic));
      };
      if (const auto blocks = operand == 1 ? block_axis(facts[id.index], weight, format) : std::nullopt) {
        auto made = constants.weight_in_blocks(inputs[operand], *blocks, format, id);
        if (!made) return located_here(std::move(made).error());
        graph.set_operand(id, operand, *made);
      } else {
        const std::optional<int> axis = recipe.per_channel ? std::optional(weight_scale_axis(weight, operand, facts[id.index])) : std::nullopt;
        auto scales = constants.scales_of(weight, axis, nullptr, 1, format);
        if (!scales) return located_here(std::move(scales).error());
        graph.set_operand(id, operand, constants.weight(inputs[operand], axis, *scales, format, id));
      }
      changed = true;
    }
    stats.changes += changed ? 1 : 0;
  }
  graph.erase_dead();
  return stats;
}

}  // namespace bevel::passes
