// fold-constants: what can be computed now is not computed on the device.
//
// Two kinds of values are known before any sample is seen. A node whose operands are all constants is run once, by the
// operator family's reference evaluation: the same code that the evaluator runs, so the result has the same bits. And shapes
// are known where dimensions are: inference follows integers through Shape, Gather, Slice, Cast, Concat and arithmetic even
// when some of them are symbols, which resolves the padding and flattening subgraphs that PyTorch's exporter writes.
//
// Limits.
// - A result may not be larger than its operands together or kFreeBytes, whichever is more: Expand or ConstantOfShape must not
//   turn a few numbers into megabytes.
// - Dequantization, and what is computed from it, stays: a dequantized weight states a precision, not a float tensor. Rounding constants to
//   integers (weights of a model that was quantized while it was trained) is folded: the integers say the same in a quarter of the bytes.
// - Nodes with subgraphs, nodes that are not pure (random numbers), and graph outputs stay.
// - Only the main graph is folded.
//
//   s = Shape (x)                  # x is float[N,3,8,8]
//   c = Gather (s, one)            # int64[] one = {1}
//   t = Transpose <perm = [1, 0]> (w)
// becomes initializers `int64[] c = {3}` and a transposed w; the Shape is left to eliminate-dead.
#include <algorithm>

#include "lib/ops/evaluate.h"
#include "lib/ops/lowering.h"
#include "lib/ops/semantics.h"
#include "passes/simplify/rewrite.h"

namespace bevel::passes {
namespace {

// A node's outputs may take as much as its operands, and this much in any case.
constexpr std::uint64_t kFreeBytes = 64 * 1024;
// By how much one run may make the model's constants grow: operands that others read too stay beside what is made of them, so that a
// short chain of nodes could double a constant again and again, and many nodes that read one could each make a copy.
constexpr std::uint64_t kMostGrowth = 32u << 20;

bool may_fold(const Model& model, const Graph& graph, NodeId id) {
  const Node& node = graph.node(id);
  return node.captures.empty() && ops::find_op(node) != nullptr && !ops::is_quantization(node) &&
         ops::facts_of(model, graph, id).value.pure;
}

// Integers of constants: that they stand for floats is still said by what dequantizes them.
bool rounds_constants(const Graph& graph, NodeId id) {
  const Node& node = graph.node(id);
  return ops::quant_node(node) == ops::QuantNode::quantize && std::all_of(node.inputs.begin(), node.inputs.end(), [&](ValueId input) {
           return !input.valid() || graph.constant(input) != nullptr;
         });
}

// Values that depend on a quantization node, whatever else they depend on.
std::vector<bool> quantized_values(const Graph& graph) {
  std::vector<bool> quantized(graph.value_capacity(), false);
  for (const NodeId id : graph.node_order()) {
    const Node& node = graph.node(id);
    bool any = ops::is_quantization(node);
    for (const ValueId input : node.inputs) any = any || (input.valid() && quantized[input.index]);
    for (const ValueId output : node.outputs) {
      if (output.valid()) quantized[output.index] = any;
    }
  }
  return quantized;
}

// Later values first: once a value is a constant, what led to it has no reader left and needs no constant of its own.
std::size_t fold_computed(Model& model) {
  Graph& graph = model.graph;
  std::vector<ops::ComputedValue> computed;
  if (!ops::infer_types(model, computed)) return 0;  // the runner reports it
  const std::vector<bool> quantized = quantized_values(graph);
  std::vector<const Tensor*> known(graph.value_capacity(), nullptr);
  for (const ops::ComputedValue& one : computed) known[one.value.index] = &one.tensor;
  const std::vector<NodeId> order = graph.node_order();
  std::size_t changes = 0;
  for (auto at = order.rbegin(); at != order.rend(); ++at) {
    if (!may_fold(model, graph, *at)) continue;
    const std::vector<ValueId> outputs = graph.node(*at).outputs;
    bool folded = false;
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      if (!outputs[i].valid() || outputs[i].index >= known.size() || known[outputs[i].index] == nullptr) continue;
      if (quantized[outputs[i].index]) continue;
      folded = replace_output_by_constant(graph, *at, i, *known[outputs[i].index]).valid() || folded;
    }
    if (!folded) continue;
    ++changes;
    const auto& left = graph.node(*at).outputs;
    const bool unused = std::all_of(left.begin(), left.end(), [&](ValueId output) {
      return !output.valid() || !graph.value(output).has_uses();
    });
    if (unused) graph.erase_node(*at);
  }
  return changes;
}

// Larger constants than inference follows: weights that are transposed, reshaped, concatenated, scaled.
std::size_t fold_constant_operands(Model& model) {
  Graph& graph = model.graph;
  std::size_t changes = 0;
  std::uint64_t growth_left = kMostGrowth;
  for (const NodeId id : graph.node_order()) {
    const Node& node = graph.node(id);
    if (node.inputs.empty() || !(may_fold(model, graph, id) || rounds_constants(graph, id))) continue;
    std::vector<Datum> inputs;
    std::uint64_t bytes = 0, freed = 0;  // of the operands, each counted once; of those that go with the node
    bool constant = true;
    for (std::size_t i = 0; i < node.inputs.size(); ++i) {
      const ValueId input = node.inputs[i];
      const Tensor* tensor = graph.constant(input);
      constant = constant && (tensor != nullptr || !input.valid());
      inputs.emplace_back(tensor != nullptr ? Datum(*tensor) : Datum());
      if (tensor == nullptr || tensor->dtype() == DType::string) continue;
      if (std::find(node.inputs.begin(), node.inputs.begin() + static_cast<std::ptrdiff_t>(i), input) !=
          node.inputs.begin() + static_cast<std::ptrdiff_t>(i)) {
        continue;
      }
      bytes += tensor->bytes().size();
      const Value& value = graph.value(input);
      const bool others = value.output_slots > 0 || std::any_of(value.uses.begin(), value.uses.end(), [&](const Use& use) { return use.node != id; });
      if (!others) freed += tensor->bytes().size();
    }
    const bool is_output = std::any_of(node.outputs.begin(), node.outputs.end(), [&](ValueId output) {
      return output.valid() && graph.value(output).output_slots > 0;
    });
    if (!constant || is_output) continue;
    const std::uint64_t allowed = std::min(std::max(kFreeBytes, bytes), freed + growth_left);
    const auto results = ops::evaluate_node(node, model.opset(node.domain), inputs, allowed);
    if (!results) continue;  // whoever runs the node reports it
    std::uint64_t made = 0;
    bool whole = true;
    for (std::size_t i = 0; i < node.outputs.size(); ++i) {
      if (!node.outputs[i].valid()) continue;
      const Tensor* tensor = i < results->size() ? (*results)[i].tensor() : nullptr;
      whole = whole && tensor != nullptr;
      if (tensor != nullptr && tensor->dtype() != DType::string) made += tensor->bytes().size();
    }
    if (!whole || made > allowed) continue;
    if (made > freed) growth_left -= made - freed;
    const std::size_t count = node.outputs.size();
    for (std::size_t i = 0; i < count; ++i) {
      const Tensor* tensor = i < results->size() ? (*results)[i].tensor() : nullptr;
      if (tensor != nullptr) replace_output_by_constant(graph, id, i, *tensor);
    }
    graph.erase_node(id);
    ++changes;
  }
  return changes;
}

Result<PassStats> run(Model& model, const Options&, PassContext&) {
  PassStats stats;
  stats.changes = fold_computed(model);
  stats.changes += fold_constant_operands(model);
  return stats;
}

}  // namespace

extern const PassRecord fold_constants = {
    "fold-constants", "compute what depends on constants and known dimensions only", Accuracy::exact, {}, run};

}  // namespace bevel::passes
