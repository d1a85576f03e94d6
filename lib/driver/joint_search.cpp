#include "lib/driver/joint_search.h"

#include <algorithm>
#include <limits>
#include <map>
#include <optional>

#include "lib/report/report.h"
#include "lib/support/check.h"

namespace bevel::driver {
namespace {

constexpr int kTightenings = 4;       // of limits that a choice turned out to be above
constexpr std::int64_t kFineness = 128;  // parts of the range of costs that bisection goes down to

class JointSearch {
 public:
  JointSearch(const ChoiceProblem& problem, const MeasureTogether& measure, const NameGroup& name, const JointSettings& settings)
      : problem_(problem), measure_(measure), name_(name), settings_(settings), most_cost_(problem.limits[0].most) {}

  Result<JointChoice> run(const std::vector<std::size_t>& start) {
    for (const auto& group : problem_.groups) {
      const auto [low, high] = std::minmax_element(group.begin(), group.end(), [](const auto& a, const auto& b) { return a.uses[0] < b.uses[0]; });
      lowest_ += low->uses[0];
      highest_ += high->uses[0];
    }
    highest_ = std::min(highest_, most_cost_);
    BEVEL_TRY_STATUS(bisect(start));
    BEVEL_TRY_STATUS(give_back());
    BEVEL_TRY_STATUS(take_more());
    const Tried& last = holding_ ? *holding_ : *least_;
    result_.options = last.options;
    result_.drop = last.drop;
    result_.held = holding_.has_value();
    result_.mended = last.mended;
    return std::move(result_);
  }

 private:
  struct Tried {
    std::vector<std::size_t> options;
    std::vector<bool> mended;
    std::int64_t cost = 0;
    double drop = 0;
    bool held = false, fits = true;
  };

  [[nodiscard]] std::int64_t cost_of(const std::vector<std::size_t>& options) const { return uses_of(problem_, options)[0]; }

  Result<JointMeasure> measured(const std::vector<std::size_t>& options, const std::string& what) {
    if (const auto known = known_.find(options); known != known_.end()) return known->second;
    BEVEL_TRY(const JointMeasure found, measure_(options));
    known_.emplace(options, found);
    const bool fits = std::all_of(found.excess.begin(), found.excess.end(), [](std::int64_t excess) { return excess <= 0; });
    result_.steps.push_back({what, cost_of(options), found.drop, fits && found.drop <= settings_.max_drop, fits});
    return found;
  }

  Result<Tried> attempt(std::vector<std::size_t> options, std::vector<bool> mended, const std::string& what) {
    BEVEL_TRY(const JointMeasure found, measured(options, what));
    Tried tried{std::move(options), std::move(mended), 0, found.drop, false, true};
    tried.cost = cost_of(tried.options);
    for (const std::int64_t excess : found.excess) tried.fits = tried.fits && excess <= 0;
    tried.held = tried.fits && tried.drop <= settings_.max_drop;
    if (tried.held && (!holding_ || tried.cost < holding_->cost)) holding_ = tried;
    if (tried.fits && (!least_ || tried.drop < least_->drop)) least_ = tried;
    return tried;
  }

  // The least loss within a cost, measured; limits that it turns out to be above are lowered for this and all that follow.
  Result<Tried> solve(std::int64_t cost) {
    for (int round = 0;; ++round) {
      problem_.limits[0].most = std::min(cost, most_cost_);
      BEVEL_TRY(const ExactChoice choice, choose_exactly(problem_));
      result_.proven = result_.proven && choice.proven;
      result_.gap = std::max(result_.gap, choice.loss - choice.bound);
      const std::string what = fmt::format("least loss within {} {}", report::grouped(static_cast<std::uint64_t>(std::max<std::int64_t>(0, problem_.limits[0].most))),
                                           problem_.limits[0].unit);
      BEVEL_TRY(Tried tried, attempt(choice.options, std::vector<bool>(choice.options.size(), false), what));
      if (tried.fits) return tried;
      if (round == kTightenings)
        return fail(ExitCode::budget, "no choice of precisions was found that meets the limits: what adds up does, but {} plans of whole models did not.", round + 1);
      const auto& excess = known_.at(tried.options).excess;
      // What does not add up is taken to be there in the next choice too.
      const auto uses = uses_of(problem_, tried.options);
      for (std::size_t k = 1; k < problem_.limits.size(); ++k)
        if (excess[k] > 0) problem_.limits[k].most = uses[k] - excess[k];
      if (excess.size() > problem_.limits.size() && excess.back() > 0) problem_.peak.most = peak_of(problem_, tried.options) - excess.back();
    }
  }

  // `failed`: costs up to this are known not to hold.
  Status bisect(const std::vector<std::size_t>& start) {
    std::int64_t failed = lowest_ - 1;
    int left = settings_.solves;
    const auto solved = [&](std::int64_t cost) -> Result<std::optional<Tried>> {
      --left;
      auto tried = solve(cost);
      if (tried) {
        if (!tried->held) {
          failed = std::max(failed, std::min(cost, most_cost_));
          failing_ = *tried;
        }
        return std::optional(*tried);
      }
      if (tried.error().code != ExitCode::budget) return Failure(std::move(tried).error());
      failed = std::max(failed, cost);
      refusal_ = std::move(tried).error();
      return std::optional<Tried>();
    };
    const std::int64_t first = std::min(cost_of(start), highest_);
    BEVEL_TRY(const auto begin, solved(first));
    if ((!begin || !begin->held) && first < highest_) BEVEL_TRY_STATUS(ignored(solved(highest_)));
    if (!holding_ && !least_) return Failure(std::move(*refusal_));
    bool lowest_tried = false;
    while (holding_ && left > 0 && holding_->cost - failed > std::max<std::int64_t>(1, (highest_ - lowest_) / kFineness)) {
      // The cheapest of all first: where it holds, the search is over.
      const std::int64_t cost = lowest_tried || failed >= lowest_ ? failed + (holding_->cost - failed) / 2 : lowest_;
      lowest_tried = true;
      BEVEL_TRY_STATUS(ignored(solved(cost)));
    }
    return {};
  }
  template <typename T>
  static Status ignored(Result<T> result) {
    if (!result) return Failure(std::move(result).error());
    return {};
  }

  struct Move {
    std::size_t group, option;
    double loss;         // change
    std::int64_t cost;   // change
  };
  // Changes of one group that meet the limits, the best first.
  std::vector<Move> moves(const Tried& from, bool back) {
    problem_.limits[0].most = most_cost_;
    std::vector<Move> found;
    for (std::size_t group = 0; group < problem_.groups.size(); ++group) {
      const ChoiceOption& present = problem_.groups[group][from.options[group]];
      for (std::size_t option = 0; option < problem_.groups[group].size(); ++option) {
        const ChoiceOption& other = problem_.groups[group][option];
        const Move move{group, option, other.loss - present.loss, other.uses[0] - present.uses[0]};
        if (option == from.options[group] || (back ? move.loss >= 0 || move.cost < 0 : move.cost >= 0)) continue;
        std::vector<std::size_t> options = from.options;
        options[group] = option;
        if (meets_limits(problem_, options)) found.push_back(move);
      }
    }
    // Loss per cost: gains are negative. What costs nothing counts as one unit.
    const auto rate = [](const Move& move) {
      return move.loss / static_cast<double>(std::max<std::int64_t>(1, move.cost < 0 ? -move.cost : move.cost));
    };
    std::stable_sort(found.begin(), found.end(), [&](const Move& a, const Move& b) { return rate(a) < rate(b); });
    return found;
  }

  static Tried with(const Tried& from, const Move& move) {
    Tried to = from;
    to.options[move.group] = move.option;
    to.mended[move.group] = true;
    return to;
  }

  // From the cheapest choice that failed, until the drop holds. What does not end below the choice that holds already is not tried.
  Status give_back() {
    if (!failing_) return {};
    Tried from = holding_ || !least_ ? *failing_ : *least_;
    for (int i = 0; i < settings_.repairs; ++i) {
      std::optional<Move> best;
      for (const Move& move : moves(from, true)) {
        if (holding_ && from.cost + move.cost >= holding_->cost) continue;
        best = move;
        break;
      }
      if (!best) return {};
      const Tried next = with(from, *best);
      BEVEL_TRY(from, attempt(next.options, next.mended, fmt::format("back to {}", name_(best->group, best->option))));
      if (from.held) return {};
    }
    return {};
  }

  Status take_more() {
    if (!holding_) return {};
    std::vector<Move> refused;
    for (int i = 0; i < settings_.takes; ++i) {
      std::optional<Move> best;
      for (const Move& move : moves(*holding_, false)) {
        const bool known = std::any_of(refused.begin(), refused.end(), [&](const Move& other) { return other.group == move.group && other.option == move.option; }) ||
                           known_.contains(with(*holding_, move).options);
        if (known) continue;
        best = move;
        break;
      }
      if (!best) return {};
      const Tried next = with(*holding_, *best);
      BEVEL_TRY(const Tried tried, attempt(next.options, next.mended, fmt::format("{} too", name_(best->group, best->option))));
      if (!tried.held) refused.push_back(*best);
    }
    return {};
  }

  ChoiceProblem problem_;  // limits as they are now
  const MeasureTogether& measure_;
  const NameGroup& name_;
  const JointSettings& settings_;
  std::int64_t most_cost_, lowest_ = 0, highest_ = 0;
  std::map<std::vector<std::size_t>, JointMeasure> known_;
  std::optional<Tried> holding_, failing_, least_;  // cheapest that holds; cheapest that was found to fail last; of the least drop
  std::optional<Diagnostic> refusal_;
  JointChoice result_;
};

}  // namespace

Result<JointChoice> search_together(const ChoiceProblem& problem, const std::vector<std::size_t>& start, const MeasureTogether& measure,
                                    const NameGroup& name, const JointSettings& settings) {
  BEVEL_CHECK(!problem.limits.empty());
  return JointSearch(problem, measure, name, settings).run(start);
}

}  // namespace bevel::driver
