// Calibration and quantization as legs that compile, quantize, calibrate and inspect share.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lib/data/dataset.h"
#include "lib/data/measure.h"
#include "lib/driver/samples.h"
#include "lib/eval/evaluator.h"
#include "lib/ir/graph.h"
#include "lib/report/record.h"
#include "passes/recipe.h"

namespace bevel::driver {

// A Measure and what it answers from.
struct Calibration {
  std::unique_ptr<data::Dataset> dataset;  // outlives `measure`; empty for a profile
  std::unique_ptr<data::Measure> measure;
  report::SampleSource source;
};
Result<Calibration> calibrate_on_samples(const std::filesystem::path& data, const std::vector<data::ModelInput>& inputs,
                                         std::optional<std::size_t> max_samples, WorkerPool& pool, const Bounds& bounds = {});
Result<Calibration> calibrate_from_profile(const std::filesystem::path& profile);

// What quantization starts from: simplified, and in float32 where the file is in float16 or bfloat16. Whether it was widened.
Result<bool> simplify_for_quantization(Model& model);
constexpr const char* kWidened = "the model is in half precision: it was widened to float32 before it was quantized";

struct Quantized {
  std::vector<report::FloatRow> stays_float;  // compute nodes, with reasons
  std::size_t changes = 0;                    // nodes that now compute in integers
  std::vector<std::string> notes;             // of what the passes found, for the report
  bool already = false;                       // nothing changed, because nodes compute in integers as the model came
  bool saturation_free = false;               // no int8 product can saturate in ONNX Runtime on x86 without VNNI
};
constexpr const char* kAlreadyQuantized = "quantize changed nothing: the model is quantized already";
// What a record says when `changes` is 0: an output that is as its input was is never passed off as quantized.
constexpr const char* kNothingQuantized =
    "quantize changed nothing: no node of this model can compute in 8-bit integers under this recipe; every compute node "
    "that stays float is listed with its reason";
// Runs the passes that the recipe asks for on a simplified, inferred model. What the recipe leaves open (the rounding) is decided here and
// written into it. `measure` may be absent where weights alone are quantized, to nearest.
// Subgraphs are quantized too (quantize_bodies.h): on `branches`, the samples that `measure` runs, where branches of If are to be measured.
struct BranchData {
  const data::Dataset* samples = nullptr;
  eval::EvalOptions options = {};
};
Result<Quantized> quantize_model(Model& model, passes::Recipe& recipe, data::Measure* measure, WorkerPool* pool = nullptr,
                                 const BranchData& branches = {});
// Of a target whose ONNX file is run by ONNX Runtime on x86-64, VNNI or not: where the recipe leaves the runtime open.
void choose_runtime(passes::Recipe& recipe, const std::string& onnx_runtime);
// The metadata entry of a written model whose weights were chosen for a runtime, and do keep to what it needs.
constexpr const char* kRuntimeMetadata = "bevel.runtime";
// The same by the default recipe, with no data and without reading a weight: which nodes have an integer form, and the form of the
// result, whose scales and weights mean nothing.
Result<Quantized> forecast_quantized(Model& model);

}  // namespace bevel::driver
