#include "lib/support/worker_pool.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <limits>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

namespace bevel {

namespace {

constexpr unsigned kMaxThreads = 256;

// The pool whose body this thread is running, and as which worker: a nested call keeps that worker's number.
struct Inside {
  const void* pool = nullptr;
  unsigned worker = 0;
};
thread_local Inside inside;

}  // namespace

struct WorkerPool::State {
  std::mutex calls;  // one for_each at a time
  std::mutex mutex;  // guards what follows
  std::condition_variable wake, finished;
  std::uint64_t generation = 0;
  unsigned busy = 0;
  bool stopping = false;
  const std::function<void(std::size_t, unsigned)>* body = nullptr;
  std::size_t count = 0;
  std::atomic<std::size_t> next{0};
  std::atomic<bool> failed{false};
  std::exception_ptr failure;
  std::size_t failed_item = std::numeric_limits<std::size_t>::max();
  std::vector<std::thread> threads;

  // Takes items until none is left. Of several failures the lowest item's is kept: items start in increasing order, so
  // that it is the same one on any number of threads.
  void work(unsigned worker) {
    const Inside outer = inside;
    inside = {this, worker};
    while (!failed.load(std::memory_order_relaxed)) {
      const std::size_t item = next.fetch_add(1, std::memory_order_relaxed);
      if (item >= count) break;
      try {
        (*body)(item, worker);
      } catch (...) {
        const std::lock_guard lock(mutex);
        if (item < failed_item) {
          failed_item = item;
          failure = std::current_exception();
        }
        failed.store(true, std::memory_order_relaxed);
      }
    }
    inside = outer;
  }

  void run(unsigned worker) {
    std::uint64_t seen = 0;
    std::unique_lock lock(mutex);
    while (true) {
      wake.wait(lock, [&] { return stopping || generation != seen; });
      if (stopping) return;
      seen = generation;
      lock.unlock();
      work(worker);
      lock.lock();
      if (--busy == 0) finished.notify_one();
    }
  }
};

WorkerPool::WorkerPool(unsigned threads) : state_(std::make_unique<State>()) {
  if (threads == 0) threads = std::max(1u, std::thread::hardware_concurrency());
  threads = std::min(threads, kMaxThreads);
  // The calling thread is worker 0. Where the system gives no more threads, the pool is smaller: results are the same.
  try {
    for (unsigned worker = 1; worker < threads; ++worker)
      state_->threads.emplace_back([state = state_.get(), worker] { state->run(worker); });
  } catch (const std::system_error&) {
  }
}

WorkerPool::~WorkerPool() {
  {
    const std::lock_guard lock(state_->mutex);
    state_->stopping = true;
  }
  state_->wake.notify_all();
  for (std::thread& thread : state_->threads) thread.join();
}

unsigned WorkerPool::threads() const { return static_cast<unsigned>(state_->threads.size()) + 1; }

void WorkerPool::for_each(std::size_t count, const std::function<void(std::size_t, unsigned)>& body) {
  State& state = *state_;
  if (inside.pool == &state) {
    const unsigned worker = inside.worker;
    for (std::size_t item = 0; item < count; ++item) body(item, worker);
    return;
  }
  if (count == 0) return;
  const std::lock_guard call(state.calls);
  {
    const std::lock_guard lock(state.mutex);
    state.body = &body;
    state.count = count;
    state.next.store(0, std::memory_order_relaxed);
    state.failed.store(false, std::memory_order_relaxed);
    state.failure = nullptr;
    state.failed_item = std::numeric_limits<std::size_t>::max();
    if (count > 1) {
      state.busy = static_cast<unsigned>(state.threads.size());
      ++state.generation;
    }
  }
  if (count > 1) state.wake.notify_all();
  state.work(0);
  std::exception_ptr failure;
  {
    std::unique_lock lock(state.mutex);
    state.finished.wait(lock, [&] { return state.busy == 0; });
    failure = state.failure;
    state.failure = nullptr;
    state.body = nullptr;
  }
  if (failure) std::rethrow_exception(failure);
}

}  // namespace bevel
