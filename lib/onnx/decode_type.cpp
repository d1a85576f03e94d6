#include <limits>

#include "lib/onnx/decode.h"
#include "lib/onnx/encode.h"
#include "lib/onnx/fields.h"

namespace bevel::onnx {

namespace {

// Set where the proto says more than a Type can: the whole TypeProto is then carried as bytes.
struct Understood {
  bool all = true;
};

Result<Dim> decode_dim(std::string_view bytes, Understood& understood) {
  Dim dim;
  BEVEL_TRY_STATUS(each_field({bytes}, [&](const Field& field) -> Status {
    switch (field.number) {
      case type_field::kDimValue:  // some exporters write -1 for an unknown dimension
        dim.value = field.as_int64() >= 0 ? field.as_int64() : -1;
        dim.symbol.clear();
        return {};
      case type_field::kDimParam:
        dim.symbol = field.bytes;
        dim.value = -1;
        return {};
      case type_field::kDimDenotation: dim.denotation = field.bytes; return {};
      default: understood.all = false; return {};
    }
  }));
  return dim;
}

Result<Type> decode_tensor_type(const Pieces& pieces, std::uint64_t max_rank, Understood& understood) {
  Type type = Type::tensor(DType::undefined);
  BEVEL_TRY_STATUS(each_field(pieces, [&](const Field& field) -> Status {
    if (field.number == type_field::kElemType) {
      const auto number = static_cast<std::int32_t>(field.scalar);
      if (number != 0 && !is_known_dtype(number)) understood.all = false;
      else type.dtype = static_cast<DType>(number);
      return {};
    }
    if (field.number != type_field::kShape) {
      understood.all = false;
      return {};
    }
    type.shape.has_rank = true;
    return each_field({field.bytes}, [&](const Field& inner) -> Status {
      if (inner.number != type_field::kDim) {
        understood.all = false;
        return {};
      }
      if (type.shape.dims.size() >= max_rank)
        return fail_input("its type has more than {} dimensions; no real tensor does", max_rank);
      BEVEL_TRY(Dim dim, decode_dim(inner.bytes, understood));
      type.shape.dims.push_back(std::move(dim));
      return {};
    });
  }));
  return type;
}

Result<Type> decode_understood(const Pieces& pieces, std::uint64_t max_rank, Understood& understood) {
  std::uint32_t kind = 0;
  Pieces inside;
  std::string denotation;
  BEVEL_TRY_STATUS(each_field(pieces, [&](const Field& field) -> Status {
    switch (field.number) {
      case type_field::kTensor: case type_field::kSequence: case type_field::kOptional:
        if (kind != field.number) inside.clear();  // a oneof: the last one given is meant
        kind = field.number;
        inside.push_back(field.bytes);
        return {};
      case type_field::kDenotation: denotation = field.bytes; return {};
      default: understood.all = false; return {};
    }
  }));
  Type type;
  if (kind == type_field::kTensor) {
    BEVEL_TRY(type, decode_tensor_type(inside, max_rank, understood));
  } else if (kind != 0) {
    Pieces element;
    BEVEL_TRY_STATUS(each_field(inside, [&](const Field& field) -> Status {
      if (field.number == type_field::kElemType) element.push_back(field.bytes);
      else understood.all = false;
      return {};
    }));
    BEVEL_TRY(Type inner, decode_type(element, max_rank));
    type = kind == type_field::kSequence ? Type::sequence(std::move(inner)) : Type::optional(std::move(inner));
  }
  type.denotation = std::move(denotation);
  return states_type(type) ? type : Type();
}

}  // namespace

Result<Type> decode_type(const Pieces& pieces, std::uint64_t max_rank) {
  Understood understood;
  BEVEL_TRY(Type type, decode_understood(pieces, max_rank, understood));
  if (understood.all) return type;
  Type opaque;
  opaque.kind = Type::Kind::opaque;
  opaque.opaque = join(pieces);
  return opaque;
}

}  // namespace bevel::onnx
