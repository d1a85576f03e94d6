// Weights alone as integers: activations, and all arithmetic, stay in float32.
#pragma once

#include <string_view>

#include "lib/support/result.h"
#include "passes/pass.h"

namespace bevel::passes {

// Puts every large constant float32 operand that holds weights (a product's, a recurrent layer's, a table that is looked up) behind a
// DequantizeLinear. Needs no data. `keep_float` as in select_nodes.
enum class WeightsOf { all, recurrent_layers };
Result<PassStats> quantize_weights_only(Model& model, const Recipe& recipe, std::string_view keep_float, bool forms_only,
                                        WeightsOf whose = WeightsOf::all);

}  // namespace bevel::passes
