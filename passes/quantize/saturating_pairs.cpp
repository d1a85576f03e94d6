#include "passes/quantize/saturating_pairs.h"

#include <algorithm>

#include "lib/ops/lowering.h"

namespace bevel::passes {
namespace {

std::int64_t integer_attribute(const Node& node, std::string_view name, std::int64_t otherwise) {
  const Attribute* attribute = node.attribute(name);
  const auto* value = attribute == nullptr ? nullptr : std::get_if<std::int64_t>(&attribute->value);
  return value == nullptr ? otherwise : *value;
}

}  // namespace

// ONNX Runtime's kernels are chosen by operator, and so is what they do.
PairOrder pair_order(const Node& node, std::span<const std::int64_t> dims) {
  if (!node.domain.empty() || dims.empty()) return PairOrder::none;
  if (node.op_type == "Conv") {
    const std::int64_t groups = integer_attribute(node, "group", 1);
    const bool depthwise = groups > 1 && dims.size() > 2 && dims[1] == 1 && dims[0] == groups;
    return depthwise || dims.size() < 3 ? PairOrder::none : PairOrder::channels_last;
  }
  if (node.op_type == "MatMul") return dims.size() == 1 ? PairOrder::along_last : PairOrder::along_second_last;
  if (node.op_type == "Gemm" && dims.size() == 2)
    return integer_attribute(node, "transB", 0) != 0 ? PairOrder::along_last : PairOrder::along_second_last;
  return PairOrder::none;
}

PairOrder pair_order(const Graph& graph, NodeId id) {
  const Node& node = graph.node(id);
  if (node.inputs.size() < 2 || !node.inputs[0].valid() || !node.inputs[1].valid()) return PairOrder::none;
  const NodeId source = graph.value(node.inputs[0]).producer;
  if (!source.valid() || ops::quant_node(graph.node(source)) != ops::QuantNode::dequantize) return PairOrder::none;
  const DType dtype = graph.value(graph.node(source).inputs[0]).type.dtype;
  if (dtype != DType::int8 && dtype != DType::uint8) return PairOrder::none;
  const Shape& shape = graph.value(node.inputs[1]).type.shape;
  if (!shape.has_rank) return PairOrder::none;
  Dims dims;
  for (const auto& dim : shape.dims) dims.push_back(dim.known() ? dim.value : -1);
  return pair_order(node, dims);
}

std::int64_t pair_partner(PairOrder order, std::span<const std::int64_t> dims, std::int64_t element) {
  if (order == PairOrder::none) return -1;
  if (order == PairOrder::channels_last) {
    const std::int64_t channels = dims[1];
    std::int64_t places = 1;
    for (const std::int64_t extent : dims.subspan(2)) places *= extent;
    const std::int64_t in_row = element % (channels * places);
    const std::int64_t other = (in_row % places * channels + in_row / places) ^ 1;
    if (other >= channels * places) return -1;
    return element - in_row + other % channels * places + other / channels;
  }
  const std::size_t axis = dims.size() - (order == PairOrder::along_last ? 1 : 2);
  const std::int64_t stride = order == PairOrder::along_last ? 1 : dims.back();
  const std::int64_t at = element / stride % dims[axis], other = at ^ 1;
  return other < dims[axis] ? element + (other - at) * stride : -1;
}

std::vector<std::int32_t> pair_partners(PairOrder order, std::span<const std::int64_t> dims, const ops::ProductView& view) {
  std::vector<std::int32_t> partners;
  if (order == PairOrder::none) return partners;
  std::vector<std::pair<std::int64_t, std::int32_t>> columns;  // by element of the first channel
  for (std::int64_t i = 0; i < view.k; ++i) columns.emplace_back(view.weight_index(0, 0, i), static_cast<std::int32_t>(i));
  std::sort(columns.begin(), columns.end());
  for (std::int64_t i = 0; i < view.k; ++i) {
    const std::int64_t other = pair_partner(order, dims, view.weight_index(0, 0, i));
    const auto found = std::lower_bound(columns.begin(), columns.end(), std::pair(other, std::int32_t{0}));
    partners.push_back(found != columns.end() && found->first == other ? found->second : -1);
  }
  return partners;
}

std::vector<NodeId> saturating_layers(const Graph& graph) {
  std::vector<NodeId> layers;
  for (const NodeId id : graph.node_order()) {
    const Node& node = graph.node(id);
    if (node.inputs.size() < 2 || !node.inputs[1].valid()) continue;
    const bool direct = node.domain.empty() && node.op_type == "MatMulInteger";
    const NodeId dequantizer = direct ? NodeId() : graph.value(node.inputs[1]).producer;
    if (!direct && (!dequantizer.valid() || ops::quant_node(graph.node(dequantizer)) != ops::QuantNode::dequantize)) continue;
    const Tensor* weights = graph.constant(direct ? node.inputs[1] : graph.node(dequantizer).inputs[0]);
    if (weights == nullptr || weights->dtype() != DType::int8) continue;
    const PairOrder order = !direct ? pair_order(graph, id) : weights->rank() == 1 ? PairOrder::along_last : PairOrder::along_second_last;
    for (std::int64_t i = 0; i < weights->size(); ++i) {
      const std::int64_t other = pair_partner(order, weights->dims(), i);
      if (other <= i || !pair_saturates(static_cast<int>(weights->as_int64(i)), static_cast<int>(weights->as_int64(other)))) continue;
      layers.push_back(id);
      break;
    }
  }
  return layers;
}

void PairLosses::add(const std::string& layer, std::int64_t layer_weights, std::int64_t layer_limited, double db) {
  ++layers;
  weights += layer_weights;
  limited += layer_limited;
  if (!(db > worst_db)) return;
  worst_db = db;
  worst_layer = layer;
}

std::string describe(const PairLosses& losses, std::string_view of_what) {
  std::string text = fmt::format("for ONNX Runtime on x86 without VNNI, pairs of weights were kept from saturating its 16-bit sums: {} of {} weights in {} layer{} "
                                 "would have been in such a pair", losses.limited, losses.weights, losses.layers, losses.layers == 1 ? "" : "s");
  if (!losses.worst_layer.empty() && losses.worst_db >= 0.005)
    text += fmt::format("; it cost the {} at most {:.2f} dB ('{}')", of_what, losses.worst_db, printable(losses.worst_layer));
  return text;
}

}  // namespace bevel::passes
