// One grid per connected component of values that must share a scale, from measured ranges.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "lib/data/measure.h"
#include "lib/ir/graph.h"
#include "lib/ops/facts.h"
#include "passes/quantize/selection.h"
#include "passes/ranges.h"
#include "passes/recipe.h"

namespace bevel::passes {

// Integers of activations: int8, or the same shifted by 128; int16 symmetric about zero.
struct ActivationFormat {
  DType dtype = DType::int8;
  int qmin = -128, qmax = 127;
  [[nodiscard]] static ActivationFormat int16() { return {DType::int16, -32767, 32767}; }
  [[nodiscard]] bool symmetric() const { return dtype == DType::int16; }
};

class ConsumerErrors;

struct Component {
  std::vector<ValueId> values;              // in discovery order; the first names the scale
  std::optional<double> fixed_scale;        // stated by an op (Softmax), zero point at qmin
  std::optional<RangeMethod> method;        // a node's own choice
  std::vector<ValueId> sources;             // whose statistics decide: results of arithmetic, inputs, float results
  std::vector<double> fills;                // constants that a movement inserts and the grid must hold
  ScaleZeroPoint grid;
  // Made in 16 bits though the rest of the model is in 8, by all that make it; read in either, on this grid where in 16.
  bool wide = false;
  ScaleZeroPoint wide_grid;
};

struct Grids {
  std::vector<Component> components;
  std::vector<int> component_of;            // by value index; -1: not quantized
  [[nodiscard]] const Component* of(ValueId id) const {
    const int index = id.index < component_of.size() ? component_of[id.index] : -1;
    return index < 0 ? nullptr : &components[static_cast<std::size_t>(index)];
  }
};

// Joins values across movements. Nodes that make one component in integers are all wide as soon as one is. A movement that would join a fixed grid with another is taken out of the selection, with its
// reason.
Grids find_components(const Model& model, const std::vector<ops::Facts>& facts, Selection& selection, const Recipe& recipe);

// Names to measure: the sources that are not constant; of grids that an op states, only with `fixed_too`.
std::vector<std::string> values_to_measure(const Graph& graph, const Grids& grids, bool fixed_too);

// Whether some grid is chosen by "auto", which looks at rows.
bool wants_rows(const Grids& grids, const Recipe& recipe, const ActivationFormat& format);

// `errors` judges the candidates of "auto".
Status choose_grids(const Graph& graph, const data::Statistics& statistics, const Recipe& recipe,
                    const ActivationFormat& format, const ConsumerErrors& errors, Grids& grids);

}  // namespace bevel::passes
