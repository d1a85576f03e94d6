// The legs of the road on their own: a model in, one file (or a folder of C) out, checked before it gets its name.
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

struct CommonRequest {
  std::filesystem::path model, out;
  std::vector<std::string> shapes;
  std::optional<std::size_t> max_samples;
  std::optional<std::size_t> opset;           // of the written model; else that of the source, or the base that it was lifted to
  bool dry_run = false;
  unsigned threads = 0;
  BoundsFlags bounds;
};

struct OptimizeRequest : CommonRequest {
  std::optional<std::filesystem::path> data;  // samples for the check; else seeded random inputs
  std::string pipeline;                       // empty: the named pipeline "simplify"
  std::optional<std::filesystem::path> calibration, profile, recipe;  // for pipelines that ask for data or choices
  bool verify_each = false;
  std::string reproducer;                     // folder for model and pipeline when a pass fails
  std::string command = "optimize";           // or "opt"
};
Result<report::WriteRecord> optimize(const OptimizeRequest& request);

struct CalibrateRequest : CommonRequest {
  std::filesystem::path calibration;
  std::vector<std::filesystem::path> merge;   // further profiles of the same model, merged in exactly
};
Result<report::WriteRecord> calibrate(const CalibrateRequest& request);

struct QuantizeRequest : CommonRequest {
  std::optional<std::filesystem::path> calibration, profile;
  std::optional<std::filesystem::path> evaluation;  // samples for the check; else the calibration's, else random inputs
  std::optional<double> max_drop;                   // points; more is exit 4
  std::optional<std::string> target;                // for the default of the activations' dtype, and the limits of --precision auto
  std::string budget;                               // of the target, for --precision auto
  std::optional<std::filesystem::path> write_recipe;  // receives what was chosen
  RecipeFlags recipe;
};
Result<report::WriteRecord> quantize(const QuantizeRequest& request);

struct EmitRequest : CommonRequest {  // out: folder; receives NAME.c, NAME.h and NAME.bvl
  std::string name = "model";
  bool float_io = false;
};
Result<report::WriteRecord> emit_c(const EmitRequest& request);

}  // namespace bevel::driver
