#include "lib/driver/quantize_leg.h"

#include <algorithm>

#include "calibration/calibration.h"
#include "lib/driver/quantize_bodies.h"
#include "lib/ops/op.h"
#include "lib/ops/opset.h"
#include "lib/plan/grouping.h"
#include "passes/bodies.h"
#include "passes/pass.h"
#include "passes/quantize/saturating_pairs.h"

namespace bevel::driver {

Result<Calibration> calibrate_on_samples(const std::filesystem::path& data, const std::vector<data::ModelInput>& inputs,
                                         std::optional<std::size_t> max_samples, WorkerPool& pool, const Bounds& bounds) {
  BEVEL_TRY(Samples samples, open_samples(data, inputs, max_samples, "calibration", bounds));
  Calibration calibration;
  calibration.source = samples.source;
  calibration.dataset = std::move(samples.dataset);
  eval::EvalOptions options = bounds.eval_options();
  options.kernels = eval::Kernels::integer;
  calibration.measure = calibration::measure_by_running(*calibration.dataset, pool, options);
  return calibration;
}

Result<Calibration> calibrate_from_profile(const std::filesystem::path& path) {
  BEVEL_TRY(calibration::StoredMeasure profile, calibration::open_profile(path));
  Calibration calibration;
  calibration.source = {"calibration", profile.samples, profile.data_hash};
  calibration.measure = std::move(profile.measure);
  return calibration;
}

Result<bool> simplify_for_quantization(Model& model) {
  BEVEL_TRY_STATUS(passes::simplify(model));
  BEVEL_TRY(const auto prepare, passes::parse_pipeline("propagate-quantization,widen-floats"));
  passes::PassContext context;
  BEVEL_TRY(const auto reports, passes::run_pipeline(model, prepare, context));
  if (reports[1].stats.changes == 0) return false;
  BEVEL_TRY_STATUS(passes::simplify(model));
  return true;
}

namespace {

// The pass knows what it left alone; the grouping knows what runs as what. Rows whose node is part of an integer group go, and nodes
// between quantized values for which there is no integer kernel come, with the kernel's reason. Whether there is an integer group.
bool keep_what_is_float(const Model& model, std::vector<report::FloatRow>& rows) {
  const Graph& graph = model.graph;
  const auto quantization = [&](NodeId id) { return id.valid() && ops::quant_node(graph.node(id)) != ops::QuantNode::none; };
  bool integers = false;
  for (const plan::Group& group : plan::group_graph(model).groups) {
    const Node& anchor = graph.node(group.anchor);
    if (group.integer) {
      integers = true;
      for (const NodeId member : group.members)
        std::erase_if(rows, [&](const auto& row) { return row.node == graph.node(member).name; });
      continue;
    }
    if (group.reason.empty() || std::any_of(rows.begin(), rows.end(), [&](const auto& row) { return row.node == anchor.name; })) continue;
    const bool between = std::any_of(anchor.inputs.begin(), anchor.inputs.end(), [&](ValueId input) {
      return input.valid() && quantization(graph.value(input).producer);
    });
    if (between) rows.push_back({anchor.name, anchor.op_type, group.reason});
  }
  return integers;
}

// Answers every request with values between -1 and 1.
class ForecastMeasure final : public data::Measure {
 public:
  Result<data::Statistics> measure(const Model&, const data::Request& request) override {
    data::Statistics answer;
    answer.samples = 1;
    for (const std::string& name : request.values) {
      data::ValueStatistics statistics;
      statistics.histogram.add(-1.0f);
      statistics.histogram.add(1.0f);
      statistics.minimum = -1.0f;
      statistics.maximum = 1.0f;
      answer.values.emplace(name, std::move(statistics));
    }
    return answer;
  }
};

// What a pass around quantize did, in a line: layer by layer is what `bevel explain` tells.
std::string refined(const passes::PassReport& report) {
  if (report.stats.changes == 0) return "";
  const auto few = std::count_if(report.stats.notes.begin(), report.stats.notes.end(),
                                 [](const passes::NodeNote& note) { return note.text.find("; only ") != std::string::npos; });
  std::string text = fmt::format("{}: {} layer{}", report.pass, report.stats.changes, report.stats.changes == 1 ? "" : "s");
  if (few > 0)
    text += fmt::format(", {} of them with fewer rows of samples than weights per channel: more calibration samples would tell more", few);
  return text;
}

// Nodes that are left in float32 though half precision was asked for. Of those that went, quantize said that they stay.
void add_islands(const passes::PassReport& report, const passes::Recipe& recipe, Quantized& quantized) {
  std::erase_if(quantized.stays_float, [&](const report::FloatRow& row) {
    const auto choice = recipe.nodes.find(row.node);
    return passes::is_half(choice != recipe.nodes.end() && choice->second.precision ? *choice->second.precision : recipe.precision);
  });
  quantized.changes += report.stats.changes;
  for (const passes::NodeNote& note : report.stats.notes) {
    if (note.node.empty()) quantized.notes.push_back(note.text);
    else quantized.stays_float.push_back({note.node, note.op_type, note.text});
  }
}

// The passes behind equalization, by what the recipe wants of the nodes.
std::string pipeline_of(const passes::Recipe& recipe) {
  const bool float8 = passes::is_float8(recipe.precision) || std::any_of(recipe.nodes.begin(), recipe.nodes.end(), [](const auto& node) {
    return node.second.precision && passes::is_float8(*node.second.precision);
  });
  if (float8) return "quantize-float8";
  const auto is_half = [](const std::optional<std::string>& precision) { return precision && passes::is_half(*precision); };
  const bool half = is_half(recipe.precision) || std::any_of(recipe.nodes.begin(), recipe.nodes.end(),
                                                             [&](const auto& node) { return is_half(node.second.precision); });
  if (half && !passes::has_integers(recipe)) return "narrow-floats";
  return fmt::format("quantize{}{}{}", recipe.rounding == "second-order" ? ",round-weights" : "",
                     recipe.matmul_form == "nbits" ? ",matmul-nbits" : "", half ? ",narrow-floats" : "");
}

Result<Quantized> run_quantize(Model& model, const std::string& pipeline_text, passes::PassContext context) {
  BEVEL_TRY(const auto pipeline, passes::parse_pipeline(pipeline_text));
  BEVEL_TRY(const auto reports, passes::run_pipeline(model, pipeline, context));
  Quantized quantized;
  std::string of_model;
  for (const passes::PassReport& report : reports) {
    if (report.pass == "narrow-floats") {
      add_islands(report, *context.recipe, quantized);
      continue;
    }
    if (report.pass != "quantize" && report.pass != "quantize-float8") {
      if (auto note = refined(report); !note.empty()) quantized.notes.push_back(std::move(note));
    } else {
      quantized.changes += report.stats.changes;
    }
    for (const passes::NodeNote& note : report.stats.notes) {
      if (note.node.empty()) of_model = note.text;  // the last pass that chose weights speaks for them
      else if (report.pass == "quantize") quantized.stays_float.push_back({note.node, note.op_type, note.text});
    }
  }
  if (!of_model.empty()) quantized.notes.push_back(std::move(of_model));
  BEVEL_TRY_STATUS(ops::infer_types(model));
  // Weights alone: all arithmetic is in float, and that is no news of a node.
  const bool weights_alone = context.recipe->activations == "float32";
  std::vector<report::FloatRow> ignored;
  const bool integers = keep_what_is_float(model, weights_alone ? ignored : quantized.stays_float);
  quantized.already = quantized.changes == 0 && integers;
  return quantized;
}

// What became of the runtime that the recipe names: recorded in the model, or said why not.
void record_runtime(Model& model, const passes::Recipe& recipe, Quantized& quantized) {
  const std::vector<NodeId> layers = passes::saturating_layers(model.graph);
  quantized.saturation_free = layers.empty();
  std::erase_if(model.metadata, [](const auto& entry) { return entry.first == kRuntimeMetadata; });
  if (recipe.runtime != passes::kAvx2Runtime) return;
  if (layers.empty()) {
    model.metadata.emplace_back(kRuntimeMetadata, passes::kAvx2Runtime);
    return;
  }
  quantized.notes.push_back(fmt::format("ONNX Runtime on x86 without VNNI can still saturate in {} layer{}, '{}' the first: the weights were integers as the model "
                                        "came, and stay as they are", layers.size(), layers.size() == 1 ? "" : "s",
                                        printable(model.graph.node(layers[0]).name)));
}

}  // namespace

void choose_runtime(passes::Recipe& recipe, const std::string& onnx_runtime) {
  if (!recipe.runtime && !onnx_runtime.empty() && passes::has_integers(recipe)) recipe.runtime = passes::kAvx2Runtime;
}

Result<Quantized> quantize_model(Model& model, passes::Recipe& recipe, data::Measure* measure, WorkerPool* pool, const BranchData& branches) {
  const bool samples = measure != nullptr && measure->has_samples();
  const bool asked = recipe.rounding == "second-order";
  if (asked && !samples)
    return fail(ExitCode::usage, "rounding \"second-order\" looks at samples, and there are none: give calibration data, or the rounding "
                "\"nearest\".");
  if (!recipe.rounding && (!passes::has_integers(recipe) || recipe.activations == "dynamic")) recipe.rounding = "nearest";
  if (!recipe.rounding) recipe.rounding = samples ? "second-order" : "nearest";
  const auto order = model.graph.node_order();
  const bool bodies = std::any_of(order.begin(), order.end(), [&](NodeId id) { return passes::has_bodies(model.graph.node(id)); });
  // Before bodies are taken out, which are of the model's opset.
  if (const std::int64_t least = passes::least_opset(recipe); bodies && model.opset() < least) BEVEL_TRY_STATUS(ops::convert_opset(model, least));
  passes::PassContext context;
  context.measure = measure;
  context.recipe = &recipe;
  context.pool = pool;
  std::vector<std::string> notes;
  if (recipe.equalize && samples && passes::needs_calibration(recipe) && passes::has_integers(recipe) && recipe.activations != "int16") {
    BEVEL_TRY(const Quantized equalized, run_quantize(model, "equalize-channels", context));
    notes = equalized.notes;
  }
  const Model reference = model;
  context.reference = &reference;
  const bool second_order = recipe.rounding == "second-order";
  BEVEL_TRY(Quantized quantized, run_quantize(model, pipeline_of(recipe), context));
  quantized.notes.insert(quantized.notes.begin(), notes.begin(), notes.end());
  if (bodies) BEVEL_TRY_STATUS(quantize_bodies(reference, model, recipe, branches.samples, branches.options, pool, quantized));
  if (!asked && !second_order && measure != nullptr && !samples && passes::needs_calibration(recipe) && passes::has_integers(recipe))
    quantized.notes.push_back("weights are rounded to nearest: rounding by second moments looks at samples, which a profile does not hold");
  record_runtime(model, recipe, quantized);
  return quantized;
}

Result<Quantized> forecast_quantized(Model& model) {
  ForecastMeasure measure;
  const passes::Recipe recipe;
  passes::PassContext context;
  context.measure = &measure;
  context.recipe = &recipe;
  context.forms_only = true;
  return run_quantize(model, "quantize", context);
}

}  // namespace bevel::driver
