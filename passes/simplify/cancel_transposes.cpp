// cancel-transposes: a transpose and its inverse meet across elementwise operators and vanish together.
//
// Translating an NHWC model to ONNX's NCHW puts a transpose before and its inverse after each convolution or pooling (tf2onnx
// writes them so). Between the inverse of one layer and the transpose of the next stand activations, sums and
// concatenations, which do not care about the layout if all their operands agree. So a region of such nodes is computed in the
// layout of the transposes' operands instead: its incoming transposes go, constants are transposed now, axis attributes are
// renamed, and its outgoing inverse transposes go.
//
//     x --T--> Relu --> Add(., b) --T^-1--> y        becomes        x --> Relu --> Add(., b') --> y
//
// A region is everything axis-agnostic that hangs together around a transpose. Where it touches something else, a transpose must
// be put in; the rewrite is done only if fewer transposes stand afterwards than before, so the pass ends.
//
// Limits: whole regions, not the best part of one; elementwise operators and Concat (ops::as_axis_agnostic).
//
//   t = Transpose <perm = [0, 2, 3, 1]> (x)
//   r = Relu (t)
//   y = Transpose <perm = [0, 3, 1, 2]> (r)
// becomes
//   y = Relu (x)
#include <algorithm>
#include <map>
#include <set>

#include "lib/ops/semantics.h"
#include "passes/simplify/rewrite.h"

namespace bevel::passes {
namespace {

using Order = std::vector<std::int64_t>;

bool is_one_element(const Type& type) {
  const auto dims = type.shape.known_dims();
  return dims && std::all_of(dims->begin(), dims->end(), [](std::int64_t dim) { return dim == 1; });
}

class Region {
 public:
  Region(Model& model, Order order) : model_(model), graph_(model.graph), order_(std::move(order)) {
    inverse_ = inverse_order(order_);
  }

  // Collects the region around the readers of a transpose's result; false when it cannot be rewritten.
  bool grow(ValueId start) {
    std::vector<NodeId> open;
    add_readers(start, open);
    while (!open.empty()) {
      const NodeId id = open.back();
      open.pop_back();
      for (const std::size_t operand : agnostic_.at(id).operands) {
        const ValueId value = graph_.node(id).inputs[operand];
        const NodeId producer = graph_.value(value).producer;
        if (producer.valid() && join(producer)) open.push_back(producer);
      }
      add_readers(graph_.node(id).outputs[0], open);
    }
    return !agnostic_.empty() && classify_operands();
  }

  // Transposes that go minus transposes that come.
  [[nodiscard]] int gain() const {
    int gain = 0;
    for (const ValueId transposed : incoming_) {
      const Value& value = graph_.value(transposed);
      const bool all_inside = std::all_of(value.uses.begin(), value.uses.end(),
                                          [&](const Use& use) { return agnostic_.contains(use.node); });
      gain += all_inside && value.output_slots == 0;
    }
    gain -= static_cast<int>(foreign_.size());
    for (const auto& [id, agnostic] : agnostic_) {
      const Leaving leaving = leaving_of(graph_.node(id).outputs[0]);
      gain += static_cast<int>(leaving.inverses.size());
      gain -= leaving.needs_transpose;
    }
    return gain;
  }

  void rewrite() {
    const std::vector<NodeId> all = graph_.node_order();
    std::vector<NodeId> members;
    for (const NodeId id : all) {
      if (agnostic_.contains(id)) members.push_back(id);
    }
    std::map<ValueId, ValueId> moved;  // what an operand from outside becomes
    for (const NodeId id : members) {
      const std::vector<std::size_t> operands = agnostic_.at(id).operands;
      for (const std::size_t operand : operands) {
        const ValueId value = graph_.node(id).inputs[operand];
        if (!agnostic_.contains(graph_.value(value).producer)) {
          const auto found = moved.find(value);
          const ValueId now = found != moved.end() ? found->second : outside_operand(id, value);
          moved[value] = now;
          graph_.set_operand(id, operand, now);
        }
      }
      ops::permute_axes(graph_, id, order_, order_.size());
    }
    for (const NodeId id : members) leave(id);
  }

 private:
  struct Leaving {
    std::vector<NodeId> inverses;  // transposes outside that undo the region's order
    bool needs_transpose = false;  // other readers, or a graph output
  };

  Leaving leaving_of(ValueId output) const {
    Leaving leaving;
    leaving.needs_transpose = graph_.value(output).output_slots > 0;
    bool took_output_name = false;
    for (const Use& use : graph_.value(output).uses) {
      if (agnostic_.contains(use.node) && !is_fixed_operand(use)) continue;
      const auto transposition = ops::as_transposition(model_, graph_, use.node);
      const bool inverse = transposition && transposition->order == inverse_;
      // A graph output's name can be taken over once; a second inverse with such a result must go on computing it.
      const bool is_output = inverse && graph_.value(graph_.node(use.node).outputs[0]).output_slots > 0;
      if (inverse && !(is_output && took_output_name)) {
        leaving.inverses.push_back(use.node);
        took_output_name = took_output_name || is_output;
      } else {
        leaving.needs_transpose = true;
      }
    }
    return leaving;
  }

  // An operand of a member that is read as it is (a scale, a bound), not in the region's layout.
  bool is_fixed_operand(const Use& use) const {
    const auto& operands = agnostic_.at(use.node).operands;
    return std::find(operands.begin(), operands.end(), use.operand) == operands.end();
  }

  bool join(NodeId id) {
    if (agnostic_.contains(id)) return false;
    auto agnostic = ops::as_axis_agnostic(model_, graph_, id);
    if (!agnostic || agnostic->rank != order_.size() || agnostic->operands.empty()) return false;
    // Every operand from a node has the full rank, or one element: a broadcast of lower rank cannot be transposed.
    const Node& node = graph_.node(id);
    std::vector<std::size_t> operands;
    for (const std::size_t operand : agnostic->operands) {
      const ValueId value = node.inputs[operand];
      const Type& type = graph_.value(value).type;
      if (is_one_element(type)) continue;
      if (graph_.constant(value) == nullptr && type.shape.rank() != order_.size()) return false;
      operands.push_back(operand);
    }
    if (operands.empty()) return false;
    agnostic->operands = std::move(operands);
    agnostic_.emplace(id, std::move(*agnostic));
    return true;
  }

  void add_readers(ValueId value, std::vector<NodeId>& open) {
    for (const Use& use : graph_.value(value).uses) {
      if (use.operand < graph_.node(use.node).inputs.size() && join(use.node)) open.push_back(use.node);
    }
  }

  bool classify_operands() {
    for (const auto& [id, agnostic] : agnostic_) {
      for (const std::size_t operand : agnostic.operands) {
        const ValueId value = graph_.node(id).inputs[operand];
        const NodeId producer = graph_.value(value).producer;
        if (agnostic_.contains(producer) || graph_.constant(value) != nullptr) continue;
        const auto transposition = producer.valid() ? ops::as_transposition(model_, graph_, producer) : std::nullopt;
        if (transposition && transposition->order == order_) {
          incoming_.insert(value);
        } else {
          foreign_.insert(value);
        }
      }
    }
    return !incoming_.empty();
  }

  // Axis order[k] of the new layout is axis k of the old one.
  Type moved_type(const Type& type) const {
    Type result = type;
    if (type.is_tensor() && type.shape.has_rank && type.shape.rank() == order_.size()) {
      for (std::size_t k = 0; k < order_.size(); ++k) {
        result.shape.dims[static_cast<std::size_t>(order_[k])] = type.shape.dims[k];
      }
    }
    return result;
  }

  ValueId outside_operand(NodeId reader, ValueId value) {
    if (const Tensor* constant = graph_.constant(value)) {
      Dims dims(order_.size() - constant->rank(), 1);
      dims.insert(dims.end(), constant->dims().begin(), constant->dims().end());
      Tensor tensor = transposed(constant->reshaped(std::move(dims)), inverse_);
      if (is_private_to(graph_, value, reader)) {
        graph_.set_constant(value, std::move(tensor));
        return value;
      }
      return graph_.add_constant(graph_.value(value).name, std::move(tensor));
    }
    if (incoming_.contains(value)) {
      return ops::as_transposition(model_, graph_, graph_.value(value).producer)->input;
    }
    const std::string name = graph_.value(value).name + "_transposed";
    return graph_
        .build_before(reader, "Transpose", name, {value}, {{"perm", inverse_, {}}}, moved_type(graph_.value(value).type))
        .output;
  }

  // The member's result is in the new layout: inverse transposes go, other readers get the old layout under the old name.
  void leave(NodeId id) {
    const ValueId output = graph_.node(id).outputs[0];
    const Leaving leaving = leaving_of(output);
    const Type old_type = graph_.value(output).type;
    if (!leaving.needs_transpose) {
      graph_.set_type(output, moved_type(old_type));
      for (const NodeId inverse : leaving.inverses) bypass(graph_, inverse, output);
      return;
    }
    const ValueId result = graph_.add_value(graph_.value(output).name + "_transposed", moved_type(old_type));
    graph_.move_output(output, result);
    const std::vector<Use> uses = graph_.value(output).uses;
    for (const Use& use : uses) {
      if (agnostic_.contains(use.node) && !is_fixed_operand(use)) graph_.set_operand(use.node, use.operand, result);
    }
    for (const NodeId inverse : leaving.inverses) {
      graph_.set_operand(inverse, 0, result);
      bypass(graph_, inverse, result);
    }
    Node back;
    back.name = graph_.value(output).name;
    back.op_type = "Transpose";
    back.inputs = {result};
    back.outputs = {output};
    back.attributes = {{"perm", order_, {}}};
    graph_.insert_after(id, std::move(back));
  }

  Model& model_;
  Graph& graph_;
  Order order_, inverse_;
  std::map<NodeId, ops::AxisAgnostic> agnostic_;  // the members
  std::set<ValueId> incoming_;                    // results of transposes of this order
  std::set<ValueId> foreign_;                     // other operands
};

Result<PassStats> run(Model& model, const Options&, PassContext&) {
  PassStats stats;
  Graph& graph = model.graph;
  for (const NodeId id : graph.node_order()) {
    if (!graph.alive(id)) continue;
    const auto transposition = ops::as_transposition(model, graph, id);
    if (!transposition || is_identity_order(transposition->order)) continue;
    Region region(model, transposition->order);
    if (!region.grow(graph.node(id).outputs[0]) || region.gain() <= 0) continue;
    region.rewrite();
    ++stats.changes;
  }
  return stats;
}

}  // namespace

extern const PassRecord cancel_transposes = {
    "cancel-transposes", "remove transposes that meet their inverse across elementwise operators", Accuracy::exact, {}, run};

}  // namespace bevel::passes
