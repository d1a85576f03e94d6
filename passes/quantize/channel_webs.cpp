#include "passes/quantize/channel_webs.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <optional>
#include <set>
#include <tuple>

#include "lib/ops/facts_derived.h"
#include "lib/ops/semantics.h"

namespace bevel::passes {
namespace {

using ops::AxisMap;
using ops::IterationSpace;
using ops::QuantRole;

constexpr std::int64_t kMostChannels = std::int64_t{1} << 20;

class DisjointSets {
 public:
  std::size_t add(std::size_t count) {
    const std::size_t first = parent_.size();
    parent_.resize(first + count);
    std::iota(parent_.begin() + static_cast<std::ptrdiff_t>(first), parent_.end(), first);
    return first;
  }
  std::size_t find(std::size_t at) {
    while (parent_[at] != at) at = parent_[at] = parent_[parent_[at]];
    return at;
  }
  void join(std::size_t a, std::size_t b) {
    const std::size_t low = std::min(find(a), find(b)), high = std::max(find(a), find(b));
    parent_[high] = low;
  }

 private:
  std::vector<std::size_t> parent_;
};

std::optional<std::vector<std::int64_t>> loop_strides(const IterationSpace& space, const AxisMap& axis) {
  if (axis.kind != AxisMap::Kind::follow && axis.kind != AxisMap::Kind::factors) return std::nullopt;
  std::vector<std::int64_t> strides(axis.loops.size(), 1);
  for (std::size_t i = axis.loops.size(); i-- > 1;) {
    const std::int64_t extent = space.loops[static_cast<std::size_t>(axis.loops[i])].extent;
    if (extent < 1) return std::nullopt;
    strides[i - 1] = strides[i] * extent;
  }
  return strides;
}

// For each element of operand 1, the index along `axis` of operand 0 that it is multiplied with; nullopt when it is not one.
std::optional<std::vector<std::int32_t>> input_channels(const IterationSpace& space, std::size_t axis, const Dims& weight_dims) {
  if (space.inputs.size() < 2 || axis >= space.inputs[0].axes.size() || space.inputs[1].axes.size() != weight_dims.size()) return std::nullopt;
  const AxisMap& channel = space.inputs[0].axes[axis];
  const auto strides = loop_strides(space, channel);
  if (!strides) return std::nullopt;
  std::int64_t size = 1;
  for (const std::int64_t dim : weight_dims) size *= dim;
  std::vector<std::int32_t> result(static_cast<std::size_t>(size), 0);
  for (std::size_t i = 0; i < channel.loops.size(); ++i) {
    bool found = false;
    std::int64_t below = 1;  // elements of the weights per step along axis `at`
    for (std::size_t at = weight_dims.size(); at-- > 0; below *= weight_dims[at]) {
      const AxisMap& map = space.inputs[1].axes[at];
      const auto place = std::find(map.loops.begin(), map.loops.end(), channel.loops[i]);
      if (place == map.loops.end()) continue;
      const auto steps = loop_strides(space, map);
      if (!steps || found) return std::nullopt;
      found = true;
      const std::int64_t step = (*steps)[static_cast<std::size_t>(place - map.loops.begin())];
      // The outermost of an axis's loops runs to its end, whatever the extent says.
      const std::int64_t extent = place == map.loops.begin() ? weight_dims[at] : space.loops[static_cast<std::size_t>(*place)].extent;
      for (std::int64_t e = 0; e < size; ++e)
        result[static_cast<std::size_t>(e)] += static_cast<std::int32_t>((e / below % weight_dims[at] / step % extent) * (*strides)[i]);
    }
    if (!found) return std::nullopt;
  }
  return result;
}

class Finder {
 public:
  Finder(const Model& model, const std::vector<ops::Facts>& facts, const Selection& selection)
      : model_(model), graph_(model.graph), facts_(facts), selection_(selection) {}

  std::vector<ChannelWeb> webs() {
    for (const NodeId id : graph_.node_order()) {
      if (const auto layer = maker(id)) place(graph_.node(id).outputs[0], layer->axis);
      while (!todo_.empty()) {
        const ValueId next = todo_.back();
        todo_.pop_back();
        spread(next);
      }
    }
    return collect();
  }

 private:
  // A value's axis, whose channels are elements of the disjoint sets.
  struct Place {
    int axis = 0;
    std::int64_t extent = 0;
    std::size_t first = 0;      // element
    std::size_t number = 0;     // of the value, among those placed
  };
  // What a node's result follows: constants, with the channel of each element.
  struct Maker {
    int axis = 0;
    std::vector<std::pair<ValueId, std::vector<std::int32_t>>> constants;
  };
  struct ReaderAt {
    NodeId node;
    ValueId value;
    std::vector<std::int32_t> channels;
    bool spreads_freely;
  };

  // No other node reads the constant, so that it may be changed for this one.
  [[nodiscard]] bool owned(ValueId constant) const {
    const Value& value = graph_.value(constant);
    return value.is_constant() && value.uses.size() == 1 && value.output_slots == 0 && value.constant->dtype() == DType::float32;
  }

  [[nodiscard]] std::optional<Maker> maker(NodeId id) const {
    Maker result;
    if (const auto layer = ops::as_linear_layer(model_, graph_, id)) {
      if (!owned(layer->weight) || (layer->bias.valid() && !owned(layer->bias)) || layer->channels < 2) return std::nullopt;
      const Dims& dims = graph_.constant(layer->weight)->dims();
      std::vector<std::int32_t> channels(static_cast<std::size_t>(graph_.constant(layer->weight)->size()));
      const auto along = [&](int axis, std::int64_t element) {
        std::int64_t below = 1;
        for (std::size_t i = static_cast<std::size_t>(axis) + 1; i < dims.size(); ++i) below *= dims[i];
        return element / below % dims[static_cast<std::size_t>(axis)];
      };
      for (std::size_t e = 0; e < channels.size(); ++e) {
        const auto element = static_cast<std::int64_t>(e);
        channels[e] = static_cast<std::int32_t>(
            layer->channel_of(dims, layer->group_axis >= 0 ? along(layer->group_axis, element) : 0, along(layer->channel_axis, element)));
      }
      result.axis = layer->output_axis;
      result.constants.emplace_back(layer->weight, std::move(channels));
      if (layer->bias.valid()) result.constants.emplace_back(layer->bias, every_channel(layer->channels));
      return result;
    }
    const auto scaled = ops::as_scaled_result(model_, graph_, id);
    if (!scaled) return std::nullopt;
    result.axis = scaled->axis;
    for (const ValueId constant : scaled->constants) {
      if (!owned(constant)) return std::nullopt;
      result.constants.emplace_back(constant, every_channel(graph_.constant(constant)->size()));
    }
    return result;
  }

  static std::vector<std::int32_t> every_channel(std::int64_t count) {
    std::vector<std::int32_t> channels(static_cast<std::size_t>(count));
    std::iota(channels.begin(), channels.end(), 0);
    return channels;
  }

  // The value's place along `axis`, new or known; nullptr when it has another, or none.
  const Place* place(ValueId id, int axis) {
    if (const auto found = places_.find(id); found != places_.end()) return found->second.axis == axis ? &found->second : nullptr;
    const Value& value = graph_.value(id);
    std::int64_t extent = -1;
    const auto at = static_cast<std::size_t>(axis);
    if (value.is_constant()) {
      if (axis >= 0 && at < value.constant->rank()) extent = value.constant->dim(at);
    } else if (value.type.is_tensor() && value.type.dtype == DType::float32 && value.type.shape.has_rank && axis >= 0 && at < value.type.shape.rank()) {
      const Dim& dim = value.type.shape.dims[at];
      if (dim.known()) extent = dim.value;
    }
    if (extent < 1 || extent > kMostChannels) return nullptr;
    const auto count = static_cast<std::size_t>(extent);
    fixed_.resize(fixed_.size() + count, false);
    order_.push_back(id);
    todo_.push_back(id);
    return &places_.emplace(id, Place{axis, extent, elements_.add(count), values_.add(1)}).first->second;
  }

  void fix(ValueId id) {
    const auto found = places_.find(id);
    if (found == places_.end()) return;
    for (std::int64_t i = 0; i < found->second.extent; ++i) fixed_[found->second.first + static_cast<std::size_t>(i)] = true;
  }

  // Looks at who makes and who reads the value.
  void spread(ValueId id) {
    const Value& value = graph_.value(id);
    const Place at = places_.at(id);
    if (value.is_constant()) {
      if (!owned(id)) return fix(id);
      const Dims& dims = value.constant->dims();
      std::int64_t below = 1;
      for (std::size_t i = static_cast<std::size_t>(at.axis) + 1; i < dims.size(); ++i) below *= dims[i];
      std::vector<std::int32_t> channels(static_cast<std::size_t>(value.constant->size()));
      for (std::size_t e = 0; e < channels.size(); ++e) channels[e] = static_cast<std::int32_t>(static_cast<std::int64_t>(e) / below % at.extent);
      made_.emplace_back(id, id, std::move(channels));
      return;
    }
    if (value.output_slots > 0 || !value.producer.valid()) fix(id);
    if (value.producer.valid()) {
      auto source = maker(value.producer);
      if (source && source->axis == at.axis && graph_.node(value.producer).outputs[0] == id) {
        for (auto& [constant, channels] : source->constants) {
          if (std::any_of(channels.begin(), channels.end(), [&](std::int32_t channel) { return channel >= at.extent; })) fix(id);
          else made_.emplace_back(id, constant, std::move(channels));
        }
      } else if (source || !joined(value.producer)) {
        fix(id);
      }
    }
    for (const Use& use : value.uses) {
      if (facts_[use.node.index].value.quant == QuantRole::bilinear ? !add_reader(id, use, at.axis) : maker(use.node) || !joined(use.node)) fix(id);
    }
  }

  bool add_reader(ValueId id, const Use& use, int axis) {
    const Node& node = graph_.node(use.node);
    if (use.operand != 0 || !selection_.is_integer(use.node) || node.inputs.size() < 2 || !node.inputs[1].valid() || !owned(node.inputs[1])) return false;
    const ops::Facts& facts = facts_[use.node.index];
    auto channels = input_channels(facts.space, static_cast<std::size_t>(axis), graph_.constant(node.inputs[1])->dims());
    if (!channels) return false;
    const std::int64_t extent = places_.at(id).extent;
    if (std::any_of(channels->begin(), channels->end(), [&](std::int32_t channel) { return channel < 0 || channel >= extent; })) return false;
    readers_.push_back({use.node, id, std::move(*channels), ops::is_depthwise(facts.space)});
    return true;
  }

  // Operands that the node's results are proportional to.
  [[nodiscard]] std::vector<std::size_t> proportional(NodeId id) const {
    const ops::Facts& facts = facts_[id.index];
    const ops::ValueFacts& value = facts.value;
    std::vector<std::size_t> data(value.data_operands.begin(), value.data_operands.end());
    if (value.clamp) return value.clamp->low <= 0 && value.clamp->high >= 0 ? data : std::vector<std::size_t>();
    if (value.quant == QuantRole::same_scale) return !value.fill || *value.fill == 0 ? data : std::vector<std::size_t>();
    if (value.quant == QuantRole::own_scale && facts.space.kind == ops::OpKind::reduce && data.size() == 1) return data;
    return ops::homogeneous_operands(model_, graph_, id);
  }

  // Places all that the node moves along, in step. False: it does not commute, or its axes are not known well enough.
  bool joined(NodeId id) {
    const auto [known, added] = joined_.try_emplace(id, false);
    if (!added) return known->second;
    const bool done = join(id);
    if (!done) {
      for (const ValueId value : graph_.node(id).inputs)
        if (value.valid()) fix(value);
      for (const ValueId value : graph_.node(id).outputs)
        if (value.valid()) fix(value);
    }
    return joined_[id] = done;
  }

  bool join(NodeId id) {
    const Node& node = graph_.node(id);
    const ops::Facts& facts = facts_[id.index];
    const IterationSpace& space = facts.space;
    const auto operands = proportional(id);
    if (operands.empty() || space.outputs.size() != node.outputs.size()) return false;
    struct Slot {
      ValueId value;
      const ops::OperandMap* map;
    };
    std::vector<Slot> slots;
    for (const std::size_t operand : operands) {
      if (operand >= node.inputs.size() || operand >= space.inputs.size() || !node.inputs[operand].valid()) return false;
      slots.push_back({node.inputs[operand], &space.inputs[operand]});
    }
    for (std::size_t i = 0; i < node.outputs.size(); ++i)
      if (node.outputs[i].valid()) slots.push_back({node.outputs[i], &space.outputs[i]});
    const auto anchor = std::find_if(slots.begin(), slots.end(), [&](const Slot& slot) { return places_.contains(slot.value); });
    if (anchor == slots.end()) return false;
    const auto anchor_axis = static_cast<std::size_t>(places_.at(anchor->value).axis);
    if (anchor_axis >= anchor->map->axes.size()) return false;
    const AxisMap& along = anchor->map->axes[anchor_axis];
    std::vector<std::pair<const AxisMap*, Place>> sides;
    for (const Slot& slot : slots) {
      const auto axis = slot.value == anchor->value ? static_cast<int>(anchor_axis) : shared_axis(slot.value, *slot.map, along);
      const Place* at = axis && static_cast<std::size_t>(*axis) < slot.map->axes.size() ? place(slot.value, *axis) : nullptr;
      if (at == nullptr) return false;
      sides.emplace_back(&slot.map->axes[static_cast<std::size_t>(at->axis)], *at);
    }
    // Parts of a concatenation meet in the whole alone.
    const auto whole = std::find_if(sides.begin(), sides.end(), [](const auto& side) { return side.first->kind != AxisMap::Kind::segment; });
    if (whole == sides.end()) return false;
    for (const auto& [map, at] : sides) {
      if (!in_step(space, *whole->first, whole->second, *map, at)) return false;
      values_.join(whole->second.number, at.number);
    }
    if (facts.value.clamp) clamps_.emplace_back(node.outputs[0], *facts.value.clamp);
    return true;
  }

  // The axis of an operand that runs along a loop of `along`: the longest.
  [[nodiscard]] std::optional<int> shared_axis(ValueId id, const ops::OperandMap& map, const AxisMap& along) const {
    std::optional<int> best;
    std::int64_t longest = 0;
    const Value& value = graph_.value(id);
    for (std::size_t axis = 0; axis < map.axes.size(); ++axis) {
      const auto& loops = map.axes[axis].loops;
      if (std::none_of(loops.begin(), loops.end(), [&](int loop) { return std::find(along.loops.begin(), along.loops.end(), loop) != along.loops.end(); }))
        continue;
      std::int64_t extent = 0;
      if (value.is_constant()) extent = axis < value.constant->rank() ? value.constant->dim(axis) : 0;
      else if (value.type.is_tensor() && value.type.shape.has_rank && axis < value.type.shape.rank()) extent = value.type.shape.dims[axis].value;
      if (extent > longest) {
        longest = extent;
        best = static_cast<int>(axis);
      }
    }
    return best;
  }

  // Channels of both that meet in the same iteration are of one class.
  bool in_step(const IterationSpace& space, const AxisMap& a, const Place& at_a, const AxisMap& b, const Place& at_b) {
    std::vector<int> shared;
    for (const int loop : a.loops)
      if (std::find(b.loops.begin(), b.loops.end(), loop) != b.loops.end()) shared.push_back(loop);
    if (shared.empty()) return false;
    std::map<std::int64_t, std::size_t> first;  // element, by the shared loops' position
    for (const auto& [map, place] : {std::pair(&a, &at_a), std::pair(&b, &at_b)}) {
      for (std::int64_t i = 0; i < place->extent; ++i) {
        const auto key = position(space, *map, i, shared);
        if (!key) return false;
        const std::size_t element = place->first + static_cast<std::size_t>(i);
        const auto [found, added] = first.try_emplace(*key, element);
        if (!added) elements_.join(found->second, element);
      }
    }
    return true;
  }

  static std::optional<std::int64_t> position(const IterationSpace& space, const AxisMap& map, std::int64_t index, const std::vector<int>& shared) {
    if (map.kind == AxisMap::Kind::segment) return index + map.begin;
    const auto strides = loop_strides(space, map);
    if (!strides) return std::nullopt;
    std::int64_t key = 0;
    for (const int loop : shared) {
      const auto at = static_cast<std::size_t>(std::find(map.loops.begin(), map.loops.end(), loop) - map.loops.begin());
      const std::int64_t extent = space.loops[static_cast<std::size_t>(loop)].extent;
      if (extent < 1 || key > kMostChannels) return std::nullopt;
      const std::int64_t part = index / (*strides)[at];
      key = key * extent + (at == 0 ? part : part % extent);
    }
    return key;
  }

  // Members that are rounded on the way to a value, through nodes that round what they read.
  void inherit(ChannelWeb& web, std::map<ValueId, std::size_t>& members) const {
    for (const NodeId id : graph_.node_order()) {
      const auto node = joined_.find(id);
      if (node == joined_.end() || !node->second) continue;
      const QuantRole role = facts_[id.index].value.quant;
      const bool rounds = selection_.is_integer(id) && (role == QuantRole::arithmetic || role == QuantRole::table);
      if (role == QuantRole::own_scale) continue;  // a mean over many leaves little of their errors
      for (const ValueId output : graph_.node(id).outputs) {
        const auto to = members.find(output);
        if (!output.valid() || to == members.end()) continue;
        std::set<std::size_t> before;
        for (const ValueId input : graph_.node(id).inputs) {
          const auto from = members.find(input);
          if (!input.valid() || from == members.end() || graph_.constant(input) != nullptr) continue;
          const auto& earlier = web.members[from->second].rounded_before;
          before.insert(earlier.begin(), earlier.end());
          if (rounds) before.insert(from->second);
        }
        web.members[to->second].rounded_before.assign(before.begin(), before.end());
      }
    }
  }

  std::vector<ChannelWeb> collect() {
    std::map<std::size_t, std::size_t> index;  // of a web, by root of its values
    std::vector<ChannelWeb> webs;
    std::vector<std::map<ValueId, std::size_t>> members;
    std::map<std::size_t, std::int32_t> classes;  // by root of the elements
    const auto classes_of = [&](ChannelWeb& web, const Place& at) {
      std::vector<std::int32_t> result;
      for (std::int64_t i = 0; i < at.extent; ++i) {
        const auto [found, added] = classes.try_emplace(elements_.find(at.first + static_cast<std::size_t>(i)), static_cast<std::int32_t>(web.classes));
        if (added) {
          ++web.classes;
          web.fixed.push_back(false);
        }
        if (fixed_[at.first + static_cast<std::size_t>(i)]) web.fixed[static_cast<std::size_t>(found->second)] = true;
        result.push_back(found->second);
      }
      return result;
    };
    for (const ValueId id : order_) {
      const Place& at = places_.at(id);
      const auto [web, added] = index.try_emplace(values_.find(at.number), webs.size());
      if (added) {
        webs.emplace_back();
        members.emplace_back();
      }
      ChannelWeb& into = webs[web->second];
      members[web->second].emplace(id, into.members.size());
      into.members.push_back({id, at.axis, classes_of(into, at), {}});
    }
    const auto web_of = [&](ValueId id) { return index.at(values_.find(places_.at(id).number)); };
    for (auto& [value, constant, channels] : made_) {
      const std::size_t web = web_of(value);
      const auto& of = webs[web].members[members[web].at(value)].classes;
      for (std::int32_t& channel : channels) channel = of[static_cast<std::size_t>(channel)];
      const NodeId producer = graph_.value(value).producer;
      if (producer.valid() && !webs[web].maker.valid()) webs[web].maker = producer;
      webs[web].made.push_back({constant, std::move(channels)});
    }
    for (ReaderAt& reader : readers_) {
      const std::size_t web = web_of(reader.value);
      webs[web].readers.push_back({reader.node, members[web].at(reader.value), std::move(reader.channels), reader.spreads_freely});
    }
    for (const auto& [value, bounds] : clamps_) {
      const std::size_t web = web_of(value);
      webs[web].clamps.push_back({members[web].at(value), bounds});
    }
    for (std::size_t i = 0; i < webs.size(); ++i) inherit(webs[i], members[i]);
    std::erase_if(webs, [](const ChannelWeb& web) {
      return !web.maker.valid() || web.readers.empty() || std::find(web.fixed.begin(), web.fixed.end(), false) == web.fixed.end();
    });
    return webs;
  }

  const Model& model_;
  const Graph& graph_;
  const std::vector<ops::Facts>& facts_;
  const Selection& selection_;
  DisjointSets elements_, values_;
  std::vector<bool> fixed_;                  // by element
  std::map<ValueId, Place> places_;
  std::vector<ValueId> order_, todo_;        // as they were placed; still to look at
  std::map<NodeId, bool> joined_;
  std::vector<std::tuple<ValueId, ValueId, std::vector<std::int32_t>>> made_;  // member, constant, channel by element
  std::vector<ReaderAt> readers_;
  std::vector<std::pair<ValueId, ops::Interval>> clamps_;
};

}  // namespace

std::vector<ChannelWeb> find_channel_webs(const Model& model, const std::vector<ops::Facts>& facts, const Selection& selection) {
  return Finder(model, facts, selection).webs();
}

}  // namespace bevel::passes
