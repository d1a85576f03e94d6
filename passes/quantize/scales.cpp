#include "passes/quantize/scales.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "passes/quantize/automatic_range.h"

namespace bevel::passes {
namespace {

using ops::QuantRole;

// Union-find over value indices; each root holds what its component has to obey.
class Components {
 public:
  explicit Components(std::size_t values) : parent_(values), fixed_(values), member_(values, false) {
    std::iota(parent_.begin(), parent_.end(), std::uint32_t{0});
  }
  std::uint32_t find(ValueId id) {
    std::uint32_t root = id.index;
    while (parent_[root] != root) root = parent_[root];
    for (std::uint32_t at = id.index; at != root;) at = std::exchange(parent_[at], root);
    return root;
  }
  void add(ValueId id) { member_[id.index] = true; }
  [[nodiscard]] bool has(ValueId id) const { return member_[id.index]; }
  void fix(ValueId id, double scale) { fixed_[find(id)] = scale; }
  std::optional<double> fixed(ValueId id) { return fixed_[find(id)]; }
  void join(ValueId a, ValueId b) {
    const std::uint32_t low = std::min(find(a), find(b)), high = std::max(find(a), find(b));
    if (!fixed_[low]) fixed_[low] = fixed_[high];
    parent_[high] = low;
  }

 private:
  std::vector<std::uint32_t> parent_;
  std::vector<std::optional<double>> fixed_;
  std::vector<bool> member_;
};

// Data operands that carry a quantized value: weights of bilinear ops have their own (symmetric) scales.
std::vector<ValueId> quantized_operands(const Graph& graph, const Node& node, const ops::ValueFacts& facts) {
  std::vector<ValueId> values;
  for (const int operand : facts.data_operands) {
    const auto index = static_cast<std::size_t>(operand);
    if (index >= node.inputs.size() || !node.inputs[index].valid()) continue;
    const bool weight = facts.quant == QuantRole::bilinear && graph.constant(node.inputs[index]) != nullptr;
    if (!weight) values.push_back(node.inputs[index]);
  }
  return values;
}

// Two values of one component may not have grids that were fixed apart, nor may a fixed grid take in values it was not made for.
bool can_join(Components& components, const std::vector<ValueId>& values) {
  for (const ValueId value : values) {
    if (components.find(value) == components.find(values[0])) continue;
    if (components.fixed(value) != components.fixed(values[0])) return false;
  }
  return true;
}

void merge_constant(data::ValueStatistics& into, const Tensor& tensor) {
  data::ValueStatistics other;
  bool first = true;
  for (const float value : tensor.as_floats()) {
    if (!std::isfinite(value)) continue;  // a mask's -inf saturates
    other.histogram.add(value);
    other.minimum = first ? value : std::min(other.minimum, value);
    other.maximum = first ? value : std::max(other.maximum, value);
    first = false;
  }
  data::merge(into, other);
}

}  // namespace

namespace {

ScaleZeroPoint grid_of(Range range, const Component& component, const ActivationFormat& format) {
  for (const double fill : component.fills) {
    if (!std::isfinite(fill)) continue;
    range.low = std::min(range.low, static_cast<float>(fill));
    range.high = std::max(range.high, static_cast<float>(fill));
  }
  return format.symmetric() ? symmetric_grid(range, format.qmax) : affine_grid(range, format.qmin, format.qmax);
}

// What "auto" chooses from.
std::vector<ScaleZeroPoint> candidate_grids(const data::ValueStatistics& statistics, const Component& component,
                                            const ActivationFormat& format) {
  using Kind = RangeMethod::Kind;
  std::vector<ScaleZeroPoint> grids;
  for (const RangeMethod& method : {RangeMethod{Kind::minmax}, RangeMethod{Kind::mse}, RangeMethod{Kind::percentile, 99.999},
                                    RangeMethod{Kind::percentile, 99.99}, RangeMethod{Kind::percentile, 99.9}, RangeMethod{Kind::entropy}}) {
    const ScaleZeroPoint grid = grid_of(choose_range(statistics, method, 8, false), component, format);
    if (std::find(grids.begin(), grids.end(), grid) == grids.end()) grids.push_back(grid);
  }
  return grids;
}

}  // namespace

namespace {

// Whatever makes a component in integers makes it in one format. Where only floats enter it, it is as wide as its widest reader.
void agree_on_width(const Graph& graph, const std::vector<ops::Facts>& facts, Selection& selection, Grids& grids) {
  const auto order = graph.node_order();
  std::vector<bool> made(grids.components.size(), false);
  const auto each_result = [&](NodeId id, const auto& act) {
    for (const ValueId output : graph.node(id).outputs) {
      const ValueId result = output.valid() ? final_value(graph, selection, id, output) : ValueId();
      const int index = result.valid() ? grids.component_of[result.index] : -1;
      if (index >= 0) act(static_cast<std::size_t>(index));
    }
  };
  const auto computes = [&](NodeId id) { return selection.is_integer(id) && facts[id.index].value.quant != QuantRole::same_scale; };
  for (bool changed = true; changed;) {
    changed = false;
    for (const NodeId id : order) {
      if (!computes(id)) continue;
      each_result(id, [&](std::size_t index) {
        made[index] = true;
        if (selection.is_wide(id)) grids.components[index].wide = true;
        else if (grids.components[index].wide) changed = selection.wide[id.index] = true;
      });
    }
  }
  for (const NodeId id : order) {
    if (!selection.is_wide(id)) continue;
    for (const ValueId value : quantized_operands(graph, graph.node(id), facts[id.index].value)) {
      const auto index = static_cast<std::size_t>(grids.component_of[value.index]);
      if (!made[index]) grids.components[index].wide = true;
    }
  }
}

}  // namespace

Grids find_components(const Model& model, const std::vector<ops::Facts>& facts, Selection& selection, const Recipe& recipe) {
  const Graph& graph = model.graph;
  Components components(graph.value_capacity());
  const auto order = graph.node_order();
  for (const NodeId id : order) {
    if (!selection.is_integer(id)) continue;
    const Node& node = graph.node(id);
    const ops::ValueFacts& value = facts[id.index].value;
    std::vector<ValueId> touched = quantized_operands(graph, node, value);
    for (const ValueId output : node.outputs) {
      if (output.valid()) touched.push_back(final_value(graph, selection, id, output));
    }
    const bool shares = value.quant == QuantRole::same_scale;
    // Fresh outputs take any grid; what matters is whether the inputs agree.
    if (shares && !can_join(components, quantized_operands(graph, node, value))) {
      selection.integer[id.index] = false;
      selection.reason[id.index] = "its inputs have 8-bit scales that cannot be made one";
      continue;
    }
    for (const ValueId member : touched) components.add(member);
    if (shares) {
      for (const ValueId member : touched) components.join(touched[0], member);
    }
    if (value.quant == QuantRole::fixed_output) components.fix(touched.back(), value.fixed_scale);
  }
  Grids grids;
  grids.component_of.assign(graph.value_capacity(), -1);
  std::vector<int> component_at(graph.value_capacity(), -1);
  for (const ValueId id : graph.value_ids()) {
    if (!components.has(id)) continue;
    int& index = component_at[components.find(id)];
    if (index < 0) {
      index = static_cast<int>(grids.components.size());
      grids.components.emplace_back();
      grids.components.back().fixed_scale = components.fixed(id);
    }
    grids.component_of[id.index] = index;
    Component& component = grids.components[static_cast<std::size_t>(index)];
    component.values.push_back(id);
    const NodeId producer = graph.value(id).producer;
    const bool moved = selection.is_integer(producer) && facts[producer.index].value.quant == QuantRole::same_scale;
    if (!moved) component.sources.push_back(id);
    if (moved && facts[producer.index].value.fill) component.fills.push_back(*facts[producer.index].value.fill);
    if (!producer.valid() || component.method) continue;
    const auto choice = recipe.nodes.find(graph.node(producer).name);
    if (choice != recipe.nodes.end()) component.method = choice->second.range;
  }
  agree_on_width(graph, facts, selection, grids);
  return grids;
}

std::vector<std::string> values_to_measure(const Graph& graph, const Grids& grids, bool fixed_too) {
  std::vector<std::string> names;
  for (const Component& component : grids.components) {
    if (component.fixed_scale && !fixed_too) continue;
    for (const ValueId source : component.sources) {
      if (graph.constant(source) == nullptr) names.push_back(graph.value(source).name);
    }
  }
  return names;
}

bool wants_rows(const Grids& grids, const Recipe& recipe, const ActivationFormat& format) {
  return !format.symmetric() && std::any_of(grids.components.begin(), grids.components.end(), [&](const Component& component) {
    return component.method.value_or(recipe.range).kind == RangeMethod::Kind::automatic;
  });
}

namespace {

// Stated for 8 bits from the minimum up; 16 symmetric bits divide it by 128.
ScaleZeroPoint stated_grid(double scale, const ActivationFormat& format) {
  return format.symmetric() ? ScaleZeroPoint{static_cast<float>(scale / 128), 0} : ScaleZeroPoint{static_cast<float>(scale), format.qmin};
}

// 16 bits resolve any range: what is clipped would be the whole error.
ScaleZeroPoint int16_grid(const data::ValueStatistics& statistics, const Component& component) {
  return grid_of(choose_range(statistics, {}, 16, true), component, ActivationFormat::int16());
}

}  // namespace

Status choose_grids(const Graph& graph, const data::Statistics& statistics, const Recipe& recipe,
                    const ActivationFormat& format, const ConsumerErrors& errors, Grids& grids) {
  for (Component& component : grids.components) {
    if (component.fixed_scale) {
      component.grid = stated_grid(*component.fixed_scale, format);
      component.wide_grid = stated_grid(*component.fixed_scale, ActivationFormat::int16());
      continue;
    }
    data::ValueStatistics merged;
    for (const ValueId source : component.sources) {
      const std::string& name = graph.value(source).name;
      if (const Tensor* constant = graph.constant(source)) {
        merge_constant(merged, *constant);
        continue;
      }
      const auto found = statistics.values.find(name);
      if (found == statistics.values.end()) {
        return fail_input("quantize: no statistics of the value \"{}\": the calibration did not reach it", printable(name));
      }
      data::merge(merged, found->second);
    }
    const RangeMethod method = component.method.value_or(recipe.range);
    component.wide_grid = int16_grid(merged, component);
    if (format.symmetric()) {
      component.grid = component.wide_grid;
    } else if (method.kind == RangeMethod::Kind::automatic) {
      const auto candidates = candidate_grids(merged, component, format);
      component.grid = candidates[errors.best(component, merged, candidates, format)];
    } else {
      component.grid = grid_of(choose_range(merged, method, 8, false), component, format);
    }
  }
  return {};
}

}  // namespace bevel::passes
