#include "lib/driver/exact_choice.h"

#include <algorithm>
#include <limits>
#include <numeric>

#include "lib/report/report.h"

namespace bevel::driver {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr int kPriceSteps = 300;    // of the search for prices; more change the bound in its last digits
constexpr double kTolerance = 1e-9;  // of the losses: bounds are sums of as many rounded numbers

double priced(const ChoiceOption& option, const std::vector<double>& prices) {
  double cost = option.loss;
  for (std::size_t k = 0; k < prices.size(); ++k) cost += prices[k] * static_cast<double>(option.uses[k]);
  return cost;
}

// Lagrangian relaxation: with a price on what each limit counts, groups choose alone, and the sum of their least costs minus the prices of the
// limits is below every choice that meets them. Prices that make this bound large, by steps along its subgradient (Held, Wolfe and Crowder,
// "Validation of subgradient optimization", 1974). Each limit is in units of itself, so that one step fits all.
std::vector<double> good_prices(const ChoiceProblem& problem) {
  const std::size_t count = problem.limits.size();
  std::vector<double> scale(count), prices(count, 0), best(count, 0);
  for (std::size_t k = 0; k < count; ++k) scale[k] = 1 / std::max(1.0, static_cast<double>(problem.limits[k].most));
  double spread = 0;  // what could be lost at all
  for (const auto& group : problem.groups) {
    const auto [low, high] = std::minmax_element(group.begin(), group.end(), [](const auto& a, const auto& b) { return a.loss < b.loss; });
    spread += high->loss - low->loss;
  }
  double best_bound = -kInfinity, step = spread;
  for (int at = 0; at < kPriceSteps && count > 0; ++at) {
    double bound = 0;
    std::vector<double> excess(count);
    for (std::size_t k = 0; k < count; ++k) {
      bound -= prices[k] * static_cast<double>(problem.limits[k].most);
      excess[k] = -static_cast<double>(problem.limits[k].most);
    }
    for (const auto& group : problem.groups) {
      const ChoiceOption* least = nullptr;
      double cost = kInfinity;
      for (const ChoiceOption& option : group) {
        if (const double own = priced(option, prices); own < cost) cost = own, least = &option;
      }
      bound += cost;
      for (std::size_t k = 0; k < count; ++k) excess[k] += static_cast<double>(least->uses[k]);
    }
    if (bound > best_bound) best_bound = bound, best = prices;
    double norm = 0;
    for (std::size_t k = 0; k < count; ++k) norm = std::max(norm, std::max(excess[k], -excess[k]) * scale[k]);
    if (norm == 0) break;
    for (std::size_t k = 0; k < count; ++k) prices[k] = std::max(0.0, prices[k] + step * (excess[k] * scale[k] / norm) * scale[k]);
    step *= 0.97;
  }
  return best;
}

// b is no better than a in anything.
bool dominates(const ChoiceOption& a, const ChoiceOption& b) {
  if (a.loss > b.loss) return false;
  for (std::size_t k = 0; k < a.uses.size(); ++k)
    if (a.uses[k] > b.uses[k]) return false;
  std::size_t at = 0;
  for (const auto& [moment, bytes] : a.alive) {
    while (at < b.alive.size() && b.alive[at].first < moment) ++at;
    const std::int64_t other = at < b.alive.size() && b.alive[at].first == moment ? b.alive[at].second : 0;
    if (bytes > other) return false;
  }
  return true;
}

class Search {
 public:
  Search(const ChoiceProblem& problem, std::uint64_t max_nodes) : problem_(problem), max_nodes_(max_nodes), used_(problem.limits.size(), 0) {}

  ExactChoice run() {
    const std::vector<double> prices = good_prices(problem_);
    prepare(prices);
    const std::size_t count = order_.size();
    least_cost_.assign(count + 1, 0);
    least_uses_.assign(count + 1, std::vector<std::int64_t>(used_.size(), 0));
    for (std::size_t depth = count; depth-- > 0;) {
      const auto& candidates = candidates_[order_[depth]];
      least_cost_[depth] = least_cost_[depth + 1] + candidates.front().cost;
      for (std::size_t k = 0; k < used_.size(); ++k) {
        std::int64_t least = std::numeric_limits<std::int64_t>::max();
        for (const Candidate& candidate : candidates) least = std::min(least, option(order_[depth], candidate).uses[k]);
        least_uses_[depth][k] = least_uses_[depth + 1][k] + least;
      }
    }
    for (std::size_t k = 0; k < prices.size(); ++k) offset_ -= prices[k] * static_cast<double>(problem_.limits[k].most);
    start_moments();
    chosen_.assign(count, 0);
    descend(0, offset_);
    ExactChoice result;
    result.options = best_;
    result.loss = best_loss_;
    result.nodes = nodes_;
    result.proven = nodes_ <= max_nodes_;
    result.bound = result.proven ? best_loss_ : std::min(best_loss_, offset_ + least_cost_[0]);
    return result;
  }

 private:
  struct Candidate {
    std::size_t option;
    double cost;  // with prices
  };
  [[nodiscard]] const ChoiceOption& option(std::size_t group, const Candidate& candidate) const {
    return problem_.groups[group][candidate.option];
  }

  // Options that can be best, the likeliest first; groups in the order of what a wrong option costs, the dearest first.
  void prepare(const std::vector<double>& prices) {
    for (const auto& group : problem_.groups) {
      std::vector<Candidate> candidates;
      for (std::size_t i = 0; i < group.size(); ++i) {
        bool dominated = false;
        for (std::size_t j = 0; j < group.size(); ++j)
          dominated = dominated || (j != i && dominates(group[j], group[i]) && !(j > i && dominates(group[i], group[j])));
        if (!dominated) candidates.push_back({i, priced(group[i], prices)});
        for (const ChoiceOption& each : group) largest_ = std::max(largest_, std::max(each.loss, -each.loss));
      }
      std::stable_sort(candidates.begin(), candidates.end(), [](const auto& a, const auto& b) { return a.cost < b.cost; });
      candidates_.push_back(std::move(candidates));
    }
    order_.resize(problem_.groups.size());
    std::iota(order_.begin(), order_.end(), std::size_t{0});
    const auto regret = [&](std::size_t group) {
      const auto& candidates = candidates_[group];
      return candidates.size() < 2 ? kInfinity : candidates[1].cost - candidates[0].cost;
    };
    std::stable_sort(order_.begin(), order_.end(), [&](std::size_t a, std::size_t b) { return regret(a) > regret(b); });
  }

  // What is alive with the least of every group: what options add to it is added as they are chosen.
  void start_moments() {
    alive_ = problem_.moments;
    least_alive_.resize(problem_.groups.size());
    if (alive_.empty()) return;
    for (std::size_t group = 0; group < problem_.groups.size(); ++group) {
      std::vector<std::pair<std::uint32_t, std::int64_t>> least = option(group, candidates_[group].front()).alive;
      for (const Candidate& candidate : candidates_[group]) {
        const auto& other = option(group, candidate).alive;
        for (auto& [moment, bytes] : least) {
          const auto found = std::lower_bound(other.begin(), other.end(), std::pair(moment, std::numeric_limits<std::int64_t>::min()));
          bytes = std::min(bytes, found != other.end() && found->first == moment ? found->second : 0);
        }
      }
      for (const auto& [moment, bytes] : least) alive_[moment] += bytes;
      least_alive_[group] = std::move(least);
    }
  }

  bool change_alive(std::size_t group, const ChoiceOption& option, std::int64_t sign) {
    bool fits = true;
    if (alive_.empty()) return fits;
    for (const auto& [moment, bytes] : least_alive_[group]) alive_[moment] -= sign * bytes;
    for (const auto& [moment, bytes] : option.alive) {
      alive_[moment] += sign * bytes;
      fits = fits && alive_[moment] <= problem_.peak.most;
    }
    return fits;
  }

  [[nodiscard]] double worth_finding() const { return best_loss_ - kTolerance * std::max(largest_, 1e-300); }

  // `cost`: of what is chosen, with prices, minus the prices of the limits. At a leaf the loss itself decides.
  void descend(std::size_t depth, double cost) {
    if (depth == order_.size()) {
      std::vector<std::size_t> options(order_.size());
      for (std::size_t i = 0; i < order_.size(); ++i) options[order_[i]] = chosen_[i];
      if (const double loss = loss_of(problem_, options); loss < worth_finding()) {
        best_loss_ = loss;
        best_ = std::move(options);
      }
      return;
    }
    const std::size_t group = order_[depth];
    for (const Candidate& candidate : candidates_[group]) {
      if (nodes_ > max_nodes_) return;
      if (cost + candidate.cost + least_cost_[depth + 1] >= worth_finding()) return;  // the next cost more
      ++nodes_;
      const ChoiceOption& one = option(group, candidate);
      bool fits = true;
      for (std::size_t k = 0; k < used_.size(); ++k) {
        used_[k] += one.uses[k];
        fits = fits && used_[k] + least_uses_[depth + 1][k] <= problem_.limits[k].most;
      }
      fits = change_alive(group, one, 1) && fits;
      chosen_[depth] = candidate.option;
      if (fits) descend(depth + 1, cost + candidate.cost);
      change_alive(group, one, -1);
      for (std::size_t k = 0; k < used_.size(); ++k) used_[k] -= one.uses[k];
    }
  }

  const ChoiceProblem& problem_;
  std::uint64_t max_nodes_, nodes_ = 0;
  std::vector<std::vector<Candidate>> candidates_;  // by group
  std::vector<std::size_t> order_;                  // groups
  std::vector<double> least_cost_;                  // by depth: of the groups from there on
  std::vector<std::vector<std::int64_t>> least_uses_;
  std::vector<std::int64_t> used_, alive_;
  std::vector<std::vector<std::pair<std::uint32_t, std::int64_t>>> least_alive_;  // by group, counted in alive_ until it is chosen
  std::vector<std::size_t> chosen_, best_;
  double offset_ = 0, best_loss_ = kInfinity, largest_ = 0;
};

std::string amount(std::int64_t value, const std::string& unit) {
  return fmt::format("{} {}", report::grouped(static_cast<std::uint64_t>(std::max<std::int64_t>(0, value))), unit);
}

// The least that each limit can be brought to, others ignored. Empty: each can be met alone.
std::string unreachable(const ChoiceProblem& problem, std::string& all) {
  std::string missed;
  const auto add = [&](const ChoiceLimit& limit, std::int64_t least) {
    const std::string text = fmt::format("{}: {} at least, {} allowed", limit.name, amount(least, limit.unit), amount(limit.most, limit.unit));
    all += (all.empty() ? "" : "; ") + text;
    if (least > limit.most) missed += (missed.empty() ? "" : "; ") + text;
  };
  for (std::size_t k = 0; k < problem.limits.size(); ++k) {
    std::int64_t least = 0;
    for (const auto& group : problem.groups)
      least += std::min_element(group.begin(), group.end(), [&](const auto& a, const auto& b) { return a.uses[k] < b.uses[k]; })->uses[k];
    add(problem.limits[k], least);
  }
  if (problem.moments.empty()) return missed;
  std::vector<std::int64_t> alive = problem.moments;
  for (const auto& group : problem.groups) {
    std::vector<std::int64_t> least(alive.size(), std::numeric_limits<std::int64_t>::max());
    for (const ChoiceOption& option : group) {
      std::vector<std::int64_t> own(alive.size(), 0);
      for (const auto& [moment, bytes] : option.alive) own[moment] = bytes;
      for (std::size_t i = 0; i < own.size(); ++i) least[i] = std::min(least[i], own[i]);
    }
    for (std::size_t i = 0; i < alive.size(); ++i) alive[i] += least[i];
  }
  add(problem.peak, *std::max_element(alive.begin(), alive.end()));
  return missed;
}

}  // namespace

std::vector<std::int64_t> uses_of(const ChoiceProblem& problem, const std::vector<std::size_t>& options) {
  std::vector<std::int64_t> uses(problem.limits.size(), 0);
  for (std::size_t group = 0; group < options.size(); ++group)
    for (std::size_t k = 0; k < uses.size(); ++k) uses[k] += problem.groups[group][options[group]].uses[k];
  return uses;
}

std::int64_t peak_of(const ChoiceProblem& problem, const std::vector<std::size_t>& options) {
  std::vector<std::int64_t> alive = problem.moments;
  for (std::size_t group = 0; group < options.size() && !alive.empty(); ++group)
    for (const auto& [moment, bytes] : problem.groups[group][options[group]].alive) alive[moment] += bytes;
  return alive.empty() ? 0 : *std::max_element(alive.begin(), alive.end());
}

double loss_of(const ChoiceProblem& problem, const std::vector<std::size_t>& options) {
  double loss = 0;
  for (std::size_t group = 0; group < options.size(); ++group) loss += problem.groups[group][options[group]].loss;
  return loss;
}

bool meets_limits(const ChoiceProblem& problem, const std::vector<std::size_t>& options) {
  const auto uses = uses_of(problem, options);
  for (std::size_t k = 0; k < uses.size(); ++k)
    if (uses[k] > problem.limits[k].most) return false;
  return problem.moments.empty() || peak_of(problem, options) <= problem.peak.most;
}

Result<ExactChoice> choose_exactly(const ChoiceProblem& problem, std::uint64_t max_nodes) {
  std::string all;
  const std::string missed = unreachable(problem, all);
  if (!missed.empty()) return fail(ExitCode::budget, "no choice of precisions meets the limits: {}.", missed);
  ExactChoice choice = Search(problem, max_nodes).run();
  if (choice.options.size() == problem.groups.size() && choice.loss < kInfinity) return choice;
  if (choice.proven)
    return fail(ExitCode::budget, "no choice of precisions meets all limits together, though each can be met alone ({}).", all);
  return fail(ExitCode::budget, "none of the {} choices of precisions that were looked at meets all limits together; alone each can be met ({}).",
              report::grouped(choice.nodes), all);
}

}  // namespace bevel::driver
