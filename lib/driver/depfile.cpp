#include "lib/driver/depfile.h"

#include <glob.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "lib/support/atomic_file.h"

namespace bevel::driver {

namespace fs = std::filesystem;

namespace {

// "file.npz:key" and "file.csv:column" name the file before the last colon.
void add_files(const fs::path& folder, const std::string& reference, std::vector<fs::path>& files) {
  const std::string name = reference.substr(0, reference.rfind(':'));
  glob_t matches{};
  if (::glob((folder / name).c_str(), 0, nullptr, &matches) == 0)
    for (std::size_t i = 0; i < matches.gl_pathc; ++i) files.emplace_back(matches.gl_pathv[i]);
  ::globfree(&matches);
}

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

std::vector<fs::path> data_dependencies(const fs::path& description) {
  std::vector<fs::path> files{description};
  if (description.extension() != ".json") return files;
  std::ifstream stream(description);
  const nlohmann::json json = nlohmann::json::parse(stream, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return files;
  if (const auto inputs = json.find("inputs"); inputs != json.end() && inputs->is_object())
    for (const auto& input : *inputs)
      if (input.is_object() && input.contains("from") && input["from"].is_string())
        add_files(description.parent_path(), input["from"].get<std::string>(), files);
  if (const auto labels = json.find("labels"); labels != json.end() && labels->is_string())
    add_files(description.parent_path(), labels->get<std::string>(), files);
  std::sort(files.begin() + 1, files.end());
  files.erase(std::unique(files.begin() + 1, files.end()), files.end());
  return files;
}

Status write_depfile(const fs::path& depfile, const fs::path& target, const std::vector<fs::path>& dependencies) {
  std::string text = escaped(target) + ":";
  for (const fs::path& path : dependencies) text += " \\\n  " + escaped(path);
  return write_file_atomically(depfile, text + "\n");
}

}  // namespace bevel::driver
