// --opset: the opset that a model is written in.
#pragma once

#include <cstddef>
#include <optional>

#include "lib/ir/graph.h"
#include "lib/support/result.h"

namespace bevel::driver {

// Exit 2 for an opset that Bevel does not write (7 to 28); before the work, not after it.
Status check_opset(std::optional<std::size_t> opset);
// Converts a model that is about to be written; nothing without an opset. The first node that cannot be said in it is the error.
Status put_in_opset(Model& model, std::optional<std::size_t> opset);

}  // namespace bevel::driver
