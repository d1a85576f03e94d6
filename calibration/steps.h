// A model as the evaluator runs it, step by step, and parts of it as models of their own that give the same bits.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "lib/eval/evaluator.h"
#include "lib/ir/graph.h"
#include "lib/support/result.h"

namespace bevel::calibration {

// What the evaluator does at once: a node, or the nodes of a group. Values between the nodes of a group are nobody else's.
struct RunStep {
  std::vector<NodeId> nodes;
  std::vector<ValueId> reads;  // from outside; constants left out
  std::vector<ValueId> makes;  // what other steps find of it
  enum class Way { node, group, integer_group } way = Way::node;  // groups by the runtime's kernels
};

// Ids are of the prepared model's graph.
struct SteppedModel {
  Model model;                     // prepared: lifted to the base opset, types inferred
  eval::Kernels kernels = eval::Kernels::none;  // never automatic
  std::vector<RunStep> steps;      // in the order of a run
  static constexpr std::size_t kNoStep = static_cast<std::size_t>(-1);
  std::vector<std::size_t> maker;  // by value: the step that makes it
  std::vector<std::size_t> home;   // by node: the first step that it is of
  std::vector<ValueId> inputs;     // of the graph that need data, in order
};
// Fails as eval::Evaluator::create does.
Result<SteppedModel> stepped_model(const Model& model, const eval::EvalOptions& options);

// The nodes that lead from `known` values, constants and the graph's inputs to `wanted` ones, and which inputs of the graph they need.
struct Part {
  std::vector<NodeId> nodes;    // in execution order
  std::vector<ValueId> inputs;  // what it starts from: some of `known`, and inputs of the graph
};
// In whole steps; `wanted` are values that steps make, or inputs.
Part part_between(const SteppedModel& stepped, const std::vector<bool>& known, std::span<const ValueId> wanted);
// Node by node, whatever groups they are of, from what steps make.
Part part_within(const SteppedModel& stepped, std::span<const ValueId> wanted);

// The part as a model with the part's inputs. Run with kernels as the whole model is, it forms the same groups: a value that has readers
// outside, or is an output of the whole, is an output. So is what nobody reads of `wanted`.
Model cut_model(const SteppedModel& stepped, const Part& part, std::span<const ValueId> wanted);

}  // namespace bevel::calibration
