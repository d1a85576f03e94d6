// The only file that sees CLI11.
#include <CLI/CLI.hpp>

#include <memory>

#include "lib/support/nearest_name.h"
#include "tools/bevel/command.h"

namespace bevel::cli {

namespace {

// An empty value means nothing anywhere, and where an absent flag has a default it would silently mean that.
void check_value(const Flag& flag, const std::string& text) {
  if (text.empty()) throw CLI::ValidationError(flag.name, "expected a value, found ''");
  if (flag.positive && text.find_first_not_of('0') == std::string::npos)
    throw CLI::ValidationError(flag.name, "expected a whole number of at least 1, found '" + text + "'");
}

// CLI11 binds std::optional and paths through strings, so that every conversion and its message is here.
template <typename T>
std::string convert(T& out, const std::string& text) {
  if constexpr (std::is_same_v<T, std::string> || std::is_same_v<T, std::filesystem::path>) {
    out = text;
    return {};
  } else {
    std::size_t used = 0;
    try {
      if constexpr (std::is_floating_point_v<T>) {
        out = std::stod(text, &used);
      } else {
        if (text.empty() || text[0] < '0' || text[0] > '9') return "expected a whole number, found '" + text + "'";
        const unsigned long long number = std::stoull(text, &used);
        out = static_cast<T>(number);
        if (out != number) used = 0;
      }
    } catch (const std::exception&) {
      used = 0;
    }
    return used == text.size() && used > 0 ? std::string() : "expected a number, found '" + text + "'";
  }
}

template <typename T>
CLI::Option* bind(CLI::App& app, const Flag& flag, std::optional<T>* field) {
  return app.add_option_function<std::string>(flag.name, [field, flag](const std::string& text) {
    check_value(flag, text);
    T value{};
    if (const std::string wrong = convert(value, text); !wrong.empty()) throw CLI::ValidationError(flag.name, wrong);
    *field = std::move(value);
  }, flag.help);
}
template <typename T>
CLI::Option* bind(CLI::App& app, const Flag& flag, T* field) {
  return app.add_option_function<std::string>(flag.name, [field, flag](const std::string& text) {
    check_value(flag, text);
    if (const std::string wrong = convert(*field, text); !wrong.empty()) throw CLI::ValidationError(flag.name, wrong);
  }, flag.help);
}
CLI::Option* bind(CLI::App& app, const Flag& flag, bool* field) { return app.add_flag(flag.name, *field, flag.help); }
template <typename T>
CLI::Option* bind(CLI::App& app, const Flag& flag, std::vector<T>* field) {
  return app.add_option_function<std::vector<std::string>>(flag.name, [field, flag](const std::vector<std::string>& texts) {
    for (const std::string& text : texts) {
      check_value(flag, text);
      field->emplace_back(text);
    }
  }, flag.help)->expected(1)->take_all()->allow_extra_args(false);
}

const char* placeholder(const Field& field) {
  struct Name {
    const char* operator()(const bool*) const { return ""; }
    const char* operator()(const std::filesystem::path*) const { return "PATH"; }
    const char* operator()(const std::optional<std::filesystem::path>*) const { return "PATH"; }
    const char* operator()(const std::vector<std::filesystem::path>*) const { return "PATH"; }
    const char* operator()(const std::optional<std::size_t>*) const { return "N"; }
    const char* operator()(const unsigned*) const { return "N"; }
    const char* operator()(const std::optional<double>*) const { return "NUMBER"; }
    const char* operator()(const void*) const { return "TEXT"; }
  };
  return std::visit(Name{}, field);
}

void add_command(CLI::App& app, const Command& command) {
  CLI::App* sub = app.add_subcommand(command.name, command.summary);
  sub->footer("Example:\n  " + command.example);
  for (const Flag& flag : command.flags) {
    CLI::Option* option = std::visit([&](auto* field) { return bind(*sub, flag, field); }, flag.field);
    if (!std::holds_alternative<bool*>(flag.field)) option->type_name(placeholder(flag.field));
    if (flag.required) option->required();
  }
}

// What stands where a command belongs: the first argument, unless it is a flag. Empty when it is a command or absent.
std::string unknown_command(int argc, char** argv, const std::vector<Command>& commands) {
  if (argc < 2 || argv[1][0] == '-') return {};
  std::vector<std::string_view> names;
  std::string list;
  for (const Command& command : commands) {
    if (command.name == argv[1]) return {};
    names.push_back(command.name);
    list += (list.empty() ? "" : ", ") + command.name;
  }
  return fmt::format("unknown command '{}'{}; the commands are {}. See `bevel --help`.", printable(argv[1], 64),
                     suggestion(argv[1], names), list);
}

constexpr const char* kExitCodes =
    "Exit codes: 0 done; 1 outputs cannot be written, or interrupted; 2 wrong flags; 3 a budget was missed;\n"
    "4 verification failed; 5 an unreadable or wrong input; 70 a bug of bevel.\n"
    "`bevel COMMAND --help` has an example of each command.";

}  // namespace

int dispatch(int argc, char** argv, const std::vector<Command>& commands) {
  CLI::App app{"bevel shapes ONNX models for the edge: an int8 model and C code inside a device's budget, proven on real data.",
               "bevel"};
  app.set_version_flag("--version", "bevel " BEVEL_VERSION);
  app.footer(kExitCodes);
  app.require_subcommand(1);
  for (const Command& command : commands) add_command(app, command);
  if (std::string unknown = unknown_command(argc, argv, commands); !unknown.empty())
    return report_failure({ExitCode::usage, std::move(unknown)});
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& success) {  // --help, --version
    return app.exit(success);
  } catch (const CLI::ParseError& error) {
    const auto chosen = app.get_subcommands();
    const std::string where = chosen.empty() ? "bevel" : "bevel " + chosen.front()->get_name();
    return report_failure({ExitCode::usage, std::string(error.what()) + ". See `" + where + " --help`."});
  }
  const std::string name = app.get_subcommands().front()->get_name();
  for (const Command& command : commands)
    if (command.name == name) return command.run();
  return static_cast<int>(ExitCode::internal);
}

}  // namespace bevel::cli
