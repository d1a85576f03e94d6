// Records to text. JSON is the documented, stable form (docs/report-schema.md); Markdown is compile's report.md; summaries are
// for a person at a terminal and may change. All of it is a function of the record alone.
#pragma once

#include <string>
#include <vector>

#include "lib/report/record.h"

namespace bevel::report {

// Each ends with a newline; keys are sorted; infinite figures are the strings "inf" and "-inf".
std::string to_json(const CompileRecord& record);
std::string to_json(const WriteRecord& record);
std::string to_json(const RunRecord& record);
std::string to_json(const EvalRecord& record);
std::string to_json(const CompareRecord& record);
std::string to_json(const BenchRecord& record);
std::string to_json(const InspectRecord& record);
std::string to_json(const ExplainRecord& record);
std::string to_json(const std::vector<TargetRow>& targets);
std::string to_json(const std::vector<PassRow>& passes);

std::string to_markdown(const CompileRecord& record);
std::string to_markdown(const ExplainRecord& record);

struct Style {
  bool color = false;  // the caller asked the terminal and NO_COLOR
};
// `folder`: where the files are, as the user spelled it; empty with nothing written there (a dry run).
std::string summary(const CompileRecord& record, const std::string& folder, const Style& style = {});
std::string summary(const WriteRecord& record, const std::string& folder);
std::string summary(const RunRecord& record, const std::string& file);
std::string summary(const EvalRecord& record);
std::string summary(const CompareRecord& record, const Style& style = {});
std::string summary(const BenchRecord& record);
std::string summary(const InspectRecord& record);
std::string summary(const ExplainRecord& record);
std::string summary(const std::vector<TargetRow>& targets);
std::string summary(const std::vector<PassRow>& passes);

// 12,345 and 12.1 KiB (K = 1024) and 3.2 ms, as all texts of this room spell them.
std::string grouped(std::uint64_t number);
std::string human_bytes(double bytes);
std::string human_quantity(double value, const std::string& unit);  // "B", "s", "J", "Hz"
std::string decibels(double sqnr_db);

}  // namespace bevel::report
