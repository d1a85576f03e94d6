// Transpose's permutation, default included.
#pragma once

#include <cstddef>
#include <vector>

#include "lib/ir/graph.h"
#include "lib/support/result.h"

namespace bevel::ops {

Result<std::vector<int>> permutation_of(const Node& node, std::size_t rank);

}  // namespace bevel::ops
