#include "passes/quantize/delicate.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include "passes/ranges.h"

namespace bevel::passes {
namespace {

using ops::QuantRole;

constexpr double kTooMuch = 10;       // times the error of rounding the results alone
constexpr double kGoodEnough = 1e-3;  // relative error (30 dB) that no region needs to go below
constexpr double kFewBitsLost = 16;   // times the error of a scale of its own (12 dB: two bits)

const data::ValueStatistics* statistics_of(const Graph& graph, const data::Statistics& statistics, ValueId value) {
  const auto found = statistics.values.find(graph.value(value).name);
  return found == statistics.values.end() ? nullptr : &found->second;
}

// Integer nodes between products, joined where one reads another.
class Regions {
 public:
  Regions(const Graph& graph, const std::vector<ops::Facts>& facts, const Selection& selection)
      : graph_(graph), facts_(facts), selection_(selection), parent_(graph.node_capacity()) {
    std::iota(parent_.begin(), parent_.end(), std::uint32_t{0});
    std::map<ValueId, NodeId> owner;
    for (const NodeId id : graph.node_order()) {
      if (!inside(id)) continue;
      for (const ValueId input : graph.node(id).inputs) {
        if (const auto found = owner.find(input); input.valid() && found != owner.end()) join(found->second, id);
      }
      for (const ValueId output : graph.node(id).outputs)
        if (output.valid()) owner[final_value(graph, selection, id, output)] = id;
    }
    for (const NodeId id : graph.node_order())
      if (inside(id)) members_[find(id.index)].push_back(id);
  }

  // In execution order; of those that compute more than one thing, or read values that would be rounded for them alone.
  [[nodiscard]] std::vector<std::vector<NodeId>> worth_a_trial() const {
    std::vector<std::vector<NodeId>> regions;
    for (const auto& [root, members] : members_) {
      const auto computing = std::count_if(members.begin(), members.end(), [&](NodeId id) {
        return facts_[id.index].value.quant != QuantRole::same_scale;
      });
      if (computing > 1 || (computing == 1 && std::any_of(members.begin(), members.end(), [&](NodeId id) { return reads_floats(id); })))
        regions.push_back(members);
    }
    return regions;
  }

 private:
  [[nodiscard]] bool inside(NodeId id) const {
    return selection_.is_integer(id) && !selection_.is_wide(id) && facts_[id.index].value.quant != QuantRole::bilinear;
  }
  // All that it computes with comes from nodes that stay in float.
  [[nodiscard]] bool reads_floats(NodeId id) const {
    if (facts_[id.index].value.quant == QuantRole::same_scale) return false;
    bool any = false;
    for (const int operand : facts_[id.index].value.data_operands) {
      const auto index = static_cast<std::size_t>(operand);
      if (index >= graph_.node(id).inputs.size() || !graph_.node(id).inputs[index].valid()) continue;
      const Value& value = graph_.value(graph_.node(id).inputs[index]);
      if (value.is_constant()) continue;
      if (!value.producer.valid() || selection_.is_integer(value.producer) || selection_.reason[value.producer.index].empty()) return false;
      any = true;
    }
    return any;
  }
  std::uint32_t find(std::uint32_t at) {
    while (parent_[at] != at) at = parent_[at] = parent_[parent_[at]];
    return at;
  }
  void join(NodeId a, NodeId b) {
    const std::uint32_t low = std::min(find(a.index), find(b.index)), high = std::max(find(a.index), find(b.index));
    parent_[high] = low;
  }

  const Graph& graph_;
  const std::vector<ops::Facts>& facts_;
  const Selection& selection_;
  std::vector<std::uint32_t> parent_;
  std::map<std::uint32_t, std::vector<NodeId>> members_;
};

// Puts a rounded copy of a region into the graph.
class Copier {
 public:
  Copier(Graph& graph, const std::vector<ops::Facts>& facts, const Selection& selection, const Grids& grids,
         const ActivationFormat& format)
      : graph_(graph), facts_(facts), selection_(selection), grids_(grids), format_(format) {}

  // By value of the region that is a node's quantized result, its copy.
  std::map<ValueId, ValueId> copy(const std::vector<NodeId>& region) {
    std::map<ValueId, ValueId> copies;
    for (const NodeId id : region) {
      std::vector<NodeId> chain{id};
      chain.insert(chain.end(), selection_.clamps[id.index].begin(), selection_.clamps[id.index].end());
      std::map<ValueId, ValueId> inner;  // within the chain: not rounded in between
      for (const NodeId link : chain) {
        Node node = graph_.node(link);
        node.name += "_rounded";
        for (std::size_t i = 0; i < node.inputs.size(); ++i) {
          const ValueId input = node.inputs[i];
          if (!input.valid()) continue;
          if (const auto found = inner.find(input); found != inner.end()) node.inputs[i] = found->second;
          else if (const auto made = copies.find(input); made != copies.end()) node.inputs[i] = made->second;
          else if (link == id && is_data(link, i) && graph_.constant(input) == nullptr) node.inputs[i] = rounded(input);
        }
        for (ValueId& output : node.outputs) {
          if (!output.valid()) continue;
          const ValueId copied = graph_.add_value(graph_.value(output).name + "_rounded", graph_.value(output).type);
          inner[output] = copied;
          output = copied;
        }
        graph_.add_node(std::move(node));
      }
      for (const ValueId output : graph_.node(id).outputs) {
        if (!output.valid()) continue;
        const ValueId result = final_value(graph_, selection_, id, output);
        const Component* component = grids_.of(result);
        if (component == nullptr || !inner.contains(result)) continue;
        copies[result] = rounded_as(inner.at(result), *component);
      }
    }
    return copies;
  }

 private:
  [[nodiscard]] bool is_data(NodeId id, std::size_t operand) const {
    const auto& data = facts_[id.index].value.data_operands;
    return std::find(data.begin(), data.end(), static_cast<int>(operand)) != data.end();
  }

  ValueId rounded(ValueId value) {
    const Component* component = grids_.of(value);
    if (component == nullptr) return value;
    auto& made = rounded_[value];
    if (!made.valid()) made = rounded_as(value, *component);
    return made;
  }

  ValueId rounded_as(ValueId value, const Component& component) {
    Tensor zero = Tensor::zeros(format_.dtype, {});
    zero.set_from_int64(0, component.grid.zero_point);
    const std::string name = graph_.value(value).name;
    const ValueId scale = graph_.add_constant(name + "_scale", Tensor::scalar<float>(component.grid.scale));
    const ValueId zero_point = graph_.add_constant(name + "_zero_point", std::move(zero));
    Type quantized_type = graph_.value(value).type;
    quantized_type.dtype = format_.dtype;
    const ValueId quantized = one(name + "_q", "QuantizeLinear", {value, scale, zero_point}, quantized_type);
    return one(name + "_dq", "DequantizeLinear", {quantized, scale, zero_point}, graph_.value(value).type);
  }

  ValueId one(const std::string& name, const char* op_type, std::vector<ValueId> inputs, const Type& type) {
    Node node;
    node.name = name;
    node.op_type = op_type;
    node.inputs = std::move(inputs);
    node.outputs = {graph_.add_value(name, type)};
    const ValueId output = node.outputs[0];
    graph_.add_node(std::move(node));
    return output;
  }

  Graph& graph_;
  const std::vector<ops::Facts>& facts_;
  const Selection& selection_;
  const Grids& grids_;
  ActivationFormat format_;
  std::map<ValueId, ValueId> rounded_;
};

// What the rest of the model reads of a region, and whether it reads it rounded whatever becomes of the region.
enum class Reading { none, as_it_is, rounded };
Reading read_outside(const Graph& graph, const Selection& selection, ValueId value, const std::set<NodeId>& region) {
  const Value& info = graph.value(value);
  Reading reading = info.output_slots > 0 ? Reading::rounded : Reading::none;
  for (const Use& use : info.uses) {
    if (region.contains(use.node)) continue;
    if (selection.is_integer(use.node)) reading = Reading::rounded;
    else if (reading == Reading::none) reading = Reading::as_it_is;
  }
  return reading;
}

}  // namespace

Result<KeptFloat> delicate_regions(const Model& model, const std::vector<ops::Facts>& facts, const Selection& selection, const Grids& grids,
                                   const data::Statistics& statistics, const ActivationFormat& format, data::Measure& measure) {
  const auto regions = Regions(model.graph, facts, selection).worth_a_trial();
  KeptFloat kept;
  if (regions.empty()) return kept;
  Model trial = model;
  std::vector<data::ValuePair> pairs;
  struct Result {
    std::size_t region, pair;
    double rounding;  // relative error of rounding alone
  };
  std::vector<Result> results;
  for (std::size_t i = 0; i < regions.size(); ++i) {
    const auto copies = Copier(trial.graph, facts, selection, grids, format).copy(regions[i]);
    const std::set<NodeId> members(regions[i].begin(), regions[i].end());
    for (const auto& [value, copy] : copies) {
      const data::ValueStatistics* seen = statistics_of(model.graph, statistics, value);
      const double energy = seen != nullptr ? mean_square(seen->histogram) : 0;
      const Reading reading = read_outside(model.graph, selection, value, members);
      if (reading == Reading::none || !(energy > 0)) continue;
      const double error = mean_square_error(seen->histogram, grids.of(value)->grid, format.qmin, format.qmax) / energy;
      results.push_back({i, pairs.size(), reading == Reading::rounded ? error : 0});
      pairs.push_back({model.graph.value(value).name, trial.graph.value(copy).name});
    }
  }
  if (pairs.empty()) return kept;
  constexpr std::size_t kSamples = 64;  // enough to tell a factor of ten
  BEVEL_TRY(const auto differences, measure.compare(model, trial, pairs, kSamples));
  for (std::size_t i = 0; i < regions.size(); ++i) {
    double worst = 0, alone = 0;
    for (const Result& result : results) {
      if (result.region != i) continue;
      double signal = 0, noise = 0;
      for (const data::Difference& difference : differences[result.pair]) {
        signal += difference.signal;
        noise += difference.noise;
      }
      const double error = signal > 0 ? noise / signal : 0;
      if (error > kGoodEnough && error > kTooMuch * result.rounding && error > worst) {
        worst = error;
        alone = result.rounding;
      }
    }
    if (worst == 0) continue;
    const std::string reason =
        alone > 0 ? fmt::format("measured: in 8 bits the arithmetic around it reaches {:.1f} dB, and {:.1f} dB when only its result is rounded",
                                -10 * std::log10(worst), -10 * std::log10(alone))
                  : fmt::format("measured: in 8 bits the arithmetic around it reaches {:.1f} dB, and what reads its result is in float",
                                -10 * std::log10(worst));
    for (const NodeId id : regions[i])
      if (facts[id.index].value.quant != QuantRole::same_scale) kept.emplace(id, reason);
  }
  return kept;
}

KeptFloat uneven_moves(const Model& model, const std::vector<ops::Facts>& facts, const Selection& selection, const Grids& grids,
                       const data::Statistics& statistics, const ActivationFormat& format) {
  const Graph& graph = model.graph;
  KeptFloat kept;
  // Whether something quantized reads the value, through movements.
  std::vector<bool> read(graph.value_capacity(), false);
  const auto order = graph.node_order();
  for (auto id = order.rbegin(); id != order.rend(); ++id) {
    if (!selection.is_integer(*id)) continue;
    const ops::ValueFacts& value = facts[id->index].value;
    bool computes = value.quant != QuantRole::same_scale;
    for (const ValueId output : graph.node(*id).outputs) computes = computes || (output.valid() && read[output.index]);
    for (const int operand : value.data_operands) {
      const auto index = static_cast<std::size_t>(operand);
      if (computes && index < graph.node(*id).inputs.size() && graph.node(*id).inputs[index].valid())
        read[graph.node(*id).inputs[index].index] = true;
    }
  }
  for (const NodeId id : order) {
    const Node& node = graph.node(id);
    if (!selection.is_integer(id) || facts[id.index].value.quant != QuantRole::same_scale || node.outputs.empty()) continue;
    if (facts[id.index].value.data_operands.size() < 2 || !node.outputs[0].valid() || read[node.outputs[0].index]) continue;
    const Component* component = grids.of(node.outputs[0]);
    if (component == nullptr || component->wide || component->sources.size() < 2) continue;
    for (const ValueId source : component->sources) {
      const data::ValueStatistics* seen = statistics_of(graph, statistics, source);
      if (seen == nullptr) continue;
      const ScaleZeroPoint own = affine_grid(choose_range(*seen, {}, 8, false), format.qmin, format.qmax);
      const double least = mean_square_error(seen->histogram, own, format.qmin, format.qmax);
      const double error = mean_square_error(seen->histogram, component->grid, format.qmin, format.qmax);
      if (error <= kFewBitsLost * least || error <= kGoodEnough * mean_square(seen->histogram)) continue;
      kept.emplace(id, fmt::format("one 8-bit scale for all that it joins would leave \"{}\" {:.1f} of 8 bits, and its result is not computed with",
                                   printable(graph.value(source).name), std::max(0.0, 8 - std::log2(error / std::max(least, 1e-300)) / 2)));
      break;
    }
  }
  return kept;
}

}  // namespace bevel::passes
