#include "passes/quantize/counterparts.h"

#include <algorithm>

#include "lib/ops/facts_derived.h"
#include "lib/ops/family.h"
#include "lib/ops/lowering.h"
#include "lib/ops/op.h"
#include "lib/ops/semantics.h"
#include "passes/quantize/selection.h"

namespace bevel::passes {

using ops::QuantNode;
using ops::QuantRole;

namespace {

bool is_float(const Type& type) { return type.is_tensor() && is_floating(type.dtype); }

bool may_correspond(const Type& a, const Type& b) {
  if (a.is_tensor() && b.is_tensor() && a.dtype != DType::undefined && b.dtype != DType::undefined && a.dtype != b.dtype) return false;
  if (!a.is_tensor() || !b.is_tensor() || !a.shape.has_rank || !b.shape.has_rank) return true;
  if (a.shape.rank() != b.shape.rank()) return false;
  for (std::size_t i = 0; i < a.shape.rank(); ++i) {
    const Dim &x = a.shape.dims[i], &y = b.shape.dims[i];
    if (x.known() && y.known() && x.value != y.value) return false;
  }
  return true;
}

}  // namespace

Counterparts::Counterparts(const Model& r, const Model& m)
    : reference(r), model(m), to(r.graph), from(m.graph), to_facts(all_facts(r)), from_facts(all_facts(m)),
      to_position(positions(to)), from_position(positions(from)) {
  find_quantized();
  match_names();
  match_products();
  for (const auto& [value, other] : counterpart)
    if (cuts(value)) stands_for.try_emplace(other, rounded(value));
  find_layers();
}

std::vector<std::size_t> Counterparts::positions(const Graph& graph) {
  std::vector<std::size_t> position(graph.node_capacity());
  std::size_t next = 0;
  for (const NodeId id : graph.node_order()) position[id.index] = next++;
  return position;
}

void Counterparts::find_quantized() {
  quantized.assign(from.node_capacity(), false);
  for (const NodeId id : from.node_order()) {
    const Node& node = from.node(id);
    const auto narrow = [&](ValueId value) {
      if (!value.valid()) return false;
      const Type& type = from.value(value).type;
      return type.is_tensor() && ops::integer_range(type.dtype).has_value() && dtype_bits(type.dtype) <= 16;
    };
    quantized[id.index] = ops::is_quantization(node) || std::any_of(node.inputs.begin(), node.inputs.end(), narrow);
  }
}

NodeId Counterparts::continuation(const Model& m, const std::vector<ops::Facts>& facts, ValueId id, bool clamps_only) {
  const Value& value = m.graph.value(id);
  if (value.output_slots > 0 || value.uses.size() != 1 || !value.producer.valid()) return {};
  const NodeId reader = value.uses[0].node;
  if (m.graph.node(reader).outputs.size() != 1 || !m.graph.node(reader).outputs[0].valid()) return {};
  if (facts[reader.index].value.clamp) return reader;
  if (clamps_only || facts[value.producer.index].space.kind != ops::OpKind::bilinear) return {};
  const auto affine = ops::as_channel_affine(m, m.graph, reader);
  return affine && affine->addend.valid() && affine->input == id ? reader : NodeId();
}

void Counterparts::match_names() {
  for (const ValueId id : from.value_ids()) {
    const Value& value = from.value(id);
    const ValueId other = to.find_value(value.name);
    if (value.constant || !other.valid() || to.value(other).constant || !may_correspond(value.type, to.value(other).type)) continue;
    if (!value.producer.valid() && !value.is_input) continue;
    counterpart[id] = past_implied_clamps(id, other);
  }
}

ValueId Counterparts::past_implied_clamps(ValueId id, ValueId other) const {
  if (continuation(model, from_facts, id, true).valid()) return other;
  for (NodeId clamp = continuation(reference, to_facts, other, true); clamp.valid(); clamp = continuation(reference, to_facts, other, true))
    other = to.node(clamp).outputs[0];
  return other;
}

std::vector<NodeId> Counterparts::products(const Graph& graph, const std::vector<ops::Facts>& facts) {
  std::vector<NodeId> list;
  for (const NodeId id : graph.node_order()) {
    const Node& node = graph.node(id);
    const bool computed = std::any_of(node.inputs.begin(), node.inputs.end(),
                                      [&](ValueId input) { return input.valid() && graph.constant(input) == nullptr; });
    if (facts[id.index].space.kind == ops::OpKind::bilinear && computed && !node.outputs.empty() && node.outputs[0].valid())
      list.push_back(id);
  }
  return list;
}

void Counterparts::match_products() {
  const auto ours = products(from, from_facts), theirs = products(to, to_facts);
  if (ours.size() != theirs.size()) return;
  for (std::size_t i = 0; i < ours.size(); ++i) {
    const auto last = [](const Model& m, const std::vector<ops::Facts>& facts, NodeId product) {
      ValueId value = m.graph.node(product).outputs[0];
      for (NodeId next = continuation(m, facts, value, false); next.valid(); next = continuation(m, facts, value, false))
        value = m.graph.node(next).outputs[0];
      return value;
    };
    const ValueId value = last(model, from_facts, ours[i]), other = last(reference, to_facts, theirs[i]);
    const bool known = counterpart.contains(value) || counterpart.contains(rounded(value));
    if (known || !is_float(from.value(value).type) || !may_correspond(from.value(value).type, to.value(other).type)) continue;
    counterpart[value] = other;
    placed.insert(value);
  }
}

bool Counterparts::dequantizes(ValueId id) const {
  const NodeId producer = from.value(id).producer;
  return producer.valid() && ops::quant_node(from.node(producer)) == QuantNode::dequantize &&
         from.constant(from.node(producer).inputs[0]) == nullptr;
}

ValueId Counterparts::rounded(ValueId id) const {
  const Value& value = from.value(id);
  if (dequantizes(id) || value.output_slots > 0 || value.uses.empty()) return id;
  for (const Use& use : value.uses)
    if (use.operand != 0 || ops::quant_node(from.node(use.node)) != QuantNode::quantize) return id;
  for (const Use& use : from.value(from.node(value.uses[0].node).outputs[0]).uses)
    if (use.operand == 0 && ops::quant_node(from.node(use.node)) == QuantNode::dequantize) return from.node(use.node).outputs[0];
  return id;
}

bool Counterparts::cuts(ValueId id) const {
  if (!counterpart.contains(id)) return false;
  return dequantizes(id) || !from.value(id).producer.valid() || !continuation(model, from_facts, id, false).valid();
}

Counterparts::Segment Counterparts::segment_of(ValueId result) const {
  Segment segment;
  std::set<NodeId> seen;
  std::set<ValueId> leaves;
  std::vector<ValueId> todo{result};
  while (!todo.empty()) {
    const ValueId id = todo.back();
    todo.pop_back();
    const Value& value = from.value(id);
    if (value.is_constant()) continue;
    if (id != result && cuts(id) && rounded(id) != result) {
      if (leaves.insert(id).second) segment.leaves.push_back(id);
      continue;
    }
    if (!value.producer.valid()) {
      segment.complete = false;
      continue;
    }
    if (!seen.insert(value.producer).second) continue;
    segment.nodes.push_back(value.producer);
    const Node& node = from.node(value.producer);
    for (std::size_t i = node.operand_count(); i-- > 0;)
      if (node.operand(i).valid()) todo.push_back(node.operand(i));
  }
  std::sort(segment.nodes.begin(), segment.nodes.end(),
            [&](NodeId a, NodeId b) { return from_position[a.index] < from_position[b.index]; });
  return segment;
}

NodeId Counterparts::anchor_of(const Segment& segment) const {
  NodeId first;
  for (auto id = segment.nodes.rbegin(); id != segment.nodes.rend(); ++id) {
    const ops::Facts& facts = from_facts[id->index];
    const Node& node = from.node(*id);
    const bool computed = std::any_of(node.inputs.begin(), node.inputs.end(),
                                      [&](ValueId input) { return input.valid() && from.constant(input) == nullptr; });
    if (facts.space.kind == ops::OpKind::bilinear && computed) return *id;
    if (ops::is_quantization(node) || facts.value.quant == QuantRole::same_scale || facts.space.kind == ops::OpKind::move) continue;
    if (facts.value.identity || !computed) continue;
    if (!facts.value.clamp || !first.valid()) first = *id;
  }
  return first;
}

void Counterparts::find_layers() {
  std::vector<ValueId> order;
  for (const auto& [value, other] : counterpart)
    if (cuts(value) && from.value(value).producer.valid()) order.push_back(value);
  std::stable_sort(order.begin(), order.end(), [&](ValueId a, ValueId b) {
    return from_position[from.value(a).producer.index] < from_position[from.value(b).producer.index];
  });
  std::set<ValueId> results, counterparts;
  for (const ValueId value : order) {
    const ValueId result = rounded(value);
    if (!results.insert(result).second) continue;
    Layer layer{result, counterpart.at(value), {}, {}, segment_of(result)};
    layer.anchor = anchor_of(layer.segment);
    const auto rounds = [&](NodeId id) { return quantized[id.index]; };
    if (!layer.anchor.valid() || std::none_of(layer.segment.nodes.begin(), layer.segment.nodes.end(), rounds)) continue;
    if (!layer.segment.complete || !is_float(from.value(result).type) || !counterparts.insert(layer.counterpart).second) continue;
    layer.reference_anchor = reference_anchor(layer);
    layers.push_back(std::move(layer));
  }
}

NodeId Counterparts::reference_anchor(const Layer& layer) const {
  const ops::OpKind kind = from_facts[layer.anchor.index].space.kind;
  const NodeId same = to.find_node(from.node(layer.anchor).name);
  if (same.valid() && to_facts[same.index].space.kind == kind) return same;
  ValueId value = layer.counterpart;
  for (NodeId id = to.value(value).producer; id.valid(); id = to.value(value).producer) {
    const bool product = to_facts[id.index].space.kind == ops::OpKind::bilinear;
    if (product == (kind == ops::OpKind::bilinear) && !to_facts[id.index].value.clamp) return id;
    const auto affine = ops::as_channel_affine(reference, to, id);
    if (to_facts[id.index].value.clamp) value = to.node(id).inputs[static_cast<std::size_t>(to_facts[id.index].value.data_operands[0])];
    else if (affine && affine->addend.valid()) value = affine->input;
    else break;
  }
  return {};
}

int Counterparts::channel_axis(const Layer& layer) const {
  if (layer.reference_anchor.valid() && to_facts[layer.reference_anchor.index].space.kind == ops::OpKind::bilinear) {
    const ops::IterationSpace& space = to_facts[layer.reference_anchor.index].space;
    const auto weight_axis = ops::channel_axis(space, 1);
    if (weight_axis && !space.outputs.empty()) {
      const auto& loops = space.inputs[1].axes[static_cast<std::size_t>(*weight_axis)].loops;
      for (std::size_t axis = 0; axis < space.outputs[0].axes.size(); ++axis) {
        const auto& own = space.outputs[0].axes[axis].loops;
        if (!loops.empty() && std::find(own.begin(), own.end(), loops.back()) != own.end()) return static_cast<int>(axis);
      }
    }
  }
  const Shape& shape = to.value(layer.counterpart).type.shape;
  if (!shape.has_rank || shape.rank() < 2) return -1;
  return shape.rank() == 4 ? 1 : static_cast<int>(shape.rank()) - 1;
}

}  // namespace bevel::passes
