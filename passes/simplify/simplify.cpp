// simplify: the exact and rounding passes, round after round, until a round changes nothing.
//
// One rewrite uncovers the next: constants fold, then padding amounts are known, then padding folds into a convolution, then a
// normalization lies next to it. Rather than to order the passes cleverly, they are run to a fixed point; each is cheap. The list is
// what stands above `simplify` in passes/passes.def.
//
// Limits: those of the passes. Main graph only.
//
//   i = Identity (x)
//   p = Pad (i, pads)
//   c = Conv (p, w)
//   y = BatchNormalization (c, gamma, beta, mean, variance)
// becomes
//   y = Conv <pads = [1, 1, 1, 1]> (x, w, c_bias)
#include "passes/pass.h"

namespace bevel::passes {
namespace {

Result<PassStats> run(Model& model, const Options&, PassContext&) {
  BEVEL_TRY(const std::vector<PassReport> reports, simplify(model));
  PassStats stats;
  for (const PassReport& report : reports) {
    stats.changes += report.stats.changes;
    stats.notes.insert(stats.notes.end(), report.stats.notes.begin(), report.stats.notes.end());
  }
  return stats;
}

}  // namespace

extern const PassRecord simplify_to_fixed_point = {
    "simplify", "all of the above, until nothing changes", Accuracy::rounding, {}, run};

}  // namespace bevel::passes
