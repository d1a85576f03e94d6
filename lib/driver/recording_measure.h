// What a profile is made of: every answer that any recipe may ask for, from one pass over the samples.
#pragma once

#include <optional>

#include "lib/data/measure.h"
#include "lib/ir/graph.h"
#include "lib/support/result.h"

namespace bevel::driver {

// The statistics of min(max(x, low), high), exactly, from those of x; nullopt where a bound cuts a bin in two (the border of a
// bin is a float whose low 15 bits are zero, as 0, 1 and 6 are) or excludes 0.
std::optional<data::ValueStatistics> clamped(const data::ValueStatistics& x, double low, double high);

// Forwards to another Measure and keeps every answer, together with those that another recipe would ask for. What only clamps a
// measured value (Relu, Clip) is not measured again but derived, so that the profile of everything costs about as much as that of what
// one recipe asks for.
class RecordingMeasure final : public data::Measure {
 public:
  explicit RecordingMeasure(data::Measure& inner) : inner_(inner) {}
  // Moments, rows and channels are answered and not kept: a profile has none of them.
  Result<data::Statistics> measure(const Model& model, const data::Request& request) override;
  Result<std::vector<std::vector<data::Difference>>> compare(const Model& reference, const Model& model,
                                                             const std::vector<data::ValuePair>& pairs,
                                                             std::optional<std::size_t> max_samples) override {
    return inner_.compare(reference, model, pairs, max_samples);
  }
  [[nodiscard]] bool has_samples() const override { return inner_.has_samples(); }
  [[nodiscard]] const data::Statistics& recorded() const { return recorded_; }
  [[nodiscard]] data::Statistics take() { return std::move(recorded_); }

 private:
  data::Measure& inner_;
  data::Statistics recorded_;
};

}  // namespace bevel::driver
