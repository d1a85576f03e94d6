#include "lib/driver/precision_search.h"

#include <algorithm>
#include <numeric>

#include "lib/driver/joint_search.h"
#include "lib/driver/keeping_measure.h"
#include "lib/driver/output_distance.h"
#include "lib/driver/precision_groups.h"
#include "lib/ops/op.h"
#include "lib/ops/opset.h"
#include "lib/report/report.h"
#include "passes/pass.h"

namespace bevel::driver {

namespace {

constexpr std::int64_t kOpset = 21;            // of int4 and int16
constexpr std::size_t kJointSamples = 512;
// A group's trial runs so many samples where the groups are many, and wider formats are tried for so many groups, those that 4 bits cost most.
constexpr std::size_t kManyGroups = 24, kFewSamples = 16;

bool has_8bit_activations(const passes::Recipe& recipe) {
  return !recipe.activations || *recipe.activations == "int8" || *recipe.activations == "uint8";
}

// The models that losses are measured on. All come from one equalized float model, so that nothing but the format differs.
class Trials {
 public:
  Trials(const PrecisionRequest& request) : request_(request), keeping_(*request.measure) {}

  Status prepare(const Model& model) {
    source_ = model;
    if (source_.opset() < kOpset) BEVEL_TRY_STATUS(ops::convert_opset(source_, kOpset));
    base_ = request_.base;
    base_.precision = "int8";
    if (base_.equalize && has_8bit_activations(base_)) {
      passes::PassContext context;
      context.measure = request_.measure;
      context.recipe = &base_;
      context.pool = request_.pool;
      BEVEL_TRY(const auto pipeline, passes::parse_pipeline("equalize-channels"));
      BEVEL_TRY([[maybe_unused]] const auto reports, passes::run_pipeline(source_, pipeline, context));
      base_.equalize = false;
    }
    BEVEL_TRY(eight_, quantized(base_, *request_.measure));
    passes::Recipe narrow = base_;
    narrow.precision = "int4";
    if (passes::check_combination(narrow)) {
      BEVEL_TRY(four_, quantized(narrow, *request_.measure));
    }
    quick_ = base_;
    quick_.rounding = "nearest";
    BEVEL_TRY(quick_eight_, quantized(quick_, keeping_));
    if (has_8bit_activations(base_)) {
      passes::Recipe wide = quick_;
      wide.activations = "int16";
      BEVEL_TRY(sixteen_, quantized(wide, keeping_));
    }
    groups_ = precision_groups(source_, models(), request_.base);
    samples_ = groups_.size() > kManyGroups ? kFewSamples : kTrialSamples;
    return {};
  }

  // Fills in the groups' losses.
  Status measure_losses() {
    BEVEL_TRY(const double before, divergence(*eight_));
    for (PrecisionGroup& group : groups_) {
      if (!group.offered[index_of(Format::int4)]) continue;
      BEVEL_TRY(const double after, divergence(with_narrow_layers(*eight_, *four_, group.layers)));
      group.loss[index_of(Format::int4)] = std::max(0.0, after - before);
    }
    // Wider formats are tried with weights rounded to nearest, which is quick; the part of the error that weights then have is taken off.
    BEVEL_TRY(const double quick_before, divergence(*quick_eight_));
    const double share = quick_before > 0 ? std::min(1.0, before / quick_before) : 1.0;
    std::vector<std::size_t> order(groups_.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return groups_[a].loss[0] > groups_[b].loss[0]; });
    for (std::size_t i = 0; i < order.size(); ++i) {
      PrecisionGroup& group = groups_[order[i]];
      for (const Format format : {Format::int16, Format::float32}) {
        bool& offered = group.offered[index_of(format)];
        offered = offered && i < kManyGroups;
        if (!offered) continue;
        BEVEL_TRY(const Model trial, quantized(recipe_of(quick_, {group}, {format}), keeping_));
        BEVEL_TRY(const double after, divergence(trial));
        group.loss[index_of(format)] = (after - quick_before) * share;
      }
    }
    return {};
  }

  [[nodiscard]] UniformModels models() const {
    UniformModels models;
    models.of[index_of(Format::int8)] = &*eight_;
    if (four_) models.of[index_of(Format::int4)] = &*four_;
    if (sixteen_) models.of[index_of(Format::int16)] = &*sixteen_;
    models.of[index_of(Format::float32)] = &source_;
    return models;
  }
  [[nodiscard]] const Model& source() const { return source_; }
  [[nodiscard]] const std::vector<PrecisionGroup>& groups() const { return groups_; }

 private:
  Result<Model> quantized(passes::Recipe recipe, data::Measure& measure) {
    Model model = source_;
    BEVEL_TRY([[maybe_unused]] const Quantized done, quantize_model(model, recipe, &measure, request_.pool, request_.branches));
    return model;
  }
  Result<double> divergence(const Model& model) {
    BEVEL_TRY(const OutputDistance distance, output_distance(*request_.measure, source_, model, samples_));
    return distance.divergence;
  }

  const PrecisionRequest& request_;
  KeepingMeasure keeping_;
  passes::Recipe base_, quick_;
  Model source_;
  std::optional<Model> eight_, four_, sixteen_, quick_eight_;
  std::vector<PrecisionGroup> groups_;
  std::size_t samples_ = kTrialSamples;
};

std::vector<Format> formats_of(const PrecisionProblem& problem, const std::vector<std::size_t>& options, std::size_t groups) {
  std::vector<Format> formats;
  for (std::size_t g = 0; g < groups; ++g) formats.push_back(problem.formats[g][options[g]]);
  return formats;
}

std::string name_of(const PrecisionGroup& group) {
  const std::string& first = group.layers.empty() ? group.nodes.front() : group.layers.front();
  const std::size_t layers = std::max<std::size_t>(1, group.layers.size());
  return layers == 1 ? printable(first, 80) : fmt::format("{} and {} more", printable(first, 80), layers - 1);
}

std::string why(const PrecisionGroup& group, Format format, bool mended) {
  const auto bytes = [&](Format one) { return group.weight_bytes[index_of(one)] + group.activation_bytes[index_of(one)]; };
  const auto saved = report::grouped(static_cast<std::uint64_t>(std::max<std::int64_t>(0, bytes(Format::int8) - bytes(Format::int4))));
  const double loss = group.loss[index_of(format)];
  std::string text;
  if (format == Format::int4) text = fmt::format("4 bits save {} B and alone add {:.2e} to the outputs' divergence", saved, loss);
  else if (format != Format::int8) text = fmt::format("alone it changes the outputs' divergence by {:+.2e}", loss);
  else if (group.offered[index_of(Format::int4)]) text = fmt::format("4 bits would save {} B and add {:.2e}", saved, group.loss[index_of(Format::int4)]);
  else text = "it has no weights that 4 bits can hold";
  return text + (mended ? "; changed when all was measured together" : "");
}

}  // namespace

std::vector<std::string> describe(const report::PrecisionRecord& record) {
  std::map<std::string, std::size_t> counts;
  for (const report::PrecisionRow& row : record.groups) ++counts[row.format];
  std::string formats;
  for (const std::string_view format : kFormatNames)
    if (const auto found = counts.find(std::string(format)); found != counts.end())
      formats += fmt::format("{}{} in {}", formats.empty() ? "" : ", ", found->second, format);
  std::vector<std::string> lines;
  lines.push_back(fmt::format("precision auto: of {} groups of layers {}; together they lose {:.2f} points of {} ({:.2f} allowed)", record.groups.size(),
                              formats.empty() ? "none has a choice" : formats, record.drop, record.judged_by, record.allowed));
  if (!record.held) lines.push_back("precision auto: no choice that was measured keeps the drop; this is the one that loses least");
  lines.push_back(record.proven ? "precision auto: for what groups lose alone, each choice is proven the best within its limits"
                                : fmt::format("precision auto: the search for the best choice was cut off; it is within {:.2e} of the best", record.gap));
  for (const report::PrecisionRow& row : record.groups) lines.push_back(fmt::format("{}: {}; {}", row.name, row.format, row.why));
  for (const report::PrecisionStep& step : record.steps)
    lines.push_back(fmt::format("measured together: {}: {} B, {:.2f} points{}", step.what, report::grouped(step.bytes), step.drop,
                                !step.fits ? ", above a limit" : step.held ? ", holds" : ""));
  return lines;
}

Result<PrecisionChoice> search_precision(const Model& model, const PrecisionRequest& request) {
  if (!request.measure->has_samples())
    return fail(ExitCode::usage, "--precision auto measures layers on samples, which a profile does not hold: give --calib.");
  Trials trials(request);
  BEVEL_TRY_STATUS(trials.prepare(model));
  BEVEL_TRY_STATUS(trials.measure_losses());
  const auto& groups = trials.groups();
  BEVEL_TRY(const PrecisionProblem problem, precision_problem(trials.source(), groups, trials.models(),
                                                              request.device ? &*request.device : nullptr, request.budget));
  passes::Recipe base = request.base;
  base.precision = "int8";
  const MeasureTogether together = [&](const std::vector<std::size_t>& options) -> Result<JointMeasure> {
    Model trial = model;
    passes::Recipe recipe = recipe_of(base, groups, formats_of(problem, options, groups.size()));
    BEVEL_TRY([[maybe_unused]] const Quantized quantized, quantize_model(trial, recipe, request.measure, request.pool, request.branches));
    JointMeasure measured;
    if (request.device) {
      BEVEL_TRY(const plan::Plan planned, plan::plan_shapes(trial));
      measured.excess = excess_of(problem, planned.program, *request.device);
    }
    if (request.judge) {
      BEVEL_TRY(measured.drop, request.judge(trial));
    } else {
      BEVEL_TRY(const OutputDistance distance, output_distance(*request.measure, model, trial, kJointSamples));
      measured.drop = distance.drop;
    }
    return measured;
  };
  std::vector<std::size_t> all_int8;
  for (const auto& formats : problem.formats)
    all_int8.push_back(static_cast<std::size_t>(std::find(formats.begin(), formats.end(), Format::int8) - formats.begin()));
  const NameGroup name = [&](std::size_t group, std::size_t option) {
    return fmt::format("{}: {}", group < groups.size() ? name_of(groups[group]) : "", kFormatNames[index_of(problem.formats[group][option])]);
  };
  JointSettings settings;
  settings.max_drop = request.max_drop;
  BEVEL_TRY(const JointChoice joint, search_together(problem.problem, all_int8, together, name, settings));

  PrecisionChoice choice;
  const auto formats = formats_of(problem, joint.options, groups.size());
  choice.recipe = recipe_of(base, groups, formats);
  report::PrecisionRecord& record = choice.record;
  record.allowed = request.max_drop;
  record.drop = joint.drop;
  record.held = joint.held;
  record.proven = joint.proven;
  record.gap = joint.gap;
  record.judged_by = request.judge ? request.judged_by : "agreement on the calibration samples";
  for (std::size_t g = 0; g < groups.size(); ++g) {
    report::PrecisionRow row;
    row.name = name_of(groups[g]);
    row.nodes = groups[g].nodes;
    row.format = kFormatNames[index_of(formats[g])];
    row.why = why(groups[g], formats[g], joint.mended[g]);
    for (std::size_t i = 0; i < kFormats; ++i)
      if (groups[g].offered[i])
        row.offered.push_back({std::string(kFormatNames[i]), groups[g].loss[i], static_cast<std::uint64_t>(groups[g].weight_bytes[i]),
                               static_cast<std::uint64_t>(groups[g].activation_bytes[i])});
    record.groups.push_back(std::move(row));
  }
  for (const JointStep& step : joint.steps)
    record.steps.push_back({step.what, static_cast<std::uint64_t>(step.cost), step.drop, step.held, step.fits});
  return choice;
}

}  // namespace bevel::driver
