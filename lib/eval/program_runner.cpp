// Runs .bvl bytes through the C runtime, in and out of the model's own dtypes.
#include <algorithm>
#include <cstring>

#include "lib/eval/evaluator.h"
#include "lib/ops/requantize.h"
#include "lib/runtime/bevel_runtime.h"
#include "lib/support/check.h"

namespace bevel::eval {
namespace {

// Bytes at the alignment that the format asks for.
class AlignedBytes {
 public:
  explicit AlignedBytes(std::size_t count) : blocks_((count + BVL_ALIGNMENT - 1) / BVL_ALIGNMENT + 1) {}
  [[nodiscard]] std::byte* data() { return blocks_.data()->bytes; }
  [[nodiscard]] const std::byte* data() const { return blocks_.data()->bytes; }

 private:
  struct alignas(BVL_ALIGNMENT) Block {
    std::byte bytes[BVL_ALIGNMENT];
  };
  std::vector<Block> blocks_;
};

class Runner final : public ProgramRunner {
 public:
  Runner(const std::vector<std::byte>& bytes, std::string name) : file_(bytes.size()), size_(bytes.size()), name_(std::move(name)) {
    std::memcpy(file_.data(), bytes.data(), bytes.size());
  }

  Status open() {
    std::uint32_t index = BVL_NONE;
    const bvl_status status = bvl_open(file_.data(), size_, &program_, &index);
    if (status != BVL_OK) {
      return fail_input("{}: not a usable Program: {}{}", printable(name_), bvl_status_text(status),
                        index == BVL_NONE ? "" : fmt::format(" (item {})", index));
    }
    for (std::uint32_t i = 0; i < program_.entry_count; ++i) {
      if (program_.entries[i].kind == BVL_ENTRY_INFER && entry_ == nullptr) entry_ = &program_.entries[i];
    }
    if (entry_ == nullptr) return fail_input("{}: the Program has no entry for inference", printable(name_));
    for (std::uint32_t i = 0; i < entry_->input_count + entry_->output_count; ++i) {
      BEVEL_TRY(Port port, port_of(program_.operands[entry_->operands + i]));
      (i < entry_->input_count ? inputs_ : outputs_).push_back(std::move(port));
    }
    return {};
  }

  const std::vector<Port>& inputs() const override { return inputs_; }
  const std::vector<Port>& outputs() const override { return outputs_; }

  Result<std::vector<Tensor>> run(std::span<const Tensor> inputs) const override {
    if (inputs.size() != inputs_.size()) return wrong_count(inputs.size());
    std::vector<Tensor> raw;
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      BEVEL_TRY(Tensor tensor, to_device(inputs[i], inputs_[i]));
      raw.push_back(std::move(tensor));
    }
    BEVEL_TRY(std::vector<Tensor> results, run_raw(raw));
    for (std::size_t i = 0; i < results.size(); ++i) results[i] = from_device(results[i], outputs_[i]);
    return results;
  }

  Result<std::vector<Tensor>> run_raw(std::span<const Tensor> inputs) const override {
    if (inputs.size() != inputs_.size()) return wrong_count(inputs.size());
    const std::uint64_t arena_bytes = program_.header->arena_bytes, state_bytes = program_.header->state_bytes;
    AlignedBytes arena(arena_bytes), state(state_bytes);
    if (state_bytes > 0) bvl_reset(&program_, state.data());
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      const Port& port = inputs_[i];
      Tensor given = inputs[i];
      if (given.dtype() != port.dtype) {  // the model's own dtype
        BEVEL_TRY(given, to_device(given, port));
      }
      if (given.dtype() != port.dtype || given.dims() != port.dims) {
        return fail_input("input '{}': expected {}, was given {}", printable(port.name), to_string(Type::tensor(port.dtype, port.dims)),
                          to_string(Type::tensor(inputs[i].dtype(), inputs[i].dims())));
      }
      const auto bytes = given.bytes();
      std::memcpy(bvl_input(&program_, entry_, static_cast<std::uint32_t>(i), arena.data()), bytes.data(), bytes.size());
    }
    const bvl_status status = bvl_run(&program_, entry_, arena.data(), arena_bytes, state_bytes ? state.data() : nullptr, state_bytes);
    if (status != BVL_OK) return fail_input("{}: {}", printable(name_), bvl_status_text(status));
    std::vector<Tensor> results;
    for (std::size_t i = 0; i < outputs_.size(); ++i) {
      const Port& port = outputs_[i];
      const auto* data = static_cast<const std::byte*>(bvl_output(&program_, entry_, static_cast<std::uint32_t>(i), arena.data()));
      const auto count = element_count(port.dims);
      BEVEL_CHECK(count.has_value());
      results.push_back(Tensor::from_bytes(port.dtype, port.dims, {data, *packed_bytes(port.dtype, *count)}));
    }
    return results;
  }

 private:
  Result<Port> port_of(std::uint32_t index) const {
    const bvl_tensor& tensor = program_.tensors[index];
    Port port;
    port.name = tensor.name == BVL_NONE ? "" : program_.strings + tensor.name;
    port.dtype = static_cast<DType>(tensor.dtype);
    port.model_dtype = tensor.model_dtype == 0 || !is_known_dtype(tensor.model_dtype) ? port.dtype : static_cast<DType>(tensor.model_dtype);
    for (std::uint32_t k = 0; k < tensor.rank; ++k) port.dims.push_back(tensor.dims[k]);
    const auto count = element_count(port.dims);
    const auto bytes = count ? packed_bytes(port.dtype, *count) : std::nullopt;
    if (!bytes || *bytes > tensor.bytes) return fail_input("{}: '{}' is larger than its memory", printable(name_), printable(port.name));
    if (tensor.quant_kind == BVL_QUANT_TENSOR) {
      port.scale = program_.quants[tensor.quant].scale;
      port.zero_point = program_.quants[tensor.quant].zero_point;
    }
    const bool quantized = port.dtype == DType::int8 || port.dtype == DType::int16;
    const bool converts = port.model_dtype == port.dtype || (port.dtype == DType::int8 && port.model_dtype == DType::uint8) ||
                          (quantized && port.model_dtype == DType::float32 && port.scale > 0);
    if (!converts) {
      return fail_input("{}: '{}' is {} in the model and {} on the device", printable(name_), printable(port.name),
                        dtype_name(port.model_dtype), dtype_name(port.dtype));
    }
    return port;
  }

  Failure wrong_count(std::size_t found) const {
    return fail_input("{}: takes {} inputs, was given {}", printable(name_), inputs_.size(), found);
  }

  template <typename T>
  static Tensor quantized(const Tensor& tensor, const Port& port, ops::IntegerRange range) {
    std::vector<T> values;
    values.reserve(static_cast<std::size_t>(tensor.size()));
    for (float x : tensor.values<float>()) {
      values.push_back(static_cast<T>(ops::quantize(static_cast<double>(x / port.scale), port.zero_point, range)));
    }
    return Tensor::of<T>(tensor.dims(), values);
  }

  static Result<Tensor> to_device(const Tensor& tensor, const Port& port) {
    if (tensor.dtype() == DType::float32 && port.dtype == DType::int8 && port.scale > 0) return quantized<std::int8_t>(tensor, port, ops::kInt8Range);
    if (tensor.dtype() == DType::float32 && port.dtype == DType::int16 && port.scale > 0) {
      return quantized<std::int16_t>(tensor, port, ops::kInt16Range);
    }
    if (tensor.dtype() != port.model_dtype) {
      return fail_input("input '{}': expected {}, was given {}", printable(port.name), dtype_name(port.model_dtype), dtype_name(tensor.dtype()));
    }
    if (port.model_dtype == DType::uint8) return flipped(tensor, port.dtype);
    return tensor;
  }

  static Tensor from_device(const Tensor& tensor, const Port& port) {
    if (port.dtype == port.model_dtype) return tensor;
    if (port.model_dtype == DType::uint8) return flipped(tensor, DType::uint8);
    std::vector<float> values;
    values.reserve(static_cast<std::size_t>(tensor.size()));
    const auto add = [&](std::int32_t q) { values.push_back(static_cast<float>(q - port.zero_point) * port.scale); };
    if (port.dtype == DType::int16) {
      for (std::int16_t q : tensor.values<std::int16_t>()) add(q);
    } else {
      for (std::int8_t q : tensor.values<std::int8_t>()) add(q);
    }
    return Tensor::of<float>(tensor.dims(), values);
  }

  static Tensor flipped(const Tensor& tensor, DType dtype) {
    Tensor result = Tensor::from_bytes(dtype, tensor.dims(), tensor.bytes());
    for (std::byte& byte : result.mutable_bytes()) byte ^= std::byte{0x80};
    return result;
  }

  AlignedBytes file_;
  std::size_t size_ = 0;
  std::string name_;
  bvl_program program_{};
  const bvl_entry* entry_ = nullptr;
  std::vector<Port> inputs_, outputs_;
};

}  // namespace

Result<std::unique_ptr<ProgramRunner>> ProgramRunner::open(std::vector<std::byte> bytes, const std::string& name) {
  auto runner = std::make_unique<Runner>(bytes, name);
  BEVEL_TRY_STATUS(runner->open());
  return std::unique_ptr<ProgramRunner>(std::move(runner));
}

}  // namespace bevel::eval
