// What a value is, whatever model it is found in: a hash of all that it is computed from.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "calibration/steps.h"
#include "lib/ir/tensor.h"

namespace bevel::calibration {

// Hashes of tensors' contents. The content of a large tensor is hashed once for as long as models come that hold it.
class TensorHashes {
 public:
  std::string operator()(const Tensor& tensor);
  // Forgets what has not been asked for since the call before this one.
  void next_model();

 private:
  struct Known {
    Tensor tensor;  // keeps the storage, so that its address is nobody else's
    std::string hash;
    std::uint64_t last_model = 0;
  };
  std::map<std::pair<const std::byte*, std::size_t>, Known> known_;
  std::uint64_t model_ = 0;
};

// By value of the model: equal for two values, of one model or of two, only if the evaluator gives both the same bits for each sample. Covers
// operators, attributes, subgraphs, opsets, contents of constants, and the groups that the runtime's kernels are run for. Inputs count by their position.
// Empty for constants and for what nobody makes.
std::vector<std::string> value_hashes(const SteppedModel& stepped, TensorHashes& tensors);

}  // namespace bevel::calibration
