// Anything that maps input tensors to output tensors: an ONNX model in the evaluator, or a .bvl file in the C runtime.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "lib/data/dataset.h"
#include "lib/driver/load.h"
#include "lib/eval/evaluator.h"
#include "lib/ir/graph.h"
#include "lib/ops/op.h"
#include "lib/support/result.h"

namespace bevel::driver {

class Runnable {
 public:
  virtual ~Runnable() = default;
  [[nodiscard]] virtual const std::vector<data::ModelInput>& inputs() const = 0;
  [[nodiscard]] virtual const std::vector<std::string>& output_names() const = 0;
  // Thread-safe. Inputs in the order of inputs(), checked here against their types; exit 5 naming the input.
  [[nodiscard]] virtual Result<std::vector<Tensor>> run(std::span<const Tensor> inputs) const = 0;
  // The device's integers; a model is refused with exit 2.
  [[nodiscard]] virtual Result<std::vector<Tensor>> run_raw(std::span<const Tensor> inputs) const = 0;
  // nullptr for a .bvl file.
  [[nodiscard]] virtual eval::Evaluator* evaluator() const = 0;
};

// By content: a file that starts with the Program's magic is a .bvl, everything else is read as ONNX.
Result<std::unique_ptr<Runnable>> open_runnable(const std::filesystem::path& path,
                                                const std::vector<ops::ShapeBinding>& shapes = {},
                                                Feeding feeding = Feeding::whole_tensors, const Bounds& bounds = {});
Result<std::unique_ptr<Runnable>> runnable_of(const Model& model, const std::string& name,
                                              const eval::EvalOptions& options = {});
// For comparing a model with the Program made of it: every group that lowers runs the runtime's kernel, in a model without
// integers too.
eval::EvalOptions evaluated_by_kernels(const Bounds& bounds = {});
Result<std::unique_ptr<Runnable>> runnable_of_program(std::vector<std::byte> bytes, const std::string& name);

}  // namespace bevel::driver
