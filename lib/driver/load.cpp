#include "lib/driver/load.h"

#include <algorithm>
#include <charconv>
#include <cstring>

#include "lib/onnx/onnx.h"
#include "lib/ops/qoperator.h"
#include "lib/runtime/bevel_format.h"
#include "lib/support/hash.h"
#include "lib/support/mapped_file.h"

namespace bevel::driver {

namespace {

std::optional<std::int64_t> parse_extent(std::string_view text) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < 0) return std::nullopt;
  return value;
}

Status refuse_program(const std::filesystem::path& path) {
  const auto file = MappedFile::open(path);
  if (!file) return {};  // the importer says what is wrong with it
  std::uint32_t magic = 0;
  if ((*file)->bytes().size() < sizeof(magic)) return {};
  std::memcpy(&magic, (*file)->bytes().data(), sizeof(magic));
  if (magic != BVL_MAGIC) return {};
  return fail_input("{}: this is a .bvl Program, where an ONNX model is expected. `run`, `eval` and `compare` take a Program; give this "
                    "command the ONNX model that it was made of.", printable(path.string()));
}

std::string shape_text(const Dims& dims) {
  std::string text;
  for (const std::int64_t extent : dims) text += fmt::format("{}{}", text.empty() ? "" : "x", extent);
  return text;
}

// `unbound` has the symbols still in its shapes.
Status require_batch_of_one(const Graph& unbound, const std::vector<ops::ShapeBinding>& shapes) {
  for (const ValueId id : unbound.inputs()) {
    const Value& value = unbound.value(id);
    if (value.constant || !value.type.is_tensor() || !value.type.shape.has_rank || value.type.shape.rank() == 0) continue;
    const Dim& batch = value.type.shape.dims[0];
    if (batch.known()) continue;
    for (const ops::ShapeBinding& shape : shapes) {
      const bool binds = shape.name == value.name || (batch.named() && shape.name == batch.symbol);
      if (!binds || shape.dims.empty() || shape.dims[0] == 1) continue;
      return fail(ExitCode::usage,
                  "--shape '{}={}': gives input '{}' a batch of {}, but samples are fed one at a time, to a Program too; its first extent "
                  "must be 1, which it is without --shape as well.",
                  printable(shape.name), shape_text(shape.dims), printable(value.name), shape.dims[0]);
    }
  }
  return {};
}

}  // namespace

Result<std::vector<ops::ShapeBinding>> parse_shapes(const std::vector<std::string>& texts) {
  std::vector<ops::ShapeBinding> bindings;
  for (const std::string& text : texts) {
    const std::size_t equals = text.rfind('=');
    ops::ShapeBinding binding;
    bool good = equals != std::string::npos && equals > 0;
    if (good) binding.name = text.substr(0, equals);
    for (std::size_t at = equals + 1; good && at <= text.size();) {
      const std::size_t end = std::min(text.find('x', at), text.size());
      const auto extent = parse_extent(std::string_view(text).substr(at, end - at));
      good = extent.has_value();
      if (good) binding.dims.push_back(*extent);
      at = end + 1;
    }
    if (!good)
      return fail(ExitCode::usage, "--shape '{}': expected SYMBOL=8 or INPUT=1x3x224x224 (extents are whole numbers).",
                  printable(text));
    bindings.push_back(std::move(binding));
  }
  return bindings;
}

Result<Loaded> load_model(const std::filesystem::path& path, const std::vector<ops::ShapeBinding>& shapes, Feeding feeding,
                          const Bounds& bounds) {
  Loaded loaded;
  loaded.bounds = bounds;
  BEVEL_TRY_STATUS(refuse_program(path));
  BEVEL_TRY(loaded.model, onnx::import_model(path, bounds.import_options(), &loaded.files));
  loaded.files.insert(loaded.files.begin(), path);
  BEVEL_TRY(loaded.sha256, sha256_of_file(path));
  for (const std::filesystem::path& file : loaded.files) {
    std::error_code error;
    const std::uintmax_t bytes = std::filesystem::file_size(file, error);
    if (!error) loaded.file_bytes += bytes;
  }
  loaded.file_opset = loaded.model.opset();
  BEVEL_TRY(const bool lifted, ops::upgrade_to_base(loaded.model));  // it and inference name the file themselves
  if (!lifted) {
    loaded.beyond_knowledge = fmt::format("the model's opset is {}; Bevel knows {} to {}", loaded.file_opset,
                                          ops::kOldestOpset, ops::kNewestOpset);
    return loaded;
  }
  // Operators of ONNX Runtime's own, in ONNX's words; weights that are rounded whenever the model runs, as what that gives.
  ops::state_contributed_operators_as_nodes(loaded.model);
  ops::store_rounded_constants(loaded.model);
  if (feeding == Feeding::program) {
    for (const ops::ShapeBinding& shape : shapes)
      if (std::find(shape.dims.begin(), shape.dims.end(), 0) != shape.dims.end())
        return fail(ExitCode::usage, "--shape '{}={}': an extent of 0 leaves nothing to compute; here it must be 1 or more.",
                    printable(shape.name), shape_text(shape.dims));
  }
  if (feeding == Feeding::samples) BEVEL_TRY_STATUS(require_batch_of_one(loaded.model.graph, shapes));
  if (auto bound = ops::bind_shapes(loaded.model, shapes); !bound)
    return located(printable(path.filename().string()), std::move(bound).error());
  BEVEL_TRY_STATUS(ops::infer_types(loaded.model));
  return loaded;
}

void for_each_held_tensor(const Node& node, const std::function<void(const Tensor&)>& visit) {
  const auto visit_graph = [&](const Graph& graph) {
    for (const ValueId id : graph.value_ids())
      if (graph.value(id).constant) visit(*graph.value(id).constant);
    for (const NodeId id : graph.node_order()) for_each_held_tensor(graph.node(id), visit);
  };
  for (const Attribute& attribute : node.attributes) {
    if (const auto* tensor = std::get_if<Tensor>(&attribute.value)) visit(*tensor);
    if (const auto* tensors = std::get_if<std::vector<Tensor>>(&attribute.value))
      for (const Tensor& tensor : *tensors) visit(tensor);
    if (const auto* graph = std::get_if<GraphPtr>(&attribute.value); graph && *graph) visit_graph(**graph);
    if (const auto* graphs = std::get_if<std::vector<GraphPtr>>(&attribute.value))
      for (const GraphPtr& graph : *graphs)
        if (graph) visit_graph(*graph);
  }
}

std::uint64_t parameter_count(const Graph& graph) {
  std::uint64_t count = 0;
  const auto add = [&](const Tensor& tensor) {
    if (is_floating(tensor.dtype()) && tensor.size() > 0) count += static_cast<std::uint64_t>(tensor.size());
  };
  for (const NodeId id : graph.node_order()) for_each_held_tensor(graph.node(id), add);
  for (const ValueId id : graph.value_ids()) {
    const Value& value = graph.value(id);
    if (value.constant && value.has_uses()) add(*value.constant);
  }
  return count;
}

}  // namespace bevel::driver
