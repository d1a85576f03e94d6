// Program -> one self-contained C11 file pair: the kernels it uses, its constants, its steps.
#pragma once

#include <string>

#include "lib/plan/program.h"
#include "lib/support/result.h"

namespace bevel::emit {

struct CSource {
  std::string header;  // NAME.h
  std::string source;  // NAME.c
};
struct EmitOptions {
  std::string name = "model";  // prefix of files and identifiers; must be a C identifier
};
// Warning-free under -std=c11 -Wall -Wextra -Wconversion -Werror with gcc and clang. Identifiers from the model are
// sanitized and unique.
Result<CSource> emit_c(const plan::Program& program, const EmitOptions& options = {});

}  // namespace bevel::emit
