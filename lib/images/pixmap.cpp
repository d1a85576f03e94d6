#include "lib/images/pixmap.h"

#include <optional>

namespace bevel::images {
namespace {

// --- BMP (Windows bitmaps, BITMAPINFOHEADER and later) ---------------------------------------------------------------
std::uint32_t little_endian(std::span<const std::byte> bytes, std::size_t at, std::size_t count) {
  std::uint32_t value = 0;
  for (std::size_t i = count; i > 0; --i) value = value << 8 | static_cast<std::uint32_t>(bytes[at + i - 1]);
  return value;
}

Result<Tensor> decode_bmp(std::span<const std::byte> bytes, const std::string& name, const Admit& admit) {
  constexpr std::size_t kFileHeader = 14, kInfoHeader = 40;
  if (bytes.size() < kFileHeader + kInfoHeader) return fail_input("{}: unreadable BMP: the header ends too early", name);
  const std::uint64_t pixels_at = little_endian(bytes, 10, 4), header = little_endian(bytes, 14, 4);
  const auto width = static_cast<std::int32_t>(little_endian(bytes, 18, 4));
  const auto signed_height = static_cast<std::int32_t>(little_endian(bytes, 22, 4));
  const std::uint32_t depth = little_endian(bytes, 28, 2), compression = little_endian(bytes, 30, 4);
  const std::uint64_t stated_colors = little_endian(bytes, 46, 4);
  const bool top_down = signed_height < 0;
  const std::int64_t height = top_down ? -static_cast<std::int64_t>(signed_height) : signed_height;
  if (header < kInfoHeader || compression != 0 || (depth != 1 && depth != 4 && depth != 8 && depth != 24 && depth != 32)) {
    return fail_input("{}: unreadable BMP: {} bits per pixel, compression {}; expected 1, 4, 8, 24 or 32 bits, not compressed", name, depth, compression);
  }
  BEVEL_TRY_STATUS(check_size(height, width, name, admit));
  const std::uint64_t row_bytes = (static_cast<std::uint64_t>(width) * depth + 31) / 32 * 4;
  const std::uint64_t palette_at = kFileHeader + header;
  const std::uint64_t colors = depth > 8 ? 0 : stated_colors == 0 ? std::uint64_t{1} << depth : stated_colors;
  if (pixels_at > bytes.size() || row_bytes * static_cast<std::uint64_t>(height) > bytes.size() - pixels_at ||
      palette_at + colors * 4 > bytes.size()) {
    return fail_input("{}: unreadable BMP: the file ends too early", name);
  }
  Tensor image = Tensor::zeros(DType::uint8, {height, width, 3});
  auto out = image.mutable_bytes();
  std::size_t to = 0;
  for (std::int64_t y = 0; y < height; ++y) {
    const std::size_t row = pixels_at + row_bytes * static_cast<std::uint64_t>(top_down ? y : height - 1 - y);
    for (std::size_t x = 0; x < static_cast<std::size_t>(width); ++x) {
      std::size_t from = row + x * depth / 8;  // blue, green, red
      if (depth <= 8) {
        const std::size_t shift = 8 - depth - x * depth % 8;
        const std::uint32_t index = static_cast<std::uint32_t>(bytes[from]) >> shift & ((1u << depth) - 1);
        if (index >= colors) return fail_input("{}: unreadable BMP: color {} of a palette of {}", name, index, colors);
        from = palette_at + index * 4;
      }
      for (std::size_t c = 0; c < 3; ++c) out[to++] = bytes[from + 2 - c];
    }
  }
  return image;
}

// --- PBM, PGM, PPM (netpbm's formats P1 to P6) -------------------------------------------------------------------------
class PnmReader {
 public:
  explicit PnmReader(std::span<const std::byte> bytes) : bytes_(bytes) {}
  // A decimal number behind white space and comments, of at most `digits` digits (1: bits need no space between them).
  std::optional<std::uint32_t> number(int digits = 9) {
    while (at_ < bytes_.size() && (is_space(peek()) || peek() == '#')) {
      if (peek() == '#') {
        while (at_ < bytes_.size() && peek() != '\n' && peek() != '\r') ++at_;
      } else {
        ++at_;
      }
    }
    std::uint32_t value = 0;
    int read = 0;
    for (; read < digits && at_ < bytes_.size() && peek() >= '0' && peek() <= '9'; ++read, ++at_) {
      value = value * 10 + static_cast<std::uint32_t>(peek() - '0');
    }
    const bool goes_on = digits > 1 && at_ < bytes_.size() && peek() >= '0' && peek() <= '9';
    return read > 0 && !goes_on ? std::optional(value) : std::nullopt;
  }
  // The one character of white space that parts the header from binary samples.
  bool end_header() { return at_ < bytes_.size() && is_space(peek()) && ++at_; }
  [[nodiscard]] std::span<const std::byte> rest() const { return bytes_.subspan(at_); }
  void skip_magic() { at_ = 2; }

 private:
  [[nodiscard]] char peek() const { return static_cast<char>(bytes_[at_]); }
  static bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }
  std::span<const std::byte> bytes_;
  std::size_t at_ = 0;
};

Result<Tensor> decode_pnm(std::span<const std::byte> bytes, const std::string& name, const Admit& admit) {
  const char kind = static_cast<char>(bytes[1]);  // '1' to '6'
  const bool binary = kind > '3', bitmap = kind == '1' || kind == '4';
  const std::size_t channels = kind == '3' || kind == '6' ? 3 : 1;
  PnmReader reader(bytes);
  reader.skip_magic();
  const auto width = reader.number(), height = reader.number();
  const auto largest = bitmap ? std::optional<std::uint32_t>(1) : reader.number();
  if (!width || !height || !largest || *largest < 1 || *largest > 65535 || (binary && !reader.end_header())) {
    return fail_input("{}: unreadable PNM: the header is not one of P{}", name, kind);
  }
  BEVEL_TRY_STATUS(check_size(*height, *width, name, admit));
  const std::size_t samples = std::size_t{*width} * *height * channels, wide = *largest > 255 ? 2 : 1;
  const std::size_t bit_row = (std::size_t{*width} + 7) / 8;
  const std::span<const std::byte> data = reader.rest();
  // As text each sample takes a byte at least.
  if (data.size() < (!binary ? samples : bitmap ? bit_row * *height : samples * wide)) {
    return fail_input("{}: unreadable PNM: the file ends too early", name);
  }
  const auto sample = [&](std::size_t i) -> std::optional<std::uint32_t> {
    if (!binary) return reader.number(bitmap ? 1 : 5);
    if (bitmap) return static_cast<std::uint32_t>(data[i / *width * bit_row + i % *width / 8]) >> (7 - i % *width % 8) & 1;
    const auto high = static_cast<std::uint32_t>(data[i * wide]);
    return wide == 1 ? high : high << 8 | static_cast<std::uint32_t>(data[i * 2 + 1]);
  };
  Tensor image = Tensor::zeros(DType::uint8, {*height, *width, 3});
  auto out = image.mutable_values<std::uint8_t>();
  for (std::size_t i = 0; i < samples; ++i) {
    const auto value = sample(i);
    if (!value || *value > *largest) return fail_input("{}: unreadable PNM: sample {} is no number from 0 to {}", name, i, *largest);
    const std::uint32_t scaled = (*value * 255 + *largest / 2) / *largest;
    const auto byte = static_cast<std::uint8_t>(bitmap ? 255 - scaled : scaled);  // a set bit is black
    if (channels == 3) out[i] = byte;
    else out[i * 3] = out[i * 3 + 1] = out[i * 3 + 2] = byte;
  }
  return image;
}

}  // namespace

Result<Tensor> decode_pixmap(std::span<const std::byte> bytes, const std::string& name, const Admit& admit) {
  const auto at = [&](std::size_t i) { return i < bytes.size() ? static_cast<char>(bytes[i]) : '\0'; };
  if (at(0) == 'B' && at(1) == 'M') return decode_bmp(bytes, name, admit);
  if (at(0) == 'P' && at(1) >= '1' && at(1) <= '6') return decode_pnm(bytes, name, admit);
  return fail_input("{}: neither a BMP nor a portable map ({} bytes)", name, bytes.size());
}

}  // namespace bevel::images
