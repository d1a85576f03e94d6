#include "lib/data/dataset.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>

#include "lib/data/csv.h"
#include "lib/data/description.h"
#include "lib/data/sources.h"
#include "lib/support/hash.h"

namespace bevel::data {
namespace {

struct BoundInput {
  ModelInput model;
  std::unique_ptr<Source> source;
  std::vector<Step> steps;
  std::string steps_text;
};

// Whether samples follow each other along the first axis of the model's input. A scalar and a recurrent layer's state ([layers, batch,
// size]) have no such axis: of those each sample is the whole tensor.
bool has_sample_axis(const Type& type) {
  if (!type.shape.has_rank) return true;
  return type.shape.rank() > 0 && (!type.shape.dims[0].known() || type.shape.dims[0].value == 1);
}

class DescribedDataset final : public Dataset {
 public:
  std::vector<BoundInput> inputs;
  std::vector<std::int64_t> labels;
  bool labelled = false;
  std::string metric_name, hash;
  std::size_t samples = 0;
  std::vector<std::filesystem::path> opened;
  std::vector<std::string> said;
  bool described = true;  // false: a bare .npz, which has no steps

  void add_file(const std::filesystem::path& file) {
    if (std::find(opened.begin(), opened.end(), file) == opened.end()) opened.push_back(file);
  }
  [[nodiscard]] std::vector<std::filesystem::path> files() const override { return opened; }
  [[nodiscard]] std::vector<std::string> notes() const override { return said; }
  [[nodiscard]] std::size_t size() const override { return samples; }
  [[nodiscard]] Result<std::vector<Tensor>> sample(std::size_t index) const override {
    std::vector<Tensor> tensors;
    for (const BoundInput& input : inputs) {
      const std::string where = input.source->where(index);
      BEVEL_TRY(Tensor raw, input.source->read(index));
      BEVEL_TRY(Tensor ready, apply_steps(std::move(raw), input.steps, where));
      BEVEL_TRY_STATUS(check(input, ready, where));
      Dims dims = ready.dims();
      if (has_sample_axis(input.model.type)) dims.insert(dims.begin(), 1);
      tensors.push_back(ready.reshaped(std::move(dims)));
    }
    return tensors;
  }
  [[nodiscard]] std::string sample_name(std::size_t index) const override { return inputs[0].source->where(index); }
  [[nodiscard]] std::optional<std::int64_t> label(std::size_t index) const override {
    return labelled ? std::optional(labels[index]) : std::nullopt;
  }
  [[nodiscard]] bool has_labels() const override { return labelled; }
  [[nodiscard]] std::string metric() const override { return metric_name; }
  [[nodiscard]] std::string content_hash() const override { return hash; }

  // SHA-256 over steps, sample bytes, labels and metric; no path is in it.
  Status make_hash() {
    std::string text = fmt::format("bevel-data/1\n{}\n{}\n", samples, metric_name);
    for (const BoundInput& input : inputs) {
      BEVEL_TRY(const std::string content, input.source->content(samples));
      text += fmt::format("{}:{} {} {}\n", input.model.name.size(), input.model.name, input.steps_text, content);
    }
    if (labelled) text += fmt::format("{}", fmt::join(labels, ","));
    hash = sha256_hex(text);
    return {};
  }

 private:
  [[nodiscard]] Status check(const BoundInput& input, const Tensor& ready, const std::string& where) const {
    const Type& type = input.model.type;
    if (type.dtype != DType::undefined && ready.dtype() != type.dtype && !described) {
      return fail_input("{}: {}, the model's input \"{}\" is {}; a bare .npz is fed as it is: write a data description "
                        "(\"format\": \"bevel-data/1\") that names it and has \"steps\", as {{\"divide\": 255}} or {{\"cast\": \"{}\"}}",
                        where, dtype_name(ready.dtype()), printable(input.model.name), dtype_name(type.dtype),
                        type.dtype == DType::float32 ? "float32" : dtype_name(type.dtype));
    }
    if (type.dtype != DType::undefined && ready.dtype() != type.dtype) {
      return fail_input("{}: after its steps the sample is {}, the model's input \"{}\" is {}; add the step {{\"cast\": "
                        "\"{}\"}} or change the others",
                        where, dtype_name(ready.dtype()), printable(input.model.name), dtype_name(type.dtype),
                        type.dtype == DType::float32 ? "float32" : dtype_name(type.dtype));
    }
    if (!type.shape.has_rank) return {};
    const std::size_t batch = has_sample_axis(type) ? 1 : 0;
    bool fits = type.shape.rank() == ready.rank() + batch;
    for (std::size_t axis = 0; fits && axis < ready.rank(); ++axis) {
      const Dim& dim = type.shape.dims[axis + batch];
      fits = !dim.known() || dim.value == ready.dim(axis);
    }
    if (fits) return {};
    return fail_input("{}: {}the sample is [{}], the model's input \"{}\" is {} ({})",
                      where, described ? "after its steps " : "", fmt::join(ready.dims(), ", "), printable(input.model.name),
                      to_string(type), batch ? "its first axis is the batch" : "which has no axis for samples: each is the whole tensor");
  }
};

Status check_model_input(const ModelInput& input, const std::string& name) {
  if (input.type.kind != Type::Kind::tensor && input.type.kind != Type::Kind::unknown) {
    return fail_input("{}: the model's input \"{}\" is {}; only tensors can be fed from data", name, printable(input.name),
                      to_string(input.type));
  }
  return {};
}

// One input at least must tell samples apart by its first axis. A model of nothing but whole tensors has a fixed batch, whose outputs
// no label belongs to.
Status check_sample_axes(const std::vector<ModelInput>& inputs, const std::string& name) {
  if (std::any_of(inputs.begin(), inputs.end(), [](const ModelInput& input) { return has_sample_axis(input.type); })) return {};
  const ModelInput& first = inputs.front();
  if (first.type.shape.rank() == 0) {
    return fail_input("{}: the model's input \"{}\" is a scalar, which has no batch axis to feed samples along", name,
                      printable(first.name));
  }
  return fail_input("{}: the model's input \"{}\" has a fixed batch of {}; samples are fed one at a time (1, or a symbol)", name,
                    printable(first.name), first.type.shape.dims[0].value);
}

Result<std::vector<std::int64_t>> integers_of(const Tensor& array, const std::string& where) {
  if (!is_integer(array.dtype()) && array.dtype() != DType::boolean) {
    return fail_input("{}: labels are {}, integers were expected", where, dtype_name(array.dtype()));
  }
  const bool one_each = array.rank() >= 1 && array.size() == array.dim(0);
  if (!one_each) {
    return fail_input("{}: labels have the shape [{}], one number per sample was expected", where,
                      fmt::join(array.dims(), ", "));
  }
  return array.as_int64s();
}

Result<std::int64_t> label_of(const std::string& text, const std::string& where) {
  std::int64_t label = 0;
  const char* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, label);
  if (error != std::errc() || rest != end || text.empty()) {
    return fail_input("{}: \"{}\" is not an integer label", where, printable(text));
  }
  return label;
}

// Rows follow the sorted files, or name them in a column "file" (relative to the table).
Result<std::vector<std::int64_t>> labels_of_table(const CsvTable& table, const Reference& reference,
                                                  const std::vector<std::string>& files, const std::string& where) {
  const int column = table.column(reference.key);
  if (column < 0) {
    return fail_input("{}: no column \"{}\"; the table has: {}", where, printable(reference.key),
                      printable(fmt::format("{}", fmt::join(table.header, ", "))));
  }
  const int file_column = table.column("file");
  std::vector<std::int64_t> labels;
  if (file_column < 0 || files.empty()) {
    for (std::size_t row = 0; row < table.rows.size(); ++row) {
      BEVEL_TRY(const std::int64_t label,
                label_of(table.rows[row][static_cast<std::size_t>(column)], fmt::format("{}, row {}", where, row + 1)));
      labels.push_back(label);
    }
    return labels;
  }
  const std::string base = std::filesystem::path(reference.path).parent_path().string();
  std::map<std::string, std::size_t> rows;
  for (std::size_t row = 0; row < table.rows.size(); ++row) {
    const std::string& file = table.rows[row][static_cast<std::size_t>(file_column)];
    if (!rows.emplace(base.empty() ? file : base + "/" + file, row).second) {
      return fail_input("{}: two rows name the file \"{}\"", where, printable(file));
    }
  }
  for (const std::string& file : files) {
    const auto row = rows.find(file);
    if (row == rows.end()) return fail_input("{}: no row names the file \"{}\"", where, printable(file));
    BEVEL_TRY(const std::int64_t label, label_of(table.rows[row->second][static_cast<std::size_t>(column)],
                                                 fmt::format("{}, file \"{}\"", where, printable(file))));
    labels.push_back(label);
  }
  return labels;
}

Result<std::vector<std::int64_t>> read_labels(const FileRoot& root, const std::string& text,
                                              const std::vector<std::string>& files, Archives& archives,
                                              const std::string& where) {
  BEVEL_TRY(const Reference reference, parse_reference(text, where));
  if (reference.path.ends_with(".csv")) {
    if (reference.key.empty()) {
      return fail_input("{}: \"{}\": which column? write \"{}:column\"", where, printable(text), printable(text));
    }
    auto file = map_beneath(root, reference.path);
    if (!file) return located(where, std::move(file).error());
    const auto bytes = (*file)->bytes();
    const std::string_view content(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    const std::string name = printable((root.folder / reference.path).string());
    BEVEL_TRY(const CsvTable table, parse_csv(content, name));
    return labels_of_table(table, reference, files, name);
  }
  BEVEL_TRY(const Tensor array, open_array(root, reference, archives, where));
  return integers_of(array, where);
}

// Sizes agree; --samples cuts; at least one sample is left.
Status bind_samples(DescribedDataset& dataset, std::optional<std::size_t> max_samples, const std::string& name) {
  const BoundInput& first = dataset.inputs.front();
  dataset.samples = first.source->size();
  for (const BoundInput& input : dataset.inputs) {
    if (input.source->size() != dataset.samples) {
      return fail_input("{}: input \"{}\" has {} samples, \"{}\" has {}", name, printable(input.model.name),
                        input.source->size(), printable(first.model.name), dataset.samples);
    }
  }
  if (dataset.labelled && dataset.labels.size() != dataset.samples) {
    return fail_input("{}: there are {} labels for {} samples", name, dataset.labels.size(), dataset.samples);
  }
  if (max_samples) dataset.samples = std::min(dataset.samples, *max_samples);
  if (dataset.samples == 0) return fail_input("{}: the data set has no samples; at least one is needed", name);
  if (dataset.labelled) dataset.labels.resize(dataset.samples);
  return {};
}

std::string names_of(const std::vector<ModelInput>& inputs) {
  std::string names;
  for (const ModelInput& input : inputs) names += (names.empty() ? "\"" : ", \"") + printable(input.name) + "\"";
  return names;
}

Result<std::unique_ptr<Dataset>> open_description(const std::filesystem::path& path, std::string_view text,
                                                  const std::vector<ModelInput>& inputs, std::optional<std::size_t> max_samples,
                                                  const std::vector<std::filesystem::path>& allowed_roots) {
  const std::string name = printable(path.string());
  const FileRoot root{path.parent_path(), allowed_roots};
  const std::filesystem::path& folder = root.folder;
  BEVEL_TRY(Description description, parse_description(text, name));
  for (const DescribedInput& described : description.inputs) {
    const bool known = std::any_of(inputs.begin(), inputs.end(), [&](const auto& i) { return i.name == described.name; });
    if (!known) {
      return fail_input("{}: inputs.{}: the model has no such input; it has {}", name, printable(described.name),
                        names_of(inputs));
    }
  }
  auto dataset = std::make_unique<DescribedDataset>();
  dataset->opened.push_back(path);
  Archives archives;
  std::vector<std::string> files;
  for (const ModelInput& input : inputs) {
    const auto described = std::find_if(description.inputs.begin(), description.inputs.end(),
                                        [&](const DescribedInput& d) { return d.name == input.name; });
    if (described == description.inputs.end()) {
      return fail_input("{}: inputs: the model's input \"{}\" is missing", name, printable(input.name));
    }
    const std::string where = fmt::format("{}: inputs.{}.from", name, printable(input.name));
    BEVEL_TRY(auto source, open_source(root, described->from, archives, where));
    const std::vector<std::string> listed = source->files();
    if (listed.empty()) dataset->add_file(folder / described->from.path);
    // The lists do not repeat themselves and may be long: added without the search, unless another input reads them too.
    if (listed != files)
      for (const std::string& file : listed) dataset->opened.push_back(folder / file);
    if (files.empty()) files = listed;
    dataset->inputs.push_back({input, std::move(source), described->steps, described->steps_text});
  }
  if (!description.labels.empty()) {
    BEVEL_TRY(dataset->labels, read_labels(root, description.labels, files, archives, name + ": labels"));
    dataset->labelled = true;
    BEVEL_TRY(const Reference reference, parse_reference(description.labels, name + ": labels"));
    dataset->add_file(folder / reference.path);
  }
  if (!description.metric.empty() && !dataset->labelled) {
    return fail_input("{}: the metric \"{}\" needs \"labels\"", name, description.metric);
  }
  dataset->metric_name = description.metric;
  if (dataset->labelled && description.metric.empty()) {
    dataset->metric_name = "top1";
    dataset->said.push_back(fmt::format("{} has labels and states no metric: top1 was taken", path.filename().string()));
  }
  BEVEL_TRY_STATUS(bind_samples(*dataset, max_samples, name));
  BEVEL_TRY_STATUS(dataset->make_hash());
  return dataset;
}

Result<std::unique_ptr<Dataset>> open_npz(const std::filesystem::path& path, std::shared_ptr<const MappedFile> file,
                                          const std::vector<ModelInput>& inputs, std::optional<std::size_t> max_samples) {
  const std::string name = printable(path.string());
  BEVEL_TRY(const auto archive, ArrayArchive::open(std::move(file), name));
  auto dataset = std::make_unique<DescribedDataset>();
  dataset->opened.push_back(path);
  dataset->described = false;
  for (const ModelInput& input : inputs) {
    BEVEL_TRY(Tensor array, archive->read(input.name));
    const std::string where = fmt::format("{}:{}", name, printable(input.name));
    if (array.rank() == 0) return fail_input("{}: a single number; its first axis was expected to count the samples", where);
    dataset->inputs.push_back({input, array_source(std::move(array), where), {}, "[]"});
  }
  BEVEL_TRY_STATUS(bind_samples(*dataset, max_samples, name));
  BEVEL_TRY_STATUS(dataset->make_hash());
  return dataset;
}

}  // namespace

std::vector<ModelInput> inputs_needing_data(const Graph& graph) {
  std::vector<ModelInput> inputs;
  for (const ValueId id : graph.inputs()) {
    const Value& value = graph.value(id);
    if (!value.constant) inputs.push_back({value.name, value.type});
  }
  return inputs;
}

Result<std::unique_ptr<Dataset>> open_dataset(const std::filesystem::path& path, const std::vector<ModelInput>& inputs,
                                              std::optional<std::size_t> max_samples,
                                              const std::vector<std::filesystem::path>& allowed_roots) {
  const std::string name = printable(path.string());
  BEVEL_TRY(auto file, MappedFile::open(path));
  if (inputs.empty()) return fail_input("{}: the model has no input that takes data", name);
  for (const ModelInput& input : inputs) BEVEL_TRY_STATUS(check_model_input(input, name));
  BEVEL_TRY_STATUS(check_sample_axes(inputs, name));
  const auto bytes = file->bytes();
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  auto dataset = text.starts_with("PK") ? open_npz(path, std::move(file), inputs, max_samples)
                                        : open_description(path, text, inputs, max_samples, allowed_roots);
  if (!dataset) return dataset;
  // The first sample now, so that a wrong step, shape or dtype is found before the work starts.
  if (auto first = (*dataset)->sample(0); !first) return Failure(std::move(first).error());
  return dataset;
}

}  // namespace bevel::data
