// The caps by name, for --limits and docs/limits.md.
#include <algorithm>
#include <charconv>
#include <limits>

#include "lib/onnx/onnx.h"
#include "lib/support/nearest_name.h"

namespace bevel::onnx {

namespace {

// Decoding recurses once for each level: beyond this a thread's stack of 8 MiB would be in question.
constexpr std::uint64_t kMostNesting = 1000;

constexpr LimitRecord kLimits[] = {
    {"nesting", &Limits::max_depth, "levels of messages within messages", kMostNesting},
    {"messages", &Limits::max_messages, "messages and repeated strings"},
    {"skeleton", &Limits::max_skeleton_bytes, "bytes besides tensor contents"},
    {"decoded", &Limits::max_decoded_bytes, "bytes that graphs, nodes, types and names take in memory"},
    {"lists", &Limits::max_number_list_bytes, "bytes that numbers outside of raw data take in memory"},
    {"nodes", &Limits::max_nodes, "nodes in all graphs"},
    {"values", &Limits::max_values, "values in all graphs"},
    {"operands", &Limits::max_operands, "inputs, or outputs, or attributes of one node"},
    {"opsets", &Limits::max_opsets, "operator sets that are imported"},
    {"rank", &Limits::max_rank, "dimensions of a tensor", 1024},
    {"name", &Limits::max_name_bytes, "bytes of a name"},
    {"trips", &Limits::max_trips, "runs of loop bodies and branches in one evaluation"},
};

bool counts_bytes(const LimitRecord& limit) { return limit.what.starts_with("bytes"); }

std::optional<std::uint64_t> parse_count(std::string_view text, bool bytes) {
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc()) return std::nullopt;
  const std::string_view unit(end, static_cast<std::size_t>(text.data() + text.size() - end));
  const std::uint64_t step = bytes ? 1024 : 1000;
  const std::uint64_t factor = unit.empty() ? 1 : unit == "K" ? step : unit == "M" ? step * step : unit == "G" ? step * step * step : 0;
  if (factor == 0 || number == 0 || number > std::numeric_limits<std::uint64_t>::max() / factor) return std::nullopt;
  return number * factor;
}

}  // namespace

std::span<const LimitRecord> all_limits() { return kLimits; }

Result<Limits> parse_limits(std::string_view text) {
  Limits limits;
  std::vector<std::string_view> seen;
  while (!text.empty()) {
    const std::string_view item = text.substr(0, text.find(','));
    text.remove_prefix(std::min(item.size() + 1, text.size()));
    const std::string_view name = item.substr(0, item.find('='));
    const auto* limit = std::find_if(std::begin(kLimits), std::end(kLimits), [&](const LimitRecord& one) { return one.name == name; });
    if (limit == std::end(kLimits)) {
      std::vector<std::string_view> names;
      std::string list;
      for (const LimitRecord& one : kLimits) {
        names.push_back(one.name);
        list += fmt::format("{}{}", list.empty() ? "" : ", ", one.name);
      }
      return fail(ExitCode::usage, "--limits: there is no limit '{}'{}; they are {}.", printable(name, 64), suggestion(name, names), list);
    }
    const auto count = name.size() < item.size() ? parse_count(item.substr(name.size() + 1), counts_bytes(*limit)) : std::nullopt;
    if (!count || *count > limit->most)
      return fail(ExitCode::usage, "--limits '{}': expected {}=N, a whole number of {}, of at least 1{}, as 64, 100K or 2M.",
                  printable(item, 64), name, limit->what,
                  limit->most < ~std::uint64_t{0} ? fmt::format(" and at most {}", limit->most) : "");
    if (std::find(seen.begin(), seen.end(), name) != seen.end())
      return fail(ExitCode::usage, "--limits: '{}' is given twice.", name);
    seen.push_back(limit->name);
    limits.*limit->field = *count;
  }
  return limits;
}

}  // namespace bevel::onnx
