#include <fmt/core.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>

#include "tools/bevel/command.h"

namespace bevel::cli {

Flag json_flag(bool& field) { return {"--json", &field, "print the result as JSON instead of a summary"}; }
Flag threads_flag(unsigned& field) { return {"-j", &field, "threads; results do not depend on it (default: one per core)"}; }
Flag samples_flag(std::optional<std::size_t>& field) { 
  return {"--samples", &field, "use the first N samples of each data set", /*required=*/false, /*positive=*/true};
}
Flag shape_flag(std::vector<std::string>& field) {
  return {"--shape", &field, "bind a symbol (N=8) or an input's shape (image=1x3x224x224); may be repeated"};
}
Flag dry_run_flag(bool& field) { return {"--dry-run", &field, "check the inputs and say what would happen; write nothing"}; }
Flag opset_flag(std::optional<std::size_t>& field) {
  return {"--opset", &field, "write the ONNX model in this opset (7 to 28); a node that it has no words for is an error"};
}

Command with_bounds(Command command, driver::BoundsFlags& bounds) {
  command.flags.insert(
      command.flags.end(),
      {{"--limits", &bounds.limits, "other caps for the model file, as nodes=1M,nesting=100; a wrong name lists all of them"},
       {"--allow-root", &bounds.allowed_roots,
        "a folder that links of external data and samples may lead into, for caches made of links; may be repeated"},
       {"--max-memory", &bounds.max_memory, "most bytes of tensors in evaluation, as 512M or 4G; default: 80 % of the machine's memory"}});
  return command;
}

bool color_wanted() {
  const char* no_color = std::getenv("NO_COLOR");
  return ::isatty(STDOUT_FILENO) == 1 && (no_color == nullptr || no_color[0] == '\0');
}

int report_failure(const Diagnostic& diagnostic) {
  // Once more for all: what a file says reaches no terminal raw.
  fmt::print(stderr, "bevel: {}\n", printable(diagnostic.message, std::string::npos));
  return static_cast<int>(diagnostic.code);
}

int print_result(const std::string& text, ExitCode code) {
  const bool written = std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0;
  if (!written && errno == EPIPE) return static_cast<int>(ExitCode::output);  // the reader has seen enough
  if (!written)
    return report_failure({ExitCode::output, "the result cannot be written to standard output."});
  return static_cast<int>(code);
}

}  // namespace bevel::cli
