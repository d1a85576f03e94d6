// Why a layer errs, from what was measured of it.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "lib/data/measure.h"
#include "lib/ir/graph.h"
#include "lib/report/record.h"
#include "passes/quantize/side_branches.h"

namespace bevel::driver {

// What is known of the float model's values, by name.
struct MeasuredValues {
  std::map<std::string, data::ValueStatistics> values;
  std::map<std::string, std::vector<data::ChannelStatistics>> channels;
  // Everything that is rounded, with what to; the results of layers first.
  struct Rounded {
    std::string value;
    passes::Rounding rounding;
  };
  std::vector<Rounded> rounded;
};

// Errors relative to the energy of the float value.
struct LayerErrors {
  double alone = 0, accumulated = 0;
  std::optional<double> weights;               // with the integer weights alone
  std::vector<data::Difference> alone_samples;
};

double decibels_of(double relative_error);  // +inf where it is 0

// The error of a sum of resampled samples, as SQNR: the 5th and 95th of 100 parts. Seeded: the same each time.
struct SqnrInterval {
  double low = 0, high = 0;
};
SqnrInterval bootstrap(const std::vector<data::Difference>& samples);

// The main cause first. `model`: the quantized one, whose stored weights are read.
std::vector<report::ExplainCause> causes_of(const passes::ComparedLayer& layer, const LayerErrors& errors, const MeasuredValues& measured,
                                            const Model& model);

}  // namespace bevel::driver
