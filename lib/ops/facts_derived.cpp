#include "lib/ops/facts_derived.h"

#include <algorithm>
#include <numeric>
#include <set>

namespace bevel::ops {
namespace {

bool indexes_directly(const AxisMap& map) {
  return map.kind == AxisMap::Kind::follow || map.kind == AxisMap::Kind::factors || map.kind == AxisMap::Kind::segment;
}

// Loops that index the output without a window: one loop index, one output element along that axis.
std::set<int> output_loops(const IterationSpace& space) {
  std::set<int> loops;
  if (space.outputs.empty()) return loops;
  for (const AxisMap& map : space.outputs[0].axes) {
    if (indexes_directly(map)) loops.insert(map.loops.begin(), map.loops.end());
  }
  return loops;
}

std::set<int> operand_loops(const IterationSpace& space, std::size_t operand) {
  std::set<int> loops;
  if (operand >= space.inputs.size()) return loops;
  for (const AxisMap& map : space.inputs[operand].axes) loops.insert(map.loops.begin(), map.loops.end());
  return loops;
}

std::optional<std::int64_t> times(std::optional<std::int64_t> a, std::int64_t b) {
  std::int64_t result = 0;
  if (!a || b < 0 || __builtin_mul_overflow(*a, b, &result)) return std::nullopt;
  return result;
}

}  // namespace

std::optional<std::int64_t> macs(const IterationSpace& space) {
  if (space.kind != OpKind::bilinear) return 0;
  std::optional<std::int64_t> result = 1;
  if (std::any_of(space.loops.begin(), space.loops.end(), [](const Loop& loop) { return loop.extent == 0; })) return 0;
  for (const Loop& loop : space.loops) result = times(result, loop.extent);
  return result;
}

std::optional<int> channel_axis(const IterationSpace& space, int operand) {
  if (space.kind != OpKind::bilinear || operand < 1 || operand >= static_cast<int>(space.inputs.size())) {
    return std::nullopt;
  }
  const std::set<int> outputs = output_loops(space);
  const std::set<int> shared = operand_loops(space, 0);
  std::optional<int> found;
  const auto& axes = space.inputs[static_cast<std::size_t>(operand)].axes;
  for (std::size_t axis = 0; axis < axes.size(); ++axis) {
    const AxisMap& map = axes[axis];
    if (!indexes_directly(map) || map.loops.empty()) continue;
    bool parallel = true;
    bool own = false;
    for (const int loop : map.loops) {
      parallel = parallel && outputs.count(loop) != 0 && !space.loops[static_cast<std::size_t>(loop)].reduced;
      own = own || shared.count(loop) == 0;  // a group's loop is shared, the channels inside the group are not
    }
    if (!parallel || !own) continue;
    if (found) return std::nullopt;  // a batch of weights: no single axis of channels
    found = static_cast<int>(axis);
  }
  return found;
}

std::optional<std::int64_t> reduction_size(const IterationSpace& space) {
  std::optional<std::int64_t> result = 1;
  for (const Loop& loop : space.loops) {
    if (loop.reduced) result = times(result, loop.extent);
  }
  if (space.outputs.empty()) return std::nullopt;
  // A windowed output (ConvTranspose): i * stride + k * dilation = o has at most this many solutions for a given o.
  for (const AxisMap& map : space.outputs[0].axes) {
    if (map.kind != AxisMap::Kind::window || map.loops.size() != 2) continue;
    const std::int64_t kernel = space.loops[static_cast<std::size_t>(map.loops[1])].extent;
    if (kernel < 0) return std::nullopt;
    const std::int64_t step = map.stride / std::gcd(map.stride, map.dilation);
    result = times(result, step > 0 ? (kernel + step - 1) / step : kernel);
  }
  return result;
}

bool is_depthwise(const IterationSpace& space) {
  if (space.kind != OpKind::bilinear || space.inputs.empty()) return false;
  const std::set<int> outputs = output_loops(space);
  for (const AxisMap& map : space.inputs[0].axes) {
    if (map.kind != AxisMap::Kind::factors || map.loops.size() != 2) continue;
    const Loop& group = space.loops[static_cast<std::size_t>(map.loops[0])];
    const Loop& inner = space.loops[static_cast<std::size_t>(map.loops[1])];
    if (outputs.count(map.loops[0]) != 0 && group.extent > 1 && inner.reduced && inner.extent == 1) return true;
  }
  return false;
}

bool may_fold_clamp(const Graph& graph, ValueId value, const ValueFacts& producer, std::size_t producer_outputs,
                    const ValueFacts& reader) {
  const Value& held = graph.value(value);
  if (producer.quant == QuantRole::fixed_output || producer_outputs != 1) return false;
  if (held.output_slots > 0 || held.uses.size() != 1) return false;
  if (!held.type.is_tensor() || held.type.dtype != DType::float32) return false;
  const Node& clamp = graph.node(held.uses[0].node);
  return reader.clamp && reader.data_operands == std::vector<int>{static_cast<int>(held.uses[0].operand)} &&
         clamp.outputs.size() == 1 && clamp.outputs[0].valid();
}

}  // namespace bevel::ops
