#include "lib/ops/qoperator.h"

#include <algorithm>
#include <string_view>
#include <vector>

#include "lib/ops/evaluate.h"
#include "lib/ops/family.h"
#include "lib/ops/lowering.h"
#include "lib/ops/op.h"

namespace bevel::ops {
namespace {

constexpr const char* kMicrosoft = "com.microsoft";

// Where an operator has its operands.
struct Form {
  const char *domain, *name, *plain;  // plain: the float operator
  std::size_t x, w, y, bias;          // first of operand, scale, zero point; of y scale, zero point. kNone: there is none
  int weight_axis;                    // that scales of w, one per output channel, run along
};
constexpr std::size_t kNone = 99;
constexpr Form kForms[] = {
    {"", "QLinearConv", "Conv", 0, 3, 6, 8, 0},
    {"", "QLinearMatMul", "MatMul", 0, 3, 6, kNone, -1},
    {kMicrosoft, "QLinearSoftmax", "Softmax", 0, kNone, 3, kNone, 0},
};

const Form* form_of(const Node& node) {
  for (const Form& form : kForms)
    if (node.domain == form.domain && node.op_type == form.name) return &form;
  return nullptr;
}

// Operators of com.microsoft with each data operand before its scale and zero point.
struct ContributedForm {
  const char *name, *plain;
  std::vector<std::size_t> data;  // data operands
  std::size_t y;                  // the result's scale; its zero point follows
  std::size_t variadic = kNone;   // data operands from here on
  std::size_t bias = kNone;       // int32, at the product of the operands' scales
};
const ContributedForm* contributed_form(const Node& node) {
  static const ContributedForm kContributed[] = {
      {"QLinearAdd", "Add", {0, 3}, 6},
      {"QLinearMul", "Mul", {0, 3}, 6},
      {"QLinearSigmoid", "Sigmoid", {0}, 3},
      {"QLinearLeakyRelu", "LeakyRelu", {0}, 3},
      {"QLinearAveragePool", "AveragePool", {0}, 3},
      {"QLinearGlobalAveragePool", "GlobalAveragePool", {0}, 3},
      {"QLinearConcat", "Concat", {}, 0, 2},
      {"QGemm", "Gemm", {0, 3}, 7, kNone, 6},
  };
  for (const ContributedForm& form : kContributed)
    if (node.domain == kMicrosoft && node.op_type == form.name) return &form;
  return nullptr;
}

class Rewriter {
 public:
  explicit Rewriter(Graph& graph) : graph_(graph) {}

  bool rewrite(NodeId id, const Form& form) {
    const Node node = graph_.node(id);
    const std::size_t needed = std::max(form.y + 2, form.w == kNone ? 0 : form.w + 3);
    if (node.inputs.size() < form.y + 1 || node.outputs.size() != 1 || !node.outputs[0].valid()) return false;
    std::vector<ValueId> inputs = node.inputs;
    inputs.resize(std::max(needed, inputs.size()));
    for (const std::size_t first : {form.x + 1, form.y, form.w == kNone ? form.y : form.w + 1})
      for (std::size_t i = first; i < first + 2; ++i)
        if ((i == first || inputs[i].valid()) && (!inputs[i].valid() || graph_.constant(inputs[i]) == nullptr)) return false;
    const bool has_bias = form.bias != kNone && form.bias < inputs.size() && inputs[form.bias].valid();
    if (has_bias && (graph_.constant(inputs[form.bias]) == nullptr || graph_.constant(inputs[form.bias])->dtype() != DType::int32)) return false;
    if (!is_grid(inputs[form.x + 1], inputs[form.x + 2], true) || !is_grid(inputs[form.y], inputs[form.y + 1], true)) return false;
    if (form.w != kNone && !is_grid(inputs[form.w + 1], inputs[form.w + 2], false)) return false;
    if (form.w != kNone && graph_.constant(inputs[form.w + 1])->size() > 1 && form.weight_axis < 0) return false;

    std::vector<ValueId> operands{dequantize(id, inputs[form.x], inputs[form.x + 1], inputs[form.x + 2], -1)};
    if (form.w != kNone) operands.push_back(dequantize(id, inputs[form.w], inputs[form.w + 1], inputs[form.w + 2], form.weight_axis));
    if (has_bias) operands.push_back(dequantized_bias(id, inputs[form.bias], inputs[form.x + 1], inputs[form.w + 1]));
    std::vector<Attribute> attributes = node.attributes;
    std::erase_if(attributes, [](const Attribute& attribute) { return attribute.name == "opset"; });  // QLinearSoftmax's own
    put_plain(id, form.plain, std::move(operands), std::move(attributes), inputs[form.y], inputs[form.y + 1]);
    return true;
  }

  bool rewrite(NodeId id, const ContributedForm& form) {
    const Node node = graph_.node(id);
    if (node.outputs.size() != 1 || !node.outputs[0].valid()) return false;
    std::vector<std::size_t> data(form.data.begin(), form.data.end());
    for (std::size_t i = form.variadic; i != kNone && i < node.inputs.size(); i += 3) data.push_back(i);
    const auto grid_at = [&](std::size_t i, bool scalar) {
      return i + 1 < node.inputs.size() && node.inputs[i + 1].valid() && is_grid(node.inputs[i], node.inputs[i + 1], scalar);
    };
    if (data.empty() || !grid_at(form.y, true)) return false;
    for (const std::size_t first : data) {
      const bool weights = form.bias != kNone && first == form.data.back();  // they may have a scale per channel
      if (first >= node.inputs.size() || !node.inputs[first].valid()) return false;
      if (!grid_at(first + 1, !weights)) return false;
    }
    if (const auto last = attr_flag(node, "channels_last", false); !last || *last) return false;
    if (const auto alpha = attr_float(node, "alpha", 1.0f); form.bias != kNone && (!alpha || *alpha != 1.0f)) return false;
    const bool transposed = form.bias != kNone && attr_flag(node, "transB", false).value_or(false);
    std::vector<ValueId> operands;
    for (const std::size_t first : data) {
      const int axis = form.bias != kNone && first == form.data.back() ? (transposed ? 0 : 1) : -1;
      operands.push_back(dequantize(id, node.inputs[first], node.inputs[first + 1], node.inputs[first + 2], axis));
    }
    if (form.bias != kNone && node.inputs[form.bias].valid()) {
      const Tensor* bias = graph_.constant(node.inputs[form.bias]);
      if (bias == nullptr || bias->dtype() != DType::int32) return false;
      operands.push_back(dequantized_bias(id, node.inputs[form.bias], node.inputs[data[0] + 1], node.inputs[data[1] + 1]));
    }
    std::vector<Attribute> attributes = node.attributes;
    std::erase_if(attributes, [](const Attribute& attribute) { return attribute.name == "channels_last"; });
    put_plain(id, form.plain, std::move(operands), std::move(attributes), node.inputs[form.y], node.inputs[form.y + 1]);
    return true;
  }

 private:
  // A constant scale and, if it is there, zero point; one of each where they must be.
  bool is_grid(ValueId scale, ValueId zero_point, bool single) const {
    const Tensor* step = graph_.constant(scale);
    if (step == nullptr || step->dtype() != DType::float32 || step->size() < 1 || (single && step->size() != 1)) return false;
    if (!zero_point.valid()) return true;
    const Tensor* zero = graph_.constant(zero_point);
    return zero != nullptr && is_integer(zero->dtype()) && zero->size() >= 1 && (!single || zero->size() == 1);
  }

  // In the place of the node: the float operator, and its result rounded to the node's.
  void put_plain(NodeId id, const char* op_type, std::vector<ValueId> operands, std::vector<Attribute> attributes, ValueId scale, ValueId zero_point) {
    const Node node = graph_.node(id);
    const ValueId result = node.outputs[0];
    const std::string name = graph_.value(result).name;
    Type type = graph_.value(result).type;
    const Type integers = type;
    if (type.is_tensor()) type.dtype = DType::float32;
    const ValueId freed = graph_.add_value(name + "_before", integers);
    graph_.move_output(result, freed);
    const auto plain = graph_.build_before(id, op_type, node.name, std::move(operands), std::move(attributes), type);
    graph_.rename_value(plain.output, without_suffix(name));
    Node quantize;
    quantize.name = node.name + "_quantize";
    quantize.op_type = "QuantizeLinear";
    quantize.inputs = {plain.output, scalar(scale), scalar(zero_point)};
    quantize.outputs = {result};
    graph_.insert_after(plain.node, std::move(quantize));
    graph_.erase_node(id);
    graph_.rename_node(plain.node, node.name);
  }

  static std::string without_suffix(const std::string& name) {
    constexpr std::string_view kSuffix = "_quantized";
    return name.ends_with(kSuffix) ? name.substr(0, name.size() - kSuffix.size()) : name + "_float";
  }

  // A tensor of one element as a scalar: of a DequantizeLinear, one of rank 1 would be per axis.
  ValueId scalar(ValueId id) {
    if (!id.valid() || graph_.constant(id)->size() != 1 || graph_.constant(id)->rank() == 0) return id;
    return graph_.add_constant(graph_.value(id).name + "_scalar", graph_.constant(id)->reshaped({}));
  }

  ValueId dequantize(NodeId position, ValueId value, ValueId scale, ValueId zero_point, int axis) {
    std::vector<ValueId> inputs{value, scalar(scale)};
    if (zero_point.valid()) inputs.push_back(scalar(zero_point));
    const std::string name = graph_.value(value).name;
    Type type = graph_.value(value).type;
    if (type.is_tensor()) type.dtype = DType::float32;
    const bool per_axis = axis >= 0 && graph_.constant(inputs[1])->rank() == 1;
    const NodeId same = per_axis ? NodeId() : same_dequantization(inputs);
    if (same.valid() && precedes(same, position)) return graph_.node(same).outputs[0];
    const auto made = graph_.build_before(position, "DequantizeLinear", name + "_dequantized", std::move(inputs), {}, type);
    if (per_axis) graph_.mutable_node(made.node).set_attribute("axis", static_cast<std::int64_t>(axis));
    if (same.valid()) {
      graph_.replace_node_uses(graph_.node(same).outputs[0], made.output);
      graph_.erase_node(same);
    }
    return made.output;
  }

  // A value that several nodes read is dequantized once.
  NodeId same_dequantization(const std::vector<ValueId>& inputs) const {
    for (const Use& use : graph_.value(inputs[0]).uses) {
      const Node& node = graph_.node(use.node);
      if (quant_node(node) != QuantNode::dequantize || use.operand != 0 || node.inputs.size() != inputs.size() || !node.attributes.empty()) continue;
      if (node.outputs.size() != 1 || !node.outputs[0].valid() || graph_.value(node.outputs[0]).output_slots > 0) continue;
      bool same = true;
      for (std::size_t i = 1; same && i < inputs.size(); ++i) {
        const Tensor *a = graph_.constant(node.inputs[i]), *b = graph_.constant(inputs[i]);
        same = a != nullptr && b != nullptr && a->dtype() == b->dtype() && a->dims() == b->dims() && a->same_bits(*b);
      }
      if (same) return use.node;
    }
    return {};
  }

  bool precedes(NodeId first, NodeId second) const {
    for (const NodeId id : graph_.node_order()) {
      if (id == first) return true;
      if (id == second) return false;
    }
    return false;
  }

  // int32 at the product of the scales of x and w.
  ValueId dequantized_bias(NodeId position, ValueId bias, ValueId x_scale, ValueId w_scale) {
    std::vector<float> scales = graph_.constant(w_scale)->as_floats();
    const float x = graph_.constant(x_scale)->as_floats().at(0);
    for (float& scale : scales) scale *= x;
    const std::string name = graph_.value(bias).name;
    const Dims dims = scales.size() == 1 ? Dims{} : Dims{static_cast<std::int64_t>(scales.size())};
    const ValueId scale = graph_.add_constant(name + "_scale", Tensor::of<float>(dims, scales));
    return dequantize(position, bias, scale, {}, 0);
  }

  Graph& graph_;
};

}  // namespace

bool works_on_stored_integers(const Model& model, NodeId id) {
  const Node& node = model.graph.node(id);
  const Facts facts = facts_of(model, model.graph, id);
  if (facts.space.kind != OpKind::bilinear || node.inputs.empty() || !node.inputs[0].valid()) return false;
  const Type& type = model.graph.value(node.inputs[0]).type;
  return type.is_tensor() && (type.dtype == DType::int8 || type.dtype == DType::uint8);
}

namespace {

// Unsigned weights about another zero than 128: no kernel takes them as integers, so that such a product computes in float.
bool has_uneven_weights(const Graph& graph, const Node& node, const Form& form) {
  const Tensor* zero = form.w != kNone && form.w + 2 < node.inputs.size() ? graph.constant(node.inputs[form.w + 2]) : nullptr;
  if (zero == nullptr || zero->dtype() != DType::uint8) return false;
  for (std::int64_t i = 0; i < zero->size(); ++i)
    if (zero->as_int64(i) != 128) return true;
  return false;
}

}  // namespace

bool state_contributed_operators_as_nodes(Model& model) {
  Rewriter rewriter(model.graph);
  bool changed = false;
  for (const NodeId id : model.graph.node_order()) {
    if (!model.graph.alive(id)) continue;
    const ContributedForm* form = contributed_form(model.graph.node(id));
    if (form != nullptr) changed = rewriter.rewrite(id, *form) || changed;
    const Form* own = form == nullptr ? form_of(model.graph.node(id)) : nullptr;
    if (own != nullptr && has_uneven_weights(model.graph, model.graph.node(id), *own)) changed = rewriter.rewrite(id, *own) || changed;
  }
  if (changed) model.graph.erase_dead();
  return changed;
}

std::size_t store_rounded_constants(Model& model) {
  Graph& graph = model.graph;
  std::size_t stored = 0;
  for (const NodeId id : graph.node_order()) {
    const Node node = graph.node(id);
    if (quant_node(node) != QuantNode::quantize || node.outputs.size() != 1 || !node.outputs[0].valid()) continue;
    const ValueId result = node.outputs[0];
    std::vector<Datum> inputs;
    std::uint64_t bytes = 1024;
    bool constant = graph.value(result).output_slots == 0;
    for (const ValueId input : node.inputs) {
      const Tensor* tensor = graph.constant(input);
      constant = constant && (tensor != nullptr || !input.valid());
      inputs.emplace_back(tensor != nullptr ? Datum(*tensor) : Datum());
      bytes += tensor != nullptr ? tensor->bytes().size() : 0;
    }
    if (!constant) continue;
    const auto rounded = evaluate_node(node, model.opset(), inputs, bytes);
    if (!rounded || rounded->size() != 1 || (*rounded)[0].tensor() == nullptr) continue;  // whoever runs the node reports it
    const Tensor integers = *(*rounded)[0].tensor();
    const std::string name = graph.value(result).name;
    graph.move_output(result, graph.add_value(name + "_before", graph.value(result).type));
    graph.erase_node(id);
    graph.set_constant(result, integers);
    graph.set_type(result, Type::tensor(integers.dtype(), integers.dims()));
    ++stored;
  }
  if (stored > 0) graph.erase_dead();
  return stored;
}

Status state_quantization_as_nodes(Model& model) {
  Rewriter rewriter(model.graph);
  bool changed = false;
  for (const NodeId id : model.graph.node_order()) {
    if (!model.graph.alive(id)) continue;
    const Form* form = form_of(model.graph.node(id));
    if (form != nullptr) changed = rewriter.rewrite(id, *form) || changed;
  }
  if (!changed) return {};
  model.graph.erase_dead();
  return infer_types(model);
}

}  // namespace bevel::ops
