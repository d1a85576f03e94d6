// Memory orders of a group and its lowering at actual shapes.
#include <algorithm>

#include "lib/plan/grouping.h"
#include "lib/runtime/bevel_runtime.h"

namespace bevel::plan {
namespace {

using ops::MemoryOrder;

// The output's order when its axes follow the loops of an operand whose order is known: output axes stand as the operand axes
// that run along the same loop do. Axes that follow nothing must have extent 1. nullopt: the space does not say.
std::optional<MemoryOrder> order_through_loops(const ops::IterationSpace& space, std::size_t operand, const MemoryOrder& order,
                                               const Dims& output) {
  using Kind = ops::AxisMap::Kind;
  if (operand >= space.inputs.size() || space.outputs.empty()) return std::nullopt;
  const auto& in = space.inputs[operand].axes;
  const auto& out = space.outputs[0].axes;
  if (in.size() != order.size() || out.size() != output.size()) return std::nullopt;
  const auto loop_of = [](const ops::AxisMap& map) {
    const bool plain = map.kind == Kind::follow || map.kind == Kind::window || map.kind == Kind::segment;
    return plain && !map.loops.empty() ? map.loops[0] : -1;
  };
  MemoryOrder result;
  std::vector<bool> placed(output.size(), false);
  for (int axis : order) {
    const int loop = loop_of(in[static_cast<std::size_t>(axis)]);
    if (loop < 0) continue;
    for (std::size_t o = 0; o < out.size(); ++o) {
      if (!placed[o] && loop_of(out[o]) == loop) {
        placed[o] = true;
        result.push_back(static_cast<int>(o));
      }
    }
  }
  for (std::size_t o = output.size(); o-- > 0;) {
    if (placed[o]) continue;
    if (output[o] != 1) return std::nullopt;
    result.insert(result.begin(), static_cast<int>(o));
  }
  return result;
}

const Tensor* lookup(const Graph& graph, const ConstantOf& constant_of, ValueId id) {
  return constant_of ? constant_of(id) : graph.constant(id);
}

}  // namespace

Orders choose_orders(const Graph& graph, const Group& group, const std::vector<MemoryOrder>& present,
                     const std::vector<Dims>& input_dims, const std::vector<Dims>& output_dims,
                     const ConstantOf& constant_of) {
  Orders orders;
  for (const Dims& dims : input_dims) orders.inputs.push_back(ops::logical_order(dims.size()));
  for (const Dims& dims : output_dims) orders.outputs.push_back(ops::logical_order(dims.size()));
  const Node& node = graph.node(group.anchor);
  const ops::ValueFacts& value = group.facts.value;
  const auto is_variable = [&](std::size_t i) {
    return i < group.inputs.size() && group.inputs[i].border.valid() && lookup(graph, constant_of, group.inputs[i].border) == nullptr;
  };
  // The operand whose order the others take after: the largest data operand that is not constant.
  std::optional<std::size_t> principal;
  std::int64_t largest = -1;
  std::vector<int> data = value.data_operands;
  const bool quant_node = ops::quant_node(node) != ops::QuantNode::none;
  if (data.empty() || quant_node) data = {0};
  for (int operand : data) {
    const auto i = static_cast<std::size_t>(operand);
    if (!is_variable(i)) continue;
    const std::int64_t count = element_count(input_dims[i]).value_or(0);
    if (count > largest) {
      largest = count;
      principal = i;
    }
  }
  if (!principal || output_dims.empty()) return orders;

  // Nothing moves: the output is the input's bytes.
  if (auto view = ops::view_order(node, input_dims[0], present[0], output_dims[0])) {
    orders.inputs[0] = present[0];
    orders.outputs[0] = std::move(*view);
    return orders;
  }
  if (value.layout == ops::LayoutRule::channels_last && !quant_node) {
    for (int operand : data) {
      const auto i = static_cast<std::size_t>(operand);
      if (is_variable(i)) orders.inputs[i] = ops::channels_last_order(input_dims[i].size());
    }
    for (std::size_t i = 0; i < output_dims.size(); ++i) orders.outputs[i] = ops::channels_last_order(output_dims[i].size());
    return orders;
  }
  // A product of two activations is read by strides; its result is row-major.
  if (group.facts.space.kind == ops::OpKind::bilinear && value.layout == ops::LayoutRule::logical && data.size() == 2 && is_variable(0) && is_variable(1)) {
    for (const std::size_t i : {0, 1}) orders.inputs[i] = present[i];
    return orders;
  }
  const bool follows = value.layout == ops::LayoutRule::follow || group.facts.space.kind == ops::OpKind::move || quant_node;
  if (!follows) return orders;
  for (int operand : data) {
    const auto i = static_cast<std::size_t>(operand);
    if (is_variable(i)) orders.inputs[i] = present[i];
  }
  const MemoryOrder& lead = present[*principal];
  for (std::size_t i = 0; i < output_dims.size(); ++i) {
    if (output_dims[i].size() == lead.size()) {
      orders.outputs[i] = lead;
      continue;
    }
    auto order = i == 0 ? order_through_loops(group.facts.space, *principal, lead, output_dims[i]) : std::nullopt;
    if (order) {
      orders.outputs[i] = std::move(*order);
    } else {
      for (std::size_t k = 0; k < input_dims.size(); ++k) orders.inputs[k] = ops::logical_order(input_dims[k].size());
    }
  }
  return orders;
}

ops::LowerContext lower_context(const Model& model, const Group& group, const Orders& orders,
                                const std::vector<Dims>& input_dims, const std::vector<Dims>& output_dims,
                     const ConstantOf& constant_of) {
  const Graph& graph = model.graph;
  ops::LowerContext context;
  context.node = &graph.node(group.anchor);
  context.opset = model.opset(context.node->domain);
  context.facts = group.facts;
  context.clamp = group.clamp;
  context.added_bias = group.added_bias;
  const auto operand = [&](const GroupEdge& edge, const Dims& dims, const MemoryOrder& order) {
    ops::GroupOperand result;
    result.value = edge.border;
    if (!edge.border.valid()) return result;
    const Type& type = graph.value(edge.border).type;
    result.constant = lookup(graph, constant_of, edge.border);
    result.dtype = result.constant != nullptr ? result.constant->dtype() : type.is_tensor() ? type.dtype : DType::undefined;
    if (result.dtype == DType::undefined && edge.quantization) result.dtype = edge.quantization->dtype;
    result.dims = dims;
    result.order = order;
    result.quantization = edge.quantization;
    return result;
  };
  for (std::size_t i = 0; i < group.inputs.size(); ++i) {
    context.inputs.push_back(operand(group.inputs[i], input_dims[i], orders.inputs[i]));
  }
  for (std::size_t i = 0; i < group.outputs.size(); ++i) {
    context.outputs.push_back(operand(group.outputs[i], output_dims[i], orders.outputs[i]));
  }
  return context;
}

ops::LowerResult lower_group(const ops::LowerContext& context) {
  const ops::OpRecord* record = ops::find_op(*context.node);
  if (record == nullptr) return tl::unexpected(fmt::format("operator '{}' is not known", printable(context.node->op_type)));
  if (record->lower == nullptr) return tl::unexpected(fmt::format("there is no kernel for {}", context.node->op_type));
  if (context.inputs.size() < static_cast<std::size_t>(record->min_inputs) || context.outputs.empty() ||
      !context.outputs[0].value.valid()) {
    return tl::unexpected(std::string("it lacks required operands"));
  }
  for (std::size_t i = 0; i < static_cast<std::size_t>(record->min_inputs); ++i) {
    if (!context.inputs[i].value.valid()) return tl::unexpected(fmt::format("input {} is absent", i));
  }
  ops::LowerResult result = record->lower(context);
  if (!result) return result;
  for (ops::LoweredStep& step : result->steps) {
    step.scratch_bytes = bvl_kernel_scratch(step.kernel, step.params.data());
  }
  return result;
}

PlacedResult place_group(const Model& model, const Group& group, const std::vector<MemoryOrder>& present,
                         const std::vector<Dims>& input_dims, const std::vector<Dims>& output_dims,
                     const ConstantOf& constant_of) {
  PlacedGroup placed;
  placed.orders = choose_orders(model.graph, group, present, input_dims, output_dims, constant_of);
  ops::LowerResult lowered = lower_group(lower_context(model, group, placed.orders, input_dims, output_dims, constant_of));
  if (!lowered) {
    Orders logical;
    for (const Dims& dims : input_dims) logical.inputs.push_back(ops::logical_order(dims.size()));
    for (const Dims& dims : output_dims) logical.outputs.push_back(ops::logical_order(dims.size()));
    if (logical.inputs == placed.orders.inputs && logical.outputs == placed.orders.outputs) {
      return tl::unexpected(lowered.error());
    }
    ops::LowerResult second = lower_group(lower_context(model, group, logical, input_dims, output_dims, constant_of));
    if (!second) return tl::unexpected(group.facts.value.layout == ops::LayoutRule::logical ? second.error() : lowered.error());
    placed.orders = std::move(logical);
    lowered = std::move(second);
  }
  placed.lowered = std::move(*lowered);
  return placed;
}

}  // namespace bevel::plan
