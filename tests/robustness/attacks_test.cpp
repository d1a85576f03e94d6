// Bevel's commands on files that were made to hurt (attack_files.h), each under limits of processor time and memory: a file of up to
// 64 MiB is refused, with exit code 5 and a message that says where, or loaded, within 2 s and 512 MiB beyond itself.
//
// Times are the processor's, as the kernel counts them for the child. Sanitizers need more of both, so that under them only the exit
// code and the message are judged. BEVEL_ATTACKS=PATTERN runs those whose name contains it and prints what each took.
#include <catch2/catch.hpp>

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>

#include "tests/robustness/attack_files.h"

using namespace bevel;
using namespace bevel::onnx;
using namespace bevel::onnx::testing;

namespace {

#if defined(__SANITIZE_ADDRESS__)
constexpr bool kMeasured = false;
#else
constexpr bool kMeasured = true;
#endif
constexpr double kLoadSeconds = 2.0;    // inspect: pre-scan, import, inference, facts
constexpr double kOtherSeconds = 20.0;  // commands that transform or run
constexpr long kMegabytes = 512;        // beyond the file

struct Outcome {
  int status = 0;  // exit code, or -signal
  double seconds = 0;
  long megabytes = 0;
  std::string message;
};

Outcome run_bevel(const Folder& folder, const std::vector<std::string>& arguments, double seconds, std::size_t file_bytes) {
  const std::string messages = (folder.path / "stderr").string();
  const std::string program = std::string(BEVEL_BINARY_DIR) + "/bevel";
  std::vector<char*> argv{const_cast<char*>(program.c_str())};
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    if (kMeasured) {
      // Hard limits far enough beyond the bounds that a miss is reported in figures rather than as a kill.
      const auto time = static_cast<rlim_t>(seconds * 3);
      const rlimit cpu{time, time}, space{(static_cast<rlim_t>(3) << 30) + file_bytes, (static_cast<rlim_t>(3) << 30) + file_bytes};
      ::setrlimit(RLIMIT_CPU, &cpu);
      ::setrlimit(RLIMIT_AS, &space);
    }
    const int null = ::open("/dev/null", O_RDWR), log = ::open(messages.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    ::dup2(null, 0);
    ::dup2(null, 1);
    ::dup2(log, 2);
    ::execv(program.c_str(), argv.data());
    ::_exit(127);
  }
  int status = 0;
  rusage usage{};
  REQUIRE(::wait4(child, &status, 0, &usage) == child);
  Outcome outcome;
  outcome.status = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  outcome.seconds = static_cast<double>(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                    static_cast<double>(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
  outcome.megabytes = usage.ru_maxrss / 1024 - static_cast<long>(file_bytes >> 20);
  outcome.message = get(messages);
  return outcome;
}

void judge(const std::vector<Attack>& attacks, const std::vector<std::string>& commands) {
  const char* pattern = std::getenv("BEVEL_ATTACKS");
  const Folder folder;
  for (const Attack& attack : attacks) {
    if (pattern != nullptr && attack.name.find(pattern) == std::string::npos) continue;
    const fs::path file = folder.path / "m.onnx";
    const std::string bytes = attack.make();
    put(file, bytes);
    for (const std::string& command : commands) {
      std::vector<std::string> arguments{command, file.string()};
      if (command == "optimize") arguments.insert(arguments.end(), {"-o", (folder.path / "o.onnx").string()});
      if (command == "emit-c") arguments.insert(arguments.end(), {"-o", (folder.path / "c").string()});
      if (command == "compare") arguments.push_back(file.string());
      if (command != "inspect") arguments.insert(arguments.end(), {"--max-memory", "128M", "--limits", "trips=100K"});
      const double seconds = command == "inspect" ? kLoadSeconds : kOtherSeconds;
      const Outcome outcome = run_bevel(folder, arguments, seconds, bytes.size());
      const std::string what = fmt::format("{} of {} ({} bytes): exit {}, {:.2f} s, {} MiB beyond the file: {}", command, attack.name,
                                           bytes.size(), outcome.status, outcome.seconds, outcome.megabytes, outcome.message);
      if (pattern != nullptr) fmt::print("{}\n", what.substr(0, 400));
      INFO(what);
      CHECK((outcome.status == 0 || outcome.status == 4 || outcome.status == 5));
      // Located: by the file, or by the input for which no random samples can be made.
      if (outcome.status == 5)
        CHECK((outcome.message.find("m.onnx: ") != std::string::npos || outcome.message.starts_with("bevel: input '")));
      CHECK(outcome.message.find("m.onnx: ") == outcome.message.rfind("m.onnx: "));  // and by it once
      if (!kMeasured) continue;
      CHECK(outcome.seconds <= seconds);
      CHECK(outcome.megabytes <= kMegabytes);
    }
  }
}

}  // namespace

TEST_CASE("64 MiB of messages that say nothing") { judge(wire_attacks(), {"inspect"}); }
TEST_CASE("64 MiB of sound messages") { judge(crowd_attacks(kAttackBytes - (1 << 20), ""), {"inspect"}); }
TEST_CASE("8 MiB of sound messages") { judge(crowd_attacks(8 << 20, "_8M"), {"inspect"}); }
TEST_CASE("1 MiB of sound messages") { judge(crowd_attacks(1 << 20, "_1M"), {"inspect", "optimize", "compare"}); }
TEST_CASE("small files that ask for much") { judge(graph_attacks(), {"inspect", "optimize", "compare", "emit-c"}); }
