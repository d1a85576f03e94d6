#include "lib/support/check.h"

#include <cstdio>
#include <cstdlib>

namespace bevel {

void check_failed(const char* condition, const char* file, int line) {
  std::fprintf(stderr, "bevel: internal error: %s does not hold (%s:%d). This is a bug in Bevel.\n", condition, file,
               line);
  std::_Exit(70);
}

}  // namespace bevel
