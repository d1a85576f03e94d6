// MatMul, Gemm and QLinearMatMul to dense_s8 and matmul_f32. Constant weights become [out_c, in_c]; 4-bit ones stay packed.
// int16 activations: dense_s16. Two activations: matmul_s8 (matmul_activations_lower.cpp).
#include <algorithm>
#include <cmath>
#include <limits>
#include <span>

#include "lib/ops/family.h"
#include "lib/ops/lower_common.h"
#include "lib/ops/lower_functions.h"
#include "lib/ops/matmul_activations_lower.h"
#include "lib/ops/weight_rows.h"

namespace bevel::ops {
namespace {

struct Shape2d {
  std::int32_t rows = 1, in_c = 1, out_c = 1;
};

// x [rows.., in_c] times a matrix of two axes, both row-major in memory.
Lowered<Shape2d> shape_of(const GroupOperand& x, const GroupOperand& y, const Tensor& weights, bool transposed) {
  if (weights.rank() != 2) return no_kernel("weights have rank {}, not 2", weights.rank());
  if (x.dims.empty()) return no_kernel("input 0 is a scalar");
  if (!in_logical_order(x) || !in_logical_order(y)) return no_kernel("input 0 lies in memory as {}", order_text(x.order));
  const auto x_count = kernel_count(x.dims, "input 0");
  if (!x_count) return Reason(x_count.error());
  const auto y_count = kernel_count(y.dims, "output 0");
  if (!y_count) return Reason(y_count.error());
  const std::int64_t in_c = weights.dim(transposed ? 1 : 0), out_c = weights.dim(transposed ? 0 : 1);
  if (in_c != x.dims.back() || in_c < 1 || out_c < 1 || *y_count % out_c != 0 || *y_count / out_c != *x_count / in_c) {
    return no_kernel("weights {} do not fit input 0 {}", to_string(weights.dims()), to_string(x.dims));
  }
  return Shape2d{static_cast<std::int32_t>(*x_count / in_c), static_cast<std::int32_t>(in_c),
                 static_cast<std::int32_t>(out_c)};
}

template <typename T>
std::vector<T> transposed_matrix(const std::vector<T>& values, std::int64_t rows, std::int64_t columns) {
  std::vector<T> result(values.size());
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t c = 0; c < columns; ++c) {
      result[static_cast<std::size_t>(c * rows + r)] = values[static_cast<std::size_t>(r * columns + c)];
    }
  }
  return result;
}

// 4-bit weights with a scale for each block of the summed elements. A block's scale becomes an integer factor in units of a 32767th of
// its channel's largest: sums stay integers.
LowerResult block_dense(const GroupOperand& x, const GroupOperand& w, const GroupOperand& y, const IntegerProduct& product, bool transposed) {
  constexpr std::int64_t kMaxBlock = 1 << 16;  // bvl_dense_s8_w4_blocks_check
  constexpr float kMaxFactor = 32767;
  constexpr double kMaxBias = 0x1p60;
  if (!is_4bit(product.weights.dtype()) || product.y.dtype == DType::int16) {
    return no_kernel("weights in blocks have an integer kernel for 4-bit weights and 8-bit activations alone");
  }
  if (auto reason = check_stored_weights(w)) return Reason(*reason);
  const auto shape = shape_of(x, y, product.weights, transposed);
  if (!shape) return Reason(shape.error());
  auto scales = block_scales(w, transposed ? 0 : 1, transposed ? 1 : 0, 1.0f);
  if (!scales) return Reason(scales.error());
  const std::int64_t channels = shape->out_c, blocks = static_cast<std::int64_t>(scales->values.size()) / channels;
  const std::int64_t block = blocks == 1 ? padded_int4_depth(shape->in_c) : scales->block;
  if (block % 8 != 0 || block > kMaxBlock) return no_kernel("blocks of {} weights: the integer kernel takes multiples of 8 up to {}", block, kMaxBlock);
  const GroupOperand bias_operand{.value = {}, .dtype = DType::undefined, .dims = {}, .order = {}, .quantization = product.bias_quantization,
                                  .constant = product.bias ? &*product.bias : nullptr};
  auto bias = real_bias(product.bias ? &bias_operand : nullptr, channels, 1.0f);
  if (!bias) return Reason(bias.error());
  const auto real = bias->pack();
  BEVEL_CHECK(real.has_value());

  std::vector<std::int16_t> factors(scales->values.size());
  std::vector<float> multipliers(static_cast<std::size_t>(channels));
  std::vector<std::int64_t> start(multipliers.size());
  for (std::size_t c = 0; c < multipliers.size(); ++c) {
    const std::span<const float> own(scales->values.data() + c * static_cast<std::size_t>(blocks), static_cast<std::size_t>(blocks));
    const float unit = *std::max_element(own.begin(), own.end()) / kMaxFactor;
    const float step = product.x.scales[0] * unit;
    multipliers[c] = step / product.y.scales[0];
    if (!(step > 0) || !std::isfinite(multipliers[c])) return no_kernel("channel {} has scales that no factors stand for", c);
    for (std::size_t b = 0; b < own.size(); ++b) {
      const double factor = std::nearbyint(static_cast<double>(own[b]) / static_cast<double>(unit));
      factors[c * own.size() + b] = static_cast<std::int16_t>(std::min<double>(factor, kMaxFactor));
    }
    const double value = std::nearbyint(static_cast<double>(real->values<float>()[c]) / static_cast<double>(step));
    if (!(std::fabs(value) < kMaxBias)) return no_kernel("the bias of channel {} is out of its scale's reach", c);
    start[c] = static_cast<std::int64_t>(value);
  }
  const std::int64_t in_c = shape->in_c;
  const auto source = [in_c, channels, transposed](std::int64_t i) { return transposed ? i : i % in_c * channels + i / in_c; };
  LoweredGroup group;
  group.constants.push_back(stored_rows("weights", product.weights, channels, source));
  group.constants.push_back({"factors", DType::int16, {channels, blocks}, [factors, channels, blocks]() -> Result<Tensor> {
                               return Tensor::of<std::int16_t>({channels, blocks}, factors);
                             }});
  group.constants.push_back({"bias", DType::int64, {channels},
                             [start, factors, source, in_c, block, blocks, weights = product.weights,
                              zero_point = std::int64_t{device_zero_point(product.x)}]() -> Result<Tensor> {
                               std::vector<std::int64_t> folded = start;
                               const std::vector<std::int8_t> values = device_int8(weights);
                               for (std::int64_t i = 0; i < static_cast<std::int64_t>(values.size()); ++i) {
                                 const std::int64_t channel = i / in_c, factor = factors[static_cast<std::size_t>(channel * blocks + i % in_c / block)];
                                 folded[static_cast<std::size_t>(channel)] -= zero_point * factor * values[static_cast<std::size_t>(source(i))];
                               }
                               return Tensor::of<std::int64_t>({static_cast<std::int64_t>(folded.size())}, folded);
                             }});
  group.constants.push_back({"multipliers", DType::float32, {channels}, [multipliers, channels]() -> Result<Tensor> {
                               return Tensor::of<float>({channels}, multipliers);
                             }});
  const ClampBounds bounds = clamp_bounds(product.y, product.clamp);
  const bvl_dense_s8_w4_blocks_params params{shape->rows, shape->in_c, shape->out_c, static_cast<std::int32_t>(block),
                                             device_zero_point(product.y), bounds.low, bounds.high};
  std::vector<StepOperand> reads = {StepOperand::input(0)};
  for (int i = 0; i < 4; ++i) reads.push_back(StepOperand::constant(i));
  group.steps.push_back(make_step(BVL_KERNEL_DENSE_S8_W4_BLOCKS, reads, {StepOperand::output(0)}, params,
                                  shape->rows == 1 ? shape->out_c : shape->rows,
                                  static_cast<std::uint64_t>(shape->rows) * static_cast<std::uint64_t>(in_c) * static_cast<std::uint64_t>(channels)));
  return group;
}

LowerResult integer_dense(const GroupOperand& x, const GroupOperand& y, IntegerProduct product, bool transposed) {
  const auto shape = shape_of(x, y, product.weights, transposed);
  if (!shape) return Reason(shape.error());
  product.channels = shape->out_c;
  product.products = shape->in_c;
  product.channel_of = [in_c = shape->in_c, out_c = shape->out_c, transposed](std::int64_t index) -> std::int64_t {
    return transposed ? index / in_c : index % out_c;
  };
  if (!product.w.per_tensor() && product.w.axis != (transposed ? 0 : 1)) {
    return no_kernel("weights have scales along axis {}, not along output channels", product.w.axis);
  }
  const auto macs = static_cast<std::uint64_t>(shape->rows) * static_cast<std::uint64_t>(shape->in_c) * static_cast<std::uint64_t>(shape->out_c);
  const std::vector<StepOperand> reads = {StepOperand::input(0), StepOperand::constant(0), StepOperand::constant(1), StepOperand::constant(2)};
  const std::int64_t range = shape->rows == 1 ? shape->out_c : shape->rows;
  const bool wide = product.y.dtype == DType::int16;
  if (auto reason = wide ? check_operands(product) : check_product(product)) return Reason(*reason);
  const bool four = is_4bit(product.weights.dtype()) && !wide;
  const Dims dims = {shape->out_c, four ? padded_int4_depth(shape->in_c) : shape->in_c};
  LoweredGroup group;
  group.constants.push_back({"weights", four ? DType::int4 : DType::int8, dims,
                             [tensor = product.weights, dims, four, in_c = shape->in_c, transposed]() -> Result<Tensor> {
                               std::vector<std::int8_t> values = device_int8(tensor);
                               if (!transposed) values = transposed_matrix(values, in_c, dims[0]);
                               return four ? packed_int4_rows(values, dims[0]) : Tensor::of<std::int8_t>(dims, values);
                             }});
  group.constants.push_back(wide ? wide_bias_constant(product) : bias_constant(product));
  group.constants.push_back(multipliers_constant(product));
  const ClampBounds bounds = clamp_bounds(product.y, product.clamp);
  if (wide) {
    const bvl_dense_s16_params params{shape->rows, shape->in_c, shape->out_c, bounds.low, bounds.high};
    group.steps.push_back(make_step(BVL_KERNEL_DENSE_S16, reads, {StepOperand::output(0)}, params, range, macs));
    return group;
  }
  bvl_dense_s8_params params{};
  params.rows = shape->rows;
  params.in_c = shape->in_c;
  params.out_c = shape->out_c;
  params.in_zp = device_zero_point(product.x);
  params.out_zp = device_zero_point(product.y);
  params.low = bounds.low;
  params.high = bounds.high;
  group.steps.push_back(make_step(four ? BVL_KERNEL_DENSE_S8_W4 : BVL_KERNEL_DENSE_S8, reads, {StepOperand::output(0)}, params, range, macs));
  return group;
}

Lowered<IntegerProduct> quantized_operands(const LowerContext& context) {
  IntegerProduct product;
  auto x = product_quantization(context.inputs[0], context.wide(), "input 0");
  if (!x) return Reason(x.error());
  auto y = product_quantization(context.outputs[0], context.wide(), "output 0");
  if (!y) return Reason(y.error());
  const GroupOperand& w = context.inputs[1];
  if (w.constant == nullptr || !w.quantization) return no_kernel("input 1 is no quantized constant");
  product.x = *x;
  product.y = *y;
  product.w = *w.quantization;
  product.weights = *w.constant;
  product.clamp = context.clamp;
  return product;
}

// Float activations, weights as the model stores them.
LowerResult stored_dense(const LowerContext& context, bool transposed, float alpha, float beta) {
  const GroupOperand& x = context.inputs[0];
  const GroupOperand& w = context.inputs[1];
  if (auto reason = check_stored_weights(w)) return Reason(*reason);
  if (context.outputs[0].dtype != DType::float32) return no_kernel("output 0 is {}", dtype_name(context.outputs[0].dtype));
  const auto shape = shape_of(x, context.outputs[0], *w.constant, transposed);
  if (!shape) return Reason(shape.error());
  auto scales = block_scales(w, transposed ? 0 : 1, transposed ? 1 : 0, alpha);
  if (!scales) return Reason(scales.error());
  const bool has_bias = context.inputs.size() > 2 && context.inputs[2].value.valid();
  auto bias = real_bias(has_bias ? &context.inputs[2] : nullptr, shape->out_c, beta);
  if (!bias) return Reason(bias.error());
  const Interval clamp = context.clamp.value_or(Interval{});
  const bvl_matmul_f32_w_params params{shape->rows, shape->in_c, shape->out_c, scales->block, stored_bits(w.constant->dtype()),
                                       static_cast<float>(clamp.low), static_cast<float>(clamp.high)};
  LoweredGroup group;
  const std::int64_t in_c = shape->in_c, out_c = shape->out_c;
  group.constants.push_back(stored_rows("weights", *w.constant, out_c, [in_c, out_c, transposed](std::int64_t i) {
    return transposed ? i : i % in_c * out_c + i / in_c;
  }));
  group.constants.push_back(std::move(scales->constant));
  group.constants.push_back(std::move(*bias));
  group.steps.push_back(make_step(BVL_KERNEL_MATMUL_F32_W,
                                  {StepOperand::input(0), StepOperand::constant(0), StepOperand::constant(1), StepOperand::constant(2)},
                                  {StepOperand::output(0)}, params, shape->rows,
                                  static_cast<std::uint64_t>(shape->rows) * static_cast<std::uint64_t>(in_c) * static_cast<std::uint64_t>(out_c)));
  return group;
}

// a [batch.., rows, in_c] x b [batch.., in_c, out_c], either batch-free or with the same batch axes.
LowerResult float_matmul(const LowerContext& context) {
  if (auto reason = check_float(context)) return Reason(*reason);
  const GroupOperand& a = context.inputs[0];
  const GroupOperand& b = context.inputs[1];
  const GroupOperand& y = context.outputs[0];
  for (const GroupOperand* operand : {&a, &b, &y}) {
    if (!in_logical_order(*operand)) return no_kernel("an operand lies in memory as {}", order_text(operand->order));
    const auto count = kernel_count(operand->dims, "an operand");
    if (!count) return Reason(count.error());
  }
  if (a.dims.size() < 1 || b.dims.size() < 2) return no_kernel("input 1 has rank {}", b.dims.size());
  const std::int64_t in_c = a.dims.back(), out_c = b.dims.back();
  if (b.dims[b.dims.size() - 2] != in_c) return no_kernel("shapes do not fit");
  const std::int64_t b_batches = product(b.dims, 0, b.dims.size() - 2);
  bvl_matmul_f32_params params{};
  if (b_batches == 1) {
    params.batch = 1;
    params.rows = static_cast<std::int32_t>(*element_count(a.dims) / in_c);
  } else {
    if (a.dims.size() != b.dims.size() || !std::equal(a.dims.begin(), a.dims.end() - 2, b.dims.begin())) {
      return no_kernel("batch axes {} and {} differ", to_string(a.dims), to_string(b.dims));
    }
    params.batch = static_cast<std::int32_t>(b_batches);
    params.rows = static_cast<std::int32_t>(a.dims[a.dims.size() - 2]);
    params.a_batch = static_cast<std::int32_t>(params.rows * in_c);
    params.b_batch = static_cast<std::int32_t>(in_c * out_c);
  }
  params.in_c = static_cast<std::int32_t>(in_c);
  params.out_c = static_cast<std::int32_t>(out_c);
  const Interval clamp = context.clamp.value_or(Interval{});
  params.low = static_cast<float>(clamp.low);
  params.high = static_cast<float>(clamp.high);
  LoweredGroup group;
  group.steps.push_back(make_step(BVL_KERNEL_MATMUL_F32, {StepOperand::input(0), StepOperand::input(1)},
                                  {StepOperand::output(0)}, params, std::int64_t{params.batch} * params.rows,
                                  static_cast<std::uint64_t>(*element_count(y.dims)) * static_cast<std::uint64_t>(in_c)));
  return group;
}

// A bias that is the same for every row: [N], [1, N], [1] or a scalar, as N values.
Lowered<Tensor> row_bias(const GroupOperand& operand, std::int64_t out_c) {
  if (operand.constant == nullptr) return no_kernel("its bias is not constant");
  const Tensor& bias = *operand.constant;
  if (bias.size() == 1) return bias.reshaped({1});
  if (bias.size() != out_c || bias.dims().back() != out_c) return no_kernel("the bias {} differs by row", to_string(bias.dims()));
  return bias.reshaped({out_c});
}

LowerResult float_gemm(const LowerContext& context, float alpha, float beta, bool transposed) {
  if (auto reason = check_float(context)) return Reason(*reason);
  const Tensor* weights = context.inputs[1].constant;
  if (weights == nullptr) return no_kernel("its weights are not constant");
  const auto shape = shape_of(context.inputs[0], context.outputs[0], *weights, transposed);
  if (!shape) return Reason(shape.error());
  bvl_matmul_f32_params params{};
  params.batch = 1;
  params.rows = shape->rows;
  params.in_c = shape->in_c;
  params.out_c = shape->out_c;
  params.b_transposed = transposed ? 1 : 0;
  const Interval clamp = context.clamp.value_or(Interval{});
  params.low = static_cast<float>(clamp.low);
  params.high = static_cast<float>(clamp.high);
  LoweredGroup group;
  std::vector<StepOperand> reads = {StepOperand::input(0), StepOperand::constant(0)};
  const auto scaled = [](const Tensor& tensor, Dims dims, float factor) {
    std::vector<float> values = tensor.as_floats();
    for (float& value : values) value *= factor;
    return Tensor::of<float>(std::move(dims), values);
  };
  group.constants.push_back({"weights", DType::float32, weights->dims(), [scaled, alpha, tensor = *weights]() -> Result<Tensor> {
                               return scaled(tensor, tensor.dims(), alpha);
                             }});
  if (context.inputs.size() > 2 && context.inputs[2].value.valid()) {
    auto bias = row_bias(context.inputs[2], shape->out_c);
    if (!bias) return Reason(bias.error());
    params.has_bias = 1;
    reads.push_back(StepOperand::constant(1));
    group.constants.push_back({"bias", DType::float32, {shape->out_c},
                               [scaled, beta, tensor = *bias, count = std::int64_t{shape->out_c}]() -> Result<Tensor> {
                                 if (tensor.size() == count) return scaled(tensor, {count}, beta);
                                 const std::vector<float> values(static_cast<std::size_t>(count), tensor.as_floats()[0]);
                                 return scaled(Tensor::of<float>({count}, values), {count}, beta);
                               }});
  }
  group.steps.push_back(make_step(BVL_KERNEL_MATMUL_F32, reads, {StepOperand::output(0)}, params, shape->rows,
                                  static_cast<std::uint64_t>(shape->rows) * static_cast<std::uint64_t>(shape->in_c) *
                                      static_cast<std::uint64_t>(shape->out_c)));
  return group;
}

}  // namespace

LowerResult lower_matmul(const LowerContext& context) {
  if (!context.integer()) {
    if (context.added_bias) return no_kernel("a bias behind a product in float");
    return has_stored_weights(context) ? stored_dense(context, /*transposed=*/false, 1.0f, 1.0f) : float_matmul(context);
  }
  const GroupOperand& w = context.inputs[1];
  if (w.constant == nullptr || (w.dims.size() != 2 && is_8bit(w.dtype) && !context.added_bias)) return activation_product(context);
  auto product = quantized_operands(context);
  if (!product) return Reason(product.error());
  product->bias = context.added_bias;
  if (product->w.block > 0) return block_dense(context.inputs[0], w, context.outputs[0], *product, /*transposed=*/false);
  return integer_dense(context.inputs[0], context.outputs[0], std::move(*product), /*transposed=*/false);
}

LowerResult lower_gemm(const LowerContext& context) {
  const Node& node = *context.node;
  const float alpha = attr_float(node, "alpha", 1.0f).value_or(1.0f), beta = attr_float(node, "beta", 1.0f).value_or(1.0f);
  const bool transposed = attr_int(node, "transB", 0).value_or(0) != 0;
  if (attr_int(node, "transA", 0).value_or(0) != 0) return no_kernel("transA is set");
  if (!context.integer()) {
    return has_stored_weights(context) ? stored_dense(context, transposed, alpha, beta) : float_gemm(context, alpha, beta, transposed);
  }
  auto product = quantized_operands(context);
  if (!product) return Reason(product.error());
  const bool has_bias = context.inputs.size() > 2 && context.inputs[2].value.valid();
  if (alpha != 1.0f || (has_bias && beta != 1.0f)) return no_kernel("alpha or beta is not 1");
  if (product->weights.rank() != 2) return no_kernel("weights have rank {}", product->weights.rank());
  if (has_bias) {
    auto bias = row_bias(context.inputs[2], product->weights.dim(transposed ? 0 : 1));
    if (!bias) return Reason(bias.error());
    product->bias = *bias;
    product->bias_quantization = context.inputs[2].quantization;
  }
  if (product->w.block > 0) return block_dense(context.inputs[0], context.inputs[1], context.outputs[0], *product, transposed);
  return integer_dense(context.inputs[0], context.outputs[0], std::move(*product), transposed);
}

// QLinearMatMul-10: a, a_scale, a_zero_point, b, b_scale, b_zero_point, y_scale, y_zero_point.
LowerResult lower_qlinear_matmul(const LowerContext& context) {
  const auto& in = context.inputs;
  if (in.size() < 8) return no_kernel("it has {} inputs", in.size());
  auto a = quantization_from(in[1].constant, in[2].constant, in[0].dtype, -1, "a");
  auto b = quantization_from(in[4].constant, in[5].constant, in[3].dtype, 1, "b");
  auto y = quantization_from(in[6].constant, in[7].constant, context.outputs[0].dtype, -1, "y");
  for (const auto* part : {&a, &b, &y}) {
    if (!*part) return Reason(part->error());
  }
  if (a->scales.size() != 1 || y->scales.size() != 1) return no_kernel("an activation has a scale per row");
  if (!is_8bit(in[0].dtype) || !is_8bit(context.outputs[0].dtype)) return no_kernel("activations are not 8-bit");
  if (in[3].constant == nullptr) {
    if (b->scales.size() != 1 || !is_8bit(in[3].dtype)) return no_kernel("input 3 (b) is computed, and its scale is not one");
    return activation_product(in[0], in[3], 3, context.outputs[0], *a, *b, *y, context.clamp);
  }
  IntegerProduct product;
  product.x = *a;
  product.w = *b;
  product.y = *y;
  product.weights = *in[3].constant;
  product.clamp = context.clamp;
  return integer_dense(in[0], context.outputs[0], std::move(product), /*transposed=*/false);
}

}  // namespace bevel::ops
