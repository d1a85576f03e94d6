// Attributes as read. Typed access with defaults belongs to the op's family (lib/ops); this is only the container.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "lib/ir/tensor.h"
#include "lib/ir/type.h"

namespace bevel {

class Graph;
using GraphPtr = std::shared_ptr<const Graph>;  // subgraphs are immutable: edit a copy, then replace

// A tensor of `dims` that is zero but for `values` ([n]) at `indices`: [n] positions in row-major order, or [n, rank].
// What reads it checks that (ops::dense_tensor).
struct SparseTensor {
  Tensor values, indices;
  Dims dims;
};

// Inside a function's body: the attribute of that name of the call (ref_attr_name).
struct AttributeReference {
  std::string name;
  std::int64_t kind = 0;  // AttributeProto.AttributeType of what it stands for
  bool operator==(const AttributeReference&) const = default;
};

// An AttributeProto that Bevel does not take apart (lists of sparse tensors or types, kinds newer than ONNX 1.23): its bytes
// travel unchanged.
struct OpaqueAttribute {
  std::string bytes;
  bool operator==(const OpaqueAttribute&) const = default;
};

using AttributeValue =
    std::variant<float, std::int64_t, std::string, Tensor, GraphPtr, std::vector<float>, std::vector<std::int64_t>,
                 std::vector<std::string>, std::vector<Tensor>, std::vector<GraphPtr>, OpaqueAttribute, Type, SparseTensor,
                 AttributeReference>;

struct Attribute {
  std::string name;
  AttributeValue value;
  std::string doc_string;
  std::string opaque = {};  // unknown protobuf fields, a tensor's name and doc string; carried through
};

}  // namespace bevel
