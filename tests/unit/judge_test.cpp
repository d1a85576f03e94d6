// Promise 1: an output that differs from its source is refused. The judges on hand-made measurements.
#include <catch2/catch.hpp>

#include <limits>

#include "lib/driver/judge.h"

using namespace bevel;
using namespace bevel::driver;
using Catch::Contains;

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

report::OutputComparison same(const char* name) { return {name, kInfinity, 1, 0, 100, 100}; }
report::OutputComparison reconstruction(double db) { return {"r", db, 0.4, 0.25, 99, 100, false}; }
report::OutputComparison near(const char* name, double db) { return {name, db, 1, 0.25, 99, 100}; }

report::CompileRecord sound() {
  report::CompileRecord record;
  record.samples = report::SampleSource{"evaluation", 10, "00"};
  record.int8_outputs = {near("a", 31.5), same("b")};
  record.runtime_outputs = {same("a"), same("b")};
  record.metric = report::MetricFigures{"top1", 90.0, 89.0, 88.0};
  record.max_drop = 2.0;
  record.drop = 2.0;
  record.layers = {{"good", "k", 0, 0, 0, 40.0}, {"worst", "k", 0, 0, 0, 3.0}, {"bad", "k", 0, 0, 0, 12.0},
                   {"unmeasured", "k", 0, 0, 0, {}}, {"fair", "k", 0, 0, 0, 20.0}};
  return record;
}

std::string refusal(const report::CompileRecord& measured) {
  report::CompileRecord record = measured;
  CHECK_FALSE(judge_fidelity(record));
  REQUIRE(record.messages.size() == 1);
  return record.messages[0];
}

}  // namespace

TEST_CASE("an SQNR below its bound is exit 4 and names the output") {
  CHECK(require_sqnr({same("a"), near("b", 60.0)}, kRoundingSqnrDb, "x").has_value());
  CHECK(require_sqnr({}, kRoundingSqnrDb, "x").has_value());
  const Status low = require_sqnr({same("a"), near("b", 59.9)}, kRoundingSqnrDb, "the copy against its source");
  REQUIRE_FALSE(low.has_value());
  CHECK(low.error().code == ExitCode::verification);
  CHECK_THAT(low.error().message, Contains("the copy against its source") && Contains("'b'") && Contains("59.9 dB") &&
                                      Contains("at least 60 dB") && Contains("99 of 100"));
  CHECK(require_sqnr({near("b", -20)}, kFiniteOnlyDb, "x").has_value());
  const Status broken = require_sqnr({near("b", -kInfinity)}, kFiniteOnlyDb, "x");
  REQUIRE_FALSE(broken.has_value());
  CHECK_THAT(broken.error().message, Contains("NaN or Inf on one side only"));
  CHECK_FALSE(require_sqnr({near("b", std::numeric_limits<double>::quiet_NaN())}, kFiniteOnlyDb, "x").has_value());
}

TEST_CASE("a Program's values are its model's, all of them") {
  CHECK(require_same_values({same("a"), same("b")}, "x").has_value());
  // One element of many, however near: a rounding-class bound would let it pass.
  const Status one = require_same_values({same("a"), near("b", 140.0)}, "the Program against its model");
  REQUIRE_FALSE(one.has_value());
  CHECK(one.error().code == ExitCode::verification);
  CHECK_THAT(one.error().message, Contains("the Program against its model") && Contains("'b'") && Contains("99 of 100"));
}

TEST_CASE("compile publishes what was found faithful") {
  report::CompileRecord record = sound();
  CHECK(judge_fidelity(record));
  CHECK(record.messages.empty());
  record.max_drop.reset();
  record.drop = 50;
  CHECK(judge_fidelity(record));  // the user states no bound
}

TEST_CASE("compile refuses a Program that differs, floats in it or not") {
  report::CompileRecord record = sound();
  record.runtime_outputs[1] = near("b", 90);
  CHECK_THAT(refusal(record), Contains("C runtime") && Contains("'b'"));
  record.stays_float = {{"n", "Conv", "asked for"}};
  CHECK_THAT(refusal(record), Contains("C runtime") && Contains("'b'"));
}

TEST_CASE("compile refuses an int8 model that is not finite where the float one is") {
  report::CompileRecord record = sound();
  record.int8_outputs[0] = near("a", -kInfinity);
  CHECK_THAT(refusal(record), Contains("int8 model against the float model") && Contains("'a'"));
}

TEST_CASE("compile refuses a drop beyond --max-drop and names the worst layers, worst first") {
  report::CompileRecord record = sound();
  record.drop = 2.001;
  const std::string message = refusal(record);
  CHECK_THAT(message, Contains("top1 fell from 90 to 88") && Contains("2.001 points") && Contains("allows 2.000"));
  CHECK(message.find("'worst'") < message.find("'bad'"));
  CHECK(message.find("'bad'") < message.find("'fair'"));
  CHECK_THAT(message, !Contains("'good'") && !Contains("unmeasured"));
  record.metric.reset();
  CHECK_THAT(refusal(record), Contains("agreement with the float model fell"));
}

TEST_CASE("the largest element judges class scores alone") {
  const report::SampleSource real{"evaluation", 10, "00"};
  const report::OutputComparison scores{"r", 25, 0.4, 0.25, 99, 100};
  CHECK(is_poor({scores}, real));
  CHECK_THAT(poor_warning({scores}, real, {}), Contains("SQNR 25.0 dB, agreement 40.0 % on 10 samples"));
  CHECK_FALSE(is_poor({reconstruction(25)}, real));
  CHECK(is_poor({reconstruction(5)}, real));
  CHECK_THAT(poor_warning({reconstruction(5)}, real, {}), Contains("SQNR 5.0 dB on 10 samples") && !Contains("agreement"));
}
