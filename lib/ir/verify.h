// The verifier: what every graph must satisfy between passes. Structural only; op semantics are lib/ops' to check.
#pragma once

#include "lib/ir/graph.h"
#include "lib/support/result.h"

namespace bevel {

// Checks: ids in range and alive; producers and use lists agree both ways; names unique and non-empty; topological
// order; graph outputs produced, constant, captured or inputs; captures agree with the enclosing node's operands, recursively;
// constants match their value's dtype and shape where stated. Message names node and value. Exit code: input.
Status verify(const Model& model);
Status verify(const Graph& graph);

}  // namespace bevel
