// Types and tensors of the text form: `float[N,3]`, `seq(int64[...])`, `{1, 2.5}`, `random(7)`.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "lib/ir/tensor.h"
#include "lib/ir/text_lexer.h"
#include "lib/ir/type.h"

namespace bevel {

Result<Type> read_type(TextLexer& lexer, int depth = 0);
// The elements of a tensor of that type, which must have known dimensions.
Result<Tensor> read_tensor(TextLexer& lexer, const Type& type);

// "ints" for AttributeProto.INTS, ...; "undefined" for what ONNX 1.23 does not have.
std::string_view attribute_kind_name(std::int64_t kind);
std::optional<std::int64_t> attribute_kind(std::string_view name);

}  // namespace bevel
