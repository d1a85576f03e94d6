#include "lib/driver/explain_causes.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

#include "lib/ops/lowering.h"
#include "lib/support/random.h"
#include "passes/ranges.h"

namespace bevel::driver {
namespace {

using report::ExplainCause;

// A cause is named when it costs about a bit (6 dB) or more.
constexpr double kHalf = 0.5;
constexpr double kOneBit = 2;            // how much wider a range is than what the value needs of it
constexpr double kWideSpread = 8;        // largest range of a channel to the median one: three bits
constexpr double kLittleOfItsOwn = 0.1;  // of the accumulated error: the layer's own is 10 dB below
constexpr double kWideInterval = 3;      // dB: the figure may be half or twice the error
constexpr std::size_t kFewestSamples = 8;
constexpr double kCentral = 0.999;       // of the elements, that a range without rare ones holds

double db(double relative) { return decibels_of(relative); }

std::string named(const std::string& value) { return "\"" + printable(value, 80) + "\""; }

struct Extent {
  double low = 0, high = 0;  // with 0
  void add(double a, double b) {
    low = std::min(low, a);
    high = std::max(high, b);
  }
  [[nodiscard]] double length() const { return high - low; }
};

Extent extent_of(const data::ValueStatistics& statistics) {
  Extent extent;
  extent.add(statistics.minimum, statistics.maximum);
  return extent;
}

struct Clipped {
  double fraction = 0;  // of the elements
  double error = 0;     // mean square of what is cut off
};

Clipped clipped_by(const data::ValueStatistics& statistics, const passes::Rounding& rounding) {
  const double half = 0.5 * static_cast<double>(rounding.grid.scale), low = rounding.low(), high = rounding.high();
  double count = 0, error = 0;
  for (const auto& [index, times] : statistics.histogram.bins()) {
    const double x = data::Histogram::bin(index).middle;
    const double beyond = x < low - half ? low - x : x > high + half ? x - high : 0;
    if (beyond == 0) continue;
    count += static_cast<double>(times);
    error += static_cast<double>(times) * beyond * beyond;
  }
  const auto total = static_cast<double>(statistics.histogram.total());
  return total > 0 ? Clipped{count / total, error / total} : Clipped{};
}

// The range of the middle `part` of the elements, with 0.
Extent central(const data::ValueStatistics& statistics, double part) {
  struct At {
    double x;
    std::uint64_t count;
  };
  std::vector<At> bins;
  for (const auto& [index, count] : statistics.histogram.bins()) bins.push_back({data::Histogram::bin(index).middle, count});
  if (statistics.histogram.zeros() > 0) bins.push_back({0, statistics.histogram.zeros()});
  std::sort(bins.begin(), bins.end(), [](const At& a, const At& b) { return a.x < b.x; });
  const double cut = (1 - part) / 2 * static_cast<double>(statistics.histogram.total());
  Extent extent;
  double below = 0;
  for (const At& bin : bins) {
    const double next = below + static_cast<double>(bin.count);
    if (next > cut && below < static_cast<double>(statistics.histogram.total()) - cut) extent.add(bin.x, bin.x);
    below = next;
  }
  return extent;
}

struct Moments {
  double mean = 0, sigma = 0;
};
Moments moments_of(const data::ValueStatistics& statistics) {
  double sum = 0, squares = 0;
  for (const auto& [index, count] : statistics.histogram.bins()) {
    const double x = data::Histogram::bin(index).middle;
    sum += x * static_cast<double>(count);
    squares += x * x * static_cast<double>(count);
  }
  const auto total = static_cast<double>(statistics.histogram.total());
  if (total == 0) return {};
  const double mean = sum / total;
  return {mean, std::sqrt(std::max(0.0, squares / total - mean * mean))};
}

double median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const std::size_t middle = values.size() / 2;
  return values.size() % 2 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

double range_of(const data::ChannelStatistics& channel) {
  return std::max(0.0, static_cast<double>(channel.maximum)) - std::min(0.0, static_cast<double>(channel.minimum));
}

bool is_dead(const data::ChannelStatistics& channel) { return channel.count > 1 && channel.minimum == channel.maximum; }

// The channel without which the range would be smallest.
struct Outlier {
  std::size_t channel = 0;
  double without = 0;   // the range of the others
  double extreme = 0;
};
std::optional<Outlier> widest_channel(const std::vector<data::ChannelStatistics>& channels) {
  if (channels.size() < 3) return std::nullopt;
  std::optional<Outlier> best;
  for (std::size_t c = 0; c < channels.size(); ++c) {
    Extent others;
    for (std::size_t i = 0; i < channels.size(); ++i)
      if (i != c) others.add(channels[i].minimum, channels[i].maximum);
    const double extreme = std::abs(channels[c].maximum) >= std::abs(channels[c].minimum) ? channels[c].maximum : channels[c].minimum;
    if (!best || others.length() < best->without) best = Outlier{c, others.length(), extreme};
  }
  return best;
}

// Why rounding a value costs what it costs.
ExplainCause cause_of_rounding(const std::string& value, const passes::Rounding& rounding, const MeasuredValues& measured,
                               const std::string& whose) {
  const std::string subject = whose.empty() ? "its result" : whose + " " + named(value);
  const auto seen = measured.values.find(value);
  if (seen == measured.values.end()) return {"rounding", fmt::format("rounding {}, which was not measured", subject), {}};
  const data::ValueStatistics& statistics = seen->second;
  const double error = passes::mean_square_error(statistics.histogram, rounding.grid, rounding.qmin, rounding.qmax);
  const double grid = rounding.high() - rounding.low();
  const Extent own = extent_of(statistics);
  const Clipped clipped = clipped_by(statistics, rounding);
  if (error > 0 && clipped.error >= kHalf * error) {
    return {"clipped",
            fmt::format("{:.3g} % of the elements of {} lie outside of what its grid holds ({:.4g} to {:.4g}; the value goes from {:.4g} to "
                        "{:.4g}): cutting them off is {:.0f} % of the rounding error",
                        100 * clipped.fraction, subject, rounding.low(), rounding.high(), statistics.minimum, statistics.maximum,
                        100 * std::min(1.0, clipped.error / error)),
            {{"fraction", clipped.fraction}, {"low", rounding.low()}, {"high", rounding.high()}, {"error_share", std::min(1.0, clipped.error / error)}}};
  }
  if (own.length() * kOneBit <= grid) {
    const MeasuredValues::Rounded* wider = nullptr;
    double widest = 0;
    for (const MeasuredValues::Rounded& other : measured.rounded) {
      const auto found = measured.values.find(other.value);
      if (other.value == value || !(other.rounding == rounding) || found == measured.values.end()) continue;
      const double length = extent_of(found->second).length();
      if (length > std::max(widest, kOneBit * own.length())) {
        widest = length;
        wider = &other;
      }
    }
    if (wider != nullptr) {
      return {"shared-scale",
              fmt::format("{} shares its scale with the wider branch {}: its own range of {:.4g} takes {:.0f} of the {} steps, {:.1f} bits are lost",
                          subject, named(wider->value), own.length(), own.length() / static_cast<double>(rounding.grid.scale),
                          rounding.qmax - rounding.qmin + 1, std::log2(grid / std::max(own.length(), 1e-30))),
              {{"own_range", own.length()}, {"grid_range", grid}, {"bits_lost", std::log2(grid / std::max(own.length(), 1e-30))}}};
    }
  }
  const Moments moments = moments_of(statistics);
  const auto found = measured.channels.find(value);
  const std::vector<data::ChannelStatistics> none;
  const std::vector<data::ChannelStatistics>& channels = found == measured.channels.end() ? none : found->second;
  const auto outlier = widest_channel(channels);
  if (outlier && outlier->without <= kHalf * own.length() && outlier->without < grid) {
    const double reach = std::min(grid, own.length());
    const double stretched = std::max(0.0, 1 - outlier->without / reach);
    if (stretched >= kHalf) {
      const double sigmas = moments.sigma > 0 ? std::abs(outlier->extreme - moments.mean) / moments.sigma : 0;
      return {"range-outlier",
              fmt::format("channel {} of {} reaches {:.4g}, {:.1f} sigmas from the mean, and makes up {:.0f} % of the range: the other {} channels "
                          "keep to {:.4g}",
                          outlier->channel, subject, outlier->extreme, sigmas, 100 * stretched, channels.size() - 1, outlier->without),
              {{"channel", static_cast<double>(outlier->channel)}, {"sigmas", sigmas}, {"stretched", stretched}, {"others_range", outlier->without}}};
    }
  }
  std::vector<double> ranges;
  for (const auto& channel : channels)
    if (range_of(channel) > 0) ranges.push_back(range_of(channel));
  if (ranges.size() >= 3) {
    const double middle = median(ranges), largest = *std::max_element(ranges.begin(), ranges.end());
    if (middle > 0 && largest >= kWideSpread * middle) {
      return {"channel-spread",
              fmt::format("the channels of {} differ: the largest range, {:.4g}, is {:.1f} times the median one, for which {:.0f} of the steps are left",
                          subject, largest, largest / middle, middle / static_cast<double>(rounding.grid.scale)),
              {{"ratio", largest / middle}, {"largest", largest}, {"median", middle}}};
    }
  }
  const Extent most = central(statistics, kCentral);
  if (most.length() * kOneBit <= std::min(grid, own.length())) {
    const double extreme = std::abs(statistics.maximum) >= std::abs(statistics.minimum) ? statistics.maximum : statistics.minimum;
    const double sigmas = moments.sigma > 0 ? std::abs(extreme - moments.mean) / moments.sigma : 0;
    const double stretched = 1 - most.length() / std::min(grid, own.length());
    std::map<std::string, double> figures{{"sigmas", sigmas}, {"stretched", stretched}, {"others_range", most.length()}};
    std::string where;
    for (std::size_t c = 0; c < channels.size() && where.empty(); ++c) {
      if (channels[c].maximum != extreme && channels[c].minimum != extreme) continue;
      where = fmt::format(" (channel {})", c);
      figures["channel"] = static_cast<double>(c);
    }
    return {"range-outlier",
            fmt::format("few elements of {} stretch its range: the largest, {:.4g}{}, is {:.1f} sigmas from the mean, and {:.1f} % of them lie within "
                        "{:.0f} % of the grid",
                        subject, extreme, where, sigmas, 100 * kCentral, 100 * (1 - stretched)),
            std::move(figures)};
  }
  const double steps = moments.sigma / static_cast<double>(rounding.grid.scale);
  return {"rounding",
          fmt::format("rounding {}: nothing stands out, and a sigma of it is {:.1f} steps of {:.4g}", subject, steps, rounding.grid.scale),
          {{"steps_per_sigma", steps}, {"step", static_cast<double>(rounding.grid.scale)}}};
}

// What the stored integers of a layer look like, by output channel.
struct WeightLook {
  int bits = 8;
  bool per_channel = false;
  std::vector<double> largest, levels, crest;  // |q|, distinct integers, largest to root mean square; of channels that are not all zero
  std::vector<std::size_t> channel;            // of each of these
  std::size_t zero = 0;                        // channels that are
};

std::optional<WeightLook> look_at_weights(const passes::ComparedLayer& layer, const Model& model) {
  const Tensor* integers = layer.weights.valid() ? model.graph.constant(layer.weights) : nullptr;
  if (integers == nullptr || integers->size() == 0) return std::nullopt;
  const Node& node = model.graph.node(layer.dequantizer);
  const Tensor* zero_point = node.inputs.size() > 2 ? model.graph.constant(node.inputs[2]) : nullptr;
  WeightLook look;
  look.bits = dtype_bits(integers->dtype());
  const Tensor* scale = model.graph.constant(node.inputs[1]);
  look.per_channel = scale != nullptr && scale->size() > 1;
  const auto axis = static_cast<std::size_t>(layer.weight_axis);
  const bool along = layer.weight_axis >= 0 && axis < integers->rank();
  const std::int64_t channels = along ? integers->dim(axis) : 1;
  std::int64_t inner = 1;
  for (std::size_t i = axis + 1; along && i < integers->rank(); ++i) inner *= integers->dim(i);
  struct Sums {
    std::int64_t largest = 0, squares = 0, count = 0;
    std::set<std::int64_t> levels;
  };
  std::vector<Sums> sums(static_cast<std::size_t>(channels));
  for (std::int64_t i = 0; i < integers->size(); ++i) {
    const auto c = static_cast<std::size_t>(along ? i / inner % channels : 0);
    std::int64_t zero = 0;
    if (zero_point != nullptr && zero_point->size() == 1) zero = zero_point->as_int64(0);
    else if (zero_point != nullptr && zero_point->size() == channels) zero = zero_point->as_int64(static_cast<std::int64_t>(c));
    const std::int64_t q = integers->as_int64(i) - zero;
    sums[c].largest = std::max(sums[c].largest, std::abs(q));
    sums[c].squares += q * q;
    ++sums[c].count;
    sums[c].levels.insert(q);
  }
  for (std::size_t c = 0; c < sums.size(); ++c) {
    if (sums[c].largest == 0) {
      ++look.zero;
      continue;
    }
    look.channel.push_back(c);
    look.largest.push_back(static_cast<double>(sums[c].largest));
    look.levels.push_back(static_cast<double>(sums[c].levels.size()));
    look.crest.push_back(static_cast<double>(sums[c].largest) /
                         std::sqrt(static_cast<double>(sums[c].squares) / static_cast<double>(sums[c].count)));
  }
  return look;
}

ExplainCause cause_of_weights(const passes::ComparedLayer& layer, const LayerErrors& errors, const Model& model) {
  const std::string share = fmt::format("its integer weights alone reach {:.1f} dB", db(*errors.weights));
  const auto look = look_at_weights(layer, model);
  if (!look || look->largest.empty()) return {"weights", share, {{"weights_db", db(*errors.weights)}}};
  const double levels = median(look->levels);
  std::map<std::string, double> figures{{"bits", static_cast<double>(look->bits)}, {"median_levels", levels}, {"weights_db", db(*errors.weights)}};
  if (look->bits < 8) {
    return {"low-bit-weights", fmt::format("{}: {} bits, of whose {} levels the median channel uses {:.0f}", share, look->bits, (1 << look->bits) - 1, levels),
            std::move(figures)};
  }
  const double middle = median(look->largest), largest = *std::max_element(look->largest.begin(), look->largest.end());
  if (!look->per_channel && middle > 0 && largest >= kOneBit * middle) {
    figures["ratio"] = largest / middle;
    return {"weights",
            fmt::format("{}: one scale for all output channels, of which the largest is {:.1f} times the median one; that uses {:.0f} levels", share,
                        largest / middle, levels),
            std::move(figures)};
  }
  const auto worst = std::max_element(look->crest.begin(), look->crest.end()) - look->crest.begin();
  const std::size_t channel = look->channel[static_cast<std::size_t>(worst)];
  figures["crest"] = look->crest[static_cast<std::size_t>(worst)];
  figures["channel"] = static_cast<double>(channel);
  return {"weights",
          fmt::format("{}: weights spread within a channel (in channel {} the largest is {:.1f} times their root mean square); the median channel uses "
                      "{:.0f} levels",
                      share, channel, look->crest[static_cast<std::size_t>(worst)], levels),
          std::move(figures)};
}

void add_dead_channels(const std::string& value, const MeasuredValues& measured, std::vector<ExplainCause>& causes) {
  const auto found = measured.channels.find(value);
  if (found == measured.channels.end() || found->second.size() < 2) return;
  std::vector<std::size_t> dead;
  for (std::size_t c = 0; c < found->second.size(); ++c)
    if (is_dead(found->second[c])) dead.push_back(c);
  if (dead.empty()) return;
  constexpr std::size_t kListed = 8;
  std::string list;
  for (std::size_t i = 0; i < std::min(dead.size(), kListed); ++i) list += fmt::format("{}{}", i ? ", " : "", dead[i]);
  causes.push_back({"dead-channels",
                    fmt::format("{} of {} channels of its result never change ({}{}): they take room and carry nothing", dead.size(),
                                found->second.size(), list, dead.size() > kListed ? ", ..." : ""),
                    {{"count", static_cast<double>(dead.size())}, {"channels", static_cast<double>(found->second.size())}}});
}

void add_too_few_samples(const std::vector<data::Difference>& samples, std::vector<ExplainCause>& causes) {
  const SqnrInterval interval = bootstrap(samples);
  const bool wide = interval.high - interval.low > kWideInterval;
  if (!wide && samples.size() >= kFewestSamples) return;
  causes.push_back({"too-few-samples",
                    fmt::format("{} samples say little of it: 90 % of resampled sets of as many give an SQNR between {:.1f} and {:.1f} dB", samples.size(),
                                interval.low, interval.high),
                    {{"samples", static_cast<double>(samples.size())}, {"low_db", interval.low}, {"high_db", interval.high}}});
}

// The part of a layer's own error that costs most.
ExplainCause main_cause(const passes::ComparedLayer& layer, const LayerErrors& errors, const MeasuredValues& measured, const Model& model) {
  const auto relative = [&](const std::string& value, const std::optional<passes::Rounding>& rounding) {
    const auto seen = measured.values.find(value);
    if (!rounding || seen == measured.values.end()) return 0.0;
    const double energy = passes::mean_square(seen->second.histogram);
    return energy > 0 ? passes::mean_square_error(seen->second.histogram, rounding->grid, rounding->qmin, rounding->qmax) / energy : 0.0;
  };
  const double weights = errors.weights.value_or(0), result = relative(layer.reference_value, layer.rounding);
  const double inputs = std::max(0.0, errors.alone - weights - result);
  if (errors.weights && weights > 0 && weights >= result && weights >= inputs) return cause_of_weights(layer, errors, model);
  const passes::ComparedLayer::Input* worst = nullptr;
  for (const auto& input : layer.inputs)
    if (input.rounding && (worst == nullptr || relative(input.reference_value, input.rounding) > relative(worst->reference_value, worst->rounding)))
      worst = &input;
  if (worst != nullptr && (inputs > result || !layer.rounding))
    return cause_of_rounding(worst->reference_value, *worst->rounding, measured, "its input");
  if (layer.rounding) return cause_of_rounding(layer.reference_value, *layer.rounding, measured, "");
  return {"rounding", "scales that are computed as it runs, for all elements of what it reads at once", {}};
}

}  // namespace

double decibels_of(double relative_error) {
  return relative_error > 0 ? -10 * std::log10(relative_error) : std::numeric_limits<double>::infinity();
}

SqnrInterval bootstrap(const std::vector<data::Difference>& samples) {
  constexpr std::size_t kResamples = 200;
  std::vector<double> figures;
  Random random(0x5eed);
  for (std::size_t i = 0; i < kResamples && !samples.empty(); ++i) {
    double signal = 0, noise = 0;
    for (std::size_t k = 0; k < samples.size(); ++k) {
      const data::Difference& one = samples[random.below(samples.size())];
      signal += one.signal;
      noise += one.noise;
    }
    figures.push_back(decibels_of(signal > 0 ? noise / signal : 0));
  }
  if (figures.empty()) return {};
  std::sort(figures.begin(), figures.end());
  return {figures[kResamples / 20], figures[kResamples - 1 - kResamples / 20]};
}

std::vector<report::ExplainCause> causes_of(const passes::ComparedLayer& layer, const LayerErrors& errors, const MeasuredValues& measured,
                                            const Model& model) {
  std::vector<report::ExplainCause> causes;
  if (errors.alone == 0 && errors.accumulated == 0) {
    causes.push_back({"exact", "no error: every element is as in float", {}});
  } else {
    if (errors.alone < kLittleOfItsOwn * errors.accumulated) {
      causes.push_back({"accumulated",
                        fmt::format("accumulated from before: its own error is small ({:.1f} dB), what it reads brings the {:.1f} dB", db(errors.alone),
                                    db(errors.accumulated)),
                        {{"alone_db", db(errors.alone)}, {"accumulated_db", db(errors.accumulated)}}});
    }
    if (errors.alone > 0) causes.push_back(main_cause(layer, errors, measured, model));
  }
  add_dead_channels(layer.reference_value, measured, causes);
  if (errors.alone > 0) add_too_few_samples(errors.alone_samples, causes);
  return causes;
}

}  // namespace bevel::driver
