#include <algorithm>
#include <array>
#include <charconv>
#include <fmt/ranges.h>

#include <cstring>
#include <utility>

#include "lib/data/arrays.h"

namespace bevel::data {
namespace {

struct DTypeCode {
  DType dtype;
  std::string_view code;  // NumPy's kind and size, without byte order
};
constexpr std::array kCodes = {
    DTypeCode{DType::boolean, "b1"},   DTypeCode{DType::uint8, "u1"},    DTypeCode{DType::int8, "i1"},
    DTypeCode{DType::uint16, "u2"},    DTypeCode{DType::int16, "i2"},    DTypeCode{DType::uint32, "u4"},
    DTypeCode{DType::int32, "i4"},     DTypeCode{DType::uint64, "u8"},   DTypeCode{DType::int64, "i8"},
    DTypeCode{DType::float16, "f2"},   DTypeCode{DType::float32, "f4"},  DTypeCode{DType::float64, "f8"},
    DTypeCode{DType::complex64, "c8"}, DTypeCode{DType::complex128, "c16"}};

// A reader for the header's Python literal: {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }.
class Literal {
 public:
  explicit Literal(std::string_view text) : text_(text) {}
  void skip_space() {
    while (!text_.empty() && (text_.front() == ' ' || text_.front() == '\n')) text_.remove_prefix(1);
  }
  bool take(std::string_view token) {
    skip_space();
    if (!text_.starts_with(token)) return false;
    text_.remove_prefix(token.size());
    return true;
  }
  bool take_string(std::string& out) {
    skip_space();
    if (text_.empty() || (text_.front() != '\'' && text_.front() != '"')) return false;
    const std::size_t end = text_.find(text_.front(), 1);
    if (end == std::string_view::npos) return false;
    out = text_.substr(1, end - 1);
    text_.remove_prefix(end + 1);
    return out.find('\\') == std::string::npos;
  }
  bool take_integer(std::int64_t& out) {
    skip_space();
    const auto [rest, error] = std::from_chars(text_.data(), text_.data() + text_.size(), out);
    if (error != std::errc()) return false;
    text_.remove_prefix(static_cast<std::size_t>(rest - text_.data()));
    return true;
  }
  bool at_end() {
    skip_space();
    return text_.empty();
  }

 private:
  std::string_view text_;
};

bool take_shape(Literal& literal, Dims& dims) {
  if (!literal.take("(")) return false;
  while (!literal.take(")")) {
    std::int64_t extent = 0;
    if (dims.size() == 64 || !literal.take_integer(extent) || extent < 0) return false;
    dims.push_back(extent);
    if (literal.take(",")) continue;
    return dims.size() > 1 && literal.take(")");  // (3) alone is not a tuple in Python
  }
  return true;
}

bool parse_literal(std::string_view text, std::string& descr, bool& fortran, Dims& dims) {
  Literal literal(text);
  if (!literal.take("{")) return false;
  bool seen[3] = {false, false, false};
  while (!literal.take("}")) {
    std::string key;
    if (!literal.take_string(key) || !literal.take(":")) return false;
    const int field = key == "descr" ? 0 : key == "fortran_order" ? 1 : key == "shape" ? 2 : 3;
    if (field == 3 || std::exchange(seen[field], true)) return false;
    if (field == 0 && !literal.take_string(descr)) return false;
    if (field == 1) {
      if (literal.take("True")) fortran = true;
      else if (!literal.take("False")) return false;
    }
    if (field == 2 && !take_shape(literal, dims)) return false;
    if (!literal.take(",")) {
      if (!literal.take("}")) return false;
      break;
    }
  }
  return seen[0] && seen[1] && seen[2] && literal.at_end();
}

}  // namespace

Result<NpyHeader> parse_npy_header(std::span<const std::byte> prefix, const std::string& where) {
  constexpr std::size_t kMaxHeader = 1 << 20;
  const auto byte = [&](std::size_t i) { return static_cast<std::size_t>(prefix[i]); };
  if (prefix.size() < 10 || std::memcmp(prefix.data(), "\x93NUMPY", 6) != 0) {
    return fail_input("{}: not a NumPy array: it does not start with \\x93NUMPY", where);
  }
  const std::size_t major = byte(6), length_bytes = major == 1 ? 2 : 4;
  if (major < 1 || major > 3 || prefix.size() < 8 + length_bytes) {
    return fail_input("{}: .npy format version {}.{} is not one of 1.0, 2.0, 3.0", where, major, byte(7));
  }
  std::size_t length = 0;
  for (std::size_t i = 0; i < length_bytes; ++i) length |= byte(8 + i) << (8 * i);
  NpyHeader header;
  header.data_offset = 8 + length_bytes + length;
  if (length > kMaxHeader || header.data_offset > prefix.size()) {
    return fail_input("{}: the .npy header of {} bytes goes past the end of the file", where, length);
  }
  const std::string_view text(reinterpret_cast<const char*>(prefix.data()) + 8 + length_bytes, length);
  std::string descr;
  if (!parse_literal(text, descr, header.fortran_order, header.dims)) {
    return fail_input("{}: the .npy header \"{}\" is not {{'descr': ..., 'fortran_order': ..., 'shape': ...}}", where,
                      printable(text));
  }
  const auto known = std::find_if(kCodes.begin(), kCodes.end(), [&](const DTypeCode& entry) {
    return descr.size() > 1 && entry.code == std::string_view(descr).substr(1);
  });
  if (known == kCodes.end() || std::string_view("<>|=").find(descr[0]) == std::string_view::npos) {
    return fail_input("{}: dtype '{}' is not a plain number type (bool, int, uint, float, complex)", where,
                      printable(descr));
  }
  header.dtype = known->dtype;
  header.big_endian = descr[0] == '>';
  const auto count = element_count(header.dims);
  const auto bytes = count ? packed_bytes(header.dtype, *count) : std::nullopt;
  if (!bytes || *bytes > kMaxArrayBytes) {
    return fail_input("{}: an array of shape [{}] is beyond the limit of {} bytes", where, fmt::join(header.dims, ", "),
                      kMaxArrayBytes);
  }
  header.data_bytes = *bytes;
  return header;
}

Tensor normalized(Tensor raw, const NpyHeader& header) {
  const std::size_t element = static_cast<std::size_t>(dtype_bits(header.dtype)) / 8;
  if (header.big_endian && element > 1) {
    const bool is_complex = header.dtype == DType::complex64 || header.dtype == DType::complex128;
    const std::size_t unit = is_complex ? element / 2 : element;
    auto bytes = raw.mutable_bytes();
    for (std::size_t i = 0; i + unit <= bytes.size(); i += unit) {
      std::reverse(bytes.begin() + static_cast<std::ptrdiff_t>(i), bytes.begin() + static_cast<std::ptrdiff_t>(i + unit));
    }
  }
  if (!header.fortran_order || raw.rank() < 2) return raw;
  // Column-major: the stored bytes are the row-major transpose. Walk the result in order, stepping through the source.
  Tensor result = Tensor::zeros(header.dtype, header.dims);
  const auto source = raw.bytes();
  auto target = result.mutable_bytes();
  const std::size_t rank = header.dims.size();
  std::vector<std::size_t> stride(rank, element);
  for (std::size_t axis = 1; axis < rank; ++axis) {
    stride[axis] = stride[axis - 1] * static_cast<std::size_t>(header.dims[axis - 1]);
  }
  Dims index(rank, 0);
  std::size_t from = 0;
  for (std::size_t to = 0; to < target.size(); to += element) {
    std::memcpy(target.data() + to, source.data() + from, element);
    for (std::size_t axis = rank; axis-- > 0;) {
      from += stride[axis];
      if (++index[axis] < header.dims[axis]) break;
      from -= stride[axis] * static_cast<std::size_t>(header.dims[axis]);
      index[axis] = 0;
    }
  }
  return result;
}

Result<Tensor> read_npy(std::span<const std::byte> bytes, const std::string& where,
                        const std::shared_ptr<const MappedFile>& file, std::size_t offset) {
  BEVEL_TRY(const NpyHeader header, parse_npy_header(bytes, where));
  if (bytes.size() - header.data_offset != header.data_bytes) {
    return fail_input("{}: shape [{}] of {} needs {} bytes of data, the file holds {}", where,
                      fmt::join(header.dims, ", "), dtype_name(header.dtype), header.data_bytes,
                      bytes.size() - header.data_offset);
  }
  const auto data = bytes.subspan(header.data_offset);
  if (file && !header.fortran_order && !header.big_endian) {
    return Tensor::mapped(header.dtype, header.dims, file, offset + header.data_offset, header.data_bytes);
  }
  return normalized(Tensor::from_bytes(header.dtype, header.dims, data), header);
}

DType numpy_dtype(DType dtype) {
  switch (dtype) {
    case DType::bfloat16:
    case DType::float8e4m3fn:
    case DType::float8e4m3fnuz:
    case DType::float8e5m2:
    case DType::float8e5m2fnuz:
    case DType::float8e8m0:
    case DType::float4e2m1:
      return DType::float32;
    case DType::int4:
    case DType::int2:
      return DType::int8;
    case DType::uint4:
    case DType::uint2:
      return DType::uint8;
    default:
      return dtype;
  }
}

std::string npy_header(DType dtype, const Dims& dims) {
  const auto known = std::find_if(kCodes.begin(), kCodes.end(), [&](const DTypeCode& e) { return e.dtype == dtype; });
  BEVEL_CHECK(known != kCodes.end());
  const char order = dtype_bits(dtype) == 8 ? '|' : '<';
  std::string literal = fmt::format("{{'descr': '{}{}', 'fortran_order': False, 'shape': ({}{}), }}", order, known->code,
                                    fmt::join(dims, ", "), dims.size() == 1 ? "," : "");
  constexpr std::size_t kAlignment = 64, kPreamble = 10;
  literal.append((kAlignment - (kPreamble + literal.size() + 1) % kAlignment) % kAlignment, ' ');
  literal += '\n';
  std::string header("\x93NUMPY\x01\x00", 8);
  header += static_cast<char>(literal.size() & 0xFF);
  header += static_cast<char>(literal.size() >> 8);
  return header + literal;
}

}  // namespace bevel::data
