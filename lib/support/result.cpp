#include "lib/support/result.h"

namespace bevel {

namespace {

// Length of the valid UTF-8 sequence at `text[at]`, or 0; 0 as well for what a terminal obeys rather than shows.
std::size_t utf8_length(std::string_view text, std::size_t at) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(at);
  std::size_t length = lead < 0x80 ? 1 : (lead & 0xE0) == 0xC0 ? 2 : (lead & 0xF0) == 0xE0 ? 3 : (lead & 0xF8) == 0xF0 ? 4 : 0;
  if (length == 0 || at + length > text.size()) return 0;
  for (std::size_t i = 1; i < length; ++i)
    if ((byte(at + i) & 0xC0) != 0x80) return 0;
  if (length == 2 && lead < 0xC2) return 0;                                    // overlong
  if (length == 3 && lead == 0xE0 && byte(at + 1) < 0xA0) return 0;            // overlong
  if (length == 3 && lead == 0xED && byte(at + 1) >= 0xA0) return 0;           // surrogate
  if (length == 4 && (lead > 0xF4 || (lead == 0xF0 && byte(at + 1) < 0x90))) return 0;
  if (length == 2 && lead == 0xC2 && byte(at + 1) < 0xA0) return 0;            // C1 control characters
  if (length == 3 && lead == 0xE2) {  // marks, embeddings and isolates of writing direction; separators of lines and paragraphs
    const unsigned char last = byte(at + 2);
    if (byte(at + 1) == 0x80 && (last == 0x8E || last == 0x8F || (last >= 0xA8 && last <= 0xAE))) return 0;
    if (byte(at + 1) == 0x81 && last >= 0xA6 && last <= 0xA9) return 0;
  }
  return length;
}

}  // namespace

std::string printable(std::string_view text, std::size_t limit) {
  std::string out;
  for (std::size_t at = 0; at < text.size();) {
    if (out.size() >= limit) return out + "...";
    const std::size_t length = utf8_length(text, at);
    const auto byte = static_cast<unsigned char>(text[at]);
    if (length == 0 || byte < 0x20 || byte == 0x7F) {
      out += fmt::format("\\x{:02x}", byte);
      ++at;
    } else {
      out.append(text.substr(at, length));
      at += length;
    }
  }
  return out;
}

}  // namespace bevel
