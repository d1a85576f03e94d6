// A product whose weights are integers behind a DequantizeLinear, beside the float node that it came from: what passes that refine a
// quantized model read of it, and how they write it back.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "lib/ir/graph.h"
#include "lib/ops/facts.h"
#include "lib/ops/product_view.h"

namespace bevel::passes {

struct QuantizedLayer {
  NodeId node;
  NodeId dequantizer;              // of the weights, operand 1
  ops::ProductView view;           // of the weights
  Tensor integers;                 // int8 or int4, symmetric
  Tensor scales;                   // float32
  Tensor reference;                // the float weights, in the same layout

  // Each channel's scales: of its element i, slot[channel's number * slots + slot_of[i]] of `scales`; channels are numbered over groups.
  std::int64_t slots = 1;
  std::vector<std::int32_t> slot_of;  // [k]
  std::vector<std::int64_t> slot;     // [groups * channels * slots]
  bool own_scales = false;            // no two channels share one

  enum class Bias : std::uint8_t { none, floats, integers } bias = Bias::none;  // one number per channel, or none
  std::size_t bias_operand = 0;
  std::vector<float> reference_bias;  // [groups * channels]
  float input_scale = 0;              // integer biases: of the activation; their step is input_scale * the channel's scale

  [[nodiscard]] std::int64_t channel_count() const { return view.groups * view.channels; }
};

// nullopt: not such a node. `why` is then set where the weights are integers and yet cannot be refined, for a note.
std::optional<QuantizedLayer> as_quantized_layer(const Model& model, const Model& reference, NodeId node, std::string& why);

// Gives the layer's DequantizeLinear these integers and scales: in place, or as constants of its own where others read the present ones.
// False when it has them already.
bool replace_weights(Graph& graph, const QuantizedLayer& layer, const Tensor& integers, const Tensor& scales);
// The same of the node's biases, [channel_count]; integers take the steps that follow from `scales` (the weights', in their layout).
bool replace_bias(Graph& graph, const QuantizedLayer& layer, const std::vector<float>& bias, const Tensor& scales);

}  // namespace bevel::passes
