// What a measurement must show before an output gets its name.
#pragma once

#include <string>
#include <vector>

#include "lib/report/record.h"
#include "lib/support/result.h"

namespace bevel::driver {

// Float outputs that only rounding separates: bound of a rounding-class pass.
constexpr double kRoundingSqnrDb = 60.0;

// The value below which even a deliberately lossy output no longer stands for its source is the user's to say (--max-drop); what no use
// accepts is a NaN or Inf on one side.
constexpr double kFiniteOnlyDb = -1e300;

// Exit 4 naming the first output whose SQNR is below `minimum_db`, or that is NaN on one side.
Status require_sqnr(const std::vector<report::OutputComparison>& outputs, double minimum_db, const std::string& what);

// Exit 4 naming the first output of which one value differs. What a Program must show against its model in the evaluator: every
// group lowered, or there would be no Program, and the evaluator ran each by the same kernel (evaluated_by_kernels), integer
// or float.
Status require_same_values(const std::vector<report::OutputComparison>& outputs, const std::string& what);

// An output that real samples show below either is written, for the user may know why, but never without a warning: at 10 dB the error has
// a tenth of the signal's power. The agreement counts where an output holds class scores.
constexpr double kPoorSqnrDb = 10.0;
constexpr double kPoorAgreement = 0.9;
[[nodiscard]] bool is_poor(const std::vector<report::OutputComparison>& outputs, const report::SampleSource& samples);
// Names the worst output and the worst of `layers`.
std::string poor_warning(const std::vector<report::OutputComparison>& outputs, const report::SampleSource& samples,
                         const std::vector<report::LayerRow>& layers);

// What a metric (empty: the agreement, in percent) lost, and what --max-drop allows, in points.
struct Drop {
  std::string metric;
  double reference = 100, test = 0;
  double points = 0, allowed = 0;
};
std::string too_much_lost(const Drop& drop, std::uint64_t samples, const std::vector<report::LayerRow>& layers);

// Judges what `compile` measured: the Program's values are its model's, the int8 model is finite where the float one is, and the drop is
// within --max-drop. False, with the paragraph in record.messages, when the outputs may not be published.
bool judge_fidelity(report::CompileRecord& record);

}  // namespace bevel::driver
