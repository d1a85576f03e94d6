#include "lib/driver/catalogue.h"

#include "lib/target/target.h"
#include "passes/pass.h"

namespace bevel::driver {

Result<std::vector<report::TargetRow>> targets(const std::optional<std::string>& name) {
  std::vector<report::TargetRow> rows;
  for (const std::string& each : name ? std::vector<std::string>{*name} : target::device_names()) {
    BEVEL_TRY(const target::Device device, target::find_device(each));
    report::TargetRow row{device.name, device.summary, device.isa, device.activation_dtype, device.ram_bytes.value,
                          device.flash_bytes.value, device.clock_hz.value, device.active_watts.value, {}};
    row.sources["ram_bytes"] = device.ram_bytes.source;
    row.sources["flash_bytes"] = device.flash_bytes.source;
    row.sources["clock_hz"] = device.clock_hz.source;
    row.sources["active_watts"] = device.active_watts.source;
    row.sources["step_overhead_cycles"] = device.step_overhead_cycles.source;
    for (const auto& [family, figure] : device.cycles) row.sources["cycles." + family] = figure.source;
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
