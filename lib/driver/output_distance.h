// How far one model's outputs are from another's, on a Measure's samples: the one measure of trials.
#pragma once

#include <optional>
#include <vector>

#include "lib/data/measure.h"
#include "lib/ir/graph.h"
#include "lib/support/result.h"

namespace bevel::driver {

// Samples that a trial runs: enough to tell one choice from another.
constexpr std::size_t kTrialSamples = 64;

// Values of both models that are compared as outputs: by name, else by position. Outputs that are no floats are left out.
std::vector<data::ValuePair> output_pairs(const Model& reference, const Model& model);

struct OutputDistance {
  double noise = 0;       // the mean over outputs of |y - reference|^2 / |reference|^2
  // Summed over outputs: the KL divergence of a row of scores from the reference's, a mean; of outputs that are no scores, the relative noise.
  double divergence = 0;
  double drop = 0;        // points, of the worst output: rows with another class; of outputs that are no scores, percent of relative noise
};
// On at most that many samples. Exit 5 where no output is a float tensor.
Result<OutputDistance> output_distance(data::Measure& judge, const Model& reference, const Model& model,
                                       std::optional<std::size_t> max_samples = {});

// OutputDistance::noise.
Result<double> output_error(data::Measure& judge, const Model& reference, const Model& model, std::optional<std::size_t> max_samples = {});

}  // namespace bevel::driver
