#include "passes/quantize/selection.h"

#include <algorithm>
#include <set>

#include "lib/ops/facts_derived.h"
#include "lib/ops/op.h"
#include "lib/ops/semantics.h"

namespace bevel::passes {
namespace {

using ops::QuantRole;

bool is_float32(const Value& value) { return value.type.is_tensor() && value.type.dtype == DType::float32; }

class Selector {
 public:
  Selector(const Model& model, const std::vector<ops::Facts>& facts, const Recipe& recipe,
           const std::map<NodeId, std::string>& kept_float)
      : model_(model), graph_(model.graph), facts_(facts), recipe_(recipe), kept_float_(kept_float) {
    selection_.integer.assign(graph_.node_capacity(), false);
    selection_.reason.assign(graph_.node_capacity(), "");
    selection_.quantized_before.assign(graph_.node_capacity(), false);
    selection_.clamps.resize(graph_.node_capacity());
    selection_.kept.assign(graph_.node_capacity(), false);
    selection_.wide.assign(graph_.node_capacity(), false);
  }

  Status read_keep_float(std::string_view words) {
    std::set<std::string, std::less<>> known;
    for (const NodeId id : graph_.node_order()) known.insert({graph_.node(id).name, graph_.node(id).op_type});
    while (!words.empty()) {
      const std::size_t comma = std::min(words.find_first_of(",;"), words.size());
      const std::string_view word = words.substr(0, comma);
      words.remove_prefix(std::min(comma + 1, words.size()));
      if (word.empty()) continue;
      if (!known.contains(word)) {
        return fail(ExitCode::usage, "keep-float: \"{}\" is neither a node nor an op type of this model", printable(word));
      }
      keep_float_.insert(std::string(word));
    }
    return {};
  }

  Selection run() {
    const auto order = graph_.node_order();
    for (const NodeId id : order) {
      std::string why = asked_for_float(graph_.node(id));
      selection_.kept[id.index] = !why.empty();
      if (const auto kept = kept_float_.find(id); why.empty() && kept != kept_float_.end()) why = kept->second;
      if (why.empty()) why = refusal(id);
      if (why.empty() && reads_dequantized(graph_.node(id))) {
        selection_.quantized_before[id.index] = result_is_quantized(id);
        why = selection_.quantized_before[id.index] ? "it is quantized already"
                                                    : "the model quantizes what it reads, but not its result";
      }
      selection_.reason[id.index] = why;
      selection_.integer[id.index] = why.empty() && (!is_move(id) || looks_up_table(graph_.node(id), value_facts(id)));
    }
    for (const NodeId id : order) stay_with_producer(id);
    for (const NodeId id : order) fold_clamps(id);
    select_moves(order);
    if (recipe_.activations != "int16") {
      for (const NodeId id : order) selection_.wide[id.index] = !is_move(id) && selection_.is_integer(id) && asked_for_wide(id);
    }
    return std::move(selection_);
  }

 private:
  [[nodiscard]] const ops::ValueFacts& value_facts(NodeId id) const { return facts_[id.index].value; }
  [[nodiscard]] bool is_move(NodeId id) const { return value_facts(id).quant == QuantRole::same_scale; }

  [[nodiscard]] std::string asked_for_float(const Node& node) const {
    if (keep_float_.contains(node.name) || keep_float_.contains(node.op_type)) return "kept in float (keep-float)";
    const auto choice = recipe_.nodes.find(node.name);
    const std::string& precision = choice != recipe_.nodes.end() && choice->second.precision ? *choice->second.precision
                                                                                               : recipe_.precision;
    return precision == "float32" ? "kept in float (recipe: precision float32)" : "";
  }

  // A clamp that belongs to a node's result speaks for the node.
  [[nodiscard]] bool asked_for_wide(NodeId id) const {
    const auto asks = [&](NodeId node) {
      const auto choice = recipe_.nodes.find(graph_.node(node).name);
      return choice != recipe_.nodes.end() && choice->second.activations == "int16";
    };
    return asks(id) || std::any_of(selection_.clamps[id.index].begin(), selection_.clamps[id.index].end(), asks);
  }

  // Why a node cannot compute in integers; empty when it can.
  [[nodiscard]] std::string refusal(NodeId id) const {
    const Node& node = graph_.node(id);
    const ops::ValueFacts& facts = value_facts(id);
    if (ops::find_op(node) == nullptr) return "unknown op";
    if (facts.quant == QuantRole::none) return "the op has no 8-bit form, in general or with these operands";
    if (facts.data_operands.empty()) return "the op has no data operand";
    for (const ValueId output : node.outputs) {
      if (output.valid() && !is_float32(graph_.value(output))) {
        return fmt::format("its output is {}, not float32", to_string(graph_.value(output).type));
      }
    }
    return refused_operands(node, facts);
  }

  [[nodiscard]] bool reads_dequantized(const Node& node) const {
    return std::any_of(node.inputs.begin(), node.inputs.end(), [&](ValueId input) {
      const NodeId producer = input.valid() ? graph_.value(input).producer : NodeId();
      return producer.valid() && ops::is_quantization(graph_.node(producer));
    });
  }

  // Through clamps, as in fold_clamps below.
  [[nodiscard]] bool result_is_quantized(NodeId id) const {
    while (graph_.node(id).outputs[0].valid()) {
      const Value& value = graph_.value(graph_.node(id).outputs[0]);
      if (value.output_slots > 0 || value.uses.size() != 1) return false;
      id = value.uses[0].node;
      if (ops::is_quantization(graph_.node(id))) return true;
      if (!value_facts(id).clamp || graph_.node(id).outputs.size() != 1) return false;
    }
    return false;
  }

  [[nodiscard]] std::string refused_operands(const Node& node, const ops::ValueFacts& facts) const {
    bool any_activation = false;
    for (const int operand : facts.data_operands) {
      const auto index = static_cast<std::size_t>(operand);
      if (index >= node.inputs.size() || !node.inputs[index].valid()) continue;
      const Value& value = graph_.value(node.inputs[index]);
      if (!is_float32(value)) return fmt::format("operand {} is {}, not float32", operand, to_string(value.type));
      if (value.is_input && value.constant) {
        return fmt::format("operand {} (\"{}\") is an input with a default, which a caller may replace", operand,
                           printable(value.name));
      }
      any_activation = any_activation || !value.is_constant();
    }
    if (!any_activation) return looks_up_table(node, facts) ? "" : constant_data(node, facts);
    if (facts.quant != QuantRole::bilinear) return "";
    if (graph_.value(node.inputs[static_cast<std::size_t>(facts.data_operands[0])]).is_constant()) {
      return "its first operand is constant, its second is computed";
    }
    return refused_bias(node, facts);
  }

  // A table worth storing in 8 bits (an embedding), from which computed indices pick.
  [[nodiscard]] bool looks_up_table(const Node& node, const ops::ValueFacts& facts) const {
    constexpr std::int64_t kWorthStoring = 1024;  // elements
    if (facts.quant != QuantRole::same_scale || facts.data_operands.size() != 1) return false;
    const ValueId table = node.inputs[static_cast<std::size_t>(facts.data_operands[0])];
    return graph_.constant(table) != nullptr && graph_.constant(table)->size() >= kWorthStoring &&
           std::any_of(node.inputs.begin(), node.inputs.end(),
                       [&](ValueId input) { return input.valid() && !graph_.value(input).is_constant(); });
  }

  // Nothing to quantize with a calibrated scale: a small table that computed indices look up, or constants alone.
  [[nodiscard]] std::string constant_data(const Node& node, const ops::ValueFacts& facts) const {
    for (const ValueId input : node.inputs) {
      if (!input.valid() || graph_.value(input).is_constant()) continue;
      const auto data = static_cast<std::size_t>(facts.data_operands[0]);
      return fmt::format("the data that it moves, \"{}\", is a constant: only its other operand \"{}\" is computed",
                         printable(graph_.value(node.inputs[data]).name), printable(graph_.value(input).name));
    }
    return "all its operands are constant";
  }

  // The int32 bias takes its scale from the weights: one number per output channel, constant as they are.
  [[nodiscard]] std::string refused_bias(const Node& node, const ops::ValueFacts& facts) const {
    const auto bias = static_cast<std::size_t>(facts.bias_operand);
    if (facts.bias_operand < 0 || bias >= node.inputs.size() || !node.inputs[bias].valid()) return "";
    const Tensor* constant = graph_.constant(node.inputs[bias]);
    if (constant == nullptr || constant->dtype() != DType::float32) return "its bias is not a float32 constant";
    if (facts.data_operands.size() > 1 &&
        graph_.constant(node.inputs[static_cast<std::size_t>(facts.data_operands[1])]) == nullptr) {
      return "it has a bias, but its weights are computed";
    }
    if (constant->size() == 0 || (constant->rank() > 0 && constant->dims().back() != constant->size())) {
      return fmt::format("its bias is {}, not one number per output channel",
                         to_string(graph_.value(node.inputs[bias]).type));
    }
    return "";
  }

  // A clamp that is the only reader of a float node's result stays with it: quantizing in between would spend the grid on values
  // that the clamp cuts off, and the float kernels clamp for nothing. In execution order, so that clamps in a row stay together.
  void stay_with_producer(NodeId id) {
    const ops::ValueFacts& facts = value_facts(id);
    if (!selection_.integer[id.index] || !facts.clamp || facts.data_operands.empty()) return;
    const Value& data = graph_.value(graph_.node(id).inputs[static_cast<std::size_t>(facts.data_operands[0])]);
    if (!data.producer.valid() || selection_.reason[data.producer.index].empty()) return;
    const Node& producer = graph_.node(data.producer);
    if (ops::is_quantization(producer) || data.output_slots > 0 || data.uses.size() != 1) return;
    selection_.integer[id.index] = false;
    selection_.quantized_before[id.index] = selection_.quantized_before[data.producer.index];
    selection_.reason[id.index] = fmt::format("it follows \"{}\", which stays in float", printable(producer.name));
  }

  // Relu, Clip and their like behind an integer node, each the only reader of what comes before.
  void fold_clamps(NodeId id) {
    const ops::ValueFacts& producer = value_facts(id);
    // A result that shares its input's grid gains nothing: the clamp behind it has a grid of its own.
    const bool own_grid = producer.quant == QuantRole::bilinear || producer.quant == QuantRole::arithmetic ||
                          producer.quant == QuantRole::own_scale;
    const auto& outputs = graph_.node(id).outputs;
    if (!selection_.integer[id.index] || !own_grid || outputs.empty()) return;
    ValueId value = outputs[0];
    while (value.valid() && graph_.value(value).uses.size() == 1) {
      const NodeId next = graph_.value(value).uses[0].node;
      const bool clamps = ops::may_fold_clamp(graph_, value, producer, outputs.size(), value_facts(next));
      if (!clamps && !(value == outputs[0] && adds_bias(id, next))) return;
      // A bias is added in float if it must: rounding the sum rounds once, whatever becomes of the addition.
      if (!selection_.reason[next.index].empty() && (clamps || selection_.kept[next.index])) return;
      selection_.integer[next.index] = false;
      selection_.clamps[id.index].push_back(next);
      folded_.insert(next);
      value = graph_.node(next).outputs[0];
    }
  }

  // `next` adds one constant for each channel to a product without a bias (MatMul has no operand for it).
  [[nodiscard]] bool adds_bias(NodeId product, NodeId next) const {
    const ops::Facts& facts = facts_[product.index];
    const Node& node = graph_.node(product);
    const bool may_have_bias = facts.value.bias_operand >= 0;
    if (facts.value.quant != QuantRole::bilinear || may_have_bias || node.inputs.size() < 2 || node.outputs.size() != 1) return false;
    if (graph_.constant(node.inputs[1]) == nullptr || graph_.value(node.outputs[0]).output_slots > 0) return false;
    const auto affine = ops::as_channel_affine(model_, graph_, next);
    const auto weight_axis = ops::channel_axis(facts.space, 1);
    if (!affine || !affine->addend.valid() || affine->input != node.outputs[0] || affine->axis < 0 || !weight_axis) return false;
    const auto& out = facts.space.outputs[0].axes;
    const auto& weight = facts.space.inputs[1].axes;
    const auto axis = static_cast<std::size_t>(affine->axis), channel = static_cast<std::size_t>(*weight_axis);
    return axis < out.size() && channel < weight.size() && out[axis].kind == ops::AxisMap::Kind::follow &&
           weight[channel].kind == ops::AxisMap::Kind::follow && out[axis].loops == weight[channel].loops;
  }

  // A movement joins where its data already is 8-bit, or where every reader wants it so.
  void select_moves(const std::vector<NodeId>& order) {
    for (bool changed = true; changed;) {
      changed = false;
      for (const NodeId id : order) changed = join_forward(id) || changed;
      for (auto id = order.rbegin(); id != order.rend(); ++id) changed = join_backward(*id) || changed;
    }
  }

  [[nodiscard]] bool may_join(NodeId id) const {
    return is_move(id) && !selection_.integer[id.index] && selection_.reason[id.index].empty() && !folded_.contains(id);
  }

  bool join_forward(NodeId id) {
    if (!may_join(id)) return false;
    const Node& node = graph_.node(id);
    const auto& operands = value_facts(id).data_operands;
    const bool joins = std::any_of(operands.begin(), operands.end(), [&](int operand) {
      const auto index = static_cast<std::size_t>(operand);
      return index < node.inputs.size() && node.inputs[index].valid() && is_quantized_result(node.inputs[index]);
    });
    if (joins) selection_.integer[id.index] = true;
    return joins;
  }

  bool join_backward(NodeId id) {
    if (!may_join(id)) return false;
    bool read = false;
    for (const ValueId output : graph_.node(id).outputs) {
      if (!output.valid()) continue;
      const Value& value = graph_.value(output);
      if (value.output_slots > 0) return false;
      for (const Use& use : value.uses) {
        const auto& operands = value_facts(use.node).data_operands;
        if (!selection_.is_integer(use.node) ||
            std::find(operands.begin(), operands.end(), static_cast<int>(use.operand)) == operands.end()) {
          return false;
        }
        read = true;
      }
    }
    if (read) selection_.integer[id.index] = true;
    return read;
  }

  // The value comes out of an integer node, perhaps through clamps that belong to it.
  [[nodiscard]] bool is_quantized_result(ValueId value) const {
    const NodeId producer = graph_.value(value).producer;
    return selection_.is_integer(producer) || folded_.contains(producer);
  }

  const Model& model_;
  const Graph& graph_;
  const std::vector<ops::Facts>& facts_;
  const Recipe& recipe_;
  const std::map<NodeId, std::string>& kept_float_;
  std::set<std::string, std::less<>> keep_float_;
  std::set<NodeId> folded_;
  Selection selection_;
};

}  // namespace

std::vector<ops::Facts> all_facts(const Model& model) {
  std::vector<ops::Facts> facts(model.graph.node_capacity());
  for (const NodeId id : model.graph.node_order()) facts[id.index] = ops::facts_of(model, model.graph, id);
  return facts;
}

Result<Selection> select_nodes(const Model& model, const std::vector<ops::Facts>& facts, const Recipe& recipe,
                               std::string_view keep_float, const std::map<NodeId, std::string>& kept_float) {
  Selector selector(model, facts, recipe, kept_float);
  BEVEL_TRY_STATUS(selector.read_keep_float(keep_float));
  return selector.run();
}

ValueId final_value(const Graph& graph, const Selection& selection, NodeId node, ValueId output) {
  const auto& clamps = selection.clamps[node.index];
  return clamps.empty() ? output : graph.node(clamps.back()).outputs[0];
}

}  // namespace bevel::passes
