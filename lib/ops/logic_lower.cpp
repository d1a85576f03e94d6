// Comparisons to compare, Where to select: with broadcasting, in any memory order.
#include <algorithm>

#include "lib/ops/family.h"
#include "lib/ops/lower_common.h"
#include "lib/ops/lower_functions.h"

namespace bevel::ops {
namespace {

// The output's loops, and each operand's strides along them, those of the output last.
Lowered<Walk> broadcast_walk(const LowerContext& context) {
  const GroupOperand& y = context.outputs[0];
  if (const auto count = kernel_count(y.dims, "output 0"); !count) return Reason(count.error());
  Walk walk;
  walk.dims = to_memory(y.dims, y.order);
  for (const GroupOperand& operand : context.inputs) {
    if (const auto count = kernel_count(operand.dims, "an input"); !count) return Reason(count.error());
    if (operand.dims.size() > y.dims.size()) return no_kernel("its shapes do not broadcast");
    walk.strides.push_back(strides_along(operand, y));
  }
  walk.strides.push_back(strides_along(y, y));
  auto joined = coalesce(walk);
  if (!joined) return no_kernel("broadcasting needs more than {} loops", BVL_MAX_RANK);
  return std::move(*joined);
}

void fill(std::int32_t (&to)[8], const Dims& from) {
  for (std::size_t k = 0; k < from.size(); ++k) to[k] = static_cast<std::int32_t>(from[k]);
}

std::optional<std::int32_t> comparison_code(std::string_view op) {
  static constexpr std::pair<std::string_view, std::int32_t> kCodes[] = {{"Equal", BVL_COMPARE_EQUAL},
                                                                         {"Less", BVL_COMPARE_LESS},
                                                                         {"LessOrEqual", BVL_COMPARE_LESS_OR_EQUAL},
                                                                         {"Greater", BVL_COMPARE_GREATER},
                                                                         {"GreaterOrEqual", BVL_COMPARE_GREATER_OR_EQUAL}};
  for (const auto& [name, code] : kCodes) {
    if (name == op) return code;
  }
  return std::nullopt;
}

}  // namespace

LowerResult lower_comparison(const LowerContext& context) {
  const auto element = element_code(context.inputs[0].dtype);
  if (!element || *element == BVL_ELEMENT_BOOL || context.inputs[1].dtype != context.inputs[0].dtype) {
    return no_kernel("there is no kernel for {} on {}", context.node->op_type, dtype_name(context.inputs[0].dtype));
  }
  const auto code = comparison_code(context.node->op_type);
  if (!code) return no_kernel("there is no kernel for {}", context.node->op_type);
  const auto walk = broadcast_walk(context);
  if (!walk) return Reason(walk.error());
  bvl_compare_params params{};
  params.op = *code;
  params.element = *element;
  params.rank = static_cast<std::int32_t>(walk->dims.size());
  fill(params.dims, walk->dims);
  fill(params.a_strides, walk->strides[0]);
  fill(params.b_strides, walk->strides[1]);
  LoweredGroup group;
  group.steps.push_back(make_step(BVL_KERNEL_COMPARE, {StepOperand::input(0), StepOperand::input(1)}, {StepOperand::output(0)}, params,
                                  walk->dims[0], static_cast<std::uint64_t>(*element_count(context.outputs[0].dims))));
  return group;
}

LowerResult lower_where(const LowerContext& context) {
  const GroupOperand& y = context.outputs[0];
  const int bits = dtype_bits(y.dtype);
  if ((bits != 8 && bits != 16 && bits != 32 && bits != 64) || context.inputs[1].dtype != y.dtype || context.inputs[2].dtype != y.dtype) {
    return no_kernel("there is no kernel for {} on {}", context.node->op_type, dtype_name(y.dtype));
  }
  const auto walk = broadcast_walk(context);
  if (!walk) return Reason(walk.error());
  bvl_select_params params{};
  params.element_bytes = bits / 8;
  params.rank = static_cast<std::int32_t>(walk->dims.size());
  fill(params.dims, walk->dims);
  fill(params.condition_strides, walk->strides[0]);
  fill(params.a_strides, walk->strides[1]);
  fill(params.b_strides, walk->strides[2]);
  LoweredGroup group;
  group.steps.push_back(make_step(BVL_KERNEL_SELECT, {StepOperand::input(0), StepOperand::input(1), StepOperand::input(2)},
                                  {StepOperand::output(0)}, params, walk->dims[0], static_cast<std::uint64_t>(*element_count(y.dims))));
  return group;
}

}  // namespace bevel::ops
