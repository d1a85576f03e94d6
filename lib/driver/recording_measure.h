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
  Result<data::Statistics> measure(const Model& model, const data::Request& request) override;
  [[nodiscard]] const data::Statistics& recorded() const { return recorded_; }
  [[nodiscard]] data::Statistics take() { return std::move(recorded_); }

 private:
  data::Measure& inner_;
  data::Statistics recorded_;
};

}  // namespace bevel::driver
