#include "passes/quantize/side_branches.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "lib/ops/facts_derived.h"
#include "lib/ops/family.h"
#include "lib/ops/lowering.h"
#include "lib/ops/op.h"
#include "lib/ops/semantics.h"
#include "passes/quantize/counterparts.h"

namespace bevel::passes {
namespace {

using ops::QuantNode;
using ops::QuantRole;

std::optional<Rounding> rounding_of(const Graph& graph, const Node& node) {
  const auto stated = ops::node_quantization(graph, node);
  if (!stated || stated->scales.size() != 1 || stated->dtype == DType::int32) return std::nullopt;
  const auto range = ops::integer_range(stated->dtype);
  if (!range) return std::nullopt;
  return Rounding{{stated->scales[0], stated->zero_points.empty() ? 0 : stated->zero_points[0]}, stated->dtype,
                  static_cast<std::int32_t>(range->low), static_cast<std::int32_t>(range->high)};
}

// Puts copies of nodes of one graph into another.
class Copier {
 public:
  Copier(Graph& into, const Graph& from, std::string suffix) : into_(into), from_(from), suffix_(std::move(suffix)) {}
  void give(ValueId value, ValueId copy) { copies_[value] = copy; }
  [[nodiscard]] std::optional<ValueId> find(ValueId value) {
    if (const auto found = copies_.find(value); found != copies_.end()) return found->second;
    const Value& info = from_.value(value);
    if (!info.is_constant()) return std::nullopt;
    auto& made = constants_[value];
    if (!made.valid()) made = into_.add_constant(info.name + suffix_, *info.constant);
    return made;
  }
  // Values go that one branch made; constants stay for the next.
  void start() { copies_.clear(); }
  // After `position`, or at the end. False: an operand has no copy, or it has subgraphs that read from outside.
  bool copy(NodeId id, NodeId* position = nullptr) {
    Node node = from_.node(id);
    if (!node.captures.empty()) return false;  // its subgraphs know the captured values by their names
    node.name += suffix_;
    for (ValueId& operand : node.inputs) {
      if (!operand.valid()) continue;
      const auto found = find(operand);
      if (!found) return false;
      operand = *found;
    }
    for (ValueId& output : node.outputs) {
      if (!output.valid()) continue;
      const ValueId original = output;
      output = into_.add_value(from_.value(original).name + suffix_, from_.value(original).type);
      copies_[original] = output;
    }
    node.previous = node.next = {};
    if (position == nullptr) into_.add_node(std::move(node));
    else *position = into_.insert_after(*position, std::move(node));
    return true;
  }

 private:
  Graph& into_;
  const Graph& from_;
  std::string suffix_;
  std::map<ValueId, ValueId> copies_, constants_;
};

// Adds nodes at the end, or one behind another.
class Builder {
 public:
  explicit Builder(Graph& graph, NodeId position = {}) : graph_(graph), position_(position) {}
  ValueId one(const std::string& name, const char* op_type, std::vector<ValueId> inputs, const Type& type) {
    Node node;
    node.name = name;
    node.op_type = op_type;
    node.inputs = std::move(inputs);
    node.outputs = {graph_.add_value(name, type)};
    const ValueId output = node.outputs[0];
    if (position_.valid()) position_ = graph_.insert_after(position_, std::move(node));
    else graph_.add_node(std::move(node));
    return output;
  }
  ValueId round(ValueId value, const Rounding& rounding) {
    const std::string name = graph_.value(value).name;
    const Type type = graph_.value(value).type;
    Tensor zero = Tensor::zeros(rounding.dtype, {});
    zero.set_from_int64(0, rounding.grid.zero_point);
    const ValueId scale = graph_.add_constant(name + "_side_scale", Tensor::scalar<float>(rounding.grid.scale));
    const ValueId zero_point = graph_.add_constant(name + "_side_zero_point", std::move(zero));
    Type integers = type;
    if (integers.is_tensor()) integers.dtype = rounding.dtype;
    const ValueId quantized = one(name + "_side_q", "QuantizeLinear", {value, scale, zero_point}, integers);
    return one(name + "_side_dq", "DequantizeLinear", {quantized, scale, zero_point}, type);
  }
  ValueId clip(ValueId value, double low, double high) {
    const std::string name = graph_.value(value).name;
    const auto bound = [&](const char* suffix, double number) {
      return std::isinf(number) ? ValueId() : graph_.add_constant(name + suffix, Tensor::scalar<float>(static_cast<float>(number)));
    };
    std::vector<ValueId> inputs{value, bound("_side_low", low), bound("_side_high", high)};
    return one(name + "_side_clip", "Clip", std::move(inputs), graph_.value(value).type);
  }

 private:
  Graph& graph_;
  NodeId position_;
};

void import_opsets(Model& into, const Model& from) {
  for (const OpsetImport& opset : from.opsets)
    if (into.opset(opset.domain) < opset.version) into.set_opset(opset.domain, opset.version);
  into.ir_version = std::max(into.ir_version, from.ir_version);
}

}  // namespace

SideBranches::SideBranches(const Model& reference, const Model& model)
    : reference_(reference), model_(model), parts_(std::make_unique<Counterparts>(reference, model)) {
  const Graph &from = model.graph, &to = reference.graph;
  std::set<NodeId> within;
  for (const Counterparts::Layer& found : parts_->layers) {
    within.insert(found.segment.nodes.begin(), found.segment.nodes.end());
    ComparedLayer layer;
    layer.node = from.node(found.anchor).name;
    layer.op_type = from.node(found.anchor).op_type;
    layer.value = from.value(found.result).name;
    layer.reference_value = to.value(found.counterpart).name;
    if (found.reference_anchor.valid()) layer.reference_node = to.node(found.reference_anchor).name;
    if (to.value(found.counterpart).producer.valid()) layer.reference_producer = to.node(to.value(found.counterpart).producer).name;
    layer.channel_axis = parts_->channel_axis(found);
    if (parts_->dequantizes(found.result)) layer.rounding = rounding_of(from, from.node(from.value(found.result).producer));
    else if (const auto& uses = from.value(found.result).uses; uses.size() == 1 && ops::quant_node(from.node(uses[0].node)) == QuantNode::quantize)
      layer.rounding = rounding_of(from, from.node(uses[0].node));  // read in integers alone
    for (const ValueId leaf : found.segment.leaves) {
      ComparedLayer::Input input{to.value(parts_->counterpart.at(leaf)).name, {}};
      const ValueId read = parts_->rounded(leaf);
      if (parts_->dequantizes(read)) input.rounding = rounding_of(from, from.node(from.value(read).producer));
      for (const Use& use : from.value(leaf).uses)
        if (!input.rounding && use.operand == 0 && ops::quant_node(from.node(use.node)) == QuantNode::quantize)
          input.rounding = rounding_of(from, from.node(use.node));
      const auto known = std::find_if(layer.inputs.begin(), layer.inputs.end(),
                                      [&](const auto& other) { return other.reference_value == input.reference_value; });
      if (known == layer.inputs.end()) layer.inputs.push_back(std::move(input));
    }
    const Node& anchor = from.node(found.anchor);
    for (std::size_t i = 0; i < anchor.inputs.size() && parts_->from_facts[found.anchor.index].space.kind == ops::OpKind::bilinear; ++i) {
      const NodeId producer = anchor.inputs[i].valid() ? from.value(anchor.inputs[i]).producer : NodeId();
      if (!producer.valid() || ops::quant_node(from.node(producer)) != QuantNode::dequantize) continue;
      const ValueId stored = from.node(producer).inputs[0];
      if (from.constant(stored) == nullptr || static_cast<int>(i) == parts_->from_facts[found.anchor.index].value.bias_operand) continue;
      layer.weights = stored;
      layer.dequantizer = producer;
      layer.weight_axis = ops::channel_axis(parts_->from_facts[found.anchor.index].space, static_cast<int>(i)).value_or(-1);
      break;
    }
    for (const ValueId value : parts_->placed)
      layer.by_position = layer.by_position || parts_->rounded(value) == found.result;
    layers_.push_back(std::move(layer));
  }
  for (const NodeId id : from.node_order()) {
    const Node& node = from.node(id);
    const bool reads_rounded = std::any_of(node.inputs.begin(), node.inputs.end(), [&](ValueId input) {
      return input.valid() && from.value(input).producer.valid() && ops::is_quantization(from.node(from.value(input).producer));
    });
    const bool product = parts_->from_facts[id.index].space.kind == ops::OpKind::bilinear;
    if (within.contains(id) || ops::is_quantization(node) || !product || !(reads_rounded || parts_->quantized[id.index])) continue;
    unmatched_.push_back({node.name, node.op_type, "no value that it makes, or that follows from it alone, has a counterpart in the float model"});
  }
}

SideBranches::~SideBranches() = default;

SideBranches::Measured SideBranches::beside_reference() const {
  Measured measured{reference_, {}, {}};
  import_opsets(measured.model, model_);
  Graph& into = measured.model.graph;
  const Graph& from = model_.graph;
  Copier copier(into, from, "_alone");
  std::map<ValueId, ValueId> rounded;  // by value of the quantized model, in the reference
  const auto leaf = [&](ValueId id) {
    const ValueId value = parts_->counterpart.at(id);
    if (!parts_->dequantizes(id)) return value;
    const auto rounding = rounding_of(from, from.node(from.value(id).producer));
    if (!rounding) return value;
    auto& made = rounded[id];
    if (!made.valid()) made = Builder(into).round(value, *rounding);
    return made;
  };
  for (const Counterparts::Layer& layer : parts_->layers) {
    copier.start();
    for (const ValueId id : layer.segment.leaves) copier.give(id, leaf(id));
    bool whole = true;
    for (const NodeId id : layer.segment.nodes) whole = whole && copier.copy(id);
    const auto result = whole ? copier.find(layer.result) : std::nullopt;
    measured.alone.push_back(result ? into.value(*result).name : "");
  }
  Copier plain(into, from, "_weights_alone");
  for (std::size_t i = 0; i < parts_->layers.size(); ++i) {
    const Counterparts::Layer& layer = parts_->layers[i];
    plain.start();
    for (const ValueId id : layer.segment.leaves) plain.give(id, parts_->counterpart.at(id));
    bool whole = layers_[i].weights.valid();
    std::map<ValueId, ValueId> before;  // of a value in integers, the value that was rounded
    for (const NodeId id : layer.segment.nodes) {
      const Node& node = from.node(id);
      const QuantNode kind = ops::quant_node(node);
      if (kind == QuantNode::none) {
        whole = !ops::is_quantization(node) && plain.copy(id);
      } else if (kind == QuantNode::dequantize && from.constant(node.inputs[0]) != nullptr) {
        whole = plain.copy(id);
      } else if (kind == QuantNode::quantize) {
        before[node.outputs[0]] = node.inputs[0];
      } else {
        const auto source = before.find(node.inputs[0]);
        const auto value = source == before.end() ? std::nullopt : plain.find(source->second);
        whole = value.has_value();
        if (value) plain.give(node.outputs[0], *value);
      }
      if (!whole) break;
    }
    auto result = whole ? plain.find(layer.result) : std::nullopt;
    // A clamp that the rounding implied.
    const NodeId producer = into.value(layer.counterpart).producer;
    const auto& clamp = producer.valid() ? parts_->to_facts[producer.index].value.clamp : std::optional<ops::Interval>();
    if (result && clamp) result = Builder(into).clip(*result, clamp->low, clamp->high);
    measured.weights_alone.push_back(result ? into.value(*result).name : "");
  }
  return measured;
}

namespace {

// What reads the rounded value, through whichever DequantizeLinear of the same integers, reads another.
void redirect(Graph& graph, ValueId result, ValueId other, NodeId except) {
  std::vector<ValueId> same{result};
  const Node& dequantize = graph.node(graph.value(result).producer);
  if (ops::quant_node(dequantize) == QuantNode::dequantize) {
    for (const Use& use : graph.value(dequantize.inputs[0]).uses) {
      const Node& node = graph.node(use.node);
      if (use.operand == 0 && ops::quant_node(node) == QuantNode::dequantize && node.outputs[0] != result) same.push_back(node.outputs[0]);
    }
  }
  for (const ValueId value : same) {
    if (graph.value(value).output_slots > 0 && value == result) graph.replace_uses(value, other);
    else graph.replace_node_uses(value, other, except);
  }
}

}  // namespace

std::optional<Model> SideBranches::with_float_layer(std::size_t index) const {
  const Counterparts::Layer& layer = parts_->layers.at(index);
  const Graph& to = reference_.graph;
  Model patched = model_;
  import_opsets(patched, reference_);
  Graph& graph = patched.graph;
  const NodeId last = graph.value(layer.result).producer;
  Copier copier(graph, to, "_in_float");
  std::vector<NodeId> nodes;
  std::set<NodeId> seen;
  std::vector<ValueId> todo{layer.counterpart};
  while (!todo.empty()) {
    const ValueId id = todo.back();
    todo.pop_back();
    const Value& value = to.value(id);
    if (value.is_constant()) continue;
    if (const auto found = parts_->stands_for.find(id); found != parts_->stands_for.end() && id != layer.counterpart) {
      const NodeId producer = graph.value(found->second).producer;
      if (producer.valid() && parts_->from_position[producer.index] >= parts_->from_position[last.index]) return std::nullopt;
      copier.give(id, found->second);
      continue;
    }
    if (!value.producer.valid()) return std::nullopt;
    if (!seen.insert(value.producer).second) continue;
    nodes.push_back(value.producer);
    const Node& node = to.node(value.producer);
    for (std::size_t i = 0; i < node.operand_count(); ++i)
      if (node.operand(i).valid()) todo.push_back(node.operand(i));
  }
  std::sort(nodes.begin(), nodes.end(), [&](NodeId a, NodeId b) { return parts_->to_position[a.index] < parts_->to_position[b.index]; });
  NodeId position = last;
  for (const NodeId id : nodes)
    if (!copier.copy(id, &position)) return std::nullopt;
  const auto result = copier.find(layer.counterpart);
  if (!result) return std::nullopt;
  redirect(graph, layer.result, *result, position);
  return patched;
}

std::optional<Model> SideBranches::with_rounding(std::size_t index, const Rounding& rounding) const {
  const Counterparts::Layer& layer = parts_->layers.at(index);
  if (!parts_->dequantizes(layer.result)) return std::nullopt;
  Model patched = model_;
  Graph& graph = patched.graph;
  const NodeId dequantize = graph.value(layer.result).producer;
  const NodeId quantize = graph.value(graph.node(dequantize).inputs[0]).producer;
  if (!quantize.valid() || ops::quant_node(graph.node(quantize)) != QuantNode::quantize) return std::nullopt;
  Builder builder(graph, dequantize);
  const ValueId result = builder.round(graph.node(quantize).inputs[0], rounding);
  redirect(graph, layer.result, result, {});
  return patched;
}

std::size_t strip_roundings(Model& model) {
  Graph& graph = model.graph;
  std::size_t stripped = 0;
  for (const NodeId id : graph.node_order()) {
    if (!graph.alive(id) || ops::quant_node(graph.node(id)) != QuantNode::dequantize) continue;
    const NodeId source = graph.value(graph.node(id).inputs[0]).producer;
    if (!source.valid() || ops::quant_node(graph.node(source)) != QuantNode::quantize) continue;
    const auto rounding = rounding_of(graph, graph.node(source));
    if (!rounding || rounding_of(graph, graph.node(id)) != rounding) continue;
    const ValueId result = graph.node(id).outputs[0], raw = graph.node(source).inputs[0];
    const auto bound = [&](const char* suffix, double number) {
      return graph.add_constant(graph.value(raw).name + suffix, Tensor::scalar<float>(static_cast<float>(number)));
    };
    Node clip;
    clip.name = graph.node(id).name;
    clip.op_type = "Clip";
    clip.inputs = {raw, bound("_low", rounding->low()), bound("_high", rounding->high())};
    const ValueId inside = graph.add_value("", graph.value(result).type);
    graph.move_output(result, inside);  // the DequantizeLinear now makes a value that nothing reads
    clip.outputs = {result};
    graph.insert_after(id, std::move(clip));
    graph.erase_node(id);
    ++stripped;
  }
  graph.erase_dead();
  return stripped;
}

}  // namespace bevel::passes
