#include "lib/driver/keeping_measure.h"

#include "calibration/calibration.h"

namespace bevel::driver {

Result<data::Statistics> KeepingMeasure::measure(const Model& model, const data::Request& request) {
  if (!request.moments.empty() || !request.channels.empty() || !request.optional_values.empty() || request.max_samples)
    return inner_.measure(model, request);
  data::Statistics& kept = kept_[calibration::model_hash(model)];
  data::Request missing = request;
  std::erase_if(missing.values, [&](const std::string& name) { return kept.values.contains(name); });
  std::erase_if(missing.rows, [&](const data::OperandKey& key) { return kept.rows.contains(key); });
  if (!missing.values.empty() || !missing.rows.empty()) {
    BEVEL_TRY(data::Statistics measured, inner_.measure(model, missing));
    kept.samples = measured.samples;
    kept.values.merge(measured.values);
    kept.rows.merge(measured.rows);
  }
  data::Statistics answer;
  answer.samples = kept.samples;
  for (const std::string& name : request.values)
    if (const auto found = kept.values.find(name); found != kept.values.end()) answer.values.insert(*found);
  for (const data::OperandKey& key : request.rows)
    if (const auto found = kept.rows.find(key); found != kept.rows.end()) answer.rows.insert(*found);
  return answer;
}

}  // namespace bevel::driver
