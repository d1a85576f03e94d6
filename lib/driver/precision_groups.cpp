#include "lib/driver/precision_groups.h"

#include <algorithm>
#include <limits>
#include <map>
#include <numeric>
#include <set>

#include "lib/ops/facts.h"
#include "lib/ops/lowering.h"
#include "lib/ops/op.h"
#include "lib/plan/grouping.h"

namespace bevel::driver {
namespace {

using ops::QuantRole;

constexpr std::string_view kFlash = "flash", kCycles = "latency";

// Constants that a node reads through DequantizeLinear: the initializers of its weights and bias.
std::vector<ValueId> stored_operands(const Graph& graph, NodeId id) {
  std::vector<ValueId> constants;
  for (const ValueId input : graph.node(id).inputs) {
    const NodeId producer = input.valid() ? graph.value(input).producer : NodeId();
    if (!producer.valid() || ops::quant_node(graph.node(producer)) != ops::QuantNode::dequantize) continue;
    if (graph.constant(graph.node(producer).inputs[0]) == nullptr) continue;
    for (const ValueId stored : graph.node(producer).inputs)
      if (stored.valid()) constants.push_back(stored);
  }
  return constants;
}

// Weights and bias as the file holds them.
std::int64_t stored_bytes(const Graph& graph, NodeId id) {
  std::int64_t bytes = 0;
  for (const ValueId constant : stored_operands(graph, id)) bytes += static_cast<std::int64_t>(graph.constant(constant)->bytes().size());
  for (const ValueId input : graph.node(id).inputs)
    if (input.valid() && graph.constant(input) != nullptr) bytes += static_cast<std::int64_t>(graph.constant(input)->bytes().size());
  return bytes;
}

// The same constants, int8 in one and int4 in the other, that no other layer reads.
bool has_narrow_twin(const Model& wide, const Model& narrow, const std::string& name) {
  const NodeId id = wide.graph.find_node(name), other = narrow.graph.find_node(name);
  if (!id.valid() || !other.valid()) return false;
  const auto stored = stored_operands(wide.graph, id), twin = stored_operands(narrow.graph, other);
  bool narrows = false;
  if (stored.empty() || stored.size() != twin.size()) return false;
  for (std::size_t i = 0; i < stored.size(); ++i) {
    const Tensor *from = wide.graph.constant(stored[i]), *to = narrow.graph.constant(twin[i]);
    if (from == nullptr || to == nullptr || wide.graph.value(stored[i]).uses.size() != 1) return false;
    narrows = narrows || (from->dtype() == DType::int8 && to->dtype() == DType::int4);
  }
  return narrows;
}

std::set<std::string> integer_anchors(const Model& model) {
  std::set<std::string> names;
  for (const plan::Group& group : plan::group_graph(model).groups)
    if (group.integer) names.insert(model.graph.node(group.anchor).name);
  return names;
}

// Unknown extents count as one, as the batch does.
std::int64_t elements_of(const Graph& graph, ValueId id) {
  const Type& type = graph.value(id).type;
  if (!type.is_tensor() || !type.shape.has_rank) return 0;
  std::int64_t count = 1;
  for (const Dim& dim : type.shape.dims) {
    const std::int64_t extent = dim.known() ? dim.value : 1;
    if (extent > 0 && count > std::numeric_limits<std::int64_t>::max() / 64 / extent) return 0;
    count *= extent;
  }
  return count;
}

// Which layer each node belongs to: a product to itself, other arithmetic to the last product before it, products whose results a movement
// joins, or that share a constant, to each other. Index of node, by node index; -1: before any product.
class Membership {
 public:
  Membership(const Model& model, const std::vector<ops::Facts>& facts) : model_(model), facts_(facts), root_(model.graph.node_capacity(), -1) {
    const Graph& graph = model.graph;
    std::vector<std::int64_t> maker(graph.value_capacity(), -1);
    std::map<ValueId, std::int64_t> reader;
    for (const NodeId id : graph.node_order()) {
      std::int64_t own = -1;
      const bool joins = facts[id.index].value.quant == QuantRole::same_scale;
      if (facts[id.index].value.quant == QuantRole::bilinear) {
        own = static_cast<std::int64_t>(id.index);
        parent_[own] = own;
        for (const ValueId input : graph.node(id).inputs) {
          if (!input.valid() || graph.constant(input) == nullptr || graph.constant(input)->size() < 2) continue;
          const auto [found, fresh] = reader.emplace(input, own);
          if (!fresh) join(found->second, own);
        }
      } else {
        for (const ValueId input : graph.node(id).inputs) {
          const std::int64_t from = input.valid() ? maker[input.index] : -1;
          if (joins && own >= 0 && from >= 0) join(own, from);
          own = std::max(own, from);
        }
      }
      root_[id.index] = own;
      for (const ValueId output : graph.node(id).outputs)
        if (output.valid()) maker[output.index] = own;
    }
  }
  std::int64_t of(NodeId id) { return root_[id.index] < 0 ? -1 : find(root_[id.index]); }

 private:
  std::int64_t find(std::int64_t at) {
    while (parent_[at] != at) at = parent_[at] = parent_[parent_[at]];
    return at;
  }
  void join(std::int64_t a, std::int64_t b) {
    a = find(a);
    b = find(b);
    parent_[std::max(a, b)] = std::min(a, b);
  }
  const Model& model_;
  const std::vector<ops::Facts>& facts_;
  std::vector<std::int64_t> root_;
  std::map<std::int64_t, std::int64_t> parent_;
};

}  // namespace

std::vector<PrecisionGroup> precision_groups(const Model& source, const UniformModels& models, const passes::Recipe& recipe) {
  const Graph& graph = source.graph;
  const auto order = graph.node_order();
  std::vector<ops::Facts> facts(graph.node_capacity());
  for (const NodeId id : order) facts[id.index] = ops::facts_of(source, graph, id);
  Membership membership(source, facts);
  const auto* narrow = models.of[index_of(Format::int4)];
  const auto& wide = *models.of[index_of(Format::int8)];
  const std::set<std::string> integers = integer_anchors(wide);
  std::set<std::string> in_int16;
  if (models.of[index_of(Format::int16)] != nullptr) in_int16 = integer_anchors(*models.of[index_of(Format::int16)]);

  std::map<std::int64_t, std::vector<NodeId>> members;
  for (const NodeId id : order)
    if (const std::int64_t root = membership.of(id); root >= 0) members[root].push_back(id);
  std::vector<PrecisionGroup> groups;
  for (const auto& [root, ids] : members) {
    PrecisionGroup group;
    bool stated = false, narrows = narrow != nullptr, sixteen = true;
    for (const NodeId id : ids) {
      const Node& node = graph.node(id);
      const ops::ValueFacts& value = facts[id.index].value;
      const auto choice = recipe.nodes.find(node.name);
      stated = stated || (choice != recipe.nodes.end() && (choice->second.precision || choice->second.activations));
      std::int64_t results = 0;
      for (const ValueId output : node.outputs)
        if (output.valid()) results += elements_of(graph, output);
      constexpr std::array<std::int64_t, kFormats> kWidth{1, 1, 2, 4};
      const bool computes = integers.contains(node.name) && value.quant != QuantRole::same_scale && value.quant != QuantRole::none;
      if (!computes) continue;
      group.nodes.push_back(node.name);
      sixteen = sixteen && in_int16.contains(node.name);
      for (std::size_t i = 0; i < kFormats; ++i) group.activation_bytes[i] += kWidth[i] * results;
      const NodeId stored = wide.graph.find_node(node.name);
      if (value.quant != QuantRole::bilinear || stored_operands(wide.graph, stored).empty()) continue;
      group.layers.push_back(node.name);
      narrows = narrows && has_narrow_twin(wide, *narrow, node.name);
      for (std::size_t i = 0; i < kFormats; ++i) {
        const Model& one = models.of[i] != nullptr ? *models.of[i] : wide;
        if (const NodeId there = one.graph.find_node(node.name); there.valid()) group.weight_bytes[i] += stored_bytes(one.graph, there);
      }
    }
    if (stated || group.nodes.empty()) continue;
    group.offered = {narrows && !group.layers.empty(), true, sixteen && models.of[index_of(Format::int16)] != nullptr,
                     models.of[index_of(Format::float32)] != nullptr};
    groups.push_back(std::move(group));
  }
  return groups;
}

passes::Recipe recipe_of(const passes::Recipe& base, const std::vector<PrecisionGroup>& groups, const std::vector<Format>& formats) {
  passes::Recipe recipe = base;
  for (std::size_t i = 0; i < groups.size(); ++i) {
    const PrecisionGroup& group = groups[i];
    if (formats[i] == Format::float32) {
      for (const std::string& node : group.nodes) recipe.nodes[node].precision = "float32";
      continue;
    }
    const std::string weights = formats[i] == Format::int4 ? "int4" : "int8";
    for (const std::string& node : group.layers)
      if (weights != base.precision) recipe.nodes[node].precision = weights;
    if (formats[i] != Format::int16) continue;
    for (const std::string& node : group.nodes) recipe.nodes[node].activations = "int16";
  }
  return recipe;
}

Model with_narrow_layers(const Model& wide, const Model& narrow, const std::vector<std::string>& layers) {
  Model trial = wide;
  for (const std::string& name : layers) {
    const auto stored = stored_operands(trial.graph, trial.graph.find_node(name));
    const auto twin = stored_operands(narrow.graph, narrow.graph.find_node(name));
    for (std::size_t i = 0; i < stored.size(); ++i) {
      const Tensor& tensor = *narrow.graph.constant(twin[i]);
      trial.graph.set_constant(stored[i], tensor);
      trial.graph.set_type(stored[i], Type::tensor(tensor.dtype(), tensor.dims()));
    }
  }
  return trial;
}

namespace {

// Of one uniform model's plan, by group: what its steps take.
struct Attributed {
  std::vector<std::int64_t> flash, cycles;
};
Attributed attribute(const plan::Cost& cost, const std::map<std::string, std::size_t>& group_of, std::size_t groups) {
  Attributed found{std::vector<std::int64_t>(groups, 0), std::vector<std::int64_t>(groups, 0)};
  for (const plan::LayerCost& layer : cost.layers) {
    const auto group = group_of.find(layer.name);
    if (group == group_of.end()) continue;
    found.flash[group->second] += static_cast<std::int64_t>(layer.weight_bytes);
    found.cycles[group->second] += static_cast<std::int64_t>(layer.cycles);
  }
  return found;
}

// The group that makes a tensor: of the node behind its quantization and movements.
std::optional<std::size_t> maker_of(const Graph& graph, const std::string& tensor, const std::map<std::string, std::size_t>& group_of) {
  ValueId value = graph.find_value(tensor);
  for (std::size_t steps = graph.node_capacity(); value.valid() && steps > 0; --steps) {
    const NodeId producer = graph.value(value).producer;
    if (!producer.valid()) return std::nullopt;
    if (const auto group = group_of.find(graph.node(producer).name); group != group_of.end()) return group->second;
    value = graph.node(producer).inputs.empty() ? ValueId() : graph.node(producer).inputs[0];
  }
  return std::nullopt;
}

std::int64_t limit_of(double value) { return value >= 9e18 ? std::numeric_limits<std::int64_t>::max() / 4 : static_cast<std::int64_t>(value); }

}  // namespace

Result<PrecisionProblem> precision_problem(const Model& source, const std::vector<PrecisionGroup>& groups, const UniformModels& models,
                                           const target::Device* device, const target::Budget& stated) {
  PrecisionProblem result;
  ChoiceProblem& problem = result.problem;
  problem.limits.push_back({"weights and activations", "B", std::numeric_limits<std::int64_t>::max() / 4});
  for (const PrecisionGroup& group : groups) {
    std::vector<ChoiceOption> options;
    std::vector<Format> formats;
    for (std::size_t i = 0; i < kFormats; ++i) {
      if (!group.offered[i]) continue;
      options.push_back({group.loss[i], {group.weight_bytes[i] + group.activation_bytes[i]}, {}});
      formats.push_back(static_cast<Format>(i));
    }
    problem.groups.push_back(std::move(options));
    result.formats.push_back(std::move(formats));
  }
  if (device == nullptr) return result;

  const target::Budget budget = target::device_budget(*device, stated);
  std::map<std::string, std::size_t> group_of;
  for (std::size_t g = 0; g < groups.size(); ++g)
    for (const std::string& node : groups[g].nodes) group_of[node] = g;
  std::array<std::optional<Attributed>, kFormats> by_format;
  const Model& wide = *models.of[index_of(Format::int8)];
  BEVEL_TRY(const plan::Plan base, plan::plan_shapes(wide));
  const plan::Cost base_cost = plan::cost_of(base.program, *device);
  for (std::size_t i = 0; i < kFormats; ++i) {
    const bool used = std::any_of(groups.begin(), groups.end(), [&](const PrecisionGroup& group) { return group.offered[i]; });
    if (!used || models.of[i] == nullptr) continue;
    BEVEL_TRY(const plan::Plan planned, plan::plan_shapes(static_cast<Format>(i) == Format::float32 ? source : *models.of[i]));
    by_format[i] = attribute(plan::cost_of(planned.program, *device), group_of, groups.size());
  }
  const Attributed& eight = *by_format[index_of(Format::int8)];

  // What is there whatever is chosen is a group of its own, with one option.
  ChoiceOption rest;
  rest.uses = {0};
  const auto add = [&](std::string_view name, const char* unit, std::int64_t most, std::int64_t whole, const auto& part) {
    problem.limits.push_back({std::string(name), unit, most});
    const auto& attributed = part(eight);
    rest.uses.push_back(std::max<std::int64_t>(0, whole - std::accumulate(attributed.begin(), attributed.end(), std::int64_t{0})));
    for (std::size_t g = 0; g < groups.size(); ++g)
      for (std::size_t option = 0; option < problem.groups[g].size(); ++option)
        problem.groups[g][option].uses.push_back(part(*by_format[index_of(result.formats[g][option])])[g]);
  };
  if (budget.flash_bytes) {
    add(kFlash, "B", limit_of(static_cast<double>(*budget.flash_bytes)), static_cast<std::int64_t>(base_cost.flash_bytes),
        [](const Attributed& a) -> const auto& { return a.flash; });
  }
  if (budget.latency_seconds || budget.energy_joules) {
    double cycles = budget.latency_seconds ? *budget.latency_seconds * device->clock_hz.value : 9e18;
    if (budget.energy_joules) cycles = std::min(cycles, *budget.energy_joules / device->active_watts.value * device->clock_hz.value);
    add(kCycles, "cycles", limit_of(cycles), static_cast<std::int64_t>(base_cost.cycles), [](const Attributed& a) -> const auto& { return a.cycles; });
  }
  if (budget.ram_bytes) {
    constexpr std::array<std::int64_t, kFormats> kWidth{1, 1, 2, 4};
    const auto steps = static_cast<std::uint32_t>(base.program.steps.size());
    problem.moments.assign(steps, static_cast<std::int64_t>(base.program.state_bytes));
    problem.peak = {"ram", "B", limit_of(static_cast<double>(*budget.ram_bytes))};
    for (std::uint32_t step = 0; step < steps; ++step) {
      std::map<std::size_t, std::int64_t> made;
      for (const plan::AliveTensor& tensor : plan::alive_at(base.program, step)) {
        if (const auto group = maker_of(wide.graph, tensor.name, group_of)) made[*group] += static_cast<std::int64_t>(tensor.bytes);
        else problem.moments[step] += static_cast<std::int64_t>(tensor.bytes);
      }
      for (const auto& [group, bytes] : made)
        for (std::size_t option = 0; option < problem.groups[group].size(); ++option)
          problem.groups[group][option].alive.push_back({step, bytes * kWidth[index_of(result.formats[group][option])]});
    }
  }
  problem.groups.push_back({std::move(rest)});
  result.formats.push_back({Format::int8});
  return result;
}

std::vector<std::int64_t> excess_of(const PrecisionProblem& problem, const plan::Program& program, const target::Device& device) {
  const plan::Cost cost = plan::cost_of(program, device);
  std::vector<std::int64_t> excess;
  for (const ChoiceLimit& limit : problem.problem.limits) {
    const auto value = limit.name == kFlash ? cost.flash_bytes : limit.name == kCycles ? cost.cycles : 0;
    excess.push_back(std::max<std::int64_t>(0, static_cast<std::int64_t>(value) - limit.most));
  }
  if (!problem.problem.moments.empty())
    excess.push_back(std::max<std::int64_t>(0, static_cast<std::int64_t>(cost.ram_bytes) - problem.problem.peak.most));
  return excess;
}

}  // namespace bevel::driver
