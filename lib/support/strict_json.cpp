#include "lib/support/strict_json.h"

#include <nlohmann/json.hpp>
#include <set>
#include <vector>

namespace bevel {

Result<nlohmann::json> parse_strict_json(std::string_view text, const std::string& name, std::size_t max_bytes) {
  if (text.size() > max_bytes) {
    return fail_input("{}: {} bytes of JSON, more than the {} that are read", name, text.size(), max_bytes);
  }
  constexpr int kMaxDepth = 64;
  std::vector<std::set<std::string>> open_objects;
  std::string problem;
  const auto watch = [&](int depth, nlohmann::json::parse_event_t event, nlohmann::json& parsed) {
    using Event = nlohmann::json::parse_event_t;
    if (depth > kMaxDepth && problem.empty()) problem = fmt::format("nested deeper than {} levels", kMaxDepth);
    if (event == Event::object_start) open_objects.emplace_back();
    if (event == Event::object_end && !open_objects.empty()) open_objects.pop_back();
    if (event == Event::key && problem.empty() && !open_objects.empty()) {
      const auto& key = parsed.get_ref<const std::string&>();
      if (!open_objects.back().insert(key).second) problem = fmt::format("key \"{}\" appears twice", printable(key));
    }
    return problem.empty();  // what follows is skipped, not built
  };
  try {
    nlohmann::json parsed = nlohmann::json::parse(text.begin(), text.end(), watch);
    if (!problem.empty()) return fail_input("{}: {}", name, problem);
    return parsed;
  } catch (const nlohmann::json::exception& error) {
    return fail_input("{}: not JSON: {}", name, printable(error.what(), 300));
  }
}

}  // namespace bevel
