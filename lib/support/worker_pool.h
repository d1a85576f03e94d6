// A fixed set of threads for loops over independent items. Results must not depend on the number of threads: items
// write to their own slots, and sums are merged by the caller in item order (or are integers).
#pragma once

#include <cstddef>
#include <functional>
#include <memory>

namespace bevel {

class WorkerPool {
 public:
  // `threads` 0 means one per available core.
  explicit WorkerPool(unsigned threads = 0);
  ~WorkerPool();
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  [[nodiscard]] unsigned threads() const;

  // Calls body(item, worker) for every item in [0, count), 0 <= worker < threads(), and waits for all of them.
  // Items are handed out in increasing order. A nested call runs on the calling thread, as the worker that it already
  // is; calls from several threads take turns. What a body throws stops the loop and is thrown here (the lowest item's).
  void for_each(std::size_t count, const std::function<void(std::size_t item, unsigned worker)>& body);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace bevel
