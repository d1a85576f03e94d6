// Collects the tensors and steps of a Program, then gives them memory: lifetimes, in-place operation, arena, constants.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "lib/ops/lowering.h"
#include "lib/plan/program.h"
#include "lib/support/result.h"

namespace bevel::plan {

class ProgramBuilder {
 public:
  // A tensor with memory of its own. `dtype` is the model's: 8-bit values become int8. Errors: a dtype, rank or size that a Program
  // cannot hold.
  Result<std::uint32_t> add_tensor(const std::string& name, DType dtype, const Dims& logical, const ops::MemoryOrder& order,
                                   std::uint32_t storage);
  // Other dims over the same bytes.
  Result<std::uint32_t> add_view(std::uint32_t of, const std::string& name, const Dims& logical, const ops::MemoryOrder& order);
  // A constant of the graph, row-major, 8-bit values in the device domain.
  Result<std::uint32_t> add_constant_value(const std::string& name, const Tensor& tensor);
  // The model's dtype (of an input or output) and the quantization, which is turned to the device domain.
  void describe(std::uint32_t tensor, DType model_dtype, const std::optional<ops::Quantization>& quantization);

  void add_input(std::uint32_t tensor) { entry_.inputs.push_back(tensor); }
  // Makes `source` (row-major) an output of the Program; where its bytes are an input's, a constant's or another output's, a copy.
  Result<std::uint32_t> add_output(std::uint32_t source, const std::string& name, const Dims& logical);

  Status add_steps(const std::string& name, const std::string& place, ops::LoweredGroup group,
                   const std::vector<std::uint32_t>& inputs, const std::vector<std::uint32_t>& outputs);
  // A copy of `from` in another memory order.
  Result<std::uint32_t> add_transposed(std::uint32_t from, const std::string& name, const std::string& step_name,
                                       const Dims& logical, const ops::MemoryOrder& from_order,
                                       const ops::MemoryOrder& to_order);

  Result<Program> finish(bool pack);

 private:
  struct Buffer {
    std::uint64_t bytes = 0;
    bool constant = false, input = false, output = false;
    std::uint32_t first = UINT32_MAX, last = 0;  // steps
    std::uint32_t merged_into = UINT32_MAX;      // in-place: shares that buffer's memory
    std::uint64_t offset = 0;
    std::function<Result<Tensor>()> pack;        // constants
    std::string place;                           // for the message of a failing pack
  };
  struct InPlace {
    bool first = false, second = false;
  };

  std::uint32_t root(std::uint32_t buffer) const;
  void find_lifetimes();
  void merge_in_place();
  void place();
  Status pack_constants();

  Program program_;
  ProgramEntry entry_;
  std::vector<Buffer> buffers_;
  std::vector<std::uint32_t> buffer_of_;  // by tensor
  std::vector<InPlace> in_place_;         // by step
};

}  // namespace bevel::plan
