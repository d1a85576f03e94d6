#include "lib/target/target.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "lib/support/embedded_file.h"
#include "lib/support/mapped_file.h"
#include "lib/support/nearest_name.h"
#include "lib/support/strict_json.h"

namespace bevel::target {
namespace {

using Json = nlohmann::json;
constexpr std::string_view kFormat = "bevel-device/1";
constexpr std::size_t kMaxRecordBytes = 1 << 20;

std::string stem_of(std::string_view path) {
  const auto slash = path.rfind('/');
  if (slash != std::string_view::npos) path.remove_prefix(slash + 1);
  const auto dot = path.rfind('.');
  return std::string(path.substr(0, dot));
}

Result<std::string> text_at(const Json& record, const char* key, const std::string& where, bool required = true) {
  const auto found = record.find(key);
  if (found == record.end() && !required) return std::string();
  if (found == record.end() || !found->is_string()) {
    return fail_input("{}: key '{}' is {}, expected a string", where, key,
                      found == record.end() ? "missing" : found->type_name());
  }
  return found->get<std::string>();
}

Result<Figure> figure_of(const Json& value, const std::string& key, const std::string& where, double least) {
  const auto number = value.is_object() ? value.find("value") : value.end();
  if (!value.is_object() || number == value.end() || !number->is_number()) {
    return fail_input("{}: key '{}' must be an object {{\"value\": number, \"source\": text, \"confirmed\": bool}}", where, key);
  }
  Figure figure;
  figure.value = number->get<double>();
  if (!std::isfinite(figure.value) || figure.value < least || figure.value > 1e15) {
    return fail_input("{}: key '{}' has the value {}, expected a number from {} to 1e15", where, key, figure.value,
                      least);
  }
  for (const auto& [field, content] : value.items()) {
    if (field == "value") continue;
    if (field == "source" && content.is_string()) {
      figure.source = content.get<std::string>();
    } else if (field == "confirmed" && content.is_boolean()) {
      figure.confirmed = content.get<bool>();
    } else {
      return fail_input("{}: key '{}' has the field '{}' ({}); expected \"value\": number, \"source\": text, \"confirmed\": true "
                        "or false", where, key, printable(field), content.type_name());
    }
  }
  return figure;
}

Result<Figure> figure_at(const Json& record, const char* key, const std::string& where, double least) {
  const auto found = record.find(key);
  if (found == record.end()) return fail_input("{}: key '{}' is missing", where, key);
  return figure_of(*found, key, where, least);
}

Result<Device> parse_device(std::string_view text, const std::string& where) {
  BEVEL_TRY(const Json record, parse_strict_json(text, where, kMaxRecordBytes));
  if (!record.is_object()) return fail_input("{}: found {}, expected a JSON object", where, record.type_name());
  static const std::set<std::string, std::less<>> known = {
      "format",   "name",       "summary",  "isa",          "activation_dtype",     "onnx_runtime", "ram_bytes",
      "flash_bytes", "clock_hz", "active_watts", "step_overhead_cycles", "cycles"};
  for (const auto& [key, value] : record.items()) {
    if (!known.contains(key)) return fail_input("{}: unknown key '{}'", where, printable(key));
  }
  BEVEL_TRY(const std::string format, text_at(record, "format", where));
  if (format != kFormat) {
    return fail_input("{}: format is '{}', expected '{}'", where, printable(format), kFormat);
  }
  Device device;
  BEVEL_TRY(device.name, text_at(record, "name", where));
  BEVEL_TRY(device.summary, text_at(record, "summary", where));
  BEVEL_TRY(device.isa, text_at(record, "isa", where));
  BEVEL_TRY(device.activation_dtype, text_at(record, "activation_dtype", where));
  BEVEL_TRY(device.onnx_runtime, text_at(record, "onnx_runtime", where, false));
  if (device.name.empty()) return fail_input("{}: key 'name' is empty", where);
  if (device.activation_dtype != "int8" && device.activation_dtype != "uint8") {
    return fail_input("{}: activation_dtype is '{}', expected int8 or uint8", where,
                      printable(device.activation_dtype));
  }
  BEVEL_TRY(device.ram_bytes, figure_at(record, "ram_bytes", where, 1));
  BEVEL_TRY(device.flash_bytes, figure_at(record, "flash_bytes", where, 1));
  BEVEL_TRY(device.clock_hz, figure_at(record, "clock_hz", where, 1));
  BEVEL_TRY(device.active_watts, figure_at(record, "active_watts", where, 0));
  BEVEL_TRY(device.step_overhead_cycles, figure_at(record, "step_overhead_cycles", where, 0));
  const auto cycles = record.find("cycles");
  if (cycles == record.end() || !cycles->is_object()) return fail_input("{}: key 'cycles' must be an object", where);
  static constexpr const char* kFamilies[] = {"conv", "depthwise", "dense", "elementwise",
                                              "pool", "move",      "table", "softmax"};
  for (const char* family : kFamilies) {
    for (const char* dtype : {"int8", "float32"}) {
      const std::string key = std::string(family) + "." + dtype;
      const auto found = cycles->find(key);
      if (found == cycles->end()) return fail_input("{}: cycles has no figure '{}'", where, key);
      BEVEL_TRY(device.cycles[key], figure_of(*found, "cycles." + key, where, 0));
    }
  }
  for (const auto& [key, value] : cycles->items()) {
    if (!device.cycles.contains(key)) return fail_input("{}: cycles has the unknown figure '{}'", where, printable(key));
  }
  return device;
}

Result<Device> load_record(const std::filesystem::path& path) {
  const std::string where = printable(path.string());
  auto file = MappedFile::open(path);
  if (!file) return located("the device record", std::move(file).error());
  const auto bytes = (*file)->bytes();
  BEVEL_TRY(Device device, parse_device({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, where));
  device.file = path;
  return device;
}

}  // namespace

std::vector<std::string> device_names() {
  std::vector<std::string> names;
  for (const EmbeddedFile* file = bevel_embedded_devices; file->path != nullptr; ++file) {
    names.push_back(stem_of(file->path));
  }
  std::sort(names.begin(), names.end());
  return names;
}

Result<Device> find_device(const std::string& name_or_path) {
  if (name_or_path.find('/') != std::string::npos || name_or_path.ends_with(".json")) return load_record(name_or_path);
  for (const EmbeddedFile* file = bevel_embedded_devices; file->path != nullptr; ++file) {
    if (stem_of(file->path) == name_or_path) return parse_device(file->text, file->path);
  }
  const std::vector<std::string> names = device_names();
  std::string list;
  for (const std::string& name : names) list += (list.empty() ? "" : ", ") + name;
  const std::vector<std::string_view> candidates(names.begin(), names.end());
  return fail(ExitCode::usage, "unknown target '{}'{}; known targets: {}; or give the path of a JSON record",
              printable(name_or_path, 64), suggestion(name_or_path, candidates), list);
}

}  // namespace bevel::target
