#include "passes/bodies.h"

#include <algorithm>
#include <map>
#include <memory>
#include <set>
#include <utility>

#include "lib/ops/lowering.h"
#include "lib/ops/subgraphs.h"
#include "lib/support/check.h"

namespace bevel::passes {
namespace {

// Smaller constants may stand in several bodies.
constexpr std::size_t kWorthSharing = 256;  // bytes

// Copies values and nodes of one graph into another.
class Copier {
 public:
  Copier(const Graph& from, Graph& to) : from_(from), to_(to), copies_(from.value_capacity()) {
    to.name = from.name;
    to.doc_string = from.doc_string;
    to.opaque = from.opaque;
  }
  void set(ValueId id, ValueId copy) { copies_[id.index] = copy; }
  [[nodiscard]] bool has(ValueId id) const { return copies_[id.index].valid(); }
  void input(ValueId id) {
    set(id, to_.add_input(from_.value(id).name, from_.value(id).type));
    if (from_.value(id).constant) to_.set_constant(of(id), *from_.value(id).constant);
    describe(id);
  }
  void constant(ValueId id) {
    set(id, to_.add_constant(from_.value(id).name, *from_.value(id).constant));
    describe(id);
  }
  void node(NodeId id) {
    Node copy = from_.node(id);
    copy.previous = copy.next = {};
    for (ValueId& input : copy.inputs) input = of(input);
    for (ValueId& capture : copy.captures) capture = of(capture);
    for (ValueId& output : copy.outputs) {
      if (!output.valid()) continue;
      set(output, to_.add_value(from_.value(output).name, from_.value(output).type));
      describe(output);
      output = of(output);
    }
    to_.add_node(std::move(copy));
  }
  void outputs() {
    for (const ValueId output : from_.outputs()) to_.add_output(of(output));
  }
  [[nodiscard]] ValueId of(ValueId id) const {
    if (!id.valid()) return id;
    BEVEL_CHECK(has(id));
    return copies_[id.index];
  }

 private:
  void describe(ValueId id) {
    Value& copy = to_.mutable_value(of(id));
    copy.declared = from_.value(id).declared;
    copy.doc_string = from_.value(id).doc_string;
    copy.opaque = from_.value(id).opaque;
  }

  const Graph& from_;
  Graph& to_;
  std::vector<ValueId> copies_;
};

bool is_worth_sharing(const Tensor& tensor) { return tensor.bytes().size() >= kWorthSharing; }

bool equal(const Tensor& a, const Tensor& b) { return a.dtype() == b.dtype() && a.dims() == b.dims() && a.same_bits(b); }

// The constant of `graph` with these bits; a new one where there is none.
ValueId shared_constant(Graph& graph, const std::string& name, const Tensor& tensor) {
  for (const ValueId id : graph.value_ids())
    if (const Tensor* constant = graph.constant(id); constant != nullptr && equal(*constant, tensor)) return id;
  return graph.add_constant(name, tensor);
}

// A body as a subgraph of the node at `position` in `outer`.
class Return {
 public:
  Return(Graph& outer, NodeId position, const MovesOut& moves_out, const std::vector<ValueId>& old_captures,
         std::vector<ValueId>& captures)
      : outer_(outer), position_(position), moves_out_(moves_out), old_captures_(old_captures), captures_(captures) {}

  GraphPtr subgraph(const Body& body, std::size_t index, bool repeats) {
    const Graph& from = body.model.graph;
    auto to = std::make_shared<Graph>();
    Copier copier(from, *to);
    inner_.clear();
    BEVEL_CHECK(from.inputs().size() == body.own_inputs + body.captured.size());
    for (std::size_t i = 0; i < from.inputs().size(); ++i) {
      const ValueId input = from.inputs()[i];
      if (i < body.own_inputs) copier.input(input);
      else if (from.value(input).has_uses()) copier.set(input, capture(*to, old_captures_[body.captured[i - body.own_inputs]]));
    }
    std::set<NodeId> hoisted;
    for (const NodeId id : from.node_order()) {
      if (!goes_before(from, id, index, repeats)) continue;
      const ValueId result = dequantized_before(from, from.node(id));
      copier.set(from.node(id).outputs[0], capture(*to, result));
      hoisted.insert(id);
    }
    const auto is_read = [&](const Value& value) {
      return value.output_slots > 0 || std::any_of(value.uses.begin(), value.uses.end(), [&](const Use& use) { return !hoisted.contains(use.node); });
    };
    for (const ValueId id : from.value_ids()) {
      const Value& value = from.value(id);
      if (!value.is_constant() || !is_read(value)) continue;
      const bool moves = is_floating(value.constant->dtype()) && value.output_slots == 0 && is_worth_sharing(*value.constant) &&
                         moves_out_(index, *value.constant);
      if (moves) copier.set(id, capture(*to, shared_constant(outer_, value.name, *value.constant)));
      else copier.constant(id);
    }
    for (const NodeId id : from.node_order())
      if (!hoisted.contains(id)) copier.node(id);
    copier.outputs();
    return to;
  }

 private:
  ValueId capture(Graph& to, ValueId outer) {
    auto& inner = inner_[outer];
    if (inner.valid()) return inner;
    inner = to.add_capture(outer_.value(outer).name, outer_.value(outer).type);
    captures_.push_back(outer);
    return inner;
  }

  // A DequantizeLinear of constants. Out of a loop, blocks stay beside the product that ONNX Runtime fuses them with.
  bool goes_before(const Graph& graph, NodeId id, std::size_t body, bool repeats) const {
    const Node& node = graph.node(id);
    if (ops::quant_node(node) != ops::QuantNode::dequantize || node.outputs.size() != 1 || !node.outputs[0].valid()) return false;
    for (const ValueId input : node.inputs)
      if (input.valid() && graph.constant(input) == nullptr) return false;
    if (graph.value(node.outputs[0]).output_slots > 0 || !node.inputs[0].valid()) return false;
    const Tensor& integers = *graph.constant(node.inputs[0]);
    return (repeats && node.attribute("block_size") == nullptr) || (is_worth_sharing(integers) && moves_out_(body, integers));
  }

  ValueId dequantized_before(const Graph& from, const Node& node) {
    for (const NodeId id : outer_.node_order()) {
      if (id == position_) break;
      if (is_same_dequantization(from, node, outer_.node(id))) return outer_.node(id).outputs[0];
    }
    std::vector<ValueId> inputs;
    for (const ValueId input : node.inputs)
      inputs.push_back(input.valid() ? outer_.add_constant(from.value(input).name, *from.constant(input)) : input);
    const Value& result = from.value(node.outputs[0]);
    const ValueId made = outer_.build_before(position_, node.op_type, node.name, std::move(inputs), node.attributes, result.type).output;
    outer_.rename_value(made, result.name);
    return made;
  }

  bool is_same_dequantization(const Graph& from, const Node& node, const Node& other) const {
    if (ops::quant_node(other) != ops::QuantNode::dequantize || other.inputs.size() != node.inputs.size() ||
        other.attributes.size() != node.attributes.size() || other.outputs.size() != 1 || !other.outputs[0].valid())
      return false;
    for (std::size_t i = 0; i < node.inputs.size(); ++i) {
      if (node.inputs[i].valid() != other.inputs[i].valid()) return false;
      if (!node.inputs[i].valid()) continue;
      const Tensor* constant = outer_.constant(other.inputs[i]);
      if (constant == nullptr || !equal(*constant, *from.constant(node.inputs[i]))) return false;
    }
    for (const Attribute& attribute : node.attributes) {
      const Attribute* same = other.attribute(attribute.name);
      const auto* value = std::get_if<std::int64_t>(&attribute.value);
      const auto* known = same != nullptr ? std::get_if<std::int64_t>(&same->value) : nullptr;
      if (value == nullptr || known == nullptr || *value != *known) return false;
    }
    return true;
  }

  Graph& outer_;
  NodeId position_;
  const MovesOut& moves_out_;
  const std::vector<ValueId>& old_captures_;
  std::vector<ValueId>& captures_;
  std::map<ValueId, ValueId> inner_;  // of one body: by outer value
};

// The first and the last graph, numbered in the order in which they are met, that have a constant.
class Places {
 public:
  void add(const Graph& graph, std::size_t& next) {
    const std::size_t number = next++;
    for (const ValueId id : graph.value_ids()) {
      const Tensor* constant = graph.constant(id);
      if (constant == nullptr || !is_worth_sharing(*constant)) continue;
      auto& alike = found_[{constant->dtype(), constant->dims()}];
      const auto same = std::find_if(alike.begin(), alike.end(), [&](const Place& one) { return one.constant.same_bits(*constant); });
      if (same == alike.end()) alike.push_back({*constant, number, number});
      else same->last = number;
    }
    for (const NodeId id : graph.node_order())
      ops::for_each_subgraph(graph.node(id), [&](const GraphPtr& body) {
        add(*body, next);
      });
  }
  // In a graph that is not one of those from `begin` to `end`.
  [[nodiscard]] bool is_elsewhere(const Tensor& tensor, std::size_t begin, std::size_t end) const {
    const auto alike = found_.find({tensor.dtype(), tensor.dims()});
    if (alike == found_.end()) return false;
    const auto same = std::find_if(alike->second.begin(), alike->second.end(), [&](const Place& one) { return one.constant.same_bits(tensor); });
    return same != alike->second.end() && (same->first < begin || same->last >= end);
  }

 private:
  struct Place {
    Tensor constant;
    std::size_t first = 0, last = 0;
  };
  std::map<std::pair<DType, Dims>, std::vector<Place>> found_;
};

void share_constants(Model& model, const Places& places, std::size_t& next) {
  ++next;
  for (const NodeId id : model.graph.node_order()) {
    if (!has_bodies(model.graph.node(id))) continue;
    std::vector<Body> bodies = bodies_of(model, id);
    std::vector<std::pair<std::size_t, std::size_t>> numbers;
    for (Body& body : bodies) {
      const std::size_t begin = next;
      share_constants(body.model, places, next);
      numbers.emplace_back(begin, next);
    }
    set_bodies(model.graph, id, bodies, [&](std::size_t body, const Tensor& constant) {
      return places.is_elsewhere(constant, numbers[body].first, numbers[body].second);
    });
  }
}

void give_own_names(Graph& graph, std::set<std::string> taken) {
  for (const ValueId id : graph.value_ids()) taken.insert(graph.value(id).name);
  for (const NodeId id : graph.node_order()) {
    if (!has_bodies(graph.node(id))) continue;
    const Status done = ops::rewrite_subgraphs(graph.mutable_node(id), [&](Graph& body) -> Status {
      for (const ValueId inner : body.value_ids()) {
        if (body.value(inner).is_capture || !taken.contains(body.value(inner).name)) continue;
        const std::string base = body.value(inner).name;
        std::string name = base;
        for (int i = 1; taken.contains(name) || body.find_value(name).valid(); ++i) name = fmt::format("{}_{}", base, i);
        body.rename_value(inner, name);
      }
      give_own_names(body, taken);
      return {};
    });
    BEVEL_CHECK(done);
  }
}

}  // namespace

bool has_bodies(const Node& node) {
  bool any = false;
  ops::for_each_subgraph(node, [&](const GraphPtr&) { any = true; });
  return any;
}

bool runs_at_most_once(const Node& node) { return node.domain.empty() && node.op_type == "If"; }

std::vector<Body> bodies_of(const Model& model, NodeId id) {
  const Node& node = model.graph.node(id);
  std::vector<Body> bodies;
  std::size_t next = 0;
  const auto add = [&](const std::string& attribute, const Graph& graph) {
    Body body;
    body.attribute = attribute;
    body.model.ir_version = model.ir_version;
    body.model.opsets = model.opsets;
    body.model.functions = model.functions;
    body.model.source = model.source;
    body.own_inputs = graph.inputs().size();
    Graph& to = body.model.graph;
    Copier copier(graph, to);
    for (const ValueId input : graph.inputs()) copier.input(input);
    for (const ValueId inner : graph.captures()) {
      const Value& outer = model.graph.value(node.captures[next]);
      if (outer.is_constant()) {
        copier.set(inner, to.add_constant(outer.name, *outer.constant));
      } else {
        copier.set(inner, to.add_input(outer.name, outer.type.kind == Type::Kind::unknown ? graph.value(inner).type : outer.type));
        body.captured.push_back(next);
      }
      ++next;
    }
    for (const ValueId value : graph.value_ids())
      if (graph.value(value).is_constant()) copier.constant(value);
    for (const NodeId inner : graph.node_order()) copier.node(inner);
    copier.outputs();
    bodies.push_back(std::move(body));
  };
  for (const Attribute& attribute : node.attributes) {
    if (const auto* one = std::get_if<GraphPtr>(&attribute.value)) {
      if (*one) add(attribute.name, **one);
    } else if (const auto* list = std::get_if<std::vector<GraphPtr>>(&attribute.value)) {
      for (const GraphPtr& graph : *list)
        if (graph) add(attribute.name, *graph);
    }
  }
  return bodies;
}

NodeId set_bodies(Graph& graph, NodeId id, const std::vector<Body>& bodies, const MovesOut& moves_out) {
  Node fresh = graph.node(id);
  const std::string name = fresh.name;
  const std::vector<ValueId> old_captures = std::exchange(fresh.captures, {});
  const bool repeats = !runs_at_most_once(fresh);
  Return back(graph, id, moves_out, old_captures, fresh.captures);
  std::size_t next = 0;
  const auto replace = [&](GraphPtr& subgraph) {
    if (!subgraph) return;
    BEVEL_CHECK(next < bodies.size());
    subgraph = back.subgraph(bodies[next], next, repeats);
    ++next;
  };
  for (Attribute& attribute : fresh.attributes) {
    if (auto* one = std::get_if<GraphPtr>(&attribute.value)) replace(*one);
    else if (auto* list = std::get_if<std::vector<GraphPtr>>(&attribute.value))
      for (GraphPtr& subgraph : *list) replace(subgraph);
  }
  fresh.previous = fresh.next = {};
  for (const ValueId output : fresh.outputs)
    if (output.valid()) graph.move_output(output, graph.add_value(graph.value(output).name + "_before", graph.value(output).type));
  const NodeId made = graph.insert_after(id, std::move(fresh));
  graph.erase_node(id);
  graph.rename_node(made, name);
  return made;
}

void share_constants(Model& model) {
  Places places;
  std::size_t graphs = 0;
  places.add(model.graph, graphs);
  graphs = 0;
  share_constants(model, places, graphs);
  model.graph.erase_dead();
}

void give_own_names(Graph& graph) { give_own_names(graph, std::set<std::string>()); }

void for_each_node(const Graph& graph, const std::function<void(const Node&)>& visit) {
  for (const NodeId id : graph.node_order()) {
    visit(graph.node(id));
    ops::for_each_subgraph(graph.node(id), [&](const GraphPtr& subgraph) { for_each_node(*subgraph, visit); });
  }
}

}  // namespace bevel::passes
