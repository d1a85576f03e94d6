// Conv and QLinearConv to conv2d_s8, depthwise_conv2d_s8 and conv2d_f32. Weights [O, I/g, H, W] become [O, H, W, I/g], those of a
// depthwise convolution [H, W, O]; 4-bit ones stay packed, each row padded. int16 activations: conv2d_s16, depthwise_conv2d_s16.
#include <algorithm>
#include <limits>

#include "lib/ops/facts_derived.h"
#include "lib/ops/family.h"
#include "lib/ops/lower_functions.h"
#include "lib/ops/weight_rows.h"
#include "lib/ops/window.h"

namespace bevel::ops {
namespace {

struct Geometry {
  Image in, out;
  Window window;
  std::int32_t groups = 1;
  std::int64_t group_inputs = 1;  // input channels of one group
  std::int64_t products = 1;      // summed into one output element
  std::uint64_t macs = 0;
  [[nodiscard]] std::int64_t kernel_elements() const { return std::int64_t{window.kernel[0]} * window.kernel[1]; }
};

Lowered<Geometry> geometry_of(const LowerContext& context, const Tensor& weights) {
  const Node& node = *context.node;
  const GroupOperand& x = context.inputs[0];
  const GroupOperand& y = context.outputs[0];
  Geometry geometry;
  auto in = image_of(x, "input 0");
  if (!in) return Reason(in.error());
  auto out = image_of(y, "output 0");
  if (!out) return Reason(out.error());
  geometry.in = *in;
  geometry.out = *out;
  if (weights.rank() != x.dims.size()) return no_kernel("weights have rank {}, the image {}", weights.rank(), x.dims.size());
  const std::vector<std::int64_t> kernel(weights.dims().begin() + 2, weights.dims().end());
  auto window = window_of(node, geometry.in, x.dims.size() - 2, kernel);
  if (!window) return Reason(window.error());
  geometry.window = *window;
  const std::int64_t groups = attr_int(node, "group", 1).value_or(0);
  if (groups < 1 || geometry.in.c % groups != 0 || geometry.out.c % groups != 0 || weights.dim(0) != geometry.out.c ||
      weights.dim(1) != geometry.in.c / groups) {
    return no_kernel("{} groups do not fit {} input and {} output channels", groups, geometry.in.c, geometry.out.c);
  }
  geometry.groups = static_cast<std::int32_t>(groups);
  geometry.group_inputs = weights.dim(1);
  // The facts' space may have unknown extents; the weights' loops, which are the reduced ones, never are.
  const auto products = reduction_size(context.facts.space);
  if (!products) return no_kernel("the number of products per output is not known");
  geometry.products = *products;
  geometry.macs = static_cast<std::uint64_t>(element_count(y.dims).value_or(0)) * static_cast<std::uint64_t>(*products);
  return geometry;
}

// [O, I, HW] -> [O, HW, I].
template <typename T>
std::vector<T> channels_last(const std::vector<T>& weights, std::int64_t outputs, std::int64_t inputs,
                             std::int64_t elements) {
  std::vector<T> packed(weights.size());
  std::size_t to = 0;
  for (std::int64_t o = 0; o < outputs; ++o) {
    for (std::int64_t e = 0; e < elements; ++e) {
      for (std::int64_t i = 0; i < inputs; ++i) {
        packed[to++] = weights[static_cast<std::size_t>((o * inputs + i) * elements + e)];
      }
    }
  }
  return packed;
}

// [O, 1, HW] -> [HW, O].
std::vector<std::int8_t> depthwise_order(const std::vector<std::int8_t>& weights, std::int64_t outputs,
                                         std::int64_t elements) {
  std::vector<std::int8_t> packed(weights.size());
  for (std::int64_t o = 0; o < outputs; ++o) {
    for (std::int64_t e = 0; e < elements; ++e) {
      packed[static_cast<std::size_t>(e * outputs + o)] = weights[static_cast<std::size_t>(o * elements + e)];
    }
  }
  return packed;
}

LowerResult integer_conv(const LowerContext& context, IntegerProduct product) {
  const auto geometry = geometry_of(context, product.weights);
  if (!geometry) return Reason(geometry.error());
  const Geometry& g = *geometry;
  const std::int64_t elements = g.kernel_elements();
  product.channels = g.out.c;
  product.products = g.products;
  product.channel_of = [per_channel = product.products](std::int64_t index) { return index / per_channel; };
  if (!product.w.per_tensor() && product.w.axis != 0) return no_kernel("weights have scales along axis {}, not 0", product.w.axis);
  if (auto reason = check_product(product)) return Reason(*reason);

  bvl_conv2d_s8_params params{};
  set_window(params, g.in, g.out, g.window);
  params.in_c = g.in.c;
  params.out_c = g.out.c;
  params.groups = g.groups;
  params.in_zp = device_zero_point(product.x);
  params.out_zp = device_zero_point(product.y);
  const ClampBounds bounds = clamp_bounds(product.y, product.clamp);
  params.low = bounds.low;
  params.high = bounds.high;

  const bool depthwise = is_depthwise(context.facts.space);
  LoweredGroup group;
  const bool four = is_4bit(product.weights.dtype());
  PackedConstant weights;
  weights.name = "weights";
  weights.dtype = four ? DType::int4 : DType::int8;
  if (four) {
    const std::int64_t rows = depthwise ? elements : g.out.c;
    weights.dims = {rows, padded_int4_depth(depthwise ? std::int64_t{g.out.c} : elements * g.group_inputs)};
  } else if (depthwise) {
    weights.dims = {g.window.kernel[0], g.window.kernel[1], g.out.c};
  } else {
    weights.dims = {g.out.c, g.window.kernel[0], g.window.kernel[1], g.group_inputs};
  }
  weights.pack = [tensor = product.weights, dims = weights.dims, depthwise, four, outputs = std::int64_t{g.out.c},
                  inputs = g.group_inputs, elements]() -> Result<Tensor> {
    std::vector<std::int8_t> values = device_int8(tensor);
    values = depthwise ? depthwise_order(values, outputs, elements) : channels_last(values, outputs, inputs, elements);
    return four ? packed_int4_rows(values, dims[0]) : Tensor::of<std::int8_t>(dims, values);
  };
  group.constants = {std::move(weights), bias_constant(product), multipliers_constant(product)};
  const std::vector<StepOperand> reads = {StepOperand::input(0), StepOperand::constant(0), StepOperand::constant(1),
                                          StepOperand::constant(2)};
  const bvl_kernel kernel = depthwise ? (four ? BVL_KERNEL_DEPTHWISE_CONV2D_S8_W4 : BVL_KERNEL_DEPTHWISE_CONV2D_S8)
                                      : (four ? BVL_KERNEL_CONV2D_S8_W4 : BVL_KERNEL_CONV2D_S8);
  group.steps.push_back(make_step(kernel, reads,
                                  {StepOperand::output(0)}, params, std::int64_t{g.out.n} * g.out.h, g.macs));
  return group;
}

// int16 activations: the same weights' layouts, symmetric, 64-bit sums.
LowerResult wide_conv(const LowerContext& context, IntegerProduct product) {
  const auto geometry = geometry_of(context, product.weights);
  if (!geometry) return Reason(geometry.error());
  const Geometry& g = *geometry;
  product.channels = g.out.c;
  product.products = g.products;
  if (!product.w.per_tensor() && product.w.axis != 0) return no_kernel("weights have scales along axis {}, not 0", product.w.axis);
  if (auto reason = check_operands(product)) return Reason(*reason);
  bvl_conv2d_s16_params params{};
  set_window(params, g.in, g.out, g.window);
  params.in_c = g.in.c;
  params.out_c = g.out.c;
  params.groups = g.groups;
  const ClampBounds bounds = clamp_bounds(product.y, product.clamp);
  params.low = bounds.low;
  params.high = bounds.high;
  const bool depthwise = is_depthwise(context.facts.space);
  const Dims dims = depthwise ? Dims{g.window.kernel[0], g.window.kernel[1], g.out.c}
                              : Dims{g.out.c, g.window.kernel[0], g.window.kernel[1], g.group_inputs};
  LoweredGroup group;
  group.constants.push_back({"weights", DType::int8, dims,
                             [tensor = product.weights, dims, depthwise, outputs = std::int64_t{g.out.c}, inputs = g.group_inputs,
                              elements = g.kernel_elements()]() -> Result<Tensor> {
                               const std::vector<std::int8_t> values = device_int8(tensor);
                               return Tensor::of<std::int8_t>(dims, depthwise ? depthwise_order(values, outputs, elements)
                                                                              : channels_last(values, outputs, inputs, elements));
                             }});
  group.constants.push_back(wide_bias_constant(product));
  group.constants.push_back(multipliers_constant(product));
  group.steps.push_back(make_step(depthwise ? BVL_KERNEL_DEPTHWISE_CONV2D_S16 : BVL_KERNEL_CONV2D_S16,
                                  {StepOperand::input(0), StepOperand::constant(0), StepOperand::constant(1), StepOperand::constant(2)},
                                  {StepOperand::output(0)}, params, std::int64_t{g.out.n} * g.out.h, g.macs));
  return group;
}

// Float activations, weights as the model stores them.
LowerResult stored_conv(const LowerContext& context) {
  const GroupOperand& w = context.inputs[1];
  if (auto reason = check_stored_weights(w)) return Reason(*reason);
  if (context.outputs[0].dtype != DType::float32) return no_kernel("output 0 is {}", dtype_name(context.outputs[0].dtype));
  const auto geometry = geometry_of(context, *w.constant);
  if (!geometry) return Reason(geometry.error());
  const Geometry& g = *geometry;
  if (w.quantization && w.quantization->block > 0) return no_kernel("convolutions have no kernel for blocks along their sums");
  GroupOperand rows = w;  // as a matrix: one scale for each output channel
  rows.dims = {g.out.c, w.constant->size() / g.out.c};
  auto scales = block_scales(rows, 0, 1, 1.0f);
  if (!scales) return Reason(scales.error());
  const bool has_bias = context.inputs.size() > 2 && context.inputs[2].value.valid();
  auto bias = real_bias(has_bias ? &context.inputs[2] : nullptr, g.out.c, 1.0f);
  if (!bias) return Reason(bias.error());
  bvl_conv2d_f32_w_params params{};
  set_window(params, g.in, g.out, g.window);
  params.in_c = g.in.c;
  params.out_c = g.out.c;
  params.groups = g.groups;
  params.bits = stored_bits(w.constant->dtype());
  const Interval clamp = context.clamp.value_or(Interval{});
  params.low = static_cast<float>(clamp.low);
  params.high = static_cast<float>(clamp.high);
  LoweredGroup group;
  const std::int64_t inputs = g.group_inputs, elements = g.kernel_elements(), depth = inputs * elements;
  group.constants.push_back(stored_rows("weights", *w.constant, g.out.c, [inputs, elements, depth](std::int64_t i) {
    const std::int64_t at = i % depth;  // [element, input] of the row; the graph's is [input, element]
    return i / depth * depth + at % inputs * elements + at / inputs;
  }));
  group.constants.push_back(std::move(scales->constant));
  group.constants.push_back(std::move(*bias));
  group.steps.push_back(make_step(BVL_KERNEL_CONV2D_F32_W,
                                  {StepOperand::input(0), StepOperand::constant(0), StepOperand::constant(1), StepOperand::constant(2)},
                                  {StepOperand::output(0)}, params, std::int64_t{g.out.n} * g.out.h, g.macs));
  return group;
}

LowerResult float_conv(const LowerContext& context) {
  if (has_stored_weights(context)) return stored_conv(context);
  if (auto reason = check_float(context)) return Reason(*reason);
  const Tensor* weights = context.inputs[1].constant;
  if (weights == nullptr) return no_kernel("its weights are not constant");
  if (weights->dtype() != DType::float32) return no_kernel("weights are {}", dtype_name(weights->dtype()));
  const bool has_bias = context.inputs.size() > 2 && context.inputs[2].value.valid();
  const Tensor* bias = has_bias ? context.inputs[2].constant : nullptr;
  if (has_bias && (bias == nullptr || bias->dtype() != DType::float32)) return no_kernel("its bias is not a float32 constant");
  const auto geometry = geometry_of(context, *weights);
  if (!geometry) return Reason(geometry.error());
  const Geometry& g = *geometry;
  if (bias != nullptr && bias->size() != g.out.c) return no_kernel("the bias has {} elements", bias->size());

  bvl_conv2d_f32_params params{};
  set_window(params, g.in, g.out, g.window);
  params.in_c = g.in.c;
  params.out_c = g.out.c;
  params.groups = g.groups;
  const Interval clamp = context.clamp.value_or(Interval{});
  params.low = static_cast<float>(clamp.low);
  params.high = static_cast<float>(clamp.high);

  LoweredGroup group;
  const Dims dims = {g.out.c, g.window.kernel[0], g.window.kernel[1], g.group_inputs};
  group.constants.push_back({"weights", DType::float32, dims, [tensor = *weights, dims]() -> Result<Tensor> {
                               return Tensor::of<float>(dims, channels_last(tensor.as_floats(), dims[0], dims[3],
                                                                            dims[1] * dims[2]));
                             }});
  group.constants.push_back({"bias", DType::float32, {g.out.c},
                             [tensor = bias ? *bias : Tensor(), count = std::int64_t{g.out.c}]() -> Result<Tensor> {
                               return tensor.defined() ? tensor.reshaped({count})
                                                       : Tensor::zeros(DType::float32, {count});
                             }});
  group.steps.push_back(make_step(BVL_KERNEL_CONV2D_F32,
                                  {StepOperand::input(0), StepOperand::constant(0), StepOperand::constant(1)},
                                  {StepOperand::output(0)}, params, std::int64_t{g.out.n} * g.out.h, g.macs));
  return group;
}

}  // namespace

LowerResult lower_conv(const LowerContext& context) {
  if (!context.integer()) return float_conv(context);
  IntegerProduct product;
  const GroupOperand& x = context.inputs[0];
  const GroupOperand& w = context.inputs[1];
  auto x_quantization = product_quantization(x, context.wide(), "input 0");
  if (!x_quantization) return Reason(x_quantization.error());
  auto y_quantization = product_quantization(context.outputs[0], context.wide(), "output 0");
  if (!y_quantization) return Reason(y_quantization.error());
  if (w.constant == nullptr || !w.quantization) return no_kernel("its weights are not quantized constants");
  product.x = *x_quantization;
  product.w = *w.quantization;
  product.y = *y_quantization;
  product.weights = *w.constant;
  product.clamp = context.clamp;
  if (context.inputs.size() > 2 && context.inputs[2].value.valid()) {
    if (context.inputs[2].constant == nullptr) return no_kernel("its bias is not constant");
    product.bias = *context.inputs[2].constant;
    product.bias_quantization = context.inputs[2].quantization;
  }
  return context.wide() ? wide_conv(context, std::move(product)) : integer_conv(context, std::move(product));
}

// QLinearConv-10: x, x_scale, x_zero_point, w, w_scale, w_zero_point, y_scale, y_zero_point, bias (int32 at sx*sw).
LowerResult lower_qlinear_conv(const LowerContext& context) {
  const auto& in = context.inputs;
  if (in.size() < 8 || in[3].constant == nullptr) return no_kernel("its weights are not constant");
  auto x = quantization_from(in[1].constant, in[2].constant, in[0].dtype, -1, "x");
  auto w = quantization_from(in[4].constant, in[5].constant, in[3].dtype, 0, "w");
  auto y = quantization_from(in[6].constant, in[7].constant, context.outputs[0].dtype, -1, "y");
  for (const auto* part : {&x, &w, &y}) {
    if (!*part) return Reason(part->error());
  }
  if (x->scales.size() != 1 || y->scales.size() != 1) return no_kernel("an activation has a scale per channel");
  if (!is_8bit(in[0].dtype) || !is_8bit(context.outputs[0].dtype)) return no_kernel("activations are not 8-bit");
  IntegerProduct product;
  product.x = *x;
  product.w = *w;
  product.y = *y;
  product.weights = *in[3].constant;
  product.clamp = context.clamp;
  if (in.size() > 8 && in[8].value.valid()) {
    if (in[8].constant == nullptr) return no_kernel("its bias is not constant");
    product.bias = *in[8].constant;
  }
  return integer_conv(context, std::move(product));
}

}  // namespace bevel::ops
