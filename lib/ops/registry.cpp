// The table of operators: families.def names each record once; everything else is derived from it.
#include <algorithm>
#include <vector>

#include "lib/ops/op.h"

namespace bevel::ops {

#define BEVEL_OP(record) extern const OpRecord record;
#include "lib/ops/families.def"
#undef BEVEL_OP

namespace {

bool before(const OpRecord* a, const OpRecord* b) {
  return a->domain != b->domain ? a->domain < b->domain : a->name < b->name;
}

const std::vector<const OpRecord*>& table() {
  static const std::vector<const OpRecord*> records = [] {
    std::vector<const OpRecord*> all = {
#define BEVEL_OP(record) &record,
#include "lib/ops/families.def"
#undef BEVEL_OP
    };
    std::sort(all.begin(), all.end(), before);
    return all;
  }();
  return records;
}

}  // namespace

const OpRecord* find_op(std::string_view domain, std::string_view op_type) {
  const auto& records = table();
  OpRecord key;
  key.domain = domain;
  key.name = op_type;
  const auto found = std::lower_bound(records.begin(), records.end(), &key, before);
  return found != records.end() && (*found)->domain == domain && (*found)->name == op_type ? *found : nullptr;
}

std::span<const OpRecord* const> all_ops() { return table(); }

}  // namespace bevel::ops
