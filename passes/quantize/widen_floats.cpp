// widen-floats: a model in float16 or bfloat16 computes in float32.
//
// Half precision is how a model is stored for accelerators; calibration, rounding and every kernel here start from float32, of which
// each half-precision number is one. Weights are the same numbers in a wider type, and what lies between nodes is no longer
// rounded to 11 (or 8) bits: the result is what the half-precision model approximates. Inputs and outputs keep their type, through one
// Cast each; a Cast within the model that only went back and forth between the two types goes.
//
// Limits: main graph only. A node with subgraphs, and one whose operator takes no float32, stays between Casts.
//
//   y = Conv (x, w)                    # float16 x, w, y
//   z = Relu (y)
// becomes
//   x_float = Cast <to = float> (x)
//   y = Conv (x_float, w)              # float w, y
//   z_float = Relu (y)
//   z = Cast <to = float16> (z_float)
#include <algorithm>

#include "passes/quantize/retype.h"
#include "passes/simplify/rewrite.h"

namespace bevel::passes {
namespace {

bool is_cast(const Graph& graph, NodeId id) {
  const Node& node = graph.node(id);
  return node.domain.empty() && node.op_type == "Cast" && !node.inputs.empty() && node.inputs[0].valid() && !node.outputs.empty() &&
         node.outputs[0].valid();
}

// Casts to the type that their operand already has.
void drop_idle_casts(Graph& graph) {
  for (const NodeId id : graph.node_order()) {
    if (!graph.alive(id)) continue;
    if (!is_cast(graph, id)) continue;
    const ValueId operand = graph.node(id).inputs[0];
    const Type &from = graph.value(operand).type, &to = graph.value(graph.node(id).outputs[0]).type;
    if (from.is_tensor() && to.is_tensor() && from.dtype == to.dtype) bypass(graph, id, operand);
  }
}

// A Cast as this pass leaves it: its half-precision side is touched by nothing that moves.
bool stands_at_border(const Graph& graph, NodeId id, DType half, const std::vector<bool>& moves) {
  const Value& operand = graph.value(graph.node(id).inputs[0]);
  const Value& result = graph.value(graph.node(id).outputs[0]);
  if (operand.type.dtype == half) return !operand.producer.valid() || !moves[operand.producer.index];
  return std::none_of(result.uses.begin(), result.uses.end(), [&](const Use& use) { return moves[use.node.index]; });
}

Result<PassStats> run(Model& model, const Options&, PassContext&) {
  PassStats stats;
  Graph& graph = model.graph;
  for (const DType half : {DType::float16, DType::bfloat16}) {
    Retyping retyping{half, DType::float32, std::vector<std::string>(graph.node_capacity())};
    std::vector<bool> moves(graph.node_capacity(), false);
    for (const NodeId id : graph.node_order()) {
      if (!holds(graph, graph.node(id), half)) continue;
      retyping.stays[id.index] = cannot_move(model, id, half, DType::float32);
      moves[id.index] = retyping.stays[id.index].empty();
    }
    for (const NodeId id : graph.node_order())
      if (moves[id.index] && is_cast(graph, id) && stands_at_border(graph, id, half, moves)) retyping.stays[id.index] = "it is a border";
    stats.changes += retype(model, retyping);
  }
  if (stats.changes > 0) drop_idle_casts(graph);
  return stats;
}

}  // namespace

extern const PassRecord widen_floats = {
    "widen-floats", "let a model of float16 or bfloat16 compute in float32", Accuracy::lossy, {}, run};

}  // namespace bevel::passes
