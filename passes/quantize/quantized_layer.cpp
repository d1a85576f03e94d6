#include "passes/quantize/quantized_layer.h"

#include <algorithm>
#include <cmath>

#include "lib/ops/lowering.h"
#include "lib/ops/op.h"
#include "passes/quantize/weights.h"
#include "passes/simplify/rewrite.h"

namespace bevel::passes {
namespace {

// The DequantizeLinear of constants that makes a value.
NodeId constant_dequantizer(const Graph& graph, ValueId value) {
  if (!value.valid()) return {};
  const NodeId producer = graph.value(value).producer;
  if (!producer.valid() || ops::quant_node(graph.node(producer)) != ops::QuantNode::dequantize) return {};
  const auto& inputs = graph.node(producer).inputs;
  if (inputs.size() < 2 || graph.constant(inputs[0]) == nullptr || graph.constant(inputs[1]) == nullptr) return {};
  return producer;
}

bool zero_points_are_zero(const Graph& graph, const Node& dequantizer) {
  if (dequantizer.inputs.size() < 3 || !dequantizer.inputs[2].valid()) return true;
  const Tensor* zeros = graph.constant(dequantizer.inputs[2]);
  if (zeros == nullptr) return false;
  for (std::int64_t i = 0; i < zeros->size(); ++i) {
    if (zeros->as_int64(i) != 0) return false;
  }
  return true;
}

std::int64_t integer_attribute(const Node& node, std::string_view name, std::int64_t otherwise) {
  const Attribute* attribute = node.attribute(name);
  const auto* value = attribute == nullptr ? nullptr : std::get_if<std::int64_t>(&attribute->value);
  return value == nullptr ? otherwise : *value;
}

// The element of `scales` that belongs to an element of the integers.
struct ScaleIndex {
  std::int64_t extent = 1, inner = 1, block = 1, blocks = 1;  // along the axis; a block of 0: no axis
  bool by_block = false, single = true;
  [[nodiscard]] std::int64_t of(std::int64_t element) const {
    if (single) return 0;
    const std::int64_t along = element / inner % extent;
    if (!by_block) return along;
    return (element / (inner * extent) * blocks + along / block) * inner + element % inner;
  }
};

std::optional<ScaleIndex> scale_index(const Node& dequantizer, const Tensor& integers, const Tensor& scales) {
  ScaleIndex index;
  const std::int64_t block = integer_attribute(dequantizer, "block_size", 0);
  if (block == 0 && scales.size() == 1) return index;
  const auto rank = static_cast<std::int64_t>(integers.rank());
  std::int64_t axis = integer_attribute(dequantizer, "axis", 1);
  if (axis < 0) axis += rank;
  if (axis < 0 || axis >= rank || block < 0) return std::nullopt;
  index.single = false;
  index.extent = integers.dim(static_cast<std::size_t>(axis));
  for (std::int64_t i = axis + 1; i < rank; ++i) index.inner *= integers.dim(static_cast<std::size_t>(i));
  if (block == 0) return scales.size() == index.extent ? std::optional(index) : std::nullopt;
  index.by_block = true;
  index.block = block;
  index.blocks = (index.extent + block - 1) / block;
  Dims dims = integers.dims();
  dims[static_cast<std::size_t>(axis)] = index.blocks;
  return scales.dims() == dims ? std::optional(index) : std::nullopt;
}

// Fills slots, slot_of, slot and own_scales; false when the channels' elements are not split among scales alike.
bool find_slots(QuantizedLayer& layer, const ScaleIndex& index) {
  const auto& view = layer.view;
  std::vector<std::int32_t> readers(static_cast<std::size_t>(layer.scales.size()), 0);
  bool first = true;
  for (std::int64_t group = 0; group < view.groups; ++group) {
    for (std::int64_t channel = 0; channel < view.channels; ++channel) {
      std::vector<std::int64_t> slots;
      std::vector<std::int32_t> slot_of(static_cast<std::size_t>(view.k));
      for (std::int64_t i = 0; i < view.k; ++i) {
        const std::int64_t at = index.of(view.weight_index(group, channel, i));
        // Blocks are runs, or come again at the same distance: the last few slots are the likely ones.
        const auto found = std::find(slots.rbegin(), slots.rend(), at);
        slot_of[static_cast<std::size_t>(i)] = static_cast<std::int32_t>(slots.rend() - found) - 1;
        if (found == slots.rend()) {
          slot_of[static_cast<std::size_t>(i)] = static_cast<std::int32_t>(slots.size());
          slots.push_back(at);
          ++readers[static_cast<std::size_t>(at)];
        }
      }
      if (first) {
        layer.slot_of = std::move(slot_of);
        layer.slots = static_cast<std::int64_t>(slots.size());
        first = false;
      } else if (slot_of != layer.slot_of) {
        return false;
      }
      layer.slot.insert(layer.slot.end(), slots.begin(), slots.end());
    }
  }
  layer.own_scales = std::all_of(readers.begin(), readers.end(), [](std::int32_t count) { return count <= 1; });
  return true;
}

void find_bias(const Graph& graph, const Graph& reference_graph, const Node& reference, const ops::Facts& facts, QuantizedLayer& layer) {
  const Node& node = graph.node(layer.node);
  if (facts.value.bias_operand < 0) return;
  const auto operand = static_cast<std::size_t>(facts.value.bias_operand);
  if (operand >= node.inputs.size() || !node.inputs[operand].valid() || operand >= reference.inputs.size()) return;
  const Tensor* floats = reference_graph.constant(reference.inputs[operand]);
  const auto channels = layer.channel_count();
  if (floats == nullptr || floats->dtype() != DType::float32 || (floats->size() != channels && floats->size() != 1)) return;
  const auto values = floats->values<float>();
  layer.reference_bias.resize(static_cast<std::size_t>(channels));
  for (std::size_t i = 0; i < layer.reference_bias.size(); ++i) layer.reference_bias[i] = values[floats->size() == 1 ? 0 : i];
  layer.bias_operand = operand;

  const Tensor* present = graph.constant(node.inputs[operand]);
  if (present != nullptr && present->dtype() == DType::float32 && present->size() == channels) {
    layer.bias = QuantizedLayer::Bias::floats;
    return;
  }
  // Integers, whose steps are known where the activation's scale and one scale per channel are.
  const NodeId dequantizer = constant_dequantizer(graph, node.inputs[operand]);
  if (!dequantizer.valid() || layer.slots != 1) return;
  const Tensor& integers = *graph.constant(graph.node(dequantizer).inputs[0]);
  const Tensor& steps = *graph.constant(graph.node(dequantizer).inputs[1]);
  if (integers.dtype() != DType::int32 || integers.size() != channels || steps.dtype() != DType::float32 ||
      (steps.size() != channels && !(steps.size() == 1 && layer.scales.size() == 1))) {
    return;
  }
  const NodeId input = graph.value(node.inputs[0]).producer;
  if (!input.valid() || ops::quant_node(graph.node(input)) != ops::QuantNode::dequantize) return;
  const Tensor* scale = graph.constant(graph.node(input).inputs[1]);
  if (scale == nullptr || scale->dtype() != DType::float32 || scale->size() != 1) return;
  layer.input_scale = scale->values<float>()[0];
  if (std::isfinite(layer.input_scale) && layer.input_scale > 0) layer.bias = QuantizedLayer::Bias::integers;
}

}  // namespace

std::optional<QuantizedLayer> as_quantized_layer(const Model& model, const Model& reference, NodeId id, std::string& why) {
  why.clear();
  const Graph& graph = model.graph;
  const Node& node = graph.node(id);
  if (node.inputs.size() < 2) return std::nullopt;
  QuantizedLayer layer;
  layer.node = id;
  layer.dequantizer = constant_dequantizer(graph, node.inputs[1]);
  if (!layer.dequantizer.valid() || ops::quant_node(node) != ops::QuantNode::none) return std::nullopt;
  const ops::Facts facts = ops::facts_of(model, graph, id);
  if (facts.space.kind != ops::OpKind::bilinear) return std::nullopt;
  const Node& dequantizer = graph.node(layer.dequantizer);
  layer.integers = *graph.constant(dequantizer.inputs[0]);
  layer.scales = *graph.constant(dequantizer.inputs[1]);
  const auto refuse = [&](std::string reason) {
    why = std::move(reason);
    return std::nullopt;
  };
  if ((layer.integers.dtype() != DType::int8 && layer.integers.dtype() != DType::int4) || layer.scales.dtype() != DType::float32 ||
      !zero_points_are_zero(graph, dequantizer)) {
    return refuse("its weights are no symmetric int8 or int4 integers with float32 scales");
  }
  const auto steps = layer.scales.values<float>();
  if (!std::all_of(steps.begin(), steps.end(), [](float step) { return std::isfinite(step) && step > 0; }))
    return refuse("a scale of its weights is not positive");
  if (layer.integers.size() == 0) return std::nullopt;

  const NodeId counterpart = reference.graph.find_node(node.name);
  if (!counterpart.valid()) return refuse("the float model has no node of its name");
  const Node& original = reference.graph.node(counterpart);
  const Tensor* weight = original.inputs.size() < 2 ? nullptr : reference.graph.constant(original.inputs[1]);
  if (original.op_type != node.op_type || original.domain != node.domain || weight == nullptr || weight->dtype() != DType::float32 ||
      weight->dims() != layer.integers.dims()) {
    return refuse("the node of its name in the float model has no float32 weights of its shape");
  }
  layer.reference = *weight;
  const auto view = ops::product_view(facts.space, layer.integers.dims());
  if (!view) return refuse("its weights are no rows of a product");
  layer.view = *view;
  const auto index = scale_index(dequantizer, layer.integers, layer.scales);
  if (!index || !find_slots(layer, *index)) return refuse("the scales of its weights do not fit its channels");
  find_bias(graph, reference.graph, original, facts, layer);
  return layer;
}

bool replace_weights(Graph& graph, const QuantizedLayer& layer, const Tensor& integers, const Tensor& scales) {
  if (integers.same_bits(layer.integers) && scales.same_bits(layer.scales)) return false;
  set_own_constant(graph, layer.dequantizer, 0, integers, "");
  set_own_constant(graph, layer.dequantizer, 1, scales, "");
  return true;
}

bool replace_bias(Graph& graph, const QuantizedLayer& layer, const std::vector<float>& bias, const Tensor& scales) {
  const ValueId present = graph.node(layer.node).inputs[layer.bias_operand];
  if (layer.bias == QuantizedLayer::Bias::floats) {
    Tensor floats = Tensor::of<float>(graph.constant(present)->dims(), bias);
    if (floats.same_bits(*graph.constant(present))) return false;
    set_own_constant(graph, layer.node, layer.bias_operand, std::move(floats), "");
    return true;
  }
  NodeId dequantizer = graph.value(present).producer;
  const Tensor &integers = *graph.constant(graph.node(dequantizer).inputs[0]), &steps = *graph.constant(graph.node(dequantizer).inputs[1]);
  const auto values = scales.values<float>();
  std::vector<float> of_channel(static_cast<std::size_t>(layer.channel_count()));
  for (std::size_t i = 0; i < of_channel.size(); ++i) of_channel[i] = values[static_cast<std::size_t>(layer.slot[i])];
  std::vector<float> products(static_cast<std::size_t>(steps.size()));
  for (std::size_t i = 0; i < products.size(); ++i) products[i] = layer.input_scale * of_channel[i];
  Tensor new_integers = quantize_bias(Tensor::of<float>(integers.dims(), bias), layer.input_scale, of_channel);
  Tensor new_steps = Tensor::of<float>(steps.dims(), products);
  if (new_integers.same_bits(integers) && new_steps.same_bits(steps)) return false;

  if (!is_private_to(graph, present, layer.node)) {
    Node copy;
    copy.op_type = graph.node(dequantizer).op_type;
    copy.domain = graph.node(dequantizer).domain;
    copy.name = graph.node(dequantizer).name;
    copy.inputs = graph.node(dequantizer).inputs;
    copy.attributes = graph.node(dequantizer).attributes;
    const ValueId output = graph.add_value(graph.value(present).name, graph.value(present).type);
    copy.outputs = {output};
    dequantizer = graph.insert_before(layer.node, std::move(copy));
    graph.set_operand(layer.node, layer.bias_operand, output);
  }
  set_own_constant(graph, dequantizer, 0, std::move(new_integers), "");
  set_own_constant(graph, dequantizer, 1, std::move(new_steps), "");
  return true;
}

}  // namespace bevel::passes
