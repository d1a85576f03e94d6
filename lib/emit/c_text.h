// C spelled out: literals, identifiers and comments that no input can break.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "lib/ir/tensor.h"

namespace bevel::emit {

// A float that reads back exactly: hexadecimal, INFINITY and NAN by name (of <math.h>).
std::string float_literal(float value);
std::string int_literal(std::int64_t value);

// Letters, digits and '_' of a model's name, at most 40; what else it holds becomes '_'. To be put behind a prefix of ours.
std::string identifier_part(std::string_view name);
// Text from a model for a comment: printable, neither opening nor closing one.
std::string comment_text(std::string_view text);
bool is_c_identifier(std::string_view name);

// The elements of a constant as the lines of an initializer; empty when the dtype has no C spelling.
std::string initializer_lines(const Tensor& constant);
// "int8_t" for int8; empty: no C type.
std::string_view c_type(DType dtype);
// The same with packed sub-byte elements as bytes.
std::string_view c_storage_type(DType dtype);

}  // namespace bevel::emit
