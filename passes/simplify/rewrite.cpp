#include "passes/simplify/rewrite.h"

#include <cmath>
#include <cstring>

#include "lib/support/check.h"

namespace bevel::passes {

bool is_private_to(const Graph& graph, ValueId id, NodeId reader) {
  const Value& value = graph.value(id);
  return value.output_slots == 0 && value.uses.size() == 1 && value.uses[0].node == reader;
}

namespace {

bool outputs_unused(const Graph& graph, NodeId node) {
  for (const ValueId output : graph.node(node).outputs) {
    if (output.valid() && graph.value(output).has_uses()) return false;
  }
  return true;
}

}  // namespace

bool bypass(Graph& graph, NodeId node, ValueId source) {
  const ValueId output = graph.node(node).outputs[0];
  const Value& value = graph.value(output);
  const bool is_output = value.output_slots > 0;
  const bool can_move = graph.value(source).producer.valid() && graph.value(source).output_slots == 0;
  if (is_output && !can_move) {
    if (value.uses.empty()) return false;
    graph.replace_node_uses(output, source);
    return true;
  }
  const Type type = value.type;
  graph.replace_uses(output, source);
  if (is_output) graph.set_type(source, type);  // the interface keeps its declared dimensions
  if (outputs_unused(graph, node)) graph.erase_node(node);
  return true;
}

void absorb(Graph& graph, ValueId kept, NodeId node) {
  const ValueId output = graph.node(node).outputs[0];
  const Value before = graph.value(output);
  BEVEL_CHECK(is_private_to(graph, kept, node) && graph.value(kept).producer.valid());
  BEVEL_CHECK(graph.replace_uses(output, kept));
  BEVEL_CHECK(outputs_unused(graph, node));
  graph.erase_node(node);
  graph.rename_value(kept, before.name);
  graph.set_type(kept, before.type);
  graph.mutable_value(kept).declared = before.declared;
}

ValueId replace_output_by_constant(Graph& graph, NodeId node, std::size_t index, Tensor tensor) {
  const ValueId output = graph.node(node).outputs[index];
  if (!output.valid() || graph.value(output).output_slots > 0 || graph.value(output).uses.empty()) return {};
  const std::string name = graph.value(output).name;
  const ValueId constant = graph.add_constant(name, std::move(tensor));
  graph.replace_node_uses(output, constant);
  graph.remove_output(node, index);
  graph.rename_value(constant, name);
  return constant;
}

void set_own_constant(Graph& graph, NodeId node, std::size_t operand, Tensor tensor, std::string_view wanted) {
  if (operand >= graph.node(node).inputs.size()) graph.resize_inputs(node, operand + 1);
  const ValueId present = graph.node(node).inputs[operand];
  if (present.valid() && graph.constant(present) != nullptr && is_private_to(graph, present, node)) {
    graph.set_constant(present, std::move(tensor));
    return;
  }
  const std::string name = present.valid() ? graph.value(present).name : std::string(wanted);
  graph.set_operand(node, operand, graph.add_constant(name, std::move(tensor)));
}

void become_reshape(Graph& graph, NodeId node, ValueId input, const std::vector<std::int64_t>& target) {
  const std::string name = graph.value(graph.node(node).outputs[0]).name + "_shape";
  const ValueId shape =
      graph.add_constant(name, Tensor::of<std::int64_t>({static_cast<std::int64_t>(target.size())}, target));
  graph.resize_inputs(node, 2);
  graph.set_operand(node, 0, input);
  graph.set_operand(node, 1, shape);
  Node& edited = graph.mutable_node(node);
  edited.op_type = "Reshape";
  edited.attributes.clear();
}

std::optional<std::vector<std::int64_t>> reshape_target(const Type& type) {
  if (!type.is_tensor() || !type.shape.has_rank) return std::nullopt;
  std::vector<std::int64_t> target;
  bool inferred = false;
  for (const Dim& dim : type.shape.dims) {
    if (dim.known()) {
      if (dim.value == 0) return std::nullopt;  // 0 says "as the input's" to Reshape
      target.push_back(dim.value);
    } else {
      if (inferred) return std::nullopt;
      inferred = true;
      target.push_back(-1);
    }
  }
  return target;
}

bool same_shape(const Type& a, const Type& b, bool same_count) {
  if (!a.is_tensor() || !b.is_tensor() || !a.shape.has_rank || !b.shape.has_rank) return false;
  if (a.shape.rank() != b.shape.rank()) return false;
  int unsure = 0;
  bool empty = false;
  for (std::size_t i = 0; i < a.shape.rank(); ++i) {
    const Dim& x = a.shape.dims[i];
    const Dim& y = b.shape.dims[i];
    empty = empty || (x.known() && x.value == 0);
    if (x.known() && y.known() ? x.value == y.value : x.named() && y.named() && x.symbol == y.symbol) continue;
    if (x.known() && y.known()) return false;
    ++unsure;
  }
  // Equal counts and all other dimensions equal (and not empty) leave one possibility for a single dimension.
  return unsure == 0 || (unsure == 1 && same_count && !empty);
}

std::vector<std::int64_t> inverse_order(const std::vector<std::int64_t>& order) {
  std::vector<std::int64_t> inverse(order.size());
  for (std::size_t i = 0; i < order.size(); ++i) inverse[static_cast<std::size_t>(order[i])] = static_cast<std::int64_t>(i);
  return inverse;
}

bool is_identity_order(const std::vector<std::int64_t>& order) {
  for (std::size_t i = 0; i < order.size(); ++i) {
    if (order[i] != static_cast<std::int64_t>(i)) return false;
  }
  return true;
}

Tensor transposed(const Tensor& tensor, const std::vector<std::int64_t>& order) {
  const std::size_t rank = tensor.rank();
  BEVEL_CHECK(order.size() == rank);
  Dims dims(rank), strides(rank, 1), from(rank);
  for (std::size_t i = rank; i-- > 1;) strides[i - 1] = strides[i] * tensor.dim(i);
  for (std::size_t i = 0; i < rank; ++i) {
    dims[i] = tensor.dim(static_cast<std::size_t>(order[i]));
    from[i] = strides[static_cast<std::size_t>(order[i])];
  }
  const bool strings = tensor.dtype() == DType::string;
  Tensor result = strings ? Tensor::of_strings(dims, std::vector<std::string>(static_cast<std::size_t>(tensor.size())))
                          : Tensor::zeros(tensor.dtype(), dims);
  const int bits = dtype_bits(tensor.dtype());
  const std::size_t width = bits >= 8 ? static_cast<std::size_t>(bits) / 8 : 0;
  std::byte* target = width > 0 && tensor.size() > 0 ? result.mutable_bytes().data() : nullptr;
  const std::byte* bytes = width > 0 && tensor.size() > 0 ? tensor.bytes().data() : nullptr;
  Dims index(rank, 0);
  std::int64_t offset = 0;
  for (std::int64_t i = 0; i < tensor.size(); ++i) {
    if (strings) {
      result.mutable_strings()[static_cast<std::size_t>(i)] = tensor.strings()[static_cast<std::size_t>(offset)];
    } else if (target != nullptr) {
      std::memcpy(target + static_cast<std::size_t>(i) * width, bytes + static_cast<std::size_t>(offset) * width, width);
    } else if (is_floating(tensor.dtype())) {
      result.set_from_double(i, tensor.as_double(offset));
    } else {
      result.set_from_int64(i, tensor.as_int64(offset));
    }
    for (std::size_t axis = rank; axis-- > 0;) {
      offset += from[axis];
      if (++index[axis] < dims[axis]) break;
      offset -= from[axis] * dims[axis];
      index[axis] = 0;
    }
  }
  return result;
}

std::optional<Tensor> map_elements(const Tensor& tensor, const std::function<double(std::int64_t, double)>& f) {
  Tensor result = Tensor::zeros(tensor.dtype(), tensor.dims());
  if (tensor.dtype() == DType::float32) {
    const auto from = tensor.values<float>();
    const auto to = result.mutable_values<float>();
    for (std::size_t i = 0; i < from.size(); ++i) {
      to[i] = static_cast<float>(f(static_cast<std::int64_t>(i), static_cast<double>(from[i])));
      if (!std::isfinite(to[i])) return std::nullopt;
    }
    return result;
  }
  for (std::int64_t i = 0; i < tensor.size(); ++i) {
    result.set_from_double(i, f(i, tensor.as_double(i)));
    if (!std::isfinite(result.as_double(i))) return std::nullopt;
  }
  return result;
}

}  // namespace bevel::passes
