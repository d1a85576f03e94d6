// QuantizeLinear and DequantizeLinear by themselves (at the borders between float and integers), and Cast.
#include <cmath>

#include "lib/ops/family.h"
#include "lib/ops/lower_common.h"
#include "lib/ops/lower_functions.h"
#include "lib/ops/requantize.h"

namespace bevel::ops {

QuantNode quant_node(const Node& node) {
  if (!node.domain.empty() && node.domain != "com.microsoft") return QuantNode::none;
  if (node.op_type == "QuantizeLinear") return QuantNode::quantize;
  if (node.op_type == "DequantizeLinear") return QuantNode::dequantize;
  return QuantNode::none;
}

// QuantizeLinear-13, DequantizeLinear-13: axis 1 by default; 21 adds block_size and output_dtype.
std::optional<Quantization> node_quantization(const Graph& graph, const Node& node) {
  const QuantNode kind = quant_node(node);
  if (kind == QuantNode::none || node.inputs.size() < 2 || node.outputs.empty() || !node.outputs[0].valid()) return std::nullopt;
  if (attr_int(node, "block_size", 0).value_or(1) != 0) return std::nullopt;
  const Tensor* scale = graph.constant(node.inputs[1]);
  const bool has_zero_point = node.inputs.size() > 2 && node.inputs[2].valid();
  const Tensor* zero_point = has_zero_point ? graph.constant(node.inputs[2]) : nullptr;
  if (scale == nullptr || (has_zero_point && zero_point == nullptr) || scale->rank() > 1) return std::nullopt;
  const Value& quantized = graph.value(kind == QuantNode::quantize ? node.outputs[0] : node.inputs[0]);
  const Value& real = graph.value(kind == QuantNode::quantize ? node.inputs[0] : node.outputs[0]);
  if (real.type.is_tensor() && real.type.dtype != DType::float32 && real.type.dtype != DType::undefined) return std::nullopt;
  DType dtype = zero_point != nullptr ? zero_point->dtype() : DType::undefined;
  if (dtype == DType::undefined && quantized.type.is_tensor()) dtype = quantized.type.dtype;
  if (dtype == DType::undefined && kind == QuantNode::quantize) {
    const DType stated = attr_dtype(node, "output_dtype", DType::undefined).value_or(DType::undefined);
    dtype = stated == DType::undefined ? DType::uint8 : stated;
  }
  if (!is_activation_dtype(dtype) && !is_4bit(dtype) && dtype != DType::int32) return std::nullopt;
  std::int64_t axis = attr_int(node, "axis", 1).value_or(1);
  if (scale->size() > 1) {
    const Type& type = quantized.type.is_tensor() && quantized.type.shape.has_rank ? quantized.type : real.type;
    if (!type.is_tensor() || !type.shape.has_rank) return std::nullopt;
    const auto normal = normalize_axis(axis, type.shape.rank());
    if (!normal) return std::nullopt;
    axis = *normal;
    const Dim& extent = type.shape.dims[static_cast<std::size_t>(axis)];
    if (extent.known() && extent.value != scale->size()) return std::nullopt;
  }
  auto result = quantization_from(scale, zero_point, dtype, static_cast<int>(axis), "it");
  if (!result) return std::nullopt;
  const auto range = integer_range(dtype);
  for (std::int32_t zero : result->zero_points) {
    if (!range || zero < range->low || zero > range->high) return std::nullopt;
  }
  return std::move(*result);
}

std::optional<Quantization> stored_quantization(const Graph& graph, const Node& node) {
  if (quant_node(node) != QuantNode::dequantize || node.inputs.size() < 2) return std::nullopt;
  const Tensor* tensor = graph.constant(node.inputs[0]);
  const Tensor* scale = graph.constant(node.inputs[1]);
  const bool has_zero_point = node.inputs.size() > 2 && node.inputs[2].valid();
  const Tensor* zero_point = has_zero_point ? graph.constant(node.inputs[2]) : nullptr;
  if (tensor == nullptr || scale == nullptr || (has_zero_point && zero_point == nullptr) || !is_weight_dtype(tensor->dtype())) return std::nullopt;
  const std::int64_t block = attr_int(node, "block_size", 0).value_or(-1);
  if (block == 0) return node_quantization(graph, node);
  const auto axis = normalize_axis(attr_int(node, "axis", 1).value_or(1), tensor->rank());
  if (block < 0 || !axis || (zero_point != nullptr && zero_point->dtype() != tensor->dtype())) return std::nullopt;
  Dims expected = tensor->dims();
  std::int64_t& extent = expected[static_cast<std::size_t>(*axis)];
  extent = extent / block + (extent % block != 0 ? 1 : 0);
  if (scale->dims() != expected || (zero_point != nullptr && zero_point->dims() != expected)) return std::nullopt;
  auto result = quantization_from(scale, zero_point, tensor->dtype(), static_cast<int>(*axis), "it");
  if (!result) return std::nullopt;
  result->axis = static_cast<int>(*axis);
  result->block = block;
  return std::move(*result);
}

ValueId stored_constant(const Graph& graph, const Node& node) {
  if (node.inputs.empty() || node.outputs.empty() || !node.outputs[0].valid()) return {};
  const Tensor* tensor = graph.constant(node.inputs[0]);
  const Type& type = graph.value(node.outputs[0]).type;
  if (tensor == nullptr || !type.is_tensor() || type.dtype != DType::float32) return {};
  const bool widens = node.domain.empty() && node.op_type == "Cast" && tensor->dtype() == DType::float16;
  // int32: a bias, whose quantization node_quantization knows.
  const bool dequantizes = quant_node(node) == QuantNode::dequantize && (is_weight_dtype(tensor->dtype()) || tensor->dtype() == DType::int32);
  return widens || dequantizes ? node.inputs[0] : ValueId();
}

LowerResult lower_quantize(const LowerContext& context) {
  const GroupOperand& x = context.inputs[0];
  const GroupOperand& y = context.outputs[0];
  if (!y.quantization) return no_kernel("its scale or zero point is not a constant of 8 or 16 bits");
  if (x.dtype != DType::float32) return no_kernel("input 0 is {}", dtype_name(x.dtype));
  const auto count = kernel_count(x.dims, "input 0");
  if (!count) return Reason(count.error());
  if (!same_memory(x.dims, x.order, y.order)) return no_kernel("it changes the memory order");
  if (y.dtype == DType::int16) {
    const auto scale = symmetric_scale(y, "output 0");
    if (!scale) return Reason(scale.error());
    const bvl_quantize_f32_s16_params params{*count, *scale, kInt16Range.low, kInt16Range.high};
    LoweredGroup group;
    group.steps.push_back(make_step(BVL_KERNEL_QUANTIZE_F32_S16, {StepOperand::input(0)}, {StepOperand::output(0)}, params,
                                    block_range(*count), static_cast<std::uint64_t>(*count)));
    return group;
  }
  const auto quantization = activation_quantization(y, "output 0");
  if (!quantization) return Reason(quantization.error());
  bvl_quantize_f32_s8_params params{};
  params.count = *count;
  params.scale = quantization->scales[0];
  params.zp = device_zero_point(*quantization);
  params.low = -128;
  params.high = 127;
  LoweredGroup group;
  group.steps.push_back(make_step(BVL_KERNEL_QUANTIZE_F32_S8, {StepOperand::input(0)}, {StepOperand::output(0)}, params,
                                  block_range(*count), static_cast<std::uint64_t>(*count)));
  return group;
}

namespace {

LoweredGroup dequantize_step(std::int32_t count, float scale, std::int32_t zero_point) {
  bvl_dequantize_s8_f32_params params{};
  params.count = count;
  params.scale = scale;
  params.zp = zero_point;
  LoweredGroup group;
  group.steps.push_back(make_step(BVL_KERNEL_DEQUANTIZE_S8_F32, {StepOperand::input(0)}, {StepOperand::output(0)}, params,
                                  block_range(count), static_cast<std::uint64_t>(count)));
  return group;
}

}  // namespace

LowerResult lower_dequantize(const LowerContext& context) {
  const GroupOperand& x = context.inputs[0];
  const GroupOperand& y = context.outputs[0];
  if (!x.quantization) return no_kernel("its scale or zero point is not a constant of 8 or 16 bits");
  if (y.dtype != DType::float32) return no_kernel("output 0 is {}", dtype_name(y.dtype));
  const auto count = kernel_count(x.dims, "input 0");
  if (!count) return Reason(count.error());
  if (!same_memory(x.dims, x.order, y.order)) return no_kernel("it changes the memory order");
  if (x.dtype == DType::int16) {
    const auto scale = symmetric_scale(x, "input 0");
    if (!scale) return Reason(scale.error());
    const bvl_dequantize_s16_f32_params params{*count, *scale};
    LoweredGroup group;
    group.steps.push_back(make_step(BVL_KERNEL_DEQUANTIZE_S16_F32, {StepOperand::input(0)}, {StepOperand::output(0)}, params,
                                    block_range(*count), static_cast<std::uint64_t>(*count)));
    return group;
  }
  const auto quantization = activation_quantization(x, "input 0");
  if (!quantization) return Reason(quantization.error());
  return dequantize_step(*count, quantization->scales[0], device_zero_point(*quantization));
}

LowerResult lower_cast(const LowerContext& context) {
  const GroupOperand& x = context.inputs[0];
  const GroupOperand& y = context.outputs[0];
  if (!same_memory(x.dims, x.order, y.order)) return no_kernel("it changes the memory order");
  if (x.dtype == y.dtype) return LoweredGroup{};
  if (is_8bit(x.dtype) && y.dtype == DType::float32) {
    const auto count = kernel_count(x.dims, "input 0");
    if (!count) return Reason(count.error());
    return dequantize_step(*count, 1.0f, x.dtype == DType::uint8 ? -128 : 0);
  }
  const auto from = element_code(x.dtype), to = element_code(y.dtype);
  if (from && to && (*from != BVL_ELEMENT_FLOAT32 || *to == BVL_ELEMENT_BOOL)) {
    const auto count = kernel_count(x.dims, "input 0");
    if (!count) return Reason(count.error());
    LoweredGroup group;
    group.steps.push_back(make_step(BVL_KERNEL_CAST, {StepOperand::input(0)}, {StepOperand::output(0)}, bvl_cast_params{*count, *from, *to},
                                    block_range(*count), static_cast<std::uint64_t>(*count)));
    return group;
  }
  return no_kernel("there is no kernel from {} to {}", dtype_name(x.dtype), dtype_name(y.dtype));
}

}  // namespace bevel::ops
