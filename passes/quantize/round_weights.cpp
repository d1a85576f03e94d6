// round-weights: the integers, scales and biases of a quantized model's products, chosen so that what each puts out comes near
// what the float model puts out, instead of each weight by itself.
//
// Rounding to nearest treats a layer's errors as if they were independent of its inputs. They are not: inputs are correlated, so that the error
// of one weight can be made good by another; the layers before have already gone astray in a way that this layer's weights can partly undo;
// and the error has a mean, which the bias can take up. Layer by layer, in execution order, on the model as it then is:
//   - second moments of the rows x that the node now reads, beside the rows r that its float counterpart reads (Measure);
//   - the quadratic that the layer's error is in its weights, and its float optimum (passes/second_order/quadratic.h);
//   - a near point of the grid: nearest plane (GPTQ), descent, refitted scales (passes/second_order/rounding.h);
//   - bias + w mean(r) - v mean(x), in closed form (Nagel et al., "Data-free quantization through weight equalization and bias
//     correction", ICCV 2019, arXiv:1906.04721, section 4.2).
// A channel keeps what it has where nothing of lower error is found: by the samples' own measure the result is never worse.
//
// Limits. Needs samples, and the float model with its nodes' names (PassContext::reference). Weights that are symmetric int8 or int4
// integers, per tensor, channel or block, int32 or float32 biases. Scales that channels share stay. A node without bias gets none: its weights then make up
// for the mean too. Weights that several nodes read are rounded once, for all of them. A column whose inputs were zero on all samples is
// rounded to nearest and said so: the samples say nothing of it, and other inputs may come.
//
// Runtime onnxruntime-avx2: int8 weights that ONNX Runtime sums in pairs on x86 without VNNI (saturating_pairs.h) are chosen so that none can
// saturate. A channel that keeps to that anyway is as it is without; the others are solved again under the limit.
//
//   w_q = {3, -2}, w_scale = {0.5}      becomes, say,     w_q = {3, -1}, w_scale = {0.47}
//   w = DequantizeLinear(w_q, w_scale)                    w = DequantizeLinear(w_q, w_scale)
//   y = MatMul(x, w)                                      y = MatMul(x, w)
#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <set>

#include "lib/ops/op.h"
#include "passes/pass.h"
#include "passes/quantize/quantized_layer.h"
#include "passes/quantize/saturating_pairs.h"
#include "passes/second_order/rounding.h"

namespace bevel::passes {
namespace {

constexpr OptionRecord kOptions[] = {
    {"target", "compensated", "compensated: make up for half of what the layers before lost; weights: only come near the float weights"},
    {"runtime", "", "any, or onnxruntime-avx2: weights that cannot saturate on x86 without VNNI (default: the recipe's)"},
    {"depth", "1", "how many layers that follow each other share one look at the samples: more is quicker and a little less accurate"},
};

// Elements of second moments that are held at a time, in number of 64-bit integers: 128 MB; one layer may need more.
constexpr std::int64_t kMaxMoments = std::int64_t{1} << 24;
constexpr double kBiasLimit = 1073741824.0;   // 2^30, as quantize keeps to (passes/quantize/weights.h)
constexpr double kBiasHeadroom = 1.25;        // for the correction, which is not known when scales are chosen
constexpr double kCompensation = 0.5;         // of what the layers before lost (passes/second_order/quadratic.h)
constexpr double kGroupFloor = 1e-5;          // of the largest group's mean diagonal: the least damping of a group
constexpr std::int64_t kMaxReduction = 5120;  // products summed into one output: five matrices of its square are held, 1 GB

struct Settings {
  bool compensated = true;
  std::int64_t depth = 1;
  bool pairs = false;  // no two int8 weights that x86 without VNNI sums in 16 bits may saturate
};

Result<Settings> settings_of(const Options& options, const Recipe* recipe) {
  Settings settings;
  std::string runtime = options.at("runtime");
  if (runtime.empty() && recipe != nullptr) runtime = recipe->runtime.value_or("");
  if (runtime != "any" && runtime != kAvx2Runtime && !runtime.empty())
    return fail(ExitCode::usage, "round-weights: runtime=\"{}\": expected any or onnxruntime-avx2", printable(runtime));
  settings.pairs = runtime == kAvx2Runtime;
  const std::string& target = options.at("target");
  if (target != "compensated" && target != "weights")
    return fail(ExitCode::usage, "round-weights: target=\"{}\": expected compensated or weights", printable(target));
  settings.compensated = target == "compensated";
  const std::string& depth = options.at("depth");
  if (depth.empty() || depth.size() > 4 || depth.find_first_not_of("0123456789") != std::string::npos || std::stoi(depth) < 1)
    return fail(ExitCode::usage, "round-weights: depth=\"{}\": expected a number from 1 to 9999", printable(depth));
  settings.depth = std::stoi(depth);
  return settings;
}

// Nodes that read the same integers, to be rounded together; the first decides when.
struct Task {
  std::vector<QuantizedLayer> layers;
  [[nodiscard]] const QuantizedLayer& first() const { return layers.front(); }
  // A bias of its own at every node: the error counts about the mean.
  [[nodiscard]] bool centred() const {
    return std::all_of(layers.begin(), layers.end(), [](const QuantizedLayer& layer) { return layer.bias != QuantizedLayer::Bias::none; });
  }
  [[nodiscard]] std::int64_t moments() const {
    const auto& view = first().view;
    return view.groups * view.k * view.k * 2 * static_cast<std::int64_t>(layers.size());
  }
};

bool same_view(const ops::ProductView& a, const ops::ProductView& b) {
  return a.groups == b.groups && a.channels == b.channels && a.k == b.k && a.group_offset == b.group_offset &&
         a.channel_offset == b.channel_offset && a.k_offset == b.k_offset;
}

class Rounder {
 public:
  Rounder(Model& model, PassContext& context, const Settings& settings) : model_(model), context_(context), settings_(settings) {}

  Result<PassStats> run() {
    Graph& graph = model_.graph;
    std::vector<std::int64_t> depth(graph.value_capacity(), 0);  // layers of the present wave that a value depends on, along the longest way
    for (const NodeId id : graph.node_order()) {
      std::int64_t deepest = 0;
      for (std::size_t i = 0; i < graph.node(id).operand_count(); ++i) {
        const ValueId operand = graph.node(id).operand(i);
        if (operand.valid()) deepest = std::max(deepest, depth[operand.index]);
      }
      if (!done_.contains(id)) {
        if (auto task = task_of(id)) {
          if (deepest >= settings_.depth || held_ + task->moments() > kMaxMoments) {
            BEVEL_TRY_STATUS(round_wave());
            depth.assign(graph.value_capacity(), 0);  // there may be new values, too
            deepest = 0;
            task = task_of(id);  // constants may be new
            BEVEL_CHECK(task.has_value());
          }
          held_ += task->moments();
          for (const QuantizedLayer& layer : task->layers) {
            done_.insert(layer.node);
            waiting_.insert(layer.node);
          }
          wave_.push_back(std::move(*task));
        }
      }
      const bool waits = waiting_.contains(id);
      if (deepest == 0 && !waits) continue;
      for (const ValueId output : graph.node(id).outputs) {
        if (output.valid()) depth[output.index] = deepest + (waits ? 1 : 0);
      }
    }
    BEVEL_TRY_STATUS(round_wave());
    graph.erase_dead();
    if (losses_.layers > 0) stats_.notes.push_back({"", "", describe(losses_, "layers' outputs")});
    return std::move(stats_);
  }

 private:
  void note(NodeId id, std::string text) {
    const Node& node = model_.graph.node(id);
    stats_.notes.push_back({node.name, node.op_type, std::move(text)});
  }

  std::optional<Task> task_of(NodeId id) {
    std::string why;
    auto layer = as_quantized_layer(model_, *context_.reference, id, why);
    if (!layer) {
      if (!why.empty()) note(id, "it stays as it is: " + why);
      return std::nullopt;
    }
    if (layer->view.k > kMaxReduction) {
      note(id, fmt::format("it stays as it is: each output sums {} products, and second moments are kept of {} at most", layer->view.k, kMaxReduction));
      return std::nullopt;
    }
    Task task;
    const ValueId weights = model_.graph.node(layer->dequantizer).outputs[0];
    task.layers.push_back(std::move(*layer));
    bool alike = model_.graph.value(weights).output_slots == 0;
    for (const Use& use : model_.graph.value(weights).uses) {
      if (use.node == id && use.operand == 1) continue;
      auto other = use.operand == 1 ? as_quantized_layer(model_, *context_.reference, use.node, why) : std::nullopt;
      alike = alike && other && same_view(other->view, task.first().view) && other->reference.same_bits(task.first().reference);
      if (alike) task.layers.push_back(std::move(*other));
    }
    if (alike) return task;
    note(id, "it stays as it is: something else reads its weights too");
    return std::nullopt;
  }

  Status round_wave() {
    if (wave_.empty()) return {};
    data::Request request;
    for (const Task& task : wave_) {
      for (const QuantizedLayer& layer : task.layers) request.moments.push_back({model_.graph.node(layer.node).name, 0});
    }
    request.reference = settings_.compensated ? context_.reference : nullptr;
    BEVEL_TRY(data::Statistics statistics, context_.measure->measure(model_, request));
    for (const Task& task : wave_) BEVEL_TRY_STATUS(round_task(task, statistics));
    wave_.clear();
    waiting_.clear();
    held_ = 0;
    return {};
  }

  struct Means {
    std::vector<double> x, r;  // [k]
  };

  Status round_task(const Task& task, data::Statistics& statistics) {
    const QuantizedLayer& first = task.first();
    const auto& view = first.view;
    const bool centred = task.centred();
    const auto groups = static_cast<std::size_t>(view.groups);
    std::vector<std::vector<data::SecondMoment>> moments;  // by layer, by group
    for (const QuantizedLayer& layer : task.layers) {
      const data::OperandKey key{model_.graph.node(layer.node).name, 0};
      const auto found = statistics.moments.find(key);
      if (found == statistics.moments.end() || found->second.size() != groups)
        return fail_input("round-weights: node '{}': no second moments of its operand 0 were measured", printable(key.node));
      for (const data::SecondMoment& moment : found->second) {
        if (moment.sum.size() != static_cast<std::size_t>(view.k))
          return fail_input("round-weights: node '{}': its rows have {} elements, its weights {}", printable(key.node), moment.sum.size(), view.k);
      }
      moments.push_back(std::move(found->second));
      statistics.moments.erase(found);
    }

    // The quadratics of all groups first: damping has a floor that the largest sets.
    std::vector<second_order::QuadraticBuilder> builders;
    builders.reserve(groups);
    for (std::size_t group = 0; group < groups; ++group) {
      builders.emplace_back(view.channels, view.k, weights_of(first, static_cast<std::int64_t>(group)), centred, groups == 1 ? context_.pool : nullptr);
    }
    std::vector<std::vector<Means>> means(task.layers.size(), std::vector<Means>(groups));
    second_order::for_each(context_.pool, view.groups, [&](std::int64_t i) {
      const auto group = static_cast<std::size_t>(i);
      for (std::size_t layer = 0; layer < moments.size(); ++layer) {
        data::SecondMoment moment = std::move(moments[layer][group]);
        builders[group].add(moment);
        means[layer][group] = {second_order::mean_of(moment), second_order::reference_mean_of(moment)};
      }
    });
    double largest = 0;
    for (const auto& builder : builders) largest = std::max(largest, builder.mean_diagonal());
    second_order::QuadraticOptions options;
    options.least_damping = kGroupFloor * largest;
    options.compensation = settings_.compensated ? kCompensation : 0;

    std::vector<second_order::Rounded> rounded(groups);
    std::vector<std::int64_t> dead(groups), rows(groups), limited(groups);
    std::vector<double> unlimited_distance(groups);
    const PairOrder pairs = pair_order_of(task);
    second_order::for_each(context_.pool, view.groups, [&](std::int64_t i) {
      const auto group = static_cast<std::size_t>(i);
      const second_order::Quadratic quadratic = std::move(builders[group]).finish(options);
      dead[group] = quadratic.dead;
      rows[group] = quadratic.rows;
      const auto round = [&](const second_order::Grid& grid) {
        return second_order::round_weights(quadratic, grid, present_weights(first, i), rounding_options(task, i), groups == 1 ? context_.pool : nullptr);
      };
      second_order::Grid grid = grid_of(first);
      rounded[group] = round(grid);
      grid.partner = pair_partners(pairs, first.integers.dims(), view);
      grid.pair_limit = kPairLimit;
      unlimited_distance[group] = rounded[group].distance_after;
      limited[group] = saturating(rounded[group], grid, view);
      if (limited[group] > 0) rounded[group] = second_order::within_pairs(std::move(rounded[group]), round(grid), grid);
    });
    replace(task, rounded, means, centred);

    second_order::Rounded sum;
    std::int64_t dead_columns = 0, least_rows = rows[0];
    for (std::size_t group = 0; group < groups; ++group) {
      sum.signal += rounded[group].signal;
      sum.distance_before += rounded[group].distance_before;
      sum.distance_after += rounded[group].distance_after;
      dead_columns += dead[group];
      least_rows = std::min(least_rows, rows[group]);
    }
    std::string text = fmt::format("{:.1f} dB after rounding to nearest, {:.1f} dB now", decibels(sum.signal, sum.distance_before),
                                   decibels(sum.signal, sum.distance_after));
    if (least_rows < view.k) {
      text += fmt::format("; only {} rows of samples for {} weights per channel: what they say of how inputs move together counts less, more samples would tell",
                          least_rows, view.k);
    }
    if (pairs != PairOrder::none) {
      const std::int64_t count = std::accumulate(limited.begin(), limited.end(), std::int64_t{0});
      const double unlimited = std::accumulate(unlimited_distance.begin(), unlimited_distance.end(), 0.0);
      losses_.add(model_.graph.node(first.node).name, first.integers.size(), count,
                  decibels(sum.signal, unlimited) - decibels(sum.signal, sum.distance_after));
      if (count > 0) text += fmt::format(" ({:.1f} dB with {} weights in pairs that could saturate)", decibels(sum.signal, unlimited), count);
    }
    if (dead_columns > 0) text += fmt::format("; {} of {} inputs are zero on every sample", dead_columns, view.k * view.groups);
    note(first.node, std::move(text));
    return {};
  }

  // In what order the kernels of its readers sum, which is one, since they read the same elements alike.
  [[nodiscard]] PairOrder pair_order_of(const Task& task) const {
    if (!settings_.pairs || task.first().integers.dtype() != DType::int8) return PairOrder::none;
    for (const QuantizedLayer& layer : task.layers) {
      if (const PairOrder order = pair_order(model_.graph, layer.node); order != PairOrder::none) return order;
    }
    return PairOrder::none;
  }

  // Weights in pairs that can saturate.
  static std::int64_t saturating(const second_order::Rounded& rounded, const second_order::Grid& grid, const ops::ProductView& view) {
    std::int64_t count = 0;
    if (grid.partner.empty()) return 0;
    for (std::int64_t channel = 0; channel < view.channels; ++channel) {
      for (std::int64_t i = 0; i < view.k; ++i) {
        const std::int32_t other = grid.partner[static_cast<std::size_t>(i)];
        const auto at = [&](std::int64_t column) { return rounded.weights.integers[static_cast<std::size_t>(channel * view.k + column)]; };
        if (other >= 0 && pair_saturates(at(i), at(other))) ++count;
      }
    }
    return count;
  }

  static double decibels(double signal, double noise) {
    constexpr double kMost = 200;  // no noise at all
    if (!(signal > 0)) return 0;
    return noise > 0 ? std::min(kMost, 10 * std::log10(signal / noise)) : kMost;
  }

  static std::vector<double> weights_of(const QuantizedLayer& layer, std::int64_t group) {
    const auto& view = layer.view;
    const auto values = layer.reference.values<float>();
    std::vector<double> weights;
    weights.reserve(static_cast<std::size_t>(view.channels * view.k));
    for (std::int64_t channel = 0; channel < view.channels; ++channel) {
      for (std::int64_t i = 0; i < view.k; ++i) {
        weights.push_back(static_cast<double>(values[static_cast<std::size_t>(view.weight_index(group, channel, i))]));
      }
    }
    return weights;
  }

  static std::int64_t slot(const QuantizedLayer& layer, std::int64_t group, std::int64_t channel, std::int64_t block) {
    return layer.slot[static_cast<std::size_t>((group * layer.view.channels + channel) * layer.slots + block)];
  }

  static second_order::GridWeights present_weights(const QuantizedLayer& layer, std::int64_t group) {
    second_order::GridWeights weights;
    const auto& view = layer.view;
    const auto scales = layer.scales.values<float>();
    for (std::int64_t channel = 0; channel < view.channels; ++channel) {
      for (std::int64_t i = 0; i < view.k; ++i) {
        weights.integers.push_back(static_cast<std::int8_t>(layer.integers.as_int64(view.weight_index(group, channel, i))));
      }
      for (std::int64_t block = 0; block < layer.slots; ++block) {
        weights.scales.push_back(scales[static_cast<std::size_t>(slot(layer, group, channel, block))]);
      }
    }
    return weights;
  }

  static second_order::Grid grid_of(const QuantizedLayer& layer) {
    second_order::Grid grid;
    // int8 leaves out -128, as quantize does: products with it would not fit 15 bits.
    if (layer.integers.dtype() == DType::int4) grid.low = -8, grid.high = 7;
    grid.blocks = layer.slots;
    if (layer.slots > 1) grid.block_of = layer.slot_of;
    return grid;
  }

  static second_order::RoundingOptions rounding_options(const Task& task, std::int64_t group) {
    second_order::RoundingOptions options;
    const auto& view = task.first().view;
    options.keep_scales = std::any_of(task.layers.begin(), task.layers.end(), [](const QuantizedLayer& layer) { return !layer.own_scales; });
    options.least_scale.assign(static_cast<std::size_t>(view.channels), 0.0);
    for (const QuantizedLayer& layer : task.layers) {
      if (layer.bias != QuantizedLayer::Bias::integers) continue;
      for (std::int64_t channel = 0; channel < view.channels; ++channel) {
        const float bias = layer.reference_bias[static_cast<std::size_t>(group * view.channels + channel)];
        double& least = options.least_scale[static_cast<std::size_t>(channel)];
        least = std::max(least, kBiasHeadroom * std::fabs(static_cast<double>(bias)) / (static_cast<double>(layer.input_scale) * kBiasLimit));
      }
    }
    return options;
  }

  // Writes what was found into the graph. A channel whose corrected bias would not fit its integers at some node stays as it is.
  void replace(const Task& task, const std::vector<second_order::Rounded>& rounded, const std::vector<std::vector<Means>>& means, bool centred) {
    const QuantizedLayer& first = task.first();
    const auto& view = first.view;
    Tensor integers = first.integers, scales = first.scales;
    std::vector<std::vector<float>> biases;
    for (const QuantizedLayer& layer : task.layers) biases.push_back(layer.reference_bias);
    for (std::int64_t group = 0; group < view.groups; ++group) {
      const second_order::Rounded& found = rounded[static_cast<std::size_t>(group)];
      for (std::int64_t channel = 0; channel < view.channels; ++channel) {
        const auto at = static_cast<std::size_t>(group * view.channels + channel);
        const bool moved = found.changed[static_cast<std::size_t>(channel)];
        std::vector<float> corrected(task.layers.size());
        bool fits = true;
        for (std::size_t layer = 0; centred && layer < task.layers.size(); ++layer) {
          const Means& mean = means[layer][static_cast<std::size_t>(group)];
          corrected[layer] = static_cast<float>(static_cast<double>(biases[layer][at]) + shift(first, group, channel, found.weights, mean));
          const float scale = found.weights.scales[static_cast<std::size_t>(channel * first.slots)];
          const double step = static_cast<double>(task.layers[layer].input_scale * scale);
          const bool integer = task.layers[layer].bias == QuantizedLayer::Bias::integers;
          fits = fits && std::isfinite(corrected[layer]) && (!integer || std::fabs(static_cast<double>(corrected[layer])) <= kBiasLimit * step);
        }
        if (!fits) continue;
        for (std::size_t layer = 0; centred && layer < task.layers.size(); ++layer) biases[layer][at] = corrected[layer];
        if (!moved) continue;
        for (std::int64_t i = 0; i < view.k; ++i) {
          integers.set_from_int64(view.weight_index(group, channel, i), found.weights.integers[static_cast<std::size_t>(channel * view.k + i)]);
        }
        for (std::int64_t block = 0; block < first.slots; ++block) {
          scales.set_from_double(slot(first, group, channel, block),
                                 static_cast<double>(found.weights.scales[static_cast<std::size_t>(channel * first.slots + block)]));
        }
      }
    }
    const bool changed = replace_weights(model_.graph, first, integers, scales);
    for (std::size_t layer = 0; layer < task.layers.size(); ++layer) {
      const bool corrected = centred && replace_bias(model_.graph, task.layers[layer], biases[layer], scales);
      if (changed || corrected) ++stats_.changes;
    }
  }

  // What the bias takes up: w mean(r) - v mean(x).
  static double shift(const QuantizedLayer& layer, std::int64_t group, std::int64_t channel, const second_order::GridWeights& found,
                      const Means& mean) {
    const auto& view = layer.view;
    const auto weights = layer.reference.values<float>();
    double sum = 0;
    for (std::int64_t i = 0; i < view.k; ++i) {
      const auto at = static_cast<std::size_t>(i);
      const float scale = found.scales[static_cast<std::size_t>(channel * layer.slots + layer.slot_of[at])];
      const double value = static_cast<double>(found.integers[static_cast<std::size_t>(channel * view.k) + at]) * static_cast<double>(scale);
      sum += static_cast<double>(weights[static_cast<std::size_t>(view.weight_index(group, channel, i))]) * mean.r[at] - value * mean.x[at];
    }
    return sum;
  }

  Model& model_;
  PassContext& context_;
  Settings settings_;
  PassStats stats_;
  PairLosses losses_;
  std::set<NodeId> done_;      // nodes whose weights were rounded, or are about to be
  std::vector<Task> wave_;     // layers to be measured together
  std::set<NodeId> waiting_;   // their nodes
  std::int64_t held_ = 0;
};

Result<PassStats> run(Model& model, const Options& options, PassContext& context) {
  BEVEL_TRY(const Settings settings, settings_of(options, context.recipe));
  if (context.reference == nullptr)
    return fail(ExitCode::usage, "round-weights: it needs the float model that the quantized one came from: run it after quantize");
  if (context.measure == nullptr || !context.measure->has_samples())
    return fail(ExitCode::usage, "round-weights: it needs samples to run, which a profile does not hold: give the calibration data");
  return Rounder(model, context, settings).run();
}

}  // namespace

extern const PassRecord kRoundWeights;
const PassRecord kRoundWeights = {"round-weights", "choose the integers of weights by what their layers put out", Accuracy::lossy,
                                  kOptions, run};

}  // namespace bevel::passes
