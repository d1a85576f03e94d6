// The layers of a model as the precision search sees them: groups that take a format together, and what each format costs them.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "lib/driver/exact_choice.h"
#include "lib/ir/graph.h"
#include "lib/plan/program.h"
#include "lib/support/result.h"
#include "lib/target/target.h"
#include "passes/recipe.h"

namespace bevel::driver {

// From the cheapest to the dearest: int4 weights; int8; int8 weights with int16 activations; float32.
enum class Format : std::uint8_t { int4, int8, int16, float32 };
constexpr std::size_t kFormats = 4;
constexpr std::array<std::string_view, kFormats> kFormatNames{"int4", "int8", "int16", "float32"};
constexpr std::size_t index_of(Format format) { return static_cast<std::size_t>(format); }

// A layer (a product), or several whose results are joined or that share weights, with the arithmetic between it and the next layer.
struct PrecisionGroup {
  std::vector<std::string> layers;            // nodes with weights
  std::vector<std::string> nodes;             // all nodes that compute, layers included
  std::array<bool, kFormats> offered{};
  std::array<std::int64_t, kFormats> weight_bytes{};      // with scales and biases
  std::array<std::int64_t, kFormats> activation_bytes{};  // of all results, of one sample
  std::array<double, kFormats> loss{};        // measured, against int8
};

// One model quantized throughout in each format, as far as that can be; null: that format is not offered.
struct UniformModels {
  std::array<const Model*, kFormats> of{};
};

// `source`: simplified and float, its types inferred. Groups that the recipe states the precision of are left out. int8 is always offered.
std::vector<PrecisionGroup> precision_groups(const Model& source, const UniformModels& models, const passes::Recipe& recipe);

// The recipe that gives groups these formats, by group.
passes::Recipe recipe_of(const passes::Recipe& base, const std::vector<PrecisionGroup>& groups, const std::vector<Format>& formats);

// `wide` (all int8) with a group's weights and biases as they are in `narrow` (all int4).
Model with_narrow_layers(const Model& wide, const Model& narrow, const std::vector<std::string>& layers);

// What the search minimizes and must keep to. Option i of group g is the i-th format that it offers.
struct PrecisionProblem {
  ChoiceProblem problem;
  std::vector<std::vector<Format>> formats;  // by group and option
  std::vector<std::string> notes;
};
constexpr std::size_t kCostLimit = 0;        // bytes of weights and of results: what an inference moves
// With a device: its memory, and latency and energy where the budget states them, by the plans of the uniform models. Exit 5 as plan_model's
// where a model cannot be planned.
Result<PrecisionProblem> precision_problem(const Model& source, const std::vector<PrecisionGroup>& groups, const UniformModels& models,
                                           const target::Device* device, const target::Budget& stated);
// How far above each limit, then the peak, a plan of a whole model is.
std::vector<std::int64_t> excess_of(const PrecisionProblem& problem, const plan::Program& program, const target::Device& device);

}  // namespace bevel::driver
