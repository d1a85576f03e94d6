// Device records (one JSON each, embedded in the binary; users add their own by path) and budgets.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lib/support/result.h"

namespace bevel::target {

struct Figure {
  double value = 0;
  std::string source;      // where the figure comes from; never empty in a bundled record
  bool confirmed = false;  // a document was read that holds it (or what it is the stated product of), or the command named counts it
};

struct Device {
  std::string name;
  std::string summary;  // "STM32H743, Cortex-M7 at 480 MHz"
  Figure ram_bytes, flash_bytes, clock_hz;
  std::string isa;                 // "armv7e-m+fp", "armv6-m", "xtensa-lx7", "aarch64", "x86-64"
  std::string activation_dtype;    // "int8" or "uint8": the default for quantized activations
  std::string onnx_runtime;        // "" or the runtime the ONNX file is meant for: "onnxruntime-x64"
  Figure active_watts;
  // Cycles per unit of work by kernel family and dtype: "conv.int8", "depthwise.int8", "dense.int8", "elementwise.int8",
  // "pool.int8", "move.int8", "table.int8", "softmax.int8", and the same with .float32. Per MAC, else per elementary operation
  // as lowering counts them (elements written; pooling: elements read).
  std::map<std::string, Figure> cycles;
  Figure step_overhead_cycles;
  std::filesystem::path file;      // that the record was read from; empty: bundled
};

// Bundled names, sorted.
std::vector<std::string> device_names();
// A bundled name, or a path to a JSON record (contains '/' or ends in .json). Unknown name: exit 2 listing the names and
// the nearest one; a bad file: exit 5.
Result<Device> find_device(const std::string& name_or_path);

struct Budget {
  std::optional<std::uint64_t> ram_bytes, flash_bytes;
  std::optional<double> latency_seconds, energy_joules;
};
// "ram=64K,flash=256K,latency=50ms,energy=2mJ"; K = 1024, M = 1024*1024; exit 2 on anything else.
Result<Budget> parse_budget(std::string_view text);
// The device's RAM and flash where the user's budget states none.
Budget device_budget(const Device& device, const Budget& stated);

}  // namespace bevel::target
