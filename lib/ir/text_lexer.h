// The characters of the text form (text.h) and what they spell: blanks and comments, words, quoted names, numbers. Errors are
// located ("line 3, column 7: expected ..., found ...").
#pragma once

#include <fmt/core.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "lib/support/result.h"

namespace bevel {

constexpr int kMaxTextDepth = 64;  // nested graphs and types: recursion follows them

class TextLexer {
 public:
  explicit TextLexer(std::string_view text) : text_(text) {}

  // Past blanks and comments (`#` or `//` to the end of the line).
  void skip();
  [[nodiscard]] bool at_end() {
    skip();
    return at_ == text_.size();
  }
  [[nodiscard]] std::size_t left() const { return text_.size() - at_; }  // characters
  [[nodiscard]] std::size_t mark() const { return at_; }
  void rewind(std::size_t mark) { at_ = mark; }

  [[nodiscard]] bool peek(std::string_view token);
  bool accept(std::string_view token);
  Status expect(std::string_view token);

  // What was expected instead of what stands here; or, with a message of its own, what is wrong with what was read.
  Failure error(std::string_view expected);
  template <typename... Args>
  Failure wrong(fmt::format_string<Args...> format, Args&&... args) {
    return fail_input("{}: {}", position(), fmt::format(format, std::forward<Args>(args)...));
  }

  std::string_view word();  // a plain identifier; empty when there is none
  Result<std::string> quoted();
  Result<std::string> name(std::string_view what);  // plain or quoted; `what` for the error
  [[nodiscard]] bool starts_name();

  Result<std::int64_t> integer();
  Result<std::uint64_t> unsigned_integer();
  Result<std::uint64_t> bit_pattern();  // the rest of `bits(0x7fc00000)`: a float given by its bits
  Result<double> real();
  Result<float> real32();  // rounds once from the text, not through double
  [[nodiscard]] bool looks_like_number();
  [[nodiscard]] bool looks_like_float();  // has a '.', an exponent, or is inf, nan or bits(...)

  // [one, one, ...]
  template <typename One>
  Status bracketed(One&& one) {
    BEVEL_TRY_STATUS(expect("["));
    for (bool first = true; !accept("]"); first = false) {
      if (!first) BEVEL_TRY_STATUS(expect(","));
      BEVEL_TRY_STATUS(one());
    }
    return {};
  }

 private:
  [[nodiscard]] std::string position() const;
  std::string number_token();  // the characters of a number or of inf, nan; empty when there is none

  std::string_view text_;
  std::size_t at_ = 0;
};

}  // namespace bevel
