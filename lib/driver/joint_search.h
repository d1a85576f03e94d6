// From losses that were measured one group at a time to a choice that holds when all of it is measured together: the least cost whose drop is
// within what is allowed. Knows nothing of networks: what a choice does is asked for.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "lib/driver/exact_choice.h"

namespace bevel::driver {

// What a choice does when it is made.
struct JointMeasure {
  double drop = 0;                       // points
  std::vector<std::int64_t> excess;      // by limit, then the peak: how far above it the choice really is; empty: nowhere
};
using MeasureTogether = std::function<Result<JointMeasure>(const std::vector<std::size_t>& options)>;
using NameGroup = std::function<std::string(std::size_t group, std::size_t option)>;

struct JointSettings {
  double max_drop = 0;
  // Choices that are measured: by exact choice under a cost, by giving back precision, by taking more.
  int solves = 7, repairs = 4, takes = 4;
};

struct JointStep {
  std::string what;                      // "least loss within 12,345 B", "back to int8: conv1", "int4 too: conv2"
  std::int64_t cost = 0;
  double drop = 0;
  bool held = false, fits = true;
};

struct JointChoice {
  std::vector<std::size_t> options;
  double drop = 0;
  bool held = false;                     // the drop is within what is allowed; false: this is the least drop that was found
  std::vector<JointStep> steps;          // all that was measured, in order
  std::vector<bool> mended;              // by group: changed after the exact choice, by measuring together
  bool proven = true;                    // every exact choice that was asked for was proven
  double gap = 0;                        // of the losses: the largest that one was not
};

// limits[0] of the problem is the cost; its `most` is a bound like the others. `start` is tried first, as what usually holds. The cost is then
// bisected, each time with the least loss that it buys; from the cheapest choice that fails precision is given back where that gains
// most for its cost, and from the choice that holds it is taken where that loses least. A choice that turns out above a limit (what adds up is not
// all) is chosen anew with the limit lowered by what it was above. Exit 3 when no choice meets the limits.
Result<JointChoice> search_together(const ChoiceProblem& problem, const std::vector<std::size_t>& start, const MeasureTogether& measure,
                                    const NameGroup& name, const JointSettings& settings);

}  // namespace bevel::driver
