// What a trial loses where a model is to be used: points of a metric, or of agreement, on samples that are not the calibration's.
#pragma once

#include <functional>

#include "lib/data/dataset.h"
#include "lib/driver/bounds.h"
#include "lib/ir/graph.h"
#include "lib/support/result.h"

namespace bevel {
class WorkerPool;
}

namespace bevel::driver {

// Points that a model loses against `source` on the samples: of their metric, else of agreement. All must outlive it. The source is run once where
// there are labels.
std::function<Result<double>(const Model&)> drop_judge(const Model& source, const data::Dataset& dataset, WorkerPool& pool, const Bounds& bounds);

}  // namespace bevel::driver
