// Data descriptions ("bevel-data/1", README.md) and the samples they describe.
#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lib/ir/graph.h"
#include "lib/ir/tensor.h"
#include "lib/support/result.h"

namespace bevel::data {

struct ModelInput {
  std::string name;
  Type type;
};

// The formal inputs of a graph that need data (initializers with defaults are left out).
std::vector<ModelInput> inputs_needing_data(const Graph& graph);

class Dataset {
 public:
  virtual ~Dataset() = default;
  [[nodiscard]] virtual std::size_t size() const = 0;  // samples, after --samples
  // One tensor per model input, in the order given to open(), batch axis (extent 1) included. Thread-safe. Errors name file
  // and sample. A value that is NaN or infinite is the caller's to judge.
  [[nodiscard]] virtual Result<std::vector<Tensor>> sample(std::size_t index) const = 0;
  // Where a sample comes from ("eval/0001.jpg", "x.npz:key, sample 3"), for messages only.
  [[nodiscard]] virtual std::string sample_name(std::size_t index) const { return fmt::format("sample {}", index); }
  // Integer label of a sample; nullopt when the description has no labels.
  [[nodiscard]] virtual std::optional<std::int64_t> label(std::size_t index) const = 0;
  [[nodiscard]] virtual bool has_labels() const = 0;
  [[nodiscard]] virtual std::string metric() const = 0;       // "top1", "top5", "auc", "mse"; "" when not stated
  // What the user should know of how the description was read.
  [[nodiscard]] virtual std::vector<std::string> notes() const { return {}; }
  // Every file that the samples and labels come from, as opened: the description first, a glob's matches sorted. Empty: none.
  [[nodiscard]] virtual std::vector<std::filesystem::path> files() const { return {}; }
  [[nodiscard]] virtual std::string content_hash() const = 0; // SHA-256 over description and referenced bytes, paths left out
};

// Opens `path` (a .json description, or a bare .npz whose keys are the inputs' names) for a model's inputs; checks keys, names,
// shapes and dtypes against them. `max_samples`: the first N. `allowed_roots`: FileRoot::allowed. Errors: exit 5, naming the description's key or file.
Result<std::unique_ptr<Dataset>> open_dataset(const std::filesystem::path& path, const std::vector<ModelInput>& inputs,
                                              std::optional<std::size_t> max_samples = {},
                                              const std::vector<std::filesystem::path>& allowed_roots = {});

// All arrays of an .npz (stored or deflated), by member name without ".npy"; or of an .npy, as "".
Result<std::vector<std::pair<std::string, Tensor>>> read_arrays(const std::filesystem::path& path);
// Writes named arrays as .npz members, atomically; dtypes that NumPy lacks are widened exactly (bfloat16, float8, float4 ->
// float32; int4/int2 -> int8; uint4/uint2 -> uint8).
Status write_npz(const std::filesystem::path& path, const std::vector<std::pair<std::string, Tensor>>& arrays);

}  // namespace bevel::data
