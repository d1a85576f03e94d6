// What inference and evaluation of DFT and STFT share.
#pragma once

#include <cstdint>

#include "lib/ops/op.h"

namespace bevel::ops {

// An axis in [-rank, -2] or [0, rank - 2], normalized.
Result<std::int64_t> dft_axis(std::int64_t axis, std::size_t rank);
// Without a dft_length: the axis, or for a half spectrum (one-sided inverse) the even signal it may have come from.
std::int64_t default_dft_length(std::int64_t extent, bool half_spectrum);

Outputs evaluate_dft(const EvalContext& ctx);
Outputs evaluate_stft(const EvalContext& ctx);

}  // namespace bevel::ops
