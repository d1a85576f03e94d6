// Small ONNX files for tests, written field by field so that they can also be wrong.
#pragma once

#include <catch2/catch.hpp>

#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#include "lib/onnx/fields.h"
#include "lib/onnx/onnx.h"
#include "lib/onnx/wire.h"

namespace bevel::onnx::testing {

namespace fs = std::filesystem;

// A fresh folder that goes away with its scope.
struct Folder {
  fs::path path;
  Folder() {
    std::string pattern = (fs::temp_directory_path() / "bevel-onnx-XXXXXX").string();
    REQUIRE(::mkdtemp(pattern.data()) != nullptr);
    path = pattern;
  }
  ~Folder() {
    std::error_code ignored;
    fs::remove_all(path, ignored);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
};

inline void put(const fs::path& path, std::string_view text) {
  std::ofstream(path, std::ios::binary).write(text.data(), static_cast<std::streamsize>(text.size()));
}

inline std::string get(const fs::path& path) {
  std::ifstream stream(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

using Names = std::vector<std::string>;

inline Writer value_info(const std::string& name, int dtype = 1, const std::vector<std::int64_t>& dims = {2}) {
  Writer shape, tensor, type, info;
  for (const std::int64_t dim : dims) {
    Writer d;
    d.integer(type_field::kDimValue, dim);
    shape.message(type_field::kDim, d);
  }
  tensor.integer(type_field::kElemType, dtype);
  tensor.message(type_field::kShape, shape);
  type.message(type_field::kTensor, tensor);
  info.text(value_info_field::kName, name);
  info.message(value_info_field::kType, type);
  return info;
}

inline Writer node(const std::string& op, const Names& inputs, const Names& outputs, const std::string& name = {}) {
  Writer node;
  for (const auto& input : inputs) node.text(node_field::kInput, input);
  for (const auto& output : outputs) node.text(node_field::kOutput, output);
  node.text_unless_empty(node_field::kName, name);
  node.text(node_field::kOpType, op);
  return node;
}

inline Writer tensor_head(const std::string& name, int dtype, const std::vector<std::int64_t>& dims) {
  Writer tensor;
  for (const std::int64_t dim : dims) tensor.integer(tensor_field::kDims, dim);
  tensor.integer(tensor_field::kDataType, dtype);
  tensor.text_unless_empty(tensor_field::kName, name);
  return tensor;
}

inline Writer raw_tensor(const std::string& name, int dtype, const std::vector<std::int64_t>& dims, std::string_view raw) {
  Writer tensor = tensor_head(name, dtype, dims);
  tensor.text(tensor_field::kRawData, raw);
  return tensor;
}

inline Writer external_tensor(const std::string& name, const std::vector<std::int64_t>& dims,
                              const std::vector<std::pair<std::string, std::string>>& entries) {
  Writer tensor = tensor_head(name, 1, dims);
  for (const auto& [key, value] : entries) {
    Writer entry;
    entry.text(entry_field::kKey, key);
    entry.text(entry_field::kValue, value);
    tensor.message(tensor_field::kExternalData, entry);
  }
  tensor.integer(tensor_field::kDataLocation, 1);
  return tensor;
}

inline Writer model(const Writer& graph, int opset = 13) {
  Writer opset_import, model;
  opset_import.text(opset_field::kDomain, "");
  opset_import.integer(opset_field::kVersion, opset);
  model.integer(model_field::kIrVersion, 8);
  model.message(model_field::kGraph, graph);
  model.message(model_field::kOpsetImport, opset_import);
  return model;
}

// The model's bytes, payloads in place.
inline std::string flat(const Writer& writer) {
  std::string out;
  std::size_t at = 0;
  for (const Writer::Payload& payload : writer.payloads()) {
    out += writer.bytes().substr(at, payload.at - at);
    out.append(reinterpret_cast<const char*>(payload.data.data()), payload.data.size());
    at = payload.at;
  }
  return out + writer.bytes().substr(at);
}

// x -> Relu -> y, with an initializer and an Add, a subgraph and attributes: a little of everything.
inline Writer sample_graph() {
  Writer graph, attribute, ints, branch, if_node;
  branch.message(graph_field::kNode, node("Identity", {"h"}, {"b"}, "inner"));
  branch.text(graph_field::kName, "branch");
  branch.message(graph_field::kOutput, value_info("b"));
  for (const char* name : {"then_branch", "else_branch"}) {
    Writer a;
    a.text(attribute_field::kName, name);
    a.message(attribute_field::kGraph, branch);
    a.integer(attribute_field::kType, attribute_type::kGraph);
    attribute.message(node_field::kAttribute, a);
  }
  if_node = node("If", {"c"}, {"z"}, "if");
  if_node.append(attribute);
  ints.text(attribute_field::kName, "axes");
  for (const int v : {1, -2}) ints.integer(attribute_field::kInts, v);
  ints.integer(attribute_field::kType, attribute_type::kInts);
  Writer add = node("Add", {"x", "w"}, {"h"}, "add");
  add.message(node_field::kAttribute, ints);
  graph.message(graph_field::kNode, add);
  graph.message(graph_field::kNode, if_node);
  graph.text(graph_field::kName, "main");
  graph.message(graph_field::kInitializer, raw_tensor("w", 1, {2}, std::string("\0\0\x80\x3f\0\0\0\x40", 8)));
  graph.message(graph_field::kInitializer, raw_tensor("c", 9, {}, std::string("\1", 1)));
  graph.message(graph_field::kInput, value_info("x"));
  graph.message(graph_field::kOutput, value_info("z"));
  return graph;
}

inline Result<Model> import_bytes(const Folder& folder, std::string_view bytes) {
  put(folder.path / "m.onnx", bytes);
  return import_model(folder.path / "m.onnx");
}

// The message of a refusal, which must be located and of exit code 5.
inline std::string refusal(const Folder& folder, std::string_view bytes) {
  const auto model = import_bytes(folder, bytes);
  if (model) FAIL("imported, but should have been refused");
  CHECK(model.error().code == ExitCode::input);
  CHECK(model.error().message.starts_with((folder.path / "m.onnx").string()));
  return model.error().message;
}

}  // namespace bevel::onnx::testing
