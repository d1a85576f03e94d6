// Type inference over a whole model: walks nodes in execution order, asks each family, and carries what is known of
// integer values (shape arithmetic) along, in subgraphs too. Small constant expressions are evaluated on the way, so
// that Reshape and its kin see the shape that a chain of Shape, Gather, Concat computes.
#include <algorithm>
#include <map>

#include "lib/ops/control.h"
#include "lib/ops/evaluate.h"
#include "lib/ops/family.h"

namespace bevel::ops {
namespace {

// Constants that are followed: shapes, axes, pads, scales. Larger tensors are data, not shape arithmetic.
constexpr std::int64_t kMaxFoldedElements = 4096;
constexpr std::uint64_t kMaxFoldedBytes = 64 * 1024;
// Of all that a graph's nodes were found to compute: many small constants are together as large as a few that are not small.
constexpr std::uint64_t kMaxKnownBytes = 32u << 20;
constexpr int kMaxDepth = 64;

// Bodies are inferred several times where their state widens, and bodies in bodies more often still. Past so many nodes in all, a
// body's declared types are what is known of it.
constexpr std::uint64_t kMaxBodyVisits = 500'000;

// A sequence's elements may have different shapes; what is declared of them is what the writer saw first.
Type unify_elements(const Type& declared, const Type& inferred);

Result<Type> unify_types(const Type& declared, const Type& inferred) {
  if (inferred.kind == Type::Kind::unknown) return declared;
  if (declared.kind == Type::Kind::unknown) return inferred;
  if (declared.kind == Type::Kind::opaque || inferred.kind == Type::Kind::opaque) return declared;
  if (declared.kind != inferred.kind) {
    // Where an optional is declared, something that is there will do.
    if (declared.kind != Type::Kind::optional || !declared.element) return fail_input("the kinds differ");
    BEVEL_TRY(Type held, unify_types(*declared.element, inferred));
    return Type::optional(std::move(held));
  }
  Type result = declared;
  if (declared.kind != Type::Kind::tensor) {
    if (!declared.element) {
      result.element = inferred.element;
    } else if (inferred.element && declared.kind == Type::Kind::sequence) {
      result.element = std::make_shared<const Type>(unify_elements(*declared.element, *inferred.element));
    } else if (inferred.element) {
      BEVEL_TRY(Type element, unify_types(*declared.element, *inferred.element));
      result.element = std::make_shared<const Type>(std::move(element));
    }
    return result;
  }
  if (declared.dtype == DType::undefined) {
    result.dtype = inferred.dtype;
  } else if (inferred.dtype != DType::undefined && inferred.dtype != declared.dtype) {
    return fail_input("the element types differ");
  }
  BEVEL_TRY(Shape shape, unify_shapes(declared.shape, inferred.shape));
  if (declared.shape.has_rank && inferred.shape.has_rank) {
    for (std::size_t i = 0; i < shape.rank(); ++i) shape.dims[i].denotation = declared.shape.dims[i].denotation;
  }
  result.shape = std::move(shape);
  return result;
}

Type unify_elements(const Type& declared, const Type& inferred) {
  auto unified = unify_types(declared, inferred);
  return unified ? std::move(*unified) : common_type(declared, inferred);
}

// What is known of a value beside its type.
struct Knowledge {
  std::optional<Tensor> constant;   // computed; initializers stay in the graph
  std::optional<PartialInts> ints;  // integers known in part
};

std::optional<PartialInts> ints_of(const Tensor& tensor) {
  if (!is_integer(tensor.dtype()) || tensor.rank() > 1 || tensor.size() > kMaxFoldedElements) return std::nullopt;
  PartialInts ints(static_cast<std::size_t>(tensor.size()));
  for (std::size_t i = 0; i < ints.size(); ++i) {
    const std::int64_t value = tensor.as_int64(static_cast<std::int64_t>(i));
    if (value >= 0) ints[i] = Dim(value);
  }
  return ints;
}

// Subgraphs of a node in attribute order, each with the index of its first capture among the node's captures.
struct SubgraphSlot {
  std::size_t attribute = 0;
  std::size_t element = 0;  // in a list of graphs
  const Graph* graph = nullptr;
  std::size_t first_capture = 0;
};
std::vector<SubgraphSlot> subgraphs_of(const Node& node) {
  std::vector<SubgraphSlot> slots;
  std::size_t capture = 0;
  const auto add = [&](std::size_t attribute, std::size_t element, const GraphPtr& graph) {
    if (!graph) return;
    slots.push_back({attribute, element, graph.get(), capture});
    capture += graph->captures().size();
  };
  for (std::size_t a = 0; a < node.attributes.size(); ++a) {
    if (const auto* one = std::get_if<GraphPtr>(&node.attributes[a].value)) add(a, 0, *one);
    if (const auto* list = std::get_if<std::vector<GraphPtr>>(&node.attributes[a].value)) {
      for (std::size_t e = 0; e < list->size(); ++e) add(a, e, (*list)[e]);
    }
  }
  return slots;
}

class GraphInference {
 public:
  // `body_visits` counts the nodes of subgraphs that were looked at, in all of them together.
  GraphInference(const Model& model, Graph& graph, int depth, std::uint64_t& body_visits)
      : model_(model), graph_(graph), depth_(depth), body_visits_(body_visits) {
    known_.resize(graph.value_capacity());
  }
  Status run();
  Knowledge& knowledge(ValueId id) { return known_[id.index]; }
  const Graph& graph() const { return graph_; }

  const Tensor* constant(ValueId id) const {
    if (!id.valid()) return nullptr;
    if (const Tensor* tensor = graph_.constant(id)) return tensor;
    const auto& computed = known_[id.index].constant;
    return computed ? &*computed : nullptr;
  }
  std::optional<PartialInts> ints(ValueId id) const {
    if (!id.valid()) return std::nullopt;
    if (const Tensor* tensor = constant(id)) return ints_of(*tensor);
    return known_[id.index].ints;
  }
  // Types of the subgraph's outputs; the inferred subgraph goes to `result`.
  Result<std::vector<Type>> infer_subgraph(const Node& node, const SubgraphSlot& slot, std::span<const Type> inputs,
                                           GraphPtr* result);

 private:
  Status visit(NodeId id);
  Status merge_type(ValueId id, Type inferred);
  void fold(NodeId id, const OpRecord& record);

  const Model& model_;
  Graph& graph_;
  int depth_;
  std::uint64_t& body_visits_;
  std::uint64_t known_bytes_ = 0;  // of what fold() computed from operands, or made of sparse constants
  std::vector<Knowledge> known_;
};

class NodeInference final : public InferContext {
 public:
  NodeInference(GraphInference& engine, const Node& node, std::int64_t opset)
      : engine_(engine), node_(node), opset_(opset), types(node.outputs.size()), ints(node.outputs.size()) {}
  const Node& node() const override { return node_; }
  std::int64_t opset() const override { return opset_; }
  std::size_t input_count() const override { return node_.inputs.size(); }
  bool has_input(std::size_t i) const override { return i < node_.inputs.size() && node_.inputs[i].valid(); }
  const Type& input_type(std::size_t i) const override {
    static const Type unknown;
    return has_input(i) ? engine_.graph().value(node_.inputs[i]).type : unknown;
  }
  const Tensor* input_constant(std::size_t i) const override {
    return has_input(i) ? engine_.constant(node_.inputs[i]) : nullptr;
  }
  std::optional<PartialInts> input_ints(std::size_t i) const override {
    return has_input(i) ? engine_.ints(node_.inputs[i]) : std::nullopt;
  }
  void set_output(std::size_t i, Type type) override {
    if (i < types.size()) types[i] = std::move(type);
  }
  void set_output_ints(std::size_t i, PartialInts values) override {
    if (i < ints.size()) ints[i] = std::move(values);
  }
  Result<std::vector<Type>> infer_subgraph(const Graph& subgraph, std::span<const Type> inputs) override {
    const auto slots = subgraphs_of(node_);
    for (std::size_t s = 0; s < slots.size(); ++s) {
      if (slots[s].graph == &subgraph) return engine_.infer_subgraph(node_, slots[s], inputs, &subgraphs[s]);
    }
    BEVEL_CHECK(false);
    return std::vector<Type>{};
  }

 private:
  GraphInference& engine_;
  const Node& node_;
  std::int64_t opset_;

 public:
  std::vector<Type> types;
  std::vector<std::optional<PartialInts>> ints;
  std::map<std::size_t, GraphPtr> subgraphs;  // by slot
};

Status GraphInference::run() {
  if (depth_ > kMaxDepth) return fail_input("subgraphs are nested more than {} deep", kMaxDepth);
  for (const ValueId id : graph_.value_ids()) {
    if (const auto& constant = graph_.value(id).constant) {
      const Type type = Type::tensor(constant->dtype(), constant->dims());
      auto merged = unify_types(graph_.value(id).type, type);
      // A default of an overridable input need not have the input's symbolic extents, but rank and dtype must agree.
      if (!merged) {
        return fail_input("value '{}' is declared as {}, but its initializer is {}", printable(graph_.value(id).name),
                          bevel::to_string(graph_.value(id).type), bevel::to_string(type));
      }
      if (!graph_.value(id).is_input) graph_.set_type(id, std::move(*merged));
    }
  }
  for (const NodeId id : graph_.node_order()) {
    if (auto status = visit(id); !status) {
      const Node& node = graph_.node(id);
      return located(fmt::format("node '{}' ({})", printable(node.name), printable(node.op_type)), status.error());
    }
  }
  return {};
}

Status GraphInference::merge_type(ValueId id, Type inferred) {
  const Value& value = graph_.value(id);
  auto merged = unify_types(value.type, inferred);
  if (!merged) {
    return fail_input("output '{}' is declared as {}, but the operator gives {} ({})", printable(value.name),
                      bevel::to_string(value.type), bevel::to_string(inferred), merged.error().message);
  }
  if (!(*merged == value.type)) graph_.set_type(id, std::move(*merged));
  return {};
}

Status GraphInference::visit(NodeId id) {
  const Node& node = graph_.node(id);
  const std::int64_t opset = model_.opset(node.domain);
  const bool readable = !node.domain.empty() || (opset >= kBaseOpset && opset <= kNewestOpset);
  const OpRecord* record = readable ? find_op(node) : nullptr;
  NodeInference context(*this, node, opset);
  if (record != nullptr && opset >= record->since) {
    BEVEL_TRY_STATUS(check_operands(*record, node));
    if (record->infer != nullptr) BEVEL_TRY_STATUS(record->infer(context));
  } else {
    record = nullptr;
  }
  const auto slots = subgraphs_of(node);
  for (std::size_t s = 0; s < slots.size(); ++s) {
    GraphPtr& inferred = context.subgraphs[s];
    if (!inferred) {
      auto types = infer_subgraph(node, slots[s], {}, &inferred);
      if (!types) return Failure(std::move(types).error());
    }
  }
  for (std::size_t s = 0; s < slots.size(); ++s) {
    Attribute& attribute = graph_.mutable_node(id).attributes[slots[s].attribute];
    if (auto* one = std::get_if<GraphPtr>(&attribute.value)) *one = context.subgraphs[s];
    if (auto* list = std::get_if<std::vector<GraphPtr>>(&attribute.value)) {
      (*list)[slots[s].element] = context.subgraphs[s];
    }
  }
  for (std::size_t i = 0; i < node.outputs.size(); ++i) {
    const ValueId output = node.outputs[i];
    if (!output.valid()) continue;
    BEVEL_TRY_STATUS(merge_type(output, std::move(context.types[i])));
    if (!context.ints[i] || context.ints[i]->size() > static_cast<std::size_t>(kMaxFoldedElements)) continue;
    const PartialInts& ints = *context.ints[i];
    const Type& type = graph_.value(output).type;
    const bool all_known = std::all_of(ints.begin(), ints.end(), [](const Dim& d) { return d.known(); });
    const bool scalar = type.is_tensor() && type.shape.has_rank && type.shape.rank() == 0;
    if (all_known && type.is_tensor() && is_integer(type.dtype) && (!scalar || ints.size() == 1)) {
      Tensor tensor = Tensor::zeros(type.dtype, scalar ? Dims{} : Dims{static_cast<std::int64_t>(ints.size())});
      for (std::size_t k = 0; k < ints.size(); ++k) tensor.set_from_int64(static_cast<std::int64_t>(k), ints[k].value);
      known_[output.index].constant = std::move(tensor);
    } else {
      known_[output.index].ints = ints;
    }
  }
  if (record != nullptr) fold(id, *record);
  return {};
}

// Evaluates a node whose operands are all known and small. A failure is not reported here: whoever runs the node will.
void GraphInference::fold(NodeId id, const OpRecord& record) {
  const Node& node = graph_.node(id);
  if (record.evaluate == nullptr || !node.captures.empty() || node.outputs.empty()) return;
  if (node.outputs[0].valid() && known_[node.outputs[0].index].constant) return;
  const bool made = !node.inputs.empty() || has_attr(node, "sparse_value");  // other constants lie in the file as they are
  if (made && known_bytes_ > kMaxKnownBytes) return;
  std::vector<Datum> inputs;
  std::int64_t elements = 0;
  for (const ValueId input : node.inputs) {
    const Tensor* tensor = constant(input);
    if (tensor == nullptr && input.valid()) return;
    if (tensor != nullptr && tensor->size() > kMaxFoldedElements) return;
    inputs.emplace_back(tensor != nullptr ? Datum(*tensor) : Datum());
    elements += tensor != nullptr ? tensor->size() : 0;
  }
  if (elements > kMaxFoldedElements) return;
  for (const ValueId output : node.outputs) {
    if (!output.valid() || node.inputs.empty()) continue;
    const Type& type = graph_.value(output).type;
    const auto dims = type.is_tensor() ? type.shape.known_dims() : std::nullopt;
    const auto count = dims ? element_count(*dims) : std::optional<std::int64_t>(0);
    if (!count || *count > kMaxFoldedElements) return;
  }
  if (!facts_of(model_, graph_, id).value.pure) return;
  auto results = evaluate_node(node, model_.opset(node.domain), inputs,
                               node.inputs.empty() ? kMaxKnownBytes : kMaxFoldedBytes);
  if (!results) return;
  for (std::size_t i = 0; i < node.outputs.size() && i < results->size(); ++i) {
    const Tensor* tensor = (*results)[i].tensor();
    if (tensor == nullptr || !node.outputs[i].valid()) continue;
    if (!merge_type(node.outputs[i], Type::tensor(tensor->dtype(), tensor->dims()))) continue;
    if (made) known_bytes_ += tensor->heap_bytes();
    known_[node.outputs[i].index].constant = *tensor;
  }
}

Result<std::vector<Type>> GraphInference::infer_subgraph(const Node& node, const SubgraphSlot& slot,
                                                         std::span<const Type> inputs, GraphPtr* result) {
  auto inner = std::make_shared<Graph>(*slot.graph);
  if (inputs.size() > inner->inputs().size()) {
    return fail_input("the subgraph '{}' has {} inputs, but is given {}", printable(inner->name),
                      inner->inputs().size(), inputs.size());
  }
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const ValueId input = inner->inputs()[i];
    auto merged = unify_types(inner->value(input).type, inputs[i]);
    if (!merged) {
      return fail_input("the subgraph's input '{}' is declared as {}, but is given {}",
                        printable(inner->value(input).name), bevel::to_string(inner->value(input).type),
                        bevel::to_string(inputs[i]));
    }
    inner->set_type(input, std::move(*merged));
  }
  body_visits_ += 1 + inner->node_count();
  if (body_visits_ > kMaxBodyVisits) {
    std::vector<Type> declared;
    for (const ValueId output : slot.graph->outputs()) declared.push_back(slot.graph->value(output).type);
    *result = std::make_shared<Graph>(*slot.graph);
    return declared;
  }
  GraphInference engine(model_, *inner, depth_ + 1, body_visits_);
  for (std::size_t c = 0; c < inner->captures().size(); ++c) {
    if (slot.first_capture + c >= node.captures.size()) break;  // the verifier reports it
    const ValueId outer = node.captures[slot.first_capture + c];
    const ValueId capture = inner->captures()[c];
    if (!outer.valid()) continue;
    auto merged = unify_types(inner->value(capture).type, graph_.value(outer).type);
    if (merged) inner->set_type(capture, std::move(*merged));
    if (const Tensor* tensor = constant(outer)) engine.knowledge(capture).constant = *tensor;
    engine.knowledge(capture).ints = ints(outer);
  }
  BEVEL_TRY_STATUS(engine.run());
  std::vector<Type> types;
  for (const ValueId output : inner->outputs()) types.push_back(inner->value(output).type);
  *result = std::move(inner);
  return types;
}

}  // namespace

Status infer_types(Model& model) {
  std::vector<ComputedValue> ignored;
  return infer_types(model, ignored);
}

Status infer_types(Model& model, std::vector<ComputedValue>& computed) {
  std::uint64_t body_visits = 0;
  GraphInference engine(model, model.graph, 0, body_visits);
  auto status = engine.run();
  if (!status && !model.source.empty()) return located(printable(model.source), status.error());
  if (!status) return status;
  for (const ValueId id : model.graph.value_ids()) {
    const auto& constant = engine.knowledge(id).constant;
    if (constant) computed.push_back({id, *constant});
  }
  return status;
}

}  // namespace bevel::ops
