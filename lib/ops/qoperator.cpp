#include "lib/ops/qoperator.h"

#include <algorithm>
#include <string_view>

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
    if (has_bias && graph_.constant(inputs[form.bias]) == nullptr) return false;
    if (form.w != kNone && graph_.constant(inputs[form.w + 1])->size() > 1 && form.weight_axis < 0) return false;

    std::vector<ValueId> operands{dequantize(id, inputs[form.x], inputs[form.x + 1], inputs[form.x + 2], -1)};
    if (form.w != kNone) operands.push_back(dequantize(id, inputs[form.w], inputs[form.w + 1], inputs[form.w + 2], form.weight_axis));
    if (has_bias) operands.push_back(dequantized_bias(id, inputs[form.bias], inputs[form.x + 1], inputs[form.w + 1]));
    std::vector<Attribute> attributes = node.attributes;
    std::erase_if(attributes, [](const Attribute& attribute) { return attribute.name == "opset"; });  // QLinearSoftmax's own
    const ValueId result = node.outputs[0];
    const std::string name = graph_.value(result).name;
    Type type = graph_.value(result).type;
    const Type integers = type;
    if (type.is_tensor()) type.dtype = DType::float32;
    const ValueId freed = graph_.add_value(name + "_before", integers);
    graph_.move_output(result, freed);
    const auto plain = graph_.build_before(id, form.plain, node.name, std::move(operands), std::move(attributes), type);
    graph_.rename_value(plain.output, without_suffix(name));
    Node quantize;
    quantize.name = node.name + "_quantize";
    quantize.op_type = "QuantizeLinear";
    quantize.inputs = {plain.output, scalar(inputs[form.y]), scalar(inputs[form.y + 1])};
    quantize.outputs = {result};
    graph_.insert_after(plain.node, std::move(quantize));
    graph_.erase_node(id);
    graph_.rename_node(plain.node, node.name);
    return true;
  }

 private:
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
    const auto made = graph_.build_before(position, "DequantizeLinear", name + "_dequantized", std::move(inputs), {}, type);
    if (per_axis) graph_.mutable_node(made.node).set_attribute("axis", static_cast<std::int64_t>(axis));
    return made.output;
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

Status state_quantization_as_nodes(Model& model) {
  Rewriter rewriter(model.graph);
  bool changed = false;
  for (const NodeId id : model.graph.node_order()) {
    const Form* form = form_of(model.graph.node(id));
    if (form != nullptr) changed = rewriter.rewrite(id, *form) || changed;
  }
  if (!changed) return {};
  model.graph.erase_dead();
  return infer_types(model);
}

}  // namespace bevel::ops
