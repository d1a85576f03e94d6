// The road, top to bottom: load, simplify, calibrate and quantize, export and re-import, plan, judge the budget, emit,
// verify, report. Every function below is one leg of it and takes what it needs from the traveller's bag.
#include "lib/driver/compile.h"

#include <algorithm>

#include "calibration/calibration.h"
#include "lib/data/dataset.h"
#include "lib/driver/budget.h"
#include "lib/driver/drop_judge.h"
#include "lib/driver/half_borders.h"
#include "lib/driver/in_opset.h"
#include "lib/driver/judge.h"
#include "lib/driver/load.h"
#include "lib/driver/precision_search.h"
#include "lib/driver/quantize_leg.h"
#include "lib/driver/runnable.h"
#include "lib/driver/samples.h"
#include "lib/driver/staging.h"
#include "lib/driver/verify.h"
#include "lib/emit/emit_c.h"
#include "lib/onnx/onnx.h"
#include "lib/ops/facts_derived.h"
#include "lib/plan/program.h"
#include "lib/report/report.h"
#include "lib/support/atomic_file.h"
#include "lib/support/hash.h"
#include "lib/target/target.h"
#include "passes/pass.h"

namespace bevel::driver {

namespace {

constexpr const char* kOnnxName = "model.int8.onnx";
constexpr const char* kProgramName = "model.bvl";

struct Bag {
  const CompileRequest& request;
  WorkerPool pool;
  target::Device device;
  target::Budget budget;
  Loaded source;        // the float reference
  Model simplified;
  Model int8;           // as re-imported from the staged file
  bool widened_borders = false;  // of the Program; int8 has the file's
  passes::Recipe recipe;
  Samples verification;
  plan::Plan plan;
  report::CompileRecord record;
  std::vector<std::filesystem::path> read;  // every file that the outputs are made from

  explicit Bag(const CompileRequest& r) : request(r), pool(r.threads) {}
};

std::uint64_t graph_macs(const Model& model) {
  std::uint64_t sum = 0;
  for (const NodeId id : model.graph.node_order())
    sum += static_cast<std::uint64_t>(std::max<std::int64_t>(0, ops::macs(ops::facts_of(model, model.graph, id).space).value_or(0)));
  return sum;
}

// MACs of one inference: the batch symbol counts as 1.
std::uint64_t macs_of_one(const Model& model) {
  Model bound = model;
  std::vector<ops::ShapeBinding> bindings;
  for (const data::ModelInput& input : data::inputs_needing_data(model.graph))
    if (input.type.is_tensor() && input.type.shape.has_rank && input.type.shape.rank() > 0 && input.type.shape.dims[0].named())
      if (const std::string& symbol = input.type.shape.dims[0].symbol;
          std::none_of(bindings.begin(), bindings.end(), [&](const auto& b) { return b.name == symbol; }))
        bindings.push_back({symbol, {1}});
  if (!ops::bind_shapes(bound, bindings) || !ops::infer_types(bound)) return graph_macs(model);
  return graph_macs(bound);
}

void add_files(Bag& bag, const std::vector<std::filesystem::path>& files) {
  for (const std::filesystem::path& file : files)
    if (std::find(bag.read.begin(), bag.read.end(), file) == bag.read.end()) bag.read.push_back(file);
}

Status read_inputs(Bag& bag) {
  const CompileRequest& request = bag.request;
  BEVEL_TRY(bag.device, target::find_device(request.target));
  if (!request.budget.empty()) {
    BEVEL_TRY(bag.budget, target::parse_budget(request.budget));
    BEVEL_TRY_STATUS(check_stated(bag.budget, bag.device));
  }
  if (request.calibration.has_value() == request.profile.has_value())
    return fail(ExitCode::usage, "compile needs calibration data: give either --calib DATA or --profile PROFILE.");
  if (request.max_drop && !(*request.max_drop >= 0))
    return fail(ExitCode::usage, "--max-drop {}: expected points of the metric, 0 or more.", *request.max_drop);
  BEVEL_TRY_STATUS(check_opset(request.opset));
  BEVEL_TRY(const auto shapes, parse_shapes(request.shapes));
  BEVEL_TRY(const Bounds bounds, read_bounds(request.bounds));
  BEVEL_TRY(bag.source, load_model(request.model, shapes, Feeding::samples, bounds));
  if (!bag.source.beyond_knowledge.empty())
    return fail_input("{}: {}, so it cannot be quantized.", request.model.filename().string(), bag.source.beyond_knowledge);
  add_files(bag, bag.source.files);
  if (!bag.device.file.empty()) add_files(bag, {bag.device.file});
  if (request.recipe.recipe) add_files(bag, {*request.recipe.recipe});
  if (request.profile) add_files(bag, {*request.profile});
  return {};
}

void describe_source(Bag& bag) {
  report::CompileRecord& record = bag.record;
  record.model.graph = printable(bag.source.model.graph.name);
  record.model.sha256 = bag.source.sha256;
  record.model.opset = bag.source.file_opset;
  record.model.nodes = bag.source.model.graph.node_count();
  record.model.nodes_simplified = bag.simplified.graph.node_count();
  record.model.parameters = parameter_count(bag.simplified.graph);
  record.model.macs = macs_of_one(bag.simplified);
  record.float_onnx_bytes = bag.source.file_bytes;
  record.target = {bag.device.name, bag.device.summary, bag.device.isa, bag.device.clock_hz.value};
  record.max_drop = bag.request.max_drop;
}

Status simplify_and_quantize(Bag& bag) {
  const CompileRequest& request = bag.request;
  bag.simplified = bag.source.model;
  BEVEL_TRY(const bool widened, of_file(request.model, simplify_for_quantization(bag.simplified)));
  if (widened) bag.record.notes.push_back(kWidened);
  BEVEL_TRY(bag.recipe, choose_recipe(request.recipe, bag.device.activation_dtype, bag.simplified));
  choose_runtime(bag.recipe, bag.device.onnx_runtime);
  if (const std::string only = passes::only_in_onnx(bag.recipe); !only.empty())
    return fail(ExitCode::usage, "compile: the recipe asks for {}, for which the C runtime has no kernels; `bevel quantize` writes it as ONNX.", only);
  describe_source(bag);
  const auto inputs = data::inputs_needing_data(bag.simplified.graph);
  Calibration calibration;
  if (request.calibration) {
    const std::optional<std::size_t> limit = request.dry_run ? 1 : request.max_samples;
    BEVEL_TRY(calibration, calibrate_on_samples(*request.calibration, inputs, limit, bag.pool, bag.source.bounds));
  } else {
    BEVEL_TRY(calibration, calibrate_from_profile(*request.profile));
  }
  bag.record.calibration = calibration.source;
  if (calibration.dataset) add_files(bag, calibration.dataset->files());
  // The evaluation data is opened before the long work starts: a wrong description is found at once.
  if (request.evaluation) {
    BEVEL_TRY(bag.verification, open_samples(*request.evaluation, inputs, request.max_samples, "evaluation", bag.source.bounds));
  } else if (request.calibration && !request.dry_run) {
    BEVEL_TRY(bag.verification, open_samples(*request.calibration, inputs, request.max_samples, "calibration", bag.source.bounds));
  } else {
    BEVEL_TRY(bag.verification, random_samples(inputs));
  }
  add_files(bag, bag.verification.dataset->files());
  for (const std::string& note : bag.verification.dataset->notes()) bag.record.notes.push_back(note);
  if (bag.recipe.activations == "uint8")
    bag.record.notes.push_back(
        "model.int8.onnx has uint8 activations; model.c and model.bvl hold the same integers as int8: uint8 - 128, with the same "
        "scales and zero points 128 lower");
  bag.int8 = bag.simplified;
  if (searches_precision(request.recipe) && !request.dry_run) {
    PrecisionRequest search;
    search.base = bag.recipe;
    search.measure = calibration.measure.get();
    search.pool = &bag.pool;
    search.max_drop = request.max_drop.value_or(kSearchDrop);
    search.device = bag.device;
    search.budget = bag.budget;
    if (request.evaluation) {
      const data::Dataset& dataset = *bag.verification.dataset;
      search.judge = drop_judge(bag.simplified, dataset, bag.pool, bag.source.bounds);
      search.judged_by = fmt::format("{} on the evaluation samples", dataset.has_labels() ? dataset.metric() : "agreement");
    }
    BEVEL_TRY(PrecisionChoice choice, of_file(request.model, search_precision(bag.simplified, search)));
    for (std::string& line : describe(choice.record)) bag.record.notes.push_back(std::move(line));
    bag.record.precision = std::move(choice.record);
    bag.recipe = std::move(choice.recipe);
  }
  BEVEL_TRY(Quantized quantized, of_file(request.model, quantize_model(bag.int8, bag.recipe, calibration.measure.get(), &bag.pool)));
  bag.record.stays_float = std::move(quantized.stays_float);
  bag.record.notes.insert(bag.record.notes.end(), quantized.notes.begin(), quantized.notes.end());
  if (!bag.device.onnx_runtime.empty())
    bag.record.notes.push_back(
        quantized.saturation_free
            ? "model.int8.onnx computes what it says in ONNX Runtime's default session on x86-64, with VNNI instructions or without: no two of its weights "
              "can saturate a 16-bit sum of their products (runtime onnxruntime-avx2); model.c and model.bvl hold the same integers"
            : "ONNX Runtime on x86-64 without VNNI instructions saturates 16-bit sums in its default int8 kernels and then computes "
              "something else than this model: create its session with the config entry session.x64quantprecision=1.");
  if (quantized.changes == 0) bag.record.notes.push_back(quantized.already ? kAlreadyQuantized : kNothingQuantized);
  return {};
}

// Nodes that lowering left in float and the quantizer did not already name.
void add_float_notes(report::CompileRecord& record, const std::vector<plan::FloatNote>& notes) {
  for (const plan::FloatNote& note : notes)
    if (std::none_of(record.stays_float.begin(), record.stays_float.end(), [&](const auto& row) { return row.node == note.node; }))
      record.stays_float.push_back({note.node, note.op_type, note.reason});
}

Status export_and_plan(Bag& bag, Staging* staging) {
  Model written = bag.int8;
  BEVEL_TRY_STATUS(of_file(bag.request.model, put_in_opset(written, bag.request.opset)));
  if (staging) {
    BEVEL_TRY_STATUS(onnx::export_model(written, staging->path_of(kOnnxName)));
    BEVEL_TRY(Loaded loaded, load_model(staging->path_of(kOnnxName), {}, Feeding::whole_tensors, bag.source.bounds));
    bag.int8 = std::move(loaded.model);
    bag.record.int8_onnx_bytes = loaded.file_bytes;
  }
  plan::PlanOptions options;
  options.float_io = bag.request.float_io;
  BEVEL_TRY_STATUS(of_file(bag.request.model, refuse_float8(bag.int8)));
  Model borders = bag.int8;
  BEVEL_TRY(bag.widened_borders, widen_borders(borders));
  if (bag.widened_borders) bag.record.notes.push_back(kWidenedBorders);
  auto planned = staging ? plan::plan_model(borders, options) : plan::plan_shapes(borders, options);
  if (!planned) {
    Diagnostic refusal = std::move(planned).error();
    if (refusal.code == ExitCode::input)
      refusal.message += " A device's Program cannot hold this model; `bevel quantize` still writes it as int8 ONNX, for runtimes that can.";
    return located(bag.request.model.filename().string(), std::move(refusal));
  }
  bag.plan = std::move(*planned);
  add_float_notes(bag.record, bag.plan.stays_float);
  return {};
}

Status emit(Bag& bag, Staging& staging) {
  const std::vector<std::byte> bytes = plan::program_bytes(bag.plan.program);
  BEVEL_TRY(const emit::CSource source, emit::emit_c(bag.plan.program));
  BEVEL_TRY_STATUS(staging.write(kProgramName, bytes));
  BEVEL_TRY_STATUS(staging.write("model.c", source.source));
  BEVEL_TRY_STATUS(staging.write("model.h", source.header));
  BEVEL_TRY_STATUS(staging.write("recipe.json", passes::to_json(bag.recipe)));
  bag.record.program_bytes = bytes.size();
  bag.record.c_source_bytes = source.source.size() + source.header.size();
  return {};
}

Result<bool> verify(Bag& bag, Staging& staging) {
  report::CompileRecord& record = bag.record;
  // The evaluator's own way: reference evaluation of a float model, the kernels for one that has integer layers already.
  BEVEL_TRY(const auto float_model, runnable_of(bag.source.model, "float model", bag.source.bounds.eval_options()));
  BEVEL_TRY(const auto int8_model, runnable_of(bag.int8, kOnnxName, evaluated_by_kernels(bag.source.bounds)));
  BEVEL_TRY(auto program, open_runnable(staging.path_of(kProgramName)));
  if (bag.widened_borders) program = in_types_of(bag.int8, std::move(program));
  BEVEL_TRY(const Measured measured,
            measure_side_by_side({float_model.get(), int8_model.get(), program.get()}, {{0, 1}, {1, 2}},
                                 *bag.verification.dataset, bag.pool, "verify"));
  record.samples = bag.verification.source;
  record.int8_outputs = measured.pairs[0];
  record.runtime_outputs = measured.pairs[1];
  double drop = 0;
  if (!measured.metric.empty()) {
    record.metric = report::MetricFigures{measured.metric, measured.metrics[0], measured.metrics[1], measured.metrics[2]};
    for (const double test : {measured.metrics[1], measured.metrics[2]})
      drop = std::max(drop, drop_in_points(measured.metric, measured.metrics[0], test));
  } else {
    for (const report::OutputComparison& output : record.int8_outputs) drop = std::max(drop, 100 - 100 * output.agreement);
  }
  record.drop = drop;
  BEVEL_TRY(const auto sqnr, layer_sqnr(bag.simplified, bag.int8, *bag.verification.dataset, kLayerSamples, bag.pool,
                                         bag.source.bounds));
  for (report::LayerRow& row : record.layers)
    if (const auto found = sqnr.find(row.name); found != sqnr.end()) row.sqnr_db = found->second;
  if (is_poor(record.int8_outputs, *record.samples))
    record.warnings.push_back(poor_warning(record.int8_outputs, *record.samples, record.layers));
  return judge_fidelity(record);
}

// report.md names the other files' hashes, report.json also its own; report.json is published last.
Status publish(Bag& bag, Staging& staging, std::vector<std::string> names) {
  for (const std::string& name : names) {
    BEVEL_TRY(bag.record.files[name], sha256_of_file(staging.path_of(name)));
  }
  const std::string markdown = report::to_markdown(bag.record);
  bag.record.files["report.md"] = sha256_hex(markdown);
  BEVEL_TRY_STATUS(staging.write("report.md", markdown));
  BEVEL_TRY_STATUS(staging.write("report.json", report::to_json(bag.record)));
  names.insert(names.end(), {"report.md", "report.json"});
  return staging.publish(names);
}

// Everything that a run may have put into the folder, but for the report, which is replaced on failure too.
constexpr const char* kOutputs[] = {kOnnxName, "model.int8.onnx.data", "model.c", "model.h", kProgramName, "recipe.json"};

Result<CompileOutcome> refuse(Bag& bag, Staging* staging, ExitCode code, const char* status) {
  bag.record.status = status;
  if (staging) BEVEL_TRY_STATUS(publish(bag, *staging, {}));
  return CompileOutcome{std::move(bag.record), code, std::move(bag.read)};
}

}  // namespace

std::string left_from_earlier_run(const CompileRequest& request, bool report_too) {
  std::vector<std::string> names(std::begin(kOutputs), std::end(kOutputs));
  if (report_too) names.insert(names.end(), {"report.md", "report.json"});
  return earlier_outputs(request.out, names);
}

Result<CompileOutcome> compile(const CompileRequest& request) {
  Bag bag(request);
  BEVEL_TRY_STATUS(read_inputs(bag));
  for (const char* name : kOutputs) BEVEL_TRY_STATUS(file_behind(request.out / name));  // before the long work, not after it
  std::optional<Staging> staging;
  if (request.dry_run) {
    BEVEL_TRY_STATUS(can_write_into(request.out, /*create_folder=*/true));
  } else {
    auto created = Staging::create(request.out, /*create_folder=*/true);
    if (!created) return Failure(std::move(created).error());
    staging.emplace(std::move(*created));
  }
  Staging* stage = staging ? &*staging : nullptr;
  BEVEL_TRY_STATUS(simplify_and_quantize(bag));
  BEVEL_TRY_STATUS(export_and_plan(bag, stage));
  BEVEL_TRY(const bool affordable, judge_budget(bag.plan.program, bag.device, bag.budget, bag.record));
  if (!affordable) return refuse(bag, stage, ExitCode::budget, "budget-missed");
  if (!stage) {
    bag.record.status = "dry-run";
    return CompileOutcome{std::move(bag.record), ExitCode::ok, std::move(bag.read)};
  }
  BEVEL_TRY_STATUS(emit(bag, *stage));
  BEVEL_TRY(const bool faithful, verify(bag, *stage));
  if (!faithful) return refuse(bag, stage, ExitCode::verification, "verification-failed");
  std::vector<std::string> names{kOnnxName, "model.c", "model.h", kProgramName, "recipe.json"};
  std::error_code error;
  if (std::filesystem::exists(stage->path_of(std::string(kOnnxName) + ".data"), error))
    names.insert(names.begin(), std::string(kOnnxName) + ".data");
  BEVEL_TRY_STATUS(publish(bag, *stage, std::move(names)));
  return CompileOutcome{std::move(bag.record), ExitCode::ok, std::move(bag.read)};
}

}  // namespace bevel::driver
