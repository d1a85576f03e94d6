// Attributes as read. Typed access with defaults belongs to the op's family (lib/ops); this is only the container.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "lib/ir/tensor.h"

namespace bevel {

class Graph;
using GraphPtr = std::shared_ptr<const Graph>;  // subgraphs are immutable: edit a copy, then replace

// An AttributeProto that Bevel does not take apart (sparse tensors, type protos, references to function attributes,
// kinds newer than the linked libonnx): its bytes travel unchanged.
struct OpaqueAttribute {
  std::string bytes;
  bool operator==(const OpaqueAttribute&) const = default;
};

using AttributeValue =
    std::variant<float, std::int64_t, std::string, Tensor, GraphPtr, std::vector<float>, std::vector<std::int64_t>,
                 std::vector<std::string>, std::vector<Tensor>, std::vector<GraphPtr>, OpaqueAttribute>;

struct Attribute {
  std::string name;
  AttributeValue value;
  std::string doc_string;
  std::string opaque = {};  // unknown protobuf fields, a tensor's name and doc string; carried through
};

}  // namespace bevel
