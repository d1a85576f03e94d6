#include <re2/re2.h>

#include <algorithm>
#include <set>

#include "lib/ops/broadcast.h"
#include "lib/ops/strings.h"
#include "lib/ops/tensor_family.h"

namespace bevel::ops {
namespace {

Status expect_strings(const Tensor& tensor, std::size_t i, std::string_view role) {
  if (tensor.dtype() == DType::string) return {};
  return fail_operand(i, role, "element type is {}, expected string", dtype_name(tensor.dtype()));
}

// Admits `count` strings of together `characters` bytes.
Status reserve_strings(const EvalContext& ctx, std::int64_t count, std::int64_t characters) {
  const auto objects = checked_mul(count, static_cast<std::int64_t>(sizeof(std::string)));
  const auto total = objects ? checked_add(*objects, characters) : std::nullopt;
  if (!total) return fail_input("{} strings do not fit into memory", count);
  const std::int64_t dims[] = {*total};
  return ctx.reserve(DType::uint8, dims);
}

}  // namespace

Result<std::vector<std::string>> attr_strings(const Node& node, std::string_view name) {
  const Attribute* attribute = node.attribute(name);
  if (attribute == nullptr) return std::vector<std::string>();
  if (const auto* strings = std::get_if<std::vector<std::string>>(&attribute->value)) return *strings;
  // An empty list has no kind of its own on the wire.
  const auto* ints = std::get_if<std::vector<std::int64_t>>(&attribute->value);
  const auto* floats = std::get_if<std::vector<float>>(&attribute->value);
  if ((ints != nullptr && ints->empty()) || (floats != nullptr && floats->empty())) return std::vector<std::string>();
  return fail_input("attribute '{}' is no list of strings", printable(name));
}

// Elements that are stop words go, then the rest changes case. Whole elements are compared; accents stay.
Outputs evaluate_string_normalizer(const EvalContext& ctx) {
  const Tensor& x = ctx.tensor(0);
  BEVEL_TRY_STATUS(expect_strings(x, 0, "X"));
  if (x.rank() != 1 && !(x.rank() == 2 && x.dim(0) == 1)) {
    return fail_operand(0, "X", "is {}, expected [C] or [1, C]", to_string(x.dims()));
  }
  BEVEL_TRY(const bool case_sensitive, attr_flag(ctx.node(), "is_case_sensitive", false));
  BEVEL_TRY(const std::string action, attr_string(ctx.node(), "case_change_action", "NONE"));
  BEVEL_TRY(const std::string locale, attr_string(ctx.node(), "locale", ""));
  BEVEL_TRY(const std::vector<std::string> stopwords, attr_strings(ctx.node(), "stopwords"));
  if (action != "NONE" && action != "LOWER" && action != "UPPER") {
    return fail_input("attribute 'case_change_action' is '{}', expected NONE, LOWER or UPPER", printable(action));
  }
  const CaseChange change = action == "LOWER" ? CaseChange::lower : action == "UPPER" ? CaseChange::upper : CaseChange::none;
  const auto key_of = [&](const std::string& text) -> Result<std::string> {
    if (case_sensitive) return text;
    return fold_case(text);
  };
  std::set<std::string> stops;
  for (const std::string& word : stopwords) {
    BEVEL_TRY(std::string key, key_of(word));
    stops.insert(std::move(key));
  }
  std::vector<std::string> kept;
  for (const std::string& text : x.strings()) {
    if (!stops.empty()) {
      BEVEL_TRY(const std::string key, key_of(text));
      if (stops.count(key) != 0) continue;
    }
    BEVEL_TRY(std::string changed, change_case(text, change, locale));
    kept.push_back(std::move(changed));
  }
  if (kept.empty()) kept.emplace_back();  // "the empty value of string tensor" of one element
  Dims dims(x.rank(), 1);
  dims.back() = static_cast<std::int64_t>(kept.size());
  return std::vector<Datum>{Tensor::of_strings(std::move(dims), std::move(kept))};
}

Outputs evaluate_string_concat(const EvalContext& ctx) {
  const Tensor& x = ctx.tensor(0);
  const Tensor& y = ctx.tensor(1);
  BEVEL_TRY_STATUS(expect_strings(x, 0, "X"));
  BEVEL_TRY_STATUS(expect_strings(y, 1, "Y"));
  BEVEL_TRY(const Dims dims, broadcast_dims(x.dims(), y.dims()));
  const auto count = element_count(dims);
  if (!count) return fail_input("the broadcast shape {} is too large", to_string(dims));
  BEVEL_TRY_STATUS(reserve_strings(ctx, *count, 0));
  std::vector<std::string> joined(static_cast<std::size_t>(*count));
  if (*count > 0) {
    const auto walk = broadcast_walk<2>({std::span(x.dims()), std::span(y.dims())}, dims);
    const auto for_each = [&](auto visit) {
      for_each_broadcast_row(walk, [&](const std::array<std::int64_t, 2>& offset, std::int64_t to) {
        for (std::int64_t i = 0; i < walk.extent.back(); ++i) {
          visit(x.strings()[static_cast<std::size_t>(offset[0] + i * walk.strides[0].back())],
                y.strings()[static_cast<std::size_t>(offset[1] + i * walk.strides[1].back())], static_cast<std::size_t>(to + i));
        }
      });
    };
    // Long strings that broadcast multiply: their bytes are counted before they are copied.
    std::int64_t characters = 0;
    for_each([&](const std::string& a, const std::string& b, std::size_t) {
      characters = checked_add(characters, static_cast<std::int64_t>(a.size() + b.size())).value_or(INT64_MAX);
    });
    BEVEL_TRY_STATUS(reserve_strings(ctx, *count, characters));
    for_each([&](const std::string& a, const std::string& b, std::size_t to) { joined[to] = a + b; });
  }
  return std::vector<Datum>{Tensor::of_strings(dims, std::move(joined))};
}

namespace {

std::vector<std::string_view> split_at(std::string_view text, std::string_view delimiter, std::size_t most) {
  std::vector<std::string_view> parts;
  if (text.empty()) return parts;
  while (parts.size() + 1 < most) {
    const std::size_t at = text.find(delimiter);
    if (at == text.npos) break;
    parts.push_back(text.substr(0, at));
    text.remove_prefix(at + delimiter.size());
  }
  parts.push_back(text);
  return parts;
}

}  // namespace

// White space at both ends goes, as the spec says, also behind the last part that maxsplit leaves. An empty string has no part,
// whatever the delimiter (as in ONNX Runtime; ONNX's Python reference counts one empty part).
Outputs evaluate_string_split(const EvalContext& ctx) {
  const Tensor& x = ctx.tensor(0);
  BEVEL_TRY_STATUS(expect_strings(x, 0, "X"));
  BEVEL_TRY(const std::string delimiter, attr_string(ctx.node(), "delimiter", ""));
  BEVEL_TRY(const std::int64_t maxsplit, attr_int(ctx.node(), "maxsplit", -1));
  const std::size_t most = maxsplit < 0 ? SIZE_MAX : static_cast<std::size_t>(maxsplit) + 1;
  const auto parts_of = [&](const std::string& text) {
    return delimiter.empty() ? split_at_white_space(text, most) : split_at(text, delimiter, most);
  };
  BEVEL_TRY_STATUS(ctx.reserve(DType::int64, x.dims()));
  Tensor counts = Tensor::zeros(DType::int64, x.dims());
  auto count = counts.mutable_values<std::int64_t>();
  std::int64_t widest = 0;
  for (std::size_t i = 0; i < count.size(); ++i) {
    count[i] = static_cast<std::int64_t>(parts_of(x.strings()[i]).size());
    widest = std::max(widest, count[i]);
  }
  Dims dims = x.dims();
  dims.push_back(widest);
  const auto total = element_count(dims);
  if (!total) return fail_input("{} parts for each of {} strings are too many", widest, x.size());
  BEVEL_TRY_STATUS(reserve_strings(ctx, *total, 0));
  std::vector<std::string> parts(static_cast<std::size_t>(*total));
  for (std::size_t i = 0; i < count.size(); ++i) {
    std::size_t to = i * static_cast<std::size_t>(widest);
    for (const std::string_view part : parts_of(x.strings()[i])) parts[to++] = part;
  }
  return std::vector<Datum>{Tensor::of_strings(std::move(dims), std::move(parts)), std::move(counts)};
}

// RE2 (the spec's syntax) matches in time linear in the text, within a fixed memory, whatever the pattern.
Outputs evaluate_regex_full_match(const EvalContext& ctx) {
  const Tensor& x = ctx.tensor(0);
  BEVEL_TRY_STATUS(expect_strings(x, 0, "X"));
  if (!has_attr(ctx.node(), "pattern")) return fail_input("required attribute 'pattern' is missing");
  BEVEL_TRY(const std::string pattern, attr_string(ctx.node(), "pattern", ""));
  re2::RE2::Options options;
  options.set_log_errors(false);
  const re2::RE2 expression(pattern, options);
  if (!expression.ok()) {
    return fail_input("attribute 'pattern' is '{}', no regular expression of RE2: {}", printable(pattern), printable(expression.error()));
  }
  BEVEL_TRY_STATUS(ctx.reserve(DType::boolean, x.dims()));
  Tensor out = Tensor::zeros(DType::boolean, x.dims());
  auto matches = out.mutable_values<std::uint8_t>();
  for (std::size_t i = 0; i < matches.size(); ++i) matches[i] = re2::RE2::FullMatch(x.strings()[i], expression) ? 1 : 0;
  return std::vector<Datum>{std::move(out)};
}

}  // namespace bevel::ops
