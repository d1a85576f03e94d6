// Dynamic quantization: products in 8 bits, the grid of their input chosen from its values whenever the model runs.
#pragma once

#include <string_view>

#include "lib/support/result.h"
#include "passes/pass.h"

namespace bevel::passes {

// Needs no data. `keep_float` as in select_nodes.
Result<PassStats> quantize_dynamically(Model& model, const Recipe& recipe, std::string_view keep_float, bool forms_only);

}  // namespace bevel::passes
