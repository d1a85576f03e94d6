// The one file beside the families that knows operators by name: answers of semantics.h, from attributes and constants.
#include "lib/ops/semantics.h"

#include <algorithm>
#include <cmath>

#include "lib/ops/family.h"
#include "lib/ops/sliding_window.h"

namespace bevel::ops {
namespace {

bool is_op(const Model& model, const Node& node, std::string_view op_type) {
  return node.op_type == op_type && node.domain.empty() && model.opset() >= kBaseOpset && model.opset() <= kNewestOpset;
}

bool has_input(const Node& node, std::size_t i) { return i < node.inputs.size() && node.inputs[i].valid(); }
ValueId input_or_none(const Node& node, std::size_t i) { return has_input(node, i) ? node.inputs[i] : ValueId(); }
const Tensor* constant_input(const Graph& graph, const Node& node, std::size_t i) {
  return has_input(node, i) ? graph.constant(node.inputs[i]) : nullptr;
}

// The shape of a tensor value, when its rank is known.
const Shape* ranked(const Graph& graph, ValueId id) {
  if (!id.valid()) return nullptr;
  const Type& type = graph.value(id).type;
  return type.is_tensor() && type.shape.has_rank ? &type.shape : nullptr;
}

bool is_plain_float_value(const Graph& graph, ValueId id) {
  return id.valid() && graph.value(id).type.is_tensor() && is_plain_float(graph.value(id).type.dtype);
}

bool only_first_output(const Graph& graph, const Node& node) {
  if (node.outputs.empty() || !node.outputs[0].valid()) return false;
  for (std::size_t i = 1; i < node.outputs.size(); ++i) {
    if (node.outputs[i].valid() && graph.value(node.outputs[i]).has_uses()) return false;
  }
  return true;
}

bool all_finite(const std::vector<double>& values) {
  return std::all_of(values.begin(), values.end(), [](double value) { return std::isfinite(value); });
}

// The one axis of `x` that a broadcast constant varies along, from the right; nullopt when it varies along several, or
// when it would make the result larger than x.
struct Variation {
  int axis = -1;
};
std::optional<Variation> variation_of(const Tensor& constant, const Shape* x) {
  if (constant.rank() > 0 && (x == nullptr || constant.rank() > x->rank())) return std::nullopt;
  Variation found;
  for (std::size_t i = 0; i < constant.rank(); ++i) {
    if (constant.dim(i) == 1) continue;
    if (found.axis >= 0) return std::nullopt;
    const std::size_t axis = x->rank() - constant.rank() + i;
    if (!x->dims[axis].known() || x->dims[axis].value != constant.dim(i)) return std::nullopt;
    found.axis = static_cast<int>(axis);
  }
  return found;
}

// Exact widening to double; empty where an element is not finite.
std::vector<double> finite_doubles(const Tensor& tensor) {
  std::vector<double> values = to_doubles(tensor);
  if (!all_finite(values)) values.clear();
  return values;
}

// BatchNormalization (opsets 14 and 15; the inference form of 9): y = (x - mean) / sqrt(variance + epsilon) * gamma + beta.
std::optional<ChannelAffine> normalization(const Model& model, const Graph& graph, const Node& node) {
  if (!is_op(model, node, "BatchNormalization") || node.inputs.size() != 5 || !only_first_output(graph, node)) {
    return std::nullopt;
  }
  if (attr_int(node, "training_mode", 0).value_or(1) != 0) return std::nullopt;
  const auto epsilon = attr_float(node, "epsilon", 1e-5f);
  std::vector<double> parameters[4];
  for (std::size_t i = 0; i < 4; ++i) {
    const Tensor* tensor = constant_input(graph, node, i + 1);
    if (tensor == nullptr || tensor->rank() != 1 || !is_plain_float(tensor->dtype())) return std::nullopt;
    parameters[i] = finite_doubles(*tensor);
    if (parameters[i].empty() || parameters[i].size() != parameters[0].size()) return std::nullopt;
  }
  if (!epsilon) return std::nullopt;
  const auto& [gamma, beta, mean, variance] = parameters;
  ChannelAffine affine;
  affine.input = node.inputs[0];
  affine.axis = 1;
  for (std::size_t c = 0; c < gamma.size(); ++c) {
    const double scale = gamma[c] / std::sqrt(variance[c] + static_cast<double>(*epsilon));
    affine.scale.push_back(scale);
    affine.shift.push_back(beta[c] - mean[c] * scale);
  }
  return affine;
}

std::optional<ChannelAffine> arithmetic(const Model& model, const Graph& graph, const Node& node) {
  const bool add = is_op(model, node, "Add"), subtract = is_op(model, node, "Sub");
  const bool multiply = is_op(model, node, "Mul"), divide = is_op(model, node, "Div");
  if ((!add && !subtract && !multiply && !divide) || node.inputs.size() != 2) return std::nullopt;
  std::size_t at = 1;
  const Tensor* constant = constant_input(graph, node, 1);
  if (constant == nullptr) {
    if (divide) return std::nullopt;  // constant / x
    at = 0;
    constant = constant_input(graph, node, 0);
  }
  const ValueId x = input_or_none(node, 1 - at);
  if (constant == nullptr || !x.valid() || graph.constant(x) != nullptr || constant->size() == 0) return std::nullopt;
  if (!is_plain_float(constant->dtype())) return std::nullopt;
  const auto variation = variation_of(*constant, ranked(graph, x));
  const std::vector<double> values = finite_doubles(*constant);
  if (!variation || values.empty()) return std::nullopt;
  ChannelAffine affine;
  affine.input = x;
  affine.axis = variation->axis;
  for (const double value : values) {
    affine.scale.push_back(multiply ? value : divide ? 1 / value : subtract && at == 0 ? -1 : 1);
    affine.shift.push_back(add || (subtract && at == 0) ? value : subtract ? -value : 0);
  }
  if (add) affine.addend = node.inputs[at];
  return affine;
}

}  // namespace

std::optional<Tensor> as_constant(const Model& model, const Graph& graph, NodeId id) {
  const Node& node = graph.node(id);
  if (!is_op(model, node, "Constant")) return std::nullopt;
  if (const Tensor* tensor = attr_tensor(node, "value")) return *tensor;
  for (const Attribute& attribute : node.attributes) {
    if (attribute.name == "value_float") {
      if (const auto* value = std::get_if<float>(&attribute.value)) return Tensor::scalar(*value);
    } else if (attribute.name == "value_int") {
      if (const auto* value = std::get_if<std::int64_t>(&attribute.value)) return Tensor::scalar(*value);
    } else if (attribute.name == "value_string") {
      if (const auto* value = std::get_if<std::string>(&attribute.value)) return Tensor::of_strings({}, {*value});
    } else if (attribute.name == "value_floats") {
      if (const auto* values = std::get_if<std::vector<float>>(&attribute.value)) {
        return Tensor::of<float>({static_cast<std::int64_t>(values->size())}, *values);
      }
    } else if (attribute.name == "value_ints") {
      if (const auto* values = std::get_if<std::vector<std::int64_t>>(&attribute.value)) {
        return Tensor::of<std::int64_t>({static_cast<std::int64_t>(values->size())}, *values);
      }
    } else if (attribute.name == "value_strings") {
      if (const auto* values = std::get_if<std::vector<std::string>>(&attribute.value)) {
        return Tensor::of_strings({static_cast<std::int64_t>(values->size())}, *values);
      }
    }
  }
  return std::nullopt;
}

bool is_quantization(const Node& node) {
  return node.op_type == "QuantizeLinear" || node.op_type == "DequantizeLinear" ||
         node.op_type == "DynamicQuantizeLinear";
}

bool ChannelAffine::scales() const {
  return std::any_of(scale.begin(), scale.end(), [](double value) { return value != 1; });
}
bool ChannelAffine::shifts() const {
  return std::any_of(shift.begin(), shift.end(), [](double value) { return value != 0; });
}

std::optional<ChannelAffine> as_channel_affine(const Model& model, const Graph& graph, NodeId id) {
  const Node& node = graph.node(id);
  auto affine = normalization(model, graph, node);
  if (!affine) affine = arithmetic(model, graph, node);
  if (!affine || !is_plain_float_value(graph, affine->input)) return std::nullopt;
  if (!all_finite(affine->scale) || !all_finite(affine->shift)) return std::nullopt;
  return affine;
}

std::vector<std::size_t> homogeneous_operands(const Model& model, const Graph& graph, NodeId id) {
  const Node& node = graph.node(id);
  const auto is_any = [&](std::initializer_list<std::string_view> names) {
    return std::any_of(names.begin(), names.end(), [&](std::string_view name) { return is_op(model, node, name); });
  };
  if (!has_input(node, 0) || !is_plain_float_value(graph, node.inputs[0]) || !only_first_output(graph, node)) return {};
  if (is_any({"Relu", "LeakyRelu", "Abs", "Neg"})) return {0};
  if (is_op(model, node, "PRelu")) return constant_input(graph, node, 1) != nullptr ? std::vector<std::size_t>{0} : std::vector<std::size_t>{};
  if (!is_any({"Add", "Sub", "Max", "Min", "Sum", "Mean"})) return {};
  std::vector<std::size_t> all(node.inputs.size());
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = i;
  return all;
}

std::optional<ScaledResult> as_scaled_result(const Model& model, const Graph& graph, NodeId id) {
  const Node& node = graph.node(id);
  const bool multiplies = is_op(model, node, "Mul"), by_instance = is_op(model, node, "InstanceNormalization");
  const bool by_layer = is_op(model, node, "LayerNormalization") || is_op(model, node, "RMSNormalization");
  if ((!multiplies && !by_instance && !by_layer) || !only_first_output(graph, node)) return std::nullopt;
  const Shape* y = ranked(graph, node.outputs[0]);
  if (y == nullptr) return std::nullopt;
  const int last = static_cast<int>(y->rank()) - 1;
  ScaledResult result;
  result.axis = by_instance ? 1 : last;
  // For normalizations the constants run along their one axis; elsewhere along the one that they vary along.
  if (by_layer) {
    const auto axis = attr_int(node, "axis", -1);
    if (!axis || (*axis != -1 && *axis != last)) return std::nullopt;
  }
  for (std::size_t i = multiplies ? 0 : 1; i < node.inputs.size(); ++i) {
    const Tensor* constant = constant_input(graph, node, i);
    if (constant == nullptr) {
      if (!multiplies && has_input(node, i)) return std::nullopt;
      continue;
    }
    if (!is_plain_float(constant->dtype()) || constant->size() < 2) return std::nullopt;
    if (multiplies) {
      const auto variation = variation_of(*constant, y);
      if (!variation || variation->axis < 0) return std::nullopt;
      result.axis = variation->axis;
    } else if (constant->rank() != 1) {
      return std::nullopt;
    }
    const auto axis = static_cast<std::size_t>(result.axis);
    if (result.axis < 0 || axis >= y->rank() || !y->dims[axis].known() || y->dims[axis].value != constant->size()) return std::nullopt;
    result.constants.push_back(node.inputs[i]);
  }
  if (result.constants.empty() || (multiplies && result.constants.size() != 1)) return std::nullopt;
  return result;
}

std::int64_t LinearLayer::channel_of(const Dims& weight_dims, std::int64_t group_index,
                                     std::int64_t channel_index) const {
  if (group_axis < 0) return channel_index;
  const std::int64_t group_extent = weight_dims[static_cast<std::size_t>(group_axis)] / groups;
  return group_index / group_extent * weight_dims[static_cast<std::size_t>(channel_axis)] + channel_index;
}

std::optional<LinearLayer> as_linear_layer(const Model& model, const Graph& graph, NodeId id) {
  const Node& node = graph.node(id);
  const bool conv = is_op(model, node, "Conv"), transposed = is_op(model, node, "ConvTranspose");
  const bool gemm = is_op(model, node, "Gemm"), product = is_op(model, node, "MatMul");
  if (!conv && !transposed && !gemm && !product) return std::nullopt;
  const Tensor* weight = constant_input(graph, node, 1);
  if (weight == nullptr || weight->size() == 0 || !is_plain_float(weight->dtype()) || !has_input(node, 0)) {
    return std::nullopt;
  }
  LinearLayer layer;
  layer.input = node.inputs[0];
  layer.weight = node.inputs[1];
  if (conv || transposed) {
    if (weight->rank() < 3) return std::nullopt;
    layer.bias_operand = 2;
    layer.channels = weight->dim(0);
    if (transposed) {
      layer.groups = attr_int(node, "group", 1).value_or(0);
      if (layer.groups < 1 || weight->dim(0) % layer.groups != 0) return std::nullopt;
      const auto channels = checked_mul(weight->dim(1), layer.groups);
      if (!channels) return std::nullopt;
      layer.channels = *channels;
      layer.channel_axis = 1;
      layer.group_axis = 0;
    }
  } else {
    if (weight->rank() != 2) return std::nullopt;
    if (gemm) {
      layer.channel_axis = attr_int(node, "transB", 0).value_or(0) != 0 ? 0 : 1;
      layer.bias_operand = 2;
      layer.bias_factor = static_cast<double>(attr_float(node, "beta", 1).value_or(1));
    } else {
      const Shape* x = ranked(graph, layer.input);
      if (x == nullptr || x->rank() < 1) return std::nullopt;
      layer.channel_axis = 1;
      layer.output_axis = static_cast<int>(x->rank()) - 1;
    }
    layer.channels = weight->dim(static_cast<std::size_t>(layer.channel_axis));
  }
  if (layer.bias_operand >= 0) {
    layer.bias = input_or_none(node, static_cast<std::size_t>(layer.bias_operand));
    const Tensor* bias = graph.constant(layer.bias);
    if (layer.bias.valid()) {
      // One element per channel or one for all: [C], [1, C], [1], []. Gemm also takes [M, 1] and [M, C].
      if (bias == nullptr || (bias->size() != layer.channels && bias->size() != 1)) return std::nullopt;
      if (bias->size() > 1 && bias->dim(bias->rank() - 1) != bias->size()) return std::nullopt;
    }
  }
  return layer;
}

void set_unit_bias_factor(Graph& graph, NodeId id) {
  if (graph.node(id).attribute("beta") != nullptr) graph.mutable_node(id).set_attribute("beta", 1.0f);
}

std::optional<MatrixProduct> as_matrix_product(const Model& model, const Graph& graph, NodeId id) {
  const Node& node = graph.node(id);
  if (!is_op(model, node, "MatMul") || node.inputs.size() != 2) return std::nullopt;
  const Shape* a = ranked(graph, node.inputs[0]);
  const Shape* b = ranked(graph, node.inputs[1]);
  if (a == nullptr || b == nullptr || a->rank() != 2 || b->rank() != 2) return std::nullopt;
  if (!is_plain_float_value(graph, node.inputs[0])) return std::nullopt;
  return MatrixProduct{node.inputs[0], node.inputs[1], b->dims[1]};
}

std::optional<Padding> as_padding(const Model& model, const Graph& graph, NodeId id) {
  const Node& node = graph.node(id);
  if (!is_op(model, node, "Pad") || attr_string(node, "mode", "constant").value_or("") != "constant") {
    return std::nullopt;
  }
  const Shape* x = ranked(graph, input_or_none(node, 0));
  const Tensor* pads = constant_input(graph, node, 1);
  if (x == nullptr || pads == nullptr || pads->rank() != 1 || !is_integer(pads->dtype())) return std::nullopt;
  std::vector<std::int64_t> axes(x->rank());
  for (std::size_t i = 0; i < axes.size(); ++i) axes[i] = static_cast<std::int64_t>(i);
  if (has_input(node, 3)) {
    const Tensor* given = constant_input(graph, node, 3);
    if (given == nullptr || !is_integer(given->dtype())) return std::nullopt;
    auto normalized = normalize_axes(given->as_int64s(), x->rank());
    if (!normalized) return std::nullopt;
    axes = std::move(*normalized);
  }
  const std::vector<std::int64_t> amounts = pads->as_int64s();
  if (amounts.size() != 2 * axes.size()) return std::nullopt;
  Padding padding;
  padding.input = node.inputs[0];
  padding.begin.assign(x->rank(), 0);
  padding.end.assign(x->rank(), 0);
  for (std::size_t i = 0; i < axes.size(); ++i) {
    padding.begin[static_cast<std::size_t>(axes[i])] = amounts[i];
    padding.end[static_cast<std::size_t>(axes[i])] = amounts[axes.size() + i];
  }
  if (has_input(node, 2)) {
    const Tensor* fill = constant_input(graph, node, 2);
    if (fill == nullptr || fill->size() != 1 || fill->dtype() == DType::string) return std::nullopt;
    padding.fill = fill->as_double(0);
  }
  return padding;
}

std::optional<SlidingWindow> as_sliding_window(const Model& model, const Graph& graph, NodeId id) {
  const Node& node = graph.node(id);
  const bool conv = is_op(model, node, "Conv"), maximum = is_op(model, node, "MaxPool");
  const bool average = is_op(model, node, "AveragePool");
  if (!conv && !maximum && !average) return std::nullopt;
  const Shape* x = ranked(graph, input_or_none(node, 0));
  if (x == nullptr || x->rank() < 3 || !only_first_output(graph, node)) return std::nullopt;
  std::vector<std::int64_t> kernel;
  if (conv) {
    const Shape* weight = ranked(graph, input_or_none(node, 1));
    if (weight == nullptr || weight->rank() != x->rank()) return std::nullopt;
    for (std::size_t i = 2; i < weight->rank(); ++i) kernel.push_back(extent(*weight, i));
    if (std::any_of(kernel.begin(), kernel.end(), [](std::int64_t k) { return k < 1; })) return std::nullopt;
  }
  const auto attributes = window_attributes(node, x->rank() - 2, kernel);
  if (!attributes || attributes->ceil_mode) return std::nullopt;
  if (attributes->auto_pad != AutoPad::explicit_pads && attributes->auto_pad != AutoPad::valid) return std::nullopt;
  SlidingWindow window;
  window.input = node.inputs[0];
  window.kernel = attributes->kernel;
  window.dilations = attributes->dilations;
  const std::size_t spatial = x->rank() - 2;
  if (attributes->auto_pad == AutoPad::valid || attributes->pads.size() != 2 * spatial) {
    window.begin.assign(spatial, 0);
    window.end.assign(spatial, 0);
  } else {
    window.begin.assign(attributes->pads.begin(), attributes->pads.begin() + static_cast<std::ptrdiff_t>(spatial));
    window.end.assign(attributes->pads.begin() + static_cast<std::ptrdiff_t>(spatial), attributes->pads.end());
  }
  window.needs_overlap = !conv;
  if (maximum) window.border = SlidingWindow::Border::absent;
  if (average && attr_int(node, "count_include_pad", 0).value_or(0) == 0) {
    // Padding is left out of the mean; without any, it makes no difference yet, and set_window_padding counts it in.
    const auto some = [](std::int64_t amount) { return amount != 0; };
    if (std::any_of(window.begin.begin(), window.begin.end(), some) ||
        std::any_of(window.end.begin(), window.end.end(), some)) {
      return std::nullopt;
    }
  }
  return window;
}

void set_window_padding(Graph& graph, NodeId id, const std::vector<std::int64_t>& begin,
                        const std::vector<std::int64_t>& end) {
  Node& node = graph.mutable_node(id);
  std::vector<std::int64_t> pads = begin;
  pads.insert(pads.end(), end.begin(), end.end());
  node.remove_attribute("auto_pad");
  node.set_attribute("pads", std::move(pads));
  if (node.op_type == "AveragePool") node.set_attribute("count_include_pad", std::int64_t{1});
}

std::optional<Transposition> as_transposition(const Model& model, const Graph& graph, NodeId id) {
  const Node& node = graph.node(id);
  if (!is_op(model, node, "Transpose") || !has_input(node, 0)) return std::nullopt;
  auto order = attr_ints(node, "perm");
  if (!order) return std::nullopt;
  if (order->empty()) {
    const Shape* x = ranked(graph, node.inputs[0]);
    if (x == nullptr) return std::nullopt;
    for (std::size_t i = x->rank(); i-- > 0;) order->push_back(static_cast<std::int64_t>(i));
  }
  std::vector<std::int64_t> sorted = *order;
  std::sort(sorted.begin(), sorted.end());
  for (std::size_t i = 0; i < sorted.size(); ++i) {
    if (sorted[i] != static_cast<std::int64_t>(i)) return std::nullopt;
  }
  return Transposition{node.inputs[0], std::move(*order)};
}

std::optional<ValueId> as_reshaping(const Model& model, const Graph& graph, NodeId id) {
  const Node& node = graph.node(id);
  const bool reshaping = is_op(model, node, "Reshape") || is_op(model, node, "Flatten") ||
                         is_op(model, node, "Squeeze") || is_op(model, node, "Unsqueeze");
  if (!reshaping || !has_input(node, 0)) return std::nullopt;
  return node.inputs[0];
}

std::optional<AxisAgnostic> as_axis_agnostic(const Model& model, const Graph& graph, NodeId id) {
  const Node& node = graph.node(id);
  if (node.outputs.size() != 1 || !node.outputs[0].valid() || !node.captures.empty()) return std::nullopt;
  const Shape* output = ranked(graph, node.outputs[0]);
  if (output == nullptr) return std::nullopt;
  AxisAgnostic result;
  result.rank = output->rank();
  if (is_op(model, node, "Concat")) {
    for (std::size_t i = 0; i < node.inputs.size(); ++i) result.operands.push_back(i);
    return result;
  }
  const Facts facts = facts_of(model, graph, id);
  if (facts.space.kind != OpKind::elementwise || !facts.value.pure) return std::nullopt;
  for (std::size_t i = 0; i < node.inputs.size(); ++i) {
    if (!node.inputs[i].valid()) continue;
    const Shape* shape = ranked(graph, node.inputs[i]);
    if (shape == nullptr || shape->rank() > output->rank()) return std::nullopt;
    if (shape->rank() == 0) continue;
    // A vector of scales runs along an axis that an attribute names, not along the last one.
    if (is_quantization(node) && i > 0) {
      if (!shape->dims[0].known() || shape->dims[0].value != 1) return std::nullopt;
      continue;
    }
    result.operands.push_back(i);
  }
  return result;
}

void permute_axes(Graph& graph, NodeId id, const std::vector<std::int64_t>& position, std::size_t rank) {
  Node& node = graph.mutable_node(id);
  if (node.op_type != "Concat" || position.size() != rank) return;
  const auto axis = attr_int(node, "axis", 0);
  const auto normalized = axis ? normalize_axis(*axis, rank) : axis;
  if (normalized) node.set_attribute("axis", position[static_cast<std::size_t>(*normalized)]);
}

}  // namespace bevel::ops
