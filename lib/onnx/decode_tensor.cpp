#include <unistd.h>

#include <charconv>
#include <cstring>
#include <optional>
#include <utility>

#include "lib/onnx/decode.h"
#include "lib/onnx/fields.h"
#include "lib/support/hash.h"

namespace bevel::onnx {

std::string join(const Pieces& pieces) {
  std::string all;
  for (const std::string_view piece : pieces) all += piece;
  return all;
}

Result<std::shared_ptr<const MappedFile>> Source::external(const std::string& location) {
  const auto found = external_.find(location);
  if (found != external_.end()) return found->second;
  auto descriptor = open_beneath(external_root_, location);
  if (!descriptor) return located("its external data", std::move(descriptor).error());
  auto mapped = MappedFile::map_descriptor(*descriptor, printable(location));
  ::close(*descriptor);
  if (!mapped) return located("its external data", std::move(mapped).error());
  external_.emplace(location, *mapped);
  return *mapped;
}

const std::string& Source::external_sha1(const std::string& location) {
  const auto [found, fresh] = external_sha1_.emplace(location, std::string());
  if (fresh) found->second = sha1_hex(*external_.at(location));
  return found->second;
}

namespace {

constexpr std::size_t kSmallTensor = 256;  // below, an aligned copy costs less than a mapping's book-keeping

// What one TensorProto holds, by reference.
struct Parts {
  Dims dims;
  std::int64_t data_type = 0;
  std::string_view name, doc_string, raw_data;
  bool has_raw = false, has_segment = false, external = false;
  std::vector<std::string_view> entries;  // external_data
  std::uint32_t typed = 0;                // field number of the typed list that holds something
  bool several_typed = false;
  std::vector<std::string> strings;
  std::string extras;
};

Result<Parts> read_parts(const Pieces& pieces, std::uint64_t max_rank) {
  Parts parts;
  const auto typed = [&](const Field& field) {
    if (field.wire == Wire::bytes && field.bytes.empty() && field.number != tensor_field::kStringData) return;
    if (parts.typed != 0 && parts.typed != field.number) parts.several_typed = true;
    parts.typed = field.number;
  };
  BEVEL_TRY_STATUS(each_field(pieces, [&](const Field& field) -> Status {
    switch (field.number) {
      case tensor_field::kDims:
        BEVEL_TRY_STATUS(each_varint(field, [&](std::uint64_t dim) {
          if (parts.dims.size() <= max_rank) parts.dims.push_back(static_cast<std::int64_t>(dim));
        }));
        if (parts.dims.size() > max_rank) return fail_input("it has more than {} dimensions; no real tensor does", max_rank);
        return {};
      case tensor_field::kDataType: parts.data_type = static_cast<std::int32_t>(field.scalar); return {};
      case tensor_field::kSegment: parts.has_segment = true; return {};
      case tensor_field::kFloatData: case tensor_field::kInt32Data: case tensor_field::kInt64Data:
      case tensor_field::kDoubleData: case tensor_field::kUint64Data:
        typed(field);
        return {};
      case tensor_field::kStringData:
        typed(field);
        parts.strings.emplace_back(field.bytes);
        return {};
      case tensor_field::kName: parts.name = field.bytes; return {};
      case tensor_field::kDocString: parts.doc_string = field.bytes; return {};
      case tensor_field::kRawData:
        parts.raw_data = field.bytes;
        parts.has_raw = true;
        return {};
      case tensor_field::kExternalData: parts.entries.push_back(field.bytes); return {};
      case tensor_field::kDataLocation: parts.external = field.scalar == 1; return {};
      default: parts.extras += field.whole; return {};
    }
  }));
  return parts;
}

std::string shown(DType dtype, const Dims& dims) { return to_string(Type::tensor(dtype, dims)); }

struct External {
  std::string location;
  std::uint64_t offset = 0;
  std::optional<std::uint64_t> length;
  std::string checksum;  // SHA-1 of the whole file, in hexadecimal digits (ONNX, ExternalData.md); empty: none is stated
};

Result<External> read_external(const Parts& parts) {
  External external;
  for (const std::string_view entry : parts.entries) {
    std::string_view key, value;
    BEVEL_TRY_STATUS(each_field({entry}, [&](const Field& field) -> Status {
      if (field.number == entry_field::kKey) key = field.bytes;
      if (field.number == entry_field::kValue) value = field.bytes;
      return {};
    }));
    if (key == "location") external.location = value;
    if (key == "checksum") {
      external.checksum = value;
      for (char& digit : external.checksum) digit = digit >= 'A' && digit <= 'F' ? static_cast<char>(digit - 'A' + 'a') : digit;
    }
    if (key != "offset" && key != "length") continue;  // later keys say nothing about where the bytes are
    std::uint64_t number = 0;
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
    if (error != std::errc() || end != value.data() + value.size())
      return fail_input("its external data has the {} '{}'; expected a whole number of bytes", key, printable(value));
    if (key == "offset") external.offset = number;
    else external.length = number;
  }
  if (external.location.empty())
    return fail_input("its data is said to be external, but no location is given; expected external_data with a location");
  return external;
}

Result<Tensor> external_tensor(Source& source, const Parts& parts, DType dtype, std::size_t size) {
  BEVEL_TRY(const External external, read_external(parts));
  if (external.length && *external.length != size)
    return fail_input("its external data in '{}' is {} bytes long; {} needs {}", printable(external.location),
                      *external.length, shown(dtype, parts.dims), size);
  BEVEL_TRY(const auto file, source.external(external.location));
  const std::size_t available = file->bytes().size();
  if (external.offset > available || size > available - external.offset)
    return fail_input("its external data is bytes {} to {}+{} of '{}', which has only {} bytes", external.offset,
                      external.offset, size, printable(external.location), available);
  if (!external.checksum.empty() && source.external_sha1(external.location) != external.checksum)
    return fail_input("its external data in '{}' is not what the model was written with: the file's SHA-1 is {}, the model states the "
                      "checksum '{}'", printable(external.location), source.external_sha1(external.location),
                      printable(external.checksum, 80));
  return Tensor::mapped(dtype, parts.dims, file, external.offset, size);
}

// The typed list that onnx.proto prescribes for a dtype.
std::uint32_t typed_field(DType dtype) {
  switch (dtype) {
    case DType::float32: case DType::complex64: return tensor_field::kFloatData;
    case DType::float64: case DType::complex128: return tensor_field::kDoubleData;
    case DType::int64: return tensor_field::kInt64Data;
    case DType::uint32: case DType::uint64: return tensor_field::kUint64Data;
    case DType::string: return tensor_field::kStringData;
    default: return tensor_field::kInt32Data;
  }
}

const char* field_name(std::uint32_t number) {
  switch (number) {
    case tensor_field::kFloatData: return "float_data";
    case tensor_field::kInt32Data: return "int32_data";
    case tensor_field::kStringData: return "string_data";
    case tensor_field::kInt64Data: return "int64_data";
    case tensor_field::kDoubleData: return "double_data";
    default: return "uint64_data";
  }
}

// Elements in one occurrence of a typed list, counted without decoding: a varint ends at a byte below 0x80.
std::size_t listed(const Field& field) {
  if (field.wire != Wire::bytes) return 1;
  switch (field.number) {
    case tensor_field::kFloatData: return field.bytes.size() / 4;
    case tensor_field::kDoubleData: return field.bytes.size() / 8;
    default: break;
  }
  std::size_t count = 0;
  for (const char byte : field.bytes) count += static_cast<unsigned char>(byte) < 0x80;
  return count;
}

// int32_data holds one element each, or for 4-bit and 2-bit types one packed byte each (onnx.proto, TensorProto).
Result<Tensor> typed_tensor(const Parts& parts, const Pieces& pieces, DType dtype, std::size_t size) {
  const int bits = dtype_bits(dtype);
  const std::size_t unit = dtype == DType::complex64    ? 4
                           : dtype == DType::complex128 ? 8
                           : bits < 8                   ? 1
                                                        : static_cast<std::size_t>(bits) / 8;
  const std::size_t wanted = size / unit;
  std::size_t found = 0;
  BEVEL_TRY_STATUS(each_field(pieces, [&](const Field& field) -> Status {
    if (field.number == parts.typed) found += listed(field);
    return {};
  }));
  if (found != wanted)
    return fail_input("its {} holds {} numbers; {} needs {}", field_name(parts.typed), found, shown(dtype, parts.dims),
                      wanted);
  Tensor tensor = Tensor::zeros(dtype, parts.dims);
  std::byte* const out = tensor.mutable_bytes().data();
  std::size_t at = 0;
  const auto put = [&](std::uint64_t value) {
    if (at >= wanted) return;
    if (dtype == DType::boolean) value = static_cast<std::uint32_t>(value) != 0;
    std::memcpy(out + at * unit, &value, unit);  // the low bytes: negative numbers are sign-extended varints
    ++at;
  };
  BEVEL_TRY_STATUS(each_field(pieces, [&](const Field& field) -> Status {
    if (field.number != parts.typed) return {};
    const bool fixed = field.number == tensor_field::kFloatData || field.number == tensor_field::kDoubleData;
    if (!fixed) return each_varint(field, put);
    if (field.wire != Wire::bytes) {
      put(field.scalar);
      return {};
    }
    if (field.bytes.size() % unit != 0 || field.bytes.size() / unit > wanted - at)
      return fail_input("its {} has a length of {} bytes, which is no whole number of elements",
                        field_name(field.number), field.bytes.size());
    if (!field.bytes.empty()) std::memcpy(out + at * unit, field.bytes.data(), field.bytes.size());
    at += field.bytes.size() / unit;
    return {};
  }));
  if (at != wanted) return fail_input("its {} is damaged", field_name(parts.typed));
  return tensor;
}

// A bool is one byte of 0 or 1; other bytes count as true, which is only made so in a copy.
Tensor normalized_bool(Tensor tensor) {
  for (std::size_t i = 0; i < tensor.bytes().size(); ++i) {
    if (static_cast<unsigned>(tensor.bytes()[i]) <= 1) continue;
    for (std::byte& byte : tensor.mutable_bytes()) byte = std::byte{byte != std::byte{0}};
    break;
  }
  return tensor;
}

Result<Tensor> contents(Source& source, const Pieces& pieces, Parts& parts) {
  if (parts.has_segment) return fail_input("it is stored in segments, which no ONNX reader supports; expected a whole tensor");
  if (!is_known_dtype(static_cast<int>(parts.data_type)))
    return fail_input("its element type is number {}; expected one that Bevel knows (1 to {})", parts.data_type,
                      kDTypeCount - 1);
  const auto dtype = static_cast<DType>(parts.data_type);
  for (const std::int64_t dim : parts.dims)
    if (dim < 0) return fail_input("it has a dimension of {}; expected dimensions of 0 or more", dim);
  const auto count = element_count(parts.dims);
  if (!count) return fail_input("its dimensions multiply to more elements than 63 bits count");
  const auto size = packed_bytes(dtype, *count);
  if (!size) return fail_input("its dimensions multiply to more bytes than an address space holds");

  if (parts.external) {
    if (dtype == DType::string) return fail_input("it holds strings as external data; expected string_data");
    if (!parts.raw_data.empty() || parts.typed != 0)
      return fail_input("it holds data and is said to be external as well; expected one of the two");
    return external_tensor(source, parts, dtype, *size);
  }
  if (parts.several_typed || (parts.typed != 0 && !parts.raw_data.empty()))
    return fail_input("it holds its data twice, in different fields; expected one");
  if (dtype == DType::string) {
    if (!parts.raw_data.empty()) return fail_input("it holds strings as raw_data; expected string_data");
    if (parts.typed != 0 && parts.typed != tensor_field::kStringData)
      return fail_input("it holds strings in {}; expected string_data", field_name(parts.typed));
    if (static_cast<std::int64_t>(parts.strings.size()) != *count)
      return fail_input("its string_data holds {} strings; {} needs {}", parts.strings.size(), shown(dtype, parts.dims),
                        *count);
    return Tensor::of_strings(parts.dims, std::move(parts.strings));
  }
  if (parts.typed != 0) {
    if (parts.typed != typed_field(dtype))
      return fail_input("it holds {} elements in {}; expected {} or raw_data", dtype_name(dtype), field_name(parts.typed),
                        field_name(typed_field(dtype)));
    return typed_tensor(parts, pieces, dtype, *size);
  }
  if (parts.raw_data.size() != *size)
    return fail_input("it holds {} bytes of data; {} needs {}", parts.raw_data.size(), shown(dtype, parts.dims), *size);
  if (*size < kSmallTensor)
    return Tensor::from_bytes(dtype, parts.dims, std::as_bytes(std::span(parts.raw_data.data(), *size)));
  return Tensor::mapped(dtype, parts.dims, source.file(),
                        static_cast<std::size_t>(parts.raw_data.data() - source.text().data()), *size);
}

}  // namespace

Result<DecodedTensor> decode_tensor(Source& source, const Pieces& pieces) {
  BEVEL_TRY(Parts parts, read_parts(pieces, source.limits().max_rank));
  BEVEL_TRY(Tensor tensor, contents(source, pieces, parts));
  if (tensor.dtype() == DType::boolean) tensor = normalized_bool(std::move(tensor));
  return DecodedTensor{std::move(tensor), std::string(parts.name), std::string(parts.doc_string), std::move(parts.extras)};
}

Result<TensorHead> decode_tensor_head(const Pieces& pieces) {
  TensorHead head;
  BEVEL_TRY_STATUS(each_field(pieces, [&](const Field& field) -> Status {
    if (field.number == tensor_field::kName) head.name = field.bytes;
    if (field.number == tensor_field::kDataType) head.data_type = static_cast<std::int32_t>(field.scalar);
    return {};
  }));
  return head;
}

}  // namespace bevel::onnx
