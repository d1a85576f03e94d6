#include "lib/ir/graph.h"

#include <fmt/core.h>

#include <algorithm>

#include "lib/support/check.h"

namespace bevel {

const Attribute* Node::attribute(std::string_view wanted) const {
  for (const Attribute& attribute : attributes)
    if (attribute.name == wanted) return &attribute;
  return nullptr;
}

void Node::set_attribute(std::string_view wanted, AttributeValue value) {
  for (Attribute& attribute : attributes)
    if (attribute.name == wanted) {
      attribute.value = std::move(value);
      return;
    }
  attributes.push_back({std::string(wanted), std::move(value), {}});
}

void Node::remove_attribute(std::string_view wanted) {
  std::erase_if(attributes, [&](const Attribute& attribute) { return attribute.name == wanted; });
}

const Value& Graph::value(ValueId id) const {
  BEVEL_CHECK(alive(id));
  return values_[id.index];
}

const Node& Graph::node(NodeId id) const {
  BEVEL_CHECK(alive(id));
  return nodes_[id.index];
}

Node& Graph::mutable_node(NodeId id) {
  BEVEL_CHECK(alive(id));
  return nodes_[id.index];
}

Value& Graph::mutable_value(ValueId id) {
  BEVEL_CHECK(alive(id));
  return values_[id.index];
}

std::vector<NodeId> Graph::node_order() const {
  std::vector<NodeId> order;
  order.reserve(alive_nodes_);
  for (NodeId id = first_; id.valid(); id = nodes_[id.index].next) order.push_back(id);
  return order;
}

std::vector<ValueId> Graph::value_ids() const {
  std::vector<ValueId> ids;
  for (std::size_t i = 0; i < values_.size(); ++i)
    if (values_[i].alive) ids.push_back(ValueId(i));
  return ids;
}

ValueId Graph::find_value(std::string_view wanted) const {
  const auto found = value_names_.find(wanted);
  return found == value_names_.end() ? ValueId() : found->second;
}

NodeId Graph::find_node(std::string_view wanted) const {
  const auto found = node_names_.find(wanted);
  return found == node_names_.end() ? NodeId() : found->second;
}

const Tensor* Graph::constant(ValueId id) const {
  if (!alive(id)) return nullptr;
  const Value& value = values_[id.index];
  return value.is_constant() ? &*value.constant : nullptr;
}

namespace {

template <typename Taken>
std::string free_name(std::string_view wanted, std::string_view fallback, Taken&& taken,
                      NameMap<std::uint32_t>& counters) {
  std::string base(wanted.empty() ? fallback : wanted);
  if (!taken(base)) return base;
  for (std::uint32_t& counter = counters[base];;) {
    std::string candidate = fmt::format("{}_{}", base, ++counter);
    if (!taken(candidate)) return candidate;
  }
}

}  // namespace

std::string Graph::unique_value_name(std::string_view wanted) const {
  return free_name(wanted, "value", [&](const std::string& n) { return value_names_.contains(n); }, name_counters_);
}

std::string Graph::unique_node_name(std::string_view wanted) const {
  return free_name(wanted, "node", [&](const std::string& n) { return node_names_.contains(n); }, name_counters_);
}

ValueId Graph::add_value(std::string_view wanted, Type type) {
  const ValueId id(values_.size());
  Value value;
  value.name = unique_value_name(wanted);
  value.type = std::move(type);
  value_names_.emplace(value.name, id);
  values_.push_back(std::move(value));
  return id;
}

ValueId Graph::add_input(std::string_view wanted, Type type) {
  const ValueId id = add_value(wanted, std::move(type));
  values_[id.index].is_input = true;
  inputs_.push_back(id);
  return id;
}

ValueId Graph::add_constant(std::string_view wanted, Tensor tensor) {
  const ValueId id = add_value(wanted, Type::tensor(tensor.dtype(), tensor.dims()));
  values_[id.index].constant = std::move(tensor);
  return id;
}

ValueId Graph::add_capture(std::string_view wanted, Type type) {
  const ValueId id = add_value(wanted, std::move(type));
  values_[id.index].is_capture = true;
  captures_.push_back(id);
  return id;
}

void Graph::add_output(ValueId id) {
  BEVEL_CHECK(alive(id));
  outputs_.push_back(id);
  ++values_[id.index].output_slots;
}

void Graph::set_capture_order(std::vector<ValueId> order) {
  BEVEL_CHECK(order.size() == captures_.size());
  for (const ValueId id : order) BEVEL_CHECK(value(id).is_capture);
  captures_ = std::move(order);
}

void Graph::add_use(ValueId id, NodeId node, std::size_t operand) {
  if (!id.valid()) return;
  BEVEL_CHECK(alive(id));
  values_[id.index].uses.push_back({node, static_cast<std::uint32_t>(operand)});
}

void Graph::drop_use(ValueId id, NodeId node, std::size_t operand) {
  if (!id.valid()) return;
  auto& uses = values_[id.index].uses;
  const auto found = std::find(uses.begin(), uses.end(), Use{node, static_cast<std::uint32_t>(operand)});
  BEVEL_CHECK(found != uses.end());
  uses.erase(found);
}

void Graph::link(NodeId id, NodeId before) {
  Node& node = nodes_[id.index];
  node.next = before;
  node.previous = before.valid() ? nodes_[before.index].previous : last_;
  (node.previous.valid() ? nodes_[node.previous.index].next : first_) = id;
  (before.valid() ? nodes_[before.index].previous : last_) = id;
}

void Graph::unlink(NodeId id) {
  const Node& node = nodes_[id.index];
  (node.previous.valid() ? nodes_[node.previous.index].next : first_) = node.next;
  (node.next.valid() ? nodes_[node.next.index].previous : last_) = node.previous;
}

NodeId Graph::adopt(Node node) {
  const NodeId id(nodes_.size());
  node.name = unique_node_name(node.name.empty() ? node.op_type : node.name);
  node.alive = true;
  for (std::size_t i = 0; i < node.operand_count(); ++i) add_use(node.operand(i), id, i);
  for (std::size_t i = 0; i < node.outputs.size(); ++i) {
    if (!node.outputs[i].valid()) continue;
    BEVEL_CHECK(alive(node.outputs[i]));
    Value& value = values_[node.outputs[i].index];
    BEVEL_CHECK(!value.producer.valid() && !value.is_input && !value.is_capture && !value.constant);
    value.producer = id;
    value.output_index = static_cast<std::uint32_t>(i);
  }
  node_names_.emplace(node.name, id);
  nodes_.push_back(std::move(node));
  ++alive_nodes_;
  return id;
}

NodeId Graph::add_node(Node node) {
  const NodeId id = adopt(std::move(node));
  link(id, NodeId());
  return id;
}

NodeId Graph::insert_before(NodeId position, Node node) {
  BEVEL_CHECK(alive(position));
  const NodeId id = adopt(std::move(node));
  link(id, position);
  return id;
}

NodeId Graph::insert_after(NodeId position, Node node) {
  BEVEL_CHECK(alive(position));
  const NodeId id = adopt(std::move(node));
  link(id, nodes_[position.index].next);
  return id;
}

namespace {

Node make_node(std::string_view op_type, std::string_view name, std::vector<ValueId> inputs,
               std::vector<Attribute> attributes, ValueId output) {
  Node node;
  node.op_type = op_type;
  node.name = name;
  node.inputs = std::move(inputs);
  node.attributes = std::move(attributes);
  node.outputs = {output};
  return node;
}

}  // namespace

Graph::Built Graph::build_before(NodeId position, std::string_view op_type, std::string_view name,
                                 std::vector<ValueId> inputs, std::vector<Attribute> attributes, Type output_type) {
  const ValueId output = add_value(name, std::move(output_type));
  return {insert_before(position, make_node(op_type, name, std::move(inputs), std::move(attributes), output)), output};
}

Graph::Built Graph::build_after(NodeId position, std::string_view op_type, std::string_view name,
                                std::vector<ValueId> inputs, std::vector<Attribute> attributes, Type output_type) {
  const ValueId output = add_value(name, std::move(output_type));
  return {insert_after(position, make_node(op_type, name, std::move(inputs), std::move(attributes), output)), output};
}

void Graph::set_type(ValueId id, Type type) { mutable_value(id).type = std::move(type); }

void Graph::set_constant(ValueId id, Tensor tensor) {
  Value& value = mutable_value(id);
  BEVEL_CHECK(!value.producer.valid());
  value.type = Type::tensor(tensor.dtype(), tensor.dims());
  value.constant = std::move(tensor);
}

void Graph::set_operand(NodeId id, std::size_t operand, ValueId to) {
  Node& node = mutable_node(id);
  BEVEL_CHECK(operand < node.operand_count());
  ValueId& slot =
      operand < node.inputs.size() ? node.inputs[operand] : node.captures[operand - node.inputs.size()];
  if (slot == to) return;
  drop_use(slot, id, operand);
  slot = to;
  add_use(to, id, operand);
}

void Graph::resize_inputs(NodeId id, std::size_t count) {
  Node& node = mutable_node(id);
  for (std::size_t i = 0; i < node.operand_count(); ++i) drop_use(node.operand(i), id, i);
  node.inputs.resize(count);
  for (std::size_t i = 0; i < node.operand_count(); ++i) add_use(node.operand(i), id, i);
}

void Graph::add_operand(NodeId id, ValueId to) {
  const std::size_t at = node(id).inputs.size();
  resize_inputs(id, at + 1);
  set_operand(id, at, to);
}

void Graph::remove_output(NodeId id, std::size_t index) {
  Node& node = mutable_node(id);
  const ValueId output = node.outputs[index];
  if (!output.valid()) return;
  Value& value = values_[output.index];
  BEVEL_CHECK(!value.has_uses());
  node.outputs[index] = ValueId();
  value.producer = NodeId();
  erase_value(output);
}

void Graph::replace_node_uses(ValueId from, ValueId to, NodeId except) {
  BEVEL_CHECK(alive(from) && alive(to));
  if (from == to) return;
  const std::vector<Use> uses = std::move(values_[from.index].uses);
  values_[from.index].uses.clear();
  for (const Use& use : uses) {
    if (use.node == except) {
      values_[from.index].uses.push_back(use);
      continue;
    }
    Node& node = nodes_[use.node.index];
    (use.operand < node.inputs.size() ? node.inputs[use.operand] : node.captures[use.operand - node.inputs.size()]) = to;
    values_[to.index].uses.push_back(use);
  }
}

bool Graph::replace_uses(ValueId from, ValueId to) {
  replace_node_uses(from, to);
  Value& source = values_[from.index];
  Value& target = values_[to.index];
  if (source.output_slots == 0) return true;
  if (!target.producer.valid() || target.output_slots > 0) return false;
  for (ValueId& slot : outputs_)
    if (slot == from) slot = to;
  target.output_slots = std::exchange(source.output_slots, 0);
  std::swap(source.name, target.name);
  std::swap(source.doc_string, target.doc_string);
  std::swap(source.opaque, target.opaque);
  value_names_[source.name] = from;
  value_names_[target.name] = to;
  return true;
}

void Graph::move_output(ValueId from, ValueId to) {
  Value& source = mutable_value(from);
  Value& target = mutable_value(to);
  BEVEL_CHECK(source.producer.valid() && !target.producer.valid() && !target.constant && !target.is_input);
  nodes_[source.producer.index].outputs[source.output_index] = to;
  target.producer = std::exchange(source.producer, NodeId());
  target.output_index = std::exchange(source.output_index, 0);
}

void Graph::erase_node(NodeId id) {
  Node& node = mutable_node(id);
  for (const ValueId output : node.outputs) BEVEL_CHECK(!output.valid() || !values_[output.index].has_uses());
  for (std::size_t i = 0; i < node.operand_count(); ++i) drop_use(node.operand(i), id, i);
  for (const ValueId output : node.outputs)
    if (output.valid()) {
      values_[output.index].producer = NodeId();
      erase_value(output);
    }
  unlink(id);
  node_names_.erase(node.name);
  node = Node();
  node.alive = false;
  --alive_nodes_;
}

void Graph::erase_value(ValueId id) {
  Value& value = mutable_value(id);
  BEVEL_CHECK(!value.has_uses() && !value.producer.valid() && !value.is_input && !value.is_capture);
  value_names_.erase(value.name);
  value = Value();
  value.alive = false;
}

void Graph::rename_value(ValueId id, std::string_view wanted) {
  Value& value = mutable_value(id);
  if (value.name == wanted) return;
  value_names_.erase(value.name);
  value.name = unique_value_name(wanted);
  value_names_.emplace(value.name, id);
}

void Graph::rename_node(NodeId id, std::string_view wanted) {
  Node& node = mutable_node(id);
  if (node.name == wanted) return;
  node_names_.erase(node.name);
  node.name = unique_node_name(wanted);
  node_names_.emplace(node.name, id);
}

void Graph::remove_input(ValueId id) {
  BEVEL_CHECK(value(id).is_input);
  values_[id.index].is_input = false;
  std::erase(inputs_, id);
}

Graph::Swept Graph::erase_dead() {
  Swept swept;
  // Backwards in execution order: a node's consumers have been looked at before it.
  for (NodeId id = last_; id.valid();) {
    const NodeId previous = nodes_[id.index].previous;
    const auto& outputs = nodes_[id.index].outputs;
    const bool used = std::any_of(outputs.begin(), outputs.end(), [&](ValueId output) {
      return output.valid() && values_[output.index].has_uses();
    });
    if (!used) {
      erase_node(id);
      ++swept.nodes;
    }
    id = previous;
  }
  for (std::size_t i = 0; i < values_.size(); ++i) {
    const Value& value = values_[i];
    if (value.alive && value.constant && !value.is_input && !value.has_uses()) {
      erase_value(ValueId(i));
      ++swept.constants;
    }
  }
  return swept;
}

namespace {

constexpr std::uint32_t kUnseen = 0, kOpen = 1, kDone = 2;

}  // namespace

bool Graph::sort() {
  // Depth-first from each node in its present order, so that a sorted graph stays as it is.
  std::vector<std::uint32_t> state(nodes_.size(), kUnseen);
  std::vector<NodeId> order;
  std::vector<std::pair<NodeId, std::size_t>> stack;
  for (NodeId start = first_; start.valid(); start = nodes_[start.index].next) {
    if (state[start.index] != kUnseen) continue;
    state[start.index] = kOpen;
    stack.emplace_back(start, 0);
    while (!stack.empty()) {
      auto& [id, operand] = stack.back();
      const Node& node = nodes_[id.index];
      if (operand == node.operand_count()) {
        state[id.index] = kDone;
        order.push_back(id);
        stack.pop_back();
        continue;
      }
      const ValueId input = node.operand(operand++);
      if (!input.valid()) continue;
      const NodeId producer = values_[input.index].producer;
      if (!producer.valid() || state[producer.index] == kDone) continue;
      if (state[producer.index] == kOpen) return false;
      state[producer.index] = kOpen;
      stack.emplace_back(producer, 0);
    }
  }
  first_ = last_ = NodeId();
  for (const NodeId id : order) {
    nodes_[id.index].previous = nodes_[id.index].next = NodeId();
    link(id, NodeId());
  }
  return true;
}

NodeId Graph::find_cycle() const {
  // Kahn's algorithm: what never becomes ready lies on a cycle or behind one; walk back until a node repeats.
  std::vector<std::uint32_t> missing(nodes_.size(), 0);
  std::vector<NodeId> ready;
  for (std::size_t i = 0; i < nodes_.size(); ++i) {
    if (!nodes_[i].alive) continue;
    for (std::size_t k = 0; k < nodes_[i].operand_count(); ++k) {
      const ValueId input = nodes_[i].operand(k);
      if (input.valid() && values_[input.index].producer.valid()) ++missing[i];
    }
    if (missing[i] == 0) ready.push_back(NodeId(i));
  }
  while (!ready.empty()) {
    const NodeId id = ready.back();
    ready.pop_back();
    for (const ValueId output : nodes_[id.index].outputs) {
      if (!output.valid()) continue;
      for (const Use& use : values_[output.index].uses)
        if (--missing[use.node.index] == 0) ready.push_back(use.node);
    }
  }
  const auto stuck_producer = [&](NodeId id) {
    for (std::size_t k = 0; k < nodes_[id.index].operand_count(); ++k) {
      const ValueId input = nodes_[id.index].operand(k);
      if (!input.valid()) continue;
      const NodeId producer = values_[input.index].producer;
      if (producer.valid() && missing[producer.index] > 0) return producer;
    }
    return NodeId();
  };
  for (std::size_t i = 0; i < nodes_.size(); ++i) {
    if (!nodes_[i].alive || missing[i] == 0) continue;
    std::vector<bool> seen(nodes_.size(), false);
    NodeId id(i);
    while (id.valid() && !seen[id.index]) {
      seen[id.index] = true;
      id = stuck_producer(id);
    }
    return id;
  }
  return NodeId();
}

void Graph::compact() {
  std::vector<NodeId> node_map(nodes_.size());
  std::vector<ValueId> value_map(values_.size());
  std::vector<Node> nodes;
  std::vector<Value> values;
  for (const NodeId id : node_order()) {
    node_map[id.index] = NodeId(nodes.size());
    nodes.push_back(std::move(nodes_[id.index]));
  }
  for (std::size_t i = 0; i < values_.size(); ++i) {
    if (!values_[i].alive) continue;
    value_map[i] = ValueId(values.size());
    values.push_back(std::move(values_[i]));
  }
  const auto moved = [&](ValueId id) { return id.valid() ? value_map[id.index] : id; };
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    Node& node = nodes[i];
    for (auto* list : {&node.inputs, &node.captures, &node.outputs})
      for (ValueId& id : *list) id = moved(id);
    node.previous = i > 0 ? NodeId(i - 1) : NodeId();
    node.next = i + 1 < nodes.size() ? NodeId(i + 1) : NodeId();
  }
  for (Value& value : values) {
    if (value.producer.valid()) value.producer = node_map[value.producer.index];
    for (Use& use : value.uses) use.node = node_map[use.node.index];
  }
  for (auto* list : {&inputs_, &outputs_, &captures_})
    for (ValueId& id : *list) id = moved(id);
  nodes_ = std::move(nodes);
  values_ = std::move(values);
  first_ = nodes_.empty() ? NodeId() : NodeId(std::size_t{0});
  last_ = nodes_.empty() ? NodeId() : NodeId(nodes_.size() - 1);
  value_names_.clear();
  node_names_.clear();
  for (std::size_t i = 0; i < values_.size(); ++i) value_names_.emplace(values_[i].name, ValueId(i));
  for (std::size_t i = 0; i < nodes_.size(); ++i) node_names_.emplace(nodes_[i].name, NodeId(i));
}

std::int64_t Model::opset(std::string_view wanted) const {
  for (const OpsetImport& import : opsets)
    if (import.domain == wanted) return import.version;
  return 0;
}

void Model::set_opset(std::string_view wanted, std::int64_t version) {
  for (OpsetImport& import : opsets)
    if (import.domain == wanted) {
      import.version = version;
      return;
    }
  opsets.push_back({std::string(wanted), version});
}

}  // namespace bevel
