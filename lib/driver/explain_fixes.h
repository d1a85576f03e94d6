// Fixes that are tried before they are named.
#pragma once

#include <vector>

#include "lib/driver/explain.h"
#include "lib/driver/explain_causes.h"
#include "passes/quantize/side_branches.h"

namespace bevel::driver {

// In dB, from one error of the outputs to another.
double gain(double before, double after);
constexpr double kWorthALine = 0.1;  // dB at the outputs: less is noise of the samples

// Tries, for the layers of the record given by `order` (indices of branches.layers() and of record.layers alike), what could help, and fills
// in their fixes; then which of the best help together.
Status try_fixes(const Explained& explained, const passes::SideBranches& branches, const MeasuredValues& measured,
                 const std::vector<std::size_t>& order, report::ExplainRecord& record);

}  // namespace bevel::driver
