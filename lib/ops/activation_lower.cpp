// Pointwise functions of one operand. On 8-bit values: a table of 256 results, made at packing by evaluating the family's own
// function on the dequantized inputs, in double where the family takes it. In float: unary_f32.
#include <algorithm>
#include <cmath>
#include <limits>

#include "lib/ops/evaluate.h"
#include "lib/ops/family.h"
#include "lib/ops/lower_common.h"
#include "lib/ops/lower_functions.h"
#include "lib/ops/requantize.h"

namespace bevel::ops {
namespace {

constexpr std::uint64_t kMaxTableBytes = 1 << 20;

// The operand that varies; the others must be constant.
std::size_t data_operand(const LowerContext& context) {
  const auto& operands = context.facts.value.data_operands;
  return operands.empty() ? 0 : static_cast<std::size_t>(operands[0]);
}

// One value as a real of `dtype`; integers of a quantized constant are dequantized.
Tensor constant_as(const GroupOperand& operand, DType dtype) {
  const Tensor& tensor = *operand.constant;
  const bool quantized = operand.quantization.has_value();
  if (!quantized && !is_floating(tensor.dtype())) return tensor;
  std::vector<double> values = to_doubles(tensor);
  if (quantized) {
    for (double& value : values) {
      value = static_cast<double>(static_cast<float>(value - operand.quantization->zero_points[0]) * operand.quantization->scales[0]);
    }
  }
  return from_doubles(dtype, tensor.dims(), values);
}

Result<std::vector<double>> evaluate_points(const LowerContext& context, const std::vector<float>& points) {
  const std::size_t data = data_operand(context);
  const std::vector<double> wide(points.begin(), points.end());
  Result<std::vector<double>> last = fail_input("it cannot be evaluated");
  for (DType dtype : {DType::float64, DType::float32}) {
    std::vector<Datum> inputs(context.inputs.size());
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      if (i == data) {
        inputs[i] = from_doubles(dtype, {static_cast<std::int64_t>(wide.size())}, wide);
      } else if (context.inputs[i].constant != nullptr) {
        // A bound or slope of one element, whatever its rank: the points are one axis.
        inputs[i] = constant_as(context.inputs[i], dtype).reshaped({});
      }
    }
    const Outputs outputs = evaluate_node(*context.node, context.opset, inputs, kMaxTableBytes);
    if (!outputs) {
      last = Failure(outputs.error());
      continue;
    }
    const Tensor* result = outputs->empty() ? nullptr : (*outputs)[0].tensor();
    if (result == nullptr || result->size() != static_cast<std::int64_t>(wide.size())) {
      return fail_input("its evaluation on {} points gave another number of results", wide.size());
    }
    return to_doubles(*result);
  }
  return last;
}

Result<Tensor> function_table(const LowerContext& context, const Quantization& x, const Quantization& y) {
  std::vector<float> points;
  for (std::int32_t q = -128; q < 128; ++q) points.push_back(static_cast<float>(q - device_zero_point(x)) * x.scales[0]);
  BEVEL_TRY(const std::vector<double> values, evaluate_points(context, points));
  const ClampBounds bounds = clamp_bounds(y, context.clamp);
  const double scale = y.scales[0];
  std::vector<std::int8_t> table(256);
  for (std::size_t i = 0; i < table.size(); ++i) {
    table[i] = static_cast<std::int8_t>(quantize(values[i] / scale, device_zero_point(y), {bounds.low, bounds.high}));
  }
  return Tensor::of<std::int8_t>({256}, table);
}

// The op's own clamp and the folded one behind it, which has the last word.
Interval joined_clamp(const LowerContext& context) {
  Interval clamp = *context.facts.value.clamp;
  if (context.clamp) {
    clamp.low = std::clamp(clamp.low, context.clamp->low, context.clamp->high);
    clamp.high = std::clamp(clamp.high, context.clamp->low, context.clamp->high);
  }
  return clamp;
}

LowerResult integer_unary(const LowerContext& context) {
  const std::size_t data = data_operand(context);
  const auto x = activation_quantization(context.inputs[data], "the input");
  if (!x) return Reason(x.error());
  const auto y = activation_quantization(context.outputs[0], "output 0");
  if (!y) return Reason(y.error());
  const auto count = kernel_count(context.outputs[0].dims, "output 0");
  if (!count) return Reason(count.error());
  if (context.inputs[data].dims != context.outputs[0].dims) return no_kernel("it changes the shape");
  if (!same_memory(context.outputs[0].dims, context.inputs[data].order, context.outputs[0].order)) {
    return no_kernel("it changes the memory order");
  }
  const StepOperand in = StepOperand::input(static_cast<int>(data));
  LoweredGroup group;
  if (context.facts.value.clamp) {
    // min(max(x, low), high): requantization with bounds, the identity where neither bites.
    auto table = requantization_table(*x, *y, joined_clamp(context));
    if (!table) return group;
    group.constants.push_back(std::move(*table));
    group.steps.push_back(lut_step(in, StepOperand::output(0), 0, *count));
    return group;
  }
  // The table's function must not read the context's borrowed pointers after this call: own copies travel with it.
  LowerContext own = context;
  auto node = std::make_shared<const Node>(*context.node);
  auto constants = std::make_shared<std::vector<Tensor>>(context.inputs.size());
  for (std::size_t i = 0; i < context.inputs.size(); ++i) {
    if (i == data || !context.inputs[i].value.valid()) continue;
    if (context.inputs[i].constant == nullptr) return no_kernel("input {} is not constant", i);
    const Tensor& tensor = *context.inputs[i].constant;
    if (tensor.size() != 1) return no_kernel("input {} has {} elements: a table takes one", i, tensor.size());
    if (context.inputs[i].quantization && !context.inputs[i].quantization->per_tensor()) return no_kernel("input {} has scales per channel", i);
    (*constants)[i] = tensor;
    own.inputs[i].constant = &(*constants)[i];
  }
  own.node = node.get();
  group.constants.push_back(table_constant([own, node, constants, x = *x, y = *y] { return function_table(own, x, y); }));
  group.steps.push_back(lut_step(in, StepOperand::output(0), 0, *count));
  return group;
}

struct Unary {
  std::int32_t op = 0;
  float alpha = 0, beta = 0;
};

Lowered<Unary> unary_code(const LowerContext& context) {
  const Node& node = *context.node;
  const std::string& op = node.op_type;
  const auto attr = [&](const char* name, float fallback) { return attr_float(node, name, fallback).value_or(fallback); };
  if (const auto& clamp = context.facts.value.clamp) {
    return Unary{BVL_UNARY_CLIP, static_cast<float>(clamp->low), static_cast<float>(clamp->high)};
  }
  if (op == "LeakyRelu") return Unary{BVL_UNARY_LEAKY_RELU, attr("alpha", 0.01f), 0};
  if (op == "HardSigmoid") return Unary{BVL_UNARY_HARD_SIGMOID, attr("alpha", 0.2f), attr("beta", 0.5f)};
  if (op == "HardSwish") return Unary{BVL_UNARY_HARD_SWISH, 1.0f / 6.0f, 0.5f};
  if (op == "Elu") return Unary{BVL_UNARY_ELU, attr("alpha", 1.0f), 0};
  if (op == "Gelu") {
    const bool tanh = attr_string(node, "approximate", "none").value_or("none") == "tanh";
    return Unary{tanh ? BVL_UNARY_GELU_TANH : BVL_UNARY_GELU, 0, 0};
  }
  static constexpr std::pair<std::string_view, std::int32_t> kPlain[] = {
      {"Sigmoid", BVL_UNARY_SIGMOID}, {"Tanh", BVL_UNARY_TANH},
      {"Softplus", BVL_UNARY_SOFTPLUS}, {"Erf", BVL_UNARY_ERF},   {"Exp", BVL_UNARY_EXP},
      {"Log", BVL_UNARY_LOG},         {"Sqrt", BVL_UNARY_SQRT},   {"Reciprocal", BVL_UNARY_RECIPROCAL},
      {"Abs", BVL_UNARY_ABS},         {"Neg", BVL_UNARY_NEG},     {"Floor", BVL_UNARY_FLOOR},
      {"Ceil", BVL_UNARY_CEIL}};
  for (const auto& [name, code] : kPlain) {
    if (name == op) return Unary{code, 0, 0};
  }
  return no_kernel("there is no kernel for {}", op);
}

// int16: clamps rescale in integers, other functions are computed in float and rounded back.
LowerResult wide_unary(const LowerContext& context) {
  const std::size_t data = data_operand(context);
  const auto in_scale = symmetric_scale(context.inputs[data], "the input");
  if (!in_scale) return Reason(in_scale.error());
  const auto out_scale = symmetric_scale(context.outputs[0], "output 0");
  if (!out_scale) return Reason(out_scale.error());
  const auto count = kernel_count(context.outputs[0].dims, "output 0");
  if (!count) return Reason(count.error());
  if (context.inputs[data].dims != context.outputs[0].dims) return no_kernel("it changes the shape");
  if (!same_memory(context.outputs[0].dims, context.inputs[data].order, context.outputs[0].order)) {
    return no_kernel("it changes the memory order");
  }
  const Quantization& y = *context.outputs[0].quantization;
  const StepOperand in = StepOperand::input(static_cast<int>(data));
  LoweredGroup group;
  if (context.facts.value.clamp) {
    auto rescale = rescale_step(in, StepOperand::output(0), *in_scale, y, joined_clamp(context), *count);
    if (rescale) group.steps.push_back(std::move(*rescale));
    return group;
  }
  const auto code = unary_code(context);
  if (!code) return Reason(code.error());
  const ClampBounds bounds = clamp_bounds(y, context.clamp);
  const bvl_unary_s16_params params{code->op, *count, code->alpha, code->beta, *in_scale, *out_scale, bounds.low, bounds.high};
  group.steps.push_back(make_step(BVL_KERNEL_UNARY_S16, {in}, {StepOperand::output(0)}, params, block_range(*count),
                                  static_cast<std::uint64_t>(*count)));
  group.steps.back().in_place = true;
  return group;
}

}  // namespace

LowerResult lower_unary(const LowerContext& context) {
  if (context.integer()) return context.wide() ? wide_unary(context) : integer_unary(context);
  if (auto reason = check_float(context)) return Reason(*reason);
  const std::size_t data = data_operand(context);
  if (context.clamp) return no_kernel("an activation behind {} in float", context.node->op_type);
  const auto code = unary_code(context);
  if (!code) return Reason(code.error());
  const auto count = kernel_count(context.outputs[0].dims, "output 0");
  if (!count) return Reason(count.error());
  if (!same_memory(context.outputs[0].dims, context.inputs[data].order, context.outputs[0].order)) {
    return no_kernel("it changes the memory order");
  }
  bvl_unary_f32_params params{};
  params.op = code->op;
  params.count = *count;
  params.alpha = code->alpha;
  params.beta = code->beta;
  LoweredGroup group;
  group.steps.push_back(make_step(BVL_KERNEL_UNARY_F32, {StepOperand::input(static_cast<int>(data))}, {StepOperand::output(0)},
                                  params, block_range(*count), static_cast<std::uint64_t>(*count)));
  group.steps.back().in_place = true;
  return group;
}

}  // namespace bevel::ops
