// One option for each group, so that what they lose together is least and every limit is met: a multiple-choice knapsack with several
// limits, solved by branch and bound. Knows nothing of networks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "lib/support/result.h"

namespace bevel::driver {

struct ChoiceOption {
  double loss = 0;                           // finite; losses of groups add up
  std::vector<std::int64_t> uses;            // of each limit, >= 0; they add up
  // What it adds to moments (see below), by ascending index; the rest: 0.
  std::vector<std::pair<std::uint32_t, std::int64_t>> alive;
};

struct ChoiceLimit {
  std::string name, unit;                    // "flash", "B"
  std::int64_t most = 0;
};

struct ChoiceProblem {
  std::vector<std::vector<ChoiceOption>> groups;  // each has an option
  std::vector<ChoiceLimit> limits;
  // A limit on a largest, not on a sum: in no moment may what is there anyway and what the options add exceed it. Memory over time.
  std::vector<std::int64_t> moments;         // what is there anyway
  ChoiceLimit peak;                          // ignored without moments
};

struct ExactChoice {
  std::vector<std::size_t> options;          // by group
  double loss = 0;
  double bound = 0;                          // no choice that meets the limits loses less; equal to `loss` when proven
  bool proven = true;                        // false: the search was cut off at max_nodes
  std::uint64_t nodes = 0;                   // partial choices that were looked at
};

constexpr std::uint64_t kMaxChoiceNodes = 2'000'000;  // some seconds

// Exit 3 when no choice meets the limits; the message has the least that each can be brought to. Deterministic: the same problem
// gives the same choice. "No less" holds up to a billionth of the losses.
Result<ExactChoice> choose_exactly(const ChoiceProblem& problem, std::uint64_t max_nodes = kMaxChoiceNodes);

// The sums and the peak of a choice.
std::vector<std::int64_t> uses_of(const ChoiceProblem& problem, const std::vector<std::size_t>& options);
std::int64_t peak_of(const ChoiceProblem& problem, const std::vector<std::size_t>& options);
double loss_of(const ChoiceProblem& problem, const std::vector<std::size_t>& options);
bool meets_limits(const ChoiceProblem& problem, const std::vector<std::size_t>& options);

}  // namespace bevel::driver
