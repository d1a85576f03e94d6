// Comma-separated tables (RFC 4180) with a header row.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "lib/support/result.h"

namespace bevel::data {

struct CsvTable {
  std::vector<std::string> header;
  std::vector<std::vector<std::string>> rows;  // each as long as the header
  // Index of a column, or -1.
  [[nodiscard]] int column(std::string_view name) const;
};
// Errors name the line. Exit code: input.
Result<CsvTable> parse_csv(std::string_view text, const std::string& name);

}  // namespace bevel::data
