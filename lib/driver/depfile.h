// Which files an output was made from, for Make and Ninja.
#pragma once

#include <filesystem>
#include <vector>

#include "lib/support/result.h"

namespace bevel::driver {

// "target: a b c", escaped as Make wants it. Written atomically.
Status write_depfile(const std::filesystem::path& depfile, const std::filesystem::path& target,
                     const std::vector<std::filesystem::path>& dependencies);

}  // namespace bevel::driver
