// What it does. A product with constant weights (MatMul, Gemm, Conv: what ONNX has integer operators for) reads uint8 and int8:
//   y = Gemm (x, w, b)
// becomes
//   x_q, x_scale, x_zero = DynamicQuantizeLinear (x)      once for all that read x
//   sums = MatMulInteger (x_q, w_q, x_zero)               w_q: int8, symmetric per output channel
//   scale = Mul (x_scale, w_scale)
//   product = Mul (Cast <to = float> (sums), scale)
//   y = Add (product, b)
// which ONNX Runtime fuses to one kernel. Nothing is calibrated, so that no sample can be out of range; finding the range costs a
// pass over x in every run, which a depthwise convolution does not win back: it stays in float, as does all that is no product.
#include "passes/quantize/dynamic.h"

#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "lib/ops/facts_derived.h"
#include "lib/ops/semantics.h"
#include "passes/quantize/selection.h"
#include "passes/quantize/weights.h"
#include "passes/simplify/rewrite.h"

namespace bevel::passes {
namespace {

struct IntegerForm {
  std::string_view op_type, integer_type;
  bool convolves = false;  // channels along axis 1 of the result, weights as they stand; else matrices, along the last axis
};
constexpr IntegerForm kForms[] = {
    {"MatMul", "MatMulInteger"}, {"Gemm", "MatMulInteger"}, {"Conv", "ConvInteger", true}};

const IntegerForm* form_of(const Node& node) {
  if (!node.domain.empty()) return nullptr;
  for (const IntegerForm& form : kForms)
    if (form.op_type == node.op_type) return &form;
  return nullptr;
}

template <typename T>
T attribute_or(const Node& node, std::string_view name, T fallback) {
  const Attribute* attribute = node.attribute(name);
  const T* value = attribute != nullptr ? std::get_if<T>(&attribute->value) : nullptr;
  return value != nullptr ? *value : fallback;
}

class DynamicQuantizer {
 public:
  DynamicQuantizer(Model& model, const std::vector<ops::Facts>& facts, const Recipe& recipe, bool forms_only)
      : graph_(model.graph), facts_(facts), recipe_(recipe), forms_only_(forms_only) {}

  // Why the product stays in float; empty when it need not.
  std::string refusal(NodeId id) const {
    const Node& node = graph_.node(id);
    const IntegerForm* form = form_of(node);
    if (form == nullptr) return "ONNX has no integer form of it";
    if (node.inputs.size() < 2 || !is_float32(node.inputs[0]) || !is_float32(node.inputs[1]) || !is_float32(node.outputs[0]))
      return "it does not compute in float32";
    if (graph_.value(node.inputs[0]).is_constant()) return "its first operand is constant";
    const Tensor* weight = graph_.constant(node.inputs[1]);
    if (weight == nullptr) return "its weights are computed";
    if (weight->size() == 0) return "its weights are empty";
    if (!form->convolves && weight->rank() != 2) return "its weights are no matrix";
    if (attribute_or<std::int64_t>(node, "transA", 0) != 0) return "its first operand is transposed";
    if (attribute_or(node, "alpha", 1.0f) != 1.0f || attribute_or(node, "beta", 1.0f) != 1.0f) return "its sums are scaled";
    if (form->convolves && ops::is_depthwise(facts_[id.index].space))
      return "a depthwise convolution has too few products for each value whose range is sought";
    return "";
  }

  Status quantize(NodeId id) {
    const Node node = graph_.node(id);
    const IntegerForm& form = *form_of(node);
    BEVEL_TRY(const Weight weight, integer_weight(id, form));
    const Input input = dynamic_input(node.inputs[0], id);
    const ValueId result = node.outputs[0];
    const Type type = graph_.value(result).type;
    Type sums_type = type;
    sums_type.dtype = DType::int32;
    const std::string name = graph_.value(result).name;

    const ValueId sums = graph_
                             .build_before(id, form.integer_type, node.name + "_integer", {input.quantized, weight.integers, input.zero_point},
                                           form.convolves ? node.attributes : std::vector<Attribute>(), sums_type)
                             .output;
    const ValueId cast = graph_.build_before(id, "Cast", name + "_cast", {sums},
                                             {{"to", static_cast<std::int64_t>(DType::float32), ""}}, type).output;
    const Type scale_type = graph_.value(weight.scale).type;
    const ValueId scale = graph_.build_before(id, "Mul", name + "_scale", {input.scale, weight.scale}, {}, scale_type).output;
    graph_.rename_value(sums, name + "_sums");
    graph_.rename_value(cast, name + "_cast");
    graph_.rename_value(scale, name + "_scale");
    ValueId left = cast, right = scale;
    Node last;
    last.op_type = "Mul";
    if (node.inputs.size() > 2 && node.inputs[2].valid()) {
      left = graph_.build_before(id, "Mul", name + "_product", {cast, scale}, {}, type).output;
      graph_.rename_value(left, name + "_product");
      right = form.convolves ? bias_along_channels(node.inputs[2], type, id) : node.inputs[2];
      last.op_type = "Add";
    }
    graph_.move_output(result, graph_.add_value(name + "_float", type));
    last.inputs = {left, right};
    last.outputs = {result};
    const NodeId made = graph_.insert_after(id, std::move(last));
    graph_.erase_node(id);
    graph_.rename_node(made, node.name);  // the name that recipes and reports know
    return {};
  }
  [[nodiscard]] const PairLosses& pair_losses() const { return pair_losses_; }

 private:
  struct Input {
    ValueId quantized, scale, zero_point;
  };
  struct Weight {
    ValueId integers, scale;
  };

  bool is_float32(ValueId value) const {
    return value.valid() && graph_.value(value).type.is_tensor() && graph_.value(value).type.dtype == DType::float32;
  }

  Input dynamic_input(ValueId value, NodeId position) {
    const auto found = inputs_.find(value);
    if (found != inputs_.end()) return found->second;
    const std::string base = graph_.value(value).name;
    Type quantized = graph_.value(value).type;
    quantized.dtype = DType::uint8;
    const Input made{graph_.add_value(base + "_quantized", quantized), graph_.add_value(base + "_scale", Type::tensor(DType::float32, std::vector<std::int64_t>{})),
                     graph_.add_value(base + "_zero_point", Type::tensor(DType::uint8, std::vector<std::int64_t>{}))};
    Node node;
    node.op_type = "DynamicQuantizeLinear";
    node.name = base + "_quantize";
    node.inputs = {value};
    node.outputs = {made.quantized, made.scale, made.zero_point};
    graph_.insert_before(position, std::move(node));
    inputs_.emplace(value, made);
    return made;
  }

  // As many trailing extents of 1 as the result has axes behind its channels.
  static Dims along_channels(std::int64_t channels, std::size_t rank) {
    Dims dims{channels};
    dims.resize(rank - 1, 1);
    return dims;
  }

  Result<Weight> integer_weight(NodeId id, const IntegerForm& form) {
    const Node& node = graph_.node(id);
    const ValueId value = node.inputs[1];
    const bool transposes = attribute_or<std::int64_t>(node, "transB", 0) != 0;
    auto& made = weights_[{value, transposes}];
    if (made.integers.valid()) return made;
    const std::string base = graph_.value(value).name;
    Tensor weight = *graph_.constant(value);
    if (transposes) weight = transposed(weight, {1, 0});
    const int axis = form.convolves ? 0 : 1;
    const std::optional<int> scales_axis = recipe_.per_channel ? std::optional(axis) : std::nullopt;
    const std::int64_t count = recipe_.per_channel ? weight.dim(static_cast<std::size_t>(axis)) : 1;
    std::vector<float> scales(static_cast<std::size_t>(count), 1.0f);
    WeightFormat format;
    if (recipe_.runtime == kAvx2Runtime && !form.convolves) format.pairs = PairOrder::along_second_last;  // ConvInteger is exact
    if (!forms_only_) {
      auto found = weight_scales(weight, scales_axis, nullptr, 1, format);
      if (!found)
        return located(fmt::format("node '{}' ({}), weights '{}'", printable(node.name), printable(node.op_type), printable(base)),
                       std::move(found).error());
      scales = std::move(*found);
      BEVEL_TRY(const PairCost cost, pair_cost(weight, scales_axis, nullptr, 1, format));
      if (format.pairs != PairOrder::none) pair_losses_.add(node.name, weight.size(), cost.limited, cost.db);
    }
    Tensor integers = forms_only_ ? Tensor::zeros(DType::int8, weight.dims()) : quantize_weight(weight, scales_axis, scales, format);
    const Dims dims = !recipe_.per_channel ? Dims{} : form.convolves ? along_channels(count, weight.rank()) : Dims{count};
    made = {graph_.add_constant(base + "_quantized", std::move(integers)),
            graph_.add_constant(base + "_scale", Tensor::of<float>(dims, scales))};
    return made;
  }

  // [channels] beside a result of [batch, channels, ...].
  ValueId bias_along_channels(ValueId bias, const Type& result, NodeId position) {
    const std::size_t rank = result.shape.has_rank ? result.shape.rank() : graph_.constant(graph_.node(position).inputs[1])->rank();
    const std::string base = graph_.value(bias).name;
    if (const Tensor* constant = graph_.constant(bias))
      return graph_.add_constant(base + "_along_channels", constant->reshaped(along_channels(constant->size(), rank)));
    std::vector<std::int64_t> target = along_channels(-1, rank);
    const auto count = static_cast<std::int64_t>(target.size());
    const ValueId shape = graph_.add_constant(base + "_shape", Tensor::of<std::int64_t>({count}, target));
    return graph_.build_before(position, "Reshape", base + "_along_channels", {bias, shape}).output;
  }

  Graph& graph_;
  const std::vector<ops::Facts>& facts_;
  const Recipe& recipe_;
  bool forms_only_;
  std::map<ValueId, Input> inputs_;
  std::map<std::pair<ValueId, bool>, Weight> weights_;
  PairLosses pair_losses_;
};

}  // namespace

Result<PassStats> quantize_dynamically(Model& model, const Recipe& recipe, std::string_view keep_float, bool forms_only) {
  const std::vector<ops::Facts> facts = all_facts(model);
  BEVEL_TRY(const Selection selection, select_nodes(model, facts, recipe, keep_float));
  DynamicQuantizer quantizer(model, facts, recipe, forms_only);
  PassStats stats;
  for (const NodeId id : model.graph.node_order()) {
    if (facts[id.index].space.kind != ops::OpKind::bilinear) continue;
    const std::string reason = selection.kept_float(id) ? selection.reason[id.index] : quantizer.refusal(id);
    if (!reason.empty()) {
      stats.notes.push_back({model.graph.node(id).name, model.graph.node(id).op_type, reason});
      continue;
    }
    BEVEL_TRY_STATUS(quantizer.quantize(id));
    ++stats.changes;
  }
  if (quantizer.pair_losses().layers > 0) stats.notes.push_back({"", "", describe(quantizer.pair_losses(), "weights")});
  model.graph.erase_dead();
  return stats;
}

}  // namespace bevel::passes
