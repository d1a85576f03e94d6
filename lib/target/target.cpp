#include "lib/target/target.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <set>
#include <system_error>

// Written by scripts/embed.cmake from devices/*.json.
struct EmbeddedFile {
  const char* path;
  const char* text;
};
extern const EmbeddedFile bevel_embedded_devices[];

namespace bevel::target {
namespace {

using Json = nlohmann::json;
constexpr std::string_view kFormat = "bevel-device/1";
constexpr std::uintmax_t kMaxRecordBytes = 1 << 20;

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
    return fail_input("{}: key '{}' must be an object {{\"value\": number, \"source\": text}}", where, key);
  }
  Figure figure;
  figure.value = number->get<double>();
  if (!std::isfinite(figure.value) || figure.value < least || figure.value > 1e15) {
    return fail_input("{}: key '{}' has the value {}, expected a number from {} to 1e15", where, key, figure.value,
                      least);
  }
  if (const auto source = value.find("source"); source != value.end() && source->is_string()) {
    figure.source = source->get<std::string>();
  }
  return figure;
}

Result<Figure> figure_at(const Json& record, const char* key, const std::string& where, double least) {
  const auto found = record.find(key);
  if (found == record.end()) return fail_input("{}: key '{}' is missing", where, key);
  return figure_of(*found, key, where, least);
}

Result<Device> parse_device(std::string_view text, const std::string& where) {
  const Json record = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (record.is_discarded() || !record.is_object()) return fail_input("{}: not a JSON object", where);
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

// Levenshtein's distance, for "did you mean".
std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t above = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, diagonal + (a[i - 1] == b[j - 1] ? 0u : 1u)});
      diagonal = above;
    }
  }
  return row.back();
}

Result<Device> load_record(const std::filesystem::path& path) {
  const std::string where = printable(path.string());
  std::error_code error;
  const auto size = std::filesystem::file_size(path, error);
  if (error) return fail_input("{}: the device record cannot be read: {}", where, error.message());
  if (size > kMaxRecordBytes) {
    return fail_input("{}: {} bytes, a device record has at most {}", where, size, kMaxRecordBytes);
  }
  std::ifstream file(path, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  if (!file.good() && !file.eof()) return fail_input("{}: the device record cannot be read", where);
  return parse_device(text, where);
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
  std::string list, nearest;
  std::size_t best = std::max<std::size_t>(2, name_or_path.size() / 3) + 1;
  for (const std::string& name : names) {
    list += (list.empty() ? "" : ", ") + name;
    const std::size_t distance = edit_distance(name_or_path.substr(0, 64), name);
    if (distance < best) {
      best = distance;
      nearest = name;
    }
  }
  return fail(ExitCode::usage, "unknown target '{}'{}; known targets: {}; or give the path of a JSON record",
              printable(name_or_path, 64), nearest.empty() ? "" : ", did you mean '" + nearest + "'?", list);
}

}  // namespace bevel::target
