// Which values of a quantized model stand for which of its float parent's, and what lies between them.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <vector>

#include "lib/ir/graph.h"
#include "lib/ops/facts.h"

namespace bevel::passes {

// Values are matched by name; where names differ, the i-th product of one model is the i-th of the other. A layer is what makes a matched value
// from matched ones. Both models must outlive it.
struct Counterparts {
  // The nodes that make a value, back to where others are taken as given.
  struct Segment {
    std::vector<NodeId> nodes;    // execution order
    std::vector<ValueId> leaves;  // each once, in the order of their readers
    bool complete = true;         // false: it reads a value that has no counterpart
  };
  const Model& reference;
  const Model& model;
  const Graph& to;    // the reference's
  const Graph& from;  // the quantized model's
  std::vector<ops::Facts> to_facts, from_facts;
  std::vector<std::size_t> to_position, from_position;  // of nodes, in execution order
  std::map<ValueId, ValueId> counterpart;               // of a quantized model's value, in the reference
  std::set<ValueId> placed;                             // values matched by position
  std::map<ValueId, ValueId> stands_for;                // of a reference's value: the quantized model's, rounded where it is
  std::vector<bool> quantized;                          // by node of the quantized model: rounds, or works on integers
  struct Layer {
    ValueId result, counterpart;
    NodeId anchor, reference_anchor;
    Segment segment;
  };
  std::vector<Layer> layers;


  Counterparts(const Model& reference_model, const Model& quantized_model);
  // A value of the quantized model that a DequantizeLinear makes of what is no constant.
  [[nodiscard]] bool dequantizes(ValueId id) const;
  // Where nothing reads a value but one rounding of it: the value that is read instead.
  [[nodiscard]] ValueId rounded(ValueId id) const;
  // The axis of a product's result that its output channels run along; for other results where frameworks put the channels.
  [[nodiscard]] int channel_axis(const Layer& layer) const;

 private:
  static std::vector<std::size_t> positions(const Graph& graph);
  // The only reader of a value that only such a reader may change without changing whose value it is: a clamp, or the addition of a bias.
  static NodeId continuation(const Model& m, const std::vector<ops::Facts>& facts, ValueId id, bool clamps_only);
  static std::vector<NodeId> products(const Graph& graph, const std::vector<ops::Facts>& facts);
  void find_quantized();
  void match_names();
  // A clamp that the quantized model leaves out, because the grid implies it: the value stands for the clamp's result.
  [[nodiscard]] ValueId past_implied_clamps(ValueId id, ValueId other) const;
  // Where names differ: the i-th product of one model is the i-th of the other, if there are as many.
  void match_products();
  void find_layers();
  [[nodiscard]] bool cuts(ValueId id) const;
  [[nodiscard]] Segment segment_of(ValueId result) const;
  // What the segment is there for: its last product, else its first node that computes.
  [[nodiscard]] NodeId anchor_of(const Segment& segment) const;
  [[nodiscard]] NodeId reference_anchor(const Layer& layer) const;
};

}  // namespace bevel::passes
