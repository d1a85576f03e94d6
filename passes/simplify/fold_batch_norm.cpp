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
// fuse-matmul-add may take. Accuracy: rounding.
//
//   c = Conv (x, w, b)
//   y = BatchNormalization (c, gamma, beta, mean, variance)
// becomes
//   y = Conv (x, w, b)                 # w and b with other numbers
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

bool fold(Model& model, NodeId id) {
  Graph& graph = model.graph;
  const auto affine = ops::as_channel_affine(model, graph, id);
  if (!affine) return false;
  const Value& between = graph.value(affine->input);
  const NodeId producer = between.producer;
  if (!producer.valid() || between.output_index != 0 || !is_private_to(graph, affine->input, id)) return false;
  const auto layer = ops::as_linear_layer(model, graph, producer);
  if (!layer) return false;
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
