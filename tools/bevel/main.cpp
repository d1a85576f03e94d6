// bevel: the command line. Each command is a file of this folder; the roads are lib/driver's.
#include <fmt/core.h>

#include <csignal>
#include <cstdio>
#include <exception>
#include <new>
#include <unistd.h>

#include "lib/driver/staging.h"
#include "lib/support/atomic_file.h"
#include "tools/bevel/command.h"

namespace {

// write(2) alone: nothing else is safe in a handler. A failed write leaves nobody to tell.
template <std::size_t N>
void say(const char (&text)[N]) {
  [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, text, N - 1);
}

extern "C" void interrupted(int) {
  const bevel::driver::Published published = bevel::driver::published();
  if (published == bevel::driver::Published::in_progress) return;  // only renames are left: they are finished
  if (published == bevel::driver::Published::done)
    say("bevel: interrupted; the outputs had already been written\n");
  else
    say("bevel: interrupted; nothing was written\n");
  bevel::remove_open_temporaries();
  bevel::driver::remove_open_staging();
  _exit(static_cast<int>(bevel::ExitCode::output));
}

void install_handlers() {
  struct sigaction action {};
  action.sa_handler = interrupted;
  action.sa_flags = SA_RESTART;  // for the handler's one way of returning
  sigfillset(&action.sa_mask);
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  sigaction(SIGHUP, &action, nullptr);
  std::signal(SIGPIPE, SIG_IGN);   // a closed pipe is a failed write, exit 1
  std::signal(SIGXFSZ, SIG_IGN);   // so is a file past the size limit
}

// The binary is built for x86-64-v3 throughout; without it the first vector instruction would be an illegal one.
bool processor_suffices() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
#else
  return true;
#endif
}

}  // namespace

int main(int argc, char** argv) {
  if (!processor_suffices()) {
    std::fputs("bevel: this build needs an x86-64-v3 processor (AVX2, FMA, BMI2), which this machine is not. Build it on this "
               "machine with another -march in CMakeLists.txt.\n", stderr);
    return static_cast<int>(bevel::ExitCode::output);
  }
  install_handlers();
  try {
    using namespace bevel::cli;
    return dispatch(argc, argv,
                    {compile_command(), inspect_command(), optimize_command(), calibrate_command(), quantize_command(), run_command(),
                     eval_command(), compare_command(), explain_command(), bench_command(), emit_c_command(), targets_command(),
                     passes_command(), opt_command()});
  } catch (const std::bad_alloc&) {
    std::fputs("bevel: out of memory. Nothing was written.\n", stderr);
    return static_cast<int>(bevel::ExitCode::internal);
  } catch (const std::exception& error) {
    fmt::print(stderr, "bevel: this is a bug of bevel, please report it: {}\n", error.what());
    return static_cast<int>(bevel::ExitCode::internal);
  }
}
