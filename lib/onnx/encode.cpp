#include "lib/onnx/encode.h"

#include <fmt/core.h>

#include "lib/onnx/fields.h"

namespace bevel::onnx {

namespace {

constexpr std::uint64_t kExternalAlignment = 64;  // a cache line, and any vector load

void entry(Writer& writer, std::uint32_t number, std::string_view key, std::string_view value) {
  Writer entry;
  entry.text(entry_field::kKey, key);
  entry.text(entry_field::kValue, value);
  writer.message(number, entry);
}

Writer encode_dim(const Dim& dim) {
  Writer writer;
  if (dim.known()) writer.integer(type_field::kDimValue, dim.value);
  else writer.text_unless_empty(type_field::kDimParam, dim.symbol);
  writer.text_unless_empty(type_field::kDimDenotation, dim.denotation);
  return writer;
}

}  // namespace

std::uint64_t ExternalData::place(std::span<const std::byte> bytes) {
  const std::uint64_t offset = (end_ + kExternalAlignment - 1) / kExternalAlignment * kExternalAlignment;
  pieces_.push_back({offset, bytes});
  end_ = offset + bytes.size();
  return offset;
}

bool states_type(const Type& type) {
  const bool nothing = type.kind == Type::Kind::unknown || (type.is_tensor() && type.dtype == DType::undefined);
  return !nothing || !type.denotation.empty();
}

Writer encode_type(const Type& type) {
  Writer writer;
  switch (type.kind) {
    case Type::Kind::unknown: break;
    case Type::Kind::opaque: writer.fields(type.opaque); return writer;
    case Type::Kind::tensor: {
      Writer tensor;
      if (type.dtype != DType::undefined) tensor.integer(type_field::kElemType, static_cast<int>(type.dtype));
      if (type.shape.has_rank) {
        Writer shape;
        for (const Dim& dim : type.shape.dims) shape.message(type_field::kDim, encode_dim(dim));
        tensor.message(type_field::kShape, shape);
      }
      writer.message(type_field::kTensor, tensor);
      break;
    }
    case Type::Kind::sequence:
    case Type::Kind::optional: {
      Writer inner;
      if (type.element && states_type(*type.element)) inner.message(type_field::kElemType, encode_type(*type.element));
      writer.message(type.kind == Type::Kind::sequence ? type_field::kSequence : type_field::kOptional, inner);
      break;
    }
  }
  writer.text_unless_empty(type_field::kDenotation, type.denotation);
  return writer;
}

Writer encode_tensor(const Tensor& tensor, const std::string& name, ExternalData* external) {
  Writer writer;
  for (const std::int64_t dim : tensor.dims()) writer.integer(tensor_field::kDims, dim);
  writer.integer(tensor_field::kDataType, static_cast<int>(tensor.dtype()));
  if (tensor.dtype() == DType::string)
    for (const std::string& string : tensor.strings()) writer.text(tensor_field::kStringData, string);
  writer.text_unless_empty(tensor_field::kName, name);
  if (external != nullptr && external->takes(tensor)) {
    const std::uint64_t offset = external->place(tensor.bytes());
    entry(writer, tensor_field::kExternalData, "location", external->location());
    entry(writer, tensor_field::kExternalData, "offset", fmt::format("{}", offset));
    entry(writer, tensor_field::kExternalData, "length", fmt::format("{}", tensor.bytes().size()));
    writer.integer(tensor_field::kDataLocation, 1);
  } else if (tensor.dtype() != DType::string) {
    writer.payload(tensor_field::kRawData, tensor.bytes());
  }
  return writer;
}

}  // namespace bevel::onnx
