// Data movement without arithmetic. Reshape and its like, Identity and Transpose need no step where the memory order permits;
// what remains is the copy kernel's strided walk. Where input and output have different scales, a table requantizes (int16:
// rescale_s16).
#include <algorithm>

#include "lib/ops/family.h"
#include "lib/ops/lower_common.h"
#include "lib/ops/lower_functions.h"
#include "lib/ops/movement_lower.h"

namespace bevel::ops {

Lowered<Mover> Mover::create(const LowerContext& context) {
  Mover mover(context);
  mover.eight_bit_ = ops::eight_bit(context);
  mover.wide_ = context.wide();
  if (!mover.eight_bit_ && !mover.wide_ && context.clamp) return no_kernel("a folded activation on {}", dtype_name(context.outputs[0].dtype));
  return mover;
}

std::optional<std::string> Mover::move(int input, int output, const Walk& walk, std::int64_t in_offset,
                                       std::int64_t out_offset) {
  const GroupOperand& in = context_.inputs[static_cast<std::size_t>(input)];
  const GroupOperand& out = context_.outputs[static_cast<std::size_t>(output)];
  if (in.dtype != out.dtype && !eight_bit_) {
    return fmt::format("it turns {} into {}", dtype_name(in.dtype), dtype_name(out.dtype));
  }
  StepOperand from = StepOperand::input(input);
  // The part that is copied may be smaller than the input; requantizing all of it is one plain loop.
  const StepOperand requantized = StepOperand::temporary(static_cast<int>(group.temporaries.size()));
  const auto count = kernel_count(in.dims, "an input");
  if (!count) return count.error();
  auto requantize = requantization(in, out, from, requantized, *count);
  if (!requantize) return requantize.error();
  if (*requantize) {
    group.temporaries.push_back({wide_ ? DType::int16 : DType::int8, {*count}});
    group.steps.push_back(std::move(**requantize));
    from = requantized;
  }
  auto step = copy_step(from, StepOperand::output(output), walk, in_offset, out_offset, out.dtype);
  if (!step) return step.error();
  group.steps.push_back(std::move(*step));
  return std::nullopt;
}

Lowered<std::optional<LoweredStep>> Mover::requantization(const GroupOperand& in, const GroupOperand& out, StepOperand from,
                                                          StepOperand to, std::int32_t count) {
  if (wide_) {
    const auto scale = symmetric_scale(in, "an input");
    if (!scale) return Reason(scale.error());
    const auto out_scale = symmetric_scale(out, "an output");
    if (!out_scale) return Reason(out_scale.error());
    return rescale_step(from, to, *scale, *out.quantization, context_.clamp, count);
  }
  if (!eight_bit_) return std::nullopt;
  const auto x = activation_quantization(in, "an input");
  if (!x) return Reason(x.error());
  const auto y = activation_quantization(out, "an output");
  if (!y) return Reason(y.error());
  auto table = requantization_table(*x, *y, context_.clamp);
  if (!table) return std::nullopt;
  group.constants.push_back(std::move(*table));
  return lut_step(from, to, static_cast<int>(group.constants.size()) - 1, count);
}

LowerResult lower_view(const LowerContext& context) {
  if (context.inputs.empty() || !context.inputs[0].value.valid()) return no_kernel("its input is absent");
  const GroupOperand& in = context.inputs[0];
  const GroupOperand& out = context.outputs[0];
  if (context.outputs.size() > 1 && context.outputs[1].value.valid()) return no_kernel("its second output is used");
  auto mover = Mover::create(context);
  if (!mover) return Reason(mover.error());
  const auto count = kernel_count(in.dims, "input 0");
  if (!count) return Reason(count.error());
  const auto view = view_order(*context.node, in.dims, in.order, out.dims);
  if (view && same_memory(out.dims, *view, out.order)) {
    if (in.dtype != out.dtype && !mover->eight_bit()) return no_kernel("it changes the element type");
    auto requantize = mover->requantization(in, out, StepOperand::input(0), StepOperand::output(0), *count);
    if (!requantize) return Reason(requantize.error());
    if (*requantize) mover->group.steps.push_back(std::move(**requantize));
    return std::move(mover->group);
  }
  // The bytes must move: the input is brought to the order from which the wanted output is a view.
  MemoryOrder target = logical_order(in.dims.size());
  const auto from_logical = view_order(*context.node, in.dims, target, out.dims);
  if (!from_logical) return no_kernel("memory order {} cannot be reshaped", order_text(in.order));
  if (!same_memory(out.dims, *from_logical, out.order)) {
    // Transpose: the input axis order that, relabelled, is the output's.
    if (from_logical->size() != out.order.size() || in.dims.size() != out.dims.size()) {
      return no_kernel("its output would lie in memory as {}", order_text(out.order));
    }
    // from_logical[k] is the output axis that input axis k becomes.
    for (std::size_t k = 0; k < target.size(); ++k) {
      const auto found = std::find(from_logical->begin(), from_logical->end(), out.order[k]);
      target[k] = static_cast<int>(found - from_logical->begin());
    }
    const auto check = view_order(*context.node, in.dims, target, out.dims);
    if (!check || !same_memory(out.dims, *check, out.order)) {
      return no_kernel("its output would lie in memory as {}", order_text(out.order));
    }
  }
  GroupOperand moved = in;
  moved.order = target;
  Walk walk;
  walk.dims = to_memory(in.dims, target);
  walk.strides = {strides_along(in, moved), strides_along(moved, moved)};
  if (auto reason = mover->move(0, 0, walk, 0, 0)) return Reason(*reason);
  return std::move(mover->group);
}

LowerResult lower_concat(const LowerContext& context) {
  auto mover = Mover::create(context);
  if (!mover) return Reason(mover.error());
  const GroupOperand& out = context.outputs[0];
  const auto axis = normalize_axis(attr_int(*context.node, "axis", 0).value_or(0), out.dims.size());
  if (!axis) return no_kernel("its axis is out of range");
  const auto out_count = kernel_count(out.dims, "output 0");
  if (!out_count) return Reason(out_count.error());
  const Dims out_strides = memory_strides(out.dims, out.order);
  std::int64_t begin = 0;
  for (std::size_t i = 0; i < context.inputs.size(); ++i) {
    const GroupOperand& in = context.inputs[i];
    if (!in.value.valid()) return no_kernel("input {} is absent", i);
    if (in.dims.size() != out.dims.size()) return no_kernel("input {} has another rank", i);
    const std::int64_t extent = in.dims[static_cast<std::size_t>(*axis)];
    if (extent == 0) continue;
    const Dims in_strides = memory_strides(in.dims, in.order);
    Walk walk;
    walk.strides.resize(2);
    for (int a : out.order) {
      const auto k = static_cast<std::size_t>(a);
      walk.dims.push_back(in.dims[k]);
      walk.strides[0].push_back(in_strides[k]);
      walk.strides[1].push_back(out_strides[k]);
    }
    const std::int64_t offset = begin * out_strides[static_cast<std::size_t>(*axis)];
    if (auto reason = mover->move(static_cast<int>(i), 0, walk, 0, offset)) return Reason(*reason);
    begin += extent;
  }
  if (begin != out.dims[static_cast<std::size_t>(*axis)]) return no_kernel("its inputs do not fill the output");
  return std::move(mover->group);
}

}  // namespace bevel::ops
