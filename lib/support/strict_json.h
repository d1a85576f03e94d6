// JSON from files that nobody vouches for: no duplicate key, no trailing text, a size cap, errors with line and column.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "lib/support/result.h"

namespace bevel {

// Refuses text beyond `max_bytes`, nesting deeper than 64, and an object with the same key twice. Exit code: input.
Result<nlohmann::json> parse_strict_json(std::string_view text, const std::string& name,
                                         std::size_t max_bytes = std::size_t{16} << 20);

}  // namespace bevel
