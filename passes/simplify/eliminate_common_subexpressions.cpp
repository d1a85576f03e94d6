// eliminate-common-subexpressions: what is computed twice is computed once.
//
// Two nodes with the same operator, attributes and operands give the same result; readers of the second read the first. Constants with
// the same bits count as the same operand, since exporters repeat small ones (axes, bounds, shapes) at every use.
//
// Limits: pure operators that Bevel knows, without subgraphs. Where both results are graph outputs, both stay. Constants
// themselves are not merged: weights keep their names and may be changed one by one.
//
//   a = Relu (x)
//   b = Relu (x)
//   y = Add (a, b)
// becomes
//   a = Relu (x)
//   y = Add (a, a)
#include <algorithm>

#include "lib/ops/op.h"
#include "lib/support/hash.h"
#include "lib/support/name_hash.h"
#include "passes/pass.h"

namespace bevel::passes {
namespace {

// Larger constants are compared by identity: they are weights, which exporters do not repeat, and hashing them takes time.
constexpr std::int64_t kMaxComparedElements = 64 * 1024;

// A description of a node that is equal for nodes that compute the same: text and raw bytes, lengths in front.
class Key {
 public:
  std::string bytes;

  void text(std::string_view value) {
    number(value.size());
    bytes += value;
  }
  void number(std::uint64_t value) { raw(&value, sizeof value); }
  void tensor(const Tensor& tensor) {
    number(static_cast<std::uint64_t>(tensor.dtype()));
    number(tensor.rank());
    for (const std::int64_t dim : tensor.dims()) number(static_cast<std::uint64_t>(dim));
    if (tensor.dtype() == DType::string) {
      for (const std::string& one : tensor.strings()) text(one);
    } else {
      text(sha256_hex(tensor.bytes()));
    }
  }
  // False when the attribute cannot be described (subgraphs).
  bool attribute(const Attribute& attribute) {
    text(attribute.name);
    number(attribute.value.index());
    return std::visit([&](const auto& value) { return describe(value); }, attribute.value);
  }

 private:
  void raw(const void* data, std::size_t size) { bytes.append(static_cast<const char*>(data), size); }
  bool describe(float value) { return raw(&value, sizeof value), true; }
  bool describe(std::int64_t value) { return raw(&value, sizeof value), true; }
  bool describe(const std::string& value) { return text(value), true; }
  bool describe(const Tensor& value) { return tensor(value), true; }
  bool describe(const OpaqueAttribute& value) { return text(value.bytes), true; }
  bool describe(const GraphPtr&) { return false; }
  bool describe(const Type& value) { return text(to_string(value)), value.denotation.empty(); }
  bool describe(const SparseTensor& value) {
    number(value.dims.size());
    for (const std::int64_t dim : value.dims) number(static_cast<std::uint64_t>(dim));
    tensor(value.values);
    tensor(value.indices);
    return true;
  }
  bool describe(const AttributeReference&) { return false; }
  template <typename T>
  bool describe(const std::vector<T>& values) {
    number(values.size());
    for (const T& value : values) {
      if (!describe(value)) return false;
    }
    return true;
  }
};

// `constants`: descriptions of constants that were met, by value, so that what thousands of nodes read is hashed once.
std::optional<std::string> key_of(const Model& model, const Graph& graph, NodeId id, std::vector<std::string>& constants) {
  const Node& node = graph.node(id);
  if (ops::find_op(node) == nullptr || !node.captures.empty() || node.inputs.empty()) return std::nullopt;
  if (!ops::facts_of(model, graph, id).value.pure) return std::nullopt;
  Key key;
  key.text(node.domain);
  key.text(node.op_type);
  key.text(node.overload);
  key.number(node.attributes.size());
  std::vector<const Attribute*> attributes;
  for (const Attribute& attribute : node.attributes) attributes.push_back(&attribute);
  std::sort(attributes.begin(), attributes.end(),
            [](const Attribute* a, const Attribute* b) { return a->name < b->name; });
  for (const Attribute* attribute : attributes) {
    if (!key.attribute(*attribute)) return std::nullopt;
  }
  for (const ValueId input : node.inputs) {
    const Tensor* constant = graph.constant(input);
    if (constant != nullptr && constant->size() <= kMaxComparedElements) {
      std::string& described = constants[input.index];
      if (described.empty()) {
        Key alone;
        alone.tensor(*constant);
        described = std::move(alone.bytes);
      }
      key.text("constant");
      key.text(described);
    } else {
      key.text("value");
      key.number(input.index);
    }
  }
  key.number(node.outputs.size());
  for (const ValueId output : node.outputs) key.number(output.valid());
  return std::move(key.bytes);
}

// Readers of `later` read `first`; true when something changed.
bool merge(Graph& graph, NodeId first, NodeId later) {
  const std::vector<ValueId> from = graph.node(later).outputs;
  const std::vector<ValueId> to = graph.node(first).outputs;
  bool changed = false, unused = true;
  for (std::size_t i = 0; i < from.size(); ++i) {
    if (!from[i].valid()) continue;
    const bool had_readers = !graph.value(from[i]).uses.empty();
    const bool was_output = graph.value(from[i]).output_slots > 0;
    const Type type = graph.value(from[i]).type;
    const bool replaced = graph.replace_uses(from[i], to[i]);
    if (replaced && was_output) graph.set_type(to[i], type);
    changed = changed || had_readers || (replaced && was_output);
    unused = unused && replaced;
  }
  if (unused) graph.erase_node(later);
  return changed || unused;
}

Result<PassStats> run(Model& model, const Options&, PassContext&) {
  PassStats stats;
  Graph& graph = model.graph;
  NameMap<NodeId> seen;
  std::vector<std::string> constants(graph.value_capacity());
  for (const NodeId id : graph.node_order()) {
    auto key = key_of(model, graph, id, constants);
    if (!key) continue;
    const auto [found, fresh] = seen.emplace(std::move(*key), id);
    if (!fresh) stats.changes += merge(graph, found->second, id);
  }
  return stats;
}

}  // namespace

extern const PassRecord eliminate_common_subexpressions = {
    "eliminate-common-subexpressions", "compute once what is computed twice", Accuracy::exact, {}, run};

}  // namespace bevel::passes
