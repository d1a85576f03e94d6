#include "lib/ops/downgrade.h"

#include <algorithm>

#include "lib/ops/tensor_family.h"

namespace bevel::ops {

Result<Tensor> constant_tensor(const Node& node);  // shape_evaluate.cpp

std::optional<Tensor> constant_operand(const Model& model, NodeId id, std::size_t index) {
  const Graph& graph = model.graph;
  const Node& node = graph.node(id);
  if (index >= node.inputs.size() || !node.inputs[index].valid()) return std::nullopt;
  const Value& value = graph.value(node.inputs[index]);
  if (const Tensor* constant = graph.constant(node.inputs[index])) return *constant;
  if (!value.producer.valid()) return std::nullopt;
  const Node& producer = graph.node(value.producer);
  if (producer.op_type != "Constant" || !producer.domain.empty()) return std::nullopt;
  auto tensor = constant_tensor(producer);
  return tensor ? std::optional(std::move(*tensor)) : std::nullopt;
}

void drop_inputs(Model& model, NodeId id, std::size_t count) {
  Graph& graph = model.graph;
  const std::vector<ValueId> inputs = graph.node(id).inputs;
  if (inputs.size() <= count) return;
  graph.resize_inputs(id, count);
  for (std::size_t i = count; i < inputs.size(); ++i) {
    if (!inputs[i].valid() || !graph.alive(inputs[i])) continue;
    const Value& value = graph.value(inputs[i]);
    if (value.constant && !value.producer.valid() && !value.is_input && !value.has_uses()) graph.erase_value(inputs[i]);
  }
}

Status input_to_attribute(Model& model, NodeId id, std::string_view name, std::size_t index) {
  const Node& node = model.graph.node(id);
  if (index >= node.inputs.size() || !node.inputs[index].valid()) {
    drop_inputs(model, id, std::min(index, node.inputs.size()));
    return {};
  }
  const auto tensor = constant_operand(model, id, index);
  auto values = constant_ints(tensor ? &*tensor : nullptr);
  if (!values) return fail_operand(index, name, "must be constant to become an attribute");
  drop_inputs(model, id, index);
  if (!values->empty()) model.graph.mutable_node(id).set_attribute(name, std::move(*values));
  return {};
}

}  // namespace bevel::ops
