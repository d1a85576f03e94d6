#include "lib/onnx/decode_attribute.h"

#include <utility>

#include "lib/onnx/fields.h"

namespace bevel::onnx {

namespace {

namespace af = attribute_field;
namespace at = attribute_type;

// The field that holds the value of an attribute type; 0 for types that Bevel only carries.
std::uint32_t value_field(std::int64_t type) {
  switch (type) {
    case at::kFloat: return af::kFloat;
    case at::kInt: return af::kInt;
    case at::kString: return af::kString;
    case at::kTensor: return af::kTensor;
    case at::kGraph: return af::kGraph;
    case at::kFloats: return af::kFloats;
    case at::kInts: return af::kInts;
    case at::kStrings: return af::kStrings;
    case at::kTensors: return af::kTensors;
    case at::kGraphs: return af::kGraphs;
    case at::kSparseTensor: return af::kSparseTensor;
    case at::kTypeProto: return af::kTypeProto;
    default: return 0;
  }
}

// The attribute type of a field, for files of IR versions 1 and 2, which do not say the type.
std::int64_t type_of_field(std::uint32_t number) {
  for (std::int64_t type = at::kFloat; type <= at::kTypeProto; ++type)
    if (value_field(type) == number) return type;
  return at::kUndefined;
}

bool is_head(const Field& field) {
  return field.number == af::kName || field.number == af::kDocString || field.number == af::kType ||
         field.number == af::kRefAttrName;
}

struct Head {
  std::string name, doc_string;
  std::int64_t type = at::kUndefined;
  std::string reference;     // ref_attr_name: a function's parameter stands here
  std::uint32_t only = 0;    // the one value field that is present
  bool several = false;
};

Result<Head> read_head(const Pieces& pieces) {
  Head head;
  BEVEL_TRY_STATUS(each_field(pieces, [&](const Field& field) -> Status {
    switch (field.number) {
      case af::kName: head.name = field.bytes; return {};
      case af::kDocString: head.doc_string = field.bytes; return {};
      case af::kType: head.type = static_cast<std::int32_t>(field.scalar); return {};
      case af::kRefAttrName: head.reference = field.bytes; return {};
      default:
        if (type_of_field(field.number) == at::kUndefined) return {};
        if (head.only != 0 && head.only != field.number) head.several = true;
        head.only = field.number;
        return {};
    }
  }));
  if (head.type == at::kUndefined && !head.several) head.type = type_of_field(head.only);
  return head;
}

Result<std::vector<float>> read_floats(const Pieces& pieces) {
  std::vector<float> floats;
  BEVEL_TRY_STATUS(each_field(pieces, [&](const Field& field) -> Status {
    if (field.number != af::kFloats) return {};
    if (field.wire != Wire::bytes) {
      floats.push_back(field.as_float());
      return {};
    }
    if (field.bytes.size() % 4 != 0) return fail_input("its list of floats has {} bytes, no multiple of 4", field.bytes.size());
    const std::size_t before = floats.size();
    floats.resize(before + field.bytes.size() / 4);
    if (!field.bytes.empty()) std::memcpy(floats.data() + before, field.bytes.data(), field.bytes.size());
    return {};
  }));
  return floats;
}

// What a tensor says besides its contents, as the fields of a TensorProto.
std::string tensor_rest(const DecodedTensor& decoded) {
  Writer writer;
  writer.text_unless_empty(tensor_field::kName, decoded.name);
  writer.text_unless_empty(tensor_field::kDocString, decoded.doc_string);
  writer.fields(decoded.extras);
  return writer.bytes();
}

struct Contents {
  AttributeValue value;
  std::string opaque;
};

// A tensor type that Bevel knows, or none stated.
Result<bool> is_known_tensor(const Pieces& proto) {
  BEVEL_TRY(const TensorHead head, decode_tensor_head(proto));
  return head.data_type == 0 || is_known_dtype(static_cast<int>(head.data_type));
}

Result<Contents> tensor_contents(Source& source, const Pieces& pieces, const Pieces& proto) {
  BEVEL_TRY(const bool known, is_known_tensor(proto));
  if (!known) return Contents{OpaqueAttribute{join(pieces)}, {}};
  BEVEL_TRY(DecodedTensor decoded, decode_tensor(source, proto));
  // The rest is kept as a second occurrence of the field, which protobuf merges into the first.
  Writer opaque;
  if (const std::string rest = tensor_rest(decoded); !rest.empty()) opaque.text(af::kTensor, rest);
  return Contents{std::move(decoded.tensor), opaque.bytes()};
}

Result<Contents> tensors_contents(Source& source, const Pieces& pieces, const Pieces& protos) {
  std::vector<Tensor> tensors;
  for (const std::string_view proto : protos) {
    BEVEL_TRY(const bool known, is_known_tensor({proto}));
    if (!known) return Contents{OpaqueAttribute{join(pieces)}, {}};
    BEVEL_TRY(DecodedTensor decoded, decode_tensor(source, {proto}));
    // Elements of a list do not merge: a list whose tensors carry names and the like is carried whole.
    if (!tensor_rest(decoded).empty()) return Contents{OpaqueAttribute{join(pieces)}, {}};
    tensors.push_back(std::move(decoded.tensor));
  }
  return Contents{std::move(tensors), {}};
}

Result<Contents> sparse_contents(Source& source, const Pieces& pieces, const Pieces& proto) {
  Pieces values, indices;
  SparseTensor sparse;
  std::string unknown;
  BEVEL_TRY_STATUS(each_field(proto, [&](const Field& field) -> Status {
    switch (field.number) {
      case sparse_field::kValues: values.push_back(field.bytes); return {};
      case sparse_field::kIndices: indices.push_back(field.bytes); return {};
      case sparse_field::kDims:
        BEVEL_TRY_STATUS(each_varint(field, [&](std::uint64_t dim) {
          if (sparse.dims.size() <= source.limits().max_rank) sparse.dims.push_back(static_cast<std::int64_t>(dim));
        }));
        if (sparse.dims.size() > source.limits().max_rank)
          return fail_input("it has more than {} dimensions; no real tensor does", source.limits().max_rank);
        return {};
      default: unknown += field.whole; return {};
    }
  }));
  BEVEL_TRY(const bool known, is_known_tensor(values));
  if (!known) return Contents{OpaqueAttribute{join(pieces)}, {}};
  BEVEL_TRY(DecodedTensor decoded_values, decode_tensor(source, values));
  BEVEL_TRY(DecodedTensor decoded_indices, decode_tensor(source, indices));
  // As with a tensor, the rest is merged from a second occurrence.
  Writer rest;
  rest.text_unless_empty(sparse_field::kValues, tensor_rest(decoded_values));
  rest.text_unless_empty(sparse_field::kIndices, tensor_rest(decoded_indices));
  rest.fields(unknown);
  Writer opaque;
  opaque.text_unless_empty(af::kSparseTensor, rest.bytes());
  sparse.values = std::move(decoded_values.tensor);
  sparse.indices = std::move(decoded_indices.tensor);
  return Contents{std::move(sparse), opaque.bytes()};
}

Result<Contents> read_contents(Source& source, const Pieces& pieces, std::int64_t type, const DecodeSubgraph& subgraph) {
  const std::uint32_t wanted = value_field(type);
  Pieces parts;  // occurrences of a string or message field
  Field last;    // of a scalar
  std::vector<std::int64_t> ints;
  std::string opaque;
  BEVEL_TRY_STATUS(each_field(pieces, [&](const Field& field) -> Status {
    if (field.number == wanted) {
      last = field;
      if (wanted == af::kInts) return each_varint(field, [&](std::uint64_t v) { ints.push_back(static_cast<std::int64_t>(v)); });
      if (field.wire == Wire::bytes) parts.push_back(field.bytes);
      return {};
    }
    if (!is_head(field)) opaque += field.whole;
    return {};
  }));
  Contents contents;
  switch (type) {
    case at::kFloat: contents.value = last.as_float(); break;
    case at::kInt: contents.value = last.as_int64(); break;
    case at::kString: contents.value = std::string(last.bytes); break;
    case at::kInts: contents.value = std::move(ints); break;
    case at::kStrings: contents.value = std::vector<std::string>(parts.begin(), parts.end()); break;
    case at::kFloats: {
      BEVEL_TRY(contents.value, read_floats(pieces));
      break;
    }
    case at::kTensor: {
      BEVEL_TRY(contents, tensor_contents(source, pieces, parts));
      break;
    }
    case at::kTensors: {
      BEVEL_TRY(contents, tensors_contents(source, pieces, parts));
      break;
    }
    case at::kGraph: {
      BEVEL_TRY(contents.value, subgraph(parts));
      break;
    }
    case at::kSparseTensor: {
      BEVEL_TRY(contents, sparse_contents(source, pieces, parts));
      break;
    }
    case at::kTypeProto: {
      BEVEL_TRY(contents.value, decode_type(parts, source.limits().max_rank));
      break;
    }
    default: {
      std::vector<GraphPtr> graphs;
      for (const std::string_view part : parts) {
        BEVEL_TRY(GraphPtr graph, subgraph({part}));
        graphs.push_back(std::move(graph));
      }
      contents.value = std::move(graphs);
    }
  }
  if (!std::holds_alternative<OpaqueAttribute>(contents.value)) contents.opaque += opaque;
  return contents;
}

}  // namespace

Result<Attribute> decode_attribute(Source& source, std::string_view bytes, const DecodeSubgraph& subgraph) {
  const Pieces pieces{bytes};
  BEVEL_TRY(Head head, read_head(pieces));
  if (head.name.empty()) return fail_input("an attribute has no name");
  Attribute attribute;
  attribute.name = std::move(head.name);
  attribute.doc_string = std::move(head.doc_string);
  if (!head.reference.empty() && head.only == 0 && head.type >= at::kUndefined && head.type <= at::kTypeProtos) {
    attribute.value = AttributeReference{std::move(head.reference), head.type};
    BEVEL_TRY_STATUS(each_field(pieces, [&](const Field& field) -> Status {
      if (!is_head(field)) attribute.opaque += field.whole;
      return {};
    }));
    return attribute;
  }
  if (!head.reference.empty() || value_field(head.type) == 0) {
    attribute.value = OpaqueAttribute{std::string(bytes)};
    return attribute;
  }
  auto contents = read_contents(source, pieces, head.type, subgraph);
  if (!contents) return located(fmt::format("attribute '{}'", printable(attribute.name)), std::move(contents).error());
  attribute.value = std::move(contents->value);
  attribute.opaque = std::move(contents->opaque);
  return attribute;
}

Result<Attribute> decode_sparse_value(Source& source, std::string_view bytes) {
  Writer proto;
  proto.text(af::kName, "sparse_value");
  proto.integer(af::kType, at::kSparseTensor);
  proto.text(af::kSparseTensor, bytes);
  BEVEL_TRY(Contents contents, sparse_contents(source, {proto.bytes()}, {bytes}));
  return Attribute{"sparse_value", std::move(contents.value), {}, std::move(contents.opaque)};
}

}  // namespace bevel::onnx
