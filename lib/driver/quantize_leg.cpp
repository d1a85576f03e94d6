#include "lib/driver/quantize_leg.h"

#include "calibration/calibration.h"
#include "lib/ops/op.h"
#include "passes/pass.h"

namespace bevel::driver {

Result<Calibration> calibrate_on_samples(const std::filesystem::path& data, const std::vector<data::ModelInput>& inputs,
                                         std::optional<std::size_t> max_samples, WorkerPool& pool) {
  BEVEL_TRY(Samples samples, open_samples(data, inputs, max_samples, "calibration"));
  Calibration calibration;
  calibration.source = samples.source;
  calibration.dataset = std::move(samples.dataset);
  calibration.measure = calibration::measure_by_running(*calibration.dataset, pool);
  return calibration;
}

Result<Calibration> calibrate_from_profile(const std::filesystem::path& path) {
  BEVEL_TRY(calibration::Profile profile, calibration::read_profile(path));
  Calibration calibration;
  calibration.source = {"calibration", profile.statistics.samples, profile.data_hash};
  calibration.measure = calibration::measure_from_profile(std::move(profile));
  return calibration;
}

Result<std::vector<report::FloatRow>> quantize_model(Model& model, const passes::Recipe& recipe, data::Measure& measure) {
  BEVEL_TRY(const auto pipeline, passes::parse_pipeline("quantize"));
  passes::PassContext context;
  context.measure = &measure;
  context.recipe = &recipe;
  BEVEL_TRY(const auto reports, passes::run_pipeline(model, pipeline, context));
  std::vector<report::FloatRow> rows;
  for (const passes::PassReport& report : reports)
    for (const passes::NodeNote& note : report.stats.notes) rows.push_back({note.node, note.op_type, note.text});
  BEVEL_TRY_STATUS(ops::infer_types(model));
  return rows;
}

Result<data::Statistics> RecordingMeasure::measure(const Model& model, const data::Request& request) {
  BEVEL_TRY(data::Statistics answer, inner_.measure(model, request));
  recorded_.samples = answer.samples;
  for (const auto& [name, statistics] : answer.values) recorded_.values[name] = statistics;
  return answer;
}

Result<data::Statistics> ForecastMeasure::measure(const Model&, const data::Request& request) {
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

}  // namespace bevel::driver
