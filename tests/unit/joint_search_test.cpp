// The search for a choice that holds when it is measured together, with a made-up network: what groups lose together is not what they
// lose alone.
#include <catch2/catch.hpp>

#include <algorithm>
#include <numeric>

#include "lib/driver/joint_search.h"

using namespace bevel;
using namespace bevel::driver;

namespace {

// Groups of 100 B in int8, 50 B in int4 (loss: the group's number and one), and 200 B in int16 (a gain of half that).
ChoiceProblem made_up(std::size_t groups) {
  ChoiceProblem problem;
  for (std::size_t g = 0; g < groups; ++g) {
    const double delicate = static_cast<double>(g + 1);
    problem.groups.push_back({{delicate, {50}, {}}, {0, {100}, {}}, {-delicate / 2, {200}, {}}});
  }
  problem.limits = {{"size", "B", static_cast<std::int64_t>(1000 * groups)}};
  return problem;
}

struct Network {
  const ChoiceProblem& problem;
  double base = 0;                    // with everything in int8
  std::vector<double> truth;          // by group: what int4 really loses; empty: what the problem says
  std::vector<std::int64_t> hidden;   // by limit, then the peak: what does not add up
  int asked = 0;
  MeasureTogether measure() {
    return [this](const std::vector<std::size_t>& options) -> Result<JointMeasure> {
      ++asked;
      double drop = base;
      for (std::size_t g = 0; g < options.size(); ++g)
        drop += options[g] == 0 && !truth.empty() ? truth[g] : problem.groups[g][options[g]].loss;
      JointMeasure measured{std::max(0.0, drop), {}};
      const auto uses = uses_of(problem, options);
      for (std::size_t k = 0; k < hidden.size(); ++k) measured.excess.push_back(uses[k] + hidden[k] - problem.limits[k].most);
      return measured;
    };
  }
};

const NameGroup kName = [](std::size_t group, std::size_t option) {
  constexpr const char* kFormats[] = {"int4", "int8", "int16"};
  return std::string(kFormats[option]) + " g" + std::to_string(group);
};

std::vector<std::size_t> all_int8(const ChoiceProblem& problem) { return std::vector<std::size_t>(problem.groups.size(), 1); }

}  // namespace

TEST_CASE("losses that add up: the cheapest choice within the drop is found") {
  const ChoiceProblem problem = made_up(8);
  Network network{problem, 0, {}, {}};
  JointSettings settings;
  settings.max_drop = 11;  // 1 + 2 + 3 + 4 in int4; one of 5 instead of 4 would do too
  const auto choice = search_together(problem, all_int8(problem), network.measure(), kName, settings);
  REQUIRE(choice.has_value());
  CHECK(choice->held);
  CHECK(choice->drop <= 11);
  CHECK(uses_of(problem, choice->options)[0] == 600);
  CHECK(choice->proven);
  CHECK(choice->steps.front().what == "least loss within 800 B");
  CHECK(static_cast<int>(choice->steps.size()) == network.asked);  // each once, all told
}

TEST_CASE("everything that holds in the cheapest formats is found in two looks") {
  const ChoiceProblem problem = made_up(5);
  Network network{problem, 0, {}, {}};
  JointSettings settings;
  settings.max_drop = 100;
  const auto choice = search_together(problem, all_int8(problem), network.measure(), kName, settings);
  REQUIRE(choice.has_value());
  CHECK(choice->options == std::vector<std::size_t>(5, 0));
  CHECK(network.asked == 2);
}

TEST_CASE("int8 that does not hold gets 16 bits where they gain most, and no more than needed") {
  const ChoiceProblem problem = made_up(6);
  Network network{problem, 4, {}, {}};
  JointSettings settings;
  settings.max_drop = 1;  // 3 of the possible 10.5 must be won back: the last group alone does
  const auto choice = search_together(problem, all_int8(problem), network.measure(), kName, settings);
  REQUIRE(choice.has_value());
  CHECK(choice->held);
  CHECK(choice->options[5] == 2);
  CHECK(uses_of(problem, choice->options)[0] <= 700);
}

TEST_CASE("what loses more together than alone is given back, and what loses less is taken") {
  const ChoiceProblem problem = made_up(6);
  // The first group, which looks cheap, is ruinous; the last, which looks dear, costs nothing.
  Network network{problem, 0, {50, 0.5, 0.5, 0.5, 0.5, 0.5}, {}};
  JointSettings settings;
  settings.max_drop = 2.5;
  settings.repairs = 6;
  settings.takes = 8;
  const auto choice = search_together(problem, all_int8(problem), network.measure(), kName, settings);
  REQUIRE(choice.has_value());
  CHECK(choice->held);
  CHECK(choice->options == std::vector<std::size_t>{1, 0, 0, 0, 0, 0});
  CHECK(std::count(choice->mended.begin(), choice->mended.end(), true) > 0);
  CHECK(std::any_of(choice->steps.begin(), choice->steps.end(), [](const JointStep& step) { return step.what.ends_with(" too"); }));
}

TEST_CASE("a drop that nothing holds ends with the least that was found, and says so") {
  const ChoiceProblem problem = made_up(3);
  Network network{problem, 10, {}, {}};
  JointSettings settings;
  settings.max_drop = 1;
  const auto choice = search_together(problem, all_int8(problem), network.measure(), kName, settings);
  REQUIRE(choice.has_value());
  CHECK_FALSE(choice->held);
  CHECK(choice->options == std::vector<std::size_t>(3, 2));  // all in 16 bits: 10 - 3
  CHECK(choice->drop == Approx(7));
}

TEST_CASE("limits hold for the whole plan, not only for what adds up") {
  ChoiceProblem problem = made_up(4);
  problem.limits.push_back({"flash", "B", 330});
  for (auto& group : problem.groups)
    for (auto& option : group) option.uses.push_back(option.uses[0]);
  Network network{problem, 0, {}, {0, 35}};  // 35 B that no group brings
  JointSettings settings;
  settings.max_drop = 0;  // as little as possible is lost within the limits
  const auto choice = search_together(problem, all_int8(problem), network.measure(), kName, settings);
  REQUIRE(choice.has_value());
  CHECK_FALSE(choice->held);
  CHECK(choice->options == std::vector<std::size_t>{0, 0, 0, 1});  // 250 B and 35; the 300 B that add up to less than 330 B were too much
  CHECK_FALSE(choice->steps.front().fits);
  problem.limits[1].most = 199;
  const auto none = search_together(problem, all_int8(problem), network.measure(), kName, settings);
  REQUIRE_FALSE(none.has_value());
  CHECK(none.error().code == ExitCode::budget);
  CHECK(none.error().message.find("flash: 200 B at least, 199 B allowed") != std::string::npos);
}
