// equalize-channels: a value's channels scaled against each other before it is rounded.
//
// What it does. Channel c of what a layer makes is divided by s[c] there (weights and bias; a normalization's scale and shift), and multiplied back in the
// weights of those that read it. Between them may lie whatever commutes with positive factors: rectifiers of any slope, pooling, sums, whose
// operands then share their factors, concatenations, whose parts keep their own, depthwise layers, which are read and make (channel_webs.h). The
// float function stays what it was, up to rounding. s[c] = r[c]^a / w[c]^(1-a), r the channel's largest magnitude over the samples, w that of
// the weights that read it; the strength a is searched per web, and a scaling is kept only where it lowers the error that the
// readers' results would have with 8-bit inputs and the recipe's weights, measured on rows of the samples.
//
// A clamp at a bound other than 0 (ReLU6) does not commute. It stays where it is: a channel that reaches it on some sample keeps the factor 1, and one that
// does not may be made smaller, for which the bound is wider than it was, never larger. Removing the clamp would change the function, and enlarging a
// channel would cut off what it never reached on the samples.
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
// Limits. Needs samples, and weight scales per channel. Graph outputs keep the factor 1, and so does what is made or read by anything that does
// not commute. Biases are not absorbed into the next layer (section 4.1.2 there): tried on the same rows, it lowered their error and the
// outputs' SQNR with it (ad 41.4 dB to 40.0, vww 36.2 to 35.9, kws the same), since a shift that fits the samples cuts off others.
#include <algorithm>
#include <cmath>
#include <optional>

#include "lib/support/worker_pool.h"
#include "passes/pass.h"
#include "passes/quantize/channel_webs.h"
#include "passes/quantize/selection.h"
#include "passes/quantize/web_error.h"

namespace bevel::passes {
namespace {

constexpr double kStrengths[] = {0.25, 0.5, 0.75, 1.0};
constexpr double kWorthwhile = 0.95;     // of the error before: less is noise
constexpr double kLargestFactor = 4096;  // between two channels
constexpr double kClampMargin = 1.25;    // a channel that comes so near to a clamp's bound on the samples reaches it

struct Limits {
  std::vector<bool> fixed;     // by class
  std::vector<bool> clamped;   // by class: it may not grow, so that the clamp does not cut off more
};

Limits limits_of(const ChannelWeb& web, const WebError& errors) {
  Limits limits{web.fixed, std::vector<bool>(web.classes, false)};
  for (const ChannelWeb::Clamp& clamp : web.clamps) {
    const ChannelWeb::Member& member = web.members[clamp.member];
    const auto* seen = errors.channels(clamp.member);
    const auto bounds = [](double bound) { return std::isfinite(bound) && bound != 0; };
    for (std::size_t c = 0; c < member.classes.size(); ++c) {
      const auto at = static_cast<std::size_t>(member.classes[c]);
      const bool low = bounds(clamp.bounds.low), high = bounds(clamp.bounds.high);
      if (!low && !high) continue;
      limits.clamped[at] = true;
      if (seen == nullptr || (high && kClampMargin * static_cast<double>((*seen)[c].maximum) >= clamp.bounds.high) ||
          (low && kClampMargin * static_cast<double>((*seen)[c].minimum) <= clamp.bounds.low))
        limits.fixed[at] = true;
    }
  }
  return limits;
}

// r^a / w^(1-a), in proportion to the largest that must be 1, else to the largest, or where a clamp is to be no narrower, to the least; 1 for channels that are
// never anything but zero.
Factors factors_of(const WebError& errors, const Limits& limits, double strength) {
  const Factors &activations = errors.magnitudes(), &weights = errors.weights();
  Factors factors(activations.size(), 1.0);
  const double heaviest = *std::max_element(weights.begin(), weights.end());
  const auto dead = [&](std::size_t c) { return !(activations[c] > 0) || !((limits.fixed[c] && weights[c] == 0 ? heaviest : weights[c]) > 0); };
  // Powers by square roots alone, whose bits are the same everywhere: strengths are quarters.
  const auto power = [](double x, double quarters) {
    double result = 1;
    const double root = std::sqrt(x), fourth = std::sqrt(root);
    for (int i = 0; i < static_cast<int>(quarters); ++i) result *= fourth;
    return result;
  };
  double highest = 0, highest_fixed = 0, lowest_clamped = 0;
  for (std::size_t c = 0; c < factors.size(); ++c) {
    if (dead(c)) continue;
    factors[c] = power(activations[c], 4 * strength) / power(weights[c] > 0 ? weights[c] : heaviest, 4 - 4 * strength);
    double& over = limits.fixed[c] ? highest_fixed : highest;
    over = std::max(over, factors[c]);
    if (limits.clamped[c] && !limits.fixed[c] && (lowest_clamped == 0 || factors[c] < lowest_clamped)) lowest_clamped = factors[c];
  }
  const double unit = highest_fixed > 0 ? highest_fixed : lowest_clamped > 0 ? std::max(lowest_clamped, highest / kLargestFactor) : highest;
  for (std::size_t c = 0; c < factors.size(); ++c) {
    if (dead(c) || limits.fixed[c] || unit == 0) {
      factors[c] = 1;
      continue;
    }
    const double wanted = std::clamp(factors[c] / unit, 1 / kLargestFactor, kLargestFactor);
    // As floats, so that what the weights are multiplied and divided by is one number.
    factors[c] = static_cast<double>(static_cast<float>(limits.clamped[c] ? std::max(wanted, 1.0) : wanted));
  }
  return factors;
}

struct Choice {
  double before = 0, after = 0;
  Factors factors;  // empty: as it is
};

Choice choose(const ChannelWeb& web, const WebError& errors) {
  Choice choice;
  const Factors unit(web.classes, 1.0);
  choice.before = choice.after = errors.least(unit);
  const Limits limits = limits_of(web, errors);
  const bool free = std::all_of(web.readers.begin(), web.readers.end(), [](const ChannelWeb::Reader& r) { return r.spreads_freely; });
  for (const double strength : kStrengths) {
    if (free && strength < 1) continue;
    Factors factors = factors_of(errors, limits, strength);
    if (factors == unit) continue;
    const double error = errors.least(factors);
    if (error >= choice.after || error >= choice.before * kWorthwhile) continue;
    choice.after = error;
    choice.factors = std::move(factors);
  }
  return choice;
}

void scale(Graph& graph, ValueId id, const std::vector<std::int32_t>& classes, const Factors& factors, bool divide) {
  Tensor constant = *graph.constant(id);
  if (constant.size() == 1 && classes.size() > 1) {
    const std::vector<float> all(classes.size(), constant.values<float>()[0]);
    constant = Tensor::of<float>({static_cast<std::int64_t>(all.size())}, all);
  }
  auto values = constant.mutable_values<float>();
  for (std::size_t e = 0; e < values.size(); ++e) {
    const double factor = factors[static_cast<std::size_t>(classes[e])];
    values[e] = static_cast<float>(divide ? static_cast<double>(values[e]) / factor : static_cast<double>(values[e]) * factor);
  }
  graph.set_constant(id, std::move(constant));
}

void apply(Graph& graph, const ChannelWeb& web, const Factors& factors) {
  for (const ChannelWeb::Made& made : web.made) scale(graph, made.constant, made.classes, factors, true);
  for (const ChannelWeb::Reader& reader : web.readers) {
    const auto& of = web.members[reader.member].classes;
    std::vector<std::int32_t> classes;
    classes.reserve(reader.channels.size());
    for (const std::int32_t channel : reader.channels) classes.push_back(of[static_cast<std::size_t>(channel)]);
    scale(graph, graph.node(reader.node).inputs[1], classes, factors, false);
  }
}

Result<PassStats> run(Model& model, const Options&, PassContext& context) {
  if (context.measure == nullptr || !context.measure->has_samples())
    return fail(ExitCode::usage, "equalize-channels: it needs calibration samples");
  const Recipe recipe = context.recipe != nullptr ? *context.recipe : Recipe();
  PassStats stats;
  if (!recipe.per_channel) return stats;
  const std::vector<ops::Facts> facts = all_facts(model);
  BEVEL_TRY(const Selection selection, select_nodes(model, facts, recipe, ""));
  const std::vector<ChannelWeb> webs = find_channel_webs(model, facts, selection);
  if (webs.empty()) return stats;
  data::Request request;
  for (const ChannelWeb& web : webs) WebError::ask(model.graph, web, request);
  BEVEL_TRY(const data::Statistics statistics, context.measure->measure(model, request));

  // Each by itself on the model as it is: a web's factors leave the values of all others what they are.
  std::vector<std::optional<Choice>> choices(webs.size());
  const auto look = [&](std::size_t i, unsigned) {
    const auto errors = WebError::of(model.graph, webs[i], facts, recipe, statistics);
    if (errors) choices[i] = choose(webs[i], *errors);
  };
  if (context.pool != nullptr) {
    context.pool->for_each(webs.size(), look);
  } else {
    for (std::size_t i = 0; i < webs.size(); ++i) look(i, 0);
  }
  for (std::size_t i = 0; i < webs.size(); ++i) {
    if (!choices[i] || choices[i]->factors.empty()) continue;
    apply(model.graph, webs[i], choices[i]->factors);
    ++stats.changes;
    const Node& maker = model.graph.node(webs[i].maker);
    stats.notes.push_back({maker.name, maker.op_type, fmt::format("channels equalized: the error of what reads them falls to {:.1f} %",
                                                                  100 * choices[i]->after / choices[i]->before)});
  }
  return stats;
}

}  // namespace

extern const PassRecord equalize_channels;
const PassRecord equalize_channels = {"equalize-channels", "channels of activations scaled against each other, where that lowers the error of 8 bits",
                                      Accuracy::rounding, {}, run};

}  // namespace bevel::passes
