// compile's report.md, and explain's.
#include <fmt/core.h>

#include <algorithm>

#include "lib/report/report.h"
#include "lib/support/result.h"

namespace bevel::report {

namespace {

// Names come from the model: a cell must not end its table or start markup, nor bring control characters to whoever prints the file.
std::string cell(std::string text) {
  std::replace_if(text.begin(), text.end(), [](char c) { return c == '\n' || c == '\r' || c == '\t'; }, ' ');
  std::string out;
  for (const char c : printable(text, std::string::npos)) {
    if (c == '|' || c == '`' || c == '*' || c == '_' || c == '<' || c == '[' || c == '\\') out += '\\';
    out += c;
  }
  return out;
}

std::string figure(const std::optional<double>& value) { return value ? fmt::format("{:.2f}", *value) : "-"; }

std::string status_line(const CompileRecord& record) {
  if (record.status == "ok") {
    return "The int8 ONNX file was read back and run beside its source, the .bvl file in the C runtime. The C source holds "
           "that same Program and was not compiled here.";
  }
  if (record.status == "budget-missed") return "**A budget was missed: no model was written.**";
  if (record.status == "verification-failed") return "**Verification failed: no model was written.**";
  return "Dry run: nothing was written, accuracy was not measured.";
}

void accuracy(std::string& out, const CompileRecord& record) {
  out += "\n## Accuracy\n\n";
  if (!record.samples) {
    out += "Not measured.\n";
    return;
  }
  const char* kind = record.samples->from == "evaluation"    ? "evaluation samples"
                     : record.samples->from == "calibration" ? "calibration samples (no evaluation data was given)"
                                                             : "seeded random inputs (no data was given)";
  out += fmt::format("{} {} {}.\n", record.samples->from == "random" ? "Accuracy was not measured; outputs were compared on" : "On",
                     grouped(record.samples->count), kind);
  if (record.metric)
    out += fmt::format("\n| {} | float | int8 ONNX | C runtime |\n| --- | --- | --- | --- |\n| | {} | {} | {} |\n",
                       cell(record.metric->name), figure(record.metric->float_model), figure(record.metric->int8_model),
                       figure(record.metric->runtime));
  const auto table = [&](const char* title, const std::vector<OutputComparison>& rows) {
    if (rows.empty()) return;
    out += fmt::format("\n{}\n\n| output | SQNR | agreement | largest difference | identical elements |\n"
                       "| --- | --- | --- | --- | --- |\n", title);
    for (const OutputComparison& row : rows)
      out += fmt::format("| {} | {} | {:.2f} % | {:.6g} | {} of {} |\n", cell(row.output), decibels(row.sqnr_db),
                         100 * row.agreement, row.max_abs_difference, grouped(static_cast<std::uint64_t>(row.identical)),
                         grouped(static_cast<std::uint64_t>(row.elements)));
  };
  table("int8 ONNX against the float model:", record.int8_outputs);
  table("The C runtime against the int8 ONNX:", record.runtime_outputs);
}

void size_and_speed(std::string& out, const CompileRecord& record) {
  out += "\n## Size and speed\n\n| | |\n| --- | --- |\n";
  const auto row = [&](const char* name, const std::string& value) { out += fmt::format("| {} | {} |\n", name, value); };
  row("float ONNX", grouped(record.float_onnx_bytes) + " B");
  if (record.int8_onnx_bytes)
    row("int8 ONNX", fmt::format("{} B ({:.3f} of the float file)", grouped(record.int8_onnx_bytes),
                                 record.float_onnx_bytes ? static_cast<double>(record.int8_onnx_bytes) /
                                                               static_cast<double>(record.float_onnx_bytes) : 0.0));
  row("RAM", fmt::format("{} B (arena {} B, proven lower bound {} B; state {} B)", grouped(record.ram_bytes),
                         grouped(record.arena_bytes), grouped(record.arena_lower_bound), grouped(record.state_bytes)));
  row("stack, apart", fmt::format("at most {} B", grouped(record.stack_bytes)));
  row("flash", fmt::format("{} B ({} B of constants, the rest modelled code)", grouped(record.flash_bytes),
                           grouped(record.constant_bytes)));
  row("latency, modelled", fmt::format("{} ({} cycles)", human_quantity(record.latency_seconds, "s"), grouped(record.cycles)));
  row("energy, modelled", human_quantity(record.energy_joules, "J"));
  if (!record.budget.empty()) {
    out += "\n## Budget\n\n| | value | limit | from | |\n| --- | --- | --- | --- | --- |\n";
    for (const BudgetRow& budget : record.budget)
      out += fmt::format("| {}{} | {} | {} | {} | {} |\n", cell(budget.name), budget.modelled ? ", modelled" : "",
                         human_quantity(budget.value, budget.unit), human_quantity(budget.limit, budget.unit), cell(budget.from),
                         budget.met ? "met" : "**missed**");
  }
}

void tensors(std::string& out, const char* title, const std::vector<NamedBytes>& rows) {
  if (rows.empty()) return;
  out += fmt::format("\n{}\n\n| | bytes |\n| --- | --- |\n", title);
  for (const NamedBytes& row : rows) out += fmt::format("| {} | {} |\n", cell(row.name), grouped(row.bytes));
}

}  // namespace

std::string to_markdown(const CompileRecord& record) {
  std::string out = fmt::format("# Bevel report: {} for {}\n\n{}\n", cell(record.model.graph.empty() ? "model" : record.model.graph),
                                cell(record.target.name), status_line(record));
  for (const std::string& message : record.messages) out += fmt::format("\n> {}\n", cell(message));
  for (const std::string& warning : record.warnings) out += fmt::format("\n> **Warning:** {}\n", cell(warning));
  out += fmt::format("\nModel SHA-256 `{}`, {} parameters, {} MACs, {} nodes ({} after simplification). Target: {}.\n",
                     record.model.sha256, grouped(record.model.parameters), grouped(record.model.macs),
                     grouped(record.model.nodes), grouped(record.model.nodes_simplified), cell(record.target.summary));
  out += fmt::format("Calibrated on {} samples.\n", grouped(record.calibration.count));
  accuracy(out, record);
  size_and_speed(out, record);
  tensors(out, fmt::format("Alive at the peak (step {}):", cell(record.peak_step)).c_str(), record.peak_tensors);
  tensors(out, "Largest weights:", record.largest_weights);

  out += "\n## Layers\n\n| layer | kernel | MACs or elements | cycles, modelled | weights, B | SQNR |\n"
         "| --- | --- | --- | --- | --- | --- |\n";
  for (const LayerRow& row : record.layers)
    out += fmt::format("| {} | {} | {} | {} | {} | {} |\n", cell(row.name), cell(row.kernel), grouped(row.macs),
                       grouped(row.cycles), grouped(row.weight_bytes), row.sqnr_db ? decibels(*row.sqnr_db) : "");
  out += "\n## What stayed float\n\n";
  if (record.stays_float.empty()) out += "Nothing: every compute node runs in integers.\n";
  for (const FloatRow& row : record.stays_float)
    out += fmt::format("- {} ({}): {}\n", cell(row.node), cell(row.op_type), cell(row.reason));
  if (!record.notes.empty()) {
    out += "\n## Notes\n\n";
    for (const std::string& note : record.notes) out += fmt::format("- {}\n", cell(note));
  }
  if (!record.files.empty()) {
    out += "\n## Files\n\n| file | SHA-256 |\n| --- | --- |\n";
    for (const auto& [name, hash] : record.files)
      if (name != "report.md") out += fmt::format("| {} | `{}` |\n", cell(name), hash);
  }
  return out;
}

std::string to_markdown(const ExplainRecord& record) {
  std::string out = fmt::format("# Where accuracy is lost\n\nOn {} {} samples", grouped(record.samples.count), cell(record.samples.from));
  out += record.reference == "own" ? ", against the model's own float version.\n" : ", against the float model.\n";
  out += "\n| output | SQNR | agreement | largest difference |\n| --- | --- | --- | --- |\n";
  for (const OutputComparison& row : record.outputs)
    out += fmt::format("| {} | {} | {:.2f} % | {:.6g} |\n", cell(row.output), decibels(row.sqnr_db), 100 * row.agreement, row.max_abs_difference);
  if (!record.metric.empty())
    out += fmt::format("\n{}: float {}, quantized {}.\n", cell(record.metric), figure(record.float_metric), figure(record.quantized_metric));
  out += "\n## Layers\n\n| layer | alone | accumulated | at stake, dB | why | best change tried | its gain, dB |\n"
         "| --- | --- | --- | --- | --- | --- | --- |\n";
  for (const ExplainLayer& row : record.layers) {
    std::string why, change, gain;
    for (const ExplainCause& cause : row.causes) why += (why.empty() ? "" : "; ") + cause.text;
    if (!row.fixes.empty()) {
      change = fmt::format("{}: {} {}", row.fixes[0].node, row.fixes[0].key, row.fixes[0].value);
      gain = fmt::format("{:+.2f}", row.fixes[0].gain_db);
    }
    out += fmt::format("| {} | {} | {} | {} | {} | {} | {} |\n", cell(row.node), decibels(row.alone_db), decibels(row.accumulated_db),
                       figure(row.contribution_db), cell(why), cell(change), gain);
  }
  if (!record.without_counterpart.empty()) out += "\n## Without a counterpart\n\n";
  for (const FloatRow& row : record.without_counterpart) out += fmt::format("- {} ({}): {}\n", cell(row.node), cell(row.op_type), cell(row.reason));
  if (!record.stays_float.empty()) out += "\n## What stays float\n\n";
  for (const FloatRow& row : record.stays_float) out += fmt::format("- {} ({}): {}\n", cell(row.node), cell(row.op_type), cell(row.reason));
  if (record.recipe_gain_db) {
    out += fmt::format("\n## Recipe\n\nThese lines together gain {:.2f} dB at the outputs:\n\n", *record.recipe_gain_db);
    for (const ExplainFix& fix : record.recipe_lines)
      out += fmt::format("- {}: {} {}\n", cell(fix.node), cell(fix.key), cell(fix.value));
  }
  if (!record.notes.empty()) out += "\n## Notes\n\n";
  for (const std::string& note : record.notes) out += fmt::format("- {}\n", cell(note));
  return out;
}

}  // namespace bevel::report
