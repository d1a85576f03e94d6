// Numbers as a person reads them.
#include <fmt/core.h>

#include <cmath>

#include "lib/report/report.h"

namespace bevel::report {

std::string grouped(std::uint64_t number) {
  std::string digits = std::to_string(number);
  for (std::size_t at = digits.size(); at > 3;) {
    at -= 3;
    digits.insert(at, ",");
  }
  return digits;
}

std::string human_bytes(double bytes) {
  if (bytes < 1024) return fmt::format("{:.0f} B", bytes);
  if (bytes < 1024.0 * 1024) return fmt::format("{:.1f} KiB", bytes / 1024);
  if (bytes < 1024.0 * 1024 * 1024) return fmt::format("{:.2f} MiB", bytes / (1024.0 * 1024));
  return fmt::format("{:.2f} GiB", bytes / (1024.0 * 1024 * 1024));
}

std::string human_quantity(double value, const std::string& unit) {
  if (unit == "B") return human_bytes(value);
  static constexpr struct {
    double factor;
    const char* prefix;
  } kPrefixes[] = {{1e9, "G"}, {1e6, "M"}, {1e3, "k"}, {1, ""}, {1e-3, "m"}, {1e-6, "u"}, {1e-9, "n"}};
  if (value == 0) return fmt::format("0 {}", unit);
  for (const auto& prefix : kPrefixes)
    if (std::fabs(value) >= prefix.factor * 0.9995)
      return fmt::format("{:.3g} {}{}", value / prefix.factor, prefix.prefix, unit);
  return fmt::format("{:.3g} {}", value, unit);
}

std::string decibels(double sqnr_db) {
  if (std::isinf(sqnr_db)) return sqnr_db > 0 ? "identical" : "broken (NaN or Inf on one side)";
  return fmt::format("{:.1f} dB", sqnr_db);
}

}  // namespace bevel::report
