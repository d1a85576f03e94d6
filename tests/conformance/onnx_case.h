// One test of ONNX's backend suite: a folder with model.onnx and test_data_set_*/{input,output}_*.pb, or the packs of them that lie
// beside the source (BEVEL_SHARED, default ../shared).
#pragma once

#include <catch2/catch.hpp>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "lib/eval/evaluator.h"
#include "lib/onnx/onnx.h"
#include "lib/ops/op.h"

namespace bevel::conformance {

namespace fs = std::filesystem;

// As ONNX's backend runner compares (onnx/backend/test/runner): integers exactly.
constexpr double kRelative = 1e-3, kAbsolute = 1e-7;
// ONNX's runner compares bfloat16 results as the integers of their bits, where 1e-3 lets one step pass; libonnx-testdata's own
// were truncated, which the spec has since replaced by rounding.
constexpr double kRelativeBFloat16 = 0x1p-7;

// Tests whose outputs are random, so that only shape and dtype can be right (ONNX's own runner leaves them out, too). Other names with
// "random" in them mean random inputs.
inline bool compares_values(const std::string& name) { return name.find("bernoulli") == name.npos; }

// An inverse transform's zeros carry the rounding of the float32 arithmetic that made the data: 2e-7 beside a signal of 1.
inline double absolute_tolerance(const std::string& name) {
  return name.rfind("test_dft_inverse", 0) == 0 ? 1e-6 : kAbsolute;
}

// libonnx-testdata computed test_adam_multiple with an epsilon that its model does not state; ONNX has mended it since.
inline bool contradicts_itself(const std::string& name, const Graph& graph) {
  if (name != "test_adam_multiple") return false;
  const std::vector<NodeId> order = graph.node_order();
  return std::none_of(order.begin(), order.end(), [&](NodeId id) { return graph.node(id).attribute("epsilon") != nullptr; });
}

// What no run of a claimed operator can give, and why; empty: a failure.
inline std::string run_obstacle(const std::string& message) {
  if (message.find("training mode") != message.npos) return "training mode";
  if (message.find("; Bevel decodes ") != message.npos) return "no codec for WebP, TIFF and JPEG 2000";
  return "";
}

inline std::string first_difference(const Tensor& got, const Tensor& expected, double absolute = kAbsolute) {
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

// libonnx-testdata stores bfloat16 data as uint16 of the same bits.
inline Tensor as_dtype(const Tensor& tensor, DType dtype) {
  if (tensor.dtype() != DType::uint16 || dtype != DType::bfloat16) return tensor;
  return Tensor::from_bytes(DType::bfloat16, tensor.dims(), tensor.bytes());
}

inline std::string first_difference(const Datum& got, const Datum& expected, bool values = true, double absolute = kAbsolute) {
  if (got.value.index() != expected.value.index()) return "another kind of value (absent, tensor, sequence)";
  if (const Tensor* tensor = got.tensor()) {
    const Tensor wanted = as_dtype(*expected.tensor(), tensor->dtype());
    if (values) return first_difference(*tensor, wanted, absolute);
    return tensor->dims() == wanted.dims() && tensor->dtype() == wanted.dtype() ? "" : "shape or element type differs";
  }
  const Sequence* sequence = got.sequence();
  if (sequence == nullptr) return "";
  const Sequence& wanted = *expected.sequence();
  if (sequence->size() != wanted.size()) return fmt::format("{} elements, expected {}", sequence->size(), wanted.size());
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    const std::string difference = first_difference((*sequence)[i], wanted[i], values, absolute);
    if (!difference.empty()) return fmt::format("in element {}: {}", i, difference);
  }
  return "";
}

// input_0.pb, input_1.pb, ... (or output_*) of one data set, read as the types of `values` say.
inline Result<std::vector<Datum>> read_data(const fs::path& folder, const std::string& stem, const Graph& graph,
                                            const std::vector<ValueId>& values) {
  std::vector<Datum> data;
  for (std::size_t i = 0;; ++i) {
    const fs::path path = folder / fmt::format("{}_{}.pb", stem, i);
    if (!fs::exists(path)) return data;
    const Type type = i < values.size() ? graph.value(values[i]).type : Type();
    BEVEL_TRY(Datum datum, onnx::read_value_proto(path, type));
    if (const Tensor* tensor = datum.tensor(); tensor != nullptr && type.is_tensor()) datum = as_dtype(*tensor, type.dtype);
    data.push_back(std::move(datum));
  }
}

// A few tests state data that contradict their own model.
inline bool fits(const Datum& datum, const Type& declared) {
  const Tensor* tensor = datum.tensor();
  if (!declared.is_tensor() || tensor == nullptr) return true;
  if (declared.dtype != tensor->dtype()) return false;
  const Shape& shape = declared.shape;
  if (shape.has_rank && shape.rank() != tensor->rank()) return false;
  for (std::size_t i = 0; i < shape.rank(); ++i) {
    if (shape.dims[i].known() && shape.dims[i].value != tensor->dim(i)) return false;
  }
  return true;
}

struct Verdict {
  enum Kind { passed, failed, not_claimed } kind = passed;
  std::string reason;
};

// The reason in a form that many tests share.
inline std::string unclaimed_reason(const Model& model, const std::string& obstacle) {
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

// Import, upgrade, evaluate on every data set, compare.
inline Verdict run_case(const fs::path& folder) {
  const auto imported = onnx::import_model(folder / "model.onnx");
  if (!imported) return {Verdict::failed, "import: " + imported.error().message};
  const std::string name = folder.filename().string();
  if (contradicts_itself(name, imported->graph)) return {Verdict::not_claimed, "data that contradict the model's attributes"};
  if (const auto obstacle = eval::cannot_evaluate(*imported)) {
    return {Verdict::not_claimed, unclaimed_reason(*imported, *obstacle)};
  }
  const auto evaluator = eval::Evaluator::create(*imported);
  if (!evaluator) return {Verdict::failed, "create: " + evaluator.error().message};
  const Graph& graph = imported->graph;
  std::vector<ValueId> fed;
  for (const ValueId id : graph.inputs())
    if (!graph.value(id).constant) fed.push_back(id);
  for (int set = 0;; ++set) {
    const fs::path data = folder / fmt::format("test_data_set_{}", set);
    if (!fs::exists(data)) return set > 0 ? Verdict{} : Verdict{Verdict::not_claimed, "no data"};
    const auto inputs = read_data(data, "input", graph, fed);
    const auto outputs = read_data(data, "output", graph, graph.outputs());
    if (!inputs || !outputs) return {Verdict::failed, "data: " + (inputs ? outputs : inputs).error().message};
    for (std::size_t i = 0; i < inputs->size() && i < fed.size(); ++i) {
      if (!fits((*inputs)[i], graph.value(fed[i]).type)) return {Verdict::not_claimed, "data that contradict the model's inputs"};
    }
    const auto results = (*evaluator)->run(*inputs);
    if (!results) {
      const std::string obstacle = run_obstacle(results.error().message);
      return {obstacle.empty() ? Verdict::failed : Verdict::not_claimed,
              obstacle.empty() ? "run: " + results.error().message : obstacle};
    }
    if (results->size() != outputs->size()) {
      return {Verdict::failed, fmt::format("{} outputs, expected {}", results->size(), outputs->size())};
    }
    for (std::size_t i = 0; i < outputs->size(); ++i) {
      const std::string difference =
          first_difference((*results)[i], (*outputs)[i], compares_values(name), absolute_tolerance(name));
      if (!difference.empty()) return {Verdict::failed, fmt::format("output {}: {}", i, difference)};
    }
  }
}

// Folders with a model.onnx, at any depth, sorted.
inline std::vector<fs::path> cases_beneath(const fs::path& root) {
  std::vector<fs::path> folders;
  for (const auto& entry : fs::recursive_directory_iterator(root)) {
    if (entry.path().filename() == "model.onnx") folders.push_back(entry.path().parent_path());
  }
  std::sort(folders.begin(), folders.end());
  return folders;
}

inline fs::path shared_folder() {
  const char* set = std::getenv("BEVEL_SHARED");
  return set != nullptr ? fs::path(set) : fs::path(BEVEL_SOURCE_DIR) / ".." / "shared";
}

// A pack of tests, unpacked into a folder of its own that goes away with its scope.
class Pack {
 public:
  explicit Pack(const fs::path& archive) {
    if (!fs::exists(archive)) return;
    std::string pattern = (fs::temp_directory_path() / "bevel-pack-XXXXXX").string();
    REQUIRE(::mkdtemp(pattern.data()) != nullptr);
    folder_ = pattern;
    REQUIRE(std::system(fmt::format("tar -xJf '{}' -C '{}'", archive.string(), pattern).c_str()) == 0);
  }
  ~Pack() {
    std::error_code ignored;
    if (!folder_.empty()) fs::remove_all(folder_, ignored);
  }
  Pack(const Pack&) = delete;
  Pack& operator=(const Pack&) = delete;
  [[nodiscard]] const fs::path& folder() const { return folder_; }  // empty: there is no such archive

 private:
  fs::path folder_;
};

}  // namespace bevel::conformance
