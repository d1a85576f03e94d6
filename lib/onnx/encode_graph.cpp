#include <fmt/core.h>

#include <optional>
#include <variant>

#include "lib/onnx/encode.h"
#include "lib/onnx/fields.h"
#include "lib/support/check.h"
#include "lib/support/name_hash.h"

namespace bevel::onnx {

namespace {

// A value's carried-through fields: of its ValueInfoProto, and of its TensorProto.
struct Carried {
  std::string info, tensor;
};

Carried carried(const Value& value) {
  Carried fields;
  Reader reader(value.opaque);
  Field field;
  while (reader.next(field)) {
    if (field.number == value_info_field::kTensorExtras) fields.tensor += field.bytes;
    else fields.info += field.whole;
  }
  return fields;
}

Writer encode_opset(const OpsetImport& opset) {
  Writer entry;
  entry.text(opset_field::kDomain, opset.domain);
  entry.integer(opset_field::kVersion, opset.version);
  return entry;
}

class GraphEncoder {
 public:
  // `capture_names`: what the enclosing graph calls the captured values now, in the order of graph.captures().
  GraphEncoder(const Graph& graph, const std::vector<std::string>& capture_names, ExternalData* external)
      : graph_(graph), external_(external) {
    rename(capture_names);
  }

  Writer encode_function(const Function& function) const {
    Writer writer;
    writer.text(function_field::kName, graph_.name);
    for (const ValueId id : graph_.inputs()) writer.text(function_field::kInput, name(id));
    for (const ValueId id : graph_.outputs()) writer.text(function_field::kOutput, name(id));
    for (const std::string& attribute : function.attributes) writer.text(function_field::kAttribute, attribute);
    for (const NodeId id : graph_.node_order()) writer.message(function_field::kNode, encode_node(graph_.node(id)));
    writer.text_unless_empty(function_field::kDocString, graph_.doc_string);
    for (const OpsetImport& opset : function.opsets) writer.message(function_field::kOpsetImport, encode_opset(opset));
    writer.text(function_field::kDomain, function.domain);
    const Node nobody;
    std::size_t next_capture = 0;
    for (const Attribute& attribute : function.defaults)
      writer.message(function_field::kAttributeProto, encode_attribute(nobody, attribute, next_capture));
    for (const ValueId id : graph_.value_ids())
      if (graph_.value(id).declared) writer.message(function_field::kValueInfo, encode_value_info(id));
    writer.text_unless_empty(function_field::kOverload, function.overload);
    writer.fields(graph_.opaque);
    return writer;
  }

  Writer encode() const {
    Writer writer;
    for (const NodeId id : graph_.node_order()) writer.message(graph_field::kNode, encode_node(graph_.node(id)));
    writer.text_unless_empty(graph_field::kName, graph_.name);
    for (const ValueId id : graph_.value_ids())
      if (graph_.value(id).constant) writer.message(graph_field::kInitializer, encode_initializer(id));
    writer.text_unless_empty(graph_field::kDocString, graph_.doc_string);
    for (const ValueId id : graph_.inputs()) writer.message(graph_field::kInput, encode_value_info(id));
    for (const ValueId id : graph_.outputs()) writer.message(graph_field::kOutput, encode_value_info(id));
    for (const ValueId id : graph_.value_ids())
      if (graph_.value(id).declared) writer.message(graph_field::kValueInfo, encode_value_info(id));
    writer.fields(graph_.opaque);
    return writer;
  }

 private:
  // A capture is written under its outer value's present name; a value of this graph that has the same name (passes
  // rename per graph) makes way, or it would hide the outer one.
  void rename(const std::vector<std::string>& capture_names) {
    const auto& captures = graph_.captures();
    BEVEL_CHECK(captures.size() == capture_names.size());
    bool same = true;
    for (std::size_t i = 0; i < captures.size(); ++i) same = same && graph_.value(captures[i]).name == capture_names[i];
    if (same) return;
    names_.resize(graph_.value_capacity());
    NameSet taken(capture_names.begin(), capture_names.end());
    for (std::size_t i = 0; i < captures.size(); ++i) names_[captures[i].index] = capture_names[i];
    for (const ValueId id : graph_.value_ids())
      if (!graph_.value(id).is_capture && !taken.contains(graph_.value(id).name)) names_[id.index] = graph_.value(id).name;
    for (const ValueId id : graph_.value_ids()) {
      if (!names_[id.index].empty()) continue;
      const std::string& wanted = graph_.value(id).name;
      std::string name;
      for (std::size_t n = 1; name.empty() || taken.contains(name) || graph_.find_value(name).valid(); ++n)
        name = fmt::format("{}_{}", wanted, n);
      taken.insert(name);
      names_[id.index] = std::move(name);
    }
  }

  [[nodiscard]] const std::string& name(ValueId id) const {
    return names_.empty() ? graph_.value(id).name : names_[id.index];
  }
  [[nodiscard]] std::string name_or_absent(ValueId id) const { return id.valid() ? name(id) : std::string(); }

  [[nodiscard]] static bool has_value_info(const Value& value) {
    return value.is_input || value.declared || value.output_slots > 0;
  }

  [[nodiscard]] Writer encode_value_info(ValueId id) const {
    const Value& value = graph_.value(id);
    Writer writer;
    writer.text(value_info_field::kName, name(id));
    if (states_type(value.type)) writer.message(value_info_field::kType, encode_type(value.type));
    writer.text_unless_empty(value_info_field::kDocString, value.doc_string);
    writer.fields(carried(value).info);
    return writer;
  }

  [[nodiscard]] Writer encode_initializer(ValueId id) const {
    const Value& value = graph_.value(id);
    Writer writer = encode_tensor(*value.constant, name(id), external_);
    if (!has_value_info(value)) writer.text_unless_empty(tensor_field::kDocString, value.doc_string);
    writer.fields(carried(value).tensor);
    return writer;
  }

  [[nodiscard]] Writer encode_node(const Node& node) const {
    Writer writer;
    for (const ValueId input : node.inputs) writer.text(node_field::kInput, name_or_absent(input));
    for (const ValueId output : node.outputs) writer.text(node_field::kOutput, name_or_absent(output));
    writer.text(node_field::kName, node.name);
    writer.text(node_field::kOpType, node.op_type);
    std::size_t next_capture = 0;
    for (const Attribute& attribute : node.attributes)
      writer.message(node_field::kAttribute, encode_attribute(node, attribute, next_capture));
    writer.text_unless_empty(node_field::kDocString, node.doc_string);
    writer.text_unless_empty(node_field::kDomain, node.domain);
    writer.text_unless_empty(node_field::kOverload, node.overload);
    writer.fields(node.opaque);
    return writer;
  }

  [[nodiscard]] Writer encode_subgraph(const Node& node, const Graph& graph, std::size_t& next_capture) const {
    std::vector<std::string> names;
    for (std::size_t i = 0; i < graph.captures().size(); ++i) {
      BEVEL_CHECK(next_capture < node.captures.size());
      names.push_back(name(node.captures[next_capture++]));
    }
    return GraphEncoder(graph, names, external_).encode();
  }

  // Tensors of attributes stay inside the model: readers expect external data in initializers.
  [[nodiscard]] Writer encode_attribute(const Node& node, const Attribute& attribute, std::size_t& next_capture) const {
    Writer writer;
    if (const auto* opaque = std::get_if<OpaqueAttribute>(&attribute.value)) {
      writer.fields(opaque->bytes);
      return writer;
    }
    writer.text(attribute_field::kName, attribute.name);
    const auto finish = [&](std::int64_t type) {
      writer.text_unless_empty(attribute_field::kDocString, attribute.doc_string);
      writer.integer(attribute_field::kType, type);
    };
    struct Visitor {
      const GraphEncoder& graph;
      const Node& node;
      std::size_t& next_capture;
      Writer& writer;
      std::int64_t operator()(float value) {
        writer.real(attribute_field::kFloat, value);
        return attribute_type::kFloat;
      }
      std::int64_t operator()(std::int64_t value) {
        writer.integer(attribute_field::kInt, value);
        return attribute_type::kInt;
      }
      std::int64_t operator()(const std::string& value) {
        writer.text(attribute_field::kString, value);
        return attribute_type::kString;
      }
      std::int64_t operator()(const Tensor& value) {
        writer.message(attribute_field::kTensor, encode_tensor(value, {}, nullptr));
        return attribute_type::kTensor;
      }
      std::int64_t operator()(const GraphPtr& value) {
        writer.message(attribute_field::kGraph, graph.encode_subgraph(node, *value, next_capture));
        return attribute_type::kGraph;
      }
      std::int64_t operator()(const std::vector<float>& values) {
        for (const float value : values) writer.real(attribute_field::kFloats, value);
        return attribute_type::kFloats;
      }
      std::int64_t operator()(const std::vector<std::int64_t>& values) {
        for (const std::int64_t value : values) writer.integer(attribute_field::kInts, value);
        return attribute_type::kInts;
      }
      std::int64_t operator()(const std::vector<std::string>& values) {
        for (const std::string& value : values) writer.text(attribute_field::kStrings, value);
        return attribute_type::kStrings;
      }
      std::int64_t operator()(const std::vector<Tensor>& values) {
        for (const Tensor& value : values) writer.message(attribute_field::kTensors, encode_tensor(value, {}, nullptr));
        return attribute_type::kTensors;
      }
      std::int64_t operator()(const std::vector<GraphPtr>& values) {
        for (const GraphPtr& value : values)
          writer.message(attribute_field::kGraphs, graph.encode_subgraph(node, *value, next_capture));
        return attribute_type::kGraphs;
      }
      std::int64_t operator()(const OpaqueAttribute&) { return attribute_type::kUndefined; }
      std::int64_t operator()(const Type& value) {
        writer.message(attribute_field::kTypeProto, encode_type(value));
        return attribute_type::kTypeProto;
      }
      std::int64_t operator()(const SparseTensor& value) {
        Writer sparse;
        sparse.message(sparse_field::kValues, encode_tensor(value.values, {}, nullptr));
        sparse.message(sparse_field::kIndices, encode_tensor(value.indices, {}, nullptr));
        for (const std::int64_t dim : value.dims) sparse.integer(sparse_field::kDims, dim);
        writer.message(attribute_field::kSparseTensor, sparse);
        return attribute_type::kSparseTensor;
      }
      std::int64_t operator()(const AttributeReference& value) {
        writer.text(attribute_field::kRefAttrName, value.name);
        return value.kind;
      }
    };
    finish(std::visit(Visitor{*this, node, next_capture, writer}, attribute.value));
    writer.fields(attribute.opaque);
    return writer;
  }

  const Graph& graph_;
  ExternalData* external_;
  std::vector<std::string> names_;  // by value index; empty: every value keeps its name
};

}  // namespace

Writer encode_model(const Model& model, ExternalData* external) {
  Writer writer;
  if (model.ir_version != 0) writer.integer(model_field::kIrVersion, model.ir_version);
  writer.text_unless_empty(model_field::kProducerName, model.producer_name);
  writer.text_unless_empty(model_field::kProducerVersion, model.producer_version);
  writer.text_unless_empty(model_field::kDomain, model.domain);
  if (model.model_version != 0) writer.integer(model_field::kModelVersion, model.model_version);
  writer.text_unless_empty(model_field::kDocString, model.doc_string);
  writer.message(model_field::kGraph, GraphEncoder(model.graph, {}, external).encode());
  for (const OpsetImport& opset : model.opsets) writer.message(model_field::kOpsetImport, encode_opset(opset));
  for (const auto& [key, value] : model.metadata) {
    Writer entry;
    entry.text(entry_field::kKey, key);
    entry.text(entry_field::kValue, value);
    writer.message(model_field::kMetadataProps, entry);
  }
  for (const Function& function : model.functions)
    writer.message(model_field::kFunctions, GraphEncoder(function.body, {}, external).encode_function(function));
  writer.fields(model.opaque);
  return writer;
}

}  // namespace bevel::onnx
