#include "lib/ops/lower_common.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "lib/ops/family.h"
#include "lib/ops/requantize.h"

namespace bevel::ops {

std::optional<std::int32_t> element_code(DType dtype) {
  switch (dtype) {
    case DType::boolean: return BVL_ELEMENT_BOOL;
    case DType::int32: return BVL_ELEMENT_INT32;
    case DType::int64: return BVL_ELEMENT_INT64;
    case DType::float32: return BVL_ELEMENT_FLOAT32;
    default: return std::nullopt;
  }
}

bool eight_bit(const LowerContext& context) {
  if (context.outputs.empty() || !is_8bit(context.outputs[0].dtype)) return false;
  bool any = false;
  for (int operand : context.facts.value.data_operands) {
    const auto i = static_cast<std::size_t>(operand);
    if (i >= context.inputs.size() || !context.inputs[i].value.valid()) continue;
    if (!is_8bit(context.inputs[i].dtype)) return false;
    any = true;
  }
  return any;
}

Lowered<Quantization> activation_quantization(const GroupOperand& operand, const std::string& role) {
  if (!operand.value.valid()) return no_kernel("{} is absent", role);
  if (!is_8bit(operand.dtype)) return no_kernel("{} is {}, not int8 or uint8", role, dtype_name(operand.dtype));
  if (!operand.quantization) return Quantization{operand.dtype, {1.0f}, {0}, -1};
  if (!operand.quantization->per_tensor()) return no_kernel("{} has a scale per channel", role);
  return *operand.quantization;
}

Lowered<float> symmetric_scale(const GroupOperand& operand, const std::string& role) {
  if (!operand.value.valid()) return no_kernel("{} is absent", role);
  if (operand.dtype != DType::int16) return no_kernel("{} is {}, not int16", role, dtype_name(operand.dtype));
  if (!operand.quantization) return no_kernel("the scale of {} is not known", role);
  if (!operand.quantization->per_tensor()) return no_kernel("{} has a scale per channel", role);
  const std::int32_t zero_point = operand.quantization->zero_points[0];
  if (zero_point != 0) return no_kernel("{} is int16 with the zero point {}, kernels need 0", role, zero_point);
  return operand.quantization->scales[0];
}

Lowered<Quantization> product_quantization(const GroupOperand& operand, bool wide, const std::string& role) {
  if (!wide) return activation_quantization(operand, role);
  const auto scale = symmetric_scale(operand, role);
  if (!scale) return Reason(scale.error());
  return *operand.quantization;
}

std::optional<std::string> check_float(const LowerContext& context) {
  const auto wrong = [](const GroupOperand& operand, const char* kind, std::size_t index) {
    return fmt::format("{} {} is {}: only float32 has kernels", kind, index, dtype_name(operand.dtype));
  };
  for (int operand : context.facts.value.data_operands) {
    const auto i = static_cast<std::size_t>(operand);
    if (i >= context.inputs.size() || !context.inputs[i].value.valid()) continue;
    if (context.inputs[i].dtype != DType::float32) return wrong(context.inputs[i], "input", i);
  }
  if (context.outputs.empty() || !context.outputs[0].value.valid()) return "it has no output";
  if (context.outputs[0].dtype != DType::float32) return wrong(context.outputs[0], "output", 0);
  return std::nullopt;
}

std::vector<std::int8_t> device_int8(const Tensor& tensor) {
  if (is_4bit(tensor.dtype())) {
    const std::int64_t middle = tensor.dtype() == DType::uint4 ? 8 : 0;
    std::vector<std::int8_t> values(static_cast<std::size_t>(tensor.size()));
    for (std::size_t i = 0; i < values.size(); ++i) {
      values[i] = static_cast<std::int8_t>(tensor.as_int64(static_cast<std::int64_t>(i)) - middle);
    }
    return values;
  }
  const auto bytes = tensor.bytes();
  const std::uint8_t flip = tensor.dtype() == DType::uint8 ? 0x80 : 0;
  std::vector<std::int8_t> values(bytes.size());
  for (std::size_t i = 0; i < values.size(); ++i) {
    values[i] = static_cast<std::int8_t>(static_cast<std::uint8_t>(bytes[i]) ^ flip);
  }
  return values;
}

Tensor packed_int4_rows(const std::vector<std::int8_t>& values, std::int64_t rows) {
  const std::int64_t depth = static_cast<std::int64_t>(values.size()) / rows, padded = padded_int4_depth(depth);
  std::vector<std::byte> bytes(static_cast<std::size_t>(rows * padded / 2), std::byte{0});
  for (std::int64_t row = 0; row < rows; ++row) {
    for (std::int64_t k = 0; k < depth; ++k) {
      const std::int8_t value = values[static_cast<std::size_t>(row * depth + k)];
      BEVEL_CHECK(value >= -8 && value <= 7);
      const unsigned half = (static_cast<unsigned>(value) & 0xfu) << (k % 8 < 4 ? 0 : 4);
      bytes[static_cast<std::size_t>(row * padded / 2 + k / 8 * 4 + k % 4)] |= static_cast<std::byte>(half);
    }
  }
  return Tensor::from_bytes(DType::int4, {rows, padded}, bytes);
}

std::int32_t quantize_value(double real, const Quantization& quantization) {
  const float scaled = static_cast<float>(real) / quantization.scales[0];  // in float32, as QuantizeLinear divides
  const IntegerRange range = quantization.dtype == DType::int16 ? kInt16Range : kInt8Range;
  return static_cast<std::int32_t>(quantize(static_cast<double>(scaled), device_zero_point(quantization), range));
}

namespace {
// As bvl_open checks: a stride may be added once past the end of a tensor (lib/runtime/kernels/bevel_kernel_check.h).
constexpr std::int64_t kMaxElements = 0x3fffffff;
}  // namespace

bool fits_int32(std::int64_t value) { return value >= INT32_MIN && value <= INT32_MAX; }

Lowered<std::int32_t> kernel_count(const Dims& dims, const std::string& role) {
  const auto count = element_count(dims);
  if (!count || *count > kMaxElements) return no_kernel("{} has more than 2^30 elements", role);
  if (*count == 0) return no_kernel("{} is empty", role);
  return static_cast<std::int32_t>(*count);
}

Dims memory_strides(const Dims& logical, const MemoryOrder& order) {
  Dims strides(logical.size());
  std::int64_t stride = 1;
  for (std::size_t k = order.size(); k-- > 0;) {
    const auto axis = static_cast<std::size_t>(order[k]);
    strides[axis] = stride;
    stride *= std::max<std::int64_t>(logical[axis], 1);
  }
  return strides;
}

std::string order_text(const MemoryOrder& order) {
  std::string text = "[";
  for (std::size_t k = 0; k < order.size(); ++k) text += (k == 0 ? "" : ", ") + std::to_string(order[k]);
  return text + "]";
}

std::optional<Walk> coalesce(const Walk& walk) {
  Walk result;
  result.strides.resize(walk.strides.size());
  for (std::size_t k = 0; k < walk.dims.size(); ++k) {
    if (walk.dims[k] == 1) continue;
    bool joined = !result.dims.empty();
    for (std::size_t s = 0; joined && s < walk.strides.size(); ++s) {
      joined = result.strides[s].back() == walk.strides[s][k] * walk.dims[k];
    }
    if (joined) {
      result.dims.back() *= walk.dims[k];
    } else {
      result.dims.push_back(walk.dims[k]);
    }
    for (std::size_t s = 0; s < walk.strides.size(); ++s) {
      if (joined) {
        result.strides[s].back() = walk.strides[s][k];
      } else {
        result.strides[s].push_back(walk.strides[s][k]);
      }
    }
  }
  if (result.dims.empty()) {
    result.dims.push_back(1);
    for (Dims& strides : result.strides) strides.push_back(1);
  }
  if (result.dims.size() > BVL_MAX_RANK) return std::nullopt;
  for (std::int64_t dim : result.dims) {
    if (!fits_int32(dim)) return std::nullopt;
  }
  for (const Dims& strides : result.strides) {
    for (std::int64_t stride : strides) {
      if (!fits_int32(stride)) return std::nullopt;
    }
  }
  return result;
}

Dims strides_along(const GroupOperand& operand, const GroupOperand& out) {
  const Dims own = memory_strides(operand.dims, operand.order);
  const std::size_t rank = out.dims.size();
  BEVEL_CHECK(operand.dims.size() <= rank);
  const std::size_t missing = rank - operand.dims.size();
  Dims strides(rank, 0);
  for (std::size_t k = 0; k < rank; ++k) {
    const auto axis = static_cast<std::size_t>(out.order[k]);
    if (axis >= missing && operand.dims[axis - missing] != 1) strides[k] = own[axis - missing];
  }
  return strides;
}

Lowered<LoweredStep> copy_step(StepOperand in, StepOperand out, const Walk& walk, std::int64_t in_offset,
                               std::int64_t out_offset, DType dtype) {
  const int bits = dtype_bits(dtype);
  if (bits != 8 && bits != 16 && bits != 32 && bits != 64) {
    return no_kernel("elements of {} bits cannot be copied ({})", bits, dtype_name(dtype));
  }
  const auto nest = coalesce(walk);
  if (!nest || !fits_int32(in_offset) || !fits_int32(out_offset)) {
    return no_kernel("the copy needs more than {} loops, or offsets past 2^31", BVL_MAX_RANK);
  }
  bvl_copy_params params{};
  params.element_bytes = bits / 8;
  params.rank = static_cast<std::int32_t>(nest->dims.size());
  std::uint64_t count = 1;
  for (std::size_t k = 0; k < nest->dims.size(); ++k) {
    params.dims[k] = static_cast<std::int32_t>(nest->dims[k]);
    params.in_strides[k] = static_cast<std::int32_t>(nest->strides[0][k]);
    params.out_strides[k] = static_cast<std::int32_t>(nest->strides[1][k]);
    count *= static_cast<std::uint64_t>(nest->dims[k]);
  }
  params.in_offset = static_cast<std::int32_t>(in_offset);
  params.out_offset = static_cast<std::int32_t>(out_offset);
  return make_step(BVL_KERNEL_COPY, {in}, {out}, params, nest->dims[0], count);
}

std::optional<LoweredStep> rescale_step(StepOperand in, StepOperand out, float in_scale, const Quantization& y,
                                        const std::optional<Interval>& clamp, std::int32_t count) {
  const ClampBounds bounds = clamp_bounds(y, clamp);
  if (in_scale == y.scales[0] && bounds.low == kInt16Range.low && bounds.high == kInt16Range.high) return std::nullopt;
  const bvl_rescale_s16_params params{count, in_scale, y.scales[0], bounds.low, bounds.high};
  LoweredStep step = make_step(BVL_KERNEL_RESCALE_S16, {in}, {out}, params, block_range(count), static_cast<std::uint64_t>(count));
  step.in_place = true;
  return step;
}

LoweredStep lut_step(StepOperand in, StepOperand out, int table, std::int64_t count) {
  bvl_lut_s8_params params{};
  params.count = static_cast<std::int32_t>(count);
  LoweredStep step = make_step(BVL_KERNEL_LUT_S8, {in, StepOperand::constant(table)}, {out}, params, block_range(count),
                               static_cast<std::uint64_t>(count));
  step.in_place = true;
  return step;
}

PackedConstant table_constant(std::function<Result<Tensor>()> pack) {
  return {"table", DType::int8, {256}, std::move(pack)};
}

std::optional<PackedConstant> requantization_table(const Quantization& x, const Quantization& y,
                                                   const std::optional<Interval>& clamp) {
  const ClampBounds bounds = clamp_bounds(y, clamp);
  const std::int32_t x_zero = device_zero_point(x);
  std::vector<std::int8_t> table(256);
  bool identity = true;
  for (std::int32_t q = -128; q < 128; ++q) {
    std::int32_t result = q;
    // Equal quantization is the identity by definition, whatever rounding (x * s) / s would do.
    if (x.scales[0] != y.scales[0] || x_zero != device_zero_point(y)) {
      const float real = static_cast<float>(q - x_zero) * x.scales[0];
      result = quantize_value(static_cast<double>(real), y);
    }
    result = std::clamp(result, bounds.low, bounds.high);
    table[static_cast<std::size_t>(q + 128)] = static_cast<std::int8_t>(result);
    identity = identity && result == q;
  }
  if (identity) return std::nullopt;
  return table_constant([table]() -> Result<Tensor> { return Tensor::of<std::int8_t>({256}, table); });
}

namespace {

// Bias at the accumulator's scale sx*sw of its channel; int64 where the scales do not match and the value is large.
std::vector<std::int64_t> accumulator_bias(const IntegerProduct& product) {
  std::vector<std::int64_t> bias(static_cast<std::size_t>(product.channels), 0);
  if (!product.bias) return bias;
  constexpr double kSameScale = 1e-5;  // relative: float32 products of the same two scales differ by rounding only
  const Tensor& tensor = *product.bias;
  for (std::size_t c = 0; c < bias.size(); ++c) {
    const std::int64_t index = tensor.size() == 1 ? 0 : static_cast<std::int64_t>(c);
    const double scale = static_cast<double>(product.x.scales[0]) * product.w.scales[product.w.scales.size() == 1 ? 0 : c];
    double value = tensor.as_double(index);
    if (tensor.dtype() == DType::int32) {
      if (!product.bias_quantization) {
        bias[c] = tensor.as_int64(index);
        continue;
      }
      const Quantization& own = *product.bias_quantization;
      const std::size_t k = own.scales.size() == 1 ? 0 : c;
      if (std::abs(own.scales[k] - scale) <= kSameScale * scale && own.zero_points[k] == 0) {
        bias[c] = tensor.as_int64(index);
        continue;
      }
      value = (value - own.zero_points[k]) * own.scales[k];
    }
    // Clamped far outside int32, so that the width check refuses it instead of the conversion overflowing.
    bias[c] = static_cast<std::int64_t>(std::clamp(std::nearbyint(value / scale), -1e15, 1e15));
  }
  return bias;
}

}  // namespace

std::optional<std::string> check_operands(const IntegerProduct& product) {
  const Quantization& w = product.w;
  if (!is_weight_dtype(product.weights.dtype())) {
    return fmt::format("weights are {}, neither 8-bit nor 4-bit", dtype_name(product.weights.dtype()));
  }
  if (w.block > 0) return "weights have a scale for each block: this kernel takes one for each output channel";
  if (w.scales.size() != 1 && static_cast<std::int64_t>(w.scales.size()) != product.channels) {
    return fmt::format("weights have {} scales for {} output channels", w.scales.size(), product.channels);
  }
  const std::int32_t middle = w.dtype == DType::uint8 ? 128 : w.dtype == DType::uint4 ? 8 : 0;
  for (std::int32_t zero_point : w.zero_points) {
    if (zero_point != middle) return fmt::format("the weights' zero point is {}, kernels need {}", zero_point, middle);
  }
  if (product.bias) {
    const std::int64_t size = product.bias->size();
    if (size != 1 && size != product.channels) return fmt::format("the bias has {} elements for {} channels", size, product.channels);
    if (product.bias->dtype() != DType::int32 && product.bias->dtype() != DType::float32) {
      return fmt::format("the bias is {}", dtype_name(product.bias->dtype()));
    }
    if (product.bias_quantization && product.bias_quantization->scales.size() != 1 &&
        static_cast<std::int64_t>(product.bias_quantization->scales.size()) != product.channels) {
      return "the bias has another number of scales than channels";
    }
  }
  return std::nullopt;
}

std::optional<std::string> check_product(const IntegerProduct& product) {
  if (auto reason = check_operands(product)) return reason;
  const std::vector<std::int64_t> bias = accumulator_bias(product);
  std::int64_t largest = 0;
  for (std::int64_t value : bias) largest = std::max(largest, std::abs(value));
  const bool four = is_4bit(product.weights.dtype());
  const std::int64_t inputs = four ? 2048 : 256;  // |x| <= 128 and |zx| <= 128; or 16 * |x|, the zero point in the bias
  const std::int64_t magnitude = four ? 8 : 128;
  if (product.products < (INT64_C(1) << 40) && product.products * magnitude * inputs + largest <= INT32_MAX) return std::nullopt;
  std::vector<std::int64_t> sums(bias.size(), 0);
  const std::vector<std::int8_t> weights = device_int8(product.weights);
  for (std::size_t i = 0; i < weights.size(); ++i) {
    sums[static_cast<std::size_t>(product.channel_of(static_cast<std::int64_t>(i)))] += std::abs(int{weights[i]});
  }
  for (std::size_t c = 0; c < sums.size(); ++c) {
    if (sums[c] * inputs + std::abs(bias[c]) > INT32_MAX) {
      return fmt::format("channel {} sums {} products: 32 bits may not hold the sum of weights' magnitudes {} and bias {}", c,
                         product.products, sums[c], bias[c]);
    }
  }
  return std::nullopt;
}

PackedConstant bias_constant(const IntegerProduct& product) {
  return {"bias", DType::int32, {product.channels}, [product]() -> Result<Tensor> {
            std::vector<std::int64_t> bias = accumulator_bias(product);
            const std::vector<std::int8_t> weights = device_int8(product.weights);
            const std::int64_t zero_point = device_zero_point(product.x);
            for (std::size_t i = 0; i < weights.size(); ++i) {
              bias[static_cast<std::size_t>(product.channel_of(static_cast<std::int64_t>(i)))] -= zero_point * weights[i];
            }
            std::vector<std::int32_t> packed(bias.size());
            for (std::size_t c = 0; c < bias.size(); ++c) {
              BEVEL_CHECK(fits_int32(bias[c]));  // check_product proved it
              packed[c] = static_cast<std::int32_t>(bias[c]);
            }
            return Tensor::of<std::int32_t>({product.channels}, packed);
          }};
}

PackedConstant wide_bias_constant(const IntegerProduct& product) {
  return {"bias", DType::int64, {product.channels}, [product]() -> Result<Tensor> {
            return Tensor::of<std::int64_t>({product.channels}, accumulator_bias(product));
          }};
}

PackedConstant multipliers_constant(const IntegerProduct& product) {
  return {"multipliers", DType::float32, {product.channels}, [product]() -> Result<Tensor> {
            return Tensor::of<float>({product.channels}, requantization_multipliers(product.x, product.w, product.y,
                                                                                   product.channels));
          }};
}

Lowered<Quantization> quantization_from(const Tensor* scale, const Tensor* zero_point, DType dtype, int axis,
                                        const std::string& role) {
  if (scale == nullptr) return no_kernel("the scale of {} is not a constant", role);
  if (scale->dtype() != DType::float32) return no_kernel("the scale of {} is {}", role, dtype_name(scale->dtype()));
  if (scale->size() < 1 || (zero_point != nullptr && zero_point->size() != scale->size())) {
    return no_kernel("{} has {} scales and {} zero points", role, scale->size(), zero_point ? zero_point->size() : 0);
  }
  if (zero_point != nullptr && !is_integer(zero_point->dtype())) return no_kernel("the zero point of {} is no integer", role);
  Quantization result;
  result.dtype = dtype;
  result.scales = scale->as_floats();
  for (float s : result.scales) {
    if (!std::isfinite(s) || s <= 0) return no_kernel("{} has the scale {}", role, s);
  }
  for (std::int64_t i = 0; i < scale->size(); ++i) {
    const std::int64_t zero = zero_point ? zero_point->as_int64(i) : 0;
    if (!fits_int32(zero)) return no_kernel("{} has the zero point {}", role, zero);
    result.zero_points.push_back(static_cast<std::int32_t>(zero));
  }
  result.axis = scale->size() == 1 ? -1 : axis;
  return result;
}

}  // namespace bevel::ops
