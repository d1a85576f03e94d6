// Fixes that are tried before they are named.
#pragma once

#include <string>
#include <vector>

#include "lib/driver/explain.h"
#include "lib/driver/explain_causes.h"
#include "passes/quantize/side_branches.h"

namespace bevel::driver {

// Values of both models that are compared as outputs: by name, else by position.
std::vector<data::ValuePair> output_pairs(const Model& reference, const Model& model);
// The mean over outputs of their relative errors, on at most that many samples.
Result<double> output_error(data::Measure& judge, const Model& reference, const Model& model, std::optional<std::size_t> max_samples = {});

// In dB, from one such error to another.
double gain(double before, double after);
constexpr double kWorthALine = 0.1;  // dB at the outputs: less is noise of the samples

// Samples that a trial runs: enough to tell one choice from another.
constexpr std::size_t kTrialSamples = 64;

// Tries, for the layers of the record given by `order` (indices of branches.layers() and of record.layers alike), what could help, and fills
// in their fixes; then which of the best help together.
Status try_fixes(const Explained& explained, const passes::SideBranches& branches, const MeasuredValues& measured,
                 const std::vector<std::size_t>& order, report::ExplainRecord& record);

}  // namespace bevel::driver
