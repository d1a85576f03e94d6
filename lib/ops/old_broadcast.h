// Broadcasting of opsets 1 to 6, in the words of opset 7.
#pragma once

#include "lib/ir/graph.h"
#include "lib/support/result.h"

namespace bevel::ops {

// Rewrites the elementwise nodes of a model of opset 1 to 6 that broadcast as only those opsets do. False, and the model as it was,
// where the rank that this takes is not known.
Result<bool> lift_old_broadcasts(Model& model);

}  // namespace bevel::ops
