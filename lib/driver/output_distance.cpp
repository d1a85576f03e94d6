#include "lib/driver/output_distance.h"

#include <algorithm>

namespace bevel::driver {

std::vector<data::ValuePair> output_pairs(const Model& reference, const Model& model) {
  const Graph &to = reference.graph, &from = model.graph;
  std::vector<data::ValuePair> pairs;
  for (std::size_t i = 0; i < to.outputs().size(); ++i) {
    const Value& value = to.value(to.outputs()[i]);
    if (value.type.is_tensor() && value.type.dtype != DType::undefined && !is_floating(value.type.dtype)) continue;
    ValueId other = from.find_value(value.name);
    if (!other.valid() || from.value(other).output_slots == 0) other = i < from.outputs().size() ? from.outputs()[i] : ValueId();
    if (other.valid()) pairs.push_back({value.name, from.value(other).name});
  }
  return pairs;
}

Result<OutputDistance> output_distance(data::Measure& judge, const Model& reference, const Model& model, std::optional<std::size_t> max_samples) {
  const auto pairs = output_pairs(reference, model);
  if (pairs.empty()) return fail_input("no output of the model is a float tensor, and errors are measured at the outputs");
  BEVEL_TRY(const auto differences, judge.compare(reference, model, pairs, max_samples));
  OutputDistance distance;
  for (const auto& samples : differences) {
    data::Difference sum;
    for (const data::Difference& one : samples) {
      sum.signal += one.signal;
      sum.noise += one.noise;
      sum.divergence += one.divergence;
      sum.agreeing += one.agreeing;
      sum.rows += one.rows;
    }
    const double noise = sum.signal > 0 ? sum.noise / sum.signal : sum.noise > 0 ? 1.0 : 0.0;
    const auto rows = static_cast<double>(sum.rows);
    distance.noise += noise;
    distance.divergence += sum.rows > 0 ? sum.divergence / rows : noise;
    distance.drop = std::max(distance.drop, sum.rows > 0 ? 100 * static_cast<double>(sum.rows - sum.agreeing) / rows : 100 * noise);
  }
  distance.noise /= static_cast<double>(differences.size());
  return distance;
}

Result<double> output_error(data::Measure& judge, const Model& reference, const Model& model, std::optional<std::size_t> max_samples) {
  BEVEL_TRY(const OutputDistance distance, output_distance(judge, reference, model, max_samples));
  return distance.noise;
}

}  // namespace bevel::driver
