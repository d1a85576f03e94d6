// Statistics by running samples: one pass over the data, samples in parallel. A worker counts one tensor at a time in counters of
// its own and merges them into the value's, which all workers share: memory grows neither with the samples nor with the workers.
// Everything counted is an integer, so that neither the order nor the number of workers shows in the result.
#include <algorithm>
#include <cmath>
#include <map>
#include <mutex>
#include <optional>

#include "calibration/calibration.h"
#include "lib/data/accumulator.h"
#include "lib/eval/evaluator.h"
#include "lib/support/progress.h"

namespace bevel::calibration {
namespace {

using data::Accumulator;

// The failure of the earliest sample: later ones are skipped, earlier ones always run, so that the message does not depend on
// the workers' timing.
class FirstFailure {
 public:
  [[nodiscard]] bool skips(std::size_t sample) {
    const std::scoped_lock lock(mutex_);
    return failure_ && failure_->first < sample;
  }
  void report(std::size_t sample, Diagnostic diagnostic) {
    const std::scoped_lock lock(mutex_);
    if (!failure_ || sample < failure_->first) failure_.emplace(sample, std::move(diagnostic));
  }
  [[nodiscard]] const std::optional<std::pair<std::size_t, Diagnostic>>& failure() const { return failure_; }

 private:
  std::mutex mutex_;
  std::optional<std::pair<std::size_t, Diagnostic>> failure_;
};

// What has been counted of one value.
struct Counted {
  std::mutex mutex;
  Accumulator accumulator;
  bool unsuitable = false;  // an optional value that held no numbers, or one that is NaN or infinite: it is left out
};

struct Slot {
  std::size_t index = 0;
  bool required = false;
};
using Slots = std::map<std::string, Slot>;

// Counts a tensor in `counters`, cleared before. On failure they hold a part of it.
Status count(Accumulator& counters, const std::string& value, const Tensor& tensor) {
  counters.clear();
  if (tensor.dtype() == DType::string || !tensor.defined()) {
    return fail_input("value \"{}\" holds no numbers to measure", printable(value));
  }
  std::vector<float> converted;
  if (tensor.dtype() != DType::float32) converted = tensor.as_floats();
  const std::span<const float> values = tensor.dtype() == DType::float32 ? tensor.values<float>() : converted;
  if (counters.add(values)) return {};
  const auto bad = std::find_if(values.begin(), values.end(), [](float x) { return !std::isfinite(x); });
  return fail_input("value \"{}\": element {} of {} is {}; calibration needs finite values", printable(value),
                    bad - values.begin(), values.size(), std::isnan(*bad) ? "NaN" : "infinite");
}

class RunningMeasure final : public data::Measure {
 public:
  RunningMeasure(const data::Dataset& dataset, WorkerPool& pool, const eval::EvalOptions& options)
      : dataset_(dataset), pool_(pool), options_(options) {}

  Result<data::Statistics> measure(const Model& model, const data::Request& request) override {
    if (!request.moments.empty()) return fail(ExitCode::internal, "second moments are not measured by this version");
    Slots slots;
    for (const auto* list : {&request.values, &request.optional_values}) {
      for (const std::string& name : *list) {
        if (!model.graph.find_value(name).valid()) {
          return fail_input("the model has no value \"{}\" to measure", printable(name));
        }
        slots.emplace(name, Slot{0, list == &request.values});
      }
    }
    std::size_t next = 0;
    for (auto& [name, slot] : slots) slot.index = next++;
    BEVEL_TRY(auto evaluator, eval::Evaluator::create(model, options_));
    std::vector<std::string> names;
    for (const auto& [name, slot] : slots) names.push_back(name);
    if (!names.empty()) evaluator->set_tapped(names);
    const std::size_t samples = std::min(dataset_.size(), request.max_samples.value_or(dataset_.size()));
    BEVEL_TRY(const auto counted, run(*evaluator, model, slots, samples));

    data::Statistics statistics;
    statistics.samples = samples;
    for (const auto& [name, slot] : slots) {
      if (counted[slot.index].unsuitable) continue;
      data::ValueStatistics value = counted[slot.index].accumulator.statistics();
      if (value.histogram.total() == 0) {
        if (!slot.required) continue;
        return fail_input("value \"{}\" was never computed, or is empty", printable(name));
      }
      statistics.values.emplace(name, std::move(value));
    }
    return statistics;
  }

 private:
  Result<std::vector<Counted>> run(const eval::Evaluator& evaluator, const Model& model, const Slots& slots,
                                   std::size_t samples) {
    std::vector<Counted> counted(slots.size());
    std::vector<Accumulator> workers(pool_.threads());
    const auto inputs = data::inputs_needing_data(model.graph);
    FirstFailure first;
    Progress progress("calibrating", samples);
    pool_.for_each(samples, [&](std::size_t index, unsigned worker) {
      if (first.skips(index)) return;
      if (auto status = run_sample(evaluator, inputs, slots, index, workers[worker], counted); !status) {
        first.report(index, located(dataset_.sample_name(index), std::move(status).error()).value());
      }
      progress.advance();
    });
    if (first.failure()) return Failure(first.failure()->second);
    return counted;
  }

  Status run_sample(const eval::Evaluator& evaluator, const std::vector<data::ModelInput>& inputs,
                    const Slots& slots, std::size_t index, Accumulator& counters,
                    std::vector<Counted>& counted) const {
    BEVEL_TRY(std::vector<Tensor> sample, dataset_.sample(index));
    std::vector<Datum> feed;
    for (std::size_t i = 0; i < sample.size(); ++i) {
      // Every input is checked, measured or not: a NaN in the data is the data's fault, whatever the model makes of it.
      BEVEL_TRY_STATUS(count(counters, inputs[i].name, sample[i]));
      if (const auto slot = slots.find(inputs[i].name); slot != slots.end()) {
        Counted& counts = counted[slot->second.index];
        const std::scoped_lock lock(counts.mutex);
        counts.accumulator.merge(counters);
      }
      feed.emplace_back(std::move(sample[i]));
    }
    const eval::Tap tap = [&](const std::string& value, const Tensor& tensor) -> Status {
      const auto slot = slots.find(value);
      if (slot == slots.end()) return {};
      Status status = count(counters, value, tensor);
      Counted& counts = counted[slot->second.index];
      const std::scoped_lock lock(counts.mutex);
      if (status) counts.accumulator.merge(counters);
      else if (!slot->second.required) counts.unsuitable = true;
      return status || !slot->second.required ? Status() : status;
    };
    auto outputs = evaluator.run(feed, &tap);
    if (!outputs) return Failure(std::move(outputs).error());
    return {};
  }

  const data::Dataset& dataset_;
  WorkerPool& pool_;
  eval::EvalOptions options_;
};

}  // namespace

std::unique_ptr<data::Measure> measure_by_running(const data::Dataset& dataset, WorkerPool& pool,
                                                  const eval::EvalOptions& options) {
  return std::make_unique<RunningMeasure>(dataset, pool, options);
}

std::vector<std::string> measurable_values(const Model& model) {
  std::vector<std::string> names;
  for (const ValueId id : model.graph.value_ids()) {
    const Value& value = model.graph.value(id);
    const bool computed = value.producer.valid() || (value.is_input && !value.constant);
    if (computed && value.type.is_tensor() && value.type.dtype == DType::float32) names.push_back(value.name);
  }
  return names;
}

}  // namespace bevel::calibration
