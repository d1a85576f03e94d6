// --precision auto: which format each group of layers gets.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "lib/data/measure.h"
#include "lib/driver/quantize_leg.h"
#include "lib/ir/graph.h"
#include "lib/report/record.h"
#include "lib/support/result.h"
#include "lib/target/target.h"
#include "passes/recipe.h"

namespace bevel {
class WorkerPool;
}

namespace bevel::driver {

// The points of --max-drop when none are given.
constexpr double kSearchDrop = 1;

struct PrecisionRequest {
  passes::Recipe base;                     // what the search does not choose; a node whose precision it states keeps that
  data::Measure* measure = nullptr;        // has samples
  WorkerPool* pool = nullptr;
  BranchData branches;                     // as quantize_model takes it
  double max_drop = kSearchDrop;           // points
  // With a device: its memory limits the choice, and what the budget states.
  std::optional<target::Device> device;
  target::Budget budget;
  // Points that a quantized model loses where it is to be used, and what these are points of; without: of agreement with the float model's class
  // on the samples of `measure`, or, for outputs that are no scores, percent of relative noise.
  std::function<Result<double>(const Model&)> judge;
  std::string judged_by;
};

struct PrecisionChoice {
  passes::Recipe recipe;                   // `base` with what was chosen: it alone gives the model that was measured
  report::PrecisionRecord record;
};

// Formats of groups (precision_groups.h) are measured one group at a time, by what they add to the divergence of the outputs, the rest in int8. The exact
// choice (exact_choice.h) then gives the least of it for a cost, and the least cost whose drop holds when all is rounded and measured
// together is searched (joint_search.h). `model` is simplified and float. Exit 2 without samples, 3 where no choice meets the budget.
Result<PrecisionChoice> search_precision(const Model& model, const PrecisionRequest& request);

// For the record's notes: what was chosen and measured, and a line per group.
std::vector<std::string> describe(const report::PrecisionRecord& record);

}  // namespace bevel::driver
