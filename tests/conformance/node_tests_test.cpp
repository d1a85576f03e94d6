// ONNX's own operator tests (libonnx-testdata, node/*): import, upgrade, evaluate, compare as ONNX's backend runner does
// (onnx/backend/test/runner: rtol 1e-3, atol 1e-7 unless a test states its own; integers exactly). Prints what ran, what passed
// and what is not claimed and why; any failure of a claimed test fails. Claimed means: the model loads, every operator
// has an evaluation in the model's opset, and the data are tensors.
//
// BEVEL_NODE_TESTS names another folder of the same form (ONNX's newest tests, say).
#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "lib/eval/evaluator.h"
#include "lib/onnx/onnx.h"
#include "lib/ops/op.h"

namespace {

using namespace bevel;
namespace fs = std::filesystem;

constexpr double kRelative = 1e-3, kAbsolute = 1e-7;
// ONNX's runner compares bfloat16 results as the integers of their bits, where 1e-3 lets one step pass; libonnx-testdata's own
// were truncated, which the spec has since replaced by rounding.
constexpr double kRelativeBFloat16 = 0x1p-7;
const char* const kDefaultFolder = "/usr/share/libonnx-testdata/data/node";

// An inverse transform's zeros carry the rounding of the float32 arithmetic that made the data: 2e-7 beside a signal of 1.
double absolute_tolerance(const std::string& name) {
  return name.rfind("test_dft_inverse", 0) == 0 ? 1e-6 : kAbsolute;
}

// libonnx-testdata computed test_adam_multiple with an epsilon that its model does not state; ONNX has mended it since.
bool contradicts_itself(const std::string& name, const Graph& graph) {
  if (name != "test_adam_multiple") return false;
  const std::vector<NodeId> order = graph.node_order();
  return std::none_of(order.begin(), order.end(), [&](NodeId id) { return graph.node(id).attribute("epsilon") != nullptr; });
}

// What no run of a claimed operator can give, and why; empty: a failure.
std::string run_obstacle(const std::string& message) {
  if (message.find("training mode") != message.npos) return "training mode";
  if (message.find("; Bevel decodes ") != message.npos) return "no codec for WebP, TIFF and JPEG 2000";
  return "";
}

// Tests whose outputs are random, so that only shape and dtype can be right. Named by ONNX, not by what Bevel can do.
bool compares_values(const std::string& name) {
  return name.find("random") == name.npos && name.find("bernoulli") == name.npos;
}

struct Verdict {
  enum Kind { passed, failed, not_claimed } kind = passed;
  std::string reason;
};

std::string first_difference(const Tensor& got, const Tensor& expected, double absolute) {
  if (got.dtype() != expected.dtype()) {
    return fmt::format("element type {}, expected {}", dtype_name(got.dtype()), dtype_name(expected.dtype()));
  }
  if (got.dims() != expected.dims()) {
    return fmt::format("{}, expected {}", to_string(Type::tensor(got.dtype(), got.dims())),
                       to_string(Type::tensor(expected.dtype(), expected.dims())));
  }
  if (got.dtype() == DType::string) return got.strings() == expected.strings() ? "" : "strings differ";
  if (!is_floating(got.dtype())) return got.same_bits(expected) ? "" : "integers differ";
  const double relative = got.dtype() == DType::bfloat16 ? kRelativeBFloat16 : kRelative;
  for (std::int64_t i = 0; i < got.size(); ++i) {
    const double a = got.as_double(i), b = expected.as_double(i);
    if (std::isnan(a) && std::isnan(b)) continue;
    if (a == b) continue;
    if (!(std::fabs(a - b) <= absolute + relative * std::fabs(b))) {
      return fmt::format("element {} is {}, expected {}", i, a, b);
    }
  }
  return "";
}

// input_0.pb, input_1.pb, ... of one data set.
Result<std::vector<Tensor>> read_tensors(const fs::path& folder, const std::string& stem) {
  std::vector<Tensor> tensors;
  for (int i = 0;; ++i) {
    const fs::path path = folder / fmt::format("{}_{}.pb", stem, i);
    if (!fs::exists(path)) return tensors;
    BEVEL_TRY(Tensor tensor, onnx::read_tensor_proto(path));
    tensors.push_back(std::move(tensor));
  }
}

bool only_tensors(const Model& model) {
  for (const auto* list : {&model.graph.inputs(), &model.graph.outputs()}) {
    for (ValueId id : *list) {
      const Type::Kind kind = model.graph.value(id).type.kind;
      if (kind != Type::Kind::tensor && kind != Type::Kind::unknown) return false;
    }
  }
  return true;
}

// libonnx-testdata stores bfloat16 data as uint16 of the same bits.
Tensor as_declared(const Tensor& tensor, const Type& declared) {
  if (tensor.dtype() != DType::uint16 || !declared.is_tensor() || declared.dtype != DType::bfloat16) return tensor;
  return Tensor::from_bytes(DType::bfloat16, tensor.dims(), tensor.bytes());
}

// A few tests state data that contradict their own model.
bool fits(const Tensor& tensor, const Type& declared) {
  if (!declared.is_tensor()) return true;
  if (declared.dtype != tensor.dtype()) return false;
  const Shape& shape = declared.shape;
  if (shape.has_rank && shape.rank() != tensor.rank()) return false;
  for (std::size_t i = 0; i < shape.rank(); ++i) {
    if (shape.dims[i].known() && shape.dims[i].value != tensor.dim(i)) return false;
  }
  return true;
}

// The reason in a form that many tests share.
std::string unclaimed_reason(const Model& model, const std::string& obstacle) {
  if (obstacle.find("opset") != obstacle.npos && obstacle.find("node '") == obstacle.npos) {
    return fmt::format("opset {}", model.opset());
  }
  const auto at = obstacle.find("the operator '");
  if (at != obstacle.npos) {
    const auto begin = at + 14, end = obstacle.find('\'', begin);
    return "no evaluation of " + obstacle.substr(begin, end - begin);
  }
  return obstacle;
}

Verdict run_case(const fs::path& folder) {
  const auto imported = onnx::import_model(folder / "model.onnx");
  if (!imported) return {Verdict::failed, "import: " + imported.error().message};
  if (contradicts_itself(folder.filename().string(), imported->graph)) {
    return {Verdict::not_claimed, "data that contradict the model's attributes"};
  }
  if (!only_tensors(*imported)) return {Verdict::not_claimed, "sequence or optional types"};
  if (const auto obstacle = eval::cannot_evaluate(*imported)) {
    return {Verdict::not_claimed, unclaimed_reason(*imported, *obstacle)};
  }
  const auto evaluator = eval::Evaluator::create(*imported);
  if (!evaluator) return {Verdict::failed, "create: " + evaluator.error().message};
  for (int set = 0;; ++set) {
    const fs::path data = folder / fmt::format("test_data_set_{}", set);
    if (!fs::exists(data)) return set > 0 ? Verdict{} : Verdict{Verdict::not_claimed, "no data"};
    const auto inputs = read_tensors(data, "input"), outputs = read_tensors(data, "output");
    if (!inputs || !outputs) return {Verdict::failed, "data: " + (inputs ? outputs : inputs).error().message};
    const Graph& graph = (*evaluator)->model().graph;
    std::vector<Datum> given;
    for (std::size_t i = 0; i < inputs->size() && i < graph.inputs().size(); ++i) {
      const Type& declared = imported->graph.value(imported->graph.inputs()[i]).type;
      given.emplace_back(as_declared((*inputs)[i], declared));
      if (!fits(*given.back().tensor(), declared)) return {Verdict::not_claimed, "data that contradict the model's inputs"};
    }
    const auto results = (*evaluator)->run(given);
    if (!results) {
      const std::string obstacle = run_obstacle(results.error().message);
      return {obstacle.empty() ? Verdict::failed : Verdict::not_claimed,
              obstacle.empty() ? "run: " + results.error().message : obstacle};
    }
    if (results->size() != outputs->size()) {
      return {Verdict::failed, fmt::format("{} outputs, expected {}", results->size(), outputs->size())};
    }
    for (std::size_t i = 0; i < outputs->size(); ++i) {
      const Tensor* got = (*results)[i].tensor();
      if (!got) return {Verdict::failed, fmt::format("output {} is no tensor", i)};
      if (!compares_values(folder.filename().string())) {
        if (got->dims() != (*outputs)[i].dims()) return {Verdict::failed, "shape differs"};
        continue;
      }
      const Tensor expected = as_declared((*outputs)[i], Type::tensor(got->dtype(), got->dims()));
      const std::string difference = first_difference(*got, expected, absolute_tolerance(folder.filename().string()));
      if (!difference.empty()) return {Verdict::failed, fmt::format("output {}: {}", i, difference)};
    }
  }
}

}  // namespace

TEST_CASE("ONNX's node tests") {
  const char* elsewhere = std::getenv("BEVEL_NODE_TESTS");
  const fs::path root = elsewhere ? elsewhere : kDefaultFolder;
  if (!fs::is_directory(root)) {
    std::printf("skipped: %s is absent (Debian package libonnx-testdata)\n", root.c_str());
    std::exit(77);
  }
  std::vector<fs::path> folders;
  for (const auto& entry : fs::directory_iterator(root)) {
    if (fs::exists(entry.path() / "model.onnx")) folders.push_back(entry.path());
  }
  std::sort(folders.begin(), folders.end());
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
  CHECK(passed > folders.size() / 2);
}
