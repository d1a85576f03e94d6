// Files that something from outside names, opened beneath one folder.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "lib/support/result.h"

namespace bevel {

// A folder beneath which files are opened that something from outside names: a model's external data, a description's samples.
struct FileRoot {
  std::filesystem::path folder;
  // Folders that links out of `folder` may lead into (caches made of links); files there may be hard links, too.
  std::vector<std::filesystem::path> allowed;
};

// Opens `relative` beneath the root's folder without following links: no absolute path, no "..", no symbolic link in any component,
// regular files with one name only (a second hard link could be that of any file). What a link leads to is opened where it lies
// beneath an allowed folder. The descriptor is the caller's to close: what is checked and what is read is one file.
Result<int> open_beneath(const FileRoot& root, const std::string& relative);

}  // namespace bevel
