// The C source of the kernels that a Program uses, from the runtime's files that the binary carries.
#pragma once

#include <string>
#include <vector>

#include "lib/runtime/bevel_format.h"
#include "lib/support/result.h"

namespace bevel::emit {

struct ParamField {
  char type;  // 'i' int32_t, 'f' float, 'a' int32_t[8]
  const char* name;
};
std::vector<ParamField> kernel_fields(bvl_kernel kernel);

// Self-contained but for <stdint.h>, <stddef.h>, <string.h>: parameter structs, enumerations, the shared functions that are
// reached, kernels as static functions bvl_NAME. `kernels` without duplicates.
Result<std::string> amalgamate_kernels(const std::vector<bvl_kernel>& kernels);

}  // namespace bevel::emit
