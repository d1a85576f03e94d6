#include "passes/quantize/web_error.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

namespace bevel::passes {
namespace {

constexpr std::uint64_t kSeed = 1;
constexpr std::int64_t kProjections = 16;  // combinations of channels that are looked at: with 64 it was no better on three networks
// Parts of the whole range: clipping pays where a few large values stretch it.
constexpr double kParts[] = {1.0, 0.85, 0.7, 0.55};

// Members whose ranges matter: read, rounded on the way, or clamped.
std::set<std::size_t> members_to_measure(const ChannelWeb& web) {
  std::set<std::size_t> members;
  for (const ChannelWeb::Reader& reader : web.readers) {
    members.insert(reader.member);
    const auto& before = web.members[reader.member].rounded_before;
    members.insert(before.begin(), before.end());
  }
  for (const ChannelWeb::Clamp& clamp : web.clamps) members.insert(clamp.member);
  return members;
}

double magnitude(const data::ChannelStatistics& channel) {
  return std::max(std::fabs(static_cast<double>(channel.minimum)), std::fabs(static_cast<double>(channel.maximum)));
}

}  // namespace

void WebError::ask(const Graph& graph, const ChannelWeb& web, data::Request& request) {
  for (const std::size_t member : members_to_measure(web)) {
    const data::ChannelKey key{graph.value(web.members[member].value).name, web.members[member].axis};
    if (std::find(request.channels.begin(), request.channels.end(), key) == request.channels.end()) request.channels.push_back(key);
  }
  for (const ChannelWeb::Reader& reader : web.readers) request.rows.push_back({graph.node(reader.node).name, 0});
}

std::optional<WebError> WebError::of(const Graph& graph, const ChannelWeb& web, const std::vector<ops::Facts>& facts, const Recipe& recipe,
                                     const data::Statistics& statistics) {
  WebError result(web);
  result.magnitudes_.assign(web.classes, 0.0);
  result.weights_.assign(web.classes, 0.0);
  for (const std::size_t member : members_to_measure(web)) {
    const auto& info = web.members[member];
    const auto seen = statistics.channels.find({graph.value(info.value).name, info.axis});
    if (seen == statistics.channels.end() || seen->second.size() != info.classes.size()) return std::nullopt;
    result.channels_[member] = &seen->second;
    for (std::size_t c = 0; c < info.classes.size(); ++c) {
      double& largest = result.magnitudes_[static_cast<std::size_t>(info.classes[c])];
      largest = std::max(largest, magnitude(seen->second[c]));
    }
  }
  for (const ChannelWeb::Reader& reader : web.readers) {
    const Node& node = graph.node(reader.node);
    const auto rows = statistics.rows.find({node.name, 0});
    if (rows == statistics.rows.end()) return std::nullopt;
    Trial trial;
    trial.reader = &reader;
    trial.rows = &rows->second;
    trial.weights = graph.constant(node.inputs[1]);
    const auto view = view_of_rows(facts[reader.node.index], *trial.weights, rows->second);
    if (!view) return std::nullopt;
    trial.view = *view;
    trial.format = weight_format(recipe, node.name);
    const auto& of = web.members[reader.member].classes;
    for (std::int64_t group = 0; group < view->groups; ++group)
      for (std::int64_t i = 0; i < view->k; ++i)
        trial.classes.push_back(of[static_cast<std::size_t>(reader.channels[static_cast<std::size_t>(view->weight_index(group, 0, i))])]);
    trial.exact = project(*view, *trial.weights, kProjections, kSeed);
    for (std::int64_t group = 0; group < view->groups; ++group) {
      for (std::int64_t p = 0; p < trial.exact.count; ++p) {
        Energy energy;
        const double* vector = trial.exact.of(group, p);
        for (std::int64_t row = 0; row < rows->second.count; ++row) {
          const float* x = rows->second.values.data() + (group * rows->second.count + row) * view->k;
          double y = 0;
          for (std::int64_t i = 0; i < view->k; ++i) y += vector[i] * static_cast<double>(x[i]);
          energy.add(y);
        }
        trial.signal += energy.get(true);
      }
    }
    const auto values = trial.weights->values<float>();
    for (std::size_t e = 0; e < values.size(); ++e) {
      double& largest = result.weights_[static_cast<std::size_t>(of[static_cast<std::size_t>(reader.channels[e])])];
      largest = std::max(largest, std::fabs(static_cast<double>(values[e])));
    }
    result.trials_.push_back(std::move(trial));
  }
  return result;
}

Range WebError::range_of(std::size_t member, const Factors& factors) const {
  const auto& classes = web_->members[member].classes;
  double low = 0, high = 0;
  for (std::size_t c = 0; c < classes.size(); ++c) {
    const auto at = static_cast<std::size_t>(classes[c]);
    low = std::min(low, static_cast<double>((*channels_[member])[c].minimum) / factors[at]);
    high = std::max(high, static_cast<double>((*channels_[member])[c].maximum) / factors[at]);
  }
  return {static_cast<float>(low), static_cast<float>(high)};
}

double WebError::least(const Factors& factors) const {
  double sum = 0;
  for (const Trial& trial : trials_) sum += least_of(trial, factors);
  return sum;
}

double WebError::least_of(const Trial& trial, const Factors& factors) const {
  if (!(trial.signal > 0)) return 0;
  const std::int64_t k = trial.view.k;
  const auto size = static_cast<std::size_t>(k);
  const auto class_at = [&](std::int64_t group, std::int64_t i) { return static_cast<std::size_t>(trial.classes[static_cast<std::size_t>(group * k + i)]); };
  // What rounding the scaled weights changes.
  const Projections off = project(trial.view, *trial.weights, kProjections, kSeed, [&](std::int64_t group, std::int64_t, std::vector<double>& weights) {
    double largest = 0;
    for (std::int64_t i = 0; i < k; ++i) {
      double& w = weights[static_cast<std::size_t>(i)];
      w *= factors[class_at(group, i)];
      largest = std::max(largest, std::fabs(w));
    }
    const double step = largest > 0 ? largest / trial.format.qmax : 1;
    for (double& w : weights) w = std::nearbyint(w / step) * step - w;
  });
  const auto& member = web_->members[trial.reader->member];
  // Variance that a class inherits of members rounded before, in scaled units.
  std::vector<double> inherited(web_->classes, 0.0);
  for (const std::size_t before : member.rounded_before) {
    const ScaleZeroPoint grid = affine_grid(range_of(before, factors), 0, 255);
    const double variance = static_cast<double>(grid.scale) * static_cast<double>(grid.scale) / 12;
    std::vector<bool> counted(web_->classes, false);
    for (const std::int32_t c : web_->members[before].classes) {
      if (!counted[static_cast<std::size_t>(c)]) inherited[static_cast<std::size_t>(c)] += variance;
      counted[static_cast<std::size_t>(c)] = true;
    }
  }
  const Range whole = range_of(trial.reader->member, factors);
  double least = std::numeric_limits<double>::infinity();
  std::vector<double> inverse(size), forward(size), variance(size), quantized(size), error(size);
  for (const double part : kParts) {
    const ScaleZeroPoint grid = affine_grid({static_cast<float>(part * static_cast<double>(whole.low)), static_cast<float>(part * static_cast<double>(whole.high))}, 0, 255);
    const double scale = static_cast<double>(grid.scale), steps = 1 / scale;
    double noise = 0;
    for (std::int64_t group = 0; group < trial.view.groups && noise < least * trial.signal; ++group) {
      for (std::size_t i = 0; i < size; ++i) {
        const std::size_t at = class_at(group, static_cast<std::int64_t>(i));
        forward[i] = factors[at];
        inverse[i] = 1 / factors[at];
        variance[i] = inherited[at];
      }
      std::vector<Energy> energies(static_cast<std::size_t>(off.count));
      for (std::int64_t row = 0; row < trial.rows->count; ++row) {
        const float* values = trial.rows->values.data() + (group * trial.rows->count + row) * k;
        for (std::size_t i = 0; i < size; ++i) {
          const double x = static_cast<double>(values[i]) * inverse[i];
          quantized[i] = (std::clamp<double>(std::nearbyint(x * steps) + grid.zero_point, 0, 255) - grid.zero_point) * scale;
          error[i] = (quantized[i] - x) * forward[i];
        }
        for (std::int64_t p = 0; p < off.count; ++p) {
          const double *exact = trial.exact.of(group, p), *rounded = off.of(group, p);
          double sum = 0;
          for (std::size_t i = 0; i < size; ++i) sum += exact[i] * error[i] + rounded[i] * quantized[i];
          energies[static_cast<std::size_t>(p)].add(sum);
        }
      }
      for (std::int64_t p = 0; p < off.count; ++p) {
        noise += energies[static_cast<std::size_t>(p)].get(true);  // about the mean: biases are corrected later
        const double* exact = trial.exact.of(group, p);
        for (std::size_t i = 0; i < size; ++i)
          noise += static_cast<double>(trial.rows->count) * exact[i] * exact[i] * forward[i] * forward[i] * variance[i];
      }
    }
    least = std::min(least, noise / trial.signal);
  }
  return least;
}

}  // namespace bevel::passes
