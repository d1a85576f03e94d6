#include "passes/quantize/retype.h"

#include <algorithm>
#include <map>
#include <string_view>

#include "lib/ops/op.h"
#include "lib/ops/schemas.h"
#include "lib/support/check.h"

namespace bevel::passes {
namespace {

// Attributes that name the element type of a result, and those that name the type of sums inside: these follow only to a wider type.
constexpr std::string_view kResultTypes[] = {"to", "dtype", "output_dtype", "output_datatype"};
constexpr std::string_view kInnerTypes[] = {"stash_type", "softmax_precision"};

std::int64_t number_of(DType dtype) { return static_cast<std::int64_t>(dtype); }

bool says(const Attribute& attribute, DType dtype) {
  const auto* number = std::get_if<std::int64_t>(&attribute.value);
  return number != nullptr && *number == number_of(dtype);
}

bool is_tensor_of(const Graph& graph, ValueId value, DType dtype) {
  return value.valid() && graph.value(value).type.is_tensor() && graph.value(value).type.dtype == dtype;
}

const ops::Schema* schema_of(const Model& model, const Node& node) {
  return node.domain.empty() ? ops::find_schema(node.op_type, model.opset()) : nullptr;
}

bool operand_moves(const Graph& graph, const Node& node, const ops::Schema& schema, std::size_t i, DType from, DType to) {
  return is_tensor_of(graph, node.inputs[i], from) && ops::takes_input(schema, i, to);
}
bool output_moves(const Graph& graph, const Node& node, const ops::Schema& schema, std::size_t i, DType from, DType to) {
  return is_tensor_of(graph, node.outputs[i], from) && ops::gives_output(schema, i, to);
}

bool has_subgraph(const Node& node) {
  return std::any_of(node.attributes.begin(), node.attributes.end(), [](const Attribute& attribute) {
    return std::holds_alternative<GraphPtr>(attribute.value) || std::holds_alternative<std::vector<GraphPtr>>(attribute.value);
  });
}

// The result's type is written on the node: by number, or as the type of the tensor that fills it.
bool states_type(const Node& node, const ops::Schema& schema, DType dtype) {
  for (const std::string_view name : kResultTypes) {
    const auto known = ops::find_attribute(schema, name);
    if (!known) continue;
    const Attribute* stated = node.attribute(name);
    if (stated == nullptr && known->fallback == std::to_string(number_of(dtype))) return true;
    if (stated != nullptr && says(*stated, dtype)) return true;
  }
  const Attribute* fill = node.attribute("value");
  const Tensor* tensor = fill != nullptr ? std::get_if<Tensor>(&fill->value) : nullptr;
  return tensor != nullptr && tensor->dtype() == dtype;
}

void restate_type(Node& node, const ops::Schema& schema, DType from, DType to) {
  for (const std::string_view name : kResultTypes) {
    const auto known = ops::find_attribute(schema, name);
    if (!known) continue;
    const Attribute* stated = node.attribute(name);
    const bool is_from = stated != nullptr ? says(*stated, from)
                                           : known->fallback == std::to_string(number_of(from));
    if (is_from) node.set_attribute(name, number_of(to));
  }
  if (dtype_bits(to) > dtype_bits(from)) {
    for (const std::string_view name : kInnerTypes)
      if (const Attribute* stated = node.attribute(name); stated != nullptr && says(*stated, from))
        node.set_attribute(name, number_of(to));
  }
  if (const Attribute* fill = node.attribute("value"))
    if (const Tensor* tensor = std::get_if<Tensor>(&fill->value); tensor != nullptr && tensor->dtype() == from)
      node.set_attribute("value", in_dtype(*tensor, to));
}

class Retyper {
 public:
  Retyper(Model& model, const Retyping& retyping)
      : model_(model), graph_(model.graph), from_(retyping.from), to_(retyping.to), moved_(graph_.node_capacity(), false) {
    for (const NodeId id : graph_.node_order())
      moved_[id.index] = retyping.stays[id.index].empty() && holds(graph_, graph_.node(id), from_);
  }

  std::size_t run() {
    const std::vector<NodeId> order = graph_.node_order();
    const std::vector<ValueId> values = graph_.value_ids();
    // Both are asked of the types as they are: decided for all, then done.
    for (const NodeId id : order) decide(id);
    for (const ValueId id : values)
      if (is_tensor_of(graph_, id, from_)) move_value(id);
    std::size_t moved = 0;
    for (const NodeId id : order) {
      if (!moved_[id.index]) continue;
      ++moved;
      Node& node = graph_.mutable_node(id);
      restate_type(node, *schema_of(model_, node), from_, to_);
    }
    return moved;
  }

 private:
  void decide(NodeId id) {
    if (!moved_[id.index]) return;
    const Node& node = graph_.node(id);
    const ops::Schema& schema = *schema_of(model_, node);
    for (std::size_t i = 0; i < node.inputs.size(); ++i)
      if (operand_moves(graph_, node, schema, i, from_, to_)) reads_[node.inputs[i]].push_back({id, static_cast<std::uint32_t>(i)});
    for (std::size_t i = 0; i < node.outputs.size(); ++i)
      if (output_moves(graph_, node, schema, i, from_, to_)) made_[node.outputs[i]] = true;
  }

  void move_value(ValueId id) {
    const auto found = reads_.find(id);
    const std::vector<Use> readers = found == reads_.end() ? std::vector<Use>() : found->second;
    const bool all = readers.size() == graph_.value(id).uses.size() && graph_.value(id).output_slots == 0;
    Type type = graph_.value(id).type;
    type.dtype = to_;
    const std::string name = fmt::format("{}_{}", graph_.value(id).name, dtype_name(to_));
    if (graph_.value(id).is_constant()) {
      if (readers.empty()) return;
      Tensor converted = in_dtype(*graph_.value(id).constant, to_);
      if (all) {
        graph_.set_constant(id, std::move(converted));
        graph_.set_type(id, type);
      } else {
        read_instead(readers, graph_.add_constant(name, std::move(converted)));
      }
    } else if (!made_.contains(id)) {
      if (!readers.empty()) read_instead(readers, cast_of(id, to_, name, type, readers));
    } else if (all) {
      graph_.set_type(id, type);
    } else {
      const ValueId raw = graph_.add_value(name, type);
      graph_.move_output(id, raw);
      Node cast;
      cast.op_type = "Cast";
      cast.name = graph_.value(id).name + "_cast";
      cast.inputs = {raw};
      cast.outputs = {id};
      cast.attributes = {{"to", number_of(from_), ""}};
      graph_.insert_after(graph_.value(raw).producer, std::move(cast));
      read_instead(readers, raw);
    }
  }

  // A Cast right behind the producer; of an input, before the first reader.
  ValueId cast_of(ValueId id, DType to, const std::string& name, const Type& type, const std::vector<Use>& readers) {
    const std::string node = graph_.value(id).name + "_cast";
    std::vector<Attribute> attributes{{"to", number_of(to), ""}};
    const NodeId producer = graph_.value(id).producer;
    NodeId first = readers[0].node;
    if (!producer.valid()) {
      std::vector<bool> reads(graph_.node_capacity(), false);
      for (const Use& use : readers) reads[use.node.index] = true;
      for (const NodeId one : graph_.node_order()) {
        if (one.index >= reads.size() || !reads[one.index]) continue;
        first = one;
        break;
      }
    }
    const auto built = producer.valid() ? graph_.build_after(producer, "Cast", node, {id}, std::move(attributes), type)
                                        : graph_.build_before(first, "Cast", node, {id}, std::move(attributes), type);
    graph_.rename_value(built.output, name);
    return built.output;
  }

  void read_instead(const std::vector<Use>& readers, ValueId value) {
    for (const Use& use : readers) graph_.set_operand(use.node, use.operand, value);
  }

  Model& model_;
  Graph& graph_;
  DType from_, to_;
  std::vector<bool> moved_;
  std::map<ValueId, std::vector<Use>> reads_;  // operands that will read `to`
  std::map<ValueId, bool> made_;               // values that will be made as `to`
};

}  // namespace

bool holds(const Graph& graph, const Node& node, DType dtype) {
  const auto is = [&](ValueId value) { return is_tensor_of(graph, value, dtype); };
  return std::any_of(node.inputs.begin(), node.inputs.end(), is) || std::any_of(node.outputs.begin(), node.outputs.end(), is);
}

std::string cannot_move(const Model& model, NodeId id, DType from, DType to) {
  const Graph& graph = model.graph;
  const Node& node = graph.node(id);
  if (!node.captures.empty() || has_subgraph(node)) return "it has subgraphs";
  const ops::Schema* schema = schema_of(model, node);
  if (schema == nullptr || ops::find_op(node) == nullptr) return "no schema says which element types it takes";
  if (node.op_type == "BitCast") return "it reads bits, not numbers";
  const auto plain = [&](ValueId value) { return !value.valid() || graph.value(value).type.is_tensor(); };
  if (!std::all_of(node.inputs.begin(), node.inputs.end(), plain) || !std::all_of(node.outputs.begin(), node.outputs.end(), plain))
    return "it reads or makes what is no tensor";
  bool moves = false, makes = false;
  std::string refused;
  for (std::size_t i = 0; i < node.inputs.size(); ++i) {
    if (operand_moves(graph, node, *schema, i, from, to)) moves = true;
    else if (is_tensor_of(graph, node.inputs[i], from)) refused = fmt::format("operand {}", i);
  }
  for (std::size_t i = 0; i < node.outputs.size(); ++i) makes = makes || output_moves(graph, node, *schema, i, from, to);
  if (!moves && !makes) return fmt::format("ONNX's {} of opset {} takes no {}{}", node.op_type, model.opset(), dtype_name(to),
                                           refused.empty() ? "" : " as " + refused);
  if (makes && !moves && !states_type(node, *schema, from)) return fmt::format("its result is always {}", dtype_name(from));
  std::size_t results = 0;
  for (const ValueId output : node.outputs) results += output.valid() ? 1 : 0;
  if (results > 1 && ops::find_attribute(*schema, "stash_type")) return "it gives statistics in a type of their own";
  return "";
}

Tensor in_dtype(const Tensor& tensor, DType to) {
  Tensor result = Tensor::zeros(to, tensor.dims());
  const std::vector<float> floats = tensor.as_floats();
  if (to == DType::float32) {
    std::copy(floats.begin(), floats.end(), result.mutable_values<float>().begin());
    return result;
  }
  BEVEL_CHECK(to == DType::float16 || to == DType::bfloat16);
  std::transform(floats.begin(), floats.end(), result.mutable_values<std::uint16_t>().begin(),
                 to == DType::float16 ? narrow_float16 : narrow_bfloat16);
  return result;
}

std::size_t retype(Model& model, const Retyping& retyping) { return Retyper(model, retyping).run(); }

}  // namespace bevel::passes
