#include "lib/emit/c_text.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "lib/support/result.h"

namespace bevel::emit {
namespace {

constexpr std::size_t kLineWidth = 116;
constexpr std::size_t kIdentifierPart = 40;
constexpr std::size_t kCommentText = 100;

bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool is_digit(char c) { return c >= '0' && c <= '9'; }

class Lines {
 public:
  void add(std::string_view literal) {
    if (column_ == 0 || column_ + literal.size() + 2 > kLineWidth) {
      if (!text_.empty()) text_ += '\n';
      text_ += "    ";
      column_ = 4;
    } else {
      text_ += ' ';
      ++column_;
    }
    text_ += literal;
    text_ += ',';
    column_ += literal.size() + 1;
  }
  std::string take() { return std::move(text_) + "\n"; }

 private:
  std::string text_;
  std::size_t column_ = 0;
};

}  // namespace

std::string float_literal(float value) {
  if (std::isnan(value)) return "NAN";
  if (std::isinf(value)) return value < 0 ? "-INFINITY" : "INFINITY";
  std::array<char, 48> digits;
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), std::fabs(value), std::chars_format::hex);
  std::string text = std::signbit(value) ? "-0x" : "0x";
  text.append(digits.data(), end.ptr);
  return text + "f";
}

std::string int_literal(std::int64_t value) {
  if (value == INT64_MIN) return "(-9223372036854775807 - 1)";
  if (value == INT32_MIN) return "(-2147483647 - 1)";
  return std::to_string(value);
}

std::string identifier_part(std::string_view name) {
  std::string result;
  for (char c : name.substr(0, kIdentifierPart)) result += is_letter(c) || is_digit(c) ? c : '_';
  return result;
}

std::string comment_text(std::string_view text) {
  std::string result = printable(text, kCommentText);
  for (char& c : result) {
    // Neither a comment's ends, nor a trigraph or a line splice.
    if (c == '*' || c == '/' || c == '\\' || c == '?' || static_cast<unsigned char>(c) >= 0x80) c = '.';
  }
  return result;
}

bool is_c_identifier(std::string_view name) {
  // C11 6.4.1 keywords, C++'s (the header is for both), and names that our own files use.
  static constexpr std::array<std::string_view, 72> kReserved = {
      "alignas", "alignof", "and", "asm", "auto", "bool", "break", "case", "catch", "char", "class", "const", "constexpr",
      "continue", "decltype", "default", "delete", "do", "double", "else", "enum", "explicit", "export", "extern", "false",
      "float", "for", "friend", "goto", "if", "inline", "int", "long", "mutable", "namespace", "new", "noexcept", "not",
      "nullptr", "operator", "or", "private", "protected", "public", "register", "restrict", "return", "short", "signed",
      "sizeof", "static", "struct", "switch", "template", "this", "throw", "true", "try", "typedef", "typeid", "typename",
      "union", "unsigned", "using", "virtual", "void", "volatile", "while", "xor", "main", "memcpy", "memset"};
  if (name.empty() || name.size() > 64 || !(is_letter(name[0]))) return false;
  if (!std::all_of(name.begin(), name.end(), [](char c) { return is_letter(c) || is_digit(c) || c == '_'; })) return false;
  return std::find(kReserved.begin(), kReserved.end(), name) == kReserved.end() && name.substr(0, 4) != "bvl_";
}

std::string_view c_type(DType dtype) {
  switch (dtype) {
    case DType::float32: return "float";
    case DType::uint8: case DType::boolean: return "uint8_t";
    case DType::int8: return "int8_t";
    case DType::int16: return "int16_t";
    case DType::float16: case DType::uint16: return "uint16_t";
    case DType::int32: return "int32_t";
    case DType::uint32: return "uint32_t";
    case DType::int64: return "int64_t";
    default: return {};
  }
}

std::string_view c_storage_type(DType dtype) {
  return dtype == DType::int4 || dtype == DType::uint4 ? std::string_view("uint8_t") : c_type(dtype);
}

std::string initializer_lines(const Tensor& constant) {
  Lines lines;
  if (constant.dtype() == DType::float32) {
    for (float value : constant.values<float>()) lines.add(float_literal(value));
  } else if (constant.dtype() == DType::float16) {
    for (std::uint16_t bits : constant.values<std::uint16_t>()) lines.add(std::to_string(bits));
  } else if (constant.dtype() == DType::int4 || constant.dtype() == DType::uint4) {
    for (std::byte packed : constant.bytes()) lines.add(std::to_string(static_cast<unsigned>(packed)));
  } else if (constant.dtype() == DType::uint32) {
    for (std::uint32_t value : constant.values<std::uint32_t>()) lines.add(std::to_string(value) + "u");
  } else if (constant.dtype() == DType::int8) {
    for (std::int8_t value : constant.values<std::int8_t>()) lines.add(std::to_string(value));
  } else if (!c_type(constant.dtype()).empty()) {
    for (std::int64_t i = 0; i < constant.size(); ++i) lines.add(int_literal(constant.as_int64(i)));
  } else {
    return {};
  }
  return lines.take();
}

}  // namespace bevel::emit
