// What the normalization families share.
#pragma once

#include "lib/ops/family.h"

namespace bevel::ops {

// Each output depends on a whole range of inputs that no loop of it names: opaque along the normalized axes [first, last).
Facts facts_normalized(const FactsContext& ctx, std::size_t first_opaque, std::size_t last_opaque);

}  // namespace bevel::ops
