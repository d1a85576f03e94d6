// The whole road: an ONNX model in; a checked int8 ONNX model, C source, a Program and a report out.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "lib/driver/bounds.h"
#include "lib/driver/recipe_choice.h"
#include "lib/report/record.h"
#include "lib/support/result.h"

namespace bevel::driver {

struct CompileRequest {
  std::filesystem::path model;
  std::string target;                             // a known name, or the path of a device record
  std::optional<std::filesystem::path> calibration, profile;  // one of the two
  std::optional<std::filesystem::path> evaluation;
  std::filesystem::path out;                      // folder
  std::optional<double> max_drop;                 // points
  std::string budget;                             // as target::parse_budget reads it; empty: the device's own memory
  RecipeFlags recipe;
  std::vector<std::string> shapes;                // "N=8", "image=1x3x224x224"
  std::optional<std::size_t> max_samples;
  std::optional<std::size_t> opset;               // of model.int8.onnx; else that of the source, or the base that it was lifted to
  bool float_io = false;
  bool dry_run = false;                           // one calibration sample, no verification, nothing written
  unsigned threads = 0;                           // 0: one per core
  BoundsFlags bounds;
};

struct CompileOutcome {
  report::CompileRecord record;
  ExitCode code = ExitCode::ok;  // ok, budget or verification; the record's messages then say why
  std::vector<std::filesystem::path> read;  // every file that the outputs are made from, as it was opened; for --depfile
};

// Everything else that goes wrong is the diagnostic. With `budget` and `verification` the folder has received report.json and
// report.md only; with a diagnostic it is as it was.
Result<CompileOutcome> compile(const CompileRequest& request);
// After a failed run, which deletes nothing: a sentence that lists what of an earlier one lies in the folder; empty when nothing
// does. `report_too`: the report is an earlier run's as well.
std::string left_from_earlier_run(const CompileRequest& request, bool report_too);

}  // namespace bevel::driver
