#include "lib/driver/execute.h"

#include <cstring>

#include "lib/data/dataset.h"
#include "lib/data/metrics.h"
#include "lib/driver/load.h"
#include "lib/driver/runnable.h"
#include "lib/driver/samples.h"
#include "lib/driver/staging.h"
#include "lib/driver/verify.h"
#include "lib/onnx/onnx.h"
#include "lib/support/atomic_file.h"
#include "lib/support/hash.h"

namespace bevel::driver {

namespace fs = std::filesystem;

namespace {

// One tensor per model input from an .npz whose members are the inputs' names, or a folder of input_k.pb.
Result<std::vector<Tensor>> whole_inputs(const fs::path& path, const std::vector<data::ModelInput>& expected, const Bounds& bounds) {
  std::vector<Tensor> tensors;
  std::error_code error;
  if (fs::is_directory(path, error)) {
    for (std::size_t k = 0; k < expected.size(); ++k) {
      const fs::path file = path / fmt::format("input_{}.pb", k);
      if (!fs::exists(file, error))
        return fail_input("{}: no such file; the model's input {} is '{}'.", printable(file.string()), k, printable(expected[k].name));
      BEVEL_TRY(Tensor tensor, onnx::read_tensor_proto(file, nullptr, bounds.import_options()));
      tensors.push_back(std::move(tensor));
    }
    return tensors;
  }
  BEVEL_TRY(const auto arrays, data::read_arrays(path));
  for (const data::ModelInput& input : expected) {
    const Tensor* found = nullptr;
    for (const auto& [name, tensor] : arrays)
      if (name == input.name || (arrays.size() == 1 && expected.size() == 1 && name.empty())) found = &tensor;
    if (!found) {
      std::string names;
      for (const auto& [name, tensor] : arrays) names += fmt::format("{}'{}'", names.empty() ? "" : ", ", printable(name));
      return fail_input("{}: no array for the model's input '{}'; the file holds {}.", printable(path.string()), printable(input.name),
                        names.empty() ? "nothing" : names);
    }
    tensors.push_back(*found);
  }
  return tensors;
}

// Samples' outputs along axis 0. Scalars are stacked.
Result<Tensor> joined(const std::vector<Tensor>& parts, const std::string& name) {
  const Tensor& first = parts.front();
  Dims dims = first.dims();
  if (dims.empty()) dims = {1};
  std::int64_t rows = 0;
  std::vector<std::byte> bytes;
  if (first.dtype() == DType::string)
    return fail_input("output '{}' holds strings: outputs of several samples cannot be joined; use --inputs.", printable(name));
  if (dtype_bits(first.dtype()) < 8 && parts.size() > 1)
    return fail_input("output '{}' has elements smaller than a byte: outputs of several samples cannot be joined; use --inputs.",
                      printable(name));
  for (std::size_t i = 0; i < parts.size(); ++i) {
    Dims these = parts[i].dims();
    if (these.empty()) these = {1};
    bool same = parts[i].dtype() == first.dtype() && these.size() == dims.size();
    for (std::size_t axis = 1; same && axis < dims.size(); ++axis) same = these[axis] == dims[axis];
    if (!same)
      return fail_input("output '{}' is {} for sample 0 and {} for sample {}: outputs of unequal shape cannot be joined.",
                        printable(name), to_string(Type::tensor(first.dtype(), first.dims())),
                        to_string(Type::tensor(parts[i].dtype(), parts[i].dims())), i);
    rows += these[0];
    const auto part = parts[i].bytes();
    bytes.insert(bytes.end(), part.begin(), part.end());
  }
  dims[0] = rows;
  return Tensor::from_bytes(first.dtype(), dims, bytes);
}

std::string hash_of(const std::vector<std::pair<std::string, Tensor>>& arrays) {
  std::string all;
  for (const auto& [name, tensor] : arrays) {
    all += fmt::format("{} {}\n", name, to_string(Type::tensor(tensor.dtype(), tensor.dims())));
    if (tensor.dtype() == DType::string) {
      for (const std::string& text : tensor.strings()) all += fmt::format("{}:{}\n", text.size(), text);
    } else {
      all += sha256_hex(tensor.bytes()) + "\n";
    }
  }
  return sha256_hex(all);
}

// Reads the staged file back: every array is there with its shape before it gets its name.
Status check_written(const fs::path& path, const std::vector<std::pair<std::string, Tensor>>& arrays) {
  BEVEL_TRY(const auto reread, data::read_arrays(path));
  bool same = reread.size() == arrays.size();
  for (std::size_t i = 0; same && i < arrays.size(); ++i)
    same = reread[i].first == arrays[i].first && reread[i].second.dims() == arrays[i].second.dims();
  if (!same) return fail(ExitCode::verification, "verification failed: the written arrays read back differently. Nothing was written.");
  return {};
}

}  // namespace

Result<report::RunRecord> run(const RunRequest& request) {
  if (request.inputs.has_value() == request.data.has_value())
    return fail(ExitCode::usage, "run needs inputs: give either --inputs ARRAYS.npz (or a folder of input_k.pb) or --data DATA.");
  if (request.inputs && request.max_samples)
    return fail(ExitCode::usage, "--samples: --inputs are whole tensors, run once as they stand; --samples goes with --data.");
  if (request.out && request.out->filename().empty())
    return fail(ExitCode::usage, "-o '{}': expected the name of a file.", printable(request.out->string()));
  BEVEL_TRY(const auto shapes, parse_shapes(request.shapes));
  BEVEL_TRY(const Bounds bounds, read_bounds(request.bounds));
  BEVEL_TRY(const auto runnable, open_runnable(request.model, shapes, request.data ? Feeding::samples : Feeding::whole_tensors, bounds));
  std::optional<Staging> staging;
  if (request.out) {
    BEVEL_TRY_STATUS(file_behind(*request.out));
    if (request.dry_run) {
      BEVEL_TRY_STATUS(can_write_into(request.out->parent_path(), /*create_folder=*/false));
    } else {
      auto created = Staging::create(request.out->parent_path(), /*create_folder=*/false);
      if (!created) return Failure(std::move(created).error());
      staging.emplace(std::move(*created));
    }
  }
  const auto execute = [&](const std::vector<Tensor>& inputs) {
    return request.raw ? runnable->run_raw(inputs) : runnable->run(inputs);
  };
  std::vector<std::pair<std::string, Tensor>> arrays;
  report::RunRecord record;
  if (request.inputs) {
    BEVEL_TRY(const auto inputs, whole_inputs(*request.inputs, runnable->inputs(), bounds));
    BEVEL_TRY(auto outputs, execute(inputs));
    record.samples = 1;
    record.whole_tensors = true;
    for (std::size_t i = 0; i < inputs.size(); ++i)
      record.inputs.push_back({runnable->inputs()[i].name, to_string(Type::tensor(inputs[i].dtype(), inputs[i].dims()))});
    for (std::size_t i = 0; i < outputs.size(); ++i) arrays.emplace_back(runnable->output_names()[i], std::move(outputs[i]));
  } else {
    BEVEL_TRY(const Samples samples, open_samples(*request.data, runnable->inputs(), request.max_samples, "data", bounds));
    record.samples = samples.dataset->size();
    WorkerPool pool(request.threads);
    std::vector<std::vector<Tensor>> parts(runnable->output_names().size());
    const auto produce = [&](std::size_t index) -> Result<std::vector<Tensor>> {
      BEVEL_TRY(const auto sample, samples.dataset->sample(index));
      return execute(sample);
    };
    const auto consume = [&](std::size_t, std::vector<Tensor> outputs) -> Status {
      for (std::size_t i = 0; i < outputs.size(); ++i) parts[i].push_back(std::move(outputs[i]));
      return {};
    };
    BEVEL_TRY_STATUS((sweep<std::vector<Tensor>>(pool, samples.dataset->size(), "run", produce, consume)));
    for (std::size_t i = 0; i < parts.size(); ++i) {
      BEVEL_TRY(Tensor tensor, joined(parts[i], runnable->output_names()[i]));
      arrays.emplace_back(runnable->output_names()[i], std::move(tensor));
    }
  }
  for (const auto& [name, tensor] : arrays)
    record.outputs.push_back({name, to_string(Type::tensor(tensor.dtype(), tensor.dims()))});
  record.stable_hash = hash_of(arrays);
  if (staging) {
    const std::string name = request.out->filename().string();
    BEVEL_TRY_STATUS(data::write_npz(staging->path_of(name), arrays));
    BEVEL_TRY_STATUS(check_written(staging->path_of(name), arrays));
    BEVEL_TRY_STATUS(staging->publish({name}));
  }
  return record;
}

Result<report::EvalRecord> evaluate(const EvalRequest& request) {
  BEVEL_TRY(const auto shapes, parse_shapes(request.shapes));
  BEVEL_TRY(const Bounds bounds, read_bounds(request.bounds));
  BEVEL_TRY(const auto runnable, open_runnable(request.model, shapes, Feeding::samples, bounds));
  BEVEL_TRY(const Samples samples, open_samples(request.data, runnable->inputs(), request.max_samples, "data", bounds));
  if (!samples.dataset->has_labels())
    return fail_input("{}: the data has no labels; `eval` needs a description with \"labels\" and \"metric\". Without labels, `bevel "
                      "compare` measures SQNR and agreement against another model.",
                      printable(request.data.string()));
  WorkerPool pool(request.threads);
  BEVEL_TRY(const Measured measured, measure_side_by_side({runnable.get()}, {}, *samples.dataset, pool, "eval"));
  return report::EvalRecord{samples.source, measured.metric, measured.metrics.front(), samples.dataset->notes()};
}

Result<report::CompareRecord> compare(const CompareRequest& request) {
  if (request.max_drop && !(*request.max_drop >= 0))
    return fail(ExitCode::usage, "--max-drop {}: expected points of the metric, 0 or more.", *request.max_drop);
  BEVEL_TRY(const auto shapes, parse_shapes(request.shapes));
  BEVEL_TRY(const Bounds bounds, read_bounds(request.bounds));
  BEVEL_TRY(const auto a, open_runnable(request.a, shapes, request.data ? Feeding::samples : Feeding::whole_tensors, bounds));
  BEVEL_TRY(const auto b, open_runnable(request.b, {}, Feeding::whole_tensors, bounds));
  Samples samples;
  if (request.data) {
    BEVEL_TRY(samples, open_samples(*request.data, a->inputs(), request.max_samples, "data", bounds));
  } else {
    BEVEL_TRY(samples, random_samples(a->inputs(), request.max_samples.value_or(kRandomSamples)));
  }
  WorkerPool pool(request.threads);
  BEVEL_TRY(const Measured measured, measure_side_by_side({a.get(), b.get()}, {{0, 1}}, *samples.dataset, pool, "compare"));
  report::CompareRecord record;
  record.samples = samples.source;
  record.notes = samples.dataset->notes();
  record.outputs = measured.pairs[0];
  record.max_drop = request.max_drop;
  double drop = 0;
  if (!measured.metric.empty()) {
    record.metric = measured.metric;
    record.a = measured.metrics[0];
    record.b = measured.metrics[1];
    drop = std::max(drop, drop_in_points(measured.metric, measured.metrics[0], measured.metrics[1]));
  } else {
    for (const report::OutputComparison& output : record.outputs) drop = std::max(drop, 100 - 100 * output.agreement);
  }
  record.drop = drop;
  record.passed = !request.max_drop || drop <= *request.max_drop;
  return record;
}

}  // namespace bevel::driver
