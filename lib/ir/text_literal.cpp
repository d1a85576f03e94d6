#include "lib/ir/text_literal.h"

#include <algorithm>
#include <cstring>
#include <iterator>
#include <optional>
#include <vector>

#include "lib/support/random.h"

namespace bevel {
namespace {

// By the number of AttributeProto.AttributeType.
constexpr std::string_view kAttributeKinds[] = {"undefined", "float", "int", "string", "tensor", "graph", "floats", "ints",
                                                "strings", "tensors", "graphs", "sparse_tensor", "sparse_tensors",
                                                "type_proto", "type_protos"};

constexpr std::int64_t kMaxRandomElements = 1 << 26;  // a few characters must not allocate without bound

Result<Tensor> read_random_tensor(TextLexer& lexer, DType dtype, const Dims& dims, std::int64_t count) {
  if (dtype == DType::string || dtype == DType::complex64 || dtype == DType::complex128) {
    return lexer.wrong("random() makes real numbers, not {}", dtype_name(dtype));
  }
  if (count > kMaxRandomElements) return lexer.wrong("random() makes at most {} elements", kMaxRandomElements);
  BEVEL_TRY_STATUS(lexer.expect("("));
  BEVEL_TRY(const std::uint64_t seed, lexer.unsigned_integer());
  BEVEL_TRY_STATUS(lexer.expect(")"));
  Random random(seed);
  Tensor tensor = Tensor::zeros(dtype, dims);
  // Integers: [-8, 8) or [0, 16), which every dtype but the 2-bit ones holds; those take their whole range.
  const std::int64_t span = dtype == DType::boolean ? 2 : dtype_bits(dtype) < 4 ? 4 : 16;
  const std::int64_t low = is_signed_integer(dtype) ? -span / 2 : 0;
  for (std::int64_t i = 0; i < count; ++i) {
    if (is_floating(dtype)) {
      tensor.set_from_double(i, static_cast<double>(random.uniform(-1.0f, 1.0f)));
    } else {
      tensor.set_from_int64(i, low + static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(span))));
    }
  }
  return tensor;
}

Status read_element(TextLexer& lexer, Tensor& tensor, std::int64_t index) {
  const DType dtype = tensor.dtype();
  if (is_floating(dtype)) {
    if (lexer.accept("bits")) {
      BEVEL_TRY(const std::uint64_t bits, lexer.bit_pattern());
      const int width = dtype_bits(dtype);
      if (width % 8 != 0 || (width < 64 && bits >> width != 0)) {
        return lexer.wrong("{} has {} bits", dtype_name(dtype), width);
      }
      const auto bytes = static_cast<std::size_t>(width) / 8;
      std::memcpy(tensor.mutable_bytes().data() + static_cast<std::size_t>(index) * bytes, &bits, bytes);
      return {};
    }
    if (dtype == DType::float64) {
      BEVEL_TRY(const double value, lexer.real());
      tensor.set_from_double(index, value);
    } else {
      BEVEL_TRY(const float value, lexer.real32());
      tensor.set_from_double(index, static_cast<double>(value));
    }
    return {};
  }
  if (dtype == DType::uint64) {
    BEVEL_TRY(const std::uint64_t value, lexer.unsigned_integer());
    tensor.set_from_int64(index, static_cast<std::int64_t>(value));
    return {};
  }
  if (dtype == DType::boolean && (lexer.peek("true") || lexer.peek("false"))) {
    tensor.set_from_int64(index, lexer.word() == "true");
    return {};
  }
  BEVEL_TRY(const std::int64_t value, lexer.integer());
  tensor.set_from_int64(index, value);
  if (tensor.as_int64(index) != value) return lexer.wrong("{} does not fit {}", value, dtype_name(dtype));
  return {};
}

}  // namespace

Result<Type> read_type(TextLexer& lexer, int depth) {
  if (depth > kMaxTextDepth) return lexer.error(fmt::format("types nested at most {} deep", kMaxTextDepth));
  if (lexer.accept("?")) return Type();
  const std::size_t start = lexer.mark();
  const std::string_view kind = lexer.word();
  if (kind == "seq" || kind == "optional") {
    BEVEL_TRY_STATUS(lexer.expect("("));
    BEVEL_TRY(Type element, read_type(lexer, depth + 1));
    BEVEL_TRY_STATUS(lexer.expect(")"));
    return kind == "seq" ? Type::sequence(std::move(element)) : Type::optional(std::move(element));
  }
  if (kind == "opaque") {
    Type opaque;
    opaque.kind = Type::Kind::opaque;
    BEVEL_TRY_STATUS(lexer.expect("("));
    BEVEL_TRY(opaque.opaque, lexer.quoted());
    BEVEL_TRY_STATUS(lexer.expect(")"));
    return opaque;
  }
  const auto dtype = kind == "undefined" ? std::optional(DType::undefined) : dtype_from_name(kind);
  if (!dtype) {
    lexer.rewind(start);
    return lexer.error("a type such as float[1,N]");
  }
  if (!lexer.accept("[")) return Type::tensor(*dtype, Shape(std::vector<Dim>{}));
  if (lexer.accept("...")) {
    BEVEL_TRY_STATUS(lexer.expect("]"));
    return Type::tensor(*dtype);
  }
  std::vector<Dim> dims;
  while (!lexer.accept("]")) {
    if (!dims.empty()) BEVEL_TRY_STATUS(lexer.expect(","));
    if (lexer.accept("?")) {
      dims.emplace_back();
    } else if (lexer.starts_name()) {
      BEVEL_TRY(std::string symbol, lexer.name("a dimension"));
      dims.push_back(Dim::named(std::move(symbol)));
    } else {
      BEVEL_TRY(const std::int64_t value, lexer.integer());
      if (value < 0) return lexer.wrong("a dimension is {}; it must not be negative", value);
      dims.emplace_back(value);
    }
  }
  return Type::tensor(*dtype, Shape(std::move(dims)));
}

Result<Tensor> read_tensor(TextLexer& lexer, const Type& type) {
  const auto known = type.is_tensor() ? type.shape.known_dims() : std::nullopt;
  if (!known || type.dtype == DType::undefined) {
    return lexer.wrong("a constant needs a tensor type with known dimensions, not {}", to_string(type));
  }
  const Dims dims(known->begin(), known->end());
  const auto count = element_count(dims);
  if (!count || !packed_bytes(type.dtype, *count)) return lexer.wrong("the dimensions {} overflow", to_string(type));
  if (lexer.accept("random")) return read_random_tensor(lexer, type.dtype, dims, *count);
  if (lexer.peek("<")) return lexer.wrong("this tensor was printed as a summary; its elements are not in the text");
  BEVEL_TRY_STATUS(lexer.expect("{"));
  const bool is_complex = type.dtype == DType::complex64 || type.dtype == DType::complex128;
  // At least two characters per element ("0,"), so the allocation is bounded by the text.
  if (static_cast<std::uint64_t>(*count) > lexer.left()) {
    return lexer.wrong("{} has {} elements, more than the text that follows", to_string(type), *count);
  }
  std::vector<std::string> strings;
  std::vector<std::byte> raw;
  Tensor out = type.dtype == DType::string || is_complex ? Tensor() : Tensor::zeros(type.dtype, dims);
  for (std::int64_t i = 0; i < *count; ++i) {
    if (i > 0) BEVEL_TRY_STATUS(lexer.expect(","));
    if (type.dtype == DType::string) {
      BEVEL_TRY(std::string one, lexer.quoted());
      strings.push_back(std::move(one));
    } else if (is_complex) {
      for (int part = 0; part < 2; ++part) {
        if (part > 0) BEVEL_TRY_STATUS(lexer.expect(","));
        const auto append = [&](const auto& value) {
          const auto* bytes = reinterpret_cast<const std::byte*>(&value);
          raw.insert(raw.end(), bytes, bytes + sizeof value);
        };
        if (type.dtype == DType::complex64) {
          BEVEL_TRY(const float value, lexer.real32());
          append(value);
        } else {
          BEVEL_TRY(const double value, lexer.real());
          append(value);
        }
      }
    } else {
      BEVEL_TRY_STATUS(read_element(lexer, out, i));
    }
  }
  BEVEL_TRY_STATUS(lexer.expect("}"));
  if (type.dtype == DType::string) return Tensor::of_strings(dims, std::move(strings));
  if (is_complex) return Tensor::from_bytes(type.dtype, dims, raw);
  return out;
}

std::string_view attribute_kind_name(std::int64_t kind) {
  const bool known = kind >= 0 && kind < static_cast<std::int64_t>(std::size(kAttributeKinds));
  return kAttributeKinds[known ? static_cast<std::size_t>(kind) : 0];
}

std::optional<std::int64_t> attribute_kind(std::string_view name) {
  const auto found = std::find(std::begin(kAttributeKinds), std::end(kAttributeKinds), name);
  if (found == std::end(kAttributeKinds)) return std::nullopt;
  return found - std::begin(kAttributeKinds);
}

}  // namespace bevel
