// Values of models, sample by sample. What has been computed once and is asked for again is kept (activation_store.h), and only the steps
// between what is kept and what is asked for are run: the bits are those of a whole run.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "calibration/activation_store.h"
#include "calibration/value_hash.h"
#include "lib/data/dataset.h"
#include "lib/eval/evaluator.h"
#include "lib/support/result.h"

namespace bevel::calibration {

// An error that names the value unless it holds finite numbers.
Status finite_numbers(const std::string& name, const Tensor& tensor);

class Asked;

class Activations {
 public:
  Activations(const data::Dataset& dataset, const eval::EvalOptions& options, std::uint64_t store_bytes, std::filesystem::path folder)
      : dataset_(dataset), options_(options), store_(store_bytes, std::move(folder)) {}

  // Values of a model's top graph by name. Those of `twice` will be asked for again and are kept at once, others from the second time that
  // they are met. Errors: no such value; a model that cannot be run.
  Result<std::unique_ptr<Asked>> ask(const Model& model, const std::vector<std::string>& values, const std::set<std::string>& twice);

 private:
  friend class Asked;
  const data::Dataset& dataset_;
  eval::EvalOptions options_;
  ActivationStore store_;
  TensorHashes tensors_;
  std::set<std::string> seen_;  // hashes of values that were asked for, or could have been kept, in earlier requests
};

// The Activations must outlive it.
class Asked {
 public:
  // `wanted` counts the values asked for; constants and what is no tensor are never visited.
  using Visit = std::function<Status(std::size_t wanted, const Tensor& tensor)>;
  // Thread-safe. When visits fail, the failure of the value that is computed first is returned.
  Status run(std::size_t sample, const Visit& visit);
  [[nodiscard]] const Model& model() const { return stepped_->model; }

 private:
  friend class Activations;
  struct Runner {
    std::vector<ValueId> inputs;
    std::unique_ptr<eval::Evaluator> evaluator;  // none: nothing is computed
  };
  explicit Asked(Activations& activations) : activations_(activations) {}
  Status resolve();
  void choose_kept(const std::set<std::string>& twice);
  Result<std::shared_ptr<const Runner>> runner(const std::vector<bool>& known);
  Result<std::vector<Datum>> inputs_for(const Runner& runner, std::size_t sample, std::map<ValueId, Tensor>& read);
  [[nodiscard]] ActivationStore::Key key(ValueId id, std::size_t sample) const { return {hashes_[id.index], sample}; }

  Activations& activations_;
  std::shared_ptr<const SteppedModel> stepped_;
  std::vector<std::string> hashes_;
  std::vector<ValueId> wanted_;
  // Of a wanted value: itself, or what its DequantizeLinear reads.
  std::vector<ValueId> sources_;
  std::vector<ValueId> needed_;         // what steps make, that wanted values are or come from; sorted
  std::map<ValueId, std::vector<std::size_t>> wanted_of_;  // by source: wanted values that are visited with it
  std::vector<std::size_t> within_;     // wanted values within groups
  std::unique_ptr<Runner> within_run_;
  std::set<ValueId> kept_;              // values to keep when they are computed
  std::mutex mutex_;
  std::map<std::vector<bool>, std::shared_ptr<const Runner>> runners_;
};

}  // namespace bevel::calibration
