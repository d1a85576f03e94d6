// Softmax and LogSoftmax along one axis, wherever it lies in memory.
#include <cmath>

#include "lib/ops/family.h"
#include "lib/ops/lower_common.h"
#include "lib/ops/lower_functions.h"
#include "lib/runtime/bevel_math.h"

namespace bevel::ops {

LowerResult lower_softmax(const LowerContext& context) {
  const GroupOperand& x = context.inputs[0];
  const GroupOperand& y = context.outputs[0];
  const bool log = context.node->op_type == "LogSoftmax";
  const auto count = kernel_count(x.dims, "input 0");
  if (!count) return Reason(count.error());
  if (!same_memory(x.dims, x.order, y.order)) return no_kernel("it changes the memory order");
  const auto axis = normalize_axis(attr_int(*context.node, "axis", -1).value_or(-1), x.dims.size());
  if (!axis) return no_kernel("its axis is out of range");
  std::int32_t outer = 1, inner = 1;
  const auto depth = static_cast<std::int32_t>(x.dims[static_cast<std::size_t>(*axis)]);
  bool behind = false;
  for (int a : x.order) {
    if (a == *axis) {
      behind = true;
    } else {
      (behind ? inner : outer) *= static_cast<std::int32_t>(x.dims[static_cast<std::size_t>(a)]);
    }
  }
  // Elementary operations: one exponential or table entry, one division each.
  const auto work = static_cast<std::uint64_t>(*count);
  LoweredGroup group;
  if (!context.integer()) {
    if (auto reason = check_float(context)) return Reason(*reason);
    if (context.clamp) return no_kernel("an activation behind Softmax");
    bvl_softmax_f32_params params{outer, depth, inner, log ? 1 : 0};
    group.steps.push_back(make_step(BVL_KERNEL_SOFTMAX_F32, {StepOperand::input(0)}, {StepOperand::output(0)}, params, outer, work));
    return group;
  }
  if (log) return no_kernel("there is no integer kernel for LogSoftmax");
  if (context.wide()) {
    const auto in_scale = symmetric_scale(x, "input 0");
    if (!in_scale) return Reason(in_scale.error());
    const auto out_scale = symmetric_scale(y, "output 0");
    if (!out_scale) return Reason(out_scale.error());
    const ClampBounds bounds = clamp_bounds(*y.quantization, context.clamp);
    bvl_softmax_s16_params params{outer, depth, inner, *in_scale, *out_scale, bounds.low, bounds.high};
    group.steps.push_back(make_step(BVL_KERNEL_SOFTMAX_S16, {StepOperand::input(0)}, {StepOperand::output(0)}, params, outer, work));
    return group;
  }
  const auto in = activation_quantization(x, "input 0");
  if (!in) return Reason(in.error());
  const auto out = activation_quantization(y, "output 0");
  if (!out) return Reason(out.error());
  if (out->scales[0] != 1.0f / 256 || device_zero_point(*out) != -128 || context.clamp) {
    return no_kernel("its output has scale {} and zero point {}: the kernel gives 1/256 and the lowest integer",
                     out->scales[0], out->zero_points[0]);
  }
  group.constants.push_back({"table", DType::uint32, {256}, [scale = in->scales[0]]() -> Result<Tensor> {
                               std::vector<std::uint32_t> table(256);
                               for (std::size_t d = 0; d < table.size(); ++d) {
                                 const double e = bvl_exp(-static_cast<double>(scale) * static_cast<double>(d));
                                 table[d] = static_cast<std::uint32_t>(std::nearbyint(e * 0x1p31));
                               }
                               return Tensor::of<std::uint32_t>({256}, table);
                             }});
  bvl_softmax_s8_params params{outer, depth, inner};
  group.steps.push_back(make_step(BVL_KERNEL_SOFTMAX_S8, {StepOperand::input(0), StepOperand::constant(0)},
                                  {StepOperand::output(0)}, params, outer, work));
  return group;
}

}  // namespace bevel::ops
