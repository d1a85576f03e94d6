// Promise 5: the memory of calibration does not grow with the number of samples.
//
// How many samples two workers hold at the same moment hangs on the scheduler: 20 of them may never overlap where 200 do. So the peaks of
// one worker are compared, which are the same in every run, and two workers may take what two of one would. Blocks of a tensor's size
// come from the system and go back to it: what the allocator keeps would be another figure that hangs on the order of events.
#include <malloc.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>

#include "calibration/calibration.h"
#include "lib/ir/text.h"
#include "lib/ops/op.h"
#include "lib/support/random.h"

using namespace bevel;

namespace {

// Each value is 2 MiB, so that 180 samples held too long would be 360 MiB: far more than all else that the process holds.
constexpr const char* kModel = R"(<ir_version: 8, opset_import: ["" : 13]>
"main" (float[N,32,128,128] x) => (float[N,32,128,128] z)
<float[1] b = {0.25}>
{
  ["add"] y = Add (x, b)
  ["relu"] z = Relu (y)
}
)";

class Synthetic final : public data::Dataset {
 public:
  explicit Synthetic(std::size_t count) : count_(count) {}
  [[nodiscard]] std::size_t size() const override { return count_; }
  [[nodiscard]] Result<std::vector<Tensor>> sample(std::size_t index) const override {
    Tensor tensor = Tensor::zeros(DType::float32, {1, 32, 128, 128});
    Random random(index);
    for (float& value : tensor.mutable_values<float>()) value = random.uniform(-1, 1);
    return std::vector<Tensor>{std::move(tensor)};
  }
  [[nodiscard]] std::optional<std::int64_t> label(std::size_t) const override { return {}; }
  [[nodiscard]] bool has_labels() const override { return false; }
  [[nodiscard]] std::string metric() const override { return ""; }
  [[nodiscard]] std::string content_hash() const override { return ""; }

 private:
  std::size_t count_;
};

bool calibrates(std::size_t samples, unsigned threads) {
  auto model = parse_text(kModel);
  if (!model || !ops::infer_types(*model)) return false;
  const Synthetic data(samples);
  WorkerPool pool(threads);
  data::Request request;
  request.values = calibration::measurable_values(*model);
  const auto statistics = calibration::measure_by_running(data, pool)->measure(*model, request);
  return statistics && statistics->samples == samples && statistics->values.size() == 3;
}

// Peak resident KiB of a process of its own; without samples, of one that does nothing.
long peak_of(std::size_t samples, unsigned threads) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::mallopt(M_MMAP_THRESHOLD, 1 << 20);
    ::_exit(samples == 0 || calibrates(samples, threads) ? 0 : 1);
  }
  REQUIRE(child > 0);
  int status = 0;
  rusage usage{};
  REQUIRE(::wait4(child, &status, 0, &usage) == child);
  REQUIRE(WIFEXITED(status));
  REQUIRE(WEXITSTATUS(status) == 0);
  return usage.ru_maxrss;
}

}  // namespace

TEST_CASE("calibrating 200 samples takes the memory of calibrating 20", "[calibration]") {
#if defined(__SANITIZE_ADDRESS__)
  WARN("skipped: AddressSanitizer keeps freed memory for a while, so that a peak says nothing");
#else
  const long none = peak_of(0, 1), few = peak_of(20, 1), many = peak_of(200, 1), both = peak_of(200, 2);
  INFO("nothing: " << none << " KiB, 20 samples: " << few << " KiB, 200 samples: " << many << " KiB, on two threads: " << both << " KiB");
  CHECK(static_cast<double>(many) < 1.05 * static_cast<double>(few));
  CHECK(static_cast<double>(both - none) < 1.05 * 2 * static_cast<double>(many - none));
#endif
}
