// Runs lowered groups on host tensors at their actual shapes: the runtime's kernels as the evaluator calls them, so that
// the evaluator and the device compute the same integers. Values may stay in channels-last memory between groups.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "lib/eval/held_value.h"
#include "lib/ir/graph.h"
#include "lib/plan/grouping.h"
#include "lib/support/result.h"

namespace bevel::eval {

class GroupKernels {
 public:
  // Both must outlive this object; types are inferred.
  GroupKernels(const Model& model, const plan::Grouping& grouping);
  ~GroupKernels();
  GroupKernels(const GroupKernels&) = delete;
  GroupKernels& operator=(const GroupKernels&) = delete;

  // Runs grouping.groups[group]. `inputs`: the values of its input borders, one per edge, constants too (an absent edge: an
  // empty HeldValue), in the model's dtypes. Gives one value per output edge (model dtypes, perhaps channels-last). nullopt: no kernel
  // at these shapes; the caller evaluates the group's members. Thread-safe; lowered steps are kept for the last few
  // shapes and orders of each group, which share equal packed constants. `admit` is asked, before they are allocated, for the bytes of
  // the outputs and of what the steps need beside them.
  using Admit = std::function<Status(std::uint64_t bytes)>;
  [[nodiscard]] Result<std::optional<std::vector<HeldValue>>> run(std::size_t group, std::span<const HeldValue> inputs,
                                                                  const Admit& admit) const;

  // Bytes of the packed constants that are kept, shared ones once.
  [[nodiscard]] std::uint64_t packed_bytes() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace bevel::eval
