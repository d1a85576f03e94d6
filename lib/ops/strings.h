// What the operators on strings share.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "lib/ops/op.h"

namespace bevel::ops {

Outputs evaluate_string_normalizer(const EvalContext& ctx);
Outputs evaluate_string_concat(const EvalContext& ctx);
Outputs evaluate_string_split(const EvalContext& ctx);
Outputs evaluate_regex_full_match(const EvalContext& ctx);

// An attribute of strings; empty when absent.
Result<std::vector<std::string>> attr_strings(const Node& node, std::string_view name);

// --- unicode_text.cpp: the only code that sees ICU. Text is UTF-8; what is ill-formed becomes U+FFFD. ------------------
enum class CaseChange : std::uint8_t { none, lower, upper };
// Full case mapping by the language of `locale` ("" and unknown ones: the root locale, never the machine's).
Result<std::string> change_case(std::string_view text, CaseChange change, const std::string& locale);
// Equal for texts that differ in case alone.
Result<std::string> fold_case(std::string_view text);
// The runs of characters between white space (Unicode's White_Space), at most `most` of them: the last one then holds the rest.
std::vector<std::string_view> split_at_white_space(std::string_view text, std::size_t most);

}  // namespace bevel::ops
