#include "passes/quantize/reader_trial.h"

#include <algorithm>

#include "lib/support/random.h"

namespace bevel::passes {

Projections project(const ops::ProductView& view, const Tensor& weights, std::int64_t most, std::uint64_t seed, const ChannelChange& change) {
  const bool combine = view.channels > most;
  Projections result;
  result.groups = view.groups;
  result.count = std::min(view.channels, most);
  result.k = view.k;
  result.vectors.assign(static_cast<std::size_t>(view.groups * result.count * view.k), 0.0);
  const auto values = weights.values<float>();
  const auto size = static_cast<std::size_t>(view.k);
  Random random(seed);
  std::vector<double> signs(static_cast<std::size_t>(result.count * view.channels), 1.0), channel_weights(size);
  for (std::int64_t group = 0; group < view.groups; ++group) {
    for (std::size_t i = 0; combine && i < signs.size(); ++i) signs[i] = (random.next() & 1) == 0 ? -1.0 : 1.0;
    for (std::int64_t channel = 0; channel < view.channels; ++channel) {
      for (std::size_t i = 0; i < size; ++i)
        channel_weights[i] = static_cast<double>(values[static_cast<std::size_t>(view.weight_index(group, channel, static_cast<std::int64_t>(i)))]);
      if (change) change(group, channel, channel_weights);
      for (std::int64_t p = combine ? 0 : channel; p < (combine ? result.count : channel + 1); ++p) {
        const double sign = signs[static_cast<std::size_t>(p * view.channels + channel)];
        double* vector = result.vectors.data() + (group * result.count + p) * view.k;
        for (std::size_t i = 0; i < size; ++i) vector[i] += sign * channel_weights[i];
      }
    }
  }
  return result;
}

std::optional<ops::ProductView> view_of_rows(const ops::Facts& facts, const Tensor& weights, const data::Rows& rows) {
  auto view = ops::product_view(facts.space, weights.dims());
  if (!view || view->groups != rows.groups || view->k != rows.k || rows.count == 0) return std::nullopt;
  return view;
}

}  // namespace bevel::passes
