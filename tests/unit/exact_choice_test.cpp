// The exact choice beside brute force, and what it says of problems that have none.
#include <catch2/catch.hpp>

#include <optional>

#include "lib/driver/exact_choice.h"
#include "lib/support/random.h"

using namespace bevel;
using namespace bevel::driver;

namespace {

ChoiceProblem random_problem(Random& random, std::size_t groups, std::size_t limits, std::size_t moments) {
  ChoiceProblem problem;
  std::vector<std::int64_t> most(limits, 0);
  std::int64_t peak = 0;
  for (std::size_t i = 0; i < moments; ++i) problem.moments.push_back(static_cast<std::int64_t>(random.below(20)));
  for (std::size_t g = 0; g < groups; ++g) {
    std::vector<ChoiceOption> options(1 + random.below(4));
    for (ChoiceOption& option : options) {
      // Coarse numbers: ties and dominated options are the rule.
      option.loss = static_cast<double>(random.below(12)) * 0.25 - 1;
      for (std::size_t k = 0; k < limits; ++k) option.uses.push_back(static_cast<std::int64_t>(random.below(10)));
      for (std::size_t m = 0; m < moments; ++m)
        if (random.below(2) == 0) option.alive.push_back({static_cast<std::uint32_t>(m), static_cast<std::int64_t>(random.below(15))});
    }
    for (std::size_t k = 0; k < limits; ++k) most[k] += options[0].uses[k];
    for (const auto& [moment, bytes] : options[0].alive) peak += bytes;
    problem.groups.push_back(std::move(options));
  }
  for (std::size_t k = 0; k < limits; ++k)
    problem.limits.push_back({"limit " + std::to_string(k), "B", most[k] * static_cast<std::int64_t>(40 + random.below(80)) / 100});
  problem.peak = {"ram", "B", moments == 0 ? 0 : 10 + peak * static_cast<std::int64_t>(20 + random.below(60)) / 100};
  return problem;
}

std::optional<double> brute_force(const ChoiceProblem& problem) {
  std::optional<double> best;
  std::vector<std::size_t> options(problem.groups.size(), 0);
  while (true) {
    if (meets_limits(problem, options)) {
      const double loss = loss_of(problem, options);
      if (!best || loss < *best) best = loss;
    }
    std::size_t at = 0;
    while (at < options.size() && ++options[at] == problem.groups[at].size()) options[at++] = 0;
    if (at == options.size()) return best;
  }
}

}  // namespace

TEST_CASE("the choice is the best of all that meet the limits, and there is none where brute force finds none") {
  Random random(7);
  int with = 0, without = 0;
  for (int i = 0; i < 600; ++i) {
    const ChoiceProblem problem = random_problem(random, 1 + random.below(7), random.below(4), random.below(2) * (1 + random.below(5)));
    const auto best = brute_force(problem);
    const auto choice = choose_exactly(problem);
    INFO("problem " << i);
    REQUIRE(choice.has_value() == best.has_value());
    if (!best) {
      ++without;
      CHECK(choice.error().code == ExitCode::budget);
      CHECK(choice.error().message.find("at least") != std::string::npos);
      continue;
    }
    ++with;
    CHECK(choice->proven);
    CHECK(meets_limits(problem, choice->options));
    CHECK(choice->loss == Approx(*best).margin(1e-7));
    CHECK(choice->loss == loss_of(problem, choice->options));
    CHECK(choice->bound == choice->loss);
    CHECK(choose_exactly(problem)->options == choice->options);
  }
  CHECK(with > 100);
  CHECK(without > 50);
}

TEST_CASE("a limit that nothing meets is named with the least that can be reached") {
  ChoiceProblem problem;
  problem.limits = {{"flash", "B", 1999}, {"latency", "cycles", 50}};
  problem.groups = {{{0, {1500, 10}, {}}, {1, {1000, 20}, {}}}, {{0, {1500, 10}, {}}, {1, {1000, 20}, {}}}};
  auto none = choose_exactly(problem);
  REQUIRE_FALSE(none.has_value());
  CHECK(none.error().message == "no choice of precisions meets the limits: flash: 2,000 B at least, 1,999 B allowed.");
  // Each alone, but not together.
  problem.limits = {{"flash", "B", 2000}, {"latency", "cycles", 39}};
  none = choose_exactly(problem);
  REQUIRE_FALSE(none.has_value());
  CHECK(none.error().message.find("though each can be met alone (flash: 2,000 B at least, 2,000 B allowed; latency: 20 cycles at least") != std::string::npos);
  problem.limits[1].most = 40;
  CHECK(choose_exactly(problem)->options == std::vector<std::size_t>{1, 1});
  // A peak is a largest: two groups at different moments do not add up.
  problem.limits.clear();
  for (auto& group : problem.groups)
    for (auto& option : group) option.uses.clear();
  problem.moments = {100, 0};
  problem.peak = {"ram", "B", 150};
  for (std::uint32_t g = 0; g < 2; ++g) {
    problem.groups[g][0].alive = {{g, 60}};
    problem.groups[g][1].alive = {{g, 50}};
  }
  const auto fits = choose_exactly(problem);
  REQUIRE(fits.has_value());
  CHECK(fits->options == std::vector<std::size_t>{1, 0});
  CHECK(peak_of(problem, fits->options) == 150);
  problem.peak.most = 149;
  CHECK(choose_exactly(problem).error().message.find("ram: 150 B at least, 149 B allowed") != std::string::npos);
}

TEST_CASE("five hundred groups are chosen within the bound on nodes, and a search that is cut off states its gap") {
  Random random(3);
  ChoiceProblem problem;
  std::int64_t bytes = 0, cycles = 0;
  for (int g = 0; g < 500; ++g) {
    const auto size = static_cast<std::int64_t>(100 + random.below(100000));
    const double delicate = static_cast<double>(random.uniform() * random.uniform());
    const auto work = static_cast<std::int64_t>(1000 + random.below(1000000));
    problem.groups.push_back({{delicate, {size / 2, work * 3 / 2}, {}}, {0, {size, work}, {}}, {-delicate / 7, {size, work * 2}, {}},
                              {-delicate / 5, {size * 4, work * 8}, {}}});
    bytes += size;
    cycles += work;
  }
  problem.limits = {{"flash", "B", bytes * 7 / 10}, {"latency", "cycles", cycles * 13 / 10}};
  const auto choice = choose_exactly(problem);
  REQUIRE(choice.has_value());
  CHECK(meets_limits(problem, choice->options));
  CHECK(choice->nodes <= kMaxChoiceNodes + 1);
  CHECK(choice->bound <= choice->loss);
  CHECK(choice->loss - choice->bound < 0.001 * std::max(1.0, choice->loss));  // cut off or not, it is near
  const auto cut = choose_exactly(problem, 600);
  REQUIRE(cut.has_value());
  CHECK_FALSE(cut->proven);
  CHECK(meets_limits(problem, cut->options));
  CHECK(cut->bound < cut->loss);
  CHECK(cut->loss >= choice->loss - 1e-9);
}
