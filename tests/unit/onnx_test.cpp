#include <catch2/catch.hpp>

#include <onnx/onnx_pb.h>

#include <algorithm>
#include <bit>
#include <cstdio>
#include <optional>

#include "tests/onnx_models.h"

using namespace bevel;
using namespace bevel::onnx::testing;
namespace onnx_ = bevel::onnx;
using bevel::onnx::export_model;
using bevel::onnx::import_model;
using bevel::onnx::Writer;
namespace graph_field = bevel::onnx::graph_field;
namespace node_field = bevel::onnx::node_field;
namespace model_field = bevel::onnx::model_field;
namespace tensor_field = bevel::onnx::tensor_field;
namespace attribute_field = bevel::onnx::attribute_field;
namespace attribute_type = bevel::onnx::attribute_type;
namespace value_info_field = bevel::onnx::value_info_field;
namespace entry_field = bevel::onnx::entry_field;

namespace {

std::vector<fs::path> models_beneath(const fs::path& folder) {
  std::vector<fs::path> found;
  std::error_code error;
  for (auto it = fs::recursive_directory_iterator(folder, error); !error && it != fs::recursive_directory_iterator();
       it.increment(error))
    if (it->path().extension() == ".onnx") found.push_back(it->path());
  std::sort(found.begin(), found.end());
  return found;
}

// import -> export -> import is the same model, and exporting that one gives the same bytes (a sync of its own, hence not
// for each of a thousand models).
void check_round_trip(const fs::path& source, const fs::path& folder, bool bytes_too) {
  INFO(source);
  const auto first = import_model(source);
  if (!first) FAIL(first.error().message);
  const auto written = export_model(*first, folder / "out.onnx");
  if (!written) FAIL(written.error().message);
  const auto second = import_model(folder / "out.onnx");
  if (!second) FAIL(second.error().message);
  std::string why;
  if (!same_model(*first, *second, &why)) FAIL(why);
  const std::string bytes = get(folder / "out.onnx");
  if (bytes_too) {
    REQUIRE(export_model(*second, folder / "again.onnx"));
    CHECK(bytes == get(folder / "again.onnx"));
  }
  ::onnx::ModelProto proto;  // an independent reader agrees that it is a model
  REQUIRE(proto.ParseFromString(bytes));
  CHECK(static_cast<std::size_t>(proto.graph().node_size()) == first->graph.node_count());
  CHECK(static_cast<std::size_t>(proto.graph().output_size()) == first->graph.outputs().size());
}

Model import_or_fail(const Folder& folder, const Writer& graph) {
  auto model = import_bytes(folder, flat(bevel::onnx::testing::model(graph)));
  if (!model) FAIL(model.error().message);
  return std::move(*model);
}

Model round_trip(const Folder& folder, const Model& model, const onnx_::ExportOptions& options = {}) {
  const auto written = export_model(model, folder.path / "o.onnx", options);
  if (!written) FAIL(written.error().message);
  auto again = import_model(folder.path / "o.onnx");
  if (!again) FAIL(again.error().message);
  std::string why;
  if (!same_model(model, *again, &why)) FAIL(why);
  return std::move(*again);
}

// One initializer and an Identity of it.
Writer holder(const Writer& tensor, const std::string& name = "t") {
  Writer graph;
  graph.message(graph_field::kNode, node("Identity", {name}, {"y"}, "id"));
  graph.text(graph_field::kName, "g");
  graph.message(graph_field::kInitializer, tensor);
  Writer output;
  output.text(value_info_field::kName, "y");
  graph.message(graph_field::kOutput, output);
  return graph;
}

const Tensor& constant_of(const Model& model, const std::string& name = "t") {
  const Tensor* tensor = model.graph.constant(model.graph.find_value(name));
  REQUIRE(tensor != nullptr);
  return *tensor;
}

std::string packed_varints(const std::vector<std::int64_t>& values) {
  Writer writer;
  for (const std::int64_t value : values) writer.varint(static_cast<std::uint64_t>(value));
  return writer.bytes();
}

Writer typed(DType dtype, const std::vector<std::int64_t>& dims, std::uint32_t field, const std::string& packed) {
  Writer tensor = tensor_head("t", static_cast<int>(dtype), dims);
  tensor.text(field, packed);
  return tensor;
}

}  // namespace

TEST_CASE("the shared models survive a round trip") {
  const char* set = std::getenv("BEVEL_SHARED");
  const fs::path shared = set != nullptr ? fs::path(set) : fs::path(BEVEL_SOURCE_DIR) / "../shared";
  const auto models = models_beneath(shared / "models");
  if (models.empty()) {
    WARN("skipped: no models in " << shared / "models" << " (set BEVEL_SHARED)");
    return;
  }
  const Folder folder;
  for (const fs::path& path : models) check_round_trip(path, folder.path, true);
}

TEST_CASE("the models of libonnx-testdata survive a round trip") {
  const auto models = models_beneath("/usr/share/libonnx-testdata/data");
  if (models.empty()) {
    WARN("skipped: libonnx-testdata is not installed");
    return;
  }
  const Folder folder;
  for (const fs::path& path : models) check_round_trip(path, folder.path, false);
}

TEST_CASE("a model's parts arrive, and its subgraphs' outer values become operands") {
  const Folder folder;
  const Model model = import_or_fail(folder, sample_graph());
  const Graph& graph = model.graph;
  CHECK(model.opset() == 13);
  CHECK(model.ir_version == 8);
  REQUIRE(graph.node_count() == 2);
  const Node& add = graph.node(graph.find_node("add"));
  CHECK(std::get<std::vector<std::int64_t>>(add.attribute("axes")->value) == std::vector<std::int64_t>{1, -2});
  CHECK(constant_of(model, "w").as_floats() == std::vector<float>{1.0f, 2.0f});
  const Node& branch = graph.node(graph.find_node("if"));
  const ValueId h = graph.find_value("h");
  CHECK(branch.captures == std::vector<ValueId>{h, h});
  CHECK(graph.value(h).uses.size() == 2);
  const auto& inner = *std::get<GraphPtr>(branch.attribute("then_branch")->value);
  REQUIRE(inner.captures().size() == 1);
  CHECK(inner.value(inner.captures()[0]).name == "h");
  round_trip(folder, model);
}

TEST_CASE("a capture passes through the graphs in between, and a local name hides an outer one") {
  const Folder folder;
  const auto with_graph = [](Writer node, const Writer& graph) {
    Writer attribute;
    attribute.text(attribute_field::kName, "body");
    attribute.message(attribute_field::kGraph, graph);
    attribute.integer(attribute_field::kType, attribute_type::kGraph);
    node.message(node_field::kAttribute, attribute);
    return node;
  };
  Writer innermost, middle, graph;
  innermost.message(graph_field::kNode, node("Add", {"x", "local"}, {"i"}));
  innermost.message(graph_field::kOutput, value_info("i"));
  middle.message(graph_field::kNode, with_graph(node("Inner", {}, {"m"}), innermost));
  middle.message(graph_field::kNode, node("Neg", {"k"}, {"local"}));
  middle.message(graph_field::kOutput, value_info("m"));
  graph.message(graph_field::kNode, with_graph(node("Outer", {"k"}, {"y"}), middle));
  graph.message(graph_field::kNode, node("Abs", {"x"}, {"k"}));
  graph.message(graph_field::kNode, node("Abs", {"x"}, {"local"}));
  graph.message(graph_field::kInput, value_info("x"));
  graph.message(graph_field::kOutput, value_info("y"));
  const Model model = import_or_fail(folder, graph);
  const Node& outer = model.graph.node(model.graph.find_node("y"));
  const auto names = [](const Graph& g, const std::vector<ValueId>& ids) {
    Names out;
    for (const ValueId id : ids) out.push_back(g.value(id).name);
    std::sort(out.begin(), out.end());
    return out;
  };
  CHECK(names(model.graph, outer.captures) == Names{"k", "x"});
  const Graph& m = *std::get<GraphPtr>(outer.attribute("body")->value);
  const Node& inner = m.node(m.find_node("m"));
  CHECK(names(m, inner.captures) == Names{"local", "x"});
  CHECK(m.value(m.find_value("local")).producer.valid());
  // The file's order was not executable: Outer reads k, and Inner reads local, before they are produced.
  CHECK(model.graph.node_order().front() == model.graph.find_node("k"));
  CHECK(m.node_order().front() == m.find_node("local"));
  round_trip(folder, model);
}

TEST_CASE("export follows an outer value that was renamed, and keeps it visible") {
  const Folder folder;
  Model model = import_or_fail(folder, sample_graph());
  model.graph.rename_value(model.graph.find_value("h"), "b");  // "b" is also a value inside the branches
  REQUIRE(export_model(model, folder.path / "o.onnx"));
  const auto again = import_model(folder.path / "o.onnx");
  REQUIRE(again);
  const Node& branch = again->graph.node(again->graph.find_node("if"));
  CHECK(branch.captures == std::vector<ValueId>(2, again->graph.find_value("b")));
  const Graph& inner = *std::get<GraphPtr>(branch.attribute("else_branch")->value);
  CHECK(inner.value(inner.outputs()[0]).producer.valid());
}

TEST_CASE("nodes get unique names, and keep the first bearer's") {
  const Folder folder;
  Writer graph;
  graph.message(graph_field::kNode, node("Neg", {"x"}, {"a"}));
  graph.message(graph_field::kNode, node("Neg", {"x"}, {"b"}, "a"));
  graph.message(graph_field::kNode, node("Neg", {"x"}, {"c"}, "a"));
  graph.message(graph_field::kNode, node("Neg", {"x"}, {"d"}, "c"));
  graph.message(graph_field::kInput, value_info("x"));
  graph.message(graph_field::kOutput, value_info("d"));
  const Model model = import_or_fail(folder, graph);
  const auto name_of = [&](const char* value) {
    return model.graph.node(model.graph.value(model.graph.find_value(value)).producer).name;
  };
  CHECK(name_of("b") == "a");
  CHECK(name_of("d") == "c");
  CHECK(name_of("a") == "a_1");
  CHECK(name_of("c") == "c_1");
  round_trip(folder, model);
}

TEST_CASE("what Bevel does not know survives a round trip") {
  const Folder folder;
  const auto unknown = [](Writer writer, std::uint32_t number, const std::string& text) {
    writer.text(number, text);
    return writer;
  };
  Writer function, entry, tensor_attribute, opaque_attribute, graph;
  entry.text(entry_field::kKey, "k");
  entry.text(entry_field::kValue, "v");
  Writer tensor = raw_tensor("named", 1, {1}, std::string(4, '\0'));
  tensor.text(tensor_field::kDocString, "tensor doc");
  tensor.message(tensor_field::kMetadataProps, entry);
  tensor_attribute.text(attribute_field::kName, "value");
  tensor_attribute.message(attribute_field::kTensor, tensor);
  tensor_attribute.integer(attribute_field::kType, attribute_type::kTensor);
  tensor_attribute.text(500, "attribute");
  opaque_attribute.text(attribute_field::kName, "later");
  opaque_attribute.integer(attribute_field::kType, 77);
  opaque_attribute.text(501, "value of a later kind");
  Writer n = unknown(node("Later", {"x", "w"}, {"y"}, "n"), 502, "node");
  n.text(node_field::kDomain, "com.example");
  n.text(node_field::kOverload, "o");
  n.message(node_field::kMetadataProps, entry);
  n.message(node_field::kAttribute, tensor_attribute);
  n.message(node_field::kAttribute, opaque_attribute);
  graph.message(graph_field::kNode, n);
  graph.text(graph_field::kName, "g");
  Writer weight = unknown(raw_tensor("w", 1, {2}, std::string(8, '\0')), 503, "tensor");
  weight.text(tensor_field::kDocString, "weight doc");
  graph.message(graph_field::kInitializer, weight);
  graph.message(graph_field::kInput, unknown(value_info("x"), 504, "input"));
  graph.message(graph_field::kInput, unknown(value_info("w"), 505, "default"));
  graph.message(graph_field::kOutput, value_info("y"));
  Writer annotation;
  annotation.text(1, "y");
  graph.message(graph_field::kQuantizationAnnotation, annotation);
  graph.text(506, "graph");
  Writer proto = bevel::onnx::testing::model(graph);
  function.text(1, "f");
  function.text(10, "com.example");
  proto.message(model_field::kFunctions, function);
  proto.message(model_field::kMetadataProps, entry);
  proto.text(507, "model");

  auto imported = import_bytes(folder, flat(proto));
  if (!imported) FAIL(imported.error().message);
  const Model again = round_trip(folder, *imported);
  const std::string bytes = get(folder.path / "o.onnx");
  for (const char* text : {"attribute", "value of a later kind", "node", "tensor", "tensor doc", "weight doc", "input",
                           "default", "graph", "model", "named", "com.example"})
    CHECK(bytes.find(text) != std::string::npos);
  const Node& kept = again.graph.node(again.graph.find_node("n"));
  CHECK(std::get<Tensor>(kept.attribute("value")->value).size() == 1);
  CHECK(std::holds_alternative<OpaqueAttribute>(kept.attribute("later")->value));
  CHECK(kept.overload == "o");
  CHECK(again.functions.size() == 1);
  CHECK(again.metadata == std::vector<std::pair<std::string, std::string>>{{"k", "v"}});

  ::onnx::ModelProto read;
  REQUIRE(read.ParseFromString(bytes));
  CHECK(read.graph().node(0).attribute(0).t().name() == "named");
  CHECK(read.graph().node(0).attribute(0).t().doc_string() == "tensor doc");
  CHECK(read.graph().node(0).attribute(0).t().raw_data().size() == 4);
  CHECK(read.graph().initializer(0).doc_string() == "weight doc");
  CHECK(read.graph().initializer(0).GetReflection()->GetUnknownFields(read.graph().initializer(0)).field(0).number() == 503);
  CHECK(read.graph().input(1).GetReflection()->GetUnknownFields(read.graph().input(1)).field(0).number() == 505);
}

TEST_CASE("every element type is read from the field that onnx.proto prescribes") {
  const Folder folder;
  using tensor_field::kInt32Data;
  const auto read = [&](const Writer& tensor) {
    const Model model = import_or_fail(folder, holder(tensor));
    round_trip(folder, model);
    return constant_of(model);
  };
  CHECK(read(typed(DType::int8, {3}, kInt32Data, packed_varints({-128, 0, 127}))).as_int64s() ==
        std::vector<std::int64_t>{-128, 0, 127});
  CHECK(read(typed(DType::uint16, {2}, kInt32Data, packed_varints({65535, 1}))).as_int64s() ==
        std::vector<std::int64_t>{65535, 1});
  CHECK(read(typed(DType::int32, {2}, kInt32Data, packed_varints({-2147483648ll, 7}))).as_int64s() ==
        std::vector<std::int64_t>{-2147483648ll, 7});
  CHECK(read(typed(DType::boolean, {3}, kInt32Data, packed_varints({0, 5, 256}))).as_int64s() ==
        std::vector<std::int64_t>{0, 1, 1});
  CHECK(read(typed(DType::float16, {2}, kInt32Data, packed_varints({0x3C00, 0xC000}))).as_floats() ==
        std::vector<float>{1.0f, -2.0f});
  CHECK(read(typed(DType::bfloat16, {1}, kInt32Data, packed_varints({0x3F80}))).as_floats() == std::vector<float>{1.0f});
  CHECK(read(typed(DType::float8e5m2, {1}, kInt32Data, packed_varints({0x3C}))).as_floats() == std::vector<float>{1.0f});
  // 4-bit and 2-bit types: one packed byte per int32, the first element in the low bits.
  CHECK(read(typed(DType::int4, {3}, kInt32Data, packed_varints({0xF8, 0x07}))).as_int64s() ==
        std::vector<std::int64_t>{-8, -1, 7});
  CHECK(read(typed(DType::uint4, {2}, kInt32Data, packed_varints({0xF1}))).as_int64s() == std::vector<std::int64_t>{1, 15});
  CHECK(read(typed(DType::uint2, {5}, kInt32Data, packed_varints({0xE4, 0x02}))).as_int64s() ==
        std::vector<std::int64_t>{0, 1, 2, 3, 2});
  CHECK(read(typed(DType::int64, {2}, tensor_field::kInt64Data, packed_varints({-5, 1ll << 40}))).as_int64s() ==
        std::vector<std::int64_t>{-5, 1ll << 40});
  CHECK(read(typed(DType::uint32, {1}, tensor_field::kUint64Data, packed_varints({4000000000ll}))).as_int64s() ==
        std::vector<std::int64_t>{4000000000ll});
  const double d[] = {0.1, -3.0};
  const std::string doubles(reinterpret_cast<const char*>(d), sizeof d);
  CHECK(read(typed(DType::float64, {2}, tensor_field::kDoubleData, doubles)).values<double>()[0] == 0.1);
  CHECK(read(typed(DType::complex128, {1}, tensor_field::kDoubleData, doubles)).bytes().size() == 16);
  Writer unpacked = tensor_head("t", 1, {2});
  unpacked.real(tensor_field::kFloatData, 1.5f);
  unpacked.real(tensor_field::kFloatData, -2.0f);
  CHECK(read(unpacked).as_floats() == std::vector<float>{1.5f, -2.0f});
  Writer strings = tensor_head("t", 8, {2});
  strings.text(tensor_field::kStringData, "");
  strings.text(tensor_field::kStringData, "b");
  CHECK(read(strings).strings() == Names{"", "b"});
  CHECK(read(raw_tensor("t", 22, {3}, std::string("\xF8\x07", 2))).as_int64s() == std::vector<std::int64_t>{-8, -1, 7});
  CHECK(read(raw_tensor("t", 9, {2}, std::string("\x00\x02", 2))).as_int64s() == std::vector<std::int64_t>{0, 1});
  CHECK(read(tensor_head("t", 1, {0, 5})).size() == 0);
}

TEST_CASE("large tensors point into the file, and stay when it is replaced") {
  const Folder folder;
  const std::string weights(100000, '\x3f');
  Model model = import_or_fail(folder, holder(raw_tensor("t", 1, {25000}, weights)));
  CHECK(constant_of(model).heap_bytes() == 0);
  REQUIRE(export_model(model, folder.path / "m.onnx"));  // onto the file that it is mapped from
  const auto bytes = constant_of(model).bytes();
  CHECK(std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()) == weights);
  const auto again = import_model(folder.path / "m.onnx");
  REQUIRE(again);
  CHECK(same_model(model, *again));
}

TEST_CASE("external data goes out beside the model and comes back mapped") {
  const Folder folder;
  const Model model = import_or_fail(folder, holder(raw_tensor("t", 1, {100}, std::string(400, '\x3f'))));
  const Model again = round_trip(folder, model, {.external_threshold = 16});
  CHECK(fs::file_size(folder.path / "o.onnx.data") == 400);
  CHECK(fs::file_size(folder.path / "o.onnx") < 300);
  CHECK(constant_of(again).heap_bytes() == 0);
  CHECK(static_cast<std::size_t>(std::distance(fs::directory_iterator(folder.path), fs::directory_iterator())) == 3);

  put(folder.path / "w.bin", std::string(12, 'a') + std::string("\0\0\x80\x3f", 4));
  for (const std::vector<std::pair<std::string, std::string>>& entries :
       {std::vector<std::pair<std::string, std::string>>{{"location", "w.bin"}, {"offset", "12"}, {"length", "4"}},
        {{"location", "./w.bin"}, {"offset", "12"}},
        {{"location", "w.bin"}, {"offset", "12"}, {"checksum", "9319691d4a65bf38fddd53b581e2a610b21a2b45"}},
        {{"location", "w.bin"}, {"offset", "12"}, {"checksum", "9319691D4A65BF38FDDD53B581E2A610B21A2B45"}}}) {
    const Model loaded = import_or_fail(folder, holder(external_tensor("t", {1}, entries)));
    CHECK(constant_of(loaded).as_floats() == std::vector<float>{1.0f});
  }
  // ONNX, ExternalData.md: the SHA-1 of the whole file.
  put(folder.path / "w.bin", std::string(12, 'b') + std::string("\0\0\x80\x3f", 4));
  const auto other = import_bytes(folder, flat(bevel::onnx::testing::model(holder(external_tensor(
      "t", {1}, {{"location", "w.bin"}, {"offset", "12"}, {"checksum", "9319691d4a65bf38fddd53b581e2a610b21a2b45"}})))));
  REQUIRE_FALSE(other.has_value());
  CHECK(other.error().message.find("SHA-1 is 610e82ca8710dd4ab82eb8d5fcd97931a069896e") != std::string::npos);
  CHECK(other.error().message.find("'9319691d4a65bf38fddd53b581e2a610b21a2b45'") != std::string::npos);
}

TEST_CASE("an initializer that is also an input keeps its stated type") {
  const Folder folder;
  Writer graph = holder(raw_tensor("t", 1, {2}, std::string(8, '\0')));
  Writer dim, shape, tensor, type, info;
  dim.text(onnx_::type_field::kDimParam, "N");
  shape.message(onnx_::type_field::kDim, dim);
  tensor.integer(onnx_::type_field::kElemType, 1);
  tensor.message(onnx_::type_field::kShape, shape);
  type.message(onnx_::type_field::kTensor, tensor);
  info.text(value_info_field::kName, "t");
  info.message(value_info_field::kType, type);
  graph.message(graph_field::kInput, info);
  const Model model = import_or_fail(folder, graph);
  const Value& value = model.graph.value(model.graph.find_value("t"));
  CHECK(value.is_input);
  CHECK(value.constant.has_value());
  CHECK(value.type.shape.dims.at(0).symbol == "N");
  round_trip(folder, model);
}

TEST_CASE("a sparse initializer becomes the Constant that it abbreviates") {
  const Folder folder;
  Writer sparse, graph;
  sparse.message(onnx_::sparse_field::kValues, raw_tensor("s", 1, {1}, std::string(4, '\0')));
  sparse.message(onnx_::sparse_field::kIndices, raw_tensor("", 7, {1}, std::string(8, '\0')));
  sparse.integer(onnx_::sparse_field::kDims, 5);
  graph.message(graph_field::kNode, node("Identity", {"s"}, {"y"}, "id"));
  graph.message(graph_field::kSparseInitializer, sparse);
  graph.message(graph_field::kOutput, value_info("y"));
  const Model model = import_or_fail(folder, graph);
  CHECK(model.graph.node(model.graph.value(model.graph.find_value("s")).producer).op_type == "Constant");
  round_trip(folder, model);
}

TEST_CASE("sparse values and types in attributes are read, and what they carry beside comes back") {
  const Folder folder;
  namespace af = onnx_::attribute_field;
  // Longer than what is copied to the heap: the tensor points into the file.
  const std::string many(400 * 4, '\x01');
  std::string indices;
  for (std::int64_t i = 0; i < 400; ++i) indices.append(reinterpret_cast<const char*>(&i), 8);
  Writer values = raw_tensor("s", 1, {400}, many);
  values.text(tensor_field::kDocString, "kept");
  Writer sparse, graph, optional, inner, seq, type, attribute;
  sparse.message(onnx_::sparse_field::kValues, values);
  sparse.message(onnx_::sparse_field::kIndices, raw_tensor("", 7, {400}, indices));
  sparse.integer(onnx_::sparse_field::kDims, 500);
  inner.integer(onnx_::type_field::kElemType, 1);
  seq.message(onnx_::type_field::kTensor, inner);
  type.message(onnx_::type_field::kSequence, [&] { Writer element; element.message(onnx_::type_field::kElemType, seq); return element; }());
  attribute.text(af::kName, "type");
  attribute.message(af::kTypeProto, type);
  attribute.integer(af::kType, onnx_::attribute_type::kTypeProto);
  optional = node("Optional", {}, {"o"}, "opt");
  optional.message(node_field::kAttribute, attribute);
  graph.message(graph_field::kNode, node("Identity", {"s"}, {"y"}, "id"));
  graph.message(graph_field::kNode, optional);
  graph.message(graph_field::kSparseInitializer, sparse);
  graph.message(graph_field::kOutput, value_info("y", 1, {500}));
  const Model model = import_or_fail(folder, graph);
  const Node& constant = model.graph.node(model.graph.value(model.graph.find_value("s")).producer);
  const auto& held = std::get<SparseTensor>(constant.attribute("sparse_value")->value);
  CHECK(held.dims == Dims{500});
  CHECK(held.indices.as_int64(399) == 399);
  CHECK(held.values.bytes()[1599] == std::byte{1});
  const Type& stated = std::get<Type>(model.graph.node(model.graph.find_node("opt")).attribute("type")->value);
  CHECK(to_string(stated) == "seq(float[...])");
  const Model again = round_trip(folder, model);
  CHECK(get(folder.path / "o.onnx").find("kept") != std::string::npos);
}

TEST_CASE("functions are read as graphs and written as they were") {
  const Folder folder;
  namespace ff = onnx_::function_field;
  namespace af = onnx_::attribute_field;
  Writer graph, function, reference, relu, fallback, opset, info;
  graph.message(graph_field::kNode, node("Neg", {"x"}, {"y"}));
  graph.message(graph_field::kInput, value_info("x"));
  graph.message(graph_field::kOutput, value_info("y"));
  reference.text(af::kName, "alpha");
  reference.integer(af::kType, onnx_::attribute_type::kFloat);
  reference.text(af::kRefAttrName, "slope");
  relu = node("LeakyRelu", {"a"}, {"t"}, "leaky");
  relu.message(node_field::kAttribute, reference);
  fallback.text(af::kName, "other");
  fallback.integer(af::kType, onnx_::attribute_type::kInt);
  fallback.integer(af::kInt, 7);
  opset.text(onnx_::opset_field::kDomain, "ai.onnx");
  opset.integer(onnx_::opset_field::kVersion, 18);
  function.text(ff::kName, "f");
  function.text(ff::kInput, "a");
  function.text(ff::kOutput, "t");
  function.text(ff::kAttribute, "slope");
  function.message(ff::kAttributeProto, fallback);
  function.message(ff::kNode, relu);
  function.message(ff::kOpsetImport, opset);
  function.message(ff::kValueInfo, value_info("t"));
  function.text(ff::kDomain, "d");
  function.text(ff::kOverload, "o");
  function.text(ff::kDocString, "what f does");
  Writer proto = onnx_::testing::model(graph);
  proto.message(model_field::kFunctions, function);
  auto imported = import_bytes(folder, flat(proto));
  if (!imported) FAIL(imported.error().message);
  REQUIRE(imported->functions.size() == 1);
  const Function& read = imported->functions[0];
  CHECK(read.attributes == Names{"slope"});
  CHECK(read.defaults.at(0).name == "other");
  CHECK(read.opsets == std::vector<OpsetImport>{{"", 18}});
  CHECK(std::get<AttributeReference>(read.body.node(read.body.find_node("leaky")).attribute("alpha")->value).name == "slope");
  CHECK(to_string(read.body.value(read.body.find_value("t")).type) == "float[2]");
  round_trip(folder, *imported);
  ::onnx::ModelProto written;
  REQUIRE(written.ParseFromString(get(folder.path / "o.onnx")));
  CHECK(written.functions(0).doc_string() == "what f does");
  CHECK(written.functions(0).node(0).attribute(0).ref_attr_name() == "slope");

  function.message(ff::kNode, node("Neg", {"nobody"}, {"u"}));
  Writer wrong = onnx_::testing::model(graph);
  wrong.message(model_field::kFunctions, function);
  const auto refused = import_bytes(folder, flat(wrong));
  REQUIRE_FALSE(refused);
  CHECK(refused.error().message.find("function 'f'") != std::string::npos);
  Writer twice = onnx_::testing::model(graph);
  for (int i = 0; i < 2; ++i) twice.message(model_field::kFunctions, [] { Writer f; f.text(ff::kName, "f"); return f; }());
  const auto double_function = import_bytes(folder, flat(twice));
  REQUIRE_FALSE(double_function);
  CHECK(double_function.error().message.find("defined twice") != std::string::npos);
}

TEST_CASE("a message that is given in parts is merged, as protobuf does") {
  const Folder folder;
  Writer first, second, proto;
  first.message(graph_field::kNode, node("Neg", {"x"}, {"y"}));
  first.message(graph_field::kInput, value_info("x"));
  second.message(graph_field::kOutput, value_info("y"));
  proto.message(model_field::kGraph, first);
  proto.message(model_field::kGraph, second);
  const auto model = import_bytes(folder, flat(proto));
  REQUIRE(model);
  CHECK(model->graph.outputs().size() == 1);
}

TEST_CASE("test data files: tensors, sequences and optionals") {
  const Folder folder;
  put(folder.path / "t.pb", flat(raw_tensor("in", 1, {1}, std::string("\0\0\x80\x3f", 4))));
  std::string name;
  const auto tensor = onnx_::read_tensor_proto(folder.path / "t.pb", &name);
  REQUIRE(tensor);
  CHECK(name == "in");
  CHECK(tensor->as_floats() == std::vector<float>{1.0f});
  Writer sequence;
  sequence.text(onnx_::data_field::kName, "seq");
  sequence.integer(onnx_::data_field::kElemType, onnx_::data_field::kElementTensor);
  sequence.message(onnx_::data_field::kTensor, raw_tensor("", 2, {1}, "a"));
  sequence.message(onnx_::data_field::kTensor, raw_tensor("", 2, {2}, "bc"));
  put(folder.path / "s.pb", flat(sequence));
  const Type bytes = Type::tensor(DType::uint8);
  const auto datum = onnx_::read_value_proto(folder.path / "s.pb", Type::sequence(bytes), &name);
  REQUIRE(datum);
  CHECK(name == "seq");
  REQUIRE(datum->sequence() != nullptr);
  REQUIRE(datum->sequence()->size() == 2);
  CHECK(datum->sequence()->at(1).tensor()->size() == 2);
  Writer absent, present;
  absent.integer(onnx_::data_field::kElemType, 0);
  present.integer(onnx_::data_field::kElemType, onnx_::data_field::kElementSequence);
  present.message(onnx_::data_field::kSequence, sequence);
  put(folder.path / "absent.pb", flat(absent));
  put(folder.path / "present.pb", flat(present));
  const Type optional = Type::optional(Type::sequence(bytes));
  const auto nothing = onnx_::read_value_proto(folder.path / "absent.pb", optional);
  REQUIRE(nothing);
  CHECK_FALSE(nothing->present());
  const auto something = onnx_::read_value_proto(folder.path / "present.pb", optional);
  REQUIRE(something);
  REQUIRE(something->sequence() != nullptr);
  CHECK(something->sequence()->size() == 2);
  CHECK_FALSE(onnx_::read_tensor_proto(folder.path / "none.pb").has_value());
}

TEST_CASE("of a value that is known to be a tensor and nothing else, no type is written") {
  const Folder folder;
  Model model = import_or_fail(folder, holder(raw_tensor("t", 1, {2}, std::string(8, '\0'))));
  model.graph.mutable_value(model.graph.find_value("y")).type = Type::tensor(DType::undefined);
  REQUIRE(export_model(model, folder.path / "o.onnx"));
  auto again = import_model(folder.path / "o.onnx");
  REQUIRE(again);
  CHECK(again->graph.value(again->graph.find_value("y")).type == Type());

  model.graph.mutable_value(model.graph.find_value("y")).type = Type::sequence(Type::tensor(DType::undefined));
  REQUIRE(export_model(model, folder.path / "o.onnx"));
  again = import_model(folder.path / "o.onnx");
  REQUIRE(again);
  const Type& type = again->graph.value(again->graph.find_value("y")).type;
  REQUIRE(type.kind == Type::Kind::sequence);
  CHECK((!type.element || *type.element == Type()));
}

TEST_CASE("an output that cannot be written is exit code 1") {
  const Folder folder;
  const Model model = import_or_fail(folder, sample_graph());
  const auto written = export_model(model, folder.path / "absent/o.onnx");
  REQUIRE_FALSE(written.has_value());
  CHECK(written.error().code == ExitCode::output);
}

TEST_CASE("a hundred thousand nodes go in and out") {
  // All share one operand: a quadratic step would take minutes, and the test's own limit ends it (scripts/bench load measures).
  const Folder folder;
  const int count = 100'000;
  Writer graph;
  for (int i = 0; i < count; ++i)
    graph.message(graph_field::kNode,
                  node("Add", {i == 0 ? "x" : "v" + std::to_string(i - 1), "w"}, {"v" + std::to_string(i)}));
  graph.message(graph_field::kInitializer, raw_tensor("w", 1, {2}, std::string(8, '\0')));
  graph.message(graph_field::kInput, value_info("x"));
  graph.message(graph_field::kOutput, value_info("v" + std::to_string(count - 1)));
  put(folder.path / "m.onnx", flat(bevel::onnx::testing::model(graph)));
  const auto model = import_model(folder.path / "m.onnx");
  INFO((model ? std::string() : model.error().message));
  REQUIRE(model);
  CHECK(model->graph.node_count() == static_cast<std::size_t>(count));
  CHECK(export_model(*model, folder.path / "o.onnx"));
}
