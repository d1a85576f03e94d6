// AttributeProto to Attribute; subgraphs are handed back to the graph decoder, which knows the enclosing names.
#pragma once

#include <functional>

#include "lib/onnx/decode.h"

namespace bevel::onnx {

using DecodeSubgraph = std::function<Result<GraphPtr>(const Pieces&)>;

Result<Attribute> decode_attribute(Source& source, std::string_view bytes, const DecodeSubgraph& subgraph);

}  // namespace bevel::onnx
