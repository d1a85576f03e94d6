// A pass: one file, one record, one function. passes.def names each once; the registry, `bevel passes`, the docs and the
// must-have golden tests derive from it. Pipelines are text: "fold-batch-norm,quantize{weights=int8}".
#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lib/data/measure.h"
#include "lib/ir/graph.h"
#include "lib/support/result.h"
#include "passes/recipe.h"

namespace bevel {
class WorkerPool;
}

namespace bevel::passes {

enum class Accuracy { exact, rounding, lossy };  // bits equal; equal up to float rounding; a choice that loses

struct OptionRecord {
  std::string_view name, default_value, summary;
};

using Options = std::map<std::string, std::string, std::less<>>;  // defaults filled in, names checked

struct NodeNote {
  std::string node, op_type, text;
};

struct PassStats {
  std::size_t changes = 0;
  std::vector<NodeNote> notes;  // e.g. one per node left in float, with its reason
};

struct PassContext {
  data::Measure* measure = nullptr;  // present when the driver has data
  const Recipe* recipe = nullptr;    // present for passes that take choices
  const Model* reference = nullptr;  // the float model that a quantized one came from, its names kept; present for passes that refine
  // A forecast: only the form of the result is asked for, so that no weight need be read; new ones are zeros. Such a model is never
  // written or run.
  bool forms_only = false;
  WorkerPool* pool = nullptr;  // for passes that compute much; results do not depend on it
};

struct PassRecord {
  std::string_view name, summary;
  Accuracy accuracy = Accuracy::exact;
  std::span<const OptionRecord> options;
  Result<PassStats> (*run)(Model&, const Options&, PassContext&) = nullptr;
};

std::span<const PassRecord* const> all_passes();  // in passes.def order
const PassRecord* find_pass(std::string_view name);

struct PipelineStep {
  const PassRecord* pass = nullptr;
  Options options;
};
// Exit 2 on an unknown pass or option (nearest name suggested).
Result<std::vector<PipelineStep>> parse_pipeline(std::string_view text);

struct PassReport {
  std::string pass;
  PassStats stats;
  double seconds = 0;  // for the log only; never in an output file
};
struct RunOptions {
  bool verify_each = false;
  std::string reproducer;  // folder for model + pipeline when a pass fails; empty: none
};
// Infers types before the first pass and after each that changed something.
Result<std::vector<PassReport>> run_pipeline(Model& model, std::span<const PipelineStep> pipeline, PassContext& context,
                                             const RunOptions& options = {});

// The named pipelines, as text: "simplify" (all exact and rounding passes, to a fixed point), ...
std::string_view named_pipeline(std::string_view name);
Result<std::vector<PassReport>> simplify(Model& model, const RunOptions& options = {});

}  // namespace bevel::passes
