#include "lib/driver/runnable.h"

#include <cstring>

#include "lib/runtime/bevel_format.h"
#include "lib/support/mapped_file.h"

namespace bevel::driver {

namespace {

// The input fits its declared type where that is known; the evaluator checks the rest as it computes.
Status check_inputs(const std::string& name, const std::vector<data::ModelInput>& expected, std::span<const Tensor> inputs) {
  if (inputs.size() != expected.size())
    return fail_input("{}: {} inputs given, the model has {}.", name, inputs.size(), expected.size());
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const Type& type = expected[i].type;
    if (!type.is_tensor()) continue;
    const Type found = Type::tensor(inputs[i].dtype(), inputs[i].dims());
    bool fits = type.dtype == DType::undefined || type.dtype == inputs[i].dtype();
    if (type.shape.has_rank) {
      fits = fits && type.shape.rank() == inputs[i].rank();
      for (std::size_t axis = 0; fits && axis < type.shape.rank(); ++axis)
        fits = !type.shape.dims[axis].known() || type.shape.dims[axis].value == inputs[i].dim(axis);
    }
    if (!fits)
      return fail_input("{}: input '{}' is {}, the model expects {}.", name, printable(expected[i].name), to_string(found),
                        to_string(type));
  }
  return {};
}

class EvaluatedModel final : public Runnable {
 public:
  EvaluatedModel(std::unique_ptr<eval::Evaluator> evaluator, std::string name)
      : evaluator_(std::move(evaluator)), name_(std::move(name)) {
    const Graph& graph = evaluator_->model().graph;
    inputs_ = data::inputs_needing_data(graph);
    for (const ValueId output : graph.outputs()) outputs_.push_back(graph.value(output).name);
  }
  const std::vector<data::ModelInput>& inputs() const override { return inputs_; }
  const std::vector<std::string>& output_names() const override { return outputs_; }
  eval::Evaluator* evaluator() const override { return evaluator_.get(); }

  Result<std::vector<Tensor>> run(std::span<const Tensor> inputs) const override {
    BEVEL_TRY_STATUS(check_inputs(name_, inputs_, inputs));
    std::vector<Datum> data(inputs.begin(), inputs.end());
    auto results = evaluator_->run(data);
    if (!results) return located(name_, std::move(results).error());
    std::vector<Tensor> outputs;
    for (std::size_t i = 0; i < results->size(); ++i) {
      const Tensor* tensor = (*results)[i].tensor();
      if (!tensor)
        return fail_input("{}: output '{}' is a sequence or an absent optional; only tensors can be stored and compared.",
                          name_, printable(i < outputs_.size() ? outputs_[i] : "?"));
      outputs.push_back(*tensor);
    }
    return outputs;
  }
  Result<std::vector<Tensor>> run_raw(std::span<const Tensor>) const override {
    return fail(ExitCode::usage, "--raw: {} is an ONNX model; only a .bvl file has device integers.", name_);
  }

 private:
  std::unique_ptr<eval::Evaluator> evaluator_;
  std::string name_;
  std::vector<data::ModelInput> inputs_;
  std::vector<std::string> outputs_;
};

class RunProgram final : public Runnable {
 public:
  RunProgram(std::unique_ptr<eval::ProgramRunner> runner, std::string name)
      : runner_(std::move(runner)), name_(std::move(name)) {
    for (const auto& port : runner_->inputs()) inputs_.push_back({port.name, Type::tensor(port.model_dtype, port.dims)});
    for (const auto& port : runner_->outputs()) outputs_.push_back(port.name);
  }
  const std::vector<data::ModelInput>& inputs() const override { return inputs_; }
  const std::vector<std::string>& output_names() const override { return outputs_; }
  eval::Evaluator* evaluator() const override { return nullptr; }

  Result<std::vector<Tensor>> run(std::span<const Tensor> inputs) const override {
    BEVEL_TRY_STATUS(check_inputs(name_, inputs_, inputs));
    return runner_->run(inputs);
  }
  Result<std::vector<Tensor>> run_raw(std::span<const Tensor> inputs) const override {
    if (inputs.size() != inputs_.size())
      return fail_input("{}: {} inputs given, the Program has {}.", name_, inputs.size(), inputs_.size());
    return runner_->run_raw(inputs);
  }

 private:
  std::unique_ptr<eval::ProgramRunner> runner_;
  std::string name_;
  std::vector<data::ModelInput> inputs_;
  std::vector<std::string> outputs_;
};

}  // namespace

Result<std::unique_ptr<Runnable>> runnable_of(const Model& model, const std::string& name, const eval::EvalOptions& options) {
  auto evaluator = eval::Evaluator::create(model, options);
  if (!evaluator) return located(name, std::move(evaluator).error());
  return std::make_unique<EvaluatedModel>(std::move(*evaluator), name);
}

eval::EvalOptions evaluated_by_kernels(const Bounds& bounds) {
  eval::EvalOptions options = bounds.eval_options();
  options.kernels = eval::Kernels::all;
  return options;
}

Result<std::unique_ptr<Runnable>> runnable_of_program(std::vector<std::byte> bytes, const std::string& name) {
  BEVEL_TRY(auto runner, eval::ProgramRunner::open(std::move(bytes), name));
  return std::make_unique<RunProgram>(std::move(runner), name);
}

Result<std::unique_ptr<Runnable>> open_runnable(const std::filesystem::path& path,
                                                const std::vector<ops::ShapeBinding>& shapes, Feeding feeding,
                                                const Bounds& bounds) {
  const std::string name = path.filename().string();
  {
    BEVEL_TRY(const auto file, MappedFile::open(path));
    const std::span<const std::byte> bytes = file->bytes();
    std::uint32_t magic = 0;
    if (bytes.size() >= sizeof(magic)) std::memcpy(&magic, bytes.data(), sizeof(magic));
    if (magic == BVL_MAGIC || path.extension() == ".bvl") {
      if (!shapes.empty())
        return fail(ExitCode::usage, "--shape: {} is a .bvl file, whose shapes are fixed.", printable(name));
      return runnable_of_program({bytes.begin(), bytes.end()}, name);
    }
  }
  BEVEL_TRY(const Loaded loaded, load_model(path, shapes, feeding, bounds));
  return runnable_of(loaded.model, name, bounds.eval_options());
}

}  // namespace bevel::driver
