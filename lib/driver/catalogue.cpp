#include "lib/driver/catalogue.h"

#include <algorithm>

#include "lib/target/target.h"
#include "passes/pass.h"

namespace bevel::driver {

Result<std::vector<report::TargetRow>> targets(const std::optional<std::string>& name) {
  std::vector<report::TargetRow> rows;
  for (const std::string& each : name ? std::vector<std::string>{*name} : target::device_names()) {
    BEVEL_TRY(const target::Device device, target::find_device(each));
    report::TargetRow row{device.name, device.summary, device.isa, device.activation_dtype, device.ram_bytes.value,
                          device.flash_bytes.value, device.clock_hz.value, device.active_watts.value, {}, {}};
    const auto note = [&](const std::string& name, const target::Figure& figure) {
      row.sources[name] = figure.source;
      if (!figure.confirmed) row.not_confirmed.push_back(name);
    };
    note("ram_bytes", device.ram_bytes);
    note("flash_bytes", device.flash_bytes);
    note("clock_hz", device.clock_hz);
    note("active_watts", device.active_watts);
    note("step_overhead_cycles", device.step_overhead_cycles);
    for (const auto& [family, figure] : device.cycles) note("cycles." + family, figure);
    std::sort(row.not_confirmed.begin(), row.not_confirmed.end());
    rows.push_back(std::move(row));
  }
  return rows;
}

std::vector<report::PassRow> passes_table() {
  std::vector<report::PassRow> rows;
  for (const passes::PassRecord* pass : passes::all_passes()) {
    report::PassRow row;
    row.name = pass->name;
    row.accuracy = pass->accuracy == passes::Accuracy::exact      ? "exact"
                   : pass->accuracy == passes::Accuracy::rounding ? "rounding"
                                                                  : "lossy";
    row.summary = pass->summary;
    for (const passes::OptionRecord& option : pass->options)
      row.options.push_back({std::string(option.name), std::string(option.default_value), std::string(option.summary)});
    rows.push_back(std::move(row));
  }
  return rows;
}

}  // namespace bevel::driver
