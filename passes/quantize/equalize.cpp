// equalize-channels: a value's channels scaled against each other before it is rounded.
//
// What it does. Where a layer's result is read by layers alone (through rectifiers and pooling, which commute with positive factors), channel c of
// it is divided by s[c] in the layer that makes it (weights and bias) and multiplied back in the weights of those that read it. The float
// function stays what it was, up to rounding. s[c] = r[c]^a / w[c]^(1-a), r the channel's largest magnitude over the samples, w that of the
// weights that read it; the strength a is searched per value, and a scaling is kept only where it lowers the error that the readers' results
// would have with 8-bit inputs and the recipe's weights, measured on rows of the samples.
//
// Why. One scale serves all channels of an activation: a channel a hundred times smaller than the largest has one level and a half of 256. Weights have a scale
// per output channel, so that the layer that makes the value loses nothing; a depthwise reader loses nothing either.
//   M. Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction", ICCV 2019, arXiv:1906.04721 (a = 1/2 on
//   weights); G. Xiao et al., "SmoothQuant", ICML 2023, arXiv:2211.10438 (activations against weights, strength a).
//
// Before:                                    After (s: a factor per channel):
//   y = Conv(x, w1, b1)                        y = Conv(x, w1 / s, b1 / s)
//   z = Relu(y)                                z = Relu(y)
//   o = Conv(z, w2, b2)                        o = Conv(z, w2 * s, b2)
//
// Limits. Needs samples. Not through clamps with a finite bound other than 0 (a Clip at 6 does not commute with the factor), sums, concatenations or graph outputs. Only
// with weight scales per channel.
#include <algorithm>
#include <cmath>
#include <map>
#include <optional>

#include "lib/ops/facts_derived.h"
#include "lib/ops/product_view.h"
#include "lib/ops/semantics.h"
#include "lib/support/check.h"
#include "passes/pass.h"
#include "passes/quantize/scales.h"
#include "passes/quantize/selection.h"
#include "passes/quantize/weights.h"
#include "passes/ranges.h"

namespace bevel::passes {
namespace {

using ops::AxisMap;
using Channels = std::vector<double>;  // a number per channel of the value

constexpr double kStrengths[] = {0.25, 0.5, 0.75, 1.0};
constexpr double kWorthwhile = 0.95;     // of the error before: less is noise
constexpr double kLargestFactor = 4096;  // between two channels
constexpr std::int64_t kProjections = 16;

// A layer that reads the value.
struct Reader {
  NodeId node;
  std::vector<std::int64_t> channel;  // of the value, by element of the weights
  bool spreads_freely = false;        // each of its scales belongs to one channel alone (depthwise)
};

struct Boundary {
  NodeId maker;
  ops::LinearLayer layer;
  ValueId value;  // as it is rounded: after rectifiers
  std::vector<Reader> readers;
};

std::optional<std::vector<std::int64_t>> loop_strides(const ops::IterationSpace& space, const AxisMap& axis) {
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
std::optional<std::vector<std::int64_t>> input_channels(const ops::IterationSpace& space, std::size_t axis, const Dims& weight_dims) {
  if (space.inputs.size() < 2 || axis >= space.inputs[0].axes.size() || space.inputs[1].axes.size() != weight_dims.size()) return std::nullopt;
  const AxisMap& channel = space.inputs[0].axes[axis];
  const auto strides = loop_strides(space, channel);
  if (!strides) return std::nullopt;
  std::int64_t size = 1;
  for (const std::int64_t dim : weight_dims) size *= dim;
  std::vector<std::int64_t> result(static_cast<std::size_t>(size), 0);
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
        result[static_cast<std::size_t>(e)] += (e / below % weight_dims[at] / step % extent) * (*strides)[i];
    }
    if (!found) return std::nullopt;
  }
  return result;
}

class Finder {
 public:
  Finder(const Model& model, const std::vector<ops::Facts>& facts, const Selection& selection)
      : model_(model), graph_(model.graph), facts_(facts), selection_(selection) {}

  std::vector<Boundary> boundaries() {
    std::vector<Boundary> found;
    for (const NodeId id : graph_.node_order()) {
      if (!selection_.is_integer(id)) continue;
      auto layer = ops::as_linear_layer(model_, graph_, id);
      if (!layer || !owned(layer->weight) || (layer->bias.valid() && !owned(layer->bias)) || layer->channels < 2) continue;
      Boundary boundary;
      boundary.maker = id;
      boundary.layer = *layer;
      boundary.value = graph_.node(id).outputs[0];
      if (follow(boundary, boundary.value, layer->output_axis, true) && !boundary.readers.empty()) found.push_back(std::move(boundary));
    }
    return found;
  }

 private:
  // No other node reads the constant, so that it may be changed for this one.
  [[nodiscard]] bool owned(ValueId constant) const {
    const Value& value = graph_.value(constant);
    return value.is_constant() && value.uses.size() == 1 && value.output_slots == 0 && value.constant->dtype() == DType::float32;
  }

  // f(a x) = a f(x) for every a > 0, channel by channel.
  [[nodiscard]] bool homogeneous(const Node& node, const ops::Facts& facts) const {
    if (facts.value.data_operands.size() != 1 || node.outputs.size() != 1) return false;
    if (facts.value.clamp) return facts.value.clamp->low == 0 && std::isinf(facts.value.clamp->high);
    if (facts.value.quant == ops::QuantRole::same_scale) return !facts.value.fill || *facts.value.fill == 0;
    return facts.value.quant == ops::QuantRole::own_scale && facts.space.kind == ops::OpKind::reduce;
  }

  // `first`: the value is still the layer's own, and a rectifier moves the place where it is rounded.
  bool follow(Boundary& boundary, ValueId id, int axis, bool first) {
    const Value& value = graph_.value(id);
    if (value.output_slots > 0) return false;
    for (const Use& use : value.uses) {
      const Node& node = graph_.node(use.node);
      const ops::Facts& facts = facts_[use.node.index];
      if (facts.value.quant == ops::QuantRole::bilinear) {
        if (!add_reader(boundary, use, axis)) return false;
        continue;
      }
      const auto data = facts.value.data_operands.empty() ? -1 : facts.value.data_operands[0];
      if (data != static_cast<int>(use.operand) || !homogeneous(node, facts)) return false;
      const auto mapped = output_axis(facts.space, use.operand, static_cast<std::size_t>(axis));
      if (!mapped || !node.outputs[0].valid()) return false;
      if (first && facts.value.clamp && value.uses.size() == 1) boundary.value = node.outputs[0];
      if (!follow(boundary, node.outputs[0], *mapped, first && facts.value.clamp.has_value())) return false;
    }
    return true;
  }

  [[nodiscard]] static std::optional<int> output_axis(const ops::IterationSpace& space, std::size_t operand, std::size_t axis) {
    if (operand >= space.inputs.size() || axis >= space.inputs[operand].axes.size() || space.outputs.empty()) return std::nullopt;
    const AxisMap& in = space.inputs[operand].axes[axis];
    if (in.kind != AxisMap::Kind::follow) return std::nullopt;
    const auto& out = space.outputs[0].axes;
    for (std::size_t i = 0; i < out.size(); ++i)
      if (out[i].kind == AxisMap::Kind::follow && out[i].loops == in.loops) return static_cast<int>(i);
    return std::nullopt;
  }

  bool add_reader(Boundary& boundary, const Use& use, int axis) {
    const Node& node = graph_.node(use.node);
    if (use.operand != 0 || !selection_.is_integer(use.node) || node.inputs.size() < 2 || !owned(node.inputs[1])) return false;
    const ops::Facts& facts = facts_[use.node.index];
    const Tensor& weight = *graph_.constant(node.inputs[1]);
    auto channels = input_channels(facts.space, static_cast<std::size_t>(axis), weight.dims());
    if (!channels) return false;
    for (const std::int64_t channel : *channels)
      if (channel >= boundary.layer.channels) return false;
    boundary.readers.push_back({use.node, std::move(*channels), ops::is_depthwise(facts.space)});
    return true;
  }

  const Model& model_;
  const Graph& graph_;
  const std::vector<ops::Facts>& facts_;
  const Selection& selection_;
};

// A reader at work on measured rows, some random combinations of its channels standing for all.
class Trial {
 public:
  Trial(const Graph& graph, const Reader& reader, const ops::Facts& facts, const data::Rows& rows, const WeightFormat& format)
      : rows_(rows), format_(format), weight_(*graph.constant(graph.node(reader.node).inputs[1])), reader_(reader),
        view_(ops::product_view(facts.space, weight_.dims())) {}

  [[nodiscard]] bool usable() const {
    return view_ && view_->groups == rows_.groups && view_->k == rows_.k && rows_.count > 0;
  }

  // Relative error of the results when inputs divided by `factors` are rounded to `grid` and weights multiplied by them to their format.
  [[nodiscard]] double error(const Channels& factors, const ScaleZeroPoint& grid) const {
    const std::int64_t k = view_->k, channels = view_->channels, projections = std::min(channels, kProjections);
    std::vector<double> scaled(static_cast<std::size_t>(k)), exact(static_cast<std::size_t>(projections * k)), off(exact.size());
    std::vector<double> inverse(static_cast<std::size_t>(k));
    double noise = 0, signal = 0;
    std::uint64_t signs = 0x9e3779b97f4a7c15;
    for (std::int64_t group = 0; group < view_->groups; ++group) {
      std::fill(exact.begin(), exact.end(), 0.0);
      std::fill(off.begin(), off.end(), 0.0);
      for (std::int64_t channel = 0; channel < channels; ++channel) {
        double largest = 0;
        for (std::int64_t i = 0; i < k; ++i) {
          const double w = weight_at(group, channel, i, factors);
          scaled[static_cast<std::size_t>(i)] = w;
          largest = std::max(largest, std::fabs(w));
        }
        const double step = largest > 0 ? largest / format_.qmax : 1;
        for (std::int64_t p = channels > kProjections ? 0 : channel; p < (channels > kProjections ? projections : channel + 1); ++p) {
          signs ^= signs << 13, signs ^= signs >> 7, signs ^= signs << 17;  // Marsaglia's xorshift
          const double sign = channels > kProjections && (signs & 1) != 0 ? -1 : 1;
          for (std::int64_t i = 0; i < k; ++i) {
            const double w = scaled[static_cast<std::size_t>(i)];
            exact[static_cast<std::size_t>(p * k + i)] += sign * w;
            off[static_cast<std::size_t>(p * k + i)] += sign * (std::nearbyint(w / step) * step - w);
          }
        }
      }
      for (std::int64_t i = 0; i < k; ++i) inverse[static_cast<std::size_t>(i)] = 1 / factors[channel_at(group, i)];
      std::vector<double> sum(static_cast<std::size_t>(projections), 0.0), squares(sum), energy(sum), mean(sum);
      std::vector<double> x(static_cast<std::size_t>(k)), e(x);
      const double scale = static_cast<double>(grid.scale);
      for (std::int64_t row = 0; row < rows_.count; ++row) {
        const float* values = rows_.values.data() + (group * rows_.count + row) * k;
        for (std::int64_t i = 0; i < k; ++i) {
          const auto at = static_cast<std::size_t>(i);
          x[at] = static_cast<double>(values[i]) * inverse[at];
          const double q = std::clamp<double>(std::nearbyint(x[at] / scale) + grid.zero_point, 0, 255) - grid.zero_point;
          e[at] = q * scale - x[at];
        }
        for (std::int64_t p = 0; p < projections; ++p) {
          double y = 0, error = 0;
          for (std::int64_t i = 0; i < k; ++i) {
            const auto at = static_cast<std::size_t>(i), w = static_cast<std::size_t>(p * k + i);
            y += exact[w] * x[at];
            error += exact[w] * e[at] + off[w] * (x[at] + e[at]);
          }
          const auto at = static_cast<std::size_t>(p);
          sum[at] += error, squares[at] += error * error, mean[at] += y, energy[at] += y * y;
        }
      }
      const auto count = static_cast<double>(rows_.count);
      for (std::size_t p = 0; p < sum.size(); ++p) {  // about the means: biases are corrected later
        noise += std::max(0.0, squares[p] - sum[p] * sum[p] / count);
        signal += std::max(0.0, energy[p] - mean[p] * mean[p] / count);
      }
    }
    return signal > 0 ? noise / signal : 0;
  }

 private:
  [[nodiscard]] std::size_t flat(std::int64_t group, std::int64_t channel, std::int64_t i) const {
    return static_cast<std::size_t>(view_->weight_index(group, channel, i));
  }
  [[nodiscard]] std::size_t channel_at(std::int64_t group, std::int64_t i) const {
    return static_cast<std::size_t>(reader_.channel[flat(group, 0, i)]);
  }
  [[nodiscard]] double weight_at(std::int64_t group, std::int64_t channel, std::int64_t i, const Channels& factors) const {
    const std::size_t at = flat(group, channel, i);
    return static_cast<double>(weight_.values<float>()[at]) * factors[static_cast<std::size_t>(reader_.channel[at])];
  }

  const data::Rows& rows_;
  WeightFormat format_;
  Tensor weight_;
  const Reader& reader_;
  std::optional<ops::ProductView> view_;
};

// r^a / w^(1-a), in proportion to the geometric middle of all; 1 for channels that are never anything but zero.
Channels factors_of(const Channels& activations, const Channels& weights, double strength) {
  Channels factors(activations.size(), 1.0);
  double highest = 0;
  for (std::size_t c = 0; c < factors.size(); ++c) {
    if (!(activations[c] > 0) || !(weights[c] > 0)) continue;
    // Powers by square roots alone, whose bits are the same everywhere: strengths are quarters.
    const auto power = [](double x, double quarters) {
      double result = 1;
      const double root = std::sqrt(x), fourth = std::sqrt(root);
      for (int i = 0; i < static_cast<int>(quarters); ++i) result *= fourth;
      return result;
    };
    factors[c] = power(activations[c], 4 * strength) / power(weights[c], 4 - 4 * strength);
    highest = std::max(highest, factors[c]);
  }
  if (highest == 0) return factors;
  for (std::size_t c = 0; c < factors.size(); ++c) {
    const bool dead = !(activations[c] > 0) || !(weights[c] > 0);
    // As floats, so that what the weights are multiplied and divided by is one number.
    factors[c] = dead ? 1.0 : static_cast<double>(static_cast<float>(std::max(factors[c] / highest, 1 / kLargestFactor)));
  }
  return factors;
}

class Equalizer {
 public:
  Equalizer(Model& model, const std::vector<ops::Facts>& facts, const Recipe& recipe, const data::Statistics& statistics)
      : graph_(model.graph), facts_(facts), recipe_(recipe), statistics_(statistics) {}

  // The factor by which the error falls; nullopt when the boundary stays as it is.
  std::optional<double> equalize(const Boundary& boundary) {
    const auto seen = statistics_.channels.find({graph_.value(boundary.value).name, boundary.layer.output_axis});
    if (seen == statistics_.channels.end() || static_cast<std::int64_t>(seen->second.size()) != boundary.layer.channels) return std::nullopt;
    Channels activations, weights(seen->second.size(), 0.0);
    for (const data::ChannelStatistics& channel : seen->second)
      activations.push_back(std::max(std::fabs(static_cast<double>(channel.minimum)), std::fabs(static_cast<double>(channel.maximum))));
    std::vector<Trial> trials;
    for (const Reader& reader : boundary.readers) {
      const Node& node = graph_.node(reader.node);
      const auto rows = statistics_.rows.find({node.name, 0});
      if (rows == statistics_.rows.end()) return std::nullopt;
      trials.emplace_back(graph_, reader, facts_[reader.node.index], rows->second, weight_format(recipe_, node.name));
      if (!trials.back().usable()) return std::nullopt;
      const auto values = graph_.constant(node.inputs[1])->values<float>();
      for (std::size_t e = 0; e < values.size(); ++e) {
        double& largest = weights[static_cast<std::size_t>(reader.channel[e])];
        largest = std::max(largest, std::fabs(static_cast<double>(values[e])));
      }
    }
    const Channels unit(activations.size(), 1.0);
    const double before = least_error(trials, unit, seen->second);
    double best = before * kWorthwhile;
    Channels chosen;
    const bool free = std::all_of(boundary.readers.begin(), boundary.readers.end(), [](const Reader& r) { return r.spreads_freely; });
    for (const double strength : kStrengths) {
      if (free && strength < 1) continue;
      const Channels factors = factors_of(activations, weights, strength);
      const double error = least_error(trials, factors, seen->second);
      if (error < best) {
        best = error;
        chosen = factors;
      }
    }
    if (chosen.empty()) return std::nullopt;
    apply(boundary, chosen);
    return before / std::max(best, 1e-300);
  }

 private:
  // Of grids over the whole range and over parts of it, whose clipping pays where a few large values stretch it.
  [[nodiscard]] static double least_error(const std::vector<Trial>& trials, const Channels& factors,
                                          const std::vector<data::ChannelStatistics>& seen) {
    double low = 0, high = 0;
    for (std::size_t c = 0; c < factors.size(); ++c) {
      low = std::min(low, static_cast<double>(seen[c].minimum) / factors[c]);
      high = std::max(high, static_cast<double>(seen[c].maximum) / factors[c]);
    }
    double least = std::numeric_limits<double>::infinity();
    for (const double part : {1.0, 0.85, 0.7, 0.55}) {
      const ScaleZeroPoint grid = affine_grid({static_cast<float>(low * part), static_cast<float>(high * part)}, 0, 255);
      double sum = 0;
      for (const Trial& trial : trials) sum += trial.error(factors, grid);
      least = std::min(least, sum);
    }
    return least;
  }

  void apply(const Boundary& boundary, const Channels& factors) {
    const ops::LinearLayer& layer = boundary.layer;
    Tensor weight = *graph_.constant(layer.weight);
    const Dims dims = weight.dims();
    auto values = weight.mutable_values<float>();
    for (std::size_t e = 0; e < values.size(); ++e)
      values[e] = static_cast<float>(static_cast<double>(values[e]) / factors[static_cast<std::size_t>(output_channel(layer, dims, static_cast<std::int64_t>(e)))]);
    graph_.set_constant(layer.weight, std::move(weight));
    if (layer.bias.valid()) {
      const Tensor& old = *graph_.constant(layer.bias);
      const auto biases = old.values<float>();
      std::vector<float> scaled(factors.size());
      for (std::size_t c = 0; c < scaled.size(); ++c)
        scaled[c] = static_cast<float>(static_cast<double>(biases[biases.size() == 1 ? 0 : c]) / factors[c]);
      const Dims bias_dims = old.size() == 1 ? Dims{static_cast<std::int64_t>(scaled.size())} : old.dims();
      graph_.set_constant(layer.bias, Tensor::of<float>(bias_dims, scaled));
    }
    for (const Reader& reader : boundary.readers) {
      const ValueId id = graph_.node(reader.node).inputs[1];
      Tensor read = *graph_.constant(id);
      auto elements = read.mutable_values<float>();
      for (std::size_t e = 0; e < elements.size(); ++e)
        elements[e] = static_cast<float>(static_cast<double>(elements[e]) * factors[static_cast<std::size_t>(reader.channel[e])]);
      graph_.set_constant(id, std::move(read));
    }
  }

  static std::int64_t output_channel(const ops::LinearLayer& layer, const Dims& dims, std::int64_t element) {
    const auto along = [&](int axis) {
      std::int64_t below = 1;
      for (std::size_t i = static_cast<std::size_t>(axis) + 1; i < dims.size(); ++i) below *= dims[i];
      return element / below % dims[static_cast<std::size_t>(axis)];
    };
    return layer.channel_of(dims, layer.group_axis >= 0 ? along(layer.group_axis) : 0, along(layer.channel_axis));
  }

  Graph& graph_;
  const std::vector<ops::Facts>& facts_;
  const Recipe& recipe_;
  const data::Statistics& statistics_;
};

Result<PassStats> run(Model& model, const Options&, PassContext& context) {
  if (context.measure == nullptr || !context.measure->has_samples())
    return fail(ExitCode::usage, "equalize-channels: it needs calibration samples");
  const Recipe recipe = context.recipe != nullptr ? *context.recipe : Recipe();
  PassStats stats;
  if (!recipe.per_channel) return stats;
  const std::vector<ops::Facts> facts = all_facts(model);
  BEVEL_TRY(const Selection selection, select_nodes(model, facts, recipe, ""));
  const std::vector<Boundary> boundaries = Finder(model, facts, selection).boundaries();
  if (boundaries.empty()) return stats;
  data::Request request;
  for (const Boundary& boundary : boundaries) {
    request.channels.push_back({model.graph.value(boundary.value).name, boundary.layer.output_axis});
    for (const Reader& reader : boundary.readers) request.rows.push_back({model.graph.node(reader.node).name, 0});
  }
  BEVEL_TRY(const data::Statistics statistics, context.measure->measure(model, request));
  Equalizer equalizer(model, facts, recipe, statistics);
  for (const Boundary& boundary : boundaries) {
    const auto gain = equalizer.equalize(boundary);
    if (!gain) continue;
    ++stats.changes;
    stats.notes.push_back({model.graph.node(boundary.maker).name, model.graph.node(boundary.maker).op_type,
                           fmt::format("channels equalized: the error of what reads them falls to {:.1f} %", 100 / *gain)});
  }
  return stats;
}

}  // namespace

extern const PassRecord equalize_channels;
const PassRecord equalize_channels = {"equalize-channels", "channels of activations scaled against each other, where that lowers the error of 8 bits",
                                      Accuracy::rounding, {}, run};

}  // namespace bevel::passes
