#include "lib/data/description.h"

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "lib/data/metrics.h"
#include "lib/support/strict_json.h"

namespace bevel::data {
namespace {

using nlohmann::json;

constexpr std::int64_t kMaxSide = 65536;

std::string shown(const json& value) { return printable(value.dump(-1, ' ', true, json::error_handler_t::replace), 80); }

Result<std::string> text_of(const json& value, const std::string& where) {
  if (!value.is_string()) return fail_input("{}: {} was found, a string was expected", where, shown(value));
  return value.get<std::string>();
}

Status take_size(const json& value, Step& step, const std::string& where) {
  if (!value.is_array() || value.size() != 2 || !value[0].is_number_integer() || !value[1].is_number_integer()) {
    return fail_input("{}: {} was found, [height, width] was expected", where, shown(value));
  }
  step.height = value[0].get<std::int64_t>();
  step.width = value[1].get<std::int64_t>();
  if (step.height < 1 || step.width < 1 || step.height > kMaxSide || step.width > kMaxSide) {
    return fail_input("{}: {} was found, a height and width from 1 to {} were expected", where, shown(value), kMaxSide);
  }
  return {};
}

Status take_numbers(const json& value, Step& step, const std::string& where) {
  const json list = value.is_array() ? value : json::array({value});
  for (const json& entry : list) {
    if (!entry.is_number()) break;
    step.numbers.push_back(static_cast<float>(entry.get<double>()));
    if (!std::isfinite(step.numbers.back())) return fail_input("{}: {} is beyond float32", where, shown(entry));
    if (step.kind == Step::Kind::divide && step.numbers.back() == 0) return fail_input("{}: division by zero", where);
  }
  if (list.empty() || step.numbers.size() != list.size()) {
    return fail_input("{}: {} was found, a number or one number per channel was expected", where, shown(value));
  }
  return {};
}

Status take_word(const json& value, std::string_view plain, std::string_view other, bool& is_other,
                 const std::string& where) {
  if (value != plain && value != other) {
    return fail_input("{}: {} was found, \"{}\" or \"{}\" was expected", where, shown(value), plain, other);
  }
  is_other = value == other;
  return {};
}

// The names that people write: NumPy's, with ONNX's own beside them.
Result<DType> take_dtype(const json& value, const std::string& where) {
  BEVEL_TRY(const std::string name, text_of(value, where));
  constexpr DType kAllowed[] = {DType::float32, DType::float64, DType::float16, DType::uint8,  DType::int8,  DType::uint16,
                                DType::int16,   DType::uint32,  DType::int32,   DType::uint64, DType::int64, DType::boolean};
  if (name == "float32") return DType::float32;
  if (name == "float64") return DType::float64;
  if (name == "boolean") return DType::boolean;
  const auto dtype = dtype_from_name(name);
  for (const DType allowed : kAllowed) {
    if (dtype == allowed) return allowed;
  }
  return fail_input("{}: \"{}\" is not a dtype; expected float32, float64, float16, (u)int8, 16, 32, 64 or bool", where,
                    printable(name));
}

Result<Step> parse_step(const json& value, const std::string& where) {
  if (!value.is_object() || value.size() != 1) {
    return fail_input("{}: {} was found, an object of one step was expected, as {{\"divide\": 255}}", where, shown(value));
  }
  const std::string& name = value.begin().key();
  const json& argument = value.begin().value();
  const std::string here = fmt::format("{}.{}", where, printable(name));
  Step step;
  if (name == "resize" || name == "crop") {
    step.kind = name == "crop" ? Step::Kind::crop : Step::Kind::resize;
    BEVEL_TRY_STATUS(take_size(argument, step, here));
  } else if (name == "channels") {
    step.kind = Step::Kind::channels;
    BEVEL_TRY_STATUS(take_word(argument, "rgb", "bgr", step.reverse, here));
  } else if (name == "cast") {
    step.kind = Step::Kind::cast;
    BEVEL_TRY(step.dtype, take_dtype(argument, here));
  } else if (name == "subtract" || name == "divide") {
    step.kind = name == "divide" ? Step::Kind::divide : Step::Kind::subtract;
    BEVEL_TRY_STATUS(take_numbers(argument, step, here));
  } else if (name == "layout") {
    step.kind = Step::Kind::layout;
    BEVEL_TRY_STATUS(take_word(argument, "hwc", "chw", step.to_chw, here));
  } else {
    return fail_input("{}: unknown step \"{}\"; expected resize, crop, channels, cast, subtract, divide or layout", where,
                      printable(name));
  }
  return step;
}

Result<DescribedInput> parse_input(const std::string& name, const json& value, const std::string& where) {
  if (!value.is_object()) return fail_input("{}: {} was found, an object with \"from\" was expected", where, shown(value));
  for (const auto& [key, unused] : value.items()) {
    if (key != "from" && key != "steps") {
      return fail_input("{}: unknown key \"{}\"; expected \"from\" and \"steps\"", where, printable(key));
    }
  }
  if (!value.contains("from")) return fail_input("{}: the key \"from\" is missing", where);
  DescribedInput input;
  input.name = name;
  BEVEL_TRY(const std::string from, text_of(value["from"], where + ".from"));
  BEVEL_TRY(input.from, parse_reference(from, where + ".from"));
  const json steps = value.value("steps", json::array());
  if (!steps.is_array()) return fail_input("{}.steps: {} was found, a list was expected", where, shown(steps));
  for (std::size_t i = 0; i < steps.size(); ++i) {
    BEVEL_TRY(Step step, parse_step(steps[i], fmt::format("{}.steps[{}]", where, i)));
    input.steps.push_back(std::move(step));
  }
  bind_layouts(input.steps);
  input.steps_text = steps.dump();
  return input;
}

}  // namespace

Result<Reference> parse_reference(const std::string& text, const std::string& where) {
  Reference reference{text, text, ""};
  const std::size_t colon = text.rfind(':');
  if (colon != std::string::npos) {
    reference.path = text.substr(0, colon);
    reference.key = text.substr(colon + 1);
    if (reference.key.empty()) return fail_input("{}: \"{}\": nothing follows the colon", where, printable(text));
  }
  std::string_view rest = reference.path;
  bool inside = !rest.empty() && rest.find('\0') == std::string_view::npos;
  while (inside && !rest.empty()) {
    const std::size_t slash = std::min(rest.find('/'), rest.size());
    const std::string_view part = rest.substr(0, slash);
    inside = !part.empty() && part != ".." && slash + 1 != rest.size();
    rest.remove_prefix(std::min(slash + 1, rest.size()));
  }
  if (!inside) {
    return fail_input("{}: \"{}\" is not a relative path inside the description's folder", where, printable(text));
  }
  return reference;
}

Result<Description> parse_description(std::string_view text, const std::string& name) {
  BEVEL_TRY(const json root, parse_strict_json(text, name));
  if (!root.is_object()) return fail_input("{}: a data description is a JSON object", name);
  for (const auto& [key, unused] : root.items()) {
    if (key != "format" && key != "inputs" && key != "labels" && key != "metric") {
      return fail_input("{}: unknown key \"{}\"; expected format, inputs, labels, metric", name, printable(key));
    }
  }
  if (!root.contains("format") || root["format"] != "bevel-data/1") {
    return fail_input("{}: \"format\" is {}, \"bevel-data/1\" was expected", name,
                      root.contains("format") ? shown(root["format"]) : "missing");
  }
  if (!root.contains("inputs") || !root["inputs"].is_object()) {
    return fail_input("{}: \"inputs\" is {}, an object from input names to their data was expected", name,
                      root.contains("inputs") ? shown(root["inputs"]) : "missing");
  }
  Description description;
  for (const auto& [input, value] : root["inputs"].items()) {
    BEVEL_TRY(auto parsed, parse_input(input, value, fmt::format("{}: inputs.{}", name, printable(input))));
    description.inputs.push_back(std::move(parsed));
  }
  if (root.contains("labels")) {
    BEVEL_TRY(description.labels, text_of(root["labels"], name + ": labels"));
    BEVEL_TRY_STATUS(parse_reference(description.labels, name + ": labels"));
  }
  if (root.contains("metric")) {
    BEVEL_TRY(description.metric, text_of(root["metric"], name + ": metric"));
    if (auto metric = make_metric(description.metric); !metric) {
      return located(name + ": metric", std::move(metric).error());
    }
  }
  return description;
}

}  // namespace bevel::data
