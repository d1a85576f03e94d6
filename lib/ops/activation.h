// Pointwise activations as functions of one number: the reference evaluation and the 256-entry tables of integer
// kernels (lowering) use the same ones.
#pragma once

#include <functional>
#include <optional>

#include "lib/ops/family.h"

namespace bevel::ops {

// y = f(x) in double, the node's attributes bound; an error for attributes of the wrong kind. nullopt: `node` is none
// of Relu, LeakyRelu, Sigmoid, HardSigmoid, HardSwish, Tanh, Elu, Selu, Celu, ThresholdedRelu, Softplus, Softsign,
// Mish, Gelu, Swish, Shrink, Erf.
Result<std::optional<std::function<double(double)>>> activation_function(const Node& node);
// The same in float arithmetic (what evaluation uses for float32 and the 16-bit floats).
Result<std::optional<std::function<float(float)>>> activation_function_float(const Node& node);

// min and max of a Clip node when both are constant or absent (infinite then); nullopt when one is computed.
std::optional<Interval> clip_bounds(const FactsContext& ctx);

}  // namespace bevel::ops
