// The wire pre-scan: one walk over the mapped file before anything is built from it.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "lib/onnx/onnx.h"
#include "lib/support/result.h"

namespace bevel::onnx {

enum class Message : std::uint8_t {
  model, graph, node, attribute, tensor, sparse_tensor, segment, value_info, type, tensor_type, sequence_type, map_type,
  opaque_type, shape, dimension, entry, annotation, opset, function, training, sequence_data, optional_data,
};

struct ScanTotals {
  std::uint64_t elements = 0;        // sub-messages and repeated strings
  std::uint64_t payload_bytes = 0;   // tensor contents, which nothing copies
  std::uint64_t skeleton_bytes = 0;  // all the rest
  std::uint64_t decoded_bytes = 0;   // what graphs, nodes, values, types and names will take in memory, estimated
  std::uint64_t list_bytes = 0;      // what numbers in lists that are not raw data will take
};

// The message that a field of another holds; nullopt for a number, a string, and what is not ONNX's.
std::optional<Message> message_in(Message parent, std::uint32_t field);

// Checks that `bytes` is a sound message of the kind: lengths inside their parents, wire types as ONNX's schema has
// them, and nothing above the caps. Messages give the offset in the file and the kind of message.
Result<ScanTotals> scan(std::string_view bytes, Message kind, const Limits& limits);

}  // namespace bevel::onnx
