#include "lib/driver/explain.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "lib/driver/explain_causes.h"
#include "lib/driver/explain_fixes.h"
#include "lib/driver/load.h"
#include "lib/driver/output_distance.h"
#include "lib/driver/quantize_leg.h"
#include "lib/driver/runnable.h"
#include "lib/driver/samples.h"
#include "lib/driver/verify.h"
#include "lib/ops/op.h"
#include "lib/ops/opset.h"
#include "lib/ops/qoperator.h"
#include "lib/ops/semantics.h"
#include "lib/target/target.h"
#include "passes/pass.h"
#include "passes/quantize/side_branches.h"

namespace bevel::driver {
namespace {

constexpr const char* kNeutralActivations = "uint8";  // as quantize has it
constexpr std::size_t kSmallNet = 16;                 // layers, of which each is put back to float alone
constexpr std::size_t kWorstLayers = 8;               // by their own error, in larger ones

double relative(const std::vector<data::Difference>& samples) {
  double signal = 0, noise = 0;
  for (const data::Difference& one : samples) {
    signal += one.signal;
    noise += one.noise;
  }
  return signal > 0 ? noise / signal : noise > 0 ? 1.0 : 0.0;
}

// Statistics of every float value that a layer makes or reads.
Result<MeasuredValues> measure_values(const Explained& explained, const std::vector<passes::ComparedLayer>& layers) {
  MeasuredValues measured;
  data::Request request;
  const auto add = [&](const std::string& value) {
    if (std::find(request.values.begin(), request.values.end(), value) == request.values.end()) request.values.push_back(value);
  };
  std::vector<MeasuredValues::Rounded> read;
  for (const passes::ComparedLayer& layer : layers) {
    add(layer.reference_value);
    if (layer.channel_axis >= 0) request.channels.push_back({layer.reference_value, layer.channel_axis});
    if (layer.rounding) measured.rounded.push_back({layer.reference_value, *layer.rounding});
  }
  for (const passes::ComparedLayer& layer : layers) {
    for (const auto& input : layer.inputs) {
      if (!input.rounding) continue;
      const ValueId id = explained.reference->graph.find_value(input.reference_value);
      const Type& type = explained.reference->graph.value(id).type;
      if (std::find(request.values.begin(), request.values.end(), input.reference_value) == request.values.end()) {
        add(input.reference_value);
        if (type.is_tensor() && type.shape.has_rank && type.shape.rank() >= 2)
          request.channels.push_back({input.reference_value, type.shape.rank() == 4 ? 1 : static_cast<int>(type.shape.rank()) - 1});
      }
      measured.rounded.push_back({input.reference_value, *input.rounding});
    }
  }
  BEVEL_TRY(data::Statistics statistics, explained.calibration->measure(*explained.reference, request));
  measured.values = std::move(statistics.values);
  for (auto& [key, channels] : statistics.channels) measured.channels.emplace(key.value, std::move(channels));
  return measured;
}

bool is_quantized(const Model& model) {
  const auto order = model.graph.node_order();
  return std::any_of(order.begin(), order.end(), [&](NodeId id) {
    return ops::is_quantization(model.graph.node(id)) || ops::works_on_stored_integers(model, id);
  });
}

Result<Loaded> load_simplified(const std::filesystem::path& path, const std::vector<ops::ShapeBinding>& shapes, const Bounds& bounds) {
  BEVEL_TRY(Loaded loaded, load_model(path, shapes, Feeding::samples, bounds));
  if (!loaded.beyond_knowledge.empty())
    return fail_input("{}: {}, so it cannot be explained.", printable(path.filename().string()), loaded.beyond_knowledge);
  BEVEL_TRY([[maybe_unused]] const auto reports, of_file(path, passes::simplify(loaded.model)));
  return loaded;
}

// Both in the later opset of the two, so that nodes of one can stand in the other.
Status align_opsets(Model& a, Model& b) {
  const std::int64_t opset = std::max(a.opset(), b.opset());
  for (Model* model : {&a, &b}) {
    if (model->opset() < opset) BEVEL_TRY_STATUS(ops::convert_opset(*model, opset));
    BEVEL_TRY_STATUS(ops::infer_types(*model));
  }
  return {};
}

// The float model as quantizing it would first scale its channels against each other: layers are compared with what they were made from.
Status equalize(Model& model, passes::Recipe& recipe, data::Measure& measure, WorkerPool& pool, report::ExplainRecord& record) {
  const std::string activations = recipe.activations.value_or("int8");
  const bool affine = activations == "int8" || activations == "uint8";
  if (!std::exchange(recipe.equalize, false) || !affine || passes::find_pass("equalize-channels") == nullptr) return {};
  BEVEL_TRY(const auto pipeline, passes::parse_pipeline("equalize-channels"));
  passes::PassContext context;
  context.measure = &measure;
  context.recipe = &recipe;
  context.pool = &pool;
  BEVEL_TRY(const auto reports, passes::run_pipeline(model, pipeline, context));
  if (reports[0].stats.changes > 0)
    record.notes.push_back(fmt::format("the channels of {} values are scaled against each other first; layers are compared with the float model after that",
                                       reports[0].stats.changes));
  return ops::infer_types(model);
}

// On the grids that the recipe leads to, with weights to nearest.
Status quantize_plainly(Model& model, const passes::Recipe& recipe, data::Measure& measure, WorkerPool& pool) {
  BEVEL_TRY(const auto pipeline, passes::parse_pipeline("quantize"));
  passes::PassContext context;
  context.measure = &measure;
  context.recipe = &recipe;
  context.pool = &pool;
  BEVEL_TRY([[maybe_unused]] const auto reports, passes::run_pipeline(model, pipeline, context));
  return ops::infer_types(model);
}

bool states_a_recipe(const ExplainRequest& request) {
  const RecipeFlags& flags = request.recipe;
  return flags.recipe || flags.preset || !flags.keep_float.empty() || flags.range || flags.activations || flags.weights || request.target;
}

// The outputs side by side, with the metric where there are labels.
Status compare_outputs(const Model& reference, const Model& model, const data::Dataset& dataset, WorkerPool& pool, const Bounds& bounds,
                       report::ExplainRecord& record) {
  BEVEL_TRY(const auto before, runnable_of(reference, "float model", bounds.eval_options()));
  BEVEL_TRY(const auto after, runnable_of(model, "quantized model", bounds.eval_options()));
  BEVEL_TRY(const Measured measured, measure_side_by_side({before.get(), after.get()}, {{0, 1}}, dataset, pool, "outputs"));
  record.outputs = measured.pairs[0];
  record.metric = measured.metric;
  if (!measured.metric.empty()) {
    record.float_metric = measured.metrics[0];
    record.quantized_metric = measured.metrics[1];
  }
  return {};
}

// Lines are tried on the float model after its channels were scaled; who applies them starts from the model as it is, and a layer in another format may change
// what is worth scaling. What is said is what that gives.
Status measure_as_applied(const Model& source, const Explained& explained, report::ExplainRecord& record) {
  BEVEL_TRY(passes::Recipe fixed, passes::parse_recipe(record.recipe, "recipe"));
  fixed.equalize = true;
  record.recipe = passes::to_json(fixed);
  BEVEL_TRY(const double before, output_error(*explained.judge, source, *explained.model, kTrialSamples));
  Model applied = source;
  BEVEL_TRY([[maybe_unused]] const Quantized made, quantize_model(applied, fixed, explained.calibration, explained.pool));
  BEVEL_TRY(const double after, output_error(*explained.judge, source, applied, kTrialSamples));
  record.recipe_gain_db = gain(before, after);
  if (*record.recipe_gain_db >= kWorthALine) return {};
  record.notes.push_back("the lines that helped layer by layer do not help together with what scaling the channels then finds");
  record.recipe_lines.clear();
  record.recipe.clear();
  record.recipe_gain_db.reset();
  return {};
}

}  // namespace

Status explain_layers(const Explained& explained, report::ExplainRecord& record) {
  const Model &reference = *explained.reference, &model = *explained.model;
  const Model& plain = explained.plain != nullptr ? *explained.plain : model;
  const passes::SideBranches branches(reference, plain);
  for (const passes::Unmatched& row : branches.unmatched()) record.without_counterpart.push_back({row.node, row.op_type, row.reason});
  BEVEL_TRY(const double before, output_error(*explained.judge, reference, model));
  record.outputs_db = decibels_of(before);
  const auto& layers = branches.layers();
  if (layers.empty()) return {};
  BEVEL_TRY(const MeasuredValues measured, measure_values(explained, layers));

  const auto beside = branches.beside_reference();
  std::vector<data::ValuePair> accumulated_pairs, alone_pairs;
  std::vector<std::optional<std::size_t>> alone_pair(layers.size()), weights_pair(layers.size());
  for (std::size_t i = 0; i < layers.size(); ++i) {
    accumulated_pairs.push_back({layers[i].reference_value, layers[i].value});
    const auto add = [&](const std::string& branch, std::optional<std::size_t>& pair) {
      if (branch.empty()) return;
      pair = alone_pairs.size();
      alone_pairs.push_back({layers[i].reference_value, branch});
    };
    add(beside.alone[i], alone_pair[i]);
    add(beside.weights_alone[i], weights_pair[i]);
  }
  BEVEL_TRY(const auto accumulated, explained.judge->compare(reference, model, accumulated_pairs));
  std::vector<std::vector<data::Difference>> alone;
  if (!alone_pairs.empty()) {
    BEVEL_TRY(alone, explained.judge->compare(reference, beside.model, alone_pairs));
  }

  std::vector<LayerErrors> errors(layers.size());
  for (std::size_t i = 0; i < layers.size(); ++i) {
    errors[i].accumulated = relative(accumulated[i]);
    errors[i].alone_samples = alone_pair[i] ? alone[*alone_pair[i]] : accumulated[i];
    errors[i].alone = relative(errors[i].alone_samples);
    if (weights_pair[i]) errors[i].weights = relative(alone[*weights_pair[i]]);
    report::ExplainLayer row;
    row.node = layers[i].node;
    row.op_type = layers[i].op_type;
    row.value = layers[i].reference_value;
    row.matched_by = layers[i].by_position ? "position" : "name";
    row.alone_db = decibels_of(errors[i].alone);
    row.accumulated_db = decibels_of(errors[i].accumulated);
    const SqnrInterval interval = bootstrap(errors[i].alone_samples);
    row.alone_low_db = interval.low;
    row.alone_high_db = interval.high;
    if (errors[i].weights) row.weights_db = decibels_of(*errors[i].weights);
    row.causes = causes_of(layers[i], errors[i], measured, plain);
    record.layers.push_back(std::move(row));
  }

  // What each of the worst costs at the outputs.
  std::vector<std::size_t> worst(layers.size());
  for (std::size_t i = 0; i < worst.size(); ++i) worst[i] = i;
  std::stable_sort(worst.begin(), worst.end(), [&](std::size_t a, std::size_t b) { return errors[a].alone > errors[b].alone; });
  if (worst.size() > kSmallNet) worst.resize(kWorstLayers);
  BEVEL_TRY(const double trial_before, output_error(*explained.judge, reference, plain, kTrialSamples));
  for (const std::size_t i : worst) {
    const auto patched = branches.with_float_layer(i);
    if (!patched) continue;
    BEVEL_TRY(const double after, output_error(*explained.judge, reference, *patched, kTrialSamples));
    record.layers[i].contribution_db = decibels_of(after) - decibels_of(trial_before);
    if (trial_before == 0) record.layers[i].contribution_db = 0;
  }
  std::erase_if(worst, [&](std::size_t i) { return !record.layers[i].contribution_db; });
  std::stable_sort(worst.begin(), worst.end(),
                   [&](std::size_t a, std::size_t b) { return *record.layers[a].contribution_db > *record.layers[b].contribution_db; });

  std::vector<std::size_t> order(worst.begin(), worst.begin() + static_cast<std::ptrdiff_t>(std::min(worst.size(), explained.worst)));
  if (!order.empty() && trial_before > 0) BEVEL_TRY_STATUS(try_fixes(explained, branches, measured, order, record));

  const double never = -std::numeric_limits<double>::infinity();
  std::stable_sort(record.layers.begin(), record.layers.end(), [&](const report::ExplainLayer& a, const report::ExplainLayer& b) {
    const double x = a.contribution_db.value_or(never), y = b.contribution_db.value_or(never);
    return x != y ? x > y : a.alone_db < b.alone_db;
  });
  return {};
}

Result<report::ExplainRecord> explain(const ExplainRequest& request) {
  report::ExplainRecord record;
  if (request.profile)
    return fail(ExitCode::usage,
                "explain runs the model on samples, layer by layer, and a profile holds no samples, only what was counted of them: give --calib DATA.");
  if (!request.calibration) return fail(ExitCode::usage, "explain needs samples: give --calib DATA.");
  std::string activations = kNeutralActivations;
  if (request.target) {
    BEVEL_TRY(const target::Device device, target::find_device(*request.target));
    activations = device.activation_dtype;
  }
  BEVEL_TRY(const auto shapes, parse_shapes(request.shapes));
  BEVEL_TRY(const Bounds bounds, read_bounds(request.bounds));
  BEVEL_TRY(Loaded source, load_simplified(request.model, shapes, bounds));
  const bool quantized = is_quantized(source.model);
  if (quantized && states_a_recipe(request))
    return fail(ExitCode::usage, "{} is quantized already: --preset, --recipe, --range, --weights, --activations, --keep-float and --target say how "
                "a float model is to be quantized.", printable(request.model.filename().string()));
  if (!quantized && request.reference)
    return fail(ExitCode::usage, "--reference is the float parent of a quantized MODEL, and {} is float itself: leave it out.",
                printable(request.model.filename().string()));

  Model reference, model;
  std::optional<passes::Recipe> recipe;
  std::optional<Model> plain;
  bool equalized = false;
  if (!quantized) {
    record.reference = "source";
    reference = source.model;
    BEVEL_TRY(recipe, choose_recipe(request.recipe, activations, reference));
  } else {
    model = std::move(source.model);
    BEVEL_TRY_STATUS(of_file(request.model, ops::state_quantization_as_nodes(model)));
    record.reference = request.reference ? "given" : "own";
    if (request.reference) {
      BEVEL_TRY(Loaded parent, load_simplified(*request.reference, shapes, bounds));
      if (is_quantized(parent.model))
        return fail(ExitCode::usage, "--reference {} is quantized itself: it is to be the float parent.", printable(request.reference->filename().string()));
      reference = std::move(parent.model);
    } else {
      reference = model;
      const std::size_t stripped = passes::strip_roundings(reference);
      if (stripped == 0)
        return fail(ExitCode::usage, "{} has no activation between a QuantizeLinear and a DequantizeLinear with constant scales, so that it has no float "
                    "version of its own: give its float parent as --reference.", printable(request.model.filename().string()));
      record.notes.push_back(fmt::format("no --reference: compared with the model's own float version, in which {} activations are no longer rounded; "
                                         "what its weights lost when they were rounded does not show", stripped));
    }
    BEVEL_TRY_STATUS(of_file(request.model, align_opsets(reference, model)));
  }

  WorkerPool pool(request.threads);
  const auto inputs = data::inputs_needing_data(reference.graph);
  BEVEL_TRY(const Calibration calibration, calibrate_on_samples(*request.calibration, inputs, request.max_samples, pool, bounds));
  record.calibration = record.samples = calibration.source;
  Calibration evaluation;
  if (request.evaluation) {
    BEVEL_TRY(evaluation, calibrate_on_samples(*request.evaluation, inputs, request.max_samples, pool, bounds));
    record.samples = evaluation.source;
    record.samples.from = "evaluation";
  }
  const Calibration& judge = request.evaluation ? evaluation : calibration;
  if (!quantized) {
    equalized = recipe->equalize;
    BEVEL_TRY_STATUS(of_file(request.model, equalize(reference, *recipe, *calibration.measure, pool, record)));
    model = reference;
    BEVEL_TRY(Quantized made, of_file(request.model, quantize_model(model, *recipe, calibration.measure.get(), &pool)));
    record.stays_float = std::move(made.stays_float);
    record.notes.insert(record.notes.end(), made.notes.begin(), made.notes.end());
    if (made.changes == 0) record.notes.push_back(kNothingQuantized);
    BEVEL_TRY_STATUS(of_file(request.model, align_opsets(reference, model)));
    if (recipe->rounding == "second-order") {
      plain = reference;
      BEVEL_TRY_STATUS(of_file(request.model, quantize_plainly(*plain, *recipe, *calibration.measure, pool)));
      BEVEL_TRY_STATUS(of_file(request.model, align_opsets(reference, *plain)));
      record.notes.push_back("layers' own errors, and what is at stake, are measured with weights rounded to nearest: refined weights make up for layers "
                             "before them");
    }
  }
  BEVEL_TRY_STATUS(of_file(request.model, compare_outputs(reference, model, *judge.dataset, pool, bounds, record)));
  Explained explained{&reference, &model, plain ? &*plain : nullptr, calibration.measure.get(), judge.measure.get(), recipe ? &*recipe : nullptr,
                      request.worst.value_or(kFixedLayers), &pool, record.reference == "own"};
  BEVEL_TRY_STATUS(of_file(request.model, explain_layers(explained, record)));
  if (record.recipe_gain_db && equalized) BEVEL_TRY_STATUS(of_file(request.model, measure_as_applied(source.model, explained, record)));
  const auto by_position = std::count_if(record.layers.begin(), record.layers.end(), [](const auto& layer) { return layer.matched_by == "position"; });
  if (by_position > 0)
    record.notes.push_back(fmt::format("{} layers have other names than in the float model and were matched by the order of products", by_position));
  return record;
}

}  // namespace bevel::driver
