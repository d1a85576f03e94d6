// Budgets: "ram=64K,flash=256K,latency=50ms,energy=2mJ".
#include <charconv>
#include <cmath>

#include "lib/target/target.h"

namespace bevel::target {
namespace {

struct Unit {
  std::string_view suffix;
  double factor;
};
constexpr Unit kSizes[] = {{"", 1}, {"B", 1}, {"K", 1024}, {"KB", 1024}, {"KiB", 1024}, {"k", 1024},
                           {"M", 1048576}, {"MB", 1048576}, {"MiB", 1048576}, {"G", 1073741824}};
constexpr Unit kTimes[] = {{"s", 1}, {"ms", 1e-3}, {"us", 1e-6}};
constexpr Unit kEnergies[] = {{"J", 1}, {"mJ", 1e-3}, {"uJ", 1e-6}};

template <std::size_t N>
Result<double> parse_quantity(std::string_view item, std::string_view text, const Unit (&units)[N]) {
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const std::string_view suffix(end, static_cast<std::size_t>(text.data() + text.size() - end));
  if (error == std::errc() && std::isfinite(number) && number > 0 && number < 1e15) {
    for (const Unit& unit : units) {
      if (unit.suffix == suffix) return number * unit.factor;
    }
  }
  std::string list;
  for (const Unit& unit : units) {
    if (!unit.suffix.empty()) list += (list.empty() ? "" : ", ") + std::string(unit.suffix);
  }
  return fail(ExitCode::usage, "budget '{}': '{}' is not a positive number with one of the units {}",
              printable(item, 64), printable(text, 64), list);
}

template <typename T>
Status store(std::optional<T>& slot, double value, std::string_view key) {
  if (slot) return fail(ExitCode::usage, "budget '{}' is stated twice", key);
  slot = static_cast<T>(value);
  return {};
}

}  // namespace

Result<Budget> parse_budget(std::string_view text) {
  Budget budget;
  if (text.empty()) return fail(ExitCode::usage, "the budget is empty; expected for example ram=64K,latency=50ms");
  while (true) {
    const std::size_t comma = text.find(',');
    const std::string_view item = text.substr(0, comma);
    const std::size_t equals = item.find('=');
    const std::string_view key = item.substr(0, equals);
    const std::string_view value = equals == std::string_view::npos ? std::string_view() : item.substr(equals + 1);
    if (key == "ram" || key == "flash") {
      BEVEL_TRY(const double bytes, parse_quantity(item, value, kSizes));
      if (bytes < 1 || bytes > 1e18) return fail(ExitCode::usage, "budget '{}' is out of range", printable(item, 64));
      BEVEL_TRY_STATUS(store(key == "ram" ? budget.ram_bytes : budget.flash_bytes, std::floor(bytes), key));
    } else if (key == "latency") {
      BEVEL_TRY(const double seconds, parse_quantity(item, value, kTimes));
      BEVEL_TRY_STATUS(store(budget.latency_seconds, seconds, key));
    } else if (key == "energy") {
      BEVEL_TRY(const double joules, parse_quantity(item, value, kEnergies));
      BEVEL_TRY_STATUS(store(budget.energy_joules, joules, key));
    } else {
      return fail(ExitCode::usage, "budget '{}': expected ram=, flash=, latency= or energy=, separated by commas",
                  printable(item, 64));
    }
    if (comma == std::string_view::npos) return budget;
    text.remove_prefix(comma + 1);
  }
}

Budget device_budget(const Device& device, const Budget& stated) {
  Budget budget = stated;
  if (!budget.ram_bytes) budget.ram_bytes = static_cast<std::uint64_t>(device.ram_bytes.value);
  if (!budget.flash_bytes) budget.flash_bytes = static_cast<std::uint64_t>(device.flash_bytes.value);
  return budget;
}

}  // namespace bevel::target
