// Statistics by running samples: one pass over the data, samples in parallel, counters per worker merged at the end. Everything
// counted is an integer, so that neither the order nor the number of workers shows in the result.
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

Status accumulate(Accumulator& into, const std::string& value, const Tensor& tensor) {
  if (tensor.dtype() == DType::string || !tensor.defined()) {
    return fail_input("value \"{}\" holds no numbers to measure", printable(value));
  }
  std::vector<float> converted;
  if (tensor.dtype() != DType::float32) converted = tensor.as_floats();
  const std::span<const float> values = tensor.dtype() == DType::float32 ? tensor.values<float>() : converted;
  if (into.add(values)) return {};
  const auto bad = std::find_if(values.begin(), values.end(), [](float x) { return !std::isfinite(x); });
  return fail_input("value \"{}\": element {} of {} is {}; calibration needs finite values", printable(value),
                    bad - values.begin(), values.size(), std::isnan(*bad) ? "NaN" : "infinite");
}

class RunningMeasure final : public data::Measure {
 public:
  RunningMeasure(const data::Dataset& dataset, WorkerPool& pool) : dataset_(dataset), pool_(pool) {}

  Result<data::Statistics> measure(const Model& model, const data::Request& request) override {
    if (request.second_moments) return fail_input("second moments are not measured by this version");
    std::map<std::string, std::size_t> slots;
    for (const std::string& name : request.values) {
      if (!model.graph.find_value(name).valid()) {
        return fail_input("the model has no value \"{}\" to measure", printable(name));
      }
      slots.emplace(name, 0);
    }
    std::size_t next = 0;
    for (auto& [name, slot] : slots) slot = next++;
    BEVEL_TRY(auto evaluator, eval::Evaluator::create(model));
    std::vector<std::string> names;
    for (const auto& [name, slot] : slots) names.push_back(name);
    if (!names.empty()) evaluator->set_tapped(names);
    const std::size_t samples = std::min(dataset_.size(), request.max_samples.value_or(dataset_.size()));
    BEVEL_TRY(const auto accumulators, run(*evaluator, model, slots, samples));

    data::Statistics statistics;
    statistics.samples = samples;
    for (const auto& [name, slot] : slots) {
      data::ValueStatistics value = accumulators[slot].statistics();
      if (value.histogram.total() == 0) return fail_input("value \"{}\" was never computed, or is empty", printable(name));
      statistics.values.emplace(name, std::move(value));
    }
    return statistics;
  }

 private:
  Result<std::vector<Accumulator>> run(const eval::Evaluator& evaluator, const Model& model,
                                       const std::map<std::string, std::size_t>& slots, std::size_t samples) {
    std::vector<std::vector<Accumulator>> workers(pool_.threads(), std::vector<Accumulator>(slots.size()));
    const auto inputs = data::inputs_needing_data(model.graph);
    FirstFailure first;
    Progress progress("calibrating", samples);
    pool_.for_each(samples, [&](std::size_t index, unsigned worker) {
      if (first.skips(index)) return;
      if (auto status = run_sample(evaluator, inputs, slots, index, workers[worker]); !status) {
        first.report(index, located(dataset_.sample_name(index), std::move(status).error()).value());
      }
      progress.advance();
    });
    if (first.failure()) return Failure(first.failure()->second);
    for (std::size_t worker = 1; worker < workers.size(); ++worker) {
      for (std::size_t slot = 0; slot < slots.size(); ++slot) workers[0][slot].merge(workers[worker][slot]);
      workers[worker].clear();
    }
    return std::move(workers[0]);
  }

  Status run_sample(const eval::Evaluator& evaluator, const std::vector<data::ModelInput>& inputs,
                    const std::map<std::string, std::size_t>& slots, std::size_t index,
                    std::vector<Accumulator>& accumulators) const {
    BEVEL_TRY(std::vector<Tensor> sample, dataset_.sample(index));
    std::vector<Datum> feed;
    for (std::size_t i = 0; i < sample.size(); ++i) {
      // Every input is checked, measured or not: a NaN in the data is the data's fault, whatever the model makes of it.
      Accumulator unasked;
      const auto slot = slots.find(inputs[i].name);
      BEVEL_TRY_STATUS(accumulate(slot == slots.end() ? unasked : accumulators[slot->second], inputs[i].name, sample[i]));
      feed.emplace_back(std::move(sample[i]));
    }
    const eval::Tap tap = [&](const std::string& value, const Tensor& tensor) -> Status {
      const auto slot = slots.find(value);
      return slot == slots.end() ? Status() : accumulate(accumulators[slot->second], value, tensor);
    };
    auto outputs = evaluator.run(feed, &tap);
    if (!outputs) return Failure(std::move(outputs).error());
    return {};
  }

  const data::Dataset& dataset_;
  WorkerPool& pool_;
};

}  // namespace

std::unique_ptr<data::Measure> measure_by_running(const data::Dataset& dataset, WorkerPool& pool) {
  return std::make_unique<RunningMeasure>(dataset, pool);
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
