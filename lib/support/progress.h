// Progress for long steps: a single line on stderr, on a terminal only.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>

namespace bevel {

class Progress {
 public:
  // Shows nothing unless stderr is a terminal. `total` 0 means unknown.
  Progress(std::string label, std::size_t total);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  // May be called from any worker.
  void advance(std::size_t items = 1);

 private:
  std::string label_;
  std::size_t total_;
  std::atomic<std::size_t> done_{0};
  std::atomic<std::int64_t> last_shown_ms_{0};  // steady clock; 0: nothing on the terminal yet
  bool shown_;
};

}  // namespace bevel
