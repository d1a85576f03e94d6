// Protobuf's wire format, as little of it as ONNX needs: a bounds-checked reader over mapped bytes and a writer that
// keeps large payloads as references. https://protobuf.dev/programming-guides/encoding/
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bevel::onnx {

enum class Wire : std::uint8_t { varint = 0, fixed64 = 1, bytes = 2, group_begin = 3, group_end = 4, fixed32 = 5 };

struct Field {
  std::uint32_t number = 0;
  Wire wire = Wire::varint;
  std::uint64_t scalar = 0;   // varint, fixed32, fixed64
  std::string_view bytes;     // Wire::bytes
  std::string_view whole;     // tag and content: what an unknown field is carried through as

  [[nodiscard]] std::int64_t as_int64() const { return static_cast<std::int64_t>(scalar); }
  [[nodiscard]] float as_float() const { return std::bit_cast<float>(static_cast<std::uint32_t>(scalar)); }
};

// Reads one varint from the front of `text`; false when it is cut off or longer than 64 bits.
inline bool read_varint(std::string_view& text, std::uint64_t& value) {
  std::uint64_t result = 0;
  const std::size_t limit = text.size() < 10 ? text.size() : 10;
  for (std::size_t i = 0; i < limit; ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    if (i == 9 && byte > 1) return false;
    result |= static_cast<std::uint64_t>(byte & 0x7F) << (7 * i);
    if (byte < 0x80) {
      text.remove_prefix(i + 1);
      value = result;
      return true;
    }
  }
  return false;
}

inline bool read_fixed(std::string_view& text, std::size_t size, std::uint64_t& value) {
  if (text.size() < size) return false;
  value = 0;
  std::memcpy(&value, text.data(), size);  // both sides little-endian
  text.remove_prefix(size);
  return true;
}
static_assert(std::endian::native == std::endian::little, "ONNX's raw data and ours are little-endian");

// Walks the fields of one message. next() is false at the end and at damage; damaged() tells which.
class Reader {
 public:
  explicit Reader(std::string_view message) : rest_(message) {}

  bool next(Field& field) {
    if (rest_.empty()) return false;
    const char* const begin = rest_.data();
    std::uint64_t tag = 0;
    if (!read_varint(rest_, tag)) return damage("a field's tag is cut off");
    if (tag >> 32 != 0 || tag >> 3 == 0) return damage("a field has an impossible number");
    field.number = static_cast<std::uint32_t>(tag >> 3);
    field.wire = static_cast<Wire>(tag & 7);
    field.bytes = {};
    switch (field.wire) {
      case Wire::varint:
        if (!read_varint(rest_, field.scalar)) return damage("a number is cut off or too long");
        break;
      case Wire::fixed64:
        if (!read_fixed(rest_, 8, field.scalar)) return damage("a 64-bit field is cut off");
        break;
      case Wire::fixed32:
        if (!read_fixed(rest_, 4, field.scalar)) return damage("a 32-bit field is cut off");
        break;
      case Wire::bytes: {
        std::uint64_t length = 0;
        if (!read_varint(rest_, length)) return damage("a field's length is cut off");
        if (length > rest_.size()) return damage("a field is longer than what is left of its message");
        field.bytes = rest_.substr(0, length);
        rest_.remove_prefix(length);
        break;
      }
      default:
        return damage("a field has a wire type that ONNX does not use");
    }
    field.whole = {begin, static_cast<std::size_t>(rest_.data() - begin)};
    return true;
  }

  [[nodiscard]] const char* damaged() const { return damage_; }  // null when sound
  [[nodiscard]] const char* position() const { return rest_.data(); }

 private:
  bool damage(const char* what) {
    damage_ = what;
    return false;
  }
  std::string_view rest_;
  const char* damage_ = nullptr;
};

// A message being written. Payloads (tensor bytes) are only referred to: they must outlive it.
class Writer {
 public:
  struct Payload {
    std::size_t at;  // offset in bytes() before which it stands
    std::span<const std::byte> data;
  };

  void varint(std::uint64_t value) {
    while (value >= 0x80) {
      bytes_.push_back(static_cast<char>(value | 0x80));
      value >>= 7;
    }
    bytes_.push_back(static_cast<char>(value));
  }
  void tag(std::uint32_t number, Wire wire) {
    varint(static_cast<std::uint64_t>(number) << 3 | static_cast<std::uint64_t>(wire));
  }
  void integer(std::uint32_t number, std::int64_t value) {
    tag(number, Wire::varint);
    varint(static_cast<std::uint64_t>(value));
  }
  void real(std::uint32_t number, float value) {
    tag(number, Wire::fixed32);
    bytes_.append(reinterpret_cast<const char*>(&value), sizeof value);
  }
  void text(std::uint32_t number, std::string_view value) {
    tag(number, Wire::bytes);
    varint(value.size());
    bytes_.append(value);
  }
  void text_unless_empty(std::uint32_t number, std::string_view value) {
    if (!value.empty()) text(number, value);
  }
  void message(std::uint32_t number, const Writer& child) {
    tag(number, Wire::bytes);
    varint(child.size());
    append(child);
  }
  void payload(std::uint32_t number, std::span<const std::byte> data) {
    tag(number, Wire::bytes);
    varint(data.size());
    if (data.size() < kInlinePayload) {
      bytes_.append(reinterpret_cast<const char*>(data.data()), data.size());
    } else {
      payloads_.push_back({bytes_.size(), data});
      payload_bytes_ += data.size();
    }
  }
  // Fields that are already in wire format.
  void fields(std::string_view wire) { bytes_.append(wire); }
  void append(const Writer& other) {
    const std::size_t base = bytes_.size();
    bytes_.append(other.bytes_);
    for (const Payload& payload : other.payloads_) payloads_.push_back({base + payload.at, payload.data});
    payload_bytes_ += other.payload_bytes_;
  }

  [[nodiscard]] std::uint64_t size() const { return bytes_.size() + payload_bytes_; }
  [[nodiscard]] const std::string& bytes() const { return bytes_; }
  [[nodiscard]] const std::vector<Payload>& payloads() const { return payloads_; }

 private:
  static constexpr std::size_t kInlinePayload = 256;  // below, a copy is cheaper than a reference
  std::string bytes_;
  std::vector<Payload> payloads_;
  std::uint64_t payload_bytes_ = 0;
};

}  // namespace bevel::onnx
