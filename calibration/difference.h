// How far a value is from its reference, on one sample.
#pragma once

#include "lib/data/measure.h"
#include "lib/ir/tensor.h"
#include "lib/support/result.h"

namespace bevel::calibration {

// Errors: shapes that differ; what is no number, NaN or infinite. Without libm: the same bits everywhere.
Result<data::Difference> difference(const Tensor& reference, const Tensor& value);

}  // namespace bevel::calibration
