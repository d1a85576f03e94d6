// --precision auto: which layers can have 4-bit weights.
#pragma once

#include <string>
#include <vector>

#include "lib/data/measure.h"
#include "lib/ir/graph.h"
#include "lib/support/result.h"
#include "passes/recipe.h"

namespace bevel {
class WorkerPool;
}

namespace bevel::driver {

// What the search found of one layer, most worthwhile first.
struct LayerPrecision {
  std::string node;
  bool narrow = false;            // got 4 bits
  std::int64_t saved_bytes = 0;   // by 4 bits
  double cost = 0;                // what 4 bits in this layer alone add to the error of the outputs
};

struct PrecisionChoice {
  passes::Recipe recipe;          // `base`, the chosen layers of which have "precision": "int4"
  std::vector<LayerPrecision> layers;
  double drop = 0;                // as measured on the samples, of what was chosen
};

// The error of each layer alone in 4 bits is measured at the outputs, the rest in 8 (KL divergence summed over samples; for outputs that are no
// scores, relative noise); layers are taken in the order of error per byte saved, as many as keep the drop, measured on all of them together after
// their weights were rounded together, within `max_drop` points: of agreement with the float model's class on the samples, or, for outputs that
// are no scores, percent of relative noise. `model` is simplified and float. Exit 2 without samples.
Result<PrecisionChoice> search_precision(const Model& model, const passes::Recipe& base, data::Measure& measure, WorkerPool* pool,
                                         double max_drop);

// For the record's notes: what was chosen, and a line per layer.
std::vector<std::string> describe(const PrecisionChoice& choice);
// The points of --max-drop when none are given.
constexpr double kSearchDrop = 1;

}  // namespace bevel::driver
