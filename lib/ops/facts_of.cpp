// The facts of a node where it stands: its family's answer with the graph's types and constants.
#include "lib/ops/control.h"
#include "lib/ops/evaluate.h"
#include "lib/ops/subgraphs.h"

namespace bevel::ops {
namespace {

class GraphFacts final : public FactsContext {
 public:
  GraphFacts(const Graph& graph, const Node& node, std::int64_t opset) : graph_(graph), node_(node), opset_(opset) {}
  const Node& node() const override { return node_; }
  std::int64_t opset() const override { return opset_; }
  bool has_input(std::size_t i) const override { return i < node_.inputs.size() && node_.inputs[i].valid(); }
  const Type& input_type(std::size_t i) const override {
    return has_input(i) ? graph_.value(node_.inputs[i]).type : unknown();
  }
  const Tensor* input_constant(std::size_t i) const override {
    if (!has_input(i)) return nullptr;
    if (const Tensor* tensor = graph_.constant(node_.inputs[i])) return tensor;
    const NodeId producer = graph_.value(node_.inputs[i]).producer;
    if (!producer.valid() || graph_.node(producer).op_type != "Constant") return nullptr;
    return attr_tensor(graph_.node(producer), "value");
  }
  const Type& output_type(std::size_t i) const override {
    return i < node_.outputs.size() && node_.outputs[i].valid() ? graph_.value(node_.outputs[i]).type : unknown();
  }

 private:
  static const Type& unknown() {
    static const Type type;
    return type;
  }
  const Graph& graph_;
  const Node& node_;
  std::int64_t opset_;
};

bool is_pure(const Graph& graph, std::int64_t opset) {
  for (const NodeId id : graph.node_order()) {
    const Node& node = graph.node(id);
    const OpRecord* record = find_op(node);
    if (record == nullptr || record->facts == nullptr || !check_operands(*record, node)) continue;
    if (!record->facts(GraphFacts(graph, node, node.domain.empty() ? opset : record->since)).value.pure) return false;
  }
  return true;
}

}  // namespace

bool subgraphs_are_pure(const FactsContext& ctx) {
  bool pure = true;
  for_each_subgraph(ctx.node(), [&](const GraphPtr& graph) { pure = pure && is_pure(*graph, ctx.opset()); });
  return pure;
}

Facts facts_of(const Model& model, const Graph& graph, NodeId id) {
  const Node& node = graph.node(id);
  const OpRecord* record = find_op(node);
  if (record == nullptr || record->facts == nullptr || !check_operands(*record, node)) return {};
  return record->facts(GraphFacts(graph, node, model.opset(node.domain)));
}

}  // namespace bevel::ops
