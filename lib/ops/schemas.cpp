#include "lib/ops/schemas.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <vector>

namespace bevel::ops {
namespace {

// Calls visit(word) for each word between spaces until it returns false.
template <typename Visit>
void for_each_word(std::string_view text, Visit visit) {
  while (!text.empty()) {
    const std::size_t end = std::min(text.find(' '), text.size());
    if (!visit(text.substr(0, end))) return;
    text.remove_prefix(std::min(end + 1, text.size()));
  }
}

constexpr Schema kSchemas[] = {
#define BEVEL_DTYPES(number, names)
#define BEVEL_SCHEMA(op, since, min_in, max_in, min_out, max_out, attributes, inputs, outputs) \
  {op, since, min_in, max_in, min_out, max_out, attributes, inputs, outputs, false},
#define BEVEL_GONE(op, since) {op, since, 0, 0, 0, 0, "", "", "", true},
#include "lib/ops/schemas.def"
#undef BEVEL_DTYPES
#undef BEVEL_SCHEMA
#undef BEVEL_GONE
};

constexpr std::string_view kSetNames[] = {
    "",  // number 0: no tensor, anything
#define BEVEL_DTYPES(number, names) names,
#define BEVEL_SCHEMA(op, since, min_in, max_in, min_out, max_out, attributes, inputs, outputs)
#define BEVEL_GONE(op, since)
#include "lib/ops/schemas.def"
#undef BEVEL_DTYPES
#undef BEVEL_SCHEMA
#undef BEVEL_GONE
};
constexpr std::size_t kSetCount = std::size(kSetNames);
static_assert(kDTypeCount <= 32);

// Bit k: element type k is in the set.
std::array<std::uint32_t, kSetCount> dtype_sets() {
  std::array<std::uint32_t, kSetCount> sets{};
  sets[0] = ~std::uint32_t{0};
  for (std::size_t i = 1; i < kSetCount; ++i) {
    for_each_word(kSetNames[i], [&](std::string_view name) {
      // Types newer than Bevel's own table cannot occur in a loaded model.
      if (const auto dtype = dtype_from_name(name)) sets[i] |= std::uint32_t{1} << static_cast<unsigned>(*dtype);
      return true;
    });
  }
  return sets;
}

bool holds(std::string_view operands, std::size_t index, DType dtype) {
  static const auto sets = dtype_sets();
  std::size_t at = 0, number = 0;
  for_each_word(operands, [&](std::string_view word) {
    std::from_chars(word.data(), word.data() + word.size(), number);
    return at++ < index;
  });
  return number < kSetCount && (sets[number] >> static_cast<unsigned>(dtype) & 1) != 0;
}

}  // namespace

std::span<const Schema> all_schemas() { return kSchemas; }

const Schema* find_schema(std::string_view op_type, std::int64_t opset) {
  const auto [first, last] = std::equal_range(std::begin(kSchemas), std::end(kSchemas), Schema{.op_type = op_type},
                                              [](const Schema& a, const Schema& b) { return a.op_type < b.op_type; });
  const Schema* found = nullptr;
  for (const Schema* schema = first; schema != last && schema->since <= opset; ++schema) found = schema;
  return found == nullptr || found->gone ? nullptr : found;
}

int first_opset(std::string_view op_type) {
  for (const Schema& schema : kSchemas)
    if (schema.op_type == op_type) return schema.since;
  return 0;
}

std::optional<SchemaAttribute> find_attribute(const Schema& schema, std::string_view name) {
  std::optional<SchemaAttribute> found;
  for_each_word(schema.attributes, [&](std::string_view word) {
    const std::size_t end = std::min(word.find_first_of("!="), word.size());
    if (word.substr(0, end) != name) return true;
    found.emplace();
    if (end < word.size()) {
      if (word[end] == '!') found->required = true;
      else found->fallback = word.substr(end + 1);
    }
    return false;
  });
  return found;
}

bool takes_input(const Schema& schema, std::size_t i, DType dtype) { return holds(schema.inputs, i, dtype); }
bool gives_output(const Schema& schema, std::size_t i, DType dtype) { return holds(schema.outputs, i, dtype); }

}  // namespace bevel::ops
