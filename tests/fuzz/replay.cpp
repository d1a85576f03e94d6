// A fuzz target without libFuzzer: replay FOLDER ROUNDS gives it every file of the folder, then ROUNDS inputs made of them by the target's
// own mutator (or, where it has none, by the plain one below), from fixed seeds. So that the targets are built and run wherever the tests
// are; they search nothing here, as no coverage leads them. An input that ends the program is written to replay-crash.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <vector>

#include "lib/support/random.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);
extern "C" __attribute__((weak)) std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t most, unsigned seed);
extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t most);

namespace {

constexpr std::size_t kLargest = 65536;
constexpr unsigned kSeconds = 60;  // for one input, under sanitizers and on a busy machine too

bevel::Random random_numbers(1);
std::vector<std::uint8_t> current;

void keep_input(int signal) {
  const int file = ::open("replay-crash", O_WRONLY | O_CREAT | O_TRUNC, 0600);
  if (file >= 0 && ::write(file, current.data(), current.size()) < 0) ::_exit(3);
  std::signal(signal, SIG_DFL);
  ::raise(signal);
}

}  // namespace

// One byte changed, some taken out or put in, or two stretches exchanged.
extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t most) {
  constexpr std::uint8_t kBytes[] = {0, 1, 0x7f, 0x80, 0xff};
  const std::size_t at = size > 0 ? random_numbers.below(size) : 0;
  switch (random_numbers.below(5)) {
    case 0:
      if (size == 0) break;
      data[at] ^= static_cast<std::uint8_t>(1u << random_numbers.below(8));
      return size;
    case 1:
      if (size == 0) break;
      data[at] = kBytes[random_numbers.below(std::size(kBytes))];
      return size;
    case 2: {
      if (size < 2) break;
      const std::size_t length = 1 + random_numbers.below(std::min<std::size_t>(16, size - at));
      std::copy(data + at + length, data + size, data + at);
      return size - length;
    }
    case 3: {
      if (size < 2) break;
      const std::size_t other = random_numbers.below(size), length = std::min({std::size_t{16}, size - at, size - other});
      if (std::max(at, other) - std::min(at, other) >= length) std::swap_ranges(data + at, data + at + length, data + other);
      return size;
    }
    default: break;
  }
  if (size == most) return size;
  std::copy_backward(data + at, data + size, data + size + 1);
  data[at] = static_cast<std::uint8_t>(random_numbers.below(256));
  return size + 1;
}

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  std::vector<std::filesystem::path> paths;
  for (const auto& entry : std::filesystem::directory_iterator(argv[1])) paths.push_back(entry.path());
  std::sort(paths.begin(), paths.end());
  const unsigned long rounds = std::strtoul(argv[2], nullptr, 10);
  if (paths.empty()) {
    std::fprintf(stderr, "%s holds no input\n", argv[1]);
    return 1;
  }
  for (const int signal : {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGALRM}) std::signal(signal, keep_input);
  std::vector<std::vector<std::uint8_t>> corpus;
  for (const auto& path : paths) {
    std::ifstream file(path, std::ios::binary);
    current.assign(std::istreambuf_iterator<char>(file), {});
    ::alarm(kSeconds);
    (void)LLVMFuzzerTestOneInput(current.data(), current.size());
    if (current.size() < kLargest) corpus.push_back(current);
  }
  for (unsigned long round = 0; round < rounds && !corpus.empty(); ++round) {
    current = corpus[random_numbers.below(corpus.size())];
    std::size_t size = current.size();
    current.resize(kLargest);
    const std::size_t times = 1 + random_numbers.below(4);
    for (std::size_t i = 0; i < times; ++i) {
      const auto seed = static_cast<unsigned>(random_numbers.below(std::size_t{1} << 31));
      size = LLVMFuzzerCustomMutator != nullptr ? LLVMFuzzerCustomMutator(current.data(), size, kLargest, seed)
                                                : LLVMFuzzerMutate(current.data(), size, kLargest);
    }
    current.resize(size);
    ::alarm(kSeconds);
    (void)LLVMFuzzerTestOneInput(current.data(), current.size());
  }
  std::printf("%zu files and %lu inputs made of them\n", paths.size(), rounds);
  return 0;
}
