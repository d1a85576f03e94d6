// Statistics by running samples, and profiles as files.
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cmath>
#include <filesystem>
#include <fstream>

#include "calibration/calibration.h"
#include "lib/ir/text.h"
#include "lib/ops/op.h"
#include "lib/support/hash.h"
#include "lib/support/random.h"

using namespace bevel;
using namespace bevel::calibration;
namespace fs = std::filesystem;

namespace {

constexpr const char* kModel = R"(<ir_version: 8, opset_import: ["" : 13]>
"main" (float[N,4] x) => (float[N,4] z)
<float[4] b = {1, -2, 0.5, 0}>
{
  ["add"] y = Add (x, b)
  ["relu"] z = Relu (y)
}
)";

Model parsed(const char* text) {
  auto model = parse_text(text);
  INFO((model ? "" : model.error().message));
  REQUIRE(model);
  REQUIRE(ops::infer_types(*model));
  return std::move(*model);
}

class Samples final : public data::Dataset {
 public:
  std::vector<std::vector<float>> rows;
  [[nodiscard]] std::size_t size() const override { return rows.size(); }
  [[nodiscard]] Result<std::vector<Tensor>> sample(std::size_t index) const override {
    return std::vector<Tensor>{Tensor::of<float>({1, 4}, rows[index])};
  }
  [[nodiscard]] std::optional<std::int64_t> label(std::size_t) const override { return {}; }
  [[nodiscard]] bool has_labels() const override { return false; }
  [[nodiscard]] std::string metric() const override { return ""; }
  [[nodiscard]] std::string content_hash() const override { return sha256_hex(std::to_string(rows.size())); }
};

Samples random_samples(std::size_t count) {
  Samples samples;
  Random random(5);
  for (std::size_t i = 0; i < count; ++i) {
    samples.rows.push_back({random.uniform(-1, 1), random.uniform(-9, 9), 0, random.uniform(0, 1e-6f)});
  }
  return samples;
}

data::Statistics measured(const Samples& samples, unsigned threads) {
  const Model model = parsed(kModel);
  WorkerPool pool(threads);
  data::Request request;
  request.values = measurable_values(model);
  auto statistics = measure_by_running(samples, pool)->measure(model, request);
  INFO((statistics ? "" : statistics.error().message));
  REQUIRE(statistics);
  return std::move(*statistics);
}

struct TemporaryFile {
  fs::path path = fs::temp_directory_path() / fmt::format("bevel_profile_{}.bevelprofile", ::getpid());
  ~TemporaryFile() { fs::remove(path); }
  std::string read() const {
    std::ifstream in(path, std::ios::binary);
    return std::string((std::istreambuf_iterator<char>(in)), {});
  }
  void write(const std::string& content) const { std::ofstream(path, std::ios::binary) << content; }
};

Profile profile_of(std::size_t count) {
  const Samples samples = random_samples(count);
  return {model_hash(parsed(kModel)), samples.content_hash(), measured(samples, 1)};
}

}  // namespace

TEST_CASE("running counts every value of every sample, on any number of threads", "[calibration]") {
  const Samples samples = random_samples(101);
  const data::Statistics one = measured(samples, 1), three = measured(samples, 3);
  CHECK(one.samples == 101);
  REQUIRE(one.values.size() == 3);
  CHECK(one.values == three.values);
  data::ValueStatistics x, z;
  const float bias[] = {1, -2, 0.5f, 0};
  for (const auto& row : samples.rows) {
    for (std::size_t i = 0; i < 4; ++i) {
      x.histogram.add(row[i]);
      z.histogram.add(std::max(row[i] + bias[i], 0.0f));
      x.minimum = std::min(x.minimum, row[i]);
      z.maximum = std::max(z.maximum, row[i] + bias[i]);
    }
  }
  CHECK(one.values.at("x").histogram == x.histogram);
  CHECK(one.values.at("x").minimum == x.minimum);
  CHECK(one.values.at("z").histogram == z.histogram);
  CHECK(one.values.at("z").maximum == z.maximum);
}

TEST_CASE("NaN and infinity are errors that name the first bad sample and the tensor", "[calibration]") {
  const Model model = parsed(kModel);
  const auto message = [&](Samples samples) {
    std::string first;
    for (const unsigned threads : {1u, 4u}) {
      WorkerPool pool(threads);
      data::Request request;
      request.values = {"z"};
      auto statistics = measure_by_running(samples, pool)->measure(model, request);
      REQUIRE_FALSE(statistics);
      CHECK(statistics.error().code == ExitCode::input);
      if (first.empty()) first = statistics.error().message;
      CHECK(statistics.error().message == first);
    }
    return first;
  };
  using Catch::Contains;
  Samples samples = random_samples(40);
  samples.rows[37][1] = INFINITY;
  samples.rows[31][2] = NAN;
  CHECK_THAT(message(samples), Contains("sample 31") && Contains("\"x\"") && Contains("element 2") && Contains("NaN"));
  samples = random_samples(40);
  samples.rows[7][1] = std::numeric_limits<float>::max();
  const Model overflowing = parsed(R"(<ir_version: 8, opset_import: ["" : 13]>
"main" (float[N,4] x) => (float[N,4] y) { ["add"] y = Add (x, x) })");
  WorkerPool pool(2);
  data::Request request;
  request.values = {"y"};
  auto statistics = measure_by_running(samples, pool)->measure(overflowing, request);
  REQUIRE_FALSE(statistics);
  CHECK_THAT(statistics.error().message, Contains("sample 7") && Contains("\"y\"") && Contains("infinite"));
  request.values = {"none"};
  CHECK_THAT(measure_by_running(samples, pool)->measure(overflowing, request).error().message, Contains("\"none\""));
}

TEST_CASE("the model's hash sees what computes and nothing else", "[calibration]") {
  const std::string hash = model_hash(parsed(kModel));
  Model model = parsed(kModel);
  model.doc_string = "documented";
  model.source = "elsewhere.onnx";
  model.producer_name = "someone";
  CHECK(model_hash(model) == hash);
  Model weights = parsed(kModel);
  weights.graph.set_constant(weights.graph.find_value("b"), Tensor::of<float>({4}, std::vector<float>{1, -2, 0.5f, 1e-30f}));
  CHECK(model_hash(weights) != hash);
  Model renamed = parsed(kModel);
  renamed.graph.rename_value(renamed.graph.find_value("y"), "y2");
  CHECK(model_hash(renamed) != hash);
  Model op = parsed(kModel);
  op.graph.mutable_node(op.graph.find_node("relu")).op_type = "Tanh";
  CHECK(model_hash(op) != hash);
}

TEST_CASE("profiles round trip, byte for byte", "[profile]") {
  const TemporaryFile file;
  const Profile profile = profile_of(50);
  REQUIRE(write_profile(profile, file.path));
  auto back = read_profile(file.path);
  INFO((back ? "" : back.error().message));
  REQUIRE(back);
  CHECK(back->model_hash == profile.model_hash);
  CHECK(back->data_hash == profile.data_hash);
  CHECK(back->statistics.samples == 50);
  CHECK(back->statistics.values == profile.statistics.values);
  const std::string bytes = file.read();
  REQUIRE(write_profile(*back, file.path));
  CHECK(file.read() == bytes);

  const Model model = parsed(kModel);
  data::Request request;
  request.values = {"x"};
  auto measure = measure_from_profile(*back);
  auto answer = measure->measure(model, request);
  REQUIRE(answer);
  CHECK(answer->values.size() == 1);
  CHECK(answer->values.at("x") == profile.statistics.values.at("x"));
  request.values = {"b"};
  CHECK_THAT(measure->measure(model, request).error().message, Catch::Contains("does not hold the value \"b\""));
  Model other = model;
  other.graph.rename_node(other.graph.find_node("add"), "add2");
  request.values = {"x"};
  auto refused = measure->measure(other, request);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == ExitCode::input);
  CHECK_THAT(refused.error().message, Catch::Contains("another model"));
}

TEST_CASE("damaged profiles are refused", "[profile]") {
  const TemporaryFile file;
  REQUIRE(write_profile(profile_of(3), file.path));
  const std::string good = file.read();
  for (std::size_t length = 0; length < good.size(); ++length) {
    file.write(good.substr(0, length));
    CHECK_FALSE(read_profile(file.path));
  }
  // With the checksum put right, so that the reader itself is tried: an error or a sound profile, never more.
  const std::string body = good.substr(0, good.size() - 64);
  std::size_t refused = 0;
  for (std::size_t at = 0; at < body.size(); ++at) {
    for (const int flip : {0x01, 0x80, 0xFF}) {
      std::string bad = body;
      bad[at] = static_cast<char>(bad[at] ^ flip);
      file.write(bad + sha256_hex(bad));
      auto profile = read_profile(file.path);
      refused += !profile;
      if (!profile) continue;
      REQUIRE(write_profile(*profile, file.path));  // what is accepted is what a writer writes
      CHECK(file.read() == bad + sha256_hex(bad));
    }
  }
  CHECK(refused > body.size() / 2);
}

TEST_CASE("shards merge exactly, in any order", "[profile]") {
  Samples all = random_samples(30), first = all, second = all;
  first.rows.resize(11);
  second.rows.erase(second.rows.begin(), second.rows.begin() + 11);
  const std::string hash = model_hash(parsed(kModel));
  const Profile a{hash, "aa", measured(first, 2)}, b{hash, "bb", measured(second, 1)};
  auto ab = merge(a, b), ba = merge(b, a);
  REQUIRE(ab);
  REQUIRE(ba);
  CHECK(ab->statistics.values == measured(all, 1).values);
  CHECK(ba->statistics.values == ab->statistics.values);
  CHECK(ab->data_hash == "aa+bb");
  CHECK(ba->data_hash == ab->data_hash);
  CHECK(ab->statistics.samples == 30);
  using Catch::Contains;
  CHECK_THAT(merge(*ab, a).error().message, Contains("same data"));
  CHECK_THAT(merge(a, Profile{"other", "cc", b.statistics}).error().message, Contains("different models"));
}

TEST_CASE("a written profile is compared value by value", "[profile]") {
  const TemporaryFile file;
  const Profile profile = profile_of(20);
  REQUIRE(write_profile(profile, file.path));
  REQUIRE(reads_back(profile, file.path));
  CHECK(*reads_back(profile, file.path));
  Profile other = profile;
  other.statistics.values.at("y").histogram.add(1.0f);
  CHECK_FALSE(*reads_back(other, file.path));
  other = profile;
  other.statistics.values.erase("y");
  CHECK_FALSE(*reads_back(other, file.path));
  other = profile;
  other.statistics.samples += 1;
  CHECK_FALSE(*reads_back(other, file.path));
  file.write("nothing");
  CHECK_FALSE(reads_back(profile, file.path).has_value());
}

TEST_CASE("a profile's file answers as the profile does", "[profile]") {
  const TemporaryFile file;
  const Profile profile = profile_of(20);
  REQUIRE(write_profile(profile, file.path));
  const auto stored = open_profile(file.path);
  REQUIRE(stored);
  CHECK(stored->samples == 20);
  CHECK(stored->data_hash == profile.data_hash);
  const Model model = parsed(kModel);
  data::Request request;
  request.values = {"z", "x"};
  const auto answer = stored->measure->measure(model, request);
  REQUIRE(answer);
  CHECK(answer->values.size() == 2);
  CHECK(answer->values.at("x") == profile.statistics.values.at("x"));
  CHECK(answer->values.at("z") == profile.statistics.values.at("z"));
  request.values = {"b"};
  CHECK_THAT(stored->measure->measure(model, request).error().message, Catch::Contains("does not hold the value \"b\""));
  REQUIRE(write_profile(profile_of(21), file.path));
  CHECK_THAT(stored->measure->measure(model, request).error().message, Catch::Contains("changed while it was in use"));
}
