// ONNX's own operator tests (libonnx-testdata, or BEVEL_NODE_TESTS), each written in the opset before and the one after its own: where
// that is not refused, the outputs for the test's inputs keep their bits.
#include "tests/conformance/onnx_case.h"

#include <cstdio>
#include <map>

#include "lib/ir/verify.h"
#include "lib/ops/opset.h"

namespace {

using namespace bevel;
using namespace bevel::conformance;

const char* const kDefaultFolder = "/usr/share/libonnx-testdata/data/node";

struct Step {
  std::size_t same = 0;
  std::map<std::string, std::vector<std::string>> refused;  // by reason: the tests
};

Result<std::vector<Datum>> evaluate(const Model& model, const std::vector<Datum>& inputs) {
  BEVEL_TRY(const auto evaluator, eval::Evaluator::create(model));
  return evaluator->run(inputs);
}

bool same(const Tensor& a, const Tensor& b) { return a.same_bits(b); }
bool same(const Datum& a, const Datum& b) {
  if (a.value.index() != b.value.index()) return false;
  if (a.tensor() != nullptr) return same(*a.tensor(), *b.tensor());
  if (a.sequence() == nullptr) return true;  // absent, both
  return std::equal(a.sequence()->begin(), a.sequence()->end(), b.sequence()->begin(), b.sequence()->end(),
                    [](const auto& one, const auto& other) { return same(one, other); });
}

std::string difference(const std::vector<Datum>& got, const std::vector<Datum>& expected) {
  if (got.size() != expected.size()) return "another number of outputs";
  for (std::size_t i = 0; i < got.size(); ++i)
    if (!same(got[i], expected[i])) return fmt::format("output {} differs", i);
  return "";
}

// Reasons without the names and numbers of one model.
std::string common_reason(const std::string& message) {
  const auto colon = message.find(": ");
  return colon == message.npos ? message : message.substr(colon + 2);
}

}  // namespace

TEST_CASE("ONNX's node tests in the opsets beside their own") {
  const char* elsewhere = std::getenv("BEVEL_NODE_TESTS");
  const fs::path root = elsewhere ? elsewhere : kDefaultFolder;
  if (!fs::is_directory(root)) {
    std::printf("skipped: %s is absent (Debian package libonnx-testdata)\n", root.c_str());
    std::exit(77);
  }
  std::size_t evaluated = 0;
  Step up, down;
  std::vector<std::string> failures;
  for (const fs::path& folder : cases_beneath(root)) {
    const std::string name = folder.filename().string();
    auto model = onnx::import_model(folder / "model.onnx");
    if (!model || eval::cannot_evaluate(*model)) continue;
    const auto lifted = ops::upgrade_to_base(*model);
    if (!lifted || !*lifted || !ops::infer_types(*model)) continue;
    const auto inputs = read_data(folder / "test_data_set_0", "input", model->graph, model->graph.inputs());
    if (!inputs) continue;
    const auto expected = evaluate(*model, *inputs);
    if (!expected) continue;  // the table of node_tests_test says what does not evaluate
    ++evaluated;
    for (const std::int64_t target : {model->opset() + 1, model->opset() - 1}) {
      if (target > ops::kNewestOpset) continue;
      Step& step = target > model->opset() ? up : down;
      Model other = *model;
      if (const Status status = ops::convert_opset(other, target); !status) {
        step.refused[common_reason(status.error().message)].push_back(name);
        continue;
      }
      if (const Status verified = verify(other); !verified) {
        failures.push_back(fmt::format("{} in opset {}: {}", name, target, verified.error().message));
        continue;
      }
      const auto got = evaluate(other, *inputs);
      const std::string why = got ? difference(*got, *expected) : got.error().message;
      if (why.empty()) ++step.same;
      else failures.push_back(fmt::format("{} in opset {}: {}", name, target, why));
    }
  }
  std::printf("node tests that evaluate: %zu\n", evaluated);
  for (const auto& [label, step] : {std::pair<const char*, const Step&>("up", up), {"down", down}}) {
    std::size_t refused = 0;
    for (const auto& [reason, tests] : step.refused) refused += tests.size();
    std::printf("one opset %s: %zu the same, %zu refused\n", label, step.same, refused);
    for (const auto& [reason, tests] : step.refused) std::printf("  %4zu  %s (%s, ...)\n", tests.size(), reason.c_str(), tests[0].c_str());
  }
  for (const std::string& failure : failures) std::printf("  FAILED %s\n", failure.c_str());
  CHECK(failures.empty());
  // Most operators have one form for many opsets.
  CHECK(up.same > evaluated / 2);
  CHECK(down.same > evaluated / 2);
}
