// What Bevel has: targets, passes.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "lib/report/record.h"
#include "lib/support/result.h"

namespace bevel::driver {

// All bundled devices, or the one named (a path is accepted too).
Result<std::vector<report::TargetRow>> targets(const std::optional<std::string>& name);
std::vector<report::PassRow> passes_table();

}  // namespace bevel::driver
