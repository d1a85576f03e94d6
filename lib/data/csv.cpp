#include "lib/data/csv.h"

#include <algorithm>

namespace bevel::data {
namespace {

// Reads one record from `text`, which is not empty; false when a quote stays open.
bool take_record(std::string_view& text, std::vector<std::string>& fields, std::size_t& lines) {
  fields.assign(1, {});
  bool quoted = false;
  while (!text.empty()) {
    const char c = text.front();
    text.remove_prefix(1);
    lines += c == '\n';
    if (quoted) {
      if (c != '"') fields.back() += c;
      else if (text.starts_with('"')) fields.back() += '"', text.remove_prefix(1);
      else quoted = false;
    } else if (c == '"' && fields.back().empty()) {
      quoted = true;
    } else if (c == ',') {
      fields.emplace_back();
    } else if (c == '\n') {
      return true;
    } else if (c != '\r' || !text.starts_with('\n')) {
      fields.back() += c;
    }
  }
  return !quoted;
}

}  // namespace

int CsvTable::column(std::string_view name) const {
  const auto found = std::find(header.begin(), header.end(), name);
  return found == header.end() ? -1 : static_cast<int>(found - header.begin());
}

Result<CsvTable> parse_csv(std::string_view text, const std::string& name) {
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);  // a byte order mark, as spreadsheets write it
  CsvTable table;
  std::size_t line = 1;
  std::vector<std::string> fields;
  while (!text.empty()) {
    const std::size_t first_line = line;
    if (!take_record(text, fields, line)) return fail_input("{}: line {}: a quote is never closed", name, first_line);
    if (fields.size() == 1 && fields[0].empty()) continue;  // an empty line
    if (table.header.empty()) {
      table.header = fields;
    } else if (fields.size() != table.header.size()) {
      return fail_input("{}: line {}: {} fields, the header has {}", name, first_line, fields.size(), table.header.size());
    } else {
      table.rows.push_back(fields);
    }
  }
  if (table.header.empty()) return fail_input("{}: the table is empty; a header row was expected", name);
  return table;
}

}  // namespace bevel::data
