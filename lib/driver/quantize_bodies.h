// Quantization of what nodes run in subgraphs: each body as a model of its own, by the recipe of the whole.
#pragma once

#include "lib/data/dataset.h"
#include "lib/driver/quantize_leg.h"
#include "lib/eval/evaluator.h"

namespace bevel::driver {

// `reference` is `model` before its main graph was quantized, in the same opset; `samples` are the calibration samples, if there are any. Branches of If
// are measured on the samples that take them. Where nothing can be measured (loops, branches that no sample takes, profiles), a recipe that
// needs ranges quantizes weights alone, and the notes say so. Adds to `quantized`.
Status quantize_bodies(const Model& reference, Model& model, const passes::Recipe& recipe, const data::Dataset* samples,
                       const eval::EvalOptions& options, WorkerPool* pool, Quantized& quantized);

}  // namespace bevel::driver
