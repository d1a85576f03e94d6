// Groups: an anchor op between its DequantizeLinear nodes and its QuantizeLinear. One pass finds, for every op, whether the
// quantization around it makes an integer group, and lowers it on trial; a second gives the rest groups of their own.
#include "lib/plan/grouping.h"

#include <algorithm>
#include <map>
#include <set>

#include "lib/ops/added_bias.h"
#include "lib/ops/facts_derived.h"
#include "lib/ops/lower_common.h"
#include "lib/support/check.h"

namespace bevel::plan {
namespace {

using ops::QuantNode;
using ops::QuantRole;
using ops::is_8bit;

DType dtype_of(const Graph& graph, ValueId id) {
  if (!id.valid()) return DType::undefined;
  const Type& type = graph.value(id).type;
  return type.is_tensor() ? type.dtype : DType::undefined;
}

class Grouper {
 public:
  explicit Grouper(const Model& model) : model_(model), graph_(model.graph) {}

  Grouping run() {
    const std::vector<NodeId> order = graph_.node_order();
    std::map<NodeId, std::size_t> position;
    for (std::size_t i = 0; i < order.size(); ++i) position[order[i]] = i;
    for (NodeId id : order) {
      if (!folded_.contains(id) && ops::quant_node(graph_.node(id)) == QuantNode::none && !widens_constant(id)) add_anchor(id);
    }
    add_lone_quantization(order);
    for (Group& group : result_.groups) {
      std::sort(group.members.begin(), group.members.end(),
                [&](NodeId a, NodeId b) { return position[a] < position[b]; });
    }
    std::stable_sort(result_.groups.begin(), result_.groups.end(),
                     [&](const Group& a, const Group& b) { return position[a.anchor] < position[b.anchor]; });
    return std::move(result_);
  }

 private:
  // A Cast that only widens a stored constant: like a DequantizeLinear it belongs to the groups that read it.
  bool widens_constant(NodeId id) const {
    const Node& node = graph_.node(id);
    return ops::quant_node(node) == QuantNode::none && ops::stored_constant(graph_, node).valid();
  }

  const ops::Facts& facts(NodeId id) {
    const auto found = facts_.find(id);
    return found != facts_.end() ? found->second : facts_.emplace(id, ops::facts_of(model_, graph_, id)).first->second;
  }

  // A group of one node, its operands as they are.
  Group lone(NodeId id) {
    Group group;
    group.anchor = id;
    group.members = {id};
    group.facts = facts(id);
    for (ValueId value : graph_.node(id).inputs) group.inputs.push_back({value, value, std::nullopt});
    for (ValueId value : graph_.node(id).outputs) group.outputs.push_back({value, value, std::nullopt});
    return group;
  }

  void add_anchor(NodeId id) {
    Group plain = lone(id);
    const bool computes = plain.facts.space.kind != ops::OpKind::move && !plain.facts.value.identity &&
                          !all_inputs_constant(plain);
    std::string reason;
    std::optional<Group> candidate = quantized_candidate(plain, &reason);
    if (!candidate && works_on_integers(plain)) candidate = plain;
    if (candidate) {
      const auto placed = trial(*candidate);
      if (placed) {
        candidate->integer = true;
        // Members other than DequantizeLinear nodes, which groups share, belong to this group alone.
        for (NodeId member : candidate->members) {
          if (member != id && ops::quant_node(graph_.node(member)) != QuantNode::dequantize) folded_.insert(member);
        }
        result_.groups.push_back(std::move(*candidate));
        return;
      }
      reason = placed.error();
    }
    if (computes) plain.reason = std::move(reason);
    if (std::optional<Group> stored = with_stored_constants(plain); stored && trial(*stored)) plain = std::move(*stored);
    fold_float_clamp(plain);
    result_.groups.push_back(std::move(plain));
  }

  // A float op whose weights, bias or table are constants that a node in front of it only widens: they stay as they are stored, where
  // there is a kernel that reads them so.
  std::optional<Group> with_stored_constants(const Group& plain) const {
    const bool product = plain.facts.space.kind == ops::OpKind::bilinear;  // with factors of Gemm, too
    if (!product && plain.facts.space.kind != ops::OpKind::move) return std::nullopt;
    Group group = plain;
    bool weights = false;
    for (std::size_t i = 0; i < group.inputs.size(); ++i) {
      GroupEdge& edge = group.inputs[i];
      if (!edge.inner.valid() || (i > 0 && !product)) continue;
      const NodeId producer = graph_.value(edge.inner).producer;
      const ValueId stored = producer.valid() ? ops::stored_constant(graph_, graph_.node(producer)) : ValueId();
      if (!stored.valid()) continue;
      const Node& node = graph_.node(producer);
      auto quantization = ops::stored_quantization(graph_, node);
      if (!quantization && ops::quant_node(node) == QuantNode::dequantize) quantization = ops::node_quantization(graph_, node);
      if (!quantization && ops::quant_node(node) == QuantNode::dequantize) continue;
      edge.border = stored;
      edge.quantization = std::move(quantization);
      group.members.push_back(producer);
      weights = weights || i == (product ? 1u : 0u);
    }
    if (!weights) return std::nullopt;
    std::sort(group.members.begin(), group.members.end());
    group.members.erase(std::unique(group.members.begin(), group.members.end()), group.members.end());
    return group;
  }

  bool all_inputs_constant(const Group& group) const {
    return std::all_of(group.inputs.begin(), group.inputs.end(), [&](const GroupEdge& edge) {
      return !edge.border.valid() || graph_.constant(edge.border) != nullptr;
    });
  }

  // An op that reads and writes 8-bit integers itself (QLinearConv, MaxPool or Reshape between such).
  bool works_on_integers(const Group& group) const {
    if (group.outputs.empty() || !is_8bit(dtype_of(graph_, group.outputs[0].border))) return false;
    const auto& data = group.facts.value.data_operands;
    return !data.empty() && std::all_of(data.begin(), data.end(), [&](int operand) {
      const auto i = static_cast<std::size_t>(operand);
      return i >= group.inputs.size() || !group.inputs[i].border.valid() || is_8bit(dtype_of(graph_, group.inputs[i].border));
    });
  }

  // The anchor with DQ nodes in front and an activation and Q behind; nullopt and the reason when the pattern is not complete.
  std::optional<Group> quantized_candidate(const Group& plain, std::string* reason) {
    const ops::ValueFacts& value = plain.facts.value;
    const Node& anchor = graph_.node(plain.anchor);
    const ops::OpRecord* record = ops::find_op(anchor);
    if (record == nullptr) {
      *reason = fmt::format("operator '{}' is not known", printable(anchor.op_type));
      return std::nullopt;
    }
    if (value.quant == ops::QuantRole::none && !value.clamp) {
      *reason = fmt::format("there is no integer kernel for {}", anchor.op_type);
      return std::nullopt;
    }
    Group group = plain;
    for (std::size_t i = 0; i < group.inputs.size(); ++i) {
      const bool is_data = std::find(value.data_operands.begin(), value.data_operands.end(), static_cast<int>(i)) !=
                           value.data_operands.end();
      const bool is_bias = static_cast<int>(i) == value.bias_operand;
      GroupEdge& edge = group.inputs[i];
      if (!edge.inner.valid()) continue;
      const NodeId producer = graph_.value(edge.inner).producer;
      if (producer.valid() && ops::quant_node(graph_.node(producer)) == QuantNode::dequantize) {
        const bool weights = value.quant == QuantRole::bilinear && is_data && !is_bias && i == 1;
        auto quantization = ops::node_quantization(graph_, graph_.node(producer));
        if (!quantization && weights) quantization = ops::stored_quantization(graph_, graph_.node(producer));  // in blocks
        if (quantization) {
          edge.border = graph_.node(producer).inputs[0];
          edge.quantization = std::move(*quantization);
          group.members.push_back(producer);
        }
      }
      if (is_bias && !edge.quantization && graph_.constant(edge.border) == nullptr) {
        *reason = fmt::format("its bias '{}' is neither quantized nor constant", printable(graph_.value(edge.inner).name));
        return std::nullopt;
      }
      const bool is_weight = value.quant == ops::QuantRole::bilinear && graph_.constant(edge.border) != nullptr;
      if (is_data && !is_bias &&
          (!edge.quantization || !(is_weight ? ops::is_weight_dtype : ops::is_activation_dtype)(edge.quantization->dtype))) {
        *reason = fmt::format("its input '{}' is not quantized to 8 bits", printable(graph_.value(edge.inner).name));
        return std::nullopt;
      }
    }
    if (value.data_operands.empty()) {
      *reason = "it has no data operand";
      return std::nullopt;
    }
    for (std::size_t i = 0; i < group.outputs.size(); ++i) {
      if (!group.outputs[i].inner.valid() || !graph_.value(group.outputs[i].inner).has_uses()) {
        group.outputs[i] = {};
        continue;
      }
      if (!follow_output(group, i, reason)) return std::nullopt;
    }
    if (group.outputs.empty() || !group.outputs[0].border.valid()) {
      *reason = "its output is not used";
      return std::nullopt;
    }
    std::sort(group.members.begin(), group.members.end());
    group.members.erase(std::unique(group.members.begin(), group.members.end()), group.members.end());
    return group;
  }

  // From output i through the addition of a bias and activations that clamp (whose only readers they are) to the QuantizeLinear.
  bool follow_output(Group& group, std::size_t i, std::string* reason) {
    ValueId value = group.outputs[i].inner;
    while (true) {
      const Value& info = graph_.value(value);
      const auto give_up = [&] {
        *reason = fmt::format("its output '{}' is not quantized", printable(info.name));
        return false;
      };
      if (info.output_slots > 0 || info.uses.size() != 1) return give_up();
      const NodeId user = info.uses[0].node;
      const Node& node = graph_.node(user);
      if (ops::quant_node(node) == QuantNode::quantize && info.uses[0].operand == 0) {
        auto quantization = ops::node_quantization(graph_, node);
        if (!quantization || !ops::is_activation_dtype(quantization->dtype) || !quantization->per_tensor()) {
          *reason = fmt::format("its output '{}' is quantized, but not to 8 or 16 bits with one constant scale", printable(info.name));
          return false;
        }
        group.outputs[i].border = node.outputs[0];
        group.outputs[i].quantization = std::move(*quantization);
        group.members.push_back(user);
        return true;
      }
      if (!folded_.contains(user) && value == group.outputs[0].inner) {
        if (auto bias = ops::added_bias(model_, graph_, group.anchor, group.facts, user)) {
          group.added_bias = std::move(*bias);
          group.members.push_back(user);
          value = node.outputs[0];
          continue;
        }
      }
      const ops::ValueFacts& activation = facts(user).value;
      if (folded_.contains(user) || !ops::may_fold_clamp(graph_, value, group.facts.value, group.outputs.size(), activation)) {
        return give_up();
      }
      ops::Interval clamp = *activation.clamp;
      if (group.clamp) {  // the later one has the last word
        clamp.low = std::clamp(group.clamp->low, clamp.low, clamp.high);
        clamp.high = std::clamp(group.clamp->high, activation.clamp->low, activation.clamp->high);
      }
      group.clamp = clamp;
      group.members.push_back(user);
      value = node.outputs[0];
    }
  }

  // The float kernels of products and of arithmetic clamp their result for nothing: an activation that clamps and alone reads it
  // belongs to the group, where that lowers.
  void fold_float_clamp(Group& plain) {
    const ops::QuantRole role = plain.facts.value.quant;
    if ((role != ops::QuantRole::bilinear && role != ops::QuantRole::arithmetic) || plain.outputs.size() != 1) return;
    const ValueId result = plain.outputs[0].border;
    if (!result.valid() || dtype_of(graph_, result) != DType::float32) return;
    const Value& value = graph_.value(result);
    if (value.uses.empty()) return;
    const NodeId user = value.uses[0].node;
    const ops::ValueFacts& activation = facts(user).value;
    if (!ops::may_fold_clamp(graph_, result, plain.facts.value, plain.outputs.size(), activation)) return;
    Group fused = plain;
    fused.clamp = activation.clamp;
    fused.members.push_back(user);
    fused.outputs[0].border = graph_.node(user).outputs[0];
    if (!trial(fused)) return;
    folded_.insert(user);
    plain = std::move(fused);
  }

  PlacedResult trial(const Group& group) {
    std::vector<Dims> inputs, outputs;
    std::vector<ops::MemoryOrder> orders;
    const auto dims_of = [&](ValueId id) -> std::optional<Dims> {
      if (!id.valid()) return Dims{};
      const Type& type = graph_.value(id).type;
      if (!type.is_tensor() || !type.shape.has_rank) return std::nullopt;
      Dims dims;
      for (const Dim& dim : type.shape.dims) dims.push_back(dim.known() ? dim.value : 1);
      return dims;
    };
    for (const GroupEdge& edge : group.inputs) {
      auto dims = dims_of(edge.border);
      if (!dims) return tl::unexpected(std::string("the rank of an input is not known"));
      orders.push_back(ops::logical_order(dims->size()));
      inputs.push_back(std::move(*dims));
    }
    for (const GroupEdge& edge : group.outputs) {
      auto dims = dims_of(edge.border);
      if (!dims) return tl::unexpected(std::string("the rank of an output is not known"));
      outputs.push_back(std::move(*dims));
    }
    return place_group(model_, group, orders, inputs, outputs);
  }

  // QuantizeLinear nodes that no group folded; DequantizeLinear nodes, and Casts of stored constants, whose float result somebody reads.
  void add_lone_quantization(const std::vector<NodeId>& order) {
    std::set<ValueId> read;
    for (const Group& group : result_.groups) {
      for (const GroupEdge& edge : group.inputs) read.insert(edge.border);
      const std::vector<ValueId>& captures = graph_.node(group.anchor).captures;  // by its subgraphs
      read.insert(captures.begin(), captures.end());
    }
    for (NodeId id : order) {
      if (ops::quant_node(graph_.node(id)) == QuantNode::quantize && !folded_.contains(id)) {
        for (ValueId value : graph_.node(id).inputs) read.insert(value);
      }
    }
    std::set<NodeId> members;
    for (const Group& group : result_.groups) members.insert(group.members.begin(), group.members.end());
    for (NodeId id : order) {
      const Node& node = graph_.node(id);
      const QuantNode kind = ops::quant_node(node);
      const bool widens = widens_constant(id);
      if ((kind == QuantNode::none && !widens) || folded_.contains(id)) continue;
      const bool wanted = std::any_of(node.outputs.begin(), node.outputs.end(), [&](ValueId value) {
        return value.valid() && (read.contains(value) || graph_.value(value).output_slots > 0);
      });
      if (kind != QuantNode::quantize && !wanted && members.contains(id)) continue;
      Group group = lone(id);
      if (widens) {
        result_.groups.push_back(std::move(group));
        continue;
      }
      auto quantization = ops::node_quantization(graph_, node);
      if (kind == QuantNode::quantize) {
        if (!group.outputs.empty()) group.outputs[0].quantization = std::move(quantization);
      } else if (!group.inputs.empty()) {
        group.inputs[0].quantization = std::move(quantization);
      }
      result_.groups.push_back(std::move(group));
    }
  }

  const Model& model_;
  const Graph& graph_;
  Grouping result_;
  std::map<NodeId, ops::Facts> facts_;
  std::set<NodeId> folded_;
};

}  // namespace

Grouping group_graph(const Model& model) { return Grouper(model).run(); }

}  // namespace bevel::plan
