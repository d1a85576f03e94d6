// Weights alone as integers: activations, and all arithmetic, stay in float32.
#pragma once

#include <string_view>

#include "lib/ops/facts.h"
#include "lib/support/result.h"
#include "passes/pass.h"

namespace bevel::passes {

// Puts every large constant float32 operand that holds weights (a product's, a recurrent layer's, a table that is looked up) behind a
// DequantizeLinear. Needs no data. `keep_float` as in select_nodes.
enum class WeightsOf { all, recurrent_layers };
Result<PassStats> quantize_weights_only(Model& model, const Recipe& recipe, std::string_view keep_float, bool forms_only,
                                        WeightsOf whose = WeightsOf::all);

// The operand is a constant that holds weights, large enough to be worth a scale.
bool holds_weights(const Graph& graph, const Node& node, std::size_t operand, const ops::Facts& facts);
// Scales run along the channels of a product; else along the rows of the last two axes: a table's rows, a recurrent layer's gates.
int weight_scale_axis(const Tensor& weight, std::size_t operand, const ops::Facts& facts);

}  // namespace bevel::passes
