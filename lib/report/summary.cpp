// What a person reads at the terminal. Short: the figures that decide, and where the rest is.
#include <fmt/core.h>

#include <algorithm>
#include <cmath>

#include "lib/report/report.h"
#include "lib/support/result.h"

namespace bevel::report {

namespace {

// Names that a person copies into a flag or a recipe are never cut to fit a column: only a hostile one is this long.
constexpr std::size_t kWholeName = 4096;
constexpr std::size_t kListed = 8;  // rows of a list that a summary shows before it says how many more there are

// Texts made of names: reasons, notes, paths.
std::string whole(const std::string& text) { return printable(text, std::string::npos); }

std::string paint(const Style& style, const char* code, const std::string& text) {
  return style.color ? fmt::format("\x1b[{}m{}\x1b[0m", code, text) : text;
}
std::string good(const Style& style, const std::string& text) { return paint(style, "32", text); }
std::string bad(const Style& style, const std::string& text) { return paint(style, "1;31", text); }

std::string samples_text(const SampleSource& source) {
  if (source.from == "evaluation") return fmt::format("{} evaluation samples", source.count);
  if (source.from == "calibration") return fmt::format("{} calibration samples; no evaluation data was given", source.count);
  if (source.from == "data") return fmt::format("{} samples", source.count);
  return fmt::format("{} seeded random inputs; no data was given", source.count);
}

void list_float(std::string& out, const std::vector<FloatRow>& rows) {
  for (std::size_t i = 0; i < rows.size() && i < kListed; ++i)
    out += fmt::format("  {} ({}): {}\n", printable(rows[i].node, kWholeName), printable(rows[i].op_type, 40), whole(rows[i].reason));
  if (rows.size() > kListed) out += fmt::format("  and {} more; --json lists all\n", rows.size() - kListed);
}

void list_outputs(std::string& out, const std::vector<OutputComparison>& outputs) {
  for (std::size_t i = 0; i < outputs.size() && i < kListed; ++i) {
    const OutputComparison& row = outputs[i];
    out += fmt::format("  {:<24} SQNR {}, agreement {:.2f} %{}, largest difference {:.4g}, identical {} of {}\n",
                       printable(row.output, 60), decibels(row.sqnr_db), 100 * row.agreement,
                       row.class_scores ? "" : " (of the largest element; no class scores)", row.max_abs_difference,
                       row.identical, row.elements);
  }
  if (outputs.size() > kListed) out += fmt::format("  and {} more outputs\n", outputs.size() - kListed);
}

std::string metric_text(const std::string& name, const std::optional<double>& value) {
  if (!value) return "-";
  return name.rfind("top", 0) == 0 ? fmt::format("{:.2f} %", *value) : fmt::format("{:.4f}", *value);
}

}  // namespace

std::string summary(const CompileRecord& record, const std::string& folder, const Style& style) {
  std::string out;
  const auto row = [&](const char* name, const std::string& text) { out += fmt::format("{:<10} {}\n", name, text); };
  row("model", fmt::format("{}: {} parameters, {} MACs", record.model.graph.empty() ? "(unnamed)" : printable(record.model.graph, 60),
                           grouped(record.model.parameters), grouped(record.model.macs)));
  row("target", fmt::format("{} ({})", printable(record.target.name), whole(record.target.summary)));
  if (record.metric)
    row("accuracy", fmt::format("{}: float {}, int8 {}, C runtime {}   ({})", printable(record.metric->name),
                                metric_text(record.metric->name, record.metric->float_model),
                                metric_text(record.metric->name, record.metric->int8_model),
                                metric_text(record.metric->name, record.metric->runtime), samples_text(*record.samples)));
  else if (record.samples && record.samples->from == "random")
    row("accuracy", fmt::format("not measured: the outputs were compared on {}; give --eval for the accuracy on real samples",
                                samples_text(*record.samples)));
  else if (record.samples)
    row("samples", samples_text(*record.samples));
  for (std::size_t i = 0; i < record.int8_outputs.size() && i < kListed; ++i) {
    const OutputComparison& output = record.int8_outputs[i];
    row(i == 0 ? "fidelity" : "", fmt::format("'{}': SQNR {}{}", printable(output.output, 40), decibels(output.sqnr_db),
                                              output.class_scores
                                                  ? fmt::format(", agrees with float on {:.2f} % of samples", 100 * output.agreement)
                                                  : ""));
  }
  if (record.int8_onnx_bytes)
    row("size", fmt::format("ONNX {} -> {} ({:.3f}){}", human_bytes(static_cast<double>(record.float_onnx_bytes)),
                            human_bytes(static_cast<double>(record.int8_onnx_bytes)),
                            static_cast<double>(record.int8_onnx_bytes) /
                                static_cast<double>(std::max<std::uint64_t>(record.float_onnx_bytes, 1)),
                            record.program_bytes ? "; .bvl " + human_bytes(static_cast<double>(record.program_bytes)) : ""));
  const auto budget_of = [&](const char* name) -> const BudgetRow* {
    for (const BudgetRow& budget : record.budget)
      if (budget.name == name) return &budget;
    return nullptr;
  };
  const auto budget_row = [&](const char* name, const std::string& value) {
    const BudgetRow* budget = budget_of(name);
    std::string verdict = "no limit";
    if (budget)
      verdict = fmt::format("of {:<10} {}", human_quantity(budget->limit, budget->unit),
                            budget->met ? good(style, "fits") : bad(style, "MISSED"));
    row(name, fmt::format("{:<28} {}", value, verdict));
  };
  budget_row("ram", fmt::format("{} B", grouped(record.ram_bytes)));
  budget_row("flash", fmt::format("{} B", grouped(record.flash_bytes)));
  budget_row("latency", fmt::format("{} (modelled)", human_quantity(record.latency_seconds, "s")));
  budget_row("energy", fmt::format("{} (modelled)", human_quantity(record.energy_joules, "J")));
  if (record.stays_float.empty()) {
    row("float", "nothing: every compute node runs in integers");
  } else {
    row("float", fmt::format("{} compute node(s) stay float:", record.stays_float.size()));
    list_float(out, record.stays_float);
  }
  for (const std::string& warning : record.warnings) row("warning", bad(style, whole(warning)));
  for (const std::string& note : record.notes) row("note", whole(note));
  if (folder.empty() || record.status == "dry-run") row("files", "none: dry run, nothing written");
  else if (record.status != "ok") row("files", fmt::format("{}/report.md and report.json only", whole(folder)));
  else row("files", fmt::format("{}/  model.int8.onnx, model.c, model.h, model.bvl, recipe.json, report.md, report.json",
                                whole(folder)));
  if (record.status == "ok") row("status", good(style, "ok"));
  else if (record.status == "dry-run") row("status", "dry run: the inputs are sound and the budgets are met");
  else row("status", bad(style, printable(record.status)));
  return out;
}

std::string summary(const WriteRecord& record, const std::string& folder) {
  std::string out;
  for (const auto& pass : record.passes)
    out += fmt::format("pass       {}: {}\n", pass.pass, pass.changes ? fmt::format("{} change(s)", pass.changes) : "nothing to change");
  if (record.nodes_before) out += fmt::format("nodes      {} -> {}\n", record.nodes_before, record.nodes_after);
  if (!record.stays_float.empty()) {
    out += fmt::format("float      {} compute node(s) stay float:\n", record.stays_float.size());
    list_float(out, record.stays_float);
  }
  for (const NamedBytes& file : record.files)
    out += fmt::format("{:<10} {} ({} B)\n", record.dry_run ? "would be" : "written",
                       whole(folder.empty() || folder.back() == '/' ? folder + file.name : folder + "/" + file.name), grouped(file.bytes));
  if (record.dry_run) out += "files      none: dry run, nothing written\n";
  if (!record.not_checked.empty()) out += fmt::format("not checked: {}\n", whole(record.not_checked));
  if (record.samples) {
    out += fmt::format("checked    against its source on {}\n", samples_text(*record.samples));
    list_outputs(out, record.outputs);
  }
  for (const std::string& warning : record.warnings) out += fmt::format("warning    {}\n", whole(warning));
  for (const std::string& note : record.notes) out += fmt::format("note       {}\n", whole(note));
  return out;
}

std::string summary(const RunRecord& record, const std::string& file) {
  std::string out;
  for (const auto& output : record.outputs) out += fmt::format("{:<24} {}\n", printable(output.name, 60), whole(output.type));
  std::string what = fmt::format("{} sample(s)", record.samples);
  if (record.whole_tensors) {
    what = "one run of";
    for (std::size_t i = 0; i < record.inputs.size(); ++i)
      what += fmt::format("{} {} {}", i ? "," : "", printable(record.inputs[i].name, kWholeName), whole(record.inputs[i].type));
  }
  out += fmt::format("{}; {}; values' SHA-256 {}\n", what,
                     file.empty() ? std::string("nothing written") : "written to " + whole(file), record.stable_hash.substr(0, 16));
  return out;
}

std::string summary(const EvalRecord& record) {
  std::string out =
      fmt::format("{} {}   ({})\n", printable(record.metric), metric_text(record.metric, record.value), samples_text(record.samples));
  for (const std::string& note : record.notes) out += fmt::format("note       {}\n", whole(note));
  return out;
}

std::string summary(const CompareRecord& record, const Style& style) {
  std::string out = fmt::format("B against A on {}\n", samples_text(record.samples));
  list_outputs(out, record.outputs);
  if (!record.metric.empty())
    out += fmt::format("  {}: A {}, B {}\n", printable(record.metric), metric_text(record.metric, record.a),
                       metric_text(record.metric, record.b));
  if (record.max_drop && record.drop)
    out += fmt::format("  drop {:.3f} points of at most {:.3f}: {}\n", *record.drop, *record.max_drop,
                       record.passed ? good(style, "ok") : bad(style, "too much"));
  for (const std::string& note : record.notes) out += fmt::format("  note: {}\n", whole(note));
  return out;
}

std::string summary(const BenchRecord& record) {
  std::string out = fmt::format("inference  {} at least, {} in the median of {} runs ({}; one core)\n",
                                human_quantity(record.minimum_seconds, "s"), human_quantity(record.median_seconds, "s"), record.runs,
                                samples_text(record.samples));
  out += fmt::format("loading    {}\n", human_quantity(record.load_seconds, "s"));
  double total = 0;
  for (const BenchRow& row : record.nodes) total += row.seconds;
  for (const BenchRow& row : record.nodes)
    out += fmt::format("  {:>9}  {:>5.1f} %  {:<20} {}\n", human_quantity(row.seconds, "s"), 100 * row.seconds / total,
                       printable(row.op_type, 40), printable(row.node, 80));
  return out;
}

std::string summary(const InspectRecord& record) {
  std::string out = fmt::format("graph      {}   opsets {}\n", printable(record.graph, 80), whole(record.opsets));
  for (const auto& port : record.inputs) out += fmt::format("input      {}  {}\n", printable(port.name, 60), whole(port.type));
  for (const auto& port : record.outputs) out += fmt::format("output     {}  {}\n", printable(port.name, 60), whole(port.type));
  constexpr const char* kColumns = "{:<20} {:<24} {:>12} {:>14} {:>12} {:>12}  {}{}\n";
  out += "\n" + fmt::format(fmt::runtime(kColumns), "op", "output", "parameters", "MACs", "weights, B", "output, B", "node", "");
  std::size_t away = 0;
  for (const InspectRow& row : record.layers) {
    out += fmt::format(fmt::runtime(kColumns), printable(row.op_type, 20) + (row.known ? "" : " ?"), whole(row.shape),
                       grouped(row.parameters), row.macs ? grouped(*row.macs) : "?", grouped(row.weight_bytes),
                       row.output_bytes ? grouped(*row.output_bytes) : "?", printable(row.node, kWholeName),
                       row.simplified_away ? "  (simplified away)" : "");
    away += row.simplified_away;
  }
  if (away || !record.added_nodes.empty())
    out += fmt::format("These are the file's nodes. --keep-float and recipes name those of the simplified graph: {} of the above are "
                       "not in it.\n", away);
  for (const auto& [name, op] : record.added_nodes)
    out += fmt::format("  {} ({}) is in it\n", printable(name, kWholeName), printable(op, 40));
  std::string by_dtype;
  for (const auto& [dtype, bytes] : record.weight_bytes_by_dtype)
    by_dtype += fmt::format("{}{} {}", by_dtype.empty() ? "" : ", ", dtype, grouped(bytes));
  out += fmt::format("\ntotal      {} parameters (constants: {} B{}), {}{} MACs, {} nodes ({} after simplification)\n",
                     grouped(record.parameters), grouped(record.weight_bytes), by_dtype.empty() ? "" : ": " + by_dtype, record.macs_complete ? "" : "at least ",
                     grouped(record.macs), record.layers.size(), record.nodes_simplified);
  if (!record.stays_float_unknown.empty())
    out += fmt::format("float      no forecast: {}\n", whole(record.stays_float_unknown));
  else if (!record.float_compute)
    out += "float      there is no float compute: no node computes on floats\n";
  else if (record.stays_float.empty())
    out += "float      nothing would stay float: every compute node has an integer form\n";
  else {
    out += fmt::format("float      {} compute node(s) would stay float:\n", record.stays_float.size());
    for (const FloatRow& row : record.stays_float)
      out += fmt::format("  {} ({}): {}\n", printable(row.node, kWholeName), printable(row.op_type, 40), whole(row.reason));
  }
  for (const std::string& note : record.notes) out += fmt::format("note       {}\n", whole(note));
  return out;
}

namespace {

// The line as it stands in a recipe.
std::string recipe_line(const ExplainFix& fix) {
  return fmt::format("\"{}\": {{ \"{}\": \"{}\" }}", printable(fix.node, kWholeName), fix.key, printable(fix.value));
}

std::string against(const ExplainRecord& record) {
  if (record.reference == "own") return "the model's own float version";
  return record.reference == "given" ? "the float model given" : "the float model";
}

}  // namespace

std::string summary(const ExplainRecord& record) {
  std::string out = fmt::format("compared   with {}, on {}\n", against(record), samples_text(record.samples));
  list_outputs(out, record.outputs);
  if (!record.metric.empty())
    out += fmt::format("  {}: float {}, quantized {}\n", printable(record.metric), metric_text(record.metric, record.float_metric),
                       metric_text(record.metric, record.quantized_metric));
  if (!record.layers.empty())
    out += fmt::format("\n{:>8} {:>12} {:>9}  {}\n", "alone", "accumulated", "at stake", "layer: SQNR of its result in dB; what the outputs gain when it "
                                                                                "alone is as in float");
  for (const ExplainLayer& row : record.layers) {
    const auto figure = [](double db) { return std::isinf(db) ? std::string(db > 0 ? "exact" : "-inf") : fmt::format("{:.1f}", db); };
    out += fmt::format("{:>8} {:>12} {:>9}  {} ({})\n", figure(row.alone_db), figure(row.accumulated_db),
                       row.contribution_db ? fmt::format("{:+.2f}", *row.contribution_db) : "", printable(row.node, kWholeName), printable(row.op_type, 40));
    const bool worth_words = row.contribution_db.has_value();
    for (std::size_t i = 0; i < row.causes.size() && worth_words; ++i)
      out += fmt::format("{:>32} {}: {}\n", "", row.causes[i].kind, whole(row.causes[i].text));
    if (row.fixes.empty()) continue;
    const ExplainFix& best = row.fixes.front();
    out += best.gain_db > 0 ? fmt::format("{:>32} of {} changes tried, {} helps most: {:+.2f} dB at the outputs\n", "", row.fixes.size(), recipe_line(best),
                                          best.gain_db)
                            : fmt::format("{:>32} none of {} changes tried helps\n", "", row.fixes.size());
  }
  if (!record.without_counterpart.empty()) {
    out += fmt::format("\nwithout a counterpart in the float model: {} node(s)\n", record.without_counterpart.size());
    list_float(out, record.without_counterpart);
  }
  if (!record.stays_float.empty()) {
    out += fmt::format("\nfloat      {} compute node(s) stay float:\n", record.stays_float.size());
    list_float(out, record.stays_float);
  }
  if (record.recipe_gain_db) {
    out += fmt::format("\nrecipe     these lines together gain {:.2f} dB at the outputs:\n  \"nodes\": {{\n", *record.recipe_gain_db);
    for (std::size_t i = 0; i < record.recipe_lines.size(); ++i)
      out += fmt::format("    {}{}\n", recipe_line(record.recipe_lines[i]), i + 1 < record.recipe_lines.size() ? "," : "");
    out += "  }\n";
  }
  for (const std::string& note : record.notes) out += fmt::format("note       {}\n", whole(note));
  return out;
}

std::string summary(const std::vector<TargetRow>& targets) {
  std::string out = fmt::format("{:<12} {:>12} {:>12} {:>10} {:>10} {:<12} {:<6} {}\n", "target", "RAM", "flash", "clock", "power",
                                "isa", "acts", "");
  for (const TargetRow& row : targets) {
    const auto marked = [&](const char* figure, std::string value) { return row.confirmed(figure) ? value : "~" + value; };
    out += fmt::format("{:<12} {:>12} {:>12} {:>10} {:>10} {:<12} {:<6} {}\n", row.name,
                       marked("ram_bytes", human_bytes(row.ram_bytes)), marked("flash_bytes", human_bytes(row.flash_bytes)),
                       marked("clock_hz", human_quantity(row.clock_hz, "Hz")),
                       marked("active_watts", human_quantity(row.active_watts, "W")), row.isa, row.activations, row.summary);
  }
  out += "~ not confirmed: no document at hand holds the figure; --json names every such figure, cycles too, and each one's source\n";
  return out;
}

std::string summary(const std::vector<PassRow>& passes) {
  std::string out;
  for (const PassRow& row : passes) {
    out += fmt::format("{:<26} {:<9} {}\n", row.name, row.accuracy, row.summary);
    for (const auto& option : row.options)
      out += fmt::format("{:<36} {}={}  {}\n", "", option.name, option.default_value, option.summary);
  }
  return out;
}

}  // namespace bevel::report
