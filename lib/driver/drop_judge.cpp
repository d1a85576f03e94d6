#include "lib/driver/drop_judge.h"

#include <algorithm>
#include <memory>
#include <optional>

#include "lib/driver/runnable.h"
#include "lib/driver/verify.h"

namespace bevel::driver {

std::function<Result<double>(const Model&)> drop_judge(const Model& source, const data::Dataset& dataset, WorkerPool& pool, const Bounds& bounds) {
  const auto before = std::make_shared<std::optional<double>>();
  return [&source, &dataset, &pool, &bounds, before](const Model& trial) -> Result<double> {
    BEVEL_TRY(const auto after, runnable_of(trial, "trial", bounds.eval_options()));
    if (*before) {
      BEVEL_TRY(const Measured measured, measure_side_by_side({after.get()}, {}, dataset, pool, "trial"));
      return drop_in_points(measured.metric, **before, measured.metrics[0]);
    }
    BEVEL_TRY(const auto reference, runnable_of(source, "source model", bounds.eval_options()));
    BEVEL_TRY(const Measured measured, measure_side_by_side({reference.get(), after.get()}, {{0, 1}}, dataset, pool, "trial"));
    if (!measured.metric.empty()) {
      *before = measured.metrics[0];
      return drop_in_points(measured.metric, measured.metrics[0], measured.metrics[1]);
    }
    double agreement = 1;
    for (const report::OutputComparison& output : measured.pairs[0]) agreement = std::min(agreement, output.agreement);
    return 100 - 100 * agreement;
  };
}

}  // namespace bevel::driver
