// Running what exists: run, eval, compare.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "lib/driver/bounds.h"
#include "lib/report/record.h"
#include "lib/support/result.h"

namespace bevel::driver {

struct RunRequest {
  std::filesystem::path model;                        // ONNX or .bvl
  std::optional<std::filesystem::path> inputs, data;  // one of them: whole tensors as they stand, or sample by sample
  std::optional<std::filesystem::path> out;           // .npz, one member per output
  std::vector<std::string> shapes;
  std::optional<std::size_t> max_samples;
  bool raw = false;
  bool dry_run = false;
  unsigned threads = 0;
  BoundsFlags bounds;
};
// With data, the samples' outputs are joined along the batch axis in sample order.
Result<report::RunRecord> run(const RunRequest& request);

struct EvalRequest {
  std::filesystem::path model, data;
  std::vector<std::string> shapes;
  std::optional<std::size_t> max_samples;
  unsigned threads = 0;
  BoundsFlags bounds;
};
Result<report::EvalRecord> evaluate(const EvalRequest& request);

struct CompareRequest {
  std::filesystem::path a, b;
  std::optional<std::filesystem::path> data;  // absent: seeded random inputs
  std::optional<double> max_drop;
  std::vector<std::string> shapes;
  std::optional<std::size_t> max_samples;
  unsigned threads = 0;
  BoundsFlags bounds;
};
// record.passed is false when --max-drop is exceeded (exit 4 is the caller's).
Result<report::CompareRecord> compare(const CompareRequest& request);

}  // namespace bevel::driver
