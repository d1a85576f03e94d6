// Slice, Split, Pad (constant mode) and Expand: strided copies.
#include <algorithm>

#include "lib/ops/family.h"
#include "lib/ops/lower_common.h"
#include "lib/ops/lower_functions.h"
#include "lib/ops/movement_lower.h"

namespace bevel::ops {
namespace {

Lowered<std::vector<std::int64_t>> constant_ints(const LowerContext& context, std::size_t index, const char* role) {
  if (index >= context.inputs.size() || !context.inputs[index].value.valid()) return std::vector<std::int64_t>{};
  const Tensor* tensor = context.inputs[index].constant;
  if (tensor == nullptr || !is_integer(tensor->dtype())) return no_kernel("its {} are not constant integers", role);
  return tensor->as_int64s();
}

// A walk over `extents` (logical axes) in the memory order of `lead`, with the strides of two operands.
Walk walk_of(const Dims& extents, const MemoryOrder& lead, const Dims& in_strides, const Dims& out_strides) {
  Walk walk;
  walk.strides.resize(2);
  for (int axis : lead) {
    const auto a = static_cast<std::size_t>(axis);
    walk.dims.push_back(extents[a]);
    walk.strides[0].push_back(in_strides[a]);
    walk.strides[1].push_back(out_strides[a]);
  }
  return walk;
}

}  // namespace

// Slice-13: starts, ends, axes, steps as inputs; ends are clamped, negative indices count from the end.
LowerResult lower_slice(const LowerContext& context) {
  auto mover = Mover::create(context);
  if (!mover) return Reason(mover.error());
  const GroupOperand& in = context.inputs[0];
  const GroupOperand& out = context.outputs[0];
  auto starts = constant_ints(context, 1, "starts");
  auto axes = constant_ints(context, 3, "axes");
  auto steps = constant_ints(context, 4, "steps");
  for (const auto* list : {&starts, &axes, &steps}) {
    if (!*list) return Reason(list->error());
  }
  const std::size_t rank = in.dims.size();
  if (out.dims.size() != rank) return no_kernel("it changes the rank");
  if (axes->empty()) {
    for (std::size_t a = 0; a < starts->size(); ++a) axes->push_back(static_cast<std::int64_t>(a));
  }
  if (steps->empty()) steps->assign(starts->size(), 1);
  if (axes->size() != starts->size() || steps->size() != starts->size()) return no_kernel("starts, axes and steps differ in length");
  const auto out_count = kernel_count(out.dims, "output 0");
  if (!out_count) return Reason(out_count.error());
  Dims in_strides = memory_strides(in.dims, in.order);
  std::int64_t offset = 0;
  for (std::size_t i = 0; i < axes->size(); ++i) {
    const auto axis = normalize_axis((*axes)[i], rank);
    if (!axis) return no_kernel("an axis is out of range");
    const auto a = static_cast<std::size_t>(*axis);
    const std::int64_t extent = in.dims[a], step = (*steps)[i];
    std::int64_t start = (*starts)[i];
    if (start < 0) start = start < -extent ? -1 : start + extent;
    start = std::clamp<std::int64_t>(start, 0, step < 0 ? extent - 1 : extent);
    if (step == 0 || !fits_int32(step) || start + (out.dims[a] - 1) * step >= extent || start + (out.dims[a] - 1) * step < 0) {
      return no_kernel("axis {} is sliced out of range", a);
    }
    offset += start * in_strides[a];
    in_strides[a] *= step;
  }
  const Walk walk = walk_of(out.dims, out.order, in_strides, memory_strides(out.dims, out.order));
  if (auto reason = mover->move(0, 0, walk, offset, 0)) return Reason(*reason);
  return std::move(mover->group);
}

LowerResult lower_split(const LowerContext& context) {
  auto mover = Mover::create(context);
  if (!mover) return Reason(mover.error());
  const GroupOperand& in = context.inputs[0];
  const auto axis = normalize_axis(attr_int(*context.node, "axis", 0).value_or(0), in.dims.size());
  if (!axis) return no_kernel("its axis is out of range");
  const auto a = static_cast<std::size_t>(*axis);
  const Dims in_strides = memory_strides(in.dims, in.order);
  std::int64_t begin = 0;
  for (std::size_t i = 0; i < context.outputs.size(); ++i) {
    const GroupOperand& out = context.outputs[i];
    if (!out.value.valid()) return no_kernel("output {} is absent: where the next one begins is not known", i);
    if (out.dims.size() != in.dims.size() || begin + out.dims[a] > in.dims[a]) return no_kernel("output {} does not fit", i);
    if (out.dims[a] == 0) continue;
    const Walk walk = walk_of(out.dims, out.order, in_strides, memory_strides(out.dims, out.order));
    if (auto reason = mover->move(0, static_cast<int>(i), walk, begin * in_strides[a], 0)) return Reason(*reason);
    begin += out.dims[a];
  }
  return std::move(mover->group);
}

// Pad-13..21: pads as an input, the value as input 2, axes (opset 18) as input 3. Negative pads crop.
LowerResult lower_pad(const LowerContext& context) {
  const std::string mode = attr_string(*context.node, "mode", "constant").value_or("");
  if (mode != "constant") return no_kernel("padding by '{}' has no kernel", printable(mode));
  auto mover = Mover::create(context);
  if (!mover) return Reason(mover.error());
  const GroupOperand& in = context.inputs[0];
  const GroupOperand& out = context.outputs[0];
  const std::size_t rank = in.dims.size();
  const auto pads = constant_ints(context, 1, "pads");
  if (!pads) return Reason(pads.error());
  auto axes = constant_ints(context, 3, "axes");
  if (!axes) return Reason(axes.error());
  if (axes->empty()) {
    for (std::size_t a = 0; a < rank; ++a) axes->push_back(static_cast<std::int64_t>(a));
  }
  if (pads->size() != 2 * axes->size() || out.dims.size() != rank) return no_kernel("its pads do not fit rank {}", rank);
  const auto out_count = kernel_count(out.dims, "output 0");
  if (!out_count) return Reason(out_count.error());

  double value = 0;
  if (context.inputs.size() > 2 && context.inputs[2].value.valid()) {
    const GroupOperand& operand = context.inputs[2];
    if (operand.constant == nullptr || operand.constant->size() != 1) return no_kernel("its padding value is not constant");
    value = operand.constant->as_double(0);
    if (operand.quantization && operand.quantization->per_tensor()) {
      value = (value - operand.quantization->zero_points[0]) * operand.quantization->scales[0];
    }
  }
  bvl_fill_params fill{};
  fill.count = *out_count;
  if (context.outputs[0].quantization) {
    const auto y = product_quantization(out, context.wide(), "output 0");
    if (!y) return Reason(y.error());
    const ClampBounds bounds = clamp_bounds(*y, context.clamp);
    fill.element_bytes = context.wide() ? 2 : 1;
    fill.bits = std::clamp(quantize_value(value, *y), bounds.low, bounds.high);
  } else if (out.dtype == DType::float32) {
    const auto real = static_cast<float>(value);
    fill.element_bytes = 4;
    __builtin_memcpy(&fill.bits, &real, 4);
  } else if (is_8bit(out.dtype)) {
    fill.element_bytes = 1;
    fill.bits = static_cast<std::int32_t>(value) - (out.dtype == DType::uint8 ? 128 : 0);
  } else {
    return no_kernel("padding of {} has no kernel", dtype_name(out.dtype));
  }

  const Dims in_strides = memory_strides(in.dims, in.order), out_strides = memory_strides(out.dims, out.order);
  Dims extents = in.dims;
  std::int64_t in_offset = 0, out_offset = 0;
  for (std::size_t i = 0; i < axes->size(); ++i) {
    const auto axis = normalize_axis((*axes)[i], rank);
    if (!axis) return no_kernel("an axis is out of range");
    const auto a = static_cast<std::size_t>(*axis);
    const std::int64_t begin = (*pads)[i], end = (*pads)[i + axes->size()];
    if (!fits_int32(begin) || !fits_int32(end)) return no_kernel("a pad is out of range");
    extents[a] += std::min<std::int64_t>(begin, 0) + std::min<std::int64_t>(end, 0);
    in_offset += std::max<std::int64_t>(-begin, 0) * in_strides[a];
    out_offset += std::max<std::int64_t>(begin, 0) * out_strides[a];
    if (extents[a] < 0 || in.dims[a] + begin + end != out.dims[a]) return no_kernel("its pads do not fit the shapes");
  }
  const bool all_inside = extents == out.dims;
  if (!all_inside) {
    mover->group.steps.push_back(make_step(BVL_KERNEL_FILL, {}, {StepOperand::output(0)}, fill, 1,
                                           static_cast<std::uint64_t>(*out_count)));
  }
  if (std::find(extents.begin(), extents.end(), 0) == extents.end()) {
    const Walk walk = walk_of(extents, out.order, in_strides, out_strides);
    if (auto reason = mover->move(0, 0, walk, in_offset, out_offset)) return Reason(*reason);
  }
  return std::move(mover->group);
}

LowerResult lower_expand(const LowerContext& context) {
  auto mover = Mover::create(context);
  if (!mover) return Reason(mover.error());
  const GroupOperand& in = context.inputs[0];
  const GroupOperand& out = context.outputs[0];
  if (in.dims.size() > out.dims.size()) return no_kernel("its output has a smaller rank");
  const auto out_count = kernel_count(out.dims, "output 0");
  if (!out_count) return Reason(out_count.error());
  Walk walk;
  walk.dims = to_memory(out.dims, out.order);
  walk.strides = {strides_along(in, out), strides_along(out, out)};
  if (auto reason = mover->move(0, 0, walk, 0, 0)) return Reason(*reason);
  return std::move(mover->group);
}

}  // namespace bevel::ops
