// The registry: passes.def names each record once; everything else is derived from it.
#include "passes/pass.h"

#include <array>

namespace bevel::passes {

#define BEVEL_PASS(record) extern const PassRecord record;
#include "passes/passes.def"
#undef BEVEL_PASS

std::span<const PassRecord* const> all_passes() {
  static const std::array records = {
#define BEVEL_PASS(record) &record,
#include "passes/passes.def"
#undef BEVEL_PASS
  };
  return records;
}

const PassRecord* find_pass(std::string_view name) {
  for (const PassRecord* record : all_passes()) {
    if (record->name == name) return record;
  }
  return nullptr;
}

}  // namespace bevel::passes
