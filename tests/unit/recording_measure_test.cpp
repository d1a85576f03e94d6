// A profile holds what any recipe asks for; what is derived for it equals what measuring would have found.
#include <catch2/catch.hpp>

#include <algorithm>
#include <limits>

#include "calibration/calibration.h"
#include "lib/driver/recording_measure.h"
#include "lib/ir/text.h"
#include "lib/ops/op.h"
#include "lib/support/random.h"

using namespace bevel;
using bevel::driver::RecordingMeasure;

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// r and c are clamps at bins' borders; d clamps c in turn; e's bound cuts a bin; o divides by zero.
constexpr const char* kModel = R"(<ir_version: 8, opset_import: ["" : 13]>
"main" (float[N,64] x) => (float[N,64] d, float[N,64] e, float[N,64] p)
<float[1] b = {0.5}, float zero = {0}, float six = {6}, float minus_two = {-2}, float odd = {1.2345678}, float[1] none = {0}>
{
  ["add"] y = Add (x, b)
  ["relu"] r = Relu (y)
  ["clip"] c = Clip (y, minus_two, six)
  ["relu2"] d = Relu (c)
  ["odd"] e = Clip (y, zero, odd)
  ["divide"] o = Div (r, none)
  ["finite"] p = Identity (x)
}
)";

Model parsed() {
  std::string text = kModel;
  auto model = parse_text(text);
  INFO((model ? "" : model.error().message));
  REQUIRE(model);
  REQUIRE(ops::infer_types(*model));
  return std::move(*model);
}

class Samples final : public data::Dataset {
 public:
  [[nodiscard]] std::size_t size() const override { return 9; }
  [[nodiscard]] Result<std::vector<Tensor>> sample(std::size_t index) const override {
    Tensor tensor = Tensor::zeros(DType::float32, {1, 64});
    Random random(index);
    for (float& value : tensor.mutable_values<float>()) value = random.uniform(-9, 9);
    tensor.mutable_values<float>()[index] = index % 3 == 0 ? -0.5f : index % 3 == 1 ? 5.5f : -2.5f;  // zero, six, minus two
    return std::vector<Tensor>{std::move(tensor)};
  }
  [[nodiscard]] std::optional<std::int64_t> label(std::size_t) const override { return {}; }
  [[nodiscard]] bool has_labels() const override { return false; }
  [[nodiscard]] std::string metric() const override { return ""; }
  [[nodiscard]] std::string content_hash() const override { return ""; }
};

// Counts passes over the samples and remembers what was asked.
class Spy final : public data::Measure {
 public:
  explicit Spy(data::Measure& inner) : inner_(inner) {}
  Result<data::Statistics> measure(const Model& model, const data::Request& request) override {
    requests.push_back(request);
    return inner_.measure(model, request);
  }
  std::vector<data::Request> requests;

 private:
  data::Measure& inner_;
};

bool holds(const std::vector<std::string>& names, const char* name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

}  // namespace

TEST_CASE("every value is recorded from one pass, and derived ones are as if measured") {
  const Model model = parsed();
  const Samples samples;
  WorkerPool pool(2);
  const auto running = calibration::measure_by_running(samples, pool);
  Spy spy(*running);
  RecordingMeasure recorder(spy);
  data::Request request;
  request.values = {"x", "d"};
  const auto answer = recorder.measure(model, request);
  INFO((answer ? "" : answer.error().message));
  REQUIRE(answer);
  REQUIRE(spy.requests.size() == 1);
  for (const char* name : {"r", "c", "d"}) CHECK_FALSE(holds(spy.requests[0].optional_values, name));
  CHECK(holds(spy.requests[0].optional_values, "e"));
  request.values = {"x", "y", "r", "c", "d", "e"};
  const auto direct = running->measure(model, request);
  REQUIRE(direct);
  CHECK(recorder.recorded().samples == samples.size());
  for (const auto& [name, statistics] : direct->values) {
    INFO(name);
    REQUIRE(recorder.recorded().values.contains(name));
    CHECK(recorder.recorded().values.at(name) == statistics);
  }
  CHECK_FALSE(recorder.recorded().values.contains("o"));  // infinite: left out, and no error, for nothing asked for it
}

TEST_CASE("a clamp of a value that is infinite is measured for itself") {
  auto model = parse_text(R"(<ir_version: 8, opset_import: ["" : 13]>
"main" (float[N,64] x) => (float[N,64] p)
<float[1] none = {0}, float zero = {0}, float six = {6}>
{
  ["divide"] o = Div (x, none)
  ["finite"] p = Clip (o, zero, six)
}
)");
  REQUIRE(model);
  REQUIRE(ops::infer_types(*model));
  const Samples samples;
  WorkerPool pool(1);
  const auto running = calibration::measure_by_running(samples, pool);
  RecordingMeasure recorder(*running);
  data::Request request;
  request.values = {"p"};
  const auto answer = recorder.measure(*model, request);
  INFO((answer ? "" : answer.error().message));
  REQUIRE(answer);
  CHECK(answer->values.at("p").maximum == 6);
  CHECK(recorder.recorded().values.size() == 2);  // x and p
  request.values = {"o"};
  const auto refused = recorder.measure(*model, request);
  REQUIRE_FALSE(refused);
  CHECK_THAT(refused.error().message, Catch::Contains("sample 0") && Catch::Contains("\"o\"") && Catch::Contains("infinite"));
}

TEST_CASE("bounds that cut a bin in two, or leave zero out, are not derived") {
  const data::ValueStatistics any;
  CHECK(driver::clamped(any, 0, 6));
  CHECK(driver::clamped(any, -1, 1));
  CHECK(driver::clamped(any, -kInfinity, kInfinity));
  CHECK_FALSE(driver::clamped(any, 0, 1.2345678f));
  CHECK_FALSE(driver::clamped(any, 0, 0.1));
  CHECK_FALSE(driver::clamped(any, 1, 6));
  CHECK_FALSE(driver::clamped(any, -6, -1));
}
