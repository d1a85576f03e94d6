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

}  // namespace

Schedule schedule_nodes(const Graph& graph) {
  Schedule schedule;
  add_constants_and_inputs(graph, schedule);
  for (NodeId id : graph.node_order()) schedule.steps.push_back({{id}, -1, {}});
  add_last_reads(graph, schedule);
  return schedule;
}

Schedule schedule_groups(const Graph& graph, const plan::Grouping& grouping) {
  Schedule schedule;
  add_constants_and_inputs(graph, schedule);
  for (std::size_t g = 0; g < grouping.groups.size(); ++g) {
    schedule.steps.push_back({grouping.groups[g].members, static_cast<int>(g), {}});
  }
  add_last_reads(graph, schedule);
  return schedule;
}

}  // namespace bevel::eval
