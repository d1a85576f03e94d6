// What a branch of an If is given, as samples of the branch as a model of its own (passes/bodies.h).
#pragma once

#include <memory>

#include "lib/data/dataset.h"
#include "lib/eval/evaluator.h"
#include "passes/bodies.h"

namespace bevel::driver {

// For each sample of the model that takes the branch: the values that the branch captures, computed by running the model. They are kept up to
// 64 MiB and computed again beyond. `samples` and `model` are of the enclosing graph; `samples` must outlive the result. Without a
// sample that takes the branch: size() 0. Errors: the model does not run, or a captured value is no tensor.
Result<std::unique_ptr<data::Dataset>> branch_samples(const data::Dataset& samples, const Model& model, NodeId node, const passes::Body& branch,
                                                      const eval::EvalOptions& options);

}  // namespace bevel::driver
