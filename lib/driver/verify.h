// Executions of the same network side by side, on the same samples.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "lib/driver/runnable.h"
#include "lib/driver/samples.h"
#include "lib/report/record.h"

namespace bevel::driver {

struct Measured {
  std::vector<std::vector<report::OutputComparison>> pairs;  // one per pair asked for, one row per output
  std::string metric;                                        // empty: no labels
  std::vector<double> metrics;                               // one per runnable, when there are labels
  std::size_t left_out = 0;                                  // samples on which the first runnable does not run
  std::string why_left_out;                                  // of the first such sample
};

// Samples that nobody chose may be none that the first runnable takes (an index out of range, ...): those then say nothing of the others.
enum class Refused : std::uint8_t { is_error, is_left_out };

// Runs every runnable on every sample (inputs matched by name, else by position); `pairs` are (reference, test) indices whose outputs
// are compared, matched by name, else by position. Sums run in sample order, whatever the thread count. Exit 5 when inputs
// or outputs do not correspond.
Result<Measured> measure_side_by_side(const std::vector<const Runnable*>& runnables,
                                      const std::vector<std::pair<std::size_t, std::size_t>>& pairs,
                                      const data::Dataset& dataset, WorkerPool& pool, const std::string& label,
                                      Refused refused = Refused::is_error);

// Points lost by `test` against `reference`: percent for top-k, 100 x for auc, relative percent for mse (lower is better); never
// negative zero. Without a metric the caller uses 100 - agreement.
double drop_in_points(const std::string& metric, double reference, double test);

constexpr std::size_t kLayerSamples = 16;  // enough to rank layers, cheap beside verification

// SQNR in dB of each quantized layer's output in `quantized` against the value of the same name in `reference`, by anchor
// node name; on the first `samples` of the data. Layers whose float counterpart was renamed away are left out.
Result<std::map<std::string, double>> layer_sqnr(const Model& reference, const Model& quantized, const data::Dataset& dataset,
                                                 std::size_t samples, WorkerPool& pool, const Bounds& bounds = {});

}  // namespace bevel::driver
