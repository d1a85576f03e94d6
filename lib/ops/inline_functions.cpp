#include "lib/ops/inline_functions.h"

#include <algorithm>
#include <array>
#include <map>
#include <set>
#include <utility>
#include <vector>

#include "lib/ops/family.h"
#include "lib/ops/subgraphs.h"
#include "lib/ops/upgrade.h"

namespace bevel::ops {
namespace {

std::string label(const Function& function) { return fmt::format("function '{}'", printable(function.body.name)); }

// Bytes that a copy of an attribute's value takes.
struct CopiedBytes {
  std::uint64_t operator()(const std::string& text) const { return text.size(); }
  std::uint64_t operator()(const OpaqueAttribute& opaque) const { return opaque.bytes.size(); }
  std::uint64_t operator()(const AttributeReference& reference) const { return reference.name.size(); }
  std::uint64_t operator()(const std::vector<std::string>& texts) const {
    std::uint64_t size = texts.size() * sizeof(std::string);
    for (const std::string& text : texts) size += text.size();
    return size;
  }
  std::uint64_t operator()(const SparseTensor& sparse) const { return sparse.dims.size() * sizeof(std::int64_t); }
  template <typename T>
  std::uint64_t operator()(const std::vector<T>& values) const {
    return values.size() * sizeof(T);
  }
  template <typename T>
  std::uint64_t operator()(const T&) const {  // shared, or no larger than its place
    return 0;
  }
};
std::uint64_t copied_bytes(const AttributeValue& value) { return sizeof(Attribute) + std::visit(CopiedBytes{}, value); }

std::uint64_t copied_bytes(const Node& node) {
  std::uint64_t size = sizeof(Node) + node.name.size() + node.op_type.size() + node.domain.size() + node.doc_string.size() + node.opaque.size();
  size += (node.inputs.size() + node.outputs.size() + node.captures.size()) * sizeof(ValueId);
  for (const Attribute& attribute : node.attributes) {
    size += attribute.name.size() + attribute.doc_string.size() + attribute.opaque.size() + copied_bytes(attribute.value);
  }
  return size;
}

// All but the nodes.
std::uint64_t copied_bytes_of_values(const Graph& graph) {
  std::uint64_t size = graph.value_capacity() * sizeof(Value);
  for (const ValueId id : graph.value_ids()) size += graph.value(id).name.size();
  return size;
}

class Inliner {
 public:
  explicit Inliner(Model& model) : model_(model), functions_(model.functions) {
    for (const Function& function : functions_) by_name_.emplace(Key{function.domain, function.body.name, function.overload}, &function);
  }

  Status run() {
    if (!has_call(model_.graph)) return {};
    BEVEL_TRY_STATUS(expand_graph(model_.graph));
    for (const Function& function : functions_)
      if (called_.contains(&function)) BEVEL_TRY_STATUS(import_opsets(function));
    model_.functions.clear();
    std::erase_if(model_.opsets, [&](const OpsetImport& opset) {
      const bool of_function = std::any_of(functions_.begin(), functions_.end(),
                                           [&](const Function& function) { return function.domain == opset.domain; });
      return of_function && !opset.domain.empty() && !uses_domain(model_.graph, opset.domain);
    });
    return {};
  }

 private:
  using Key = std::array<std::string_view, 3>;  // domain, name, overload

  [[nodiscard]] const Function* called_by(const Node& node) const {
    const auto found = by_name_.find(Key{node.domain, node.op_type, node.overload});
    return found == by_name_.end() ? nullptr : found->second;
  }

  [[nodiscard]] bool has_call(const Graph& graph) const {
    for (const NodeId id : graph.node_order()) {
      const Node& node = graph.node(id);
      if (called_by(node) != nullptr) return true;
      bool inside = false;
      for_each_subgraph(node, [&](const GraphPtr& subgraph) { inside = inside || has_call(*subgraph); });
      if (inside) return true;
    }
    return false;
  }

  static bool uses_domain(const Graph& graph, std::string_view domain) {
    for (const NodeId id : graph.node_order()) {
      bool used = graph.node(id).domain == domain;
      for_each_subgraph(graph.node(id), [&](const GraphPtr& subgraph) { used = used || uses_domain(*subgraph, domain); });
      if (used) return true;
    }
    return false;
  }

  Status expand_graph(Graph& graph) {
    for (const NodeId id : graph.node_order()) BEVEL_TRY_STATUS(expand_node(graph, id));
    return {};
  }

  Status expand_node(Graph& graph, NodeId id) {
    BEVEL_TRY_STATUS(rewrite_subgraphs(graph.mutable_node(id), [this](Graph& subgraph) -> Status {
      return has_call(subgraph) ? expand_graph(subgraph) : Status();
    }));
    const Function* function = called_by(graph.node(id));
    if (function == nullptr) return {};
    const std::string where = fmt::format("node '{}' ({})", printable(graph.node(id).name), printable(graph.node(id).op_type));
    if (std::find(stack_.begin(), stack_.end(), function) != stack_.end())
      return fail_input("{}: {} calls itself, which ONNX does not allow", where, label(*function));
    if (stack_.size() >= kMaxCallDepth)
      return fail_input("{}: functions call each other more than {} deep; no real model does", where, kMaxCallDepth);
    stack_.push_back(function);
    std::vector<NodeId> inserted;
    if (auto status = expand_call(graph, id, *function, inserted); !status) return located(where, std::move(status).error());
    for (const NodeId inner : inserted) BEVEL_TRY_STATUS(expand_node(graph, inner));
    stack_.pop_back();
    return {};
  }

  Status count_nodes(std::uint64_t count) {
    inlined_ += count;
    if (inlined_ <= kMaxInlinedNodes) return {};
    return fail_input("the model's functions expand to more than {} nodes; no real model's do", kMaxInlinedNodes);
  }

  // Asked before the copy is made.
  Status count_bytes(std::uint64_t count) {
    inlined_bytes_ += count;
    if (inlined_bytes_ <= kMaxInlinedBytes) return {};
    return fail_input("the model's functions expand to more than {} bytes of names and attributes; no real model's do", kMaxInlinedBytes);
  }

  Status expand_call(Graph& graph, NodeId id, const Function& function, std::vector<NodeId>& inserted) {
    const Node call = graph.node(id);
    const Graph& body = function.body;
    if (call.inputs.size() > body.inputs().size() || call.outputs.size() > body.outputs().size())
      return fail_input("gives {} inputs and takes {} outputs; {} has {} and {}", call.inputs.size(), call.outputs.size(),
                        label(function), body.inputs().size(), body.outputs().size());
    if (!call.captures.empty()) return fail_input("gives {} a subgraph that reads values around it; Bevel does not inline that", label(function));
    called_.insert(&function);
    BEVEL_TRY_STATUS(count_nodes(body.node_count()));
    BEVEL_TRY_STATUS(count_bytes(copied_bytes_of_values(body) + (body.value_capacity() + body.node_count()) * (call.name.size() + 1)));

    const std::size_t first_new = graph.node_capacity();
    std::vector<ValueId> here(body.value_capacity());  // by value of the body; invalid: an input that the call leaves out
    for (std::size_t i = 0; i < call.inputs.size(); ++i) here[body.inputs()[i].index] = call.inputs[i];
    for (const NodeId inner : body.node_order()) {
      BEVEL_TRY_STATUS(count_bytes(copied_bytes(body.node(inner))));
      Node node = body.node(inner);
      const std::string name = printable(node.name);
      node.name = call.name + "/" + node.name;
      for (ValueId& input : node.inputs)
        if (input.valid()) input = here[input.index];
      for (ValueId& capture : node.captures) {
        const ValueId outer = here[capture.index];
        if (!outer.valid())
          return fail_input("leaves out input '{}' of {}, which a subgraph of '{}' in it reads; Bevel does not inline that",
                            printable(body.value(capture).name), label(function), name);
        capture = outer;
      }
      for (ValueId& output : node.outputs) {
        if (!output.valid()) continue;
        const Value& value = body.value(output);
        output = here[output.index] = graph.add_value(call.name + "/" + value.name, value.type);
      }
      BEVEL_TRY_STATUS(resolve_references(node, call, function));
      std::size_t capture = 0;
      BEVEL_TRY_STATUS(rewrite_subgraphs(node, [&](Graph& subgraph) -> Status {
        BEVEL_TRY_STATUS(resolve_in_graph(subgraph, call, function));
        rename_captures(subgraph, graph, node, capture);
        return {};
      }));
      inserted.push_back(graph.insert_before(id, std::move(node)));
    }
    return take_results(graph, id, call, function, here, first_new, inserted);
  }

  // What read the call's outputs reads the body's; a value that is not the body's own goes through an Identity.
  static Status take_results(Graph& graph, NodeId id, const Node& call, const Function& function,
                             const std::vector<ValueId>& here, std::size_t first_new, std::vector<NodeId>& inserted) {
    std::vector<std::pair<ValueId, std::string>> renamed;
    std::set<ValueId> taken;
    for (std::size_t i = 0; i < call.outputs.size(); ++i) {
      const ValueId output = call.outputs[i];
      if (!output.valid()) continue;
      ValueId result = here[function.body.outputs()[i].index];
      if (!result.valid())
        return fail_input("takes output {} of {}, which is input '{}', which it leaves out", i, label(function),
                          printable(function.body.value(function.body.outputs()[i]).name));
      const NodeId producer = graph.value(result).producer;
      const bool own = producer.valid() && producer.index >= first_new;
      if (!own || !taken.insert(result).second) {
        const Graph::Built built = graph.build_before(id, "Identity", graph.value(output).name, {result});
        inserted.push_back(built.node);
        result = built.output;
      }
      const Value value = graph.value(output);
      BEVEL_CHECK(graph.replace_uses(output, result));
      if (graph.value(result).type.kind == Type::Kind::unknown) graph.set_type(result, value.type);
      graph.mutable_value(result).declared = value.declared;
      renamed.emplace_back(result, value.name);
    }
    graph.erase_node(id);
    for (const auto& [value, name] : renamed) graph.rename_value(value, name);
    return {};
  }

  // References become what the call gives; where it gives nothing and there is no default, the attribute goes.
  Status resolve_references(Node& node, const Node& call, const Function& function) {
    std::vector<Attribute> attributes;
    for (Attribute& attribute : node.attributes) {
      const auto* reference = std::get_if<AttributeReference>(&attribute.value);
      if (reference == nullptr) {
        attributes.push_back(std::move(attribute));
        continue;
      }
      const Attribute* given = call.attribute(reference->name);
      for (std::size_t i = 0; given == nullptr && i < function.defaults.size(); ++i)
        if (function.defaults[i].name == reference->name) given = &function.defaults[i];
      if (given == nullptr) continue;
      BEVEL_TRY_STATUS(count_bytes(copied_bytes(given->value)));
      attribute.value = given->value;
      attributes.push_back(std::move(attribute));
    }
    node.attributes = std::move(attributes);
    return {};
  }

  Status resolve_in_graph(Graph& graph, const Node& call, const Function& function) {
    BEVEL_TRY_STATUS(count_nodes(graph.node_count()));
    BEVEL_TRY_STATUS(count_bytes(copied_bytes_of_values(graph)));
    for (const NodeId id : graph.node_order()) {
      Node& node = graph.mutable_node(id);
      BEVEL_TRY_STATUS(count_bytes(copied_bytes(node)));
      BEVEL_TRY_STATUS(resolve_references(node, call, function));
      BEVEL_TRY_STATUS(rewrite_subgraphs(node, [&](Graph& subgraph) { return resolve_in_graph(subgraph, call, function); }));
    }
    return {};
  }

  // A capture bears the name of what it stands for; `next` counts the node's captures on.
  static void rename_captures(Graph& subgraph, const Graph& outer, const Node& node, std::size_t& next) {
    for (const ValueId capture : subgraph.captures()) {
      if (next >= node.captures.size()) return;
      subgraph.rename_value(capture, outer.value(node.captures[next++]).name);
    }
    for (const NodeId id : subgraph.node_order()) {
      std::size_t inner_next = 0;
      const Node& inner_node = subgraph.node(id);
      const Status never_fails = rewrite_subgraphs(subgraph.mutable_node(id), [&](Graph& inner) -> Status {
        rename_captures(inner, subgraph, inner_node, inner_next);
        return {};
      });
      BEVEL_CHECK(never_fails.has_value());
    }
  }

  // A node of ONNX's own whose form changed between two opsets, in subgraphs too; nullptr when there is none.
  static const Node* changed_between(const Graph& graph, std::int64_t from, std::int64_t to) {
    for (const NodeId id : graph.node_order()) {
      const Node& node = graph.node(id);
      const Node* found = node.domain.empty() && changes_form(node, from, to) ? &node : nullptr;
      for_each_subgraph(node, [&](const GraphPtr& subgraph) { found = found != nullptr ? found : changed_between(*subgraph, from, to); });
      if (found != nullptr) return found;
    }
    return nullptr;
  }

  // The body's nodes now count on the model's imports. ONNX (IR.md, "Functions") asks that an operator means the same in both.
  Status import_opsets(const Function& function) {
    for (const OpsetImport& opset : function.opsets) {
      const std::int64_t version = model_.opset(opset.domain);
      if (version == 0) {
        model_.set_opset(opset.domain, opset.version);
      } else if (version != opset.version && opset.domain.empty()) {
        const Node* changed = changed_between(function.body, std::min(version, opset.version), std::max(version, opset.version));
        if (changed == nullptr) continue;
        return fail_input("{} imports opset {} and the model opset {}, between which its operator '{}' changed; expected one opset",
                          label(function), opset.version, version, printable(changed->op_type));
      }
    }
    return {};
  }

  Model& model_;
  const std::vector<Function> functions_;  // the model's, which change under our hands
  std::map<Key, const Function*> by_name_;
  std::vector<const Function*> stack_;     // being expanded, outermost first
  std::set<const Function*> called_;       // looked up, never walked
  std::uint64_t inlined_ = 0;
  std::uint64_t inlined_bytes_ = 0;
};

}  // namespace

Status inline_functions(Model& model) {
  if (model.functions.empty()) return {};
  auto status = Inliner(model).run();
  if (!status && !model.source.empty()) return located(printable(model.source), status.error());
  return status;
}

}  // namespace bevel::ops
