// Range "auto": the candidate grid that errs least where the values are used.
#pragma once

#include <vector>

#include "lib/data/measure.h"
#include "lib/ir/graph.h"
#include "lib/ops/facts.h"
#include "passes/quantize/scales.h"
#include "passes/quantize/selection.h"

namespace bevel::passes {

// Operands whose rows ConsumerErrors looks at: of every integer product with constant weights.
std::vector<data::OperandKey> rows_to_measure(const Graph& graph, const std::vector<ops::Facts>& facts, const Selection& selection);

// The error of a grid at its consumers, each relative to the energy of what it computes: of a product with constant weights W, that of W x over
// measured rows x (of random combinations of its channels where there are many); of any other reader and of a graph output, that of the
// value itself, from its histogram. Their sum is what candidates are compared by.
class ConsumerErrors {
 public:
  // `mean_corrected`: the mean error of each channel does not count, because biases will take it away.
  ConsumerErrors(const Model& model, const std::vector<ops::Facts>& facts, const Selection& selection,
                 const data::Statistics& statistics, bool mean_corrected)
      : model_(model), facts_(facts), selection_(selection), statistics_(statistics), mean_corrected_(mean_corrected) {}
  // The index of the best of the `candidates` (at least one) for a component whose merged statistics are `merged`; the first of equals.
  [[nodiscard]] std::size_t best(const Component& component, const data::ValueStatistics& merged,
                                 const std::vector<ScaleZeroPoint>& candidates, const ActivationFormat& format) const;

 private:
  const Model& model_;
  const std::vector<ops::Facts>& facts_;
  const Selection& selection_;
  const data::Statistics& statistics_;
  bool mean_corrected_;
};

}  // namespace bevel::passes
