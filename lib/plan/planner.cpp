// plan_model: the top graph to a Program. The road: bind and infer shapes, group, walk the groups in order and emit their
// steps (Builder), then lifetimes, in-place, arena and constants (builder.cpp).
#include <algorithm>
#include <map>
#include <set>

#include "lib/ops/evaluate.h"
#include "lib/plan/builder.h"
#include "lib/plan/grouping.h"

namespace bevel::plan {
namespace {

using ops::MemoryOrder;
using ops::QuantNode;

// A result of folding constants at plan time (DequantizeLinear of a weight in front of a float op, a Constant node).
constexpr std::uint64_t kMaxFoldedBytes = std::uint64_t{1} << 27;

std::string place_of(const Node& node) {
  return fmt::format("node '{}' ({})", printable(node.name), printable(node.op_type));
}

// A symbol in the first dimension of an input that needs data is the batch: 1. An unnamed unknown first dimension too.
Status bind_batch(Model& model) {
  std::vector<ops::ShapeBinding> bindings;
  std::set<std::string> seen;
  for (ValueId id : model.graph.inputs()) {
    const Value& value = model.graph.value(id);
    if (!value.type.is_tensor() || !value.type.shape.has_rank || value.type.shape.dims.empty()) continue;
    const Dim& first = value.type.shape.dims[0];
    if (first.named()) {
      if (seen.insert(first.symbol).second) bindings.push_back({first.symbol, {1}});
    } else if (!first.known()) {
      Dims dims = {1};
      for (std::size_t i = 1; i < value.type.shape.dims.size(); ++i) dims.push_back(value.type.shape.dims[i].value);
      if (std::all_of(dims.begin(), dims.end(), [](std::int64_t dim) { return dim >= 0; })) bindings.push_back({value.name, dims});
    }
  }
  if (bindings.empty()) return {};
  return ops::bind_shapes(model, bindings);
}

class Planner {
 public:
  Planner(const Model& model, const PlanOptions& options) : model_(model), graph_(model.graph), options_(options) {}

  Result<Plan> run(bool pack) {
    grouping_ = group_graph(model_);
    for (std::size_t i = 0; i < grouping_.groups.size(); ++i) {
      by_anchor_[grouping_.groups[i].anchor] = i;
      for (const GroupEdge& edge : grouping_.groups[i].outputs) {
        if (edge.border.valid()) producer_[edge.border] = i;
      }
    }
    BEVEL_TRY_STATUS(add_inputs());
    choose_outputs();
    for (std::size_t i = 0; i < grouping_.groups.size(); ++i) {
      if (!skipped_.contains(i)) BEVEL_TRY_STATUS(emit_group(grouping_.groups[i]));
    }
    BEVEL_TRY_STATUS(add_outputs());
    BEVEL_TRY(plan_.program, builder_.finish(pack));
    return std::move(plan_);
  }

 private:
  // How a value lies in the Program: perhaps in several orders.
  struct Held {
    std::uint32_t tensor = 0;
    MemoryOrder order;
  };

  struct Output {
    ValueId id, source;  // the graph's output, and the (quantized) value that the Program gives for it
    std::optional<ops::Quantization> quantization;
    std::vector<std::size_t> views;  // groups from source to id, when the source is not the output itself
  };

  Result<Dims> dims_of(ValueId id) const {
    if (!id.valid()) return Dims{};
    if (const auto folded = folded_.find(id); folded != folded_.end()) return folded->second.dims();
    if (const Tensor* constant = graph_.constant(id)) return constant->dims();
    const Value& value = graph_.value(id);
    if (value.type.is_tensor() && value.type.shape.has_rank) {
      if (auto dims = value.type.shape.known_dims()) return *dims;
    }
    return fail_input("the shape of '{}' is {}: a Program needs every dimension (state free symbols with --shape)",
                      printable(value.name), to_string(value.type));
  }

  DType dtype_of(ValueId id) const {
    const Type& type = graph_.value(id).type;
    return type.is_tensor() ? type.dtype : DType::undefined;
  }

  // A float group of one data movement that takes no step in some memory order (a Transpose behind an NHWC input).
  bool may_be_view(const Group& group) const {
    return !group.integer && group.members.size() == 1 && group.facts.space.kind == ops::OpKind::move &&
           ops::quant_node(graph_.node(group.anchor)) == QuantNode::none && group.outputs.size() == 1 &&
           group.outputs[0].border.valid();
  }
  bool only_one_reader(ValueId id) const { return graph_.value(id).output_slots == 0 && graph_.value(id).uses.size() == 1; }

  // The groups from a float input to its QuantizeLinear (the last one), views between them; empty when it is not quantized at once.
  std::vector<std::size_t> way_to_quantize(ValueId id) const {
    std::vector<std::size_t> way;
    while (only_one_reader(id) && graph_.value(id).uses[0].operand == 0) {
      const auto found = by_anchor_.find(graph_.value(id).uses[0].node);
      if (found == by_anchor_.end()) break;
      const Group& group = grouping_.groups[found->second];
      way.push_back(found->second);
      if (!group.integer && ops::quant_node(graph_.node(group.anchor)) == QuantNode::quantize) {
        return group.outputs[0].quantization && group.outputs[0].quantization->per_tensor() ? way : std::vector<std::size_t>{};
      }
      if (!may_be_view(group)) break;
      id = group.outputs[0].border;
    }
    return {};
  }

  // Where the graph begins with QuantizeLinear and float I/O was not asked for, the quantized value itself is the input.
  Status add_inputs() {
    for (ValueId id : graph_.inputs()) {
      const Value& value = graph_.value(id);
      BEVEL_TRY(const Dims dims, dims_of(id));
      std::vector<std::size_t> way = options_.float_io ? std::vector<std::size_t>{} : way_to_quantize(id);
      MemoryOrder order = ops::logical_order(dims.size());
      Dims current = dims;
      for (std::size_t i = 0; i + 1 < way.size(); ++i) {
        const Group& group = grouping_.groups[way[i]];
        BEVEL_TRY(const Dims next, dims_of(group.outputs[0].border));
        auto view = ops::view_order(graph_.node(group.anchor), current, order, next);
        if (!view) {
          way.clear();
          break;
        }
        order = std::move(*view);
        current = next;
      }
      const Group* quantize = way.empty() ? nullptr : &grouping_.groups[way.back()];
      const ValueId held = quantize ? quantize->outputs[0].border : id;
      BEVEL_TRY(const std::uint32_t tensor,
                builder_.add_tensor(value.name, dtype_of(held), dims, ops::logical_order(dims.size()), BVL_STORAGE_INPUT));
      builder_.describe(tensor, dtype_of(id), quantize ? quantize->outputs[0].quantization : quantization_at(held));
      builder_.add_input(tensor);
      if (way.size() < 2) {
        held_[held].push_back({tensor, ops::logical_order(dims.size())});
      } else {
        BEVEL_TRY(const std::uint32_t view, builder_.add_view(tensor, graph_.value(held).name, current, order));
        held_[held].push_back({view, order});
      }
      skipped_.insert(way.begin(), way.end());
    }
    return {};
  }

  // The quantization of an 8-bit value, from the groups that read or write it.
  std::optional<ops::Quantization> quantization_at(ValueId id) const {
    for (const Group& group : grouping_.groups) {
      for (const auto* edges : {&group.inputs, &group.outputs}) {
        for (const GroupEdge& edge : *edges) {
          if (edge.border == id && edge.quantization && edge.quantization->per_tensor()) return edge.quantization;
        }
      }
    }
    return std::nullopt;
  }

  // Likewise a DequantizeLinear at the end (and views behind it) is left out, unless a float op reads it too.
  void choose_outputs() {
    std::set<ValueId> read;  // by groups, as it is: integer groups read the other side of a DequantizeLinear
    for (const Group& group : grouping_.groups) {
      for (const GroupEdge& edge : group.inputs) read.insert(edge.border);
    }
    for (ValueId id : graph_.outputs()) {
      Output output{id, id, std::nullopt, {}};
      std::vector<std::size_t> way;
      ValueId at = id;
      while (!options_.float_io) {
        const auto producer = producer_.find(at);
        const Value& value = graph_.value(at);
        if (producer == producer_.end() || (at != id && !only_one_reader(at))) break;
        const Group& group = grouping_.groups[producer->second];
        way.push_back(producer->second);
        if (ops::quant_node(graph_.node(group.anchor)) == QuantNode::dequantize) {
          const auto& quantization = group.inputs[0].quantization;
          if (!quantization || !quantization->per_tensor() || quantization->dtype == DType::int32 ||
              graph_.constant(group.inputs[0].border) != nullptr) {
            break;
          }
          output.source = group.inputs[0].border;
          output.quantization = quantization;
          for (std::size_t i = way.size() - 1; i-- > 0;) output.views.push_back(way[i]);
          // A float reader of the output itself keeps these groups; the Program's output is the quantized value all the same.
          if (!read.contains(id)) skipped_.insert(way.begin(), way.end());
          break;
        }
        if (!may_be_view(group) || !value.type.is_tensor()) break;
        at = group.inputs[0].border;
      }
      outputs_.push_back(std::move(output));
    }
  }

  Status add_outputs() {
    for (const Output& output : outputs_) {
      const Value& value = graph_.value(output.id);
      BEVEL_TRY(const Dims dims, dims_of(output.id));
      BEVEL_TRY(std::uint32_t tensor, output_source(output, dims));
      BEVEL_TRY(tensor, builder_.add_output(tensor, value.name, dims));
      builder_.describe(tensor, dtype_of(output.id), output.quantization ? output.quantization : quantization_at(output.source));
    }
    return {};
  }

  // The output's value in row-major order: through its views from the held order, else from a row-major copy.
  Result<std::uint32_t> output_source(const Output& output, const Dims& dims) {
    const std::string& name = graph_.value(output.id).name;
    BEVEL_TRY(Dims current, dims_of(output.source));
    const MemoryOrder logical = ops::logical_order(current.size());
    if (output.views.empty()) return in_order(output.source, logical, current, name);
    const auto held = held_.find(output.source);
    std::vector<MemoryOrder> starts;
    if (held != held_.end() && !held->second.empty()) starts.push_back(held->second[0].order);
    starts.push_back(logical);
    for (const MemoryOrder& start : starts) {
      std::optional<MemoryOrder> order = start;
      Dims from = current;
      for (std::size_t i = 0; i < output.views.size() && order; ++i) {
        const Group& group = grouping_.groups[output.views[i]];
        BEVEL_TRY(const Dims next, dims_of(group.outputs[0].border));
        order = ops::view_order(graph_.node(group.anchor), from, *order, next);
        from = next;
      }
      if (!order) continue;
      BEVEL_TRY(const std::uint32_t source, in_order(output.source, start, current, name));
      BEVEL_TRY(const std::uint32_t view, builder_.add_view(source, name, dims, *order));
      if (ops::same_memory(dims, *order, ops::logical_order(dims.size()))) return view;
      return builder_.add_transposed(view, name, name, dims, *order, ops::logical_order(dims.size()));
    }
    return fail_input("output '{}' cannot be brought to row-major order", printable(name));
  }

  const Tensor* constant_of(ValueId id) const {
    const auto folded = folded_.find(id);
    return folded != folded_.end() ? &folded->second : graph_.constant(id);
  }

  // The tensor that holds a value in the wanted order; a transposing copy where no held one does.
  Result<std::uint32_t> in_order(ValueId id, const MemoryOrder& order, const Dims& dims, const std::string& step_name) {
    auto& held = held_[id];
    for (const Held& one : held) {
      if (ops::same_memory(dims, one.order, order)) return one.tensor;
    }
    if (held.empty()) {
      const Tensor* constant = constant_of(id);
      if (constant == nullptr) {
        return fail_input("'{}' is not computed before it is read", printable(graph_.value(id).name));
      }
      BEVEL_TRY(const std::uint32_t tensor, builder_.add_constant_value(graph_.value(id).name, *constant));
      held.push_back({tensor, ops::logical_order(dims.size())});
      if (ops::same_memory(dims, held[0].order, order)) return tensor;
    }
    BEVEL_TRY(const std::uint32_t tensor,
              builder_.add_transposed(held[0].tensor, graph_.value(id).name, step_name, dims, held[0].order, order));
    held_[id].push_back({tensor, order});
    return tensor;
  }

  // All operands constant: evaluated here, by the members' reference evaluation.
  Result<bool> fold(const Group& group) {
    for (const GroupEdge& edge : group.inputs) {
      if (edge.border.valid() && constant_of(edge.border) == nullptr) return false;
    }
    if (group.facts.value.pure == false) return false;
    for (NodeId id : group.members) {
      const Node& node = graph_.node(id);
      const ops::OpRecord* record = ops::find_op(node);
      if (record == nullptr || record->evaluate == nullptr) return false;
      std::vector<Datum> inputs;
      for (ValueId value : node.inputs) {
        const Tensor* constant = value.valid() ? constant_of(value) : nullptr;
        inputs.push_back(constant != nullptr ? Datum(*constant) : Datum());
      }
      auto outputs = ops::evaluate_node(node, model_.opset(node.domain), inputs, kMaxFoldedBytes);
      if (!outputs) return located(place_of(node), std::move(outputs).error());
      for (std::size_t i = 0; i < node.outputs.size() && i < outputs->size(); ++i) {
        const Tensor* tensor = (*outputs)[i].tensor();
        if (node.outputs[i].valid() && tensor != nullptr) folded_[node.outputs[i]] = *tensor;
      }
    }
    return true;
  }

  Status emit_group(const Group& group) {
    const Node& anchor = graph_.node(group.anchor);
    BEVEL_TRY(const bool is_constant, fold(group));
    if (is_constant) return {};
    if (ops::find_op(anchor) == nullptr) {
      return fail_input("{}: it cannot be in a Program: the operator is not known", place_of(anchor));
    }
    std::vector<Dims> input_dims, output_dims;
    std::vector<MemoryOrder> present;
    for (const GroupEdge& edge : group.inputs) {
      auto dims = dims_of(edge.border);
      if (!dims) return located(place_of(anchor), std::move(dims).error());
      const auto held = held_.find(edge.border);
      present.push_back(held != held_.end() && !held->second.empty() ? held->second[0].order : ops::logical_order(dims->size()));
      input_dims.push_back(std::move(*dims));
    }
    for (const GroupEdge& edge : group.outputs) {
      auto dims = dims_of(edge.border);
      if (!dims) return located(place_of(anchor), std::move(dims).error());
      output_dims.push_back(std::move(*dims));
    }
    PlacedResult placed = place_group(model_, group, present, input_dims, output_dims,
                                      [this](ValueId id) { return id.valid() ? constant_of(id) : nullptr; });
    if (!placed) return fail_input("{}: it cannot be in a Program: {}", place_of(anchor), placed.error());
    if (!group.integer && !group.reason.empty()) plan_.stays_float.push_back({anchor.name, anchor.op_type, group.reason});

    std::vector<std::uint32_t> inputs(group.inputs.size(), UINT32_MAX), outputs(group.outputs.size(), UINT32_MAX);
    const auto input = [&](std::size_t i) -> Status {
      if (inputs[i] != UINT32_MAX) return {};
      auto tensor = in_order(group.inputs[i].border, placed->orders.inputs[i], input_dims[i], anchor.name);
      if (!tensor) return located(place_of(anchor), std::move(tensor).error());
      inputs[i] = *tensor;
      return {};
    };
    const auto output = [&](std::size_t i, std::optional<std::uint32_t> view_of) -> Status {
      const ValueId id = group.outputs[i].border;
      auto tensor = view_of ? builder_.add_view(*view_of, graph_.value(id).name, output_dims[i], placed->orders.outputs[i])
                            : builder_.add_tensor(graph_.value(id).name, dtype_of(id), output_dims[i],
                                                  placed->orders.outputs[i], BVL_STORAGE_ARENA);
      if (!tensor) return located(place_of(anchor), std::move(tensor).error());
      if (group.outputs[i].quantization) builder_.describe(*tensor, DType::undefined, group.outputs[i].quantization);
      outputs[i] = *tensor;
      held_[id].push_back({*tensor, placed->orders.outputs[i]});
      return {};
    };
    if (placed->lowered.steps.empty()) {
      std::size_t data = 0;
      if (!group.facts.value.data_operands.empty()) data = static_cast<std::size_t>(group.facts.value.data_operands[0]);
      BEVEL_TRY_STATUS(input(data));
      return output(0, inputs[data]);
    }
    for (const ops::LoweredStep& step : placed->lowered.steps) {
      for (const ops::StepOperand& read : step.reads) {
        if (read.kind == ops::StepOperand::Kind::input) BEVEL_TRY_STATUS(input(static_cast<std::size_t>(read.index)));
      }
    }
    for (std::size_t i = 0; i < group.outputs.size(); ++i) {
      if (group.outputs[i].border.valid()) BEVEL_TRY_STATUS(output(i, std::nullopt));
    }
    return builder_.add_steps(anchor.name, place_of(anchor), std::move(placed->lowered), inputs, outputs);
  }

 private:
  const Model& model_;
  const Graph& graph_;
  PlanOptions options_;
  Grouping grouping_;
  ProgramBuilder builder_;
  Plan plan_;
  std::map<ValueId, std::size_t> producer_;  // group
  std::map<NodeId, std::size_t> by_anchor_;
  std::set<std::size_t> skipped_;  // groups at the border that the Program leaves to its caller
  std::vector<Output> outputs_;
  std::map<ValueId, std::vector<Held>> held_;
  std::map<ValueId, Tensor> folded_;
};

Result<Plan> plan(const Model& model, const PlanOptions& options, bool pack) {
  Model bound = model;
  BEVEL_TRY(const bool known_opset, ops::upgrade_to_base(bound));
  if (!known_opset) return fail_input("the model uses opset {}; Bevel plans opsets {} to {}", bound.opset(), ops::kOldestOpset, ops::kNewestOpset);
  // Initializers that are listed as inputs too (opset 7 and 8): a Program has their stated values.
  const std::vector<ValueId> formal = bound.graph.inputs();
  for (ValueId id : formal) {
    if (bound.graph.value(id).constant) bound.graph.remove_input(id);
  }
  BEVEL_TRY_STATUS(bind_batch(bound));
  BEVEL_TRY_STATUS(ops::infer_types(bound));
  return Planner(bound, options).run(pack);
}

}  // namespace

Result<Plan> plan_model(const Model& model, const PlanOptions& options) { return plan(model, options, /*pack=*/true); }
Result<Plan> plan_shapes(const Model& model, const PlanOptions& options) { return plan(model, options, /*pack=*/false); }

}  // namespace bevel::plan
