// A plan's cost against a budget, and what a person can do about a missed one.
#pragma once

#include <string>
#include <vector>

#include "lib/plan/program.h"
#include "lib/report/record.h"
#include "lib/support/result.h"
#include "lib/target/target.h"

namespace bevel::driver {

// Exit 2 when a stated RAM or flash limit is more than the device has: it could be met there and the network still not fit.
Status check_stated(const target::Budget& stated, const target::Device& device);

// Fills the record's sizes, cost, layers, budget rows, peak and weights. Returns true when every budget is met; otherwise the
// record's messages hold one paragraph per missed budget. Where only the user's own RAM or flash limit is in the way they say so;
// otherwise target_that_fits is the smallest known device that meets the user's limits and has the memory (empty: none).
Result<bool> judge_budget(const plan::Program& program, const target::Device& device, const target::Budget& stated,
                          report::CompileRecord& record);

}  // namespace bevel::driver
