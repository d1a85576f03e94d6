// AttributeProto to Attribute; subgraphs are handed back to the graph decoder, which knows the enclosing names.
#pragma once

#include <functional>

#include "lib/onnx/decode.h"

namespace bevel::onnx {

using DecodeSubgraph = std::function<Result<GraphPtr>(const Pieces&)>;

Result<Attribute> decode_attribute(Source& source, std::string_view bytes, const DecodeSubgraph& subgraph);
// The attribute `sparse_value` of a Constant that stands for a sparse initializer, from the latter's SparseTensorProto.
Result<Attribute> decode_sparse_value(Source& source, std::string_view bytes);

}  // namespace bevel::onnx
