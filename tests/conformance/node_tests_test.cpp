// ONNX's own operator tests (libonnx-testdata, node/*): import, upgrade, evaluate, compare as ONNX's backend runner does
// (onnx_case.h). Prints what ran, what passed and what is not claimed and why; any failure of a claimed test fails. Claimed means:
// the model loads, and every operator has an evaluation in the model's opset.
//
// BEVEL_NODE_TESTS names another folder of the same form (ONNX's newest tests, say); BEVEL_NODE_FILTER runs those with it in
// their name only.
#include "tests/conformance/onnx_case.h"

#include <cstdio>
#include <map>

namespace {

using namespace bevel;
using namespace bevel::conformance;

const char* const kDefaultFolder = "/usr/share/libonnx-testdata/data/node";

}  // namespace

TEST_CASE("ONNX's node tests") {
  const char* elsewhere = std::getenv("BEVEL_NODE_TESTS");
  const char* filter = std::getenv("BEVEL_NODE_FILTER");
  const fs::path root = elsewhere ? elsewhere : kDefaultFolder;
  if (!fs::is_directory(root)) {
    std::printf("skipped: %s is absent (Debian package libonnx-testdata)\n", root.c_str());
    std::exit(77);
  }
  std::vector<fs::path> folders = cases_beneath(root);
  if (filter) std::erase_if(folders, [&](const fs::path& folder) { return folder.filename().string().find(filter) == std::string::npos; });
  REQUIRE(!folders.empty());
  std::size_t passed = 0;
  std::map<std::string, std::size_t> unclaimed;
  std::vector<std::string> failures;
  for (const fs::path& folder : folders) {
    const Verdict verdict = run_case(folder);
    if (verdict.kind == Verdict::passed) ++passed;
    else if (verdict.kind == Verdict::not_claimed) ++unclaimed[verdict.reason];
    else failures.push_back(fmt::format("{}: {}", folder.filename().string(), verdict.reason));
  }
  std::size_t not_claimed = 0;
  for (const auto& [reason, count] : unclaimed) not_claimed += count;
  std::printf("node tests: %zu   run: %zu   passed: %zu   failed: %zu   not claimed: %zu\n", folders.size(),
              folders.size() - not_claimed, passed, failures.size(), not_claimed);
  std::vector<std::pair<std::size_t, std::string>> by_count;
  for (const auto& [reason, count] : unclaimed) by_count.emplace_back(count, reason);
  std::sort(by_count.begin(), by_count.end(), [](const auto& a, const auto& b) {
    return a.first != b.first ? a.first > b.first : a.second < b.second;
  });
  for (const auto& [count, reason] : by_count) std::printf("  not claimed %4zu  %s\n", count, reason.c_str());
  for (const std::string& failure : failures) std::printf("  FAILED %s\n", failure.c_str());
  CHECK(failures.empty());
  // A runner that claims nothing would pass everything; these families are the ones that models need most.
  if (!filter) CHECK(passed > folders.size() / 2);
}
