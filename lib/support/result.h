// Result<T>: a value or one located diagnostic. User input never aborts and never throws across a room's border.
#pragma once

#include <fmt/core.h>

#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <utility>

namespace bevel {

// The process's exit codes (docs/architecture.md, "Errors").
enum class ExitCode : int {
  ok = 0,
  output = 1,        // an output cannot be written, or interrupted
  usage = 2,         // wrong flags, an unknown target among them
  budget = 3,        // a budget was missed
  verification = 4,  // what was written does not do what its source does
  input = 5,         // an unreadable or wrong model, data set, recipe or profile
  internal = 70,     // our bug
};

// One paragraph for a person: where (file, node, value), what was found, what was expected, what to do next.
struct Diagnostic {
  ExitCode code = ExitCode::internal;
  std::string message;
};

template <typename T>
using Result = tl::expected<T, Diagnostic>;
using Status = Result<void>;
using Failure = tl::unexpected<Diagnostic>;

template <typename... Args>
[[nodiscard]] Failure fail(ExitCode code, fmt::format_string<Args...> format, Args&&... args) {
  return Failure(Diagnostic{code, fmt::format(format, std::forward<Args>(args)...)});
}

// Wrong user input (exit 5), the most frequent failure.
template <typename... Args>
[[nodiscard]] Failure fail_input(fmt::format_string<Args...> format, Args&&... args) {
  return Failure(Diagnostic{ExitCode::input, fmt::format(format, std::forward<Args>(args)...)});
}

// Puts a location in front of a diagnostic that came from a deeper room: "model.onnx: node 'conv1' (Conv): ...".
[[nodiscard]] inline Failure located(std::string_view where, Diagnostic diagnostic) {
  diagnostic.message = fmt::format("{}: {}", where, diagnostic.message);
  return Failure(std::move(diagnostic));
}

// Text from a file as a person may see it: control characters and invalid UTF-8 become \xNN, long text is cut.
std::string printable(std::string_view text, std::size_t limit = 200);

}  // namespace bevel

#define BEVEL_CONCAT_INNER(a, b) a##b
#define BEVEL_CONCAT(a, b) BEVEL_CONCAT_INNER(a, b)

// BEVEL_TRY(auto model, import(path)); declares `model` or returns the diagnostic.
#define BEVEL_TRY(declaration, expression)                                                       \
  auto BEVEL_CONCAT(bevel_try_, __LINE__) = (expression);                                        \
  if (!BEVEL_CONCAT(bevel_try_, __LINE__))                                                       \
    return ::bevel::Failure(std::move(BEVEL_CONCAT(bevel_try_, __LINE__)).error());              \
  declaration = std::move(*BEVEL_CONCAT(bevel_try_, __LINE__))

// BEVEL_TRY_STATUS(write(...)); returns the diagnostic of a failed Status.
#define BEVEL_TRY_STATUS(expression)                                                              \
  do {                                                                                            \
    auto bevel_status = (expression);                                                             \
    if (!bevel_status) return ::bevel::Failure(std::move(bevel_status).error());                  \
  } while (false)
