// BEVEL_CHECK states an invariant of our own code; user input never reaches one.
#pragma once

namespace bevel {

// Prints the broken invariant to stderr and exits with code 70 ("our bug").
[[noreturn]] void check_failed(const char* condition, const char* file, int line);

}  // namespace bevel

#define BEVEL_CHECK(condition) \
  ((condition) ? static_cast<void>(0) : ::bevel::check_failed(#condition, __FILE__, __LINE__))
