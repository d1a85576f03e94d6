#include "lib/ops/added_bias.h"

#include "lib/ops/facts_derived.h"
#include "lib/ops/semantics.h"

namespace bevel::ops {

std::optional<Tensor> added_bias(const Model& model, const Graph& graph, NodeId product, const Facts& facts, NodeId sum) {
  const Node& node = graph.node(product);
  if (facts.value.quant != QuantRole::bilinear || facts.value.bias_operand >= 0 || node.inputs.size() < 2 || node.outputs.size() != 1) return std::nullopt;
  const Value& result = graph.value(node.outputs[0]);
  if (result.output_slots > 0 || result.uses.size() != 1 || result.uses[0].node != sum) return std::nullopt;
  const auto affine = as_channel_affine(model, graph, sum);
  const auto weight_axis = channel_axis(facts.space, 1);
  if (!affine || affine->scales() || affine->input != node.outputs[0] || !weight_axis) return std::nullopt;
  const auto& out = facts.space.outputs[0].axes;
  const auto& weight = facts.space.inputs[1].axes;
  const auto channel = static_cast<std::size_t>(*weight_axis);
  if (channel >= weight.size() || weight[channel].kind != AxisMap::Kind::follow) return std::nullopt;
  if (affine->axis >= 0) {
    const auto axis = static_cast<std::size_t>(affine->axis);
    if (axis >= out.size() || out[axis].kind != AxisMap::Kind::follow || weight[channel].loops != out[axis].loops) return std::nullopt;
  }
  const std::int64_t extent = facts.space.loops[static_cast<std::size_t>(weight[channel].loops[0])].extent;
  const bool one = affine->shift.size() == 1;
  if (extent < 1 || (!one && static_cast<std::int64_t>(affine->shift.size()) != extent)) return std::nullopt;
  std::vector<float> values(static_cast<std::size_t>(extent));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(affine->shift[one ? 0 : i]);
  return Tensor::of<float>({extent}, values);
}

}  // namespace bevel::ops
