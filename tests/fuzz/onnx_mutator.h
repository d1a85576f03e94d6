// Mutations of ONNX messages by their schema: fields are dropped, doubled, moved, copied from elsewhere, numbers and names changed, and the
// lengths written anew. A file that no longer parses is left to libFuzzer's own mutator, as is one mutation in eight.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lib/onnx/scan.h"
#include "lib/onnx/wire.h"
#include "lib/support/random.h"

extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t max_size);

namespace bevel::fuzz {

struct Part {
  std::uint32_t number = 0;
  onnx::Wire wire = onnx::Wire::varint;
  std::uint64_t scalar = 0;
  std::string bytes;                            // of Wire::bytes that is no message
  std::optional<onnx::Message> kind;            // of Wire::bytes that is one
  std::vector<Part> parts;
};

class OnnxMutator {
 public:
  explicit OnnxMutator(unsigned seed) : random_(seed) {}

  // The mutated message, or nothing where `text` is none.
  std::optional<std::string> mutate(std::string_view text, onnx::Message kind) {
    Part root;
    root.kind = kind;
    if (!parse(text, root, 0)) return std::nullopt;
    const std::size_t times = 1 + random_.below(4);
    for (std::size_t i = 0; i < times; ++i) change(root);
    return written(root);
  }

 private:
  bool parse(std::string_view text, Part& into, int depth) {
    if (depth > 70) return false;
    onnx::Reader reader(text);
    onnx::Field field;
    while (reader.next(field)) {
      Part part;
      part.number = field.number;
      part.wire = field.wire;
      part.scalar = field.scalar;
      if (field.wire == onnx::Wire::bytes) {
        part.kind = onnx::message_in(*into.kind, field.number);
        if (part.kind && !parse(field.bytes, part, depth + 1)) part.kind.reset(), part.parts.clear();
        if (!part.kind) part.bytes = field.bytes;
      }
      into.parts.push_back(std::move(part));
    }
    return reader.damaged() == nullptr;
  }

  static std::string written(const Part& message) {
    onnx::Writer writer;
    for (const Part& part : message.parts) {
      writer.tag(part.number, part.wire);
      const std::uint64_t scalar = part.scalar;
      switch (part.wire) {
        case onnx::Wire::varint: writer.varint(scalar); break;
        case onnx::Wire::fixed32: writer.fields({reinterpret_cast<const char*>(&scalar), 4}); break;
        case onnx::Wire::fixed64: writer.fields({reinterpret_cast<const char*>(&scalar), 8}); break;
        default: {
          const std::string content = part.kind ? written(part) : part.bytes;
          writer.varint(content.size());
          writer.fields(content);
        }
      }
    }
    return writer.bytes();
  }

  static void collect(Part& message, std::vector<Part*>& messages, std::vector<Part*>& leaves) {
    messages.push_back(&message);
    for (Part& part : message.parts) {
      if (part.kind) collect(part, messages, leaves);
      else leaves.push_back(&part);
    }
  }

  std::uint64_t interesting(std::uint64_t old) {
    constexpr std::uint64_t kValues[] = {0, 1, 2, 3, 7, 8, 16, 63, 64, 255, 1u << 16, 0x7fffffff, 0x80000000, 0xffffffff,
                                         0x7fffffffffffffff, 0x8000000000000000, 0xffffffffffffffff, 0xfffffffffffffffe, 1ull << 62};
    if (random_.below(3) == 0) return old + 1 - random_.below(3);
    return kValues[random_.below(std::size(kValues))];
  }

  void change(Part& root) {
    std::vector<Part*> messages, leaves;
    collect(root, messages, leaves);
    Part& message = *messages[random_.below(messages.size())];
    auto& parts = message.parts;
    const auto any = [&] { return static_cast<std::ptrdiff_t>(random_.below(parts.size())); };
    switch (random_.below(8)) {
      case 0:
        if (!parts.empty()) parts.erase(parts.begin() + any());
        return;
      case 1:
        if (!parts.empty() && parts.size() < 64) parts.push_back(parts[static_cast<std::size_t>(any())]);
        return;
      case 2:
        if (parts.size() > 1) std::swap(parts[static_cast<std::size_t>(any())], parts[static_cast<std::size_t>(any())]);
        return;
      case 3: {  // a message of the same kind from elsewhere
        const Part& other = *messages[random_.below(messages.size())];
        if (other.kind != message.kind || &other == &message || other.parts.size() + parts.size() > 128) return;
        const std::vector<Part> copy = other.parts;
        if (random_.below(2) == 0) parts = copy;
        else parts.insert(parts.end(), copy.begin(), copy.end());
        return;
      }
      default: break;
    }
    if (leaves.empty()) return;
    Part& leaf = *leaves[random_.below(leaves.size())];
    if (leaf.wire != onnx::Wire::bytes) {
      leaf.scalar = interesting(leaf.scalar);
      return;
    }
    if (random_.below(2) == 0) {  // another text of the file: names then refer to something else
      const Part& other = *leaves[random_.below(leaves.size())];
      if (other.wire == onnx::Wire::bytes) leaf.bytes = std::string(other.bytes);
      return;
    }
    const std::size_t size = leaf.bytes.size();
    leaf.bytes.resize(size + 16);
    leaf.bytes.resize(LLVMFuzzerMutate(reinterpret_cast<std::uint8_t*>(leaf.bytes.data()), size, leaf.bytes.size()));
  }

  Random random_;
};

}  // namespace bevel::fuzz
