#include "lib/driver/convert.h"

#include <algorithm>
#include <limits>

#include "calibration/calibration.h"
#include "lib/driver/budget.h"
#include "lib/driver/drop_judge.h"
#include "lib/driver/half_borders.h"
#include "lib/driver/in_opset.h"
#include "lib/driver/judge.h"
#include "lib/driver/load.h"
#include "lib/driver/precision_search.h"
#include "lib/driver/quantize_leg.h"
#include "lib/driver/recording_measure.h"
#include "lib/driver/runnable.h"
#include "lib/driver/samples.h"
#include "lib/driver/staging.h"
#include "lib/driver/verify.h"
#include "lib/emit/emit_c.h"
#include "lib/onnx/onnx.h"
#include "lib/ops/lowering.h"
#include "lib/plan/program.h"
#include "lib/support/atomic_file.h"
#include "lib/target/target.h"
#include "passes/pass.h"

namespace bevel::driver {

namespace fs = std::filesystem;

namespace {

// The dtype of activations where neither target, recipe nor flag states one: what every device but x86-64 takes.
constexpr const char* kNeutralActivations = "uint8";

Result<std::optional<Staging>> stage_beside(const fs::path& out, bool dry_run) {
  if (out.filename().empty())
    return fail(ExitCode::usage, "-o '{}': expected the name of a file.", printable(out.string()));
  BEVEL_TRY_STATUS(file_behind(out));  // before the work, not after it
  std::optional<Staging> staging;
  if (dry_run) {
    BEVEL_TRY_STATUS(can_write_into(out.parent_path(), /*create_folder=*/false));
    return staging;
  }
  auto created = Staging::create(out.parent_path(), /*create_folder=*/false);
  if (!created) return Failure(std::move(created).error());
  staging.emplace(std::move(*created));
  return staging;
}

struct Check {
  const Loaded& source;
  const std::optional<fs::path>& data;
  std::string from;                  // what `data` is, for the record
  double minimum_db = 0;
  const Model* simplified = nullptr;  // what was quantized: its values are what the written model's layers are measured against
  std::optional<double> max_drop = std::nullopt;
};

std::vector<report::LayerRow> measure_layers(const Check& check, const Model& written, const data::Dataset& dataset, WorkerPool& pool) {
  std::vector<report::LayerRow> layers;
  if (!check.simplified) return layers;
  const auto measured = layer_sqnr(*check.simplified, written, dataset, kLayerSamples, pool, check.source.bounds);
  if (!measured) return layers;  // it only ranks layers; the outputs were compared
  for (const auto& [name, sqnr_db] : *measured) layers.push_back({name, "", 0, 0, 0, sqnr_db});
  return layers;
}

// Runs source and written model side by side. What cannot be run is not an error: the record then says "not checked" and why.
Status check_against_source(const Check& check, const Model& written, const CommonRequest& request, report::WriteRecord& record) {
  const Loaded& source = check.source;
  const std::optional<fs::path>& data = check.data;
  const auto unchecked = [&](std::string reason) -> Status {
    record.not_checked = std::move(reason);
    return {};
  };
  if (!source.beyond_knowledge.empty()) return unchecked(source.beyond_knowledge);
  if (const auto reason = eval::cannot_evaluate(source.model)) return unchecked(*reason);
  // Both in the evaluator's own way: a source with integer layers means what the kernels compute of them.
  BEVEL_TRY(const auto before, runnable_of(source.model, "source model", source.bounds.eval_options()));
  BEVEL_TRY(const auto after, runnable_of(written, "written model", source.bounds.eval_options()));
  Samples samples;
  if (data) {
    BEVEL_TRY(samples, open_samples(*data, before->inputs(), request.max_samples, check.from, source.bounds));
  } else {
    auto random = random_samples(before->inputs());
    if (!random) return unchecked(random.error().message);
    samples = std::move(*random);
  }
  WorkerPool pool(request.threads);
  BEVEL_TRY(const Measured measured,
            measure_side_by_side({before.get(), after.get()}, {{0, 1}}, *samples.dataset, pool, "check",
                                 data ? Refused::is_error : Refused::is_left_out));
  if (measured.left_out > 0) {
    const std::string reason = fmt::format("the source model does not run on {}random inputs ({}); give samples with --data",
                                           measured.left_out < samples.source.count ? "some " : "", measured.why_left_out);
    if (measured.left_out == samples.source.count) return unchecked(reason);
    samples.source.count -= measured.left_out;
    record.notes.push_back(reason);
  }
  record.samples = samples.source;
  record.outputs = measured.pairs[0];
  BEVEL_TRY_STATUS(require_sqnr(record.outputs, check.minimum_db, "the written model against its source"));
  Drop drop{measured.metric, 100, 100, 0, check.max_drop.value_or(std::numeric_limits<double>::infinity())};
  if (measured.metric.empty()) {
    for (const report::OutputComparison& output : record.outputs) drop.test = std::min(drop.test, 100 * output.agreement);
    drop.points = drop.reference - drop.test;
  } else {
    drop.reference = measured.metrics[0];
    drop.test = measured.metrics[1];
    drop.points = drop_in_points(drop.metric, drop.reference, drop.test);
  }
  const bool poor = is_poor(record.outputs, samples.source);
  if (!poor && drop.points <= drop.allowed) return {};
  const std::vector<report::LayerRow> layers = measure_layers(check, written, *samples.dataset, pool);
  if (drop.points > drop.allowed)
    return fail(ExitCode::verification, "{} Nothing was written.", too_much_lost(drop, samples.source.count, layers));
  record.warnings.push_back(poor_warning(record.outputs, samples.source, layers));
  return {};
}

// What was read back and equals what was written to the last bit is the same weight: held once, not twice.
void share_equal_weights(Graph& reread, const Graph& written) {
  constexpr std::size_t kWorthSharing = 1u << 20;
  for (const ValueId id : reread.value_ids()) {
    const Value& value = reread.value(id);
    if (!value.constant || value.constant->bytes().size() < kWorthSharing) continue;
    const ValueId source = written.find_value(value.name);
    if (!source.valid() || !written.value(source).constant || !written.value(source).constant->same_bits(*value.constant)) continue;
    reread.set_constant(id, *written.value(source).constant);
  }
}

// Exports into the staging folder, reads it back and returns what was read.
Result<Model> export_and_reload(const Model& model, const Staging& staging, const std::string& name, const Loaded& source,
                                report::WriteRecord& record) {
  BEVEL_TRY_STATUS(onnx::export_model(model, staging.path_of(name)));
  for (const std::string& file : {name, name + ".data"}) {
    std::error_code absent;
    const std::uintmax_t bytes = fs::file_size(staging.path_of(file), absent);
    if (!absent) record.files.push_back({file, bytes});
  }
  if (source.beyond_knowledge.empty()) {
    BEVEL_TRY(Loaded loaded, load_model(staging.path_of(name), {}, Feeding::whole_tensors, source.bounds));
    share_equal_weights(loaded.model.graph, model.graph);
    return std::move(loaded.model);
  }
  BEVEL_TRY(Model reloaded, onnx::import_model(staging.path_of(name), source.bounds.import_options()));
  std::string why;
  if (!same_model(model, reloaded, &why))
    return fail(ExitCode::verification, "verification failed: the written file reads back differently ({}). Nothing was written.", why);
  return reloaded;
}

Status publish_model(Staging& staging, const std::string& name) {
  std::vector<std::string> names;
  std::error_code error;
  if (fs::exists(staging.path_of(name + ".data"), error)) names.push_back(name + ".data");
  names.push_back(name);
  return staging.publish(names);
}

// The end of every road that makes a model: exported beside `out`, read back, run beside its source, and only then given its name. Without
// `staging`, a dry run, nothing.
Status write_checked(const Model& model, const Check& check, std::optional<Staging>& staging, const fs::path& out,
                     const CommonRequest& request, report::WriteRecord& record) {
  if (!staging) return {};
  const std::string name = out.filename().string();
  BEVEL_TRY(const Model written, export_and_reload(model, *staging, name, check.source, record));
  BEVEL_TRY_STATUS(check_against_source(check, written, request, record));
  return publish_model(*staging, name);
}

Result<std::optional<Calibration>> optional_calibration(const std::optional<fs::path>& data, const std::optional<fs::path>& profile,
                                                        const Model& model, std::optional<std::size_t> max_samples,
                                                        WorkerPool& pool, const Bounds& bounds) {
  if (data && profile) return fail(ExitCode::usage, "--calib and --profile exclude each other: give one of them.");
  std::optional<Calibration> calibration;
  if (data) {
    BEVEL_TRY(calibration, calibrate_on_samples(*data, data::inputs_needing_data(model.graph), max_samples, pool, bounds));
  } else if (profile) {
    BEVEL_TRY(calibration, calibrate_from_profile(*profile));
  }
  return calibration;
}

// In a quantized model, a sum that rounds differently moves what is rounded from it by a whole step where it lies between two: some elements in
// a thousand, measured on small nets (53 dB where 12 of 480 moved).
constexpr double kRoundedGridDb = 40;

bool rounds_values(const Model& model) {
  const auto order = model.graph.node_order();
  return std::any_of(order.begin(), order.end(), [&](NodeId id) { return ops::quant_node(model.graph.node(id)) == ops::QuantNode::quantize; });
}

bool any_rounding(const std::vector<passes::PassReport>& reports) {
  return std::any_of(reports.begin(), reports.end(), [](const passes::PassReport& report) {
    const passes::PassRecord* pass = passes::find_pass(report.pass);
    return report.stats.changes > 0 && pass != nullptr && pass->accuracy == passes::Accuracy::rounding;
  });
}

// Rounding-class pipelines must keep their outputs to rounding; a lossy pass only has to keep them finite.
double required_db(const std::vector<passes::PipelineStep>& pipeline) {
  for (const passes::PipelineStep& step : pipeline)
    if (step.pass->accuracy == passes::Accuracy::lossy) return kFiniteOnlyDb;
  return kRoundingSqnrDb;
}

}  // namespace

Result<report::WriteRecord> optimize(const OptimizeRequest& request) {
  report::WriteRecord record;
  record.command = request.command;
  record.dry_run = request.dry_run;
  BEVEL_TRY_STATUS(check_opset(request.opset));
  BEVEL_TRY(const auto shapes, parse_shapes(request.shapes));
  BEVEL_TRY(const Bounds bounds, read_bounds(request.bounds));
  std::vector<passes::PipelineStep> pipeline;
  if (!request.pipeline.empty()) {
    const std::string_view named = passes::named_pipeline(request.pipeline);
    BEVEL_TRY(pipeline, passes::parse_pipeline(named.empty() ? std::string_view(request.pipeline) : named));
  }
  double required = required_db(pipeline);
  const Feeding feeding = request.data || request.calibration ? Feeding::samples : Feeding::whole_tensors;
  BEVEL_TRY(const Loaded source, load_model(request.model, shapes, feeding, bounds));
  BEVEL_TRY(auto staging, stage_beside(request.out, request.dry_run));
  Model model = source.model;
  record.nodes_before = model.graph.node_count();
  WorkerPool pool(request.threads);
  BEVEL_TRY(const auto calibration,
            optional_calibration(request.calibration, request.profile, model, request.max_samples, pool, source.bounds));
  if (source.beyond_knowledge.empty()) {
    passes::RunOptions options;
    options.verify_each = request.verify_each;
    options.reproducer = request.reproducer;
    std::vector<passes::PassReport> reports;
    if (request.pipeline.empty()) {
      BEVEL_TRY(reports, of_file(request.model, passes::simplify(model, options)));
    } else {
      RecipeFlags flags;
      flags.recipe = request.recipe;
      BEVEL_TRY(const passes::Recipe recipe, choose_recipe(flags, kNeutralActivations, model));
      passes::PassContext context;
      context.measure = calibration ? calibration->measure.get() : nullptr;
      context.recipe = &recipe;
      const Model reference = model;
      context.reference = &reference;
      context.pool = &pool;
      BEVEL_TRY(reports, of_file(request.model, passes::run_pipeline(model, pipeline, context, options)));
    }
    if (rounds_values(source.model) && any_rounding(reports)) required = std::min(required, kRoundedGridDb);
    for (const passes::PassReport& report : reports) {
      record.passes.push_back({report.pass, report.stats.changes});
      for (const passes::NodeNote& note : report.stats.notes) {
        if (note.node.empty()) record.notes.push_back(note.text);
        else record.stays_float.push_back({note.node, note.op_type, note.text});
      }
    }
  } else {
    if (request.opset) return fail_input("{}: {}, so it cannot be written in another.", request.model.filename().string(), source.beyond_knowledge);
    record.notes.push_back(fmt::format("{}: carried through unchanged.", source.beyond_knowledge));
  }
  BEVEL_TRY_STATUS(of_file(request.model, put_in_opset(model, request.opset)));
  record.nodes_after = model.graph.node_count();
  BEVEL_TRY_STATUS(write_checked(model, {source, request.data ? request.data : request.calibration, "data", required},
                                 staging, request.out, request, record));
  return record;
}

Result<report::WriteRecord> calibrate(const CalibrateRequest& request) {
  report::WriteRecord record;
  record.command = "calibrate";
  record.dry_run = request.dry_run;
  BEVEL_TRY(const auto shapes, parse_shapes(request.shapes));
  BEVEL_TRY(const Bounds bounds, read_bounds(request.bounds));
  BEVEL_TRY(Loaded source, load_model(request.model, shapes, Feeding::samples, bounds));
  if (!source.beyond_knowledge.empty())
    return fail_input("{}: {}, so it cannot be calibrated.", request.model.filename().string(), source.beyond_knowledge);
  BEVEL_TRY(auto staging, stage_beside(request.out, request.dry_run));
  record.nodes_before = source.model.graph.node_count();
  BEVEL_TRY(const bool widened, of_file(request.model, simplify_for_quantization(source.model)));
  if (widened) record.notes.push_back(kWidened);
  record.nodes_after = source.model.graph.node_count();
  WorkerPool pool(request.threads);
  BEVEL_TRY(Calibration calibration,
            calibrate_on_samples(request.calibration, data::inputs_needing_data(source.model.graph), request.max_samples, pool,
                                 source.bounds));
  // A dry run still quantizes a throw-away copy: it finds what the real run would stumble over.
  RecordingMeasure recorder(*calibration.measure);
  Model trial = source.model;
  passes::Recipe recipe;
  recipe.rounding = "nearest";  // what a profile can be asked for
  recipe.equalize = false;
  BEVEL_TRY(Quantized quantized, of_file(request.model, quantize_model(trial, recipe, &recorder)));
  record.stays_float = std::move(quantized.stays_float);
  calibration::Profile profile{calibration::model_hash(source.model), calibration.source.sha256, recorder.take()};
  for (const fs::path& path : request.merge) {
    BEVEL_TRY(const calibration::Profile other, calibration::read_profile(path));
    auto merged = calibration::merge(profile, other);
    if (!merged) return located(printable(path.string()), std::move(merged).error());
    profile = std::move(*merged);
  }
  record.notes.push_back(fmt::format("{} values measured on {} samples", profile.statistics.values.size(), profile.statistics.samples));
  if (!staging) return record;
  const std::string name = request.out.filename().string();
  BEVEL_TRY_STATUS(calibration::write_profile(profile, staging->path_of(name)));
  BEVEL_TRY(const bool same, calibration::reads_back(profile, staging->path_of(name)));
  if (!same)
    return fail(ExitCode::verification, "verification failed: the written profile reads back differently. Nothing was written.");
  std::error_code error;
  record.files.push_back({name, fs::file_size(staging->path_of(name), error)});
  record.notes.push_back("checked: the written profile reads back equal");
  BEVEL_TRY_STATUS(staging->publish({name}));
  return record;
}

Result<report::WriteRecord> quantize(const QuantizeRequest& request) {
  report::WriteRecord record;
  record.command = "quantize";
  record.dry_run = request.dry_run;
  if (request.calibration && request.profile)
    return fail(ExitCode::usage, "--calib and --profile exclude each other: give one of them.");
  if (request.max_drop && !(*request.max_drop >= 0))
    return fail(ExitCode::usage, "--max-drop {}: expected points of the metric, 0 or more.", *request.max_drop);
  if (request.max_drop && !request.calibration && !request.evaluation)
    return fail(ExitCode::usage, "--max-drop needs samples to measure it on: give --eval DATA.");
  BEVEL_TRY_STATUS(check_opset(request.opset));
  std::string activations = kNeutralActivations, onnx_runtime;
  PrecisionRequest search;
  if (request.target) {
    BEVEL_TRY(search.device, target::find_device(*request.target));
    activations = search.device->activation_dtype;
    onnx_runtime = search.device->onnx_runtime;
  }
  if (!request.budget.empty()) {
    if (!request.target) return fail(ExitCode::usage, "--budget limits what a device has: give --target too.");
    if (!searches_precision(request.recipe))
      return fail(ExitCode::usage, "--budget limits the choice of --precision auto (or --preset mixed): give that too; `bevel compile` judges any choice by a budget.");
    BEVEL_TRY(search.budget, target::parse_budget(request.budget));
    BEVEL_TRY_STATUS(check_stated(search.budget, *search.device));
  }
  if (request.write_recipe) BEVEL_TRY_STATUS(file_behind(*request.write_recipe));
  BEVEL_TRY(const auto shapes, parse_shapes(request.shapes));
  BEVEL_TRY(const Bounds bounds, read_bounds(request.bounds));
  BEVEL_TRY(const Loaded source, load_model(request.model, shapes, Feeding::samples, bounds));
  if (!source.beyond_knowledge.empty())
    return fail_input("{}: {}, so it cannot be quantized.", request.model.filename().string(), source.beyond_knowledge);
  BEVEL_TRY(auto staging, stage_beside(request.out, request.dry_run));
  Model model = source.model;
  record.nodes_before = model.graph.node_count();
  BEVEL_TRY(const bool widened, of_file(request.model, simplify_for_quantization(model)));
  if (widened) record.notes.push_back(kWidened);
  const Model simplified = model;
  BEVEL_TRY(passes::Recipe recipe, choose_recipe(request.recipe, activations, model));
  choose_runtime(recipe, onnx_runtime);
  if (!request.calibration && !request.profile && passes::needs_calibration(recipe))
    return fail(ExitCode::usage, "quantize needs calibration data: give either --calib DATA or --profile PROFILE. Weights alone (--activations "
                "float32), dynamic activations and half precision (--weights float16) need none.");
  WorkerPool pool(request.threads);
  BEVEL_TRY(auto calibration,
            optional_calibration(request.calibration, request.profile, model, request.dry_run ? 1 : request.max_samples, pool,
                                 source.bounds));
  const BranchData branches{calibration ? calibration->dataset.get() : nullptr, source.bounds.eval_options()};
  if (searches_precision(request.recipe) && !request.dry_run) {
    if (!calibration) return fail(ExitCode::usage, "--precision auto measures layers on samples: give --calib DATA.");
    search.base = recipe;
    search.measure = calibration->measure.get();
    search.pool = &pool;
    search.branches = branches;
    search.max_drop = request.max_drop.value_or(kSearchDrop);
    Samples evaluation;
    if (request.evaluation) {
      BEVEL_TRY(evaluation, open_samples(*request.evaluation, data::inputs_needing_data(model.graph), request.max_samples, "evaluation", source.bounds));
      search.judge = drop_judge(simplified, *evaluation.dataset, pool, source.bounds);
      search.judged_by = fmt::format("{} on the evaluation samples", evaluation.dataset->has_labels() ? evaluation.dataset->metric() : "agreement");
    }
    BEVEL_TRY(PrecisionChoice choice, of_file(request.model, search_precision(model, search)));
    for (std::string& line : describe(choice.record)) record.notes.push_back(std::move(line));
    record.precision = std::move(choice.record);
    recipe = std::move(choice.recipe);
  }
  BEVEL_TRY(Quantized quantized, of_file(request.model, quantize_model(model, recipe, calibration ? calibration->measure.get() : nullptr, &pool, branches)));
  record.stays_float = std::move(quantized.stays_float);
  record.notes.insert(record.notes.end(), quantized.notes.begin(), quantized.notes.end());
  if (quantized.changes == 0) record.notes.push_back(quantized.already ? kAlreadyQuantized : kNothingQuantized);
  if (passes::only_in_onnx(recipe).starts_with("bfloat16"))
    record.notes.push_back("ONNX Runtime's CPU provider has kernels for few operators in bfloat16: what is written is run and compared by Bevel alone");
  calibration.reset();  // a profile is large, and the check below has no use for it
  BEVEL_TRY_STATUS(of_file(request.model, put_in_opset(model, request.opset)));
  record.nodes_after = model.graph.node_count();
  BEVEL_TRY_STATUS(write_checked(model, {source, request.evaluation ? request.evaluation : request.calibration,
                                         request.evaluation ? "evaluation" : "calibration", kFiniteOnlyDb, &simplified, request.max_drop},
                                 staging, request.out, request, record));
  if (request.write_recipe && staging) BEVEL_TRY_STATUS(write_file_atomically(*request.write_recipe, passes::to_json(recipe)));
  return record;
}

Result<report::WriteRecord> emit_c(const EmitRequest& request) {
  report::WriteRecord record;
  record.command = "emit-c";
  record.dry_run = request.dry_run;
  BEVEL_TRY(const auto shapes, parse_shapes(request.shapes));
  BEVEL_TRY(const Bounds bounds, read_bounds(request.bounds));
  BEVEL_TRY(Loaded source, load_model(request.model, shapes, Feeding::program, bounds));
  if (!source.beyond_knowledge.empty())
    return fail_input("{}: {}, so it cannot be lowered.", request.model.filename().string(), source.beyond_knowledge);
  std::optional<Staging> staging;
  if (request.dry_run) {
    BEVEL_TRY_STATUS(can_write_into(request.out, /*create_folder=*/true));
  } else {
    auto created = Staging::create(request.out, /*create_folder=*/true);
    if (!created) return Failure(std::move(created).error());
    staging.emplace(std::move(*created));
  }
  record.nodes_before = source.model.graph.node_count();
  Model model = source.model;
  BEVEL_TRY(const bool widened, of_file(request.model, simplify_for_quantization(model)));
  if (widened) record.notes.push_back("the file is in half precision: its arithmetic is in float32, and weights stay float16 where float16 holds them");
  record.nodes_after = model.graph.node_count();
  BEVEL_TRY_STATUS(of_file(request.model, refuse_float8(model)));
  Model borders = model;
  if (widened) store_half_weights(borders);
  BEVEL_TRY(const bool wide_borders, widen_borders(borders));
  if (wide_borders) record.notes.push_back(kWidenedBorders);
  plan::PlanOptions options;
  options.float_io = request.float_io;
  auto planned = plan::plan_model(borders, options);
  if (!planned) return located(request.model.filename().string(), std::move(planned).error());
  for (const plan::FloatNote& note : planned->stays_float) record.stays_float.push_back({note.node, note.op_type, note.reason});
  emit::EmitOptions emit_options;
  emit_options.name = request.name;
  BEVEL_TRY(const emit::CSource c, emit::emit_c(planned->program, emit_options));
  const std::vector<std::byte> bytes = plan::program_bytes(planned->program);
  const std::vector<std::string> names{request.name + ".c", request.name + ".h", request.name + ".bvl"};
  record.files = {{names[0], c.source.size()}, {names[1], c.header.size()}, {names[2], bytes.size()}};
  if (!staging) return record;
  BEVEL_TRY_STATUS(staging->write(names[0], c.source));
  BEVEL_TRY_STATUS(staging->write(names[1], c.header));
  BEVEL_TRY_STATUS(staging->write(names[2], bytes));
  // The C source and the .bvl hold the same Program: the .bvl is run by the runtime here, against the simplified model that it was
  // made of (the same values, by the same kernels) and against the source (which simplifying may round differently).
  BEVEL_TRY(const auto before, runnable_of(source.model, "source model"));
  BEVEL_TRY(const auto lowered, runnable_of(model, "simplified model", evaluated_by_kernels()));
  BEVEL_TRY(auto after, open_runnable(staging->path_of(names[2])));
  if (wide_borders) after = in_types_of(model, std::move(after));
  BEVEL_TRY(const Samples samples, random_samples(after->inputs()));
  WorkerPool pool(request.threads);
  BEVEL_TRY(const Measured measured,
            of_file(request.model, measure_side_by_side({before.get(), lowered.get(), after.get()}, {{0, 2}, {1, 2}}, *samples.dataset, pool, "check")));
  record.samples = samples.source;
  record.outputs = measured.pairs[0];
  BEVEL_TRY_STATUS(require_same_values(measured.pairs[1], "the Program in the C runtime against its model"));
  // The source rounds each result to 11 bits, or 8.
  constexpr double kHalfSqnrDb = 20;
  BEVEL_TRY_STATUS(require_sqnr(record.outputs, widened ? kHalfSqnrDb : kRoundingSqnrDb, "the Program in the C runtime against the source model"));
  BEVEL_TRY_STATUS(staging->publish(names));
  return record;
}

}  // namespace bevel::driver
