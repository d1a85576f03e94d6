#include "lib/ir/text_lexer.h"

#include <cerrno>
#include <cstdlib>
#include <cstring>

namespace bevel {
namespace {

bool word_start(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
bool word_part(char c) { return word_start(c) || (c >= '0' && c <= '9'); }

}  // namespace

void TextLexer::skip() {
  while (at_ < text_.size()) {
    const char c = text_[at_];
    if (c == ' ' || c == '\t' || c == '\r' || c == '\n') {
      ++at_;
    } else if (c == '#' || text_.substr(at_, 2) == "//") {
      while (at_ < text_.size() && text_[at_] != '\n') ++at_;
    } else {
      return;
    }
  }
}

bool TextLexer::peek(std::string_view token) {
  skip();
  return text_.substr(at_, token.size()) == token;
}

bool TextLexer::accept(std::string_view token) {
  if (!peek(token)) return false;
  at_ += token.size();
  return true;
}

std::string TextLexer::position() const {
  std::size_t line = 1, column = 1;
  for (std::size_t i = 0; i < at_ && i < text_.size(); ++i) {
    column = text_[i] == '\n' ? 1 : column + 1;
    line += text_[i] == '\n';
  }
  return fmt::format("line {}, column {}", line, column);
}

Failure TextLexer::error(std::string_view expected) {
  skip();
  const std::string found = at_ == text_.size() ? "the end" : fmt::format("'{}'", printable(text_.substr(at_, 20)));
  return fail_input("{}: expected {}, found {}", position(), expected, found);
}

Status TextLexer::expect(std::string_view token) {
  if (!accept(token)) return error(fmt::format("'{}'", token));
  return {};
}

std::string_view TextLexer::word() {
  skip();
  if (at_ == text_.size() || !word_start(text_[at_])) return {};
  const std::size_t start = at_;
  while (at_ < text_.size() && word_part(text_[at_])) ++at_;
  return text_.substr(start, at_ - start);
}

Result<std::string> TextLexer::quoted() {
  BEVEL_TRY_STATUS(expect("\""));
  std::string out;
  while (at_ < text_.size() && text_[at_] != '"') {
    if (text_[at_] != '\\') {
      out += text_[at_++];
      continue;
    }
    const char escape = at_ + 1 < text_.size() ? text_[at_ + 1] : '\0';
    if (escape == 'n') {
      out += '\n';
    } else if (escape == '"' || escape == '\\') {
      out += escape;
    } else if (escape == 'x' && at_ + 3 < text_.size()) {
      const std::string digits(text_.substr(at_ + 2, 2));
      char* end = nullptr;
      const long byte = std::strtol(digits.c_str(), &end, 16);
      if (end != digits.c_str() + 2 || byte < 0) return error("two hexadecimal digits after '\\x'");
      out += static_cast<char>(byte);
      at_ += 2;
    } else {
      return error("one of the escapes \\n, \\\", \\\\, \\xNN");
    }
    at_ += 2;
  }
  if (at_ == text_.size()) return error("a closing '\"'");
  ++at_;
  return out;
}

Result<std::string> TextLexer::name(std::string_view what) {
  if (peek("\"")) return quoted();
  const std::string_view plain = word();
  if (plain.empty()) return error(what);
  return std::string(plain);
}

std::string TextLexer::number_token() {
  skip();
  std::size_t end = at_;
  const auto part = [&](char c) { return word_part(c) || c == '.' || c == '+' || c == '-'; };
  while (end < text_.size() && part(text_[end])) ++end;
  return std::string(text_.substr(at_, end - at_));
}

bool TextLexer::starts_name() {
  skip();
  return at_ < text_.size() && (text_[at_] == '"' || word_start(text_[at_]));
}

Result<std::int64_t> TextLexer::integer() {
  const std::string token = number_token();
  char* end = nullptr;
  errno = 0;
  const long long value = std::strtoll(token.c_str(), &end, 10);
  if (token.empty() || *end != '\0' || errno != 0) return error("an integer of 64 bits");
  at_ += token.size();
  return static_cast<std::int64_t>(value);
}

Result<std::uint64_t> TextLexer::unsigned_integer() {
  const std::string token = number_token();
  char* end = nullptr;
  errno = 0;
  const unsigned long long value = std::strtoull(token.c_str(), &end, 0);
  if (token.empty() || token[0] == '-' || *end != '\0' || errno != 0) return error("an unsigned integer of 64 bits");
  at_ += token.size();
  return static_cast<std::uint64_t>(value);
}

Result<std::uint64_t> TextLexer::bit_pattern() {
  BEVEL_TRY_STATUS(expect("("));
  BEVEL_TRY(const std::uint64_t bits, unsigned_integer());
  BEVEL_TRY_STATUS(expect(")"));
  return bits;
}

Result<double> TextLexer::real() {
  const std::string token = number_token();
  char* end = nullptr;
  const double value = std::strtod(token.c_str(), &end);
  if (token.empty() || *end != '\0') return error("a number");
  at_ += token.size();
  return value;
}

Result<float> TextLexer::real32() {
  const std::string token = number_token();
  if (accept("bits")) {
    BEVEL_TRY(const std::uint64_t bits, bit_pattern());
    if (bits > 0xFFFFFFFFu) return error("32 bits");
    const auto narrow = static_cast<std::uint32_t>(bits);
    float value = 0;
    std::memcpy(&value, &narrow, sizeof value);
    return value;
  }
  char* end = nullptr;
  const float value = std::strtof(token.c_str(), &end);
  if (token.empty() || *end != '\0') return error("a number");
  at_ += token.size();
  return value;
}

bool TextLexer::looks_like_float() {
  const std::string token = number_token();
  return token.find_first_of(".einEIN") != std::string::npos;
}

bool TextLexer::looks_like_number() {
  skip();
  const char c = at_ < text_.size() ? text_[at_] : '\0';
  const std::string token = number_token();
  return (c >= '0' && c <= '9') || c == '-' || c == '+' || c == '.' || token == "inf" || token == "nan" ||
         token == "bits";
}

}  // namespace bevel
