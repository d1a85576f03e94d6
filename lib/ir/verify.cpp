// The verifier. One walk over values, one over nodes, one down into subgraphs; each rule has its own message.
#include "lib/ir/verify.h"

#include <set>
#include <string>
#include <unordered_map>
#include <vector>

namespace bevel {
namespace {

std::string node_label(const Graph& graph, NodeId id) {
  const Node& node = graph.node(id);
  return fmt::format("node '{}' ({})", printable(node.name), printable(node.op_type));
}

std::string value_label(const Graph& graph, ValueId id) {
  return fmt::format("value '{}'", printable(graph.value(id).name));
}

// A value has exactly one source: a node, an initializer (perhaps listed as an input too), an input, or a capture.
Status check_source(const Graph& graph, ValueId id) {
  const Value& value = graph.value(id);
  if (value.producer.valid()) {
    if (!graph.alive(value.producer)) {
      return fail_input("{}: its producer (node {}) was removed", value_label(graph, id), value.producer.index);
    }
    const Node& node = graph.node(value.producer);
    if (value.output_index >= node.outputs.size() || node.outputs[value.output_index] != id) {
      return fail_input("{}: says it is output {} of {}, which does not list it there", value_label(graph, id),
                        value.output_index, node_label(graph, value.producer));
    }
    if (value.constant || value.is_input || value.is_capture) {
      return fail_input("{}: is produced by {} and is also {}; a value has one source", value_label(graph, id),
                        node_label(graph, value.producer),
                        value.constant ? "an initializer" : value.is_input ? "a graph input" : "a captured outer value");
    }
    return {};
  }
  if (value.is_capture && (value.constant || value.is_input)) {
    return fail_input("{}: is captured from an enclosing graph and is also {}; a value has one source",
                      value_label(graph, id), value.constant ? "an initializer" : "a graph input");
  }
  if (value.constant || value.is_input || value.is_capture) return {};
  if (!value.uses.empty()) {
    return fail_input("{} reads '{}', which no node produces and which is neither a graph input nor an initializer",
                      graph.alive(value.uses[0].node) ? node_label(graph, value.uses[0].node) : "a removed node",
                      printable(value.name));
  }
  if (value.output_slots > 0) {
    return fail_input("graph output '{}' is produced by no node and is neither a graph input nor an initializer",
                      printable(value.name));
  }
  return {};
}

Status check_constant(const Graph& graph, ValueId id) {
  const Value& value = graph.value(id);
  if (!value.constant || value.type.kind == Type::Kind::unknown) return {};
  const Tensor& tensor = *value.constant;
  if (!value.type.is_tensor()) {
    return fail_input("{}: is an initializer, but its type is {}", value_label(graph, id), to_string(value.type));
  }
  if (value.type.dtype != DType::undefined && value.type.dtype != tensor.dtype()) {
    return fail_input("{}: its initializer holds {} elements, its type says {}", value_label(graph, id),
                      dtype_name(tensor.dtype()), to_string(value.type));
  }
  if (!value.type.shape.has_rank) return {};
  const auto& dims = value.type.shape.dims;
  bool fits = dims.size() == tensor.rank();
  for (std::size_t i = 0; fits && i < dims.size(); ++i) fits = !dims[i].known() || dims[i].value == tensor.dim(i);
  if (!fits) {
    return fail_input("{}: its initializer is {}, its type says {}", value_label(graph, id),
                      to_string(Type::tensor(tensor.dtype(), tensor.dims())), to_string(value.type));
  }
  return {};
}

Status check_uses(const Graph& graph, ValueId id) {
  const Value& value = graph.value(id);
  std::set<std::pair<std::uint32_t, std::uint32_t>> seen;
  for (const Use& use : value.uses) {
    if (!graph.alive(use.node)) {
      return fail_input("{}: its use list names node {}, which was removed", value_label(graph, id), use.node.index);
    }
    const Node& node = graph.node(use.node);
    if (use.operand >= node.operand_count() || node.operand(use.operand) != id) {
      return fail_input("{}: its use list names operand {} of {}, which reads something else", value_label(graph, id),
                        use.operand, node_label(graph, use.node));
    }
    if (!seen.emplace(use.node.index, use.operand).second) {
      return fail_input("{}: its use list names operand {} of {} twice", value_label(graph, id), use.operand,
                        node_label(graph, use.node));
    }
  }
  return {};
}

Status check_values(const Graph& graph) {
  for (ValueId id : graph.value_ids()) {
    const Value& value = graph.value(id);
    if (value.name.empty()) return fail_input("a value (number {}) has no name", id.index);
    if (graph.find_value(value.name) != id) {
      return fail_input("two values are named '{}'; names are unique in a graph", printable(value.name));
    }
    BEVEL_TRY_STATUS(check_source(graph, id));
    BEVEL_TRY_STATUS(check_constant(graph, id));
    BEVEL_TRY_STATUS(check_uses(graph, id));
  }
  return {};
}

// The formal lists (inputs, outputs, captures) and the marks on the values say the same.
Status check_formals(const Graph& graph) {
  std::size_t marked_inputs = 0, marked_captures = 0, output_slots = 0;
  for (ValueId id : graph.value_ids()) {
    marked_inputs += graph.value(id).is_input;
    marked_captures += graph.value(id).is_capture;
    output_slots += graph.value(id).output_slots;
  }
  const auto check_list = [&](const std::vector<ValueId>& list, const char* what, bool Value::*mark) -> Status {
    std::set<ValueId> seen;
    for (ValueId id : list) {
      if (!graph.alive(id)) return fail_input("the graph's list of {}s holds a removed value ({})", what, id.index);
      if (!(graph.value(id).*mark)) {
        return fail_input("{}: is in the graph's list of {}s but is not marked as one", value_label(graph, id), what);
      }
      if (!seen.insert(id).second) {
        return fail_input("{}: is twice in the graph's list of {}s", value_label(graph, id), what);
      }
    }
    return {};
  };
  BEVEL_TRY_STATUS(check_list(graph.inputs(), "input", &Value::is_input));
  BEVEL_TRY_STATUS(check_list(graph.captures(), "capture", &Value::is_capture));
  if (marked_inputs != graph.inputs().size() || marked_captures != graph.captures().size()) {
    return fail_input("{} values are marked as inputs and {} as captures; the graph lists {} and {}", marked_inputs,
                      marked_captures, graph.inputs().size(), graph.captures().size());
  }
  std::unordered_map<std::uint32_t, std::uint32_t> slots;
  for (ValueId id : graph.outputs()) {
    if (!graph.alive(id)) return fail_input("the graph's list of outputs holds a removed value ({})", id.index);
    ++slots[id.index];
  }
  for (ValueId id : graph.outputs()) {
    if (graph.value(id).output_slots != slots[id.index]) {
      return fail_input("{}: feeds {} graph outputs, but is marked as feeding {}", value_label(graph, id),
                        slots[id.index], graph.value(id).output_slots);
    }
  }
  if (output_slots != graph.outputs().size()) {
    return fail_input("values are marked as feeding {} graph outputs; the graph has {}", output_slots,
                      graph.outputs().size());
  }
  return {};
}

Status verify_graph(const Graph& graph);

// A node's captures are those of its subgraphs, in order; a capture's element type agrees with the outer value's.
Status check_subgraphs(const Graph& graph, NodeId id) {
  const Node& node = graph.node(id);
  std::size_t next = 0;
  const auto check_one = [&](const GraphPtr& subgraph, const std::string& attribute) -> Status {
    const std::string where = fmt::format("{}: attribute '{}'", node_label(graph, id), printable(attribute));
    if (!subgraph) return fail_input("{}: holds no graph", where);
    if (auto status = verify_graph(*subgraph); !status) return located(where, std::move(status).error());
    for (ValueId captured : subgraph->captures()) {
      const Value& inner = subgraph->value(captured);
      if (next >= node.captures.size()) {
        return fail_input("{}: its graph captures '{}', but the node has only {} captured operands", where,
                          printable(inner.name), node.captures.size());
      }
      const ValueId outer_id = node.captures[next++];
      if (!graph.alive(outer_id)) {
        return fail_input("{}: captured operand '{}' is absent or was removed", where, printable(inner.name));
      }
      const Value& outer = graph.value(outer_id);
      if (inner.type.is_tensor() && outer.type.is_tensor() && inner.type.dtype != outer.type.dtype &&
          inner.type.dtype != DType::undefined && outer.type.dtype != DType::undefined) {
        return fail_input("{}: capture '{}' has type {}, the outer value '{}' has {}", where, printable(inner.name),
                          to_string(inner.type), printable(outer.name), to_string(outer.type));
      }
    }
    return {};
  };
  for (const Attribute& attribute : node.attributes) {
    if (const auto* one = std::get_if<GraphPtr>(&attribute.value)) {
      BEVEL_TRY_STATUS(check_one(*one, attribute.name));
    } else if (const auto* many = std::get_if<std::vector<GraphPtr>>(&attribute.value)) {
      for (const GraphPtr& subgraph : *many) BEVEL_TRY_STATUS(check_one(subgraph, attribute.name));
    }
  }
  if (next != node.captures.size()) {
    return fail_input("{}: has {} captured operands, but its subgraphs capture {} values", node_label(graph, id),
                      node.captures.size(), next);
  }
  return {};
}

Status check_nodes(const Graph& graph) {
  const std::vector<NodeId> order = graph.node_order();
  if (order.size() != graph.node_count()) {
    return fail_input("the execution order holds {} nodes, the graph {}", order.size(), graph.node_count());
  }
  std::vector<std::size_t> position(graph.node_capacity(), 0);  // 1-based; 0: not in the order
  for (std::size_t i = 0; i < order.size(); ++i) {
    if (!graph.alive(order[i])) return fail_input("the execution order holds a removed node ({})", order[i].index);
    if (position[order[i].index] != 0) {
      return fail_input("{}: is twice in the execution order", node_label(graph, order[i]));
    }
    position[order[i].index] = i + 1;
  }
  std::vector<std::size_t> reads(graph.value_capacity(), 0);
  for (NodeId id : order) {
    const Node& node = graph.node(id);
    if (node.name.empty()) return fail_input("a node ({}) has no name", printable(node.op_type));
    if (graph.find_node(node.name) != id) {
      return fail_input("two nodes are named '{}'; names are unique in a graph", printable(node.name));
    }
    for (std::size_t i = 0; i < node.operand_count(); ++i) {
      const ValueId operand = node.operand(i);
      if (!operand.valid()) {
        if (i >= node.inputs.size()) return fail_input("{}: a captured operand is absent", node_label(graph, id));
        continue;
      }
      if (!graph.alive(operand)) {
        return fail_input("{}: operand {} reads a removed value ({})", node_label(graph, id), i, operand.index);
      }
      const Value& value = graph.value(operand);
      ++reads[operand.index];
      if (value.producer.valid() && graph.alive(value.producer) &&
          position[value.producer.index] >= position[id.index]) {
        return fail_input("{}: reads '{}' before {} has produced it", node_label(graph, id), printable(value.name),
                          node_label(graph, value.producer));
      }
    }
    for (std::size_t i = 0; i < node.outputs.size(); ++i) {
      const ValueId output = node.outputs[i];
      if (!output.valid()) continue;
      if (!graph.alive(output)) {
        return fail_input("{}: output {} is a removed value ({})", node_label(graph, id), i, output.index);
      }
      const Value& value = graph.value(output);
      if (value.producer != id || value.output_index != i) {
        return fail_input("{}: output {} is {}, which does not name it as its producer", node_label(graph, id), i,
                          value_label(graph, output));
      }
    }
    BEVEL_TRY_STATUS(check_subgraphs(graph, id));
  }
  // Every entry of a use list was found to be true (check_uses), none twice: equal counts mean that none is missing.
  for (ValueId id : graph.value_ids()) {
    if (reads[id.index] != graph.value(id).uses.size()) {
      return fail_input("{}: is read by {} operands, its use list has {}", value_label(graph, id), reads[id.index],
                        graph.value(id).uses.size());
    }
  }
  return {};
}

Status verify_graph(const Graph& graph) {
  BEVEL_TRY_STATUS(check_values(graph));
  BEVEL_TRY_STATUS(check_formals(graph));
  return check_nodes(graph);
}

}  // namespace

Status verify(const Graph& graph) {
  auto status = verify_graph(graph);
  if (!status) return located(fmt::format("graph '{}'", printable(graph.name)), std::move(status).error());
  return {};
}

Status verify(const Model& model) {
  if (!model.graph.captures().empty()) {
    return fail_input("graph '{}': value '{}' is captured from an enclosing graph, but the main graph has none",
                      printable(model.graph.name), printable(model.graph.value(model.graph.captures()[0]).name));
  }
  std::set<std::vector<std::string_view>> functions;
  for (const Function& function : model.functions) {
    const std::string where = fmt::format("function '{}'", printable(function.body.name));
    if (!functions.insert({function.domain, function.body.name, function.overload}).second) {
      return fail_input("{}: is defined twice in domain '{}'; expected one of each domain, name and overload", where,
                        printable(function.domain));
    }
    if (!function.body.captures().empty()) {
      return fail_input("{}: value '{}' is captured from an enclosing graph, but a function has none", where,
                        printable(function.body.value(function.body.captures()[0]).name));
    }
    for (ValueId id : function.body.value_ids()) {
      if (!function.body.value(id).constant) continue;
      return fail_input("{}: value '{}' is an initializer, which functions have none of", where,
                        printable(function.body.value(id).name));
    }
    if (auto status = verify_graph(function.body); !status) return located(where, std::move(status).error());
  }
  return verify(model.graph);
}

}  // namespace bevel
