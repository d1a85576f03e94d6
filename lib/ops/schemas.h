// The forms of ONNX's standard operators in every opset: operand counts, attributes with their defaults, element types.
// A table of facts (schemas.def) that scripts/update-schemas writes from ONNX's own; what the forms mean is the families'.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "lib/ir/dtype.h"

namespace bevel::ops {

struct Schema {
  std::string_view op_type{};
  int since = 1;  // the first opset of this form
  int min_inputs = 0, max_inputs = 0, min_outputs = 0, max_outputs = 0;  // max -1: any number
  std::string_view attributes{};     // "name", "name!" (must be given) or "name=default", separated by spaces
  std::string_view inputs{}, outputs{};  // numbers of element type sets, separated by spaces; the last of a variadic operand repeats
  bool gone = false;                 // not part of ONNX from `since` on
};

// All forms of all operators, by name and opset.
std::span<const Schema> all_schemas();
// The form that an opset (1 to 28) has; nullptr when the operator is not in it.
const Schema* find_schema(std::string_view op_type, std::int64_t opset);
// The first opset that has the operator; 0 for an operator that is not ONNX's.
int first_opset(std::string_view op_type);

struct SchemaAttribute {
  bool required = false;
  std::optional<std::string_view> fallback;  // as text: 1, 0.5, constant, [0,1]
};
std::optional<SchemaAttribute> find_attribute(const Schema& schema, std::string_view name);

// Whether operand i may hold a tensor of this element type. (Operands that are no tensors take any.)
bool takes_input(const Schema& schema, std::size_t i, DType dtype);
bool gives_output(const Schema& schema, std::size_t i, DType dtype);

}  // namespace bevel::ops
