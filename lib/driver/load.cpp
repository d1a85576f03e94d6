#include "lib/driver/load.h"

#include <algorithm>
#include <charconv>

#include "lib/onnx/onnx.h"
#include "lib/support/hash.h"

namespace bevel::driver {

namespace {

std::optional<std::int64_t> parse_extent(std::string_view text) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < 0) return std::nullopt;
  return value;
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

Result<Loaded> load_model(const std::filesystem::path& path, const std::vector<ops::ShapeBinding>& shapes) {
  Loaded loaded;
  BEVEL_TRY(loaded.model, onnx::import_model(path));
  BEVEL_TRY(loaded.sha256, sha256_of_file(path));
  std::error_code error;
  loaded.file_bytes = std::filesystem::file_size(path, error);
  loaded.file_opset = loaded.model.opset();
  auto lifted = ops::upgrade_to_base(loaded.model);
  if (!lifted) return located(path.filename().string(), std::move(lifted).error());
  if (!*lifted) {
    loaded.beyond_knowledge = fmt::format("the model's opset is {}; Bevel knows {} to {}", loaded.file_opset,
                                          ops::kOldestOpset, ops::kNewestOpset);
    return loaded;
  }
  if (auto bound = ops::bind_shapes(loaded.model, shapes); !bound)
    return located(path.filename().string(), std::move(bound).error());
  if (auto inferred = ops::infer_types(loaded.model); !inferred)
    return located(path.filename().string(), std::move(inferred).error());
  return loaded;
}

std::uint64_t parameter_count(const Graph& graph) {
  std::uint64_t count = 0;
  for (const ValueId id : graph.value_ids()) {
    const Value& value = graph.value(id);
    if (value.constant && value.has_uses() && is_floating(value.constant->dtype()) && value.constant->size() > 0)
      count += static_cast<std::uint64_t>(value.constant->size());
  }
  return count;
}

}  // namespace bevel::driver
