#include "lib/eval/schedule.h"

#include <cstddef>

namespace bevel::eval {
namespace {

void add_constants_and_inputs(const Graph& graph, Schedule& schedule) {
  schedule.constants.resize(graph.value_capacity());
  for (ValueId id : graph.value_ids()) {
    const Value& value = graph.value(id);
    if (value.constant) schedule.constants[id.index] = Datum(*value.constant);
  }
  for (ValueId id : graph.inputs()) {
    if (!graph.value(id).constant) schedule.fed_inputs.push_back(id);
  }
}

// Gives every value to the last step that reads or makes it. Graph outputs and constants stay.
void add_last_reads(const Graph& graph, Schedule& schedule) {
  constexpr std::size_t kNever = static_cast<std::size_t>(-1);
  std::vector<std::size_t> last(graph.value_capacity(), kNever);
  for (std::size_t s = 0; s < schedule.steps.size(); ++s) {
    for (NodeId id : schedule.steps[s].nodes) {
      const Node& node = graph.node(id);
      for (std::size_t i = 0; i < node.operand_count(); ++i) {
        if (node.operand(i).valid()) last[node.operand(i).index] = s;
      }
      for (ValueId output : node.outputs) {
        if (output.valid() && (last[output.index] == kNever || last[output.index] < s)) last[output.index] = s;
      }
    }
  }
  for (std::size_t v = 0; v < last.size(); ++v) {
    if (last[v] == kNever) continue;
    const Value& value = graph.value(ValueId(v));
    if (value.output_slots == 0 && !value.constant) schedule.steps[last[v]].last_reads.push_back(ValueId(v));
  }
}

// The node that alone reads the node's only result, as its data.
NodeId only_reader(const Graph& graph, const Node& node) {
  if (node.outputs.empty() || !node.outputs[0].valid()) return {};
  for (std::size_t i = 1; i < node.outputs.size(); ++i)
    if (node.outputs[i].valid()) return {};
  const Value& value = graph.value(node.outputs[0]);
  if (value.output_slots > 0 || value.uses.size() != 1 || value.uses[0].operand != 0) return {};
  return value.uses[0].node;
}

// Chains of maps, each given to the node before it; of nodes that are steps of their own.
void add_maps(const Model& model, const Graph& graph, Schedule& schedule) {
  constexpr std::size_t kNoStep = static_cast<std::size_t>(-1);
  std::vector<std::size_t> step_of(graph.node_capacity(), kNoStep);
  for (std::size_t s = 0; s < schedule.steps.size(); ++s)
    if (schedule.steps[s].group < 0) step_of[schedule.steps[s].nodes[0].index] = s;
  for (Step& step : schedule.steps) {
    if (step.mapped_ahead.valid() || step.group >= 0) continue;
    NodeId last = step.nodes[0];
    while (true) {
      const NodeId next = only_reader(graph, graph.node(last));
      if (!next.valid() || step_of[next.index] == kNoStep) break;
      auto map = ops::as_element_map(model, graph, next);
      if (!map) break;
      if (!step.map) {
        step.map = Step::Map{std::move(*map), {}};
      } else if (!step.map->does.append(*map)) {
        break;
      }
      step.map->nodes.push_back(next);
      last = next;
    }
    if (!step.map) continue;
    for (const NodeId id : step.map->nodes) schedule.steps[step_of[id.index]].mapped_ahead = graph.node(last).outputs[0];
  }
}

}  // namespace

Schedule schedule_nodes(const Model& model, const Graph& graph) {
  Schedule schedule;
  add_constants_and_inputs(graph, schedule);
  for (NodeId id : graph.node_order()) schedule.steps.emplace_back().nodes = {id};
  add_last_reads(graph, schedule);
  add_maps(model, graph, schedule);
  return schedule;
}

Schedule schedule_groups(const Model& model, const plan::Grouping& grouping, bool integer_alone) {
  const Graph& graph = model.graph;
  Schedule schedule;
  add_constants_and_inputs(graph, schedule);
  std::vector<bool> scheduled(graph.node_capacity(), false);
  for (std::size_t g = 0; g < grouping.groups.size(); ++g) {
    const plan::Group& group = grouping.groups[g];
    if (group.integer || !integer_alone) {
      Step& step = schedule.steps.emplace_back();
      step.nodes = group.members;
      step.group = static_cast<int>(g);
      continue;
    }
    for (const NodeId id : group.members) {
      if (scheduled[id.index]) continue;
      scheduled[id.index] = true;
      schedule.steps.emplace_back().nodes = {id};
    }
  }
  add_last_reads(graph, schedule);
  if (integer_alone) add_maps(model, graph, schedule);
  return schedule;
}

}  // namespace bevel::eval
