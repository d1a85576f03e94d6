// Which files an output was made from, for Make and Ninja.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "lib/support/result.h"

namespace bevel::driver {

// The description itself and every file it names (globs expanded, sorted). A bare .npz: itself.
std::vector<std::filesystem::path> data_dependencies(const std::filesystem::path& description);
// "target: a b c", escaped as Make wants it. Written atomically.
Status write_depfile(const std::filesystem::path& depfile, const std::filesystem::path& target,
                     const std::vector<std::filesystem::path>& dependencies);

}  // namespace bevel::driver
