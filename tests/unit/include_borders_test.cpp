// Who may include whom (docs/architecture.md). An include against the plan fails here, with its line.
#include <catch2/catch.hpp>

#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace {

namespace fs = std::filesystem;

const std::string kRoot = BEVEL_SOURCE_DIR;

// A room and the rooms that it may include; its own headers are always allowed. The runtime includes nothing of ours.
const std::map<std::string, std::set<std::string>> kMayInclude = {
    {"lib/support", {}},
    {"lib/ir", {"lib/support"}},
    {"lib/runtime", {}},
    {"lib/onnx", {"lib/ir", "lib/support"}},
    {"lib/images", {"lib/ir", "lib/support"}},
    {"lib/ops", {"lib/ir", "lib/support", "lib/runtime", "lib/images"}},
    {"lib/target", {"lib/support"}},
    {"lib/plan", {"lib/ops", "lib/ir", "lib/support", "lib/runtime", "lib/target"}},
    {"lib/eval", {"lib/plan", "lib/ops", "lib/ir", "lib/support", "lib/runtime", "lib/target"}},
    {"lib/emit", {"lib/plan", "lib/ops", "lib/ir", "lib/support", "lib/runtime", "lib/target"}},
    {"lib/data", {"lib/ir", "lib/support", "lib/images"}},
    {"lib/report", {"lib/support"}},
    {"passes", {"lib/ir", "lib/ops", "lib/support", "lib/data"}},
    {"calibration", {"lib/ir", "lib/ops", "lib/support", "lib/data", "lib/eval", "lib/plan", "lib/runtime"}},
    {"lib/driver",
     {"lib/support", "lib/ir", "lib/runtime", "lib/onnx", "lib/ops", "lib/target", "lib/plan", "lib/eval", "lib/emit", "lib/data",
      "lib/report", "passes", "calibration"}},
    {"tools/bevel", {"lib/driver", "lib/report", "lib/support"}},
};

struct Include {
  std::string file, header;
  int line = 0;
  bool quoted = false;
};

std::vector<Include> includes_of(const fs::path& file) {
  std::vector<Include> found;
  std::ifstream stream(file);
  std::string line;
  for (int number = 1; std::getline(stream, line); ++number) {
    const auto start = line.find_first_not_of(" \t");
    if (start == std::string::npos || line[start] != '#') continue;
    const auto word = line.find("include", start);
    if (word == std::string::npos || line.find_first_not_of(" \t", start + 1) != word) continue;
    const auto open = line.find_first_of("<\"", word);
    if (open == std::string::npos) continue;
    const auto close = line.find_first_of(">\"", open + 1);
    found.push_back({fs::relative(file, kRoot).string(), line.substr(open + 1, close - open - 1), number, line[open] == '"'});
  }
  return found;
}

std::vector<Include> all_includes(const std::string& room) {
  std::vector<Include> all;
  std::set<fs::path> files;
  for (const auto& entry : fs::recursive_directory_iterator(fs::path(kRoot) / room)) {
    const std::string extension = entry.path().extension().string();
    if (extension == ".h" || extension == ".c" || extension == ".cpp" || extension == ".def" || extension == ".inc")
      files.insert(entry.path());
  }
  for (const fs::path& file : files) {
    const auto more = includes_of(file);
    all.insert(all.end(), more.begin(), more.end());
  }
  return all;
}

// The room of a header given as "lib/ir/graph.h"; empty when it is none of ours.
std::string room_of(const std::string& header) {
  std::string best;
  for (const auto& [room, unused] : kMayInclude)
    if (header.rfind(room + "/", 0) == 0 && room.size() > best.size()) best = room;
  return best;
}

std::string at(const Include& include) {
  return include.file + ":" + std::to_string(include.line) + " includes " + include.header;
}

}  // namespace

TEST_CASE("rooms include only what the plan allows") {
  std::size_t seen = 0;
  for (const auto& [room, allowed] : kMayInclude) {
    for (const Include& include : all_includes(room)) {
      if (!include.quoted) continue;
      ++seen;
      const std::string other = room_of(include.header);
      INFO(at(include));
      // A quoted include names its file from the project's root, so that its room can be read off it.
      if (room != "lib/runtime") CHECK(fs::exists(fs::path(kRoot) / include.header));
      CHECK((other == room || other.empty() || allowed.contains(other)));
      if (room == "passes" && other == "lib/data")
        CHECK(include.header == "lib/data/measure.h");  // the Measure interface, not the readers
    }
  }
  CHECK(seen > 100);  // the test reads the tree that it means to read
}

TEST_CASE("heavy headers stay where they belong") {
  for (const auto& [room, unused] : kMayInclude)
    for (const Include& include : all_includes(room)) {
      INFO(at(include));
      const bool in_header = fs::path(include.file).extension() == ".h";
      const auto begins = [&](const char* prefix) { return include.header.rfind(prefix, 0) == 0; };
      if (begins("google/protobuf") || include.header.find(".pb.h") != std::string::npos) CHECK(false);
      if (begins("onnx/")) CHECK(false);  // a judge of tests; lib/onnx reads and writes the wire format itself
      if (begins("CLI/")) CHECK(include.file == "tools/bevel/cli.cpp");
      // Forward declarations are what a header may have instead.
      if ((begins("nlohmann/") || begins("Eigen/")) && include.header != "nlohmann/json_fwd.hpp") CHECK_FALSE(in_header);
      if (include.header == "iostream" || include.header == "regex") CHECK(false);
    }
}

TEST_CASE("the kernels are freestanding C") {
  const std::set<std::string> standard = {"stdint.h", "stddef.h", "string.h", "math.h", "immintrin.h", "arm_neon.h", "stdbool.h", "limits.h"};
  for (const Include& include : all_includes("lib/runtime")) {
    INFO(at(include));
    if (!include.quoted) CHECK(standard.contains(include.header));
  }
}
