#include "lib/ops/weight_rows.h"

#include <algorithm>

#include "lib/ops/family.h"

namespace bevel::ops {

std::optional<std::string> check_stored_weights(const GroupOperand& operand) {
  const DType dtype = operand.constant->dtype();
  if (dtype == DType::float16) return std::nullopt;
  if (!operand.quantization || !is_weight_dtype(dtype)) return fmt::format("its weights are {}", dtype_name(dtype));
  const std::int32_t middle = dtype == DType::uint8 ? 128 : dtype == DType::uint4 ? 8 : 0;
  for (std::int32_t zero_point : operand.quantization->zero_points) {
    if (zero_point != middle) return fmt::format("the weights' zero point is {}, kernels need {}", zero_point, middle);
  }
  return std::nullopt;
}

std::int32_t stored_bits(DType dtype) { return dtype == DType::float16 ? 16 : is_4bit(dtype) ? 4 : 8; }

PackedConstant stored_rows(const std::string& name, const Tensor& tensor, std::int64_t rows,
                           std::function<std::int64_t(std::int64_t)> source) {
  const std::int32_t bits = stored_bits(tensor.dtype());
  const std::int64_t depth = tensor.size() / rows;
  const DType dtype = bits == 16 ? DType::float16 : bits == 4 ? DType::int4 : DType::int8;
  const Dims dims = {rows, bits == 4 ? padded_int4_depth(depth) : depth};
  return {name, dtype, dims, [tensor, rows, dims, bits, source = std::move(source)]() -> Result<Tensor> {
            if (bits == 16) {
              const auto values = tensor.values<std::uint16_t>();
              Tensor result = Tensor::zeros(DType::float16, dims);
              const auto out = result.mutable_values<std::uint16_t>();
              for (std::size_t i = 0; i < values.size(); ++i) out[i] = values[static_cast<std::size_t>(source(static_cast<std::int64_t>(i)))];
              return result;
            }
            const std::vector<std::int8_t> values = device_int8(tensor);
            std::vector<std::int8_t> out(values.size());
            for (std::size_t i = 0; i < values.size(); ++i) out[i] = values[static_cast<std::size_t>(source(static_cast<std::int64_t>(i)))];
            return bits == 4 ? packed_int4_rows(out, rows) : Tensor::of<std::int8_t>(dims, out);
          }};
}

Lowered<BlockScales> block_scales(const GroupOperand& operand, int channel_axis, int sum_axis, float factor) {
  const std::int64_t channels = operand.dims[static_cast<std::size_t>(channel_axis)];
  const std::int64_t depth = operand.dims[static_cast<std::size_t>(sum_axis)];
  std::vector<float> scales(static_cast<std::size_t>(channels), 1.0f);
  std::int64_t block = depth, blocks = 1;
  if (operand.quantization && operand.quantization->block > 0) {
    const Quantization& quantization = *operand.quantization;
    if (quantization.axis != sum_axis) return no_kernel("weights have blocks along axis {}, not along the sums", quantization.axis);
    block = std::min(quantization.block, depth);
    blocks = (depth + block - 1) / block;
    scales.resize(static_cast<std::size_t>(channels * blocks));
    BEVEL_CHECK(scales.size() == quantization.scales.size());
    for (std::int64_t c = 0; c < channels; ++c) {
      for (std::int64_t b = 0; b < blocks; ++b) {
        const std::int64_t from = channel_axis < sum_axis ? c * blocks + b : b * channels + c;
        scales[static_cast<std::size_t>(c * blocks + b)] = quantization.scales[static_cast<std::size_t>(from)];
      }
    }
  } else if (operand.quantization) {
    const Quantization& quantization = *operand.quantization;
    if (!quantization.per_tensor() && quantization.axis != channel_axis) {
      return no_kernel("weights have scales along axis {}, not along output channels", quantization.axis);
    }
    const bool one = quantization.scales.size() == 1;
    if (!one && static_cast<std::int64_t>(quantization.scales.size()) != channels) {
      return no_kernel("weights have {} scales for {} output channels", quantization.scales.size(), channels);
    }
    for (std::size_t c = 0; c < scales.size(); ++c) scales[c] = quantization.scales[one ? 0 : c];
  }
  for (float& scale : scales) scale *= factor;
  BlockScales result;
  result.block = static_cast<std::int32_t>(block);
  const Dims dims = {channels, blocks};
  result.values = scales;
  result.constant = {"scales", DType::float32, dims, [scales, dims]() -> Result<Tensor> { return Tensor::of<float>(dims, scales); }};
  return result;
}

Lowered<PackedConstant> real_bias(const GroupOperand* operand, std::int64_t count, float factor) {
  std::vector<float> values(static_cast<std::size_t>(count), 0.0f);
  if (operand != nullptr) {
    if (operand->constant == nullptr) return no_kernel("its bias is not constant");
    const Tensor& tensor = *operand->constant;
    if (tensor.size() != 1 && (tensor.size() != count || tensor.dims().back() != count)) return no_kernel("the bias has {} elements", tensor.size());
    if (!operand->quantization && tensor.dtype() != DType::float32 && tensor.dtype() != DType::float16) return no_kernel("the bias is {}", dtype_name(tensor.dtype()));
    if (operand->quantization && operand->quantization->block > 0) return no_kernel("the bias has blocks");
    for (std::size_t c = 0; c < values.size(); ++c) {
      const std::int64_t at = tensor.size() == 1 ? 0 : static_cast<std::int64_t>(c);
      if (operand->quantization) {
        const Quantization& quantization = *operand->quantization;
        const std::size_t k = quantization.scales.size() == 1 ? 0 : c;
        if (k >= quantization.scales.size()) return no_kernel("the bias has {} scales", quantization.scales.size());
        values[c] = static_cast<float>(tensor.as_int64(at) - quantization.zero_points[k]) * quantization.scales[k];
      } else {
        values[c] = static_cast<float>(tensor.as_double(at));
      }
      values[c] *= factor;
    }
  }
  return PackedConstant{"bias", DType::float32, {count}, [values, count]() -> Result<Tensor> { return Tensor::of<float>({count}, values); }};
}

}  // namespace bevel::ops
