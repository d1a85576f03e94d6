// Records to JSON. Keys here are the documented, stable ones: docs/report-schema.md.
#include <fmt/core.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "lib/report/report.h"

namespace bevel::report {

namespace {

using Json = nlohmann::json;  // objects are std::map: keys come out sorted

Json number(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  return value;
}

template <typename T>
Json optional(const std::optional<T>& value) {
  if (!value) return nullptr;
  if constexpr (std::is_same_v<T, double>) return number(*value);
  else return *value;
}

Json to(const SampleSource& source) {
  return {{"from", source.from}, {"count", source.count}, {"sha256", source.sha256.empty() ? Json() : Json(source.sha256)}};
}

Json to(const std::vector<OutputComparison>& outputs) {
  Json list = Json::array();
  for (const OutputComparison& output : outputs)
    list.push_back({{"output", output.output},
                    {"sqnr_db", number(output.sqnr_db)},
                    {"agreement", number(output.agreement)},
                    {"class_scores", output.class_scores},
                    {"max_abs_difference", number(output.max_abs_difference)},
                    {"identical", output.identical},
                    {"elements", output.elements}});
  return list;
}

Json to(const std::vector<FloatRow>& rows) {
  Json list = Json::array();
  for (const FloatRow& row : rows) list.push_back({{"node", row.node}, {"op", row.op_type}, {"reason", row.reason}});
  return list;
}

Json to(const std::vector<NamedBytes>& rows) {
  Json list = Json::array();
  for (const NamedBytes& row : rows) list.push_back({{"name", row.name}, {"bytes", row.bytes}});
  return list;
}

// Names come from files and may hold any bytes: invalid UTF-8 is replaced, never thrown on. The library escapes what JSON must have
// escaped; DEL, the C1 controls and what breaks lines or turns the writing direction (U+200E, U+200F, U+2028 to U+202E, U+2066 to
// U+2069) would still reach a terminal. They stand in strings only.
std::string dump(const Json& json) {
  const std::string text = json.dump(2, ' ', false, Json::error_handler_t::replace);
  std::string out;
  out.reserve(text.size() + 1);
  for (std::size_t at = 0; at < text.size(); ++at) {
    const auto byte = [&](std::size_t i) { return at + i < text.size() ? static_cast<unsigned char>(text[at + i]) : 0u; };
    if (byte(0) == 0x7F) {
      out += "\\u007f";
    } else if (byte(0) == 0xC2 && byte(1) < 0xA0) {
      out += fmt::format("\\u{:04x}", byte(1));
      ++at;
    } else if (byte(0) == 0xE2 && ((byte(1) == 0x80 && (byte(2) == 0x8E || byte(2) == 0x8F || (byte(2) >= 0xA8 && byte(2) <= 0xAE))) ||
                                   (byte(1) == 0x81 && byte(2) >= 0xA6 && byte(2) <= 0xA9))) {
      out += fmt::format("\\u{:04x}", (byte(0) & 0x0Fu) << 12 | (byte(1) & 0x3Fu) << 6 | (byte(2) & 0x3Fu));
      at += 2;
    } else {
      out += text[at];
    }
  }
  return out + "\n";
}

Json worst_of(const std::vector<OutputComparison>& outputs, double OutputComparison::* field) {
  if (outputs.empty()) return nullptr;
  double worst = outputs.front().*field;
  for (const OutputComparison& output : outputs) worst = std::fmin(worst, output.*field);
  return number(worst);
}

Json to(const std::optional<PrecisionRecord>& record) {
  if (!record) return nullptr;
  Json json{{"allowed", number(record->allowed)}, {"drop", number(record->drop)}, {"judged_by", record->judged_by},
            {"held", record->held}, {"proven", record->proven}, {"gap", number(record->gap)}};
  json["groups"] = Json::array();
  for (const PrecisionRow& row : record->groups) {
    Json offered = Json::array();
    for (const PrecisionFormat& one : row.offered)
      offered.push_back({{"format", one.format}, {"loss", number(one.loss)}, {"weight_bytes", one.weight_bytes}, {"activation_bytes", one.activation_bytes}});
    json["groups"].push_back({{"name", row.name}, {"nodes", row.nodes}, {"format", row.format}, {"why", row.why}, {"offered", std::move(offered)}});
  }
  json["steps"] = Json::array();
  for (const PrecisionStep& step : record->steps)
    json["steps"].push_back({{"what", step.what}, {"bytes", step.bytes}, {"drop", number(step.drop)}, {"held", step.held}, {"fits", step.fits}});
  return json;
}

}  // namespace

std::string to_json(const CompileRecord& record) {
  Json json;
  json["format"] = "bevel-report/1";
  json["command"] = "compile";
  json["status"] = record.status;
  json["messages"] = record.messages;
  json["notes"] = record.notes;
  json["warnings"] = record.warnings;
  json["model"] = {{"graph", record.model.graph},           {"sha256", record.model.sha256},
                   {"parameters", record.model.parameters}, {"macs", record.model.macs},
                   {"nodes", record.model.nodes},           {"nodes_simplified", record.model.nodes_simplified},
                   {"opset", record.model.opset}};
  json["target"] = {{"name", record.target.name},
                    {"summary", record.target.summary},
                    {"isa", record.target.isa},
                    {"clock_hz", record.target.clock_hz}};
  json["calibration"] = to(record.calibration);
  json["samples"] = record.samples ? to(*record.samples) : Json();
  json["metric"] = record.metric ? Json{{"name", record.metric->name},
                                        {"float", optional(record.metric->float_model)},
                                        {"int8", optional(record.metric->int8_model)},
                                        {"runtime", optional(record.metric->runtime)}}
                                 : Json();
  json["sqnr_db"] = worst_of(record.int8_outputs, &OutputComparison::sqnr_db);
  json["agreement"] = worst_of(record.int8_outputs, &OutputComparison::agreement);
  json["outputs"] = {{"int8", to(record.int8_outputs)}, {"runtime", to(record.runtime_outputs)}};
  json["max_drop"] = optional(record.max_drop);
  json["drop"] = optional(record.drop);
  json["sizes"] = {{"float_onnx_bytes", record.float_onnx_bytes},
                   {"int8_onnx_bytes", record.int8_onnx_bytes},
                   {"int8_onnx_ratio", record.float_onnx_bytes ? Json(static_cast<double>(record.int8_onnx_bytes) /
                                                                      static_cast<double>(record.float_onnx_bytes))
                                                               : Json()},
                   {"bvl_bytes", record.program_bytes},
                   {"c_source_bytes", record.c_source_bytes}};
  json["ram"] = {{"bytes", record.ram_bytes},
                 {"arena_bytes", record.arena_bytes},
                 {"arena_lower_bound_bytes", record.arena_lower_bound},
                 {"state_bytes", record.state_bytes},
                 {"peak_step", record.peak_step},
                 {"alive_at_peak", to(record.peak_tensors)}};
  json["flash"] = {{"bytes", record.flash_bytes},
                   {"constant_bytes", record.constant_bytes},
                   {"code_bytes_modelled", record.flash_bytes > record.constant_bytes
                                               ? record.flash_bytes - record.constant_bytes
                                               : std::uint64_t{0}},
                   {"largest_weights", to(record.largest_weights)}};
  json["stack"] = {{"bytes_at_most", record.stack_bytes}};
  json["latency"] = {{"seconds", number(record.latency_seconds)}, {"cycles", record.cycles}, {"modelled", true}};
  json["energy"] = {{"joules", number(record.energy_joules)}, {"modelled", true}};
  json["budget"] = Json::array();
  for (const BudgetRow& row : record.budget)
    json["budget"].push_back({{"name", row.name},
                              {"unit", row.unit},
                              {"value", number(row.value)},
                              {"limit", number(row.limit)},
                              {"from", row.from},
                              {"modelled", row.modelled},
                              {"met", row.met}});
  json["target_that_fits"] = optional(record.target_that_fits);
  json["layers"] = Json::array();
  for (const LayerRow& row : record.layers)
    json["layers"].push_back({{"name", row.name},
                              {"kernel", row.kernel},
                              {"macs", row.macs},
                              {"cycles", row.cycles},
                              {"weight_bytes", row.weight_bytes},
                              {"sqnr_db", optional(row.sqnr_db)}});
  json["stays_float"] = to(record.stays_float);
  json["precision"] = to(record.precision);
  json["files"] = record.files;
  return dump(json);
}

std::string to_json(const WriteRecord& record) {
  Json json;
  json["format"] = "bevel-write/1";
  json["command"] = record.command;
  json["dry_run"] = record.dry_run;
  json["files"] = to(record.files);
  json["checked"] = record.not_checked.empty() && !record.dry_run;
  json["not_checked"] = record.not_checked.empty() ? Json() : Json(record.not_checked);
  json["samples"] = record.samples ? to(*record.samples) : Json();
  json["outputs"] = to(record.outputs);
  json["nodes"] = {{"before", record.nodes_before}, {"after", record.nodes_after}};
  json["passes"] = Json::array();
  for (const auto& row : record.passes) json["passes"].push_back({{"pass", row.pass}, {"changes", row.changes}});
  json["stays_float"] = to(record.stays_float);
  json["notes"] = record.notes;
  json["warnings"] = record.warnings;
  json["precision"] = to(record.precision);
  return dump(json);
}

std::string to_json(const RunRecord& record) {
  Json json{{"format", "bevel-run/1"},
            {"samples", record.samples},
            {"whole_tensors", record.whole_tensors},
            {"sha256", record.stable_hash}};
  json["outputs"] = Json::array();
  for (const auto& output : record.outputs) json["outputs"].push_back({{"name", output.name}, {"type", output.type}});
  return dump(json);
}

std::string to_json(const EvalRecord& record) {
  return dump({{"format", "bevel-eval/1"},
               {"samples", to(record.samples)},
               {"metric", {{"name", record.metric}, {"value", number(record.value)}}},
               {"notes", record.notes}});
}

std::string to_json(const CompareRecord& record) {
  Json json{{"format", "bevel-compare/1"}, {"samples", to(record.samples)}, {"outputs", to(record.outputs)}};
  json["metric"] = record.metric.empty()
                       ? Json()
                       : Json{{"name", record.metric}, {"a", optional(record.a)}, {"b", optional(record.b)}};
  json["max_drop"] = optional(record.max_drop);
  json["drop"] = optional(record.drop);
  json["passed"] = record.passed;
  json["notes"] = record.notes;
  return dump(json);
}

std::string to_json(const BenchRecord& record) {
  Json json{{"format", "bevel-bench/1"},
            {"samples", to(record.samples)},
            {"runs", record.runs},
            {"load_seconds", record.load_seconds},
            {"seconds", {{"minimum", record.minimum_seconds}, {"median", record.median_seconds}}}};
  json["nodes"] = Json::array();
  for (const BenchRow& row : record.nodes)
    json["nodes"].push_back({{"node", row.node}, {"op", row.op_type}, {"seconds", row.seconds}});
  return dump(json);
}

std::string to_json(const InspectRecord& record) {
  Json json{{"format", "bevel-inspect/1"}, {"graph", record.graph}, {"sha256", record.sha256}, {"opsets", record.opsets}};
  for (const auto& [key, ports] : {std::pair{"inputs", &record.inputs}, std::pair{"outputs", &record.outputs}}) {
    json[key] = Json::array();
    for (const auto& port : *ports) json[key].push_back({{"name", port.name}, {"type", port.type}});
  }
  json["layers"] = Json::array();
  for (const InspectRow& row : record.layers)
    json["layers"].push_back({{"node", row.node},
                              {"op", row.op_type},
                              {"known", row.known},
                              {"simplified_away", row.simplified_away},
                              {"output", row.shape},
                              {"macs", optional(row.macs)},
                              {"parameters", row.parameters},
                              {"weight_bytes", row.weight_bytes},
                              {"output_bytes", optional(row.output_bytes)}});
  json["parameters"] = record.parameters;
  json["weight_bytes"] = record.weight_bytes;
  json["weight_bytes_by_dtype"] = record.weight_bytes_by_dtype;
  json["macs"] = record.macs;
  json["macs_complete"] = record.macs_complete;
  json["nodes_simplified"] = record.nodes_simplified;
  json["added_nodes"] = Json::array();
  for (const auto& [name, op] : record.added_nodes) json["added_nodes"].push_back({{"node", name}, {"op", op}});
  json["stays_float"] = to(record.stays_float);
  json["stays_float_unknown"] = record.stays_float_unknown.empty() ? Json() : Json(record.stays_float_unknown);
  json["notes"] = record.notes;
  return dump(json);
}

namespace {

// `in_recipe`: a recipe can say it.
Json to(const ExplainFix& fix, bool in_recipe) {
  Json choice;
  choice[fix.key] = fix.value;
  Json line;
  line["nodes"][fix.node] = std::move(choice);
  return {{"node", fix.node},
          {"key", fix.key},
          {"value", fix.value},
          {"gain_db", number(fix.gain_db)},
          {"measured_by", fix.measured_by},
          {"recipe", in_recipe ? std::move(line) : Json()}};
}

Json to(const std::vector<ExplainFix>& fixes, bool in_recipe) {
  Json list = Json::array();
  for (const ExplainFix& fix : fixes) list.push_back(to(fix, in_recipe));
  return list;
}

Json to(const ExplainLayer& row, bool in_recipe) {
  Json causes = Json::array();
  for (const ExplainCause& cause : row.causes) {
    Json figures = Json::object();
    for (const auto& [name, value] : cause.figures) figures[name] = number(value);
    causes.push_back({{"kind", cause.kind}, {"text", cause.text}, {"figures", std::move(figures)}});
  }
  return {{"node", row.node},
          {"op", row.op_type},
          {"value", row.value},
          {"matched_by", row.matched_by},
          {"sqnr_alone_db", number(row.alone_db)},
          {"sqnr_alone_interval_db", {number(row.alone_low_db), number(row.alone_high_db)}},
          {"sqnr_accumulated_db", number(row.accumulated_db)},
          {"sqnr_weights_db", optional(row.weights_db)},
          {"contribution_db", optional(row.contribution_db)},
          {"causes", std::move(causes)},
          {"fixes", to(row.fixes, in_recipe)}};
}

}  // namespace

std::string to_json(const ExplainRecord& record) {
  Json json{{"format", "bevel-explain/1"}, {"reference", record.reference}, {"notes", record.notes}};
  json["calibration"] = to(record.calibration);
  json["samples"] = to(record.samples);
  json["outputs"] = to(record.outputs);
  json["outputs_sqnr_db"] = number(record.outputs_db);
  json["metric"] = record.metric.empty() ? Json()
                                         : Json{{"name", record.metric},
                                                {"float", optional(record.float_metric)},
                                                {"quantized", optional(record.quantized_metric)}};
  json["layers"] = Json::array();
  for (const ExplainLayer& row : record.layers) json["layers"].push_back(to(row, record.reference != "own"));
  json["without_counterpart"] = to(record.without_counterpart);
  json["stays_float"] = to(record.stays_float);
  json["recipe_lines"] = to(record.recipe_lines, true);
  json["recipe_gain_db"] = optional(record.recipe_gain_db);
  json["recipe"] = record.recipe.empty() ? Json() : Json::parse(record.recipe);
  return dump(json);
}

std::string to_json(const std::vector<TargetRow>& targets) {
  Json list = Json::array();
  for (const TargetRow& row : targets)
    list.push_back({{"name", row.name},
                    {"summary", row.summary},
                    {"isa", row.isa},
                    {"activations", row.activations},
                    {"ram_bytes", static_cast<std::uint64_t>(row.ram_bytes)},
                    {"flash_bytes", static_cast<std::uint64_t>(row.flash_bytes)},
                    {"clock_hz", row.clock_hz},
                    {"active_watts", row.active_watts},
                    {"sources", row.sources},
                    {"not_confirmed", row.not_confirmed}});
  return dump({{"format", "bevel-targets/1"}, {"targets", list}});
}

std::string to_json(const std::vector<PassRow>& passes) {
  Json list = Json::array();
  for (const PassRow& row : passes) {
    Json options = Json::array();
    for (const auto& option : row.options)
      options.push_back({{"name", option.name}, {"default", option.default_value}, {"summary", option.summary}});
    list.push_back({{"name", row.name}, {"accuracy", row.accuracy}, {"summary", row.summary}, {"options", options}});
  }
  return dump({{"format", "bevel-passes/1"}, {"passes", list}});
}

}  // namespace bevel::report
