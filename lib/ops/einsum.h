// An einsum equation: terms of labels, checked, with the ellipsis spelled out as labels of its own.
#pragma once

#include <string_view>
#include <vector>

#include "lib/ops/family.h"

namespace bevel::ops {

// Letters are their own code; axis k of an ellipsis, counted from its right end, is kEllipsisLabel - k.
using EinsumTerm = std::vector<int>;
constexpr int kEllipsisLabel = -1;

struct EinsumEquation {
  std::vector<EinsumTerm> inputs;
  EinsumTerm output;
};
// `ranks`: of the operands. The equation is an error when it does not fit them.
Result<EinsumEquation> parse_einsum(std::string_view equation, const std::vector<std::size_t>& ranks);

}  // namespace bevel::ops
