// A model in another opset: what `--opset N` writes.
#pragma once

#include <cstdint>

#include "lib/ir/graph.h"
#include "lib/support/result.h"

namespace bevel::ops {

// Takes a model whose types are inferred from its opset to `target` (7 to 28), one opset at a time, subgraphs included: the
// families' upgrade and downgrade rewrite what changed its form, and every node must then be what its new opset's schema allows
// (attributes, operand counts, element types). The first node that cannot be said in the next opset is the error (exit 5), which
// names it, the opset and why; the model is then as it was. ir_version follows the opset.
Status convert_opset(Model& model, std::int64_t target);

}  // namespace bevel::ops
