// ONNX's newest operator tests (opsets 1 to 28), of the pack beside the source or of BEVEL_NODE_TESTS: every one evaluates to its expected
// output, or stands in not_evaluated.txt with the reason. A test that fails and is not listed fails here, and so does one that is
// listed and passes. BEVEL_CONFORMANCE_TABLE names a file for one line per test (name, verdict, reason), for scripts/conformance.
#include <cstdio>
#include <fstream>
#include <map>

#include "tests/conformance/onnx_case.h"

namespace {

using namespace bevel;
using namespace bevel::conformance;

constexpr const char* kPack = "conformance/node_1802tests_onnx-6be0677.tar.xz";
constexpr std::size_t kTests = 1802, kMostListed = 42;  // at least 1760 evaluate

// Lines "test_name: reason"; # begins a comment.
std::map<std::string, std::string> listed_tests() {
  std::ifstream file(std::string(BEVEL_SOURCE_DIR) + "/tests/conformance/not_evaluated.txt");
  REQUIRE(file.good());
  std::map<std::string, std::string> listed;
  std::string previous;
  for (std::string line; std::getline(file, line);) {
    if (line.empty() || line[0] == '#') continue;
    const auto colon = line.find(": ");
    INFO(line);
    REQUIRE(colon != line.npos);
    REQUIRE(line.size() > colon + 2);
    const std::string name = line.substr(0, colon);
    CHECK(previous < name);  // sorted, and once each
    listed[name] = line.substr(colon + 2);
    previous = name;
  }
  return listed;
}

Verdict judge(const fs::path& folder) {
  const Verdict verdict = run_case(folder);
  if (verdict.kind == Verdict::passed && !compares_values(folder.filename().string()))
    return {Verdict::not_claimed, "random: shape and element type are right, values are not compared"};
  return verdict;
}

}  // namespace

TEST_CASE("what of ONNX's operator tests does not evaluate is listed, with its reason") {
  const char* elsewhere = std::getenv("BEVEL_NODE_TESTS");
  const Pack pack(elsewhere ? fs::path() : shared_folder() / kPack);
  const fs::path root = elsewhere ? fs::path(elsewhere) : pack.folder();
  if (root.empty() || !fs::is_directory(root)) {
    std::printf("skipped: %s is absent from the shared models\n", kPack);
    std::exit(77);
  }
  const std::map<std::string, std::string> listed = listed_tests();
  CHECK(listed.size() <= kMostListed);
  const std::vector<fs::path> folders = cases_beneath(root);
  const char* table_path = std::getenv("BEVEL_CONFORMANCE_TABLE");
  std::ofstream table;
  if (table_path) table.open(table_path);
  std::size_t passed = 0, found = 0;
  std::vector<std::string> missing, wrong;
  for (const fs::path& folder : folders) {
    const std::string name = folder.filename().string();
    const auto entry = listed.find(name);
    const Verdict verdict = judge(folder);
    const bool passes = verdict.kind == Verdict::passed;
    if (passes) ++passed;
    if (entry != listed.end()) ++found;
    if (!passes && entry == listed.end()) missing.push_back(name + ": " + verdict.reason);
    if (passes && entry != listed.end()) wrong.push_back(name);
    const char* word = passes ? "passed" : entry != listed.end() ? "listed" : "failed";
    if (table_path) table << name << '\t' << word << '\t' << (entry != listed.end() ? entry->second : verdict.reason) << '\n';
  }
  std::printf("node tests: %zu   passed: %zu   listed: %zu\n", folders.size(), passed, listed.size());
  for (const std::string& line : missing) std::printf("  NOT LISTED %s\n", line.c_str());
  for (const std::string& line : wrong) std::printf("  LISTED, BUT IT PASSES %s\n", line.c_str());
  CHECK(missing.empty());
  CHECK(wrong.empty());
  // Names that no test has; another folder than the whole pack need not have them all.
  if (folders.size() == kTests) CHECK(found == listed.size());
  if (!elsewhere) CHECK(folders.size() == kTests);
}
