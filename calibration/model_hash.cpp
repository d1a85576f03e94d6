// A model's identity for profiles: what decides the values it computes, not how it is documented.
#include "calibration/calibration.h"
#include "calibration/canonical.h"
#include "lib/support/hash.h"

namespace bevel::calibration {

void Canonical::add(std::string_view text) { text_ += fmt::format("{}:{}", text.size(), text); }
void Canonical::add(std::int64_t number) { text_ += fmt::format("{};", number); }
void Canonical::add(float number) { add(static_cast<std::int64_t>(__builtin_bit_cast(std::uint32_t, number))); }
void Canonical::add(const Tensor& tensor) {
  add(dtype_name(tensor.dtype()));
  add(static_cast<std::int64_t>(tensor.rank()));
  for (const std::int64_t extent : tensor.dims()) add(extent);
  if (tensor.dtype() == DType::string) {
    for (const std::string& text : tensor.strings()) add(text);
  } else {
    add(hash_of_ ? hash_of_(tensor) : sha256_hex(tensor.bytes()));
  }
}
void Canonical::add(const SparseTensor& sparse) {
  add(sparse.dims);
  add(sparse.values);
  add(sparse.indices);
}
void Canonical::add(const AttributeReference& reference) {
  add(reference.name);
  add(reference.kind);
}
void Canonical::add(const OpsetImport& opset) {
  add(opset.domain);
  add(opset.version);
}
void Canonical::add(const std::vector<Attribute>& attributes) {
  for (const Attribute& attribute : attributes) {
    add(attribute.name);
    add(static_cast<std::int64_t>(attribute.value.index()));
    std::visit([this](const auto& value) { add(value); }, attribute.value);
  }
}
void Canonical::add(const Function& function) {
  add(function.body.name);
  add(function.domain);
  add(function.overload);
  add(function.opsets);
  add(function.attributes);
  add(function.defaults);
  add(function.body);
}
void Canonical::add(const Graph& graph, const std::vector<ValueId>& values) {
  add(static_cast<std::int64_t>(values.size()));
  for (const ValueId id : values) add(id.valid() ? std::string_view(graph.value(id).name) : std::string_view());
}
void Canonical::add(const Graph& graph) {
  add(graph, graph.inputs());
  for (const ValueId id : graph.inputs()) add(to_string(graph.value(id).type));
  add(graph, graph.outputs());
  add(graph, graph.captures());
  for (const ValueId id : graph.value_ids()) {
    if (!graph.value(id).constant) continue;
    add(graph.value(id).name);
    add(*graph.value(id).constant);
  }
  for (const NodeId id : graph.node_order()) {
    const Node& node = graph.node(id);
    add(node.name);
    add(node.domain);
    add(node.op_type);
    add(node.overload);
    add(graph, node.inputs);
    add(graph, node.captures);
    add(graph, node.outputs);
    add(node.attributes);
  }
}

std::string model_hash(const Model& model) {
  Canonical canonical;
  for (const OpsetImport& opset : model.opsets) canonical.add(opset);
  canonical.add(model.functions);
  canonical.add(model.graph);
  return sha256_hex(canonical.text());
}

}  // namespace bevel::calibration
