#include "lib/driver/judge.h"

#include <algorithm>
#include <cmath>
#include <tuple>

#include "lib/report/report.h"

namespace bevel::driver {

namespace {

constexpr std::size_t kWorstLayers = 3;  // named when --max-drop is exceeded, and in a warning

std::string worst_layers(const std::vector<report::LayerRow>& layers) {
  std::vector<report::LayerRow> rows;
  for (const report::LayerRow& row : layers)
    if (row.sqnr_db) rows.push_back(row);
  std::stable_sort(rows.begin(), rows.end(), [](const auto& a, const auto& b) { return *a.sqnr_db < *b.sqnr_db; });
  std::string out;
  for (std::size_t i = 0; i < rows.size() && i < kWorstLayers; ++i)
    out += fmt::format("{}'{}' ({})", i ? ", " : "", printable(rows[i].name, 80), report::decibels(*rows[i].sqnr_db));
  return out.empty() ? "none could be measured" : out;
}

bool poor(const report::OutputComparison& output) {
  return output.sqnr_db < kPoorSqnrDb || (output.class_scores && output.agreement < kPoorAgreement);
}

}  // namespace

Status require_sqnr(const std::vector<report::OutputComparison>& outputs, double minimum_db, const std::string& what) {
  for (const report::OutputComparison& output : outputs) {
    if (output.sqnr_db >= minimum_db) continue;
    const std::string found = std::isinf(output.sqnr_db) ? "NaN or Inf on one side only" : fmt::format("{:.1f} dB", output.sqnr_db);
    return fail(ExitCode::verification,
                "verification failed: {}: output '{}' has an SQNR of {} (at least {:.0f} dB expected; {} of {} elements identical, "
                "largest difference {:.6g}). Nothing was written.",
                what, printable(output.output), found, minimum_db, output.identical, output.elements,
                output.max_abs_difference);
  }
  return {};
}

Status require_same_values(const std::vector<report::OutputComparison>& outputs, const std::string& what) {
  for (const report::OutputComparison& output : outputs) {
    if (output.identical == output.elements) continue;
    return fail(ExitCode::verification,
                "verification failed: {}: output '{}' must be the same to the last bit, and {} of {} elements are (largest difference "
                "{:.6g}). Nothing was written. This is a fault of Bevel's: please report it with the model.",
                what, printable(output.output), output.identical, output.elements, output.max_abs_difference);
  }
  return {};
}

bool is_poor(const std::vector<report::OutputComparison>& outputs, const report::SampleSource& samples) {
  return samples.from != "random" && std::any_of(outputs.begin(), outputs.end(), poor);
}

std::string poor_warning(const std::vector<report::OutputComparison>& outputs, const report::SampleSource& samples,
                         const std::vector<report::LayerRow>& layers) {
  const auto worst = std::min_element(outputs.begin(), outputs.end(), [](const auto& a, const auto& b) {
    return std::tuple(!poor(a), a.sqnr_db, a.agreement) < std::tuple(!poor(b), b.sqnr_db, b.agreement);
  });
  const std::string agreement = worst->class_scores ? fmt::format(", agreement {:.1f} %", 100 * worst->agreement) : "";
  return fmt::format("output '{}' is far from its source: SQNR {}{} on {} samples. Worst layers by SQNR: {}. Keep "
                     "them in float with --keep-float, try another --range, or give more calibration samples.",
                     printable(worst->output, 60), report::decibels(worst->sqnr_db), agreement, samples.count, worst_layers(layers));
}

std::string too_much_lost(const Drop& drop, std::uint64_t samples, const std::vector<report::LayerRow>& layers) {
  const std::string what = drop.metric.empty() ? "agreement with the float model" : drop.metric;
  return fmt::format("verification failed: {} fell from {:.4g} to {:.4g} on {} samples, {:.3f} points, where --max-drop allows {:.3f}. "
                     "Worst layers by SQNR: {}. Keep them in float with --keep-float, try another --range, or give more calibration "
                     "samples.",
                     what, drop.reference, drop.test, samples, drop.points, drop.allowed, worst_layers(layers));
}

bool judge_fidelity(report::CompileRecord& record) {
  if (const Status same = require_same_values(record.runtime_outputs, "the Program in the C runtime against the written int8 model");
      !same) {
    record.messages.push_back(same.error().message);
    return false;
  }
  if (const Status finite = require_sqnr(record.int8_outputs, kFiniteOnlyDb, "the written int8 model against the float model"); !finite) {
    record.messages.push_back(finite.error().message);
    return false;
  }
  if (!record.max_drop || !record.drop || *record.drop <= *record.max_drop) return true;
  Drop drop{"", 100, 100 - *record.drop, *record.drop, *record.max_drop};
  if (record.metric) {
    drop.metric = record.metric->name;
    drop.reference = *record.metric->float_model;
    drop.test = drop.metric == "mse" ? std::max(*record.metric->int8_model, *record.metric->runtime)
                                     : std::min(*record.metric->int8_model, *record.metric->runtime);
  }
  record.messages.push_back(too_much_lost(drop, record.samples->count, record.layers));
  return false;
}

}  // namespace bevel::driver
