#include "lib/driver/budget.h"

#include <algorithm>

#include "lib/report/report.h"

namespace bevel::driver {

namespace {

constexpr std::size_t kNamed = 5;  // tensors or weights named in a message
// Deepest stack of the emitted code and its kernels, callee-saved registers included (gcc -fstack-usage, Cortex-M4 and M0+, -Os
// and -O2: scripts/bench cortex-m prints the measured depth).
constexpr std::uint64_t kStackBytes = 1024;

bool within(double value, const std::optional<std::uint64_t>& limit) { return !limit || value <= static_cast<double>(*limit); }
bool within(double value, const std::optional<double>& limit) { return !limit || value <= *limit; }

bool fits(const plan::Cost& cost, const target::Budget& budget) {
  return within(static_cast<double>(cost.ram_bytes), budget.ram_bytes) &&
         within(static_cast<double>(cost.flash_bytes), budget.flash_bytes) &&
         within(cost.latency_seconds, budget.latency_seconds) && within(cost.energy_joules, budget.energy_joules);
}

// Limits that hold on another device: every limit of the user, and its own memory.
target::Budget elsewhere(const target::Device& device, const target::Budget& stated) {
  target::Budget budget = target::device_budget(device, {});
  if (stated.ram_bytes) budget.ram_bytes = std::min(*budget.ram_bytes, *stated.ram_bytes);
  if (stated.flash_bytes) budget.flash_bytes = std::min(*budget.flash_bytes, *stated.flash_bytes);
  budget.latency_seconds = stated.latency_seconds;
  budget.energy_joules = stated.energy_joules;
  return budget;
}

// The device with the least RAM, then flash, that meets all limits; empty when none does.
Result<std::string> smallest_that_fits(const plan::Program& program, const target::Budget& stated, const std::string& except) {
  std::string best;
  double best_ram = 0, best_flash = 0;
  for (const std::string& name : target::device_names()) {
    if (name == except) continue;
    BEVEL_TRY(const target::Device device, target::find_device(name));
    if (!fits(plan::cost_of(program, device), elsewhere(device, stated))) continue;
    const bool smaller = best.empty() || device.ram_bytes.value < best_ram ||
                         (device.ram_bytes.value == best_ram && device.flash_bytes.value < best_flash);
    if (!smaller) continue;
    best = name;
    best_ram = device.ram_bytes.value;
    best_flash = device.flash_bytes.value;
  }
  return best;
}

std::string list(const std::vector<report::NamedBytes>& rows) {
  std::string out;
  for (std::size_t i = 0; i < rows.size() && i < kNamed; ++i)
    out += fmt::format("{}'{}' ({} B)", i ? ", " : "", printable(rows[i].name, 80), report::grouped(rows[i].bytes));
  if (rows.size() > kNamed) out += fmt::format(" and {} more", rows.size() - kNamed);
  return out;
}

// Whether the device's own memory holds what the user's limit does not: then the limit is to be thought over, not the device.
// Latency and energy have no limit of the device's: another device is the answer there.
bool device_has_room(const report::BudgetRow& missed, const target::Device& device) {
  if (missed.name == "ram") return missed.value <= device.ram_bytes.value;
  return missed.name == "flash" && missed.value <= device.flash_bytes.value;
}

std::string stated_text(const target::Budget& stated) {
  std::string out;
  const auto add = [&](const char* name, const std::string& value) { out += fmt::format("{}{} {}", out.empty() ? "" : ", ", name, value); };
  if (stated.ram_bytes) add("ram", report::grouped(*stated.ram_bytes) + " B");
  if (stated.flash_bytes) add("flash", report::grouped(*stated.flash_bytes) + " B");
  if (stated.latency_seconds) add("latency", report::human_quantity(*stated.latency_seconds, "s"));
  if (stated.energy_joules) add("energy", report::human_quantity(*stated.energy_joules, "J"));
  return out;
}

// What to do about one missed budget: raise a limit of one's own, or take another device, that meets every limit at once.
std::string advice(const report::BudgetRow& missed, const target::Device& device, const target::Budget& stated,
                   const std::string& other) {
  if (device_has_room(missed, device)) {
    const double own = missed.name == "ram" ? device.ram_bytes.value : device.flash_bytes.value;
    return fmt::format(" The device itself has room: {} B; your limit is {} B.", report::grouped(static_cast<std::uint64_t>(own)),
                       report::grouped(static_cast<std::uint64_t>(missed.limit)));
  }
  const std::string limits = stated_text(stated);
  const std::string within = limits.empty() ? "" : fmt::format(" within your limits ({})", limits);
  if (other.empty()) return fmt::format(" No known target would fit it{}.", within);
  return fmt::format(" The smallest known target that would fit{}: {}.", within, other);
}

std::string blockers(const report::BudgetRow& row, const report::CompileRecord& record) {
  if (row.name == "ram")
    return fmt::format("Alive at the peak, step '{}': {}.", printable(record.peak_step, 80), list(record.peak_tensors));
  if (row.name == "flash") return fmt::format("Largest weights: {}.", list(record.largest_weights));
  std::vector<report::LayerRow> slowest = record.layers;
  std::stable_sort(slowest.begin(), slowest.end(), [](const auto& a, const auto& b) { return a.cycles > b.cycles; });
  std::string out = "Slowest layers: ";
  for (std::size_t i = 0; i < slowest.size() && i < kNamed; ++i)
    out += fmt::format("{}'{}' ({} cycles)", i ? ", " : "", printable(slowest[i].name, 80), report::grouped(slowest[i].cycles));
  return out + ".";
}

}  // namespace

Status check_stated(const target::Budget& stated, const target::Device& device) {
  const auto within_device = [&](const char* name, const std::optional<std::uint64_t>& limit, double own) -> Status {
    if (!limit || static_cast<double>(*limit) <= own) return {};
    return fail(ExitCode::usage, "budget '{}': {} B are more than {} has ({} B). State at most that, or leave {} out: then the device's own "
                "memory is the limit.", name, report::grouped(*limit), device.name, report::grouped(static_cast<std::uint64_t>(own)), name);
  };
  BEVEL_TRY_STATUS(within_device("ram", stated.ram_bytes, device.ram_bytes.value));
  return within_device("flash", stated.flash_bytes, device.flash_bytes.value);
}

Result<bool> judge_budget(const plan::Program& program, const target::Device& device, const target::Budget& stated,
                          report::CompileRecord& record) {
  const plan::Cost cost = plan::cost_of(program, device);
  record.arena_bytes = program.arena_bytes;
  record.arena_lower_bound = program.arena_lower_bound;
  record.state_bytes = program.state_bytes;
  record.constant_bytes = program.constant_bytes;
  record.ram_bytes = cost.ram_bytes;
  record.flash_bytes = cost.flash_bytes;
  record.stack_bytes = kStackBytes;
  record.cycles = cost.cycles;
  record.latency_seconds = cost.latency_seconds;
  record.energy_joules = cost.energy_joules;
  record.layers.clear();
  for (const plan::LayerCost& layer : cost.layers)
    record.layers.push_back({layer.name, layer.kernel, layer.macs, layer.cycles, layer.weight_bytes, {}});
  record.peak_step = program.arena_peak_step < program.steps.size() ? program.steps[program.arena_peak_step].name : "";
  record.peak_tensors.clear();
  for (const plan::AliveTensor& tensor : plan::alive_at(program, program.arena_peak_step))
    record.peak_tensors.push_back({tensor.name, tensor.bytes});
  record.largest_weights.clear();
  for (const plan::ProgramTensor& tensor : program.tensors)
    if (tensor.storage == BVL_STORAGE_CONSTANT) record.largest_weights.push_back({tensor.name, tensor.bytes});
  std::stable_sort(record.largest_weights.begin(), record.largest_weights.end(),
                   [](const auto& a, const auto& b) { return a.bytes > b.bytes; });
  if (record.largest_weights.size() > kNamed) record.largest_weights.resize(kNamed);

  const target::Budget budget = target::device_budget(device, stated);
  record.budget.clear();
  const auto row = [&](const char* name, const char* unit, double value, const auto& limit, bool is_stated, bool modelled) {
    if (!limit) return;
    record.budget.push_back({name, unit, value, static_cast<double>(*limit), modelled,
                             value <= static_cast<double>(*limit), is_stated ? "stated" : "device"});
  };
  row("ram", "B", static_cast<double>(cost.ram_bytes), budget.ram_bytes, stated.ram_bytes.has_value(), false);
  row("flash", "B", static_cast<double>(cost.flash_bytes), budget.flash_bytes, stated.flash_bytes.has_value(), false);
  row("latency", "s", cost.latency_seconds, budget.latency_seconds, true, true);
  row("energy", "J", cost.energy_joules, budget.energy_joules, true, true);

  bool met = true;
  for (const report::BudgetRow& budget_row : record.budget) met = met && budget_row.met;
  if (met) return true;
  std::string other;
  if (std::any_of(record.budget.begin(), record.budget.end(),
                  [&](const report::BudgetRow& each) { return !each.met && !device_has_room(each, device); })) {
    BEVEL_TRY(other, smallest_that_fits(program, stated, device.name));
    record.target_that_fits = other;
  }
  for (const report::BudgetRow& missed : record.budget) {
    if (missed.met) continue;
    const bool bytes = missed.unit == "B";
    const auto exact = [&](double value) {
      return bytes ? report::grouped(static_cast<std::uint64_t>(value)) + " B" : report::human_quantity(value, missed.unit);
    };
    std::string message = fmt::format(
        "budget missed: {} on {} is {}{}, {} over the {} {}. {}", missed.name, device.name, exact(missed.value),
        missed.modelled ? " (modelled)" : "", exact(missed.value - missed.limit),
        missed.from == "stated" ? "stated budget" : "device's own", exact(missed.limit), blockers(missed, record));
    if (missed.name == "ram")
      message += fmt::format(" These tensors are needed at once: {} B is the least that any placement of them takes.",
                             report::grouped(record.arena_lower_bound));
    message += advice(missed, device, stated, other);
    record.messages.push_back(std::move(message));
  }
  return false;
}

}  // namespace bevel::driver
