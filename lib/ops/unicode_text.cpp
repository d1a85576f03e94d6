#define U_SHOW_CPLUSPLUS_API 0
#include <unicode/uchar.h>
#include <unicode/ucasemap.h>
#include <unicode/utf8.h>

#include <limits>
#include <memory>

#include "lib/ops/strings.h"

namespace bevel::ops {
namespace {

struct CloseCaseMap {
  void operator()(UCaseMap* map) const { ucasemap_close(map); }
};
using CaseMap = std::unique_ptr<UCaseMap, CloseCaseMap>;

Result<CaseMap> open_case_map(const std::string& locale) {
  UErrorCode error = U_ZERO_ERROR;
  CaseMap map(ucasemap_open(locale.c_str(), U_FOLD_CASE_DEFAULT, &error));
  if (U_FAILURE(error) || !map) return fail_input("no case map for the locale '{}': {}", printable(locale), u_errorName(error));
  return map;
}

using Mapping = int32_t (*)(const UCaseMap*, char*, int32_t, const char*, int32_t, UErrorCode*);

Result<std::string> map_text(const UCaseMap* map, Mapping mapping, std::string_view text) {
  constexpr std::size_t kLongest = std::numeric_limits<int32_t>::max() / 4;  // no mapping makes text more than three times as long
  if (text.size() > kLongest) return fail_input("a text of {} bytes is beyond the limit of {}", text.size(), kLongest);
  const auto size = static_cast<int32_t>(text.size());
  std::string result(text.size() + 8, '\0');
  for (int attempt = 0; attempt < 2; ++attempt) {
    UErrorCode error = U_ZERO_ERROR;
    const int32_t needed = mapping(map, result.data(), static_cast<int32_t>(result.size()), text.data(), size, &error);
    if (error == U_BUFFER_OVERFLOW_ERROR) {
      result.resize(static_cast<std::size_t>(needed));
      continue;
    }
    if (U_FAILURE(error)) return fail_input("changing the case of '{}': {}", printable(text), u_errorName(error));
    result.resize(static_cast<std::size_t>(needed));
    return result;
  }
  return fail_input("changing the case of '{}' needs ever more room", printable(text));
}

}  // namespace

Result<std::string> change_case(std::string_view text, CaseChange change, const std::string& locale) {
  if (change == CaseChange::none) return std::string(text);
  BEVEL_TRY(const CaseMap map, open_case_map(locale));
  return map_text(map.get(), change == CaseChange::lower ? ucasemap_utf8ToLower : ucasemap_utf8ToUpper, text);
}

Result<std::string> fold_case(std::string_view text) {
  BEVEL_TRY(const CaseMap map, open_case_map(""));
  return map_text(map.get(), ucasemap_utf8FoldCase, text);
}

std::vector<std::string_view> split_at_white_space(std::string_view text, std::size_t most) {
  std::vector<std::string_view> parts;
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(text.data());
  std::size_t first = 0, end = 0;  // of the present run; `end` is behind its last character that is no white space
  bool inside = false;
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t start = i;
    UChar32 character = 0;
    U8_NEXT(bytes, i, text.size(), character);
    const bool white = character >= 0 && u_isUWhiteSpace(character);
    if (!white && !inside) {
      first = start;
      inside = true;
    }
    if (!white) end = i;
    if (white && inside && parts.size() + 1 < most) {
      parts.push_back(text.substr(first, end - first));
      inside = false;
    }
  }
  if (inside) parts.push_back(text.substr(first, end - first));
  return parts;
}

}  // namespace bevel::ops
