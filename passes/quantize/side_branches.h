// A quantized model beside the float model that it stands for: which value is whose counterpart, which part of the quantized model makes
// each, and graphs that measure or mend one layer.
//
// The quantized model may be anybody's: what is needed are values of the same names, or as many products in the same order. A layer is what
// lies between values that have a counterpart, so that nothing hangs on how the rounding is written (QuantizeLinear and DequantizeLinear
// around the node, before it alone, scales computed at run time).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lib/ir/graph.h"
#include "lib/ops/facts.h"
#include "lib/support/result.h"
#include "passes/ranges.h"

namespace bevel::passes {

// What a value is rounded to.
struct Rounding {
  ScaleZeroPoint grid;
  DType dtype = DType::int8;
  std::int32_t qmin = -128, qmax = 127;
  [[nodiscard]] double low() const { return (qmin - grid.zero_point) * static_cast<double>(grid.scale); }
  [[nodiscard]] double high() const { return (qmax - grid.zero_point) * static_cast<double>(grid.scale); }
  bool operator==(const Rounding&) const = default;
};

struct ComparedLayer {
  std::string node, op_type;       // the node that computes, in the quantized model
  std::string value;               // its result there: rounded where it is rounded
  std::string reference_value;     // the float value that this stands for
  std::string reference_node;      // the node that computes there; empty: not found
  std::string reference_producer;  // the node that makes reference_value (a clamp, perhaps): whose range a recipe states
  int channel_axis = -1;           // of reference_value
  std::optional<Rounding> rounding;
  struct Input {
    std::string reference_value;
    std::optional<Rounding> rounding;
  };
  std::vector<Input> inputs;       // computed values that the layer reads, each once
  ValueId weights;                 // stored integers that the node multiplies with, in the quantized model; invalid: none
  NodeId dequantizer;              // that widens them
  int weight_axis = -1;            // of the integers, that the output channels run along
  bool by_position = false;        // the counterpart was found by the order of products, not by name
};

struct Counterparts;

struct Unmatched {
  std::string node, op_type, reason;
};

class SideBranches {
 public:
  // Both models' types must be inferred and their opsets equal; both must outlive it.
  SideBranches(const Model& reference, const Model& model);
  ~SideBranches();
  SideBranches(const SideBranches&) = delete;
  SideBranches& operator=(const SideBranches&) = delete;

  [[nodiscard]] const std::vector<ComparedLayer>& layers() const { return layers_; }  // in execution order
  // Nodes that compute with integers and are part of no layer.
  [[nodiscard]] const std::vector<Unmatched>& unmatched() const { return unmatched_; }

  // The reference with, for each layer, a branch that reads the float values, rounds them as the quantized model does, and computes the layer
  // as that does; and one that does so with the layer's integer weights alone, nothing else rounded. By layer, the names of the branches'
  // results; empty: there is none.
  struct Measured {
    Model model;
    std::vector<std::string> alone, weights_alone;
  };
  [[nodiscard]] Measured beside_reference() const;

  // The quantized model with one layer as the reference computes it, from the quantized model's values; its result is not rounded. nullopt:
  // the layer's values lie so that it cannot be put in.
  [[nodiscard]] std::optional<Model> with_float_layer(std::size_t layer) const;
  // The quantized model with the layer's result rounded to another grid. nullopt: it is not rounded by a QuantizeLinear of its own.
  [[nodiscard]] std::optional<Model> with_rounding(std::size_t layer, const Rounding& rounding) const;

 private:
  const Model& reference_;
  const Model& model_;
  std::unique_ptr<Counterparts> parts_;
  std::vector<ComparedLayer> layers_;
  std::vector<Unmatched> unmatched_;
};

// The quantized model's own float version: activations are not rounded any more, only kept within what their grids hold (where an activation
// function was left out because the grid implies it, that is what it did). Weights stay what they are rounded to. How many roundings
// went.
std::size_t strip_roundings(Model& model);

}  // namespace bevel::passes
