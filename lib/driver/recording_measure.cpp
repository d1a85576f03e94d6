#include "lib/driver/recording_measure.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <set>
#include <string>
#include <vector>

#include "calibration/calibration.h"
#include "lib/ops/op.h"

namespace bevel::driver {

namespace {

constexpr std::uint32_t kSignBin = 1u << (31 - data::Histogram::kShift);

// The bin that a bound other than 0 opens (its side's magnitudes from the bound up all become the bound); infinity: none.
bool bin_of(double bound, std::optional<std::uint32_t>& bin) {
  if (std::isinf(bound)) return true;
  const auto value = static_cast<float>(bound);
  const auto bits = std::bit_cast<std::uint32_t>(value);
  if (static_cast<double>(value) != bound || (bits & ((1u << data::Histogram::kShift) - 1)) != 0) return false;
  bin = bits >> data::Histogram::kShift;
  return true;
}

struct Clamp {
  std::string source, result;  // value names
  ops::Interval interval;
};

// Values that are a clamp of another measurable one, sources first.
std::vector<Clamp> clamps_of(const Model& model, const std::set<std::string>& measurable) {
  std::vector<Clamp> clamps;
  const Graph& graph = model.graph;
  const data::ValueStatistics nothing;
  for (const NodeId id : graph.node_order()) {
    const Node& node = graph.node(id);
    if (node.outputs.size() != 1 || !node.outputs[0].valid()) continue;
    const ops::ValueFacts facts = ops::facts_of(model, graph, id).value;
    if (!facts.clamp || facts.data_operands.size() != 1) continue;
    const auto operand = static_cast<std::size_t>(facts.data_operands[0]);
    if (operand >= node.inputs.size() || !node.inputs[operand].valid()) continue;
    Clamp clamp{graph.value(node.inputs[operand]).name, graph.value(node.outputs[0]).name, *facts.clamp};
    if (!measurable.contains(clamp.source) || !measurable.contains(clamp.result)) continue;
    if (clamped(nothing, clamp.interval.low, clamp.interval.high)) clamps.push_back(std::move(clamp));
  }
  return clamps;
}

}  // namespace

std::optional<data::ValueStatistics> clamped(const data::ValueStatistics& x, double low, double high) {
  std::optional<std::uint32_t> lowest, highest;
  if (!(low <= 0 && high >= 0) || !bin_of(low, lowest) || !bin_of(high, highest)) return std::nullopt;
  data::ValueStatistics result;
  std::uint64_t zeros = x.histogram.zeros();
  for (const auto& [bin, count] : x.histogram.bins()) {
    const std::optional<std::uint32_t> bound = bin >= kSignBin ? lowest : highest;
    if (bound && (*bound & ~kSignBin) == 0) zeros += count;
    else result.histogram.add_to_bin(bound ? std::min(bin, *bound) : bin, count);
  }
  result.histogram.set_zeros(zeros);
  const auto into = [&](float value) {
    return static_cast<float>(std::min(std::max(static_cast<double>(value), low), high)) + 0.0f;  // -0 becomes +0
  };
  result.minimum = into(x.minimum);
  result.maximum = into(x.maximum);
  return result;
}

Result<data::Statistics> RecordingMeasure::measure(const Model& model, const data::Request& request) {
  const std::vector<std::string> names = calibration::measurable_values(model);
  const std::vector<Clamp> clamps = clamps_of(model, {names.begin(), names.end()});
  std::set<std::string> derivable;
  for (const Clamp& clamp : clamps) derivable.insert(clamp.result);
  const auto measured = [&](const std::vector<std::string>& wanted) {
    std::vector<std::string> kept;
    std::copy_if(wanted.begin(), wanted.end(), std::back_inserter(kept), [&](const auto& name) { return !derivable.contains(name); });
    return kept;
  };
  data::Request wide = request;
  wide.values = measured(request.values);
  wide.optional_values = measured(names);
  BEVEL_TRY(data::Statistics answer, inner_.measure(model, wide));
  for (const Clamp& clamp : clamps) {
    const auto source = answer.values.find(clamp.source);
    if (source == answer.values.end()) continue;
    answer.values.emplace(clamp.result, *clamped(source->second, clamp.interval.low, clamp.interval.high));
  }
  // A source that was left out (infinite in some sample, say) says nothing of its clamp, which may be finite: measured for itself.
  data::Request rest;
  rest.max_samples = request.max_samples;
  for (const std::string& name : request.values)
    if (!answer.values.contains(name)) rest.values.push_back(name);
  for (const Clamp& clamp : clamps)
    if (!answer.values.contains(clamp.result)) rest.optional_values.push_back(clamp.result);
  if (!rest.values.empty() || !rest.optional_values.empty()) {
    BEVEL_TRY(data::Statistics more, inner_.measure(model, rest));
    answer.values.merge(more.values);
  }
  // The caller gets what it asked for; the rest, which is as large again, is not held twice.
  data::Statistics asked;
  asked.samples = recorded_.samples = answer.samples;
  asked.moments = std::move(answer.moments);
  asked.rows = std::move(answer.rows);
  asked.channels = std::move(answer.channels);
  for (const std::string& name : request.values)
    if (const auto found = answer.values.find(name); found != answer.values.end()) asked.values.insert(*found);
  answer.values.merge(recorded_.values);
  recorded_.values = std::move(answer.values);
  return asked;
}

}  // namespace bevel::driver
