// A Measure that keeps the statistics of models, for searches whose trials ask for those of one float model again and again.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "lib/data/measure.h"

namespace bevel::driver {

// What is compared, and moments and channels, go through to `inner`, which must outlive it.
class KeepingMeasure final : public data::Measure {
 public:
  explicit KeepingMeasure(data::Measure& inner) : inner_(inner) {}
  Result<data::Statistics> measure(const Model& model, const data::Request& request) override;
  Result<std::vector<std::vector<data::Difference>>> compare(const Model& reference, const Model& model,
                                                             const std::vector<data::ValuePair>& pairs,
                                                             std::optional<std::size_t> max_samples) override {
    return inner_.compare(reference, model, pairs, max_samples);
  }
  [[nodiscard]] bool has_samples() const override { return inner_.has_samples(); }

 private:
  data::Measure& inner_;
  std::map<std::string, data::Statistics> kept_;  // by the model's hash
};

}  // namespace bevel::driver
