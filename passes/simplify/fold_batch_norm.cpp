// fold-batch-norm: a scale and a shift per channel go into the weights and the bias of the layer before.
//
// At inference, batch normalization is y[c] = x[c] * s[c] + t[c] with s = gamma / sqrt(variance + epsilon) and
// t = beta - mean * s (Ioffe and Szegedy, 2015, section 3.1). After a layer that is linear per channel (Conv, ConvTranspose, Gemm, MatMul)
//     (sum w[c] x + b[c]) * s[c] + t[c] = sum (w[c] s[c]) x + (b[c] s[c] + t[c]),
// so the layer with other numbers does both. Products with, sums with, and differences from a constant per channel are the same
// thing with one half missing. The new numbers are computed in double and rounded once.
//
// Limits: the weight and the bias are constants, and nobody else reads the layer's result. A weight that several layers share is
// copied. Nothing is folded when a new number would not be finite. MatMul takes no bias: its shift stays behind as an Add, which
// fuse-matmul-add may take. Accuracy: rounding. Weights that a DequantizeLinear makes of constant integers keep these: the scale goes into
// its scales, one per channel then, and where it is negative the integers change their sign.
//
//   c = Conv (x, w, b)
//   y = BatchNormalization (c, gamma, beta, mean, variance)
// becomes
//   y = Conv (x, w, b)                 # w and b with other numbers
#include <algorithm>
#include <cmath>
#include <limits>

#include "lib/ops/lowering.h"
#include "lib/ops/semantics.h"
#include "passes/simplify/rewrite.h"

namespace bevel::passes {
namespace {

double at(const std::vector<double>& values, std::int64_t channel) {
  return values[values.size() == 1 ? 0 : static_cast<std::size_t>(channel)];
}

std::optional<Tensor> scaled_weight(const Tensor& weight, const ops::LinearLayer& layer,
                                    const ops::ChannelAffine& affine) {
  const Dims& dims = weight.dims();
  Dims strides(dims.size(), 1);
  for (std::size_t i = dims.size(); i-- > 1;) strides[i - 1] = strides[i] * dims[i];
  const auto index = [&](std::int64_t flat, int axis) {
    const auto a = static_cast<std::size_t>(axis);
    return flat / strides[a] % dims[a];
  };
  return map_elements(weight, [&](std::int64_t flat, double value) {
    const std::int64_t group_index = layer.group_axis >= 0 ? index(flat, layer.group_axis) : 0;
    return value * at(affine.scale, layer.channel_of(dims, group_index, index(flat, layer.channel_axis)));
  });
}

// bias * factor * scale + shift, one per channel, in the weight's dtype.
std::optional<Tensor> new_bias(const Tensor& weight, const Tensor* bias, const ops::LinearLayer& layer,
                               const ops::ChannelAffine& affine) {
  return map_elements(Tensor::zeros(weight.dtype(), {layer.channels}), [&](std::int64_t channel, double) {
    const double before =
        bias == nullptr ? 0 : bias->as_double(bias->size() == 1 ? 0 : channel) * layer.bias_factor;
    return before * at(affine.scale, channel) + at(affine.shift, channel);
  });
}

// [channels] as a tensor that broadcasts along `axis` of a tensor of that rank, from the right.
Tensor along_axis(const Tensor& vector, int axis, std::size_t rank) {
  Dims dims(rank - static_cast<std::size_t>(axis), 1);
  dims[0] = vector.size();
  return vector.reshaped(std::move(dims));
}

// Weights as integers behind a DequantizeLinear.
struct IntegerWeight {
  NodeId node;
  Tensor integers, scales;
  std::optional<Tensor> zero_points;
  [[nodiscard]] float scale(std::int64_t channel) const { return scales.values<float>()[scales.size() == 1 ? 0 : static_cast<std::size_t>(channel)]; }
  [[nodiscard]] std::int64_t zero_point(std::int64_t channel) const {
    return zero_points ? zero_points->as_int64(zero_points->size() == 1 ? 0 : channel) : 0;
  }
};

std::optional<IntegerWeight> integer_weight(const Graph& graph, NodeId product) {
  const Node& node = graph.node(product);
  if (node.inputs.size() < 2 || !node.inputs[1].valid() || !is_private_to(graph, node.inputs[1], product)) return std::nullopt;
  IntegerWeight weight{graph.value(node.inputs[1]).producer, {}, {}, {}};
  if (!weight.node.valid() || ops::quant_node(graph.node(weight.node)) != ops::QuantNode::dequantize) return std::nullopt;
  const Node& dequantize = graph.node(weight.node);
  const auto constant = [&](std::size_t i) { return i < dequantize.inputs.size() ? graph.constant(dequantize.inputs[i]) : nullptr; };
  if (constant(0) == nullptr || constant(1) == nullptr || constant(1)->dtype() != DType::float32 || constant(1)->rank() > 1) return std::nullopt;
  if (constant(0)->dtype() != DType::int8 && constant(0)->dtype() != DType::uint8) return std::nullopt;
  weight.integers = *constant(0);
  weight.scales = *constant(1);
  if (dequantize.inputs.size() > 2 && dequantize.inputs[2].valid()) {
    if (constant(2) == nullptr || !is_integer(constant(2)->dtype())) return std::nullopt;
    weight.zero_points = *constant(2);
  }
  return weight;
}

// The layer that the product would be with its weights as floats.
std::optional<ops::LinearLayer> layer_on_floats(Model& model, NodeId product, const IntegerWeight& weight) {
  Graph& graph = model.graph;
  const ValueId dequantized = graph.node(product).inputs[1];
  const ValueId floats = graph.add_constant("floats", Tensor::zeros(DType::float32, weight.integers.dims()));
  graph.set_operand(product, 1, floats);
  auto layer = ops::as_linear_layer(model, graph, product);
  graph.set_operand(product, 1, dequantized);
  graph.erase_value(floats);
  return layer;
}

bool fold_into_scales(Model& model, NodeId id, NodeId producer, const ops::ChannelAffine& affine) {
  Graph& graph = model.graph;
  const auto weight = integer_weight(graph, producer);
  if (!weight) return false;
  const auto layer = layer_on_floats(model, producer, *weight);
  if (!layer || layer->group_axis >= 0 || layer->bias_operand < 0) return false;
  const auto one_each = [&](const Tensor& tensor) { return tensor.size() == 1 || tensor.size() == layer->channels; };
  if (!one_each(weight->scales) || (weight->zero_points && !one_each(*weight->zero_points))) return false;
  const bool uniform = affine.axis < 0 && affine.scale.size() == 1;
  if (!uniform && (affine.axis != layer->output_axis || affine.scale.size() != static_cast<std::size_t>(layer->channels))) return false;
  const Attribute* axis_attribute = graph.node(weight->node).attribute("axis");
  const auto* axis = axis_attribute != nullptr ? std::get_if<std::int64_t>(&axis_attribute->value) : nullptr;
  const std::int64_t stated = axis != nullptr ? *axis : 1;
  const auto rank = static_cast<std::int64_t>(weight->integers.rank());
  if (weight->scales.size() > 1 && (stated < 0 ? stated + rank : stated) != layer->channel_axis) return false;
  const Tensor* bias = graph.constant(layer->bias);
  if (layer->bias.valid() && (bias == nullptr || bias->dtype() != DType::float32)) return false;

  std::vector<float> scales;
  std::vector<bool> negative;
  for (std::int64_t c = 0; c < layer->channels; ++c) {
    const double factor = at(affine.scale, c);
    const double scale = static_cast<double>(weight->scale(c)) * std::fabs(factor);
    if (!(scale >= static_cast<double>(std::numeric_limits<float>::min())) || !(scale <= static_cast<double>(std::numeric_limits<float>::max())))
      return false;
    if (factor < 0 && (weight->integers.dtype() != DType::int8 || weight->zero_point(c) != 0)) return false;
    scales.push_back(static_cast<float>(scale));
    negative.push_back(factor < 0);
  }
  Tensor integers = weight->integers;
  if (std::find(negative.begin(), negative.end(), true) != negative.end()) {
    std::int64_t inner = 1;
    for (std::size_t i = static_cast<std::size_t>(layer->channel_axis) + 1; i < integers.rank(); ++i) inner *= integers.dim(i);
    const std::int64_t extent = integers.dim(static_cast<std::size_t>(layer->channel_axis));
    const auto values = integers.mutable_values<std::int8_t>();
    for (std::size_t i = 0; i < values.size(); ++i) {
      if (!negative[static_cast<std::size_t>(static_cast<std::int64_t>(i) / inner % extent)]) continue;
      if (values[i] == std::numeric_limits<std::int8_t>::min()) return false;
      values[i] = static_cast<std::int8_t>(-values[i]);
    }
  }
  std::optional<Tensor> bias_after;
  if (bias != nullptr || affine.shifts()) {
    bias_after = new_bias(Tensor::zeros(DType::float32, {}), bias, *layer, affine);
    if (!bias_after) return false;
  }
  if (affine.scales()) {
    if (weight->zero_points) {
      Tensor zeros = Tensor::zeros(weight->zero_points->dtype(), {layer->channels});
      for (std::int64_t c = 0; c < layer->channels; ++c) zeros.set_from_int64(c, weight->zero_point(c));
      set_own_constant(graph, weight->node, 2, std::move(zeros), "");
    }
    set_own_constant(graph, weight->node, 0, std::move(integers), "");
    set_own_constant(graph, weight->node, 1, Tensor::of<float>({layer->channels}, scales), "");
    graph.mutable_node(weight->node).set_attribute("axis", static_cast<std::int64_t>(layer->channel_axis));
  }
  if (bias_after) {
    set_own_constant(graph, producer, static_cast<std::size_t>(layer->bias_operand), std::move(*bias_after), graph.node(producer).name + "_bias");
    ops::set_unit_bias_factor(graph, producer);
  }
  absorb(graph, affine.input, id);
  return true;
}

bool fold(Model& model, NodeId id) {
  Graph& graph = model.graph;
  const auto affine = ops::as_channel_affine(model, graph, id);
  if (!affine) return false;
  const Value& between = graph.value(affine->input);
  const NodeId producer = between.producer;
  if (!producer.valid() || between.output_index != 0 || !is_private_to(graph, affine->input, id)) return false;
  const auto layer = ops::as_linear_layer(model, graph, producer);
  if (!layer) return fold_into_scales(model, id, producer, *affine);
  const auto channels = static_cast<std::size_t>(layer->channels);
  const bool uniform = affine->axis < 0 && affine->scale.size() == 1;
  if (!uniform && (affine->axis != layer->output_axis || affine->scale.size() != channels)) return false;
  const bool takes_bias = layer->bias_operand >= 0;
  if (!takes_bias && !affine->scales()) return false;  // already a product and a sum

  const Tensor weight = *graph.constant(layer->weight);
  const Tensor* bias = graph.constant(layer->bias);
  std::optional<Tensor> weight_after, bias_after;
  if (affine->scales()) {
    weight_after = scaled_weight(weight, *layer, *affine);
    if (!weight_after) return false;
  }
  if (bias != nullptr || affine->shifts()) {
    bias_after = new_bias(weight, bias, *layer, *affine);
    if (!bias_after) return false;
  }

  const std::string name = graph.node(producer).name + "_bias";
  if (weight_after) set_own_constant(graph, producer, 1, std::move(*weight_after), "");
  if (!takes_bias && bias_after) {
    // The scale is in the weight; the node itself becomes the sum.
    const std::size_t rank = between.type.shape.rank();
    const ValueId shift = graph.add_constant(name, along_axis(*bias_after, layer->output_axis, rank));
    graph.resize_inputs(id, 2);
    graph.set_operand(id, 0, affine->input);
    graph.set_operand(id, 1, shift);
    graph.mutable_node(id).op_type = "Add";
    graph.mutable_node(id).attributes.clear();
    return true;
  }
  if (bias_after) {
    set_own_constant(graph, producer, static_cast<std::size_t>(layer->bias_operand), std::move(*bias_after), name);
    ops::set_unit_bias_factor(graph, producer);
  }
  absorb(graph, affine->input, id);
  return true;
}

Result<PassStats> run(Model& model, const Options&, PassContext&) {
  PassStats stats;
  for (const NodeId id : model.graph.node_order()) {
    if (model.graph.alive(id)) stats.changes += fold(model, id);
  }
  if (stats.changes > 0) model.graph.erase_dead();
  return stats;
}

}  // namespace

extern const PassRecord fold_batch_norm = {
    "fold-batch-norm", "fold scales and shifts per channel into the layer before", Accuracy::rounding, {}, run};

}  // namespace bevel::passes
