// Where a quantized model loses its accuracy, layer by layer: how much, why, and what helps.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "lib/data/measure.h"
#include "lib/driver/bounds.h"
#include "lib/driver/recipe_choice.h"
#include "lib/ir/graph.h"
#include "lib/report/record.h"
#include "lib/support/result.h"
#include "passes/recipe.h"

namespace bevel {
class WorkerPool;
}

namespace bevel::driver {

struct ExplainRequest {
  std::filesystem::path model;                       // float, or quantized by anybody
  std::optional<std::filesystem::path> calibration, profile;
  std::optional<std::filesystem::path> evaluation;   // samples for the errors; else the calibration's
  std::optional<std::filesystem::path> reference;    // the float parent of a quantized model
  std::optional<std::string> target;                 // for the default of the activations' dtype
  RecipeFlags recipe;                                // of a float model
  std::optional<std::size_t> worst;                  // layers for which fixes are tried; default kFixedLayers
  std::vector<std::string> shapes;
  std::optional<std::size_t> max_samples;
  unsigned threads = 0;
  BoundsFlags bounds;
};
constexpr std::size_t kFixedLayers = 4;
// Writes nothing. Exit 2 for a profile, which holds no samples to run, and for flags that do not fit the model.
Result<report::ExplainRecord> explain(const ExplainRequest& request);

// The same on models at hand. Types are inferred and opsets equal.
struct Explained {
  const Model* reference = nullptr;    // float
  const Model* model = nullptr;        // quantized
  // The same with weights to nearest, where model's were refined: refined ones make up for what layers before them lose, and would be blamed for
  // it. Layers' own errors are measured in it. nullptr: model.
  const Model* plain = nullptr;
  data::Measure* calibration = nullptr;
  data::Measure* judge = nullptr;      // the samples that errors are measured on
  // The recipe by which reference became model, what it left open filled in; nullptr: somebody else's. Where channels were equalized, the
  // reference is the float model after that, and the recipe does not ask for it again.
  const passes::Recipe* recipe = nullptr;
  std::size_t worst = kFixedLayers;
  WorkerPool* pool = nullptr;          // for quantizing again
  bool own_reference = false;          // the reference is the model itself, not rounded: no recipe names its nodes
};
// Fills layers, without_counterpart, outputs_db and what was tried.
Status explain_layers(const Explained& explained, report::ExplainRecord& record);

}  // namespace bevel::driver
