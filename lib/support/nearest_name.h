// "Did you mean ...": the known name nearest to a mistyped one.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace bevel {

// The candidate with the least edit distance (Levenshtein, 1966), the first of equals; empty when none is near enough to
// be a slip of the keyboard (more than a third of the longer name differs).
std::string_view nearest_name(std::string_view wanted, std::span<const std::string_view> candidates);
// " (did you mean 'x'?)" or nothing.
std::string suggestion(std::string_view wanted, std::span<const std::string_view> candidates);

}  // namespace bevel
