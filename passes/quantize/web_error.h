// What scaling a web's channels does to the error of its readers' results.
#pragma once

#include <optional>
#include <vector>

#include "lib/data/measure.h"
#include "passes/quantize/channel_webs.h"
#include "passes/quantize/reader_trial.h"
#include "passes/quantize/weights.h"
#include "passes/ranges.h"
#include "passes/recipe.h"

namespace bevel::passes {

using Factors = std::vector<double>;  // one per class of a web

class WebError {
 public:
  // Adds to a request what is to be measured of a web.
  static void ask(const Graph& graph, const ChannelWeb& web, data::Request& request);
  // nullopt: the samples do not tell. All but the recipe must outlive it.
  static std::optional<WebError> of(const Graph& graph, const ChannelWeb& web, const std::vector<ops::Facts>& facts, const Recipe& recipe,
                                    const data::Statistics& statistics);

  // By class: the largest magnitude over the samples of what is rounded, and of the weights that read it.
  [[nodiscard]] const Factors& magnitudes() const { return magnitudes_; }
  [[nodiscard]] const Factors& weights() const { return weights_; }
  // Of a member, by index along its axis; nullptr: not measured.
  [[nodiscard]] const std::vector<data::ChannelStatistics>* channels(std::size_t member) const { return channels_[member]; }

  // The sum over the readers of the relative errors of their results, when what they read is divided by the factors and rounded to 8 bits, and
  // their weights are multiplied by them and rounded to the recipe's format; each on the best of some grids.
  [[nodiscard]] double least(const Factors& factors) const;

 private:
  struct Trial {
    const ChannelWeb::Reader* reader = nullptr;
    const data::Rows* rows = nullptr;
    const Tensor* weights = nullptr;
    ops::ProductView view;
    WeightFormat format;
    std::vector<std::int32_t> classes;  // [groups][k]
    Projections exact;
    double signal = 0;
  };
  explicit WebError(const ChannelWeb& web) : web_(&web), channels_(web.members.size(), nullptr) {}
  [[nodiscard]] Range range_of(std::size_t member, const Factors& factors) const;
  [[nodiscard]] double least_of(const Trial& trial, const Factors& factors) const;

  const ChannelWeb* web_;
  std::vector<const std::vector<data::ChannelStatistics>*> channels_;  // by member
  std::vector<Trial> trials_;
  Factors magnitudes_, weights_;
};

}  // namespace bevel::passes
