// What 8 bits would ruin: found by measuring, kept in float, and said.
#pragma once

#include <map>
#include <string>

#include "lib/data/measure.h"
#include "lib/ir/graph.h"
#include "lib/ops/facts.h"
#include "passes/quantize/scales.h"
#include "passes/quantize/selection.h"

namespace bevel::passes {

using KeptFloat = std::map<NodeId, std::string>;  // with the reason

// Regions of arithmetic between products (normalizations, activation functions spelled out, attention masks) are quantized on trial, beside
// the float model: a copy of the region reads the rounded values that it would read and rounds each of its own. Where that errs more than
// ten times as much at its results as rounding alone those that are read rounded, the region's nodes stay in float; the values that products
// read of it are rounded all the same. Needs samples.
Result<KeptFloat> delicate_regions(const Model& model, const std::vector<ops::Facts>& facts, const Selection& selection, const Grids& grids,
                                   const data::Statistics& statistics, const ActivationFormat& format, data::Measure& measure);

// Movements whose result nothing quantized reads (the outputs of a detector, put together) and that would force one scale on values of so
// different ranges that the small ones lose most of their bits.
KeptFloat uneven_moves(const Model& model, const std::vector<ops::Facts>& facts, const Selection& selection, const Grids& grids,
                       const data::Statistics& statistics, const ActivationFormat& format);

}  // namespace bevel::passes
