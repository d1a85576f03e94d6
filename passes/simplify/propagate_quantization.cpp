// propagate-quantization: what moves 8-bit values keeps them in 8 bits.
//
// Models that were quantized elsewhere (in training, by NNCF) round a value once and then reshape or transpose it in float before the next
// layer reads it. The layer then reads floats, and runs as one. Rounding again behind the movement, on the same grid, changes nothing,
// since (q - z) * s / s rounds to q - z, and says that the layer reads integers.
//
// Limits: one scale for the whole value; the movement has one data operand and one result, which is no graph output and is not rounded
// already; what it fills in (Pad) is zero; and some layer behind it has its result rounded, else there is nothing to gain.
//
//   d = DequantizeLinear (q, s, z)
//   f = Flatten (d)
//   y = Gemm (f, w)                    # and y is rounded
// becomes
//   d = DequantizeLinear (q, s, z)
//   f_float = Flatten (d)
//   f_q = QuantizeLinear (f_float, s, z)
//   f = DequantizeLinear (f_q, s, z)
//   y = Gemm (f, w)
#include <algorithm>

#include "lib/ops/lowering.h"
#include "lib/ops/op.h"
#include "lib/ops/semantics.h"
#include "passes/pass.h"

namespace bevel::passes {
namespace {

constexpr int kMostMoves = 16;  // behind each other

bool is_quantize(const Graph& graph, NodeId id) { return ops::quant_node(graph.node(id)) == ops::QuantNode::quantize; }
bool is_dequantize(const Graph& graph, NodeId id) { return id.valid() && ops::quant_node(graph.node(id)) == ops::QuantNode::dequantize; }

// The movement's data operand; -1 when it is none that this pass looks at.
int moved_operand(const Model& model, NodeId id) {
  const Graph& graph = model.graph;
  const ops::Facts facts = ops::facts_of(model, graph, id);
  const Node& node = graph.node(id);
  if (facts.value.quant != ops::QuantRole::same_scale || facts.value.data_operands.size() != 1 || facts.value.fill.value_or(0) != 0) return -1;
  if (node.outputs.size() != 1 || !node.outputs[0].valid() || graph.value(node.outputs[0]).output_slots > 0) return -1;
  return facts.value.data_operands[0];
}

// Through clamps.
bool result_is_rounded(const Model& model, NodeId id, int steps = kMostMoves) {
  const Graph& graph = model.graph;
  if (steps == 0 || graph.node(id).outputs.empty() || !graph.node(id).outputs[0].valid()) return false;
  const Value& value = graph.value(graph.node(id).outputs[0]);
  return std::any_of(value.uses.begin(), value.uses.end(), [&](const Use& use) {
    if (is_quantize(graph, use.node)) return true;
    return ops::facts_of(model, graph, use.node).value.clamp.has_value() && result_is_rounded(model, use.node, steps - 1);
  });
}

bool gains(const Model& model, ValueId value, int steps = kMostMoves) {
  const Graph& graph = model.graph;
  if (steps == 0) return false;
  return std::any_of(graph.value(value).uses.begin(), graph.value(value).uses.end(), [&](const Use& use) {
    if (ops::is_quantization(graph.node(use.node))) return false;
    if (moved_operand(model, use.node) == static_cast<int>(use.operand)) return gains(model, graph.node(use.node).outputs[0], steps - 1);
    const ops::QuantRole role = ops::facts_of(model, graph, use.node).value.quant;
    return role != ops::QuantRole::none && role != ops::QuantRole::same_scale && result_is_rounded(model, use.node);
  });
}

bool propagate(Model& model, NodeId id) {
  Graph& graph = model.graph;
  const int operand = moved_operand(model, id);
  if (operand < 0 || static_cast<std::size_t>(operand) >= graph.node(id).inputs.size()) return false;
  const ValueId data = graph.node(id).inputs[static_cast<std::size_t>(operand)];
  if (!data.valid() || !is_dequantize(graph, graph.value(data).producer)) return false;
  const Node dequantize = graph.node(graph.value(data).producer);
  const ValueId result = graph.node(id).outputs[0];
  const auto& uses = graph.value(result).uses;
  if (uses.empty() || std::any_of(uses.begin(), uses.end(), [&](const Use& use) { return is_quantize(graph, use.node); })) return false;
  if (dequantize.inputs.size() < 3 || !dequantize.inputs[2].valid() || graph.value(dequantize.inputs[0]).is_constant()) return false;
  const Tensor* scale = graph.constant(dequantize.inputs[1]);
  const Tensor* zero = graph.constant(dequantize.inputs[2]);
  if (scale == nullptr || scale->rank() != 0 || scale->dtype() != DType::float32 || zero == nullptr || zero->rank() != 0) return false;
  if (zero->dtype() != DType::int8 && zero->dtype() != DType::uint8) return false;
  if (!(scale->values<float>()[0] >= 0x1p-126f) || !gains(model, result)) return false;

  const std::string name = graph.value(result).name;
  const Type type = graph.value(result).type;
  const ValueId floats = graph.add_value(name + "_float", type);
  graph.move_output(result, floats);
  Type narrow = type;
  narrow.dtype = zero->dtype();
  const auto quantized =
      graph.build_after(id, "QuantizeLinear", name + "_quantize", {floats, dequantize.inputs[1], dequantize.inputs[2]}, {}, narrow);
  graph.rename_value(quantized.output, name + "_quantized");
  Node again;
  again.op_type = "DequantizeLinear";
  again.name = name + "_dequantize";
  again.inputs = {quantized.output, dequantize.inputs[1], dequantize.inputs[2]};
  again.outputs = {result};
  graph.insert_after(quantized.node, std::move(again));
  return true;
}

Result<PassStats> run(Model& model, const Options&, PassContext&) {
  PassStats stats;
  for (const NodeId id : model.graph.node_order()) stats.changes += propagate(model, id) ? 1 : 0;
  return stats;
}

}  // namespace

extern const PassRecord propagate_quantization = {
    "propagate-quantization", "what moves 8-bit values keeps them in 8 bits", Accuracy::exact, {}, run};

}  // namespace bevel::passes
