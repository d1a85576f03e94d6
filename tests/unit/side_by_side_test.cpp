// Models side by side on samples that not all of them take: what the first one refuses may be left out, never what another one refuses.
#include <catch2/catch.hpp>

#include <set>

#include "lib/driver/verify.h"

using namespace bevel;
using namespace bevel::driver;

namespace {

// Sample i is the number i.
class Numbers final : public data::Dataset {
 public:
  [[nodiscard]] std::size_t size() const override { return 4; }
  [[nodiscard]] Result<std::vector<Tensor>> sample(std::size_t index) const override {
    return std::vector<Tensor>{Tensor::of<float>({1}, std::vector<float>{static_cast<float>(index)})};
  }
  [[nodiscard]] std::optional<std::int64_t> label(std::size_t) const override { return {}; }
  [[nodiscard]] bool has_labels() const override { return false; }
  [[nodiscard]] std::string metric() const override { return ""; }
  [[nodiscard]] std::string content_hash() const override { return ""; }
};

// Gives its operand back, but for those that it refuses.
class Refuses final : public Runnable {
 public:
  Refuses(std::string name, std::set<float> what) : name_(std::move(name)), what_(std::move(what)) {}
  [[nodiscard]] const std::vector<data::ModelInput>& inputs() const override { return inputs_; }
  [[nodiscard]] const std::vector<std::string>& output_names() const override { return outputs_; }
  [[nodiscard]] Result<std::vector<Tensor>> run(std::span<const Tensor> inputs) const override {
    const float value = inputs[0].values<float>()[0];
    if (what_.contains(value)) return fail_input("{} refuses {}", name_, value);
    return std::vector<Tensor>(inputs.begin(), inputs.end());
  }
  [[nodiscard]] Result<std::vector<Tensor>> run_raw(std::span<const Tensor> inputs) const override { return run(inputs); }
  [[nodiscard]] eval::Evaluator* evaluator() const override { return nullptr; }

 private:
  std::string name_;
  std::set<float> what_;
  std::vector<data::ModelInput> inputs_{{"x", Type::tensor(DType::float32, Dims{1})}};
  std::vector<std::string> outputs_{"y"};
};

Result<Measured> measured(const std::set<float>& source, const std::set<float>& written, Refused refused) {
  const Refuses before("the source", source), after("the written", written);
  WorkerPool pool(2);
  return measure_side_by_side({&before, &after}, {{0, 1}}, Numbers(), pool, "", refused);
}

}  // namespace

TEST_CASE("samples that the first model refuses are left out and counted") {
  const auto some = measured({0, 2}, {}, Refused::is_left_out);
  REQUIRE(some.has_value());
  CHECK(some->left_out == 2);
  CHECK(some->why_left_out == "the source refuses 0");
  REQUIRE(some->pairs[0].size() == 1);
  CHECK(some->pairs[0][0].elements == 2);
  CHECK(some->pairs[0][0].identical == 2);
  const auto all = measured({0, 1, 2, 3}, {0}, Refused::is_left_out);
  REQUIRE(all.has_value());
  CHECK(all->left_out == 4);
  CHECK(measured({}, {}, Refused::is_left_out)->left_out == 0);
  // Of samples that somebody chose, none may be refused.
  const auto chosen = measured({2}, {}, Refused::is_error);
  REQUIRE_FALSE(chosen.has_value());
  CHECK(chosen.error().message == "the source refuses 2");
}

TEST_CASE("a sample that the first model takes and another one refuses is an error") {
  const auto wrong = measured({0}, {0, 3}, Refused::is_left_out);
  REQUIRE_FALSE(wrong.has_value());
  CHECK(wrong.error().message == "the written refuses 3");
}
