#include "lib/driver/samples.h"

#include "lib/support/random.h"

namespace bevel::driver {

namespace {

constexpr std::uint64_t kSeed = 0xBE7E1;
constexpr std::int64_t kMaxRandomElements = 1 << 28;  // per input: a model that asks for more needs --shape or data

class RandomDataset final : public data::Dataset {
 public:
  RandomDataset(std::vector<std::pair<DType, Dims>> inputs, std::size_t count) : inputs_(std::move(inputs)), count_(count) {}
  std::size_t size() const override { return count_; }
  std::optional<std::int64_t> label(std::size_t) const override { return std::nullopt; }
  bool has_labels() const override { return false; }
  std::string metric() const override { return ""; }
  std::string content_hash() const override { return ""; }

  Result<std::vector<Tensor>> sample(std::size_t index) const override {
    std::vector<Tensor> tensors;
    for (std::size_t input = 0; input < inputs_.size(); ++input) {
      const auto& [dtype, dims] = inputs_[input];
      Random random(kSeed + index * 1000003 + input);
      Tensor tensor = Tensor::zeros(dtype, dims);
      for (std::int64_t i = 0; i < tensor.size(); ++i) {
        if (dtype == DType::float32) break;
        if (is_floating(dtype)) tensor.set_from_double(i, random.uniform(-1, 1));
        else if (dtype == DType::boolean) tensor.set_from_int64(i, static_cast<std::int64_t>(random.below(2)));
        else tensor.set_from_int64(i, static_cast<std::int64_t>(random.below(dtype_bits(dtype) >= 8 ? 8 : 2)));
      }
      if (dtype == DType::float32)
        for (float& value : tensor.mutable_values<float>()) value = random.uniform(-1, 1);
      tensors.push_back(std::move(tensor));
    }
    return tensors;
  }

 private:
  std::vector<std::pair<DType, Dims>> inputs_;
  std::size_t count_;
};

}  // namespace

Result<Samples> open_samples(const std::filesystem::path& path, const std::vector<data::ModelInput>& inputs,
                             std::optional<std::size_t> max_samples, const std::string& from, const Bounds& bounds) {
  BEVEL_TRY(auto dataset, data::open_dataset(path, inputs, max_samples, bounds.allowed_roots));
  if (dataset->size() == 0)
    return fail_input("{}: zero samples. At least one is needed; check the files that the description names{}.",
                      printable(path.string()), max_samples ? " and --samples" : "");
  Samples samples;
  samples.source = {from, dataset->size(), dataset->content_hash()};
  samples.dataset = std::move(dataset);
  return samples;
}

Result<Samples> random_samples(const std::vector<data::ModelInput>& inputs, std::size_t count) {
  std::vector<std::pair<DType, Dims>> types;
  for (const data::ModelInput& input : inputs) {
    if (!input.type.is_tensor() || !input.type.shape.has_rank || input.type.dtype == DType::string ||
        input.type.dtype == DType::undefined || input.type.dtype == DType::complex64 || input.type.dtype == DType::complex128)
      return fail_input("input '{}' is {}: no random samples can be made for it; give data, or its shape with --shape.",
                        printable(input.name), to_string(input.type));
    Dims dims;
    for (const Dim& dim : input.type.shape.dims) dims.push_back(dim.known() ? dim.value : 1);
    const auto elements = element_count(dims);
    if (!elements || *elements > kMaxRandomElements)
      return fail_input("input '{}' is {}: too large for random samples.", printable(input.name), to_string(input.type));
    if (*elements == 0)
      return fail_input("input '{}' is {}: it has no elements, so nothing run on it would tell anything; give data, or another shape "
                        "with --shape.", printable(input.name), to_string(Type::tensor(input.type.dtype, dims)));
    types.emplace_back(input.type.dtype, std::move(dims));
  }
  Samples samples;
  samples.source = {"random", count, ""};
  samples.dataset = std::make_unique<RandomDataset>(std::move(types), count);
  return samples;
}

}  // namespace bevel::driver
