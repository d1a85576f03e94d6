// Answers by running samples, in parallel. Nothing that grows with the samples is held: a worker counts one tensor at a time in counters of its own
// and merges them into the value's, which all workers share; rows of moments are summed batch by batch. Everything counted or summed is an integer, or
// belongs to one sample, so that neither the order nor the number of workers shows in the result.
#include <algorithm>
#include <cmath>
#include <map>
#include <mutex>
#include <optional>

#include "calibration/activations.h"
#include "calibration/calibration.h"
#include "calibration/difference.h"
#include "calibration/moments.h"
#include "lib/data/accumulator.h"
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
  bool required = false;
  std::mutex mutex;
  Accumulator accumulator;
  bool unsuitable = false;  // an optional value that held no numbers, or one that is NaN or infinite: it is left out

  Status add(const std::string& name, const Tensor& tensor, Accumulator& counters) {
    counters.clear();
    Status status = [&]() -> Status {
      if (!tensor.defined() || tensor.dtype() == DType::string) return finite_numbers(name, tensor);
      std::vector<float> converted;
      if (tensor.dtype() != DType::float32) converted = tensor.as_floats();
      if (counters.add(tensor.dtype() == DType::float32 ? tensor.values<float>() : std::span<const float>(converted))) return {};
      return finite_numbers(name, tensor);
    }();
    const std::scoped_lock lock(mutex);
    if (status) accumulator.merge(counters);
    else if (!required) unsuitable = true;
    return status || !required ? Status() : status;
  }
};

// An operand whose rows are wanted, in one model or two.
struct Operand {
  data::OperandKey key;
  std::optional<OperandRows> own, reference;
  MomentSums sums;
};

// Some rows of an operand, by sample until all are there.
struct SomeRows {
  data::OperandKey key;
  std::optional<OperandRows> own;
  std::mutex mutex;
  std::map<std::size_t, ops::GatheredRows> by_sample;
};

// A model's values by name, each once, and who wants which.
class Names {
 public:
  std::size_t index(const std::string& name) {
    const auto [place, added] = indices_.try_emplace(name, names_.size());
    if (added) names_.push_back(name);
    return place->second;
  }
  [[nodiscard]] const std::vector<std::string>& all() const { return names_; }

 private:
  std::map<std::string, std::size_t> indices_;
  std::vector<std::string> names_;
};

// The name of an operand in a model that need not be prepared yet.
Result<std::string> operand_name(const Model& model, const data::OperandKey& key) {
  const NodeId id = model.graph.find_node(key.node);
  if (!id.valid()) return fail_input("the model has no node '{}' to measure an operand of", printable(key.node));
  const Node& node = model.graph.node(id);
  if (key.operand < 0 || static_cast<std::size_t>(key.operand) >= node.inputs.size() ||
      !node.inputs[static_cast<std::size_t>(key.operand)].valid()) {
    return fail_input("node '{}' ({}) has no operand {} to measure", printable(key.node), printable(node.op_type), key.operand);
  }
  return model.graph.value(node.inputs[static_cast<std::size_t>(key.operand)]).name;
}

// Integers of 12 bits that are gathered before they are summed.
constexpr std::int64_t kBatchElements = std::int64_t{1} << 23;

class RunningMeasure final : public data::Measure {
 public:
  RunningMeasure(const data::Dataset& dataset, WorkerPool& pool, const eval::EvalOptions& options, const Memo& memo)
      : dataset_(dataset), pool_(pool), activations_(dataset, options, memo.bytes, memo.folder) {}

  Result<data::Statistics> measure(const Model& model, const data::Request& request) override {
    Job job;
    job.samples = std::min(dataset_.size(), request.max_samples.value_or(dataset_.size()));
    job.positions = static_cast<std::int64_t>(std::min<std::size_t>(request.max_positions, 1u << 20));
    BEVEL_TRY_STATUS(prepare(job, model, request));
    BEVEL_TRY_STATUS(first_pass(job));
    BEVEL_TRY_STATUS(second_pass(job, model));
    return answer(job);
  }

  Result<std::vector<std::vector<data::Difference>>> compare(const Model& reference, const Model& model,
                                                             const std::vector<data::ValuePair>& pairs,
                                                             std::optional<std::size_t> max_samples) override {
    Names left, right;
    std::vector<std::pair<std::size_t, std::size_t>> indices;
    for (const data::ValuePair& pair : pairs) indices.emplace_back(left.index(pair.reference), right.index(pair.value));
    BEVEL_TRY(const auto references, activations_.ask(reference, left.all(), {}));
    BEVEL_TRY(const auto values, activations_.ask(model, right.all(), {}));
    const std::size_t samples = std::min(dataset_.size(), max_samples.value_or(dataset_.size()));
    std::vector<std::vector<data::Difference>> result(pairs.size(), std::vector<data::Difference>(samples));
    BEVEL_TRY_STATUS(each_sample("comparing", samples, [&](std::size_t sample, unsigned) -> Status {
      std::map<std::size_t, Tensor> held;
      BEVEL_TRY_STATUS(references->run(sample, [&](std::size_t wanted, const Tensor& tensor) -> Status {
        held.insert_or_assign(wanted, tensor);
        return {};
      }));
      std::vector<bool> met(pairs.size(), false);
      BEVEL_TRY_STATUS(values->run(sample, [&](std::size_t wanted, const Tensor& tensor) -> Status {
        for (std::size_t p = 0; p < pairs.size(); ++p) {
          if (indices[p].second != wanted) continue;
          const auto other = held.find(indices[p].first);
          if (other == held.end()) continue;
          auto found = difference(other->second, tensor);
          if (!found) return located(fmt::format("value \"{}\" beside \"{}\"", printable(pairs[p].value), printable(pairs[p].reference)), found.error());
          result[p][sample] = *found;
          met[p] = true;
        }
        return {};
      }));
      for (std::size_t p = 0; p < pairs.size(); ++p) {
        if (!met[p])
          return fail_input("value \"{}\" or \"{}\" was not computed", printable(pairs[p].reference), printable(pairs[p].value));
      }
      return {};
    }));
    return result;
  }

  [[nodiscard]] bool has_samples() const override { return true; }

 private:
  struct Job {
    std::size_t samples = 0;
    std::int64_t positions = 0;
    std::map<std::string, Counted> counted;
    std::map<data::OperandKey, Operand> operands;
    std::map<data::OperandKey, SomeRows> rows;
    std::map<data::ChannelKey, ChannelSums> channels;
    std::size_t max_rows = 0, max_row_values = 0;
    Names names, reference_names;
    std::unique_ptr<Asked> asked, reference;
    std::vector<Accumulator> counters;  // by worker
  };
  using ByOperand = std::map<data::OperandKey, ops::GatheredRows>;

  Status prepare(Job& job, const Model& model, const data::Request& request) {
    std::set<std::string> twice, reference_twice;
    for (const auto* list : {&request.values, &request.optional_values}) {
      for (const std::string& name : *list) {
        Counted& counted = job.counted[name];
        counted.required = counted.required || list == &request.values;
        job.names.index(name);
      }
    }
    for (const data::OperandKey& key : request.moments) {
      BEVEL_TRY(const std::string name, operand_name(model, key));
      job.names.index(name);
      twice.insert(name);
      job.operands[key].key = key;
      if (request.reference == nullptr) continue;
      auto other = operand_name(*request.reference, key);
      if (!other) return located("the reference model", std::move(other).error());
      job.reference_names.index(*other);
      reference_twice.insert(*other);
    }
    for (const data::OperandKey& key : request.rows) {
      BEVEL_TRY(const std::string name, operand_name(model, key));
      job.names.index(name);
      job.rows[key].key = key;
    }
    for (const data::ChannelKey& key : request.channels) {
      job.names.index(key.value);
      twice.insert(key.value);
      job.channels.try_emplace(key, key);
    }
    job.max_rows = request.max_rows;
    job.max_row_values = request.max_row_values;
    BEVEL_TRY(job.asked, activations_.ask(model, job.names.all(), twice));
    if (request.reference != nullptr && !job.operands.empty()) {
      auto reference = activations_.ask(*request.reference, job.reference_names.all(), reference_twice);
      if (!reference) return located("the reference model", std::move(reference).error());
      job.reference = std::move(*reference);
    }
    for (auto& [key, operand] : job.operands) {
      BEVEL_TRY(operand.own, OperandRows::create(job.asked->model(), key));
      if (job.reference) {
        BEVEL_TRY(operand.reference, OperandRows::create(job.reference->model(), key));
      }
    }
    for (auto& [key, some] : job.rows) {
      BEVEL_TRY(some.own, OperandRows::create(job.asked->model(), key));
    }
    job.counters.resize(pool_.threads());
    return {};
  }

  Status each_sample(const char* label, std::size_t samples, const std::function<Status(std::size_t, unsigned)>& body) {
    FirstFailure first;
    Progress progress(label, samples);
    pool_.for_each(samples, [&](std::size_t sample, unsigned worker) {
      if (first.skips(sample)) return;
      if (auto status = body(sample, worker); !status)
        first.report(sample, located(dataset_.sample_name(sample), std::move(status).error()).value());
      progress.advance();
    });
    if (first.failure()) return Failure(first.failure()->second);
    return {};
  }

  // The reference's rows of a sample, all of which are needed when the model's come.
  Status reference_rows(const Job& job, Asked& reference, const Names& names, std::size_t sample, ByOperand& rows) const {
    return reference.run(sample, [&](std::size_t wanted, const Tensor& tensor) -> Status {
      const std::string& name = names.all()[wanted];
      if (auto status = finite_numbers(name, tensor); !status) return located("the reference model", std::move(status).error());
      for (const auto& [key, operand] : job.operands) {
        if (operand.reference->value() != name) continue;
        BEVEL_TRY(rows[key], operand.reference->gather(tensor, job.positions, sample));
      }
      return {};
    });
  }
  static Result<const ops::GatheredRows*> beside(const Operand& operand, const ByOperand& rows, bool with_reference) {
    if (!with_reference) return nullptr;
    const auto found = rows.find(operand.key);
    if (found == rows.end()) return fail_input("the reference model: {} was not computed", operand.own->place());
    return &found->second;
  }

  // How many of the wanted rows are a sample's.
  static std::int64_t share(const Job& job, const ops::GatheredRows& one, std::size_t sample) {
    constexpr std::size_t kFewestRows = 16;
    const auto elements = static_cast<std::size_t>(std::max<std::int64_t>(1, one.groups * one.k));
    const std::size_t rows = std::min(job.max_rows, std::max(kFewestRows, job.max_row_values / elements));
    return static_cast<std::int64_t>((sample + 1) * rows / job.samples - sample * rows / job.samples);
  }

  Status first_pass(Job& job) {
    return each_sample("calibrating", job.samples, [&](std::size_t sample, unsigned worker) -> Status {
      ByOperand reference;
      if (job.reference) BEVEL_TRY_STATUS(reference_rows(job, *job.reference, job.reference_names, sample, reference));
      return job.asked->run(sample, [&](std::size_t wanted, const Tensor& tensor) -> Status {
        const std::string& name = job.names.all()[wanted];
        if (const auto counted = job.counted.find(name); counted != job.counted.end())
          BEVEL_TRY_STATUS(counted->second.add(name, tensor, job.counters[worker]));
        bool checked = false;
        const auto check = [&]() -> Status {
          if (checked) return {};
          checked = true;
          return finite_numbers(name, tensor);
        };
        for (auto& [key, operand] : job.operands) {
          if (operand.own->value() != name) continue;
          BEVEL_TRY_STATUS(check());
          BEVEL_TRY(const ops::GatheredRows rows, operand.own->gather(tensor, job.positions, sample));
          BEVEL_TRY(const ops::GatheredRows* other, beside(operand, reference, job.reference != nullptr));
          if (auto status = operand.sums.see(sample, rows, other); !status) return located(operand.own->place(), std::move(status).error());
        }
        for (auto& [key, some] : job.rows) {
          if (some.own->value() != name) continue;
          BEVEL_TRY_STATUS(check());
          BEVEL_TRY(const ops::GatheredRows one, some.own->gather(tensor, 1, sample));
          const std::int64_t wanted_rows = share(job, one, sample);
          if (wanted_rows < 1) continue;
          BEVEL_TRY(ops::GatheredRows rows, some.own->gather(tensor, wanted_rows, sample));
          const std::scoped_lock lock(some.mutex);
          some.by_sample.insert_or_assign(sample, std::move(rows));
        }
        for (auto& [key, sums] : job.channels) {
          if (key.value != name) continue;
          BEVEL_TRY_STATUS(check());
          BEVEL_TRY_STATUS(sums.see(sample, tensor));
        }
        return {};
      });
    });
  }

  Status second_pass(Job& job, const Model& model) {
    if (job.operands.empty() && job.channels.empty()) return {};
    for (auto& [key, operand] : job.operands) BEVEL_TRY_STATUS(operand.sums.start(operand.own->place(), job.reference != nullptr));
    for (auto& [key, sums] : job.channels) BEVEL_TRY_STATUS(sums.start());
    // What is only counted is not computed again.
    if (!job.counted.empty() || !job.rows.empty()) {
      Names names;
      for (const auto& [key, operand] : job.operands) names.index(operand.own->value());
      for (const auto& [key, sums] : job.channels) names.index(key.value);
      BEVEL_TRY(auto asked, activations_.ask(model, names.all(), {names.all().begin(), names.all().end()}));
      for (auto& [key, operand] : job.operands) {
        BEVEL_TRY(operand.own, OperandRows::create(asked->model(), key));
      }
      job.asked = std::move(asked);
      job.names = std::move(names);
    }
    for (std::size_t begin = 0; begin < job.samples;) {
      std::vector<std::size_t> batch;
      for (std::int64_t elements = 0; begin < job.samples && (batch.empty() || elements < kBatchElements); ++begin) {
        batch.push_back(begin);
        for (const auto& [key, operand] : job.operands) elements += operand.sums.elements_of(begin);
      }
      BEVEL_TRY_STATUS(sum_batch(job, batch));
    }
    return {};
  }

  Status sum_batch(Job& job, const std::vector<std::size_t>& batch) {
    for (auto& [key, operand] : job.operands) operand.sums.make_room(batch);
    FirstFailure first;
    pool_.for_each(batch.size(), [&](std::size_t item, unsigned) {
      const std::size_t sample = batch[item];
      if (first.skips(sample)) return;
      if (auto status = put_sample(job, sample); !status) first.report(sample, located(dataset_.sample_name(sample), std::move(status).error()).value());
    });
    if (first.failure()) return Failure(first.failure()->second);
    std::vector<std::pair<Operand*, std::size_t>> tiles;
    for (auto& [key, operand] : job.operands)
      for (std::size_t tile = 0; tile < operand.sums.tiles(); ++tile) tiles.emplace_back(&operand, tile);
    pool_.for_each(tiles.size(), [&](std::size_t item, unsigned) { tiles[item].first->sums.add_tile(tiles[item].second); });
    for (auto& [key, operand] : job.operands) operand.sums.end_batch();
    return {};
  }

  Status put_sample(Job& job, std::size_t sample) {
    ByOperand reference;
    if (job.reference) BEVEL_TRY_STATUS(reference_rows(job, *job.reference, job.reference_names, sample, reference));
    return job.asked->run(sample, [&](std::size_t wanted, const Tensor& tensor) -> Status {
      const std::string& name = job.names.all()[wanted];
      for (auto& [key, operand] : job.operands) {
        if (operand.own->value() != name) continue;
        BEVEL_TRY(const ops::GatheredRows rows, operand.own->gather(tensor, job.positions, sample));
        BEVEL_TRY(const ops::GatheredRows* other, beside(operand, reference, job.reference != nullptr));
        operand.sums.put(sample, rows, other);
      }
      for (auto& [key, sums] : job.channels)
        if (key.value == name) BEVEL_TRY_STATUS(sums.add(tensor));
      return {};
    });
  }

  static Result<data::Rows> assembled(SomeRows& some) {
    data::Rows rows;
    for (const auto& [sample, part] : some.by_sample) {
      if (rows.count == 0) {
        rows.groups = part.groups;
        rows.k = part.k;
      }
      if (part.groups != rows.groups || part.k != rows.k)
        return fail_input("{} has rows of other lengths in sample {} than in the first", some.own->place(), sample);
      rows.count += part.rows;
    }
    for (std::int64_t g = 0; g < rows.groups; ++g) {
      for (const auto& [sample, part] : some.by_sample) {
        const float* from = part.values.data() + g * part.rows * part.k;
        rows.values.insert(rows.values.end(), from, from + part.rows * part.k);
      }
    }
    return rows;
  }

  static Result<data::Statistics> answer(Job& job) {
    data::Statistics statistics;
    statistics.samples = job.samples;
    for (auto& [name, counted] : job.counted) {
      if (counted.unsuitable) continue;
      data::ValueStatistics value = counted.accumulator.statistics();
      if (value.histogram.total() == 0) {
        if (!counted.required) continue;
        return fail_input("value \"{}\" was never computed, or is empty", printable(name));
      }
      statistics.values.emplace(name, std::move(value));
    }
    for (auto& [key, operand] : job.operands) statistics.moments.emplace(key, operand.sums.take());
    for (auto& [key, some] : job.rows) {
      BEVEL_TRY(statistics.rows[key], assembled(some));
    }
    for (auto& [key, sums] : job.channels) statistics.channels.emplace(key, sums.take());
    return statistics;
  }

  const data::Dataset& dataset_;
  WorkerPool& pool_;
  Activations activations_;
};

}  // namespace

std::unique_ptr<data::Measure> measure_by_running(const data::Dataset& dataset, WorkerPool& pool, const eval::EvalOptions& options,
                                                  const Memo& memo) {
  return std::make_unique<RunningMeasure>(dataset, pool, options, memo);
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
