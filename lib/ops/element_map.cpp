#include "lib/ops/element_map.h"

#include "lib/ops/op.h"
#include "lib/ops/semantics.h"

namespace bevel::ops {
namespace {

bool is_float32(const Graph& graph, ValueId id) {
  const Type& type = graph.value(id).type;
  return type.is_tensor() && type.dtype == DType::float32;
}

std::optional<ElementMap> batch_normalization(const Model& model, const Graph& graph, NodeId id) {
  // Sums and products with constants are affine too, but -0 * factor + 0 has another sign than -0 * factor.
  if (graph.node(id).op_type != "BatchNormalization") return std::nullopt;
  const auto affine = as_channel_affine(model, graph, id);
  if (!affine || affine->axis != 1 || affine->scale.size() != affine->shift.size()) return std::nullopt;
  const Shape& shape = graph.value(affine->input).type.shape;
  if (!shape.has_rank || shape.rank() < 2 || !shape.dims[1].known()) return std::nullopt;
  if (shape.dims[1].value != static_cast<std::int64_t>(affine->scale.size())) return std::nullopt;
  ElementMap map;
  map.input = affine->input;
  for (const double factor : affine->scale) map.factor.push_back(static_cast<float>(factor));
  for (const double offset : affine->shift) map.offset.push_back(static_cast<float>(offset));
  return map;
}

std::optional<ElementMap> clamp(const Model& model, const Graph& graph, NodeId id) {
  const ValueFacts facts = facts_of(model, graph, id).value;
  // max(constant, x) prefers the constant's sign of zero.
  if (!facts.clamp || facts.data_operands != std::vector<int>{0}) return std::nullopt;
  const double low = facts.clamp->low, high = facts.clamp->high;
  if (low != low || high != high) return std::nullopt;
  ElementMap map;
  map.input = graph.node(id).inputs[0];
  map.low = static_cast<float>(low);
  map.high = static_cast<float>(high);
  map.clamps = true;
  return map;
}

}  // namespace

bool ElementMap::append(const ElementMap& next) {
  if (clamps || (scales() && next.scales())) return false;
  if (next.scales()) {
    factor = next.factor;
    offset = next.offset;
  }
  low = next.low;
  high = next.high;
  clamps = next.clamps;
  return true;
}

std::optional<ElementMap> as_element_map(const Model& model, const Graph& graph, NodeId id) {
  const Node& node = graph.node(id);
  if (node.inputs.empty() || !node.inputs[0].valid() || node.outputs.empty() || !node.outputs[0].valid()) return std::nullopt;
  for (std::size_t i = 1; i < node.outputs.size(); ++i)
    if (node.outputs[i].valid()) return std::nullopt;
  if (!is_float32(graph, node.inputs[0]) || !is_float32(graph, node.outputs[0])) return std::nullopt;
  if (auto map = batch_normalization(model, graph, id)) return map;
  return clamp(model, graph, id);
}

}  // namespace bevel::ops
