// Two-operand arithmetic with broadcasting: Add, Sub and Mul on integers; these and Div, Min, Max, PRelu in float. Operands may
// lie in any memory order: the kernels walk strides.
#include <algorithm>
#include <limits>

#include "lib/ops/family.h"
#include "lib/ops/lower_common.h"
#include "lib/ops/lower_functions.h"

namespace bevel::ops {
namespace {

struct Nest {
  Walk walk;  // strides[0]: a, strides[1]: b
  std::uint64_t count = 0;
  bool a_dense = false, b_dense = false;  // the operand has the output's bytes, element for element
};

Lowered<Nest> nest_of(const LowerContext& context) {
  if (context.inputs.size() != 2 || !context.inputs[0].value.valid() || !context.inputs[1].value.valid()) {
    return no_kernel("it has {} operands: kernels take two", context.inputs.size());
  }
  const GroupOperand& a = context.inputs[0];
  const GroupOperand& b = context.inputs[1];
  const GroupOperand& y = context.outputs[0];
  const auto count = kernel_count(y.dims, "output 0");
  if (!count) return Reason(count.error());
  if (a.dims.size() > y.dims.size() || b.dims.size() > y.dims.size()) return no_kernel("its shapes do not broadcast");
  GroupOperand dense = y;
  Walk walk;
  walk.dims = to_memory(y.dims, y.order);
  walk.strides = {strides_along(a, y), strides_along(b, y), strides_along(dense, y)};
  auto joined = coalesce(walk);
  if (!joined) return no_kernel("broadcasting needs more than {} loops", BVL_MAX_RANK);
  Nest nest;
  nest.a_dense = joined->strides[0] == joined->strides[2];
  nest.b_dense = joined->strides[1] == joined->strides[2];
  // Without the output's strides, neighbours that both operands skip alike stay joined.
  nest.walk = std::move(*joined);
  nest.count = static_cast<std::uint64_t>(*count);
  return nest;
}

template <typename Params>
void set_nest(Params& params, const Nest& nest) {
  params.rank = static_cast<std::int32_t>(nest.walk.dims.size());
  for (std::size_t k = 0; k < nest.walk.dims.size(); ++k) {
    params.dims[k] = static_cast<std::int32_t>(nest.walk.dims[k]);
    params.a_strides[k] = static_cast<std::int32_t>(nest.walk.strides[0][k]);
    params.b_strides[k] = static_cast<std::int32_t>(nest.walk.strides[1][k]);
  }
}

LoweredGroup one_step(const LowerContext& context, const Nest& nest, LoweredStep step) {
  step.in_place = nest.a_dense && context.inputs[0].dtype == context.outputs[0].dtype;
  step.in_place_second = nest.b_dense && context.inputs[1].dtype == context.outputs[0].dtype;
  LoweredGroup group;
  group.steps.push_back(std::move(step));
  return group;
}

LowerResult integer_binary(const LowerContext& context, const Nest& nest) {
  const std::string& op = context.node->op_type;
  const auto a = activation_quantization(context.inputs[0], "input 0");
  if (!a) return Reason(a.error());
  const auto b = activation_quantization(context.inputs[1], "input 1");
  if (!b) return Reason(b.error());
  const auto y = activation_quantization(context.outputs[0], "output 0");
  if (!y) return Reason(y.error());
  const ClampBounds bounds = clamp_bounds(*y, context.clamp);
  const auto set_common = [&](auto& params) {
    set_nest(params, nest);
    params.a_zp = device_zero_point(*a);
    params.b_zp = device_zero_point(*b);
    params.out_zp = device_zero_point(*y);
    params.low = bounds.low;
    params.high = bounds.high;
  };
  const std::vector<StepOperand> reads = {StepOperand::input(0), StepOperand::input(1)};
  if (op == "Add" || op == "Sub") {
    bvl_add_s8_params params{};
    set_common(params);
    params.a_multiplier = a->scales[0] / y->scales[0];
    params.b_multiplier = b->scales[0] / y->scales[0];
    if (op == "Sub") params.b_multiplier = -params.b_multiplier;
    return one_step(context, nest, make_step(BVL_KERNEL_ADD_S8, reads, {StepOperand::output(0)}, params,
                                             nest.walk.dims[0], nest.count));
  }
  if (op == "Mul") {
    bvl_mul_s8_params params{};
    set_common(params);
    const float product = a->scales[0] * b->scales[0];
    params.multiplier = product / y->scales[0];
    return one_step(context, nest, make_step(BVL_KERNEL_MUL_S8, reads, {StepOperand::output(0)}, params,
                                             nest.walk.dims[0], nest.count));
  }
  return no_kernel("there is no integer kernel for {}", op);
}

// int16 operands and result.
LowerResult wide_binary(const LowerContext& context, const Nest& nest) {
  const std::string& op = context.node->op_type;
  const auto a = symmetric_scale(context.inputs[0], "input 0");
  if (!a) return Reason(a.error());
  const auto b = symmetric_scale(context.inputs[1], "input 1");
  if (!b) return Reason(b.error());
  const auto y = symmetric_scale(context.outputs[0], "output 0");
  if (!y) return Reason(y.error());
  const ClampBounds bounds = clamp_bounds(*context.outputs[0].quantization, context.clamp);
  const auto step = [&](bvl_kernel kernel, auto params) {
    set_nest(params, nest);
    params.low = bounds.low;
    params.high = bounds.high;
    return one_step(context, nest, make_step(kernel, {StepOperand::input(0), StepOperand::input(1)}, {StepOperand::output(0)}, params,
                                             nest.walk.dims[0], nest.count));
  };
  if (op == "Add" || op == "Sub") {
    bvl_add_s16_params params{};
    params.a_multiplier = *a / *y;
    params.b_multiplier = op == "Sub" ? -(*b / *y) : *b / *y;
    return step(BVL_KERNEL_ADD_S16, params);
  }
  if (op == "Mul") {
    bvl_mul_s16_params params{};
    const float product = *a * *b;
    params.multiplier = product / *y;
    return step(BVL_KERNEL_MUL_S16, params);
  }
  return no_kernel("there is no kernel for {} on int16", op);
}

std::optional<std::int32_t> binary_code(std::string_view op) {
  static constexpr std::pair<std::string_view, std::int32_t> kCodes[] = {
      {"Add", BVL_BINARY_ADD}, {"Sub", BVL_BINARY_SUB}, {"Mul", BVL_BINARY_MUL},    {"Div", BVL_BINARY_DIV},
      {"Min", BVL_BINARY_MIN}, {"Max", BVL_BINARY_MAX}, {"PRelu", BVL_BINARY_PRELU}};
  for (const auto& [name, code] : kCodes) {
    if (name == op) return code;
  }
  return std::nullopt;
}

}  // namespace

LowerResult lower_binary(const LowerContext& context) {
  const ValueFacts& facts = context.facts.value;
  // With one data operand the other is a constant and the op a pointwise function: min(x, 6), PRelu of one slope.
  if (context.integer() && facts.quant == QuantRole::table) return lower_unary(context);
  const auto nest = nest_of(context);
  if (!nest) return Reason(nest.error());
  if (context.integer()) return context.wide() ? wide_binary(context, *nest) : integer_binary(context, *nest);
  for (const GroupOperand& operand : context.inputs) {
    if (operand.dtype != DType::float32) return no_kernel("an input is {}: only float32 has kernels", dtype_name(operand.dtype));
  }
  if (auto reason = check_float(context)) return Reason(*reason);
  const auto code = binary_code(context.node->op_type);
  if (!code) return no_kernel("there is no kernel for {}", context.node->op_type);
  bvl_binary_f32_params params{};
  params.op = *code;
  set_nest(params, *nest);
  const Interval clamp = context.clamp.value_or(Interval{});
  params.low = static_cast<float>(clamp.low);
  params.high = static_cast<float>(clamp.high);
  return one_step(context, *nest,
                  make_step(BVL_KERNEL_BINARY_F32, {StepOperand::input(0), StepOperand::input(1)},
                            {StepOperand::output(0)}, params, nest->walk.dims[0], nest->count));
}

}  // namespace bevel::ops
