#include "lib/driver/bounds.h"

#include <charconv>
#include <limits>
#include <optional>

namespace bevel::driver {

namespace {

// "512M", "2G", "1000000": bytes, with K, M, G and T as powers of 1024.
std::optional<std::uint64_t> parse_bytes(std::string_view text) {
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || number == 0) return std::nullopt;
  const std::string_view unit(end, static_cast<std::size_t>(text.data() + text.size() - end));
  constexpr std::string_view kUnits = "KMGT";
  unsigned shift = 0;
  if (!unit.empty()) {
    const std::size_t at = kUnits.find(unit.front());
    if (at == std::string_view::npos || unit.size() > 1) return std::nullopt;
    shift = 10 * static_cast<unsigned>(at + 1);
  }
  if (number > std::numeric_limits<std::uint64_t>::max() >> shift) return std::nullopt;
  return number << shift;
}

}  // namespace

onnx::ImportOptions Bounds::import_options() const {
  onnx::ImportOptions options;
  options.limits = limits;
  options.allowed_roots = allowed_roots;
  return options;
}

eval::EvalOptions Bounds::eval_options() const {
  eval::EvalOptions options;
  options.max_memory_bytes = max_memory;
  options.max_subgraph_runs = limits.max_trips;
  return options;
}

Result<Bounds> read_bounds(const BoundsFlags& flags) {
  Bounds bounds;
  BEVEL_TRY(bounds.limits, onnx::parse_limits(flags.limits));
  for (const std::filesystem::path& root : flags.allowed_roots) {
    std::error_code error;
    if (!std::filesystem::is_directory(root, error))
      return fail(ExitCode::usage, "--allow-root '{}': expected a folder.", printable(root.string()));
  }
  bounds.allowed_roots = flags.allowed_roots;
  if (flags.max_memory.empty()) return bounds;
  const auto bytes = parse_bytes(flags.max_memory);
  if (!bytes)
    return fail(ExitCode::usage, "--max-memory '{}': expected a number of bytes of at least 1, as 512M or 4G (powers of 1024).",
                printable(flags.max_memory));
  bounds.max_memory = *bytes;
  return bounds;
}

}  // namespace bevel::driver
