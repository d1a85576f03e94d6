#include "calibration/steps.h"

#include <algorithm>
#include <map>
#include <set>

#include "lib/data/dataset.h"
#include "lib/ops/op.h"
#include "lib/plan/grouping.h"
#include "lib/support/check.h"

namespace bevel::calibration {
namespace {

RunStep described(const Graph& graph, std::vector<NodeId> nodes) {
  RunStep step;
  std::set<ValueId> inside, read;
  for (const NodeId id : nodes)
    for (const ValueId output : graph.node(id).outputs)
      if (output.valid()) inside.insert(output);
  for (const NodeId id : nodes) {
    const Node& node = graph.node(id);
    for (std::size_t i = 0; i < node.operand_count(); ++i) {
      const ValueId operand = node.operand(i);
      if (!operand.valid() || graph.value(operand).constant || inside.contains(operand)) continue;
      if (read.insert(operand).second) step.reads.push_back(operand);
    }
  }
  step.nodes = std::move(nodes);
  return step;
}

Part part_of_nodes(const SteppedModel& stepped, const std::set<NodeId>& nodes, const std::set<ValueId>& inputs) {
  Part part;
  for (const NodeId id : stepped.model.graph.node_order())
    if (nodes.contains(id)) part.nodes.push_back(id);
  part.inputs.assign(inputs.begin(), inputs.end());
  return part;
}

}  // namespace

Result<SteppedModel> stepped_model(const Model& model, const eval::EvalOptions& options) {
  if (const auto obstacle = eval::cannot_evaluate(model)) return fail_input("{}", *obstacle);
  SteppedModel stepped;
  stepped.model = model;
  BEVEL_TRY(const bool known_opset, ops::upgrade_to_base(stepped.model));
  BEVEL_CHECK(known_opset);
  BEVEL_TRY_STATUS(ops::infer_types(stepped.model));
  const Graph& graph = stepped.model.graph;
  // As the evaluator decides (lib/eval/evaluator.cpp).
  plan::Grouping grouping;
  if (options.kernels != eval::Kernels::none) {
    grouping = plan::group_graph(stepped.model);
    const bool integer = std::any_of(grouping.groups.begin(), grouping.groups.end(), [](const plan::Group& group) { return group.integer; });
    if (options.kernels == eval::Kernels::all || integer)
      stepped.kernels = options.kernels == eval::Kernels::integer ? eval::Kernels::integer : eval::Kernels::all;
  }
  std::vector<bool> alone(graph.node_capacity(), false);
  const auto add_alone = [&](NodeId id) {
    if (alone[id.index]) return;
    alone[id.index] = true;
    RunStep step = described(graph, {id});
    for (const ValueId output : graph.node(id).outputs)
      if (output.valid()) step.makes.push_back(output);
    stepped.steps.push_back(std::move(step));
  };
  if (stepped.kernels == eval::Kernels::none) {
    for (const NodeId id : graph.node_order()) add_alone(id);
  } else {
    for (const plan::Group& group : grouping.groups) {
      if (!group.integer && stepped.kernels == eval::Kernels::integer) {
        for (const NodeId id : group.members) add_alone(id);
        continue;
      }
      RunStep step = described(graph, group.members);
      step.way = group.integer ? RunStep::Way::integer_group : RunStep::Way::group;
      for (const plan::GroupEdge& edge : group.outputs)
        if (edge.border.valid()) step.makes.push_back(edge.border);
      stepped.steps.push_back(std::move(step));
    }
  }
  stepped.maker.assign(graph.value_capacity(), SteppedModel::kNoStep);
  stepped.home.assign(graph.node_capacity(), SteppedModel::kNoStep);
  for (std::size_t s = stepped.steps.size(); s-- > 0;) {
    for (const ValueId id : stepped.steps[s].makes) stepped.maker[id.index] = s;
    for (const NodeId id : stepped.steps[s].nodes) stepped.home[id.index] = s;
  }
  for (const data::ModelInput& input : data::inputs_needing_data(graph)) stepped.inputs.push_back(graph.find_value(input.name));
  return stepped;
}

Part part_between(const SteppedModel& stepped, const std::vector<bool>& known, std::span<const ValueId> wanted) {
  const Graph& graph = stepped.model.graph;
  std::set<NodeId> nodes;
  std::set<ValueId> inputs, seen;
  std::vector<ValueId> open(wanted.begin(), wanted.end());
  while (!open.empty()) {
    const ValueId id = open.back();
    open.pop_back();
    if (graph.value(id).constant || !seen.insert(id).second) continue;
    const std::size_t maker = stepped.maker[id.index];
    if (known[id.index] || maker == SteppedModel::kNoStep) {
      inputs.insert(id);
      continue;
    }
    const RunStep& step = stepped.steps[maker];
    nodes.insert(step.nodes.begin(), step.nodes.end());
    open.insert(open.end(), step.reads.begin(), step.reads.end());
  }
  return part_of_nodes(stepped, nodes, inputs);
}

Part part_within(const SteppedModel& stepped, std::span<const ValueId> wanted) {
  const Graph& graph = stepped.model.graph;
  std::set<NodeId> nodes;
  std::set<ValueId> inputs, seen;
  std::vector<ValueId> open(wanted.begin(), wanted.end());
  while (!open.empty()) {
    const ValueId id = open.back();
    open.pop_back();
    if (!id.valid() || graph.value(id).constant || !seen.insert(id).second) continue;
    const NodeId producer = graph.value(id).producer;
    if (stepped.maker[id.index] != SteppedModel::kNoStep || !producer.valid()) {
      inputs.insert(id);
      continue;
    }
    nodes.insert(producer);
    const Node& node = graph.node(producer);
    for (std::size_t i = 0; i < node.operand_count(); ++i) open.push_back(node.operand(i));
  }
  return part_of_nodes(stepped, nodes, inputs);
}

Model cut_model(const SteppedModel& stepped, const Part& part, std::span<const ValueId> wanted) {
  const Graph& whole = stepped.model.graph;
  Model cut;
  cut.ir_version = stepped.model.ir_version;
  cut.opsets = stepped.model.opsets;
  cut.source = stepped.model.source;
  cut.graph.name = whole.name;
  std::map<ValueId, ValueId> own;
  for (const ValueId id : part.inputs) own[id] = cut.graph.add_input(whole.value(id).name, whole.value(id).type);
  const auto operand = [&](ValueId id) {
    if (!id.valid()) return id;
    const auto [place, added] = own.try_emplace(id);
    if (added) {
      BEVEL_CHECK(whole.value(id).constant);
      place->second = cut.graph.add_constant(whole.value(id).name, *whole.value(id).constant);
    }
    return place->second;
  };
  const std::set<NodeId> inside(part.nodes.begin(), part.nodes.end());
  const std::set<ValueId> asked(wanted.begin(), wanted.end());
  std::vector<ValueId> outputs;
  for (const NodeId id : part.nodes) {
    Node node = whole.node(id);
    for (ValueId& input : node.inputs) input = operand(input);
    for (ValueId& capture : node.captures) capture = operand(capture);
    for (ValueId& output : node.outputs) {
      if (!output.valid()) continue;
      const Value& value = whole.value(output);
      const bool read_outside = value.output_slots > 0 || std::any_of(value.uses.begin(), value.uses.end(), [&](const Use& use) {
        return !inside.contains(use.node);
      });
      const ValueId fresh = own[output] = cut.graph.add_value(value.name, value.type);
      if (read_outside || (asked.contains(output) && value.uses.empty())) outputs.push_back(fresh);
      output = fresh;
    }
    node.previous = node.next = NodeId();
    cut.graph.add_node(std::move(node));
  }
  for (const ValueId id : outputs) cut.graph.add_output(id);
  return cut;
}

}  // namespace bevel::calibration
