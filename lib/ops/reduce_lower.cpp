// Reductions over axes that lie together in memory: GlobalAveragePool, ReduceMean (integers and float), ReduceSum, ReduceMax,
// ReduceMin (float). x is seen as [outer, depth, inner]: channels-last spatial axes have outer = n and inner = c.
#include <algorithm>

#include "lib/ops/family.h"
#include "lib/ops/lower_common.h"
#include "lib/ops/lower_functions.h"

namespace bevel::ops {
namespace {

// Which axes are reduced: axes as an input (opset 18; ReduceSum 13) or an attribute, all spatial ones for global pooling.
Lowered<std::vector<bool>> reduced_axes_of(const LowerContext& context) {
  const Node& node = *context.node;
  const std::size_t rank = context.inputs[0].dims.size();
  std::vector<bool> reduced(rank, false);
  if (node.op_type.starts_with("Global")) {
    for (std::size_t axis = 2; axis < rank; ++axis) reduced[axis] = true;
    return reduced;
  }
  std::vector<std::int64_t> axes = attr_ints(node, "axes").value_or(std::vector<std::int64_t>{});
  if (context.inputs.size() > 1 && context.inputs[1].value.valid()) {
    const Tensor* given = context.inputs[1].constant;
    if (given == nullptr || !is_integer(given->dtype())) return no_kernel("its axes are not constant integers");
    axes = given->as_int64s();
  }
  if (axes.empty()) {
    if (attr_int(node, "noop_with_empty_axes", 0).value_or(0) != 0) return no_kernel("it reduces nothing");
    reduced.assign(rank, true);
    return reduced;
  }
  for (std::int64_t axis : axes) {
    const auto normal = normalize_axis(axis, rank);
    if (!normal) return no_kernel("axis {} is out of range", axis);
    reduced[static_cast<std::size_t>(*normal)] = true;
  }
  return reduced;
}

struct Blocks {
  std::int64_t outer = 1, depth = 1, inner = 1;
};

Lowered<Blocks> blocks_of(const LowerContext& context, const std::vector<bool>& reduced) {
  const GroupOperand& x = context.inputs[0];
  const GroupOperand& y = context.outputs[0];
  const auto count = kernel_count(x.dims, "input 0");
  if (!count) return Reason(count.error());
  Blocks blocks;
  enum { before, within, after } place = before;
  std::vector<int> kept;  // input axes of extent > 1 that stay, in memory order
  for (int axis : x.order) {
    const auto a = static_cast<std::size_t>(axis);
    if (x.dims[a] == 1) continue;
    if (reduced[a]) {
      if (place == after) return no_kernel("the reduced axes are apart in memory order {}", order_text(x.order));
      place = within;
      blocks.depth *= x.dims[a];
    } else {
      if (place == within) place = after;
      (place == after ? blocks.inner : blocks.outer) *= x.dims[a];
      kept.push_back(axis);
    }
  }
  // The output must list the kept axes in the same order. Without keepdims its axes are renumbered.
  std::vector<int> output_axis(x.dims.size(), -1);
  const bool keepdims = y.dims.size() == x.dims.size();
  for (std::size_t a = 0, next = 0; a < x.dims.size(); ++a) {
    if (keepdims || !reduced[a]) output_axis[a] = static_cast<int>(next++);
  }
  std::vector<int> expected, found;
  for (int axis : kept) expected.push_back(output_axis[static_cast<std::size_t>(axis)]);
  for (int axis : y.order) {
    if (y.dims[static_cast<std::size_t>(axis)] != 1) found.push_back(axis);
  }
  if (expected != found) return no_kernel("its output would lie in memory as {}", order_text(y.order));
  return blocks;
}

// int16: the mean as a pool of one row.
LowerResult wide_mean(const LowerContext& context, const Blocks& blocks) {
  const auto in_scale = symmetric_scale(context.inputs[0], "input 0");
  if (!in_scale) return Reason(in_scale.error());
  const auto out_scale = symmetric_scale(context.outputs[0], "output 0");
  if (!out_scale) return Reason(out_scale.error());
  if (blocks.depth > INT32_MAX / 32768) return no_kernel("the sum of {} elements may overflow 32 bits", blocks.depth);
  bvl_avg_pool_s16_params params{};
  params.n = static_cast<std::int32_t>(blocks.outer);
  params.in_h = params.out_h = params.out_w = params.kernel_h = 1;
  params.in_w = params.kernel_w = static_cast<std::int32_t>(blocks.depth);
  params.c = static_cast<std::int32_t>(blocks.inner);
  params.stride_h = params.stride_w = params.dilation_h = params.dilation_w = 1;
  params.in_scale = *in_scale;
  params.out_scale = *out_scale;
  const ClampBounds bounds = clamp_bounds(*context.outputs[0].quantization, context.clamp);
  params.low = bounds.low;
  params.high = bounds.high;
  LoweredGroup group;
  group.steps.push_back(make_step(BVL_KERNEL_AVG_POOL_S16, {StepOperand::input(0)}, {StepOperand::output(0)}, params, blocks.outer,
                                  static_cast<std::uint64_t>(blocks.outer * blocks.depth * blocks.inner)));
  return group;
}

}  // namespace

LowerResult lower_reduce(const LowerContext& context) {
  const auto reduced = reduced_axes_of(context);
  if (!reduced) return Reason(reduced.error());
  const auto blocks = blocks_of(context, *reduced);
  if (!blocks) return Reason(blocks.error());
  const std::string& op = context.node->op_type;
  const bool mean = op == "ReduceMean" || op == "GlobalAveragePool";
  const auto work = static_cast<std::uint64_t>(blocks->outer * blocks->depth * blocks->inner);
  LoweredGroup group;
  if (context.integer()) {
    if (!mean) return no_kernel("there is no integer kernel for {}", op);
    if (context.wide()) return wide_mean(context, *blocks);
    const auto x = activation_quantization(context.inputs[0], "input 0");
    if (!x) return Reason(x.error());
    const auto y = activation_quantization(context.outputs[0], "output 0");
    if (!y) return Reason(y.error());
    if (blocks->depth > INT32_MAX / 255) return no_kernel("the sum of {} elements may overflow 32 bits", blocks->depth);
    bvl_avg_pool_s8_params params{};
    params.n = static_cast<std::int32_t>(blocks->outer);
    params.in_h = params.out_h = params.out_w = params.kernel_h = 1;
    params.in_w = params.kernel_w = static_cast<std::int32_t>(blocks->depth);
    params.c = static_cast<std::int32_t>(blocks->inner);
    params.stride_h = params.stride_w = params.dilation_h = params.dilation_w = 1;
    params.in_zp = device_zero_point(*x);
    params.out_zp = device_zero_point(*y);
    params.in_scale = x->scales[0];
    params.out_scale = y->scales[0];
    const ClampBounds bounds = clamp_bounds(*y, context.clamp);
    params.low = bounds.low;
    params.high = bounds.high;
    group.steps.push_back(make_step(BVL_KERNEL_AVG_POOL_S8, {StepOperand::input(0)}, {StepOperand::output(0)}, params,
                                    blocks->outer, work));
    return group;
  }
  if (auto reason = check_float(context)) return Reason(*reason);
  bvl_reduce_f32_params params{};
  if (mean) {
    params.op = BVL_REDUCE_MEAN;
  } else if (op == "ReduceSum") {
    params.op = BVL_REDUCE_SUM;
  } else if (op == "ReduceMax") {
    params.op = BVL_REDUCE_MAX;
  } else if (op == "ReduceMin") {
    params.op = BVL_REDUCE_MIN;
  } else {
    return no_kernel("there is no kernel for {}", op);
  }
  params.outer = static_cast<std::int32_t>(blocks->outer);
  params.depth = static_cast<std::int32_t>(blocks->depth);
  params.inner = static_cast<std::int32_t>(blocks->inner);
  group.steps.push_back(make_step(BVL_KERNEL_REDUCE_F32, {StepOperand::input(0)}, {StepOperand::output(0)}, params,
                                  blocks->outer, work));
  return group;
}

}  // namespace bevel::ops
