#include "lib/driver/depfile.h"

#include "lib/support/atomic_file.h"

namespace bevel::driver {

namespace fs = std::filesystem;

namespace {

std::string escaped(const fs::path& path) {
  std::string out;
  for (const char c : path.string()) {
    if (c == '$') out += '$';
    if (c == ' ' || c == '#' || c == '\\') out += '\\';
    out += c;
  }
  return out;
}

}  // namespace

Status write_depfile(const fs::path& depfile, const fs::path& target, const std::vector<fs::path>& dependencies) {
  std::string text = escaped(target) + ":";
  for (const fs::path& path : dependencies) text += " \\\n  " + escaped(path);
  return write_file_atomically(depfile, text + "\n");
}

}  // namespace bevel::driver
