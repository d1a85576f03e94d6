#include "lib/support/progress.h"

#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <utility>

namespace bevel {

namespace {

constexpr std::int64_t kIntervalMs = 100;  // a terminal needs no more than ten lines a second

std::int64_t now_ms() {
  using namespace std::chrono;
  return duration_cast<milliseconds>(steady_clock::now().time_since_epoch()).count();
}

}  // namespace

Progress::Progress(std::string label, std::size_t total)
    : label_(std::move(label)), total_(total), shown_(::isatty(STDERR_FILENO) == 1) {}

Progress::~Progress() {
  if (shown_ && last_shown_ms_.load(std::memory_order_relaxed) != 0) {
    std::fputs("\r\x1b[K", stderr);
    std::fflush(stderr);
  }
}

void Progress::advance(std::size_t items) {
  const std::size_t done = done_.fetch_add(items, std::memory_order_relaxed) + items;
  if (!shown_) return;
  const std::int64_t now = now_ms();
  std::int64_t last = last_shown_ms_.load(std::memory_order_relaxed);
  // One thread wins the right to print; the others go on.
  if (now - last < kIntervalMs || !last_shown_ms_.compare_exchange_strong(last, now, std::memory_order_relaxed)) return;
  if (total_ > 0)
    std::fprintf(stderr, "\r\x1b[K%s %zu/%zu", label_.c_str(), done, total_);
  else
    std::fprintf(stderr, "\r\x1b[K%s %zu", label_.c_str(), done);
  std::fflush(stderr);
}

}  // namespace bevel
