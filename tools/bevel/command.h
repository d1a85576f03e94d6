// A command is a record: name, help, an example, flags bound to fields, and what to run. cli.cpp alone knows the flag parser.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "lib/driver/bounds.h"
#include "lib/support/result.h"

namespace bevel::cli {

// Where a flag's value goes. bool*: a toggle; vector: may be repeated; path: a positional or option that names a file.
using Field = std::variant<bool*, std::string*, std::optional<std::string>*, std::filesystem::path*,
                           std::optional<std::filesystem::path>*, std::optional<std::size_t>*, std::optional<double>*, unsigned*,
                           std::vector<std::string>*, std::vector<std::filesystem::path>*>;

struct Flag {
  std::string name;   // "--target", "-o,--out", or "MODEL" for a positional
  Field field;
  std::string help;
  bool required = false;
  bool positive = false;  // of a number: 0 is refused as well
};

struct Command {
  std::string name, summary, example;
  std::vector<Flag> flags;
  std::function<int()> run;  // prints the result, returns the exit code
};

// One per file of this folder.
Command compile_command();
Command inspect_command();
Command optimize_command();
Command opt_command();
Command calibrate_command();
Command quantize_command();
Command run_command();
Command eval_command();
Command compare_command();
Command explain_command();
Command bench_command();
Command emit_c_command();
Command targets_command();
Command passes_command();

// Parses the arguments and runs the command: its exit code; 2 for wrong flags.
int dispatch(int argc, char** argv, const std::vector<Command>& commands);

// --- shared by the commands ----------------------------------------------------------------------------------------
// The flags that several commands have, spelled and explained once.
Flag json_flag(bool& field);
Flag threads_flag(unsigned& field);
Flag samples_flag(std::optional<std::size_t>& field);
Flag shape_flag(std::vector<std::string>& field);
Flag dry_run_flag(bool& field);
Flag opset_flag(std::optional<std::size_t>& field);
// The command with --limits, --allow-root and --max-memory behind its own flags: every one that reads a model.
Command with_bounds(Command command, driver::BoundsFlags& bounds);

// stdout is a terminal and NO_COLOR is not set.
bool color_wanted();
// A diagnostic as one paragraph on stderr; returns its exit code.
int report_failure(const Diagnostic& diagnostic);
// A result on stdout, flushed; a full disk or closed pipe behind it is exit 1.
int print_result(const std::string& text, ExitCode code = ExitCode::ok);

}  // namespace bevel::cli
