// Ranges from histograms and the grids made of them.
#include <catch2/catch.hpp>
#include <cmath>
#include <limits>

#include "lib/data/accumulator.h"
#include "lib/support/random.h"
#include "passes/ranges.h"

using namespace bevel;
using namespace bevel::passes;

namespace {

data::ValueStatistics statistics_of(const std::vector<float>& values) {
  data::Accumulator accumulator;
  REQUIRE(accumulator.add(values));
  return accumulator.statistics();
}

// Roughly normal: the sum of twelve uniform numbers.
std::vector<float> bell(std::size_t count, float sigma, float mean, std::uint64_t seed) {
  Random random(seed);
  std::vector<float> values(count);
  for (float& value : values) {
    float sum = -6;
    for (int i = 0; i < 12; ++i) sum += random.uniform();
    value = mean + sigma * sum;
  }
  return values;
}

double error_of(const std::vector<float>& values, Range range) {
  const ScaleZeroPoint grid = affine_grid(range, 0, 255);
  double sum = 0;
  for (const float value : values) {
    const double q = std::min(255.0, std::max(0.0, std::nearbyint(static_cast<double>(value) / static_cast<double>(grid.scale)) + grid.zero_point));
    const double difference = value - (q - grid.zero_point) * grid.scale;
    sum += difference * difference;
  }
  return sum;
}

Range range_of(const std::vector<float>& values, const char* method, bool symmetric = false) {
  return choose_range(statistics_of(values), *parse_range_method(method), 8, symmetric);
}

}  // namespace

TEST_CASE("methods are read and written", "[ranges]") {
  for (const char* text : {"minmax", "percentile", "percentile:99.9", "percentile:100", "mse", "entropy"}) {
    auto method = parse_range_method(text);
    REQUIRE(method);
    CHECK(to_string(*method) == text);
  }
  for (const char* text : {"", "max", "percentile:", "percentile:50", "percentile:101", "percentile:9x", "percentile:nan"}) {
    auto method = parse_range_method(text);
    REQUIRE_FALSE(method);
    CHECK(method.error().code == ExitCode::input);
  }
}

TEST_CASE("minmax is exact and holds zero", "[ranges]") {
  const Range both = range_of({-1.234567f, 0.5f, 3.7654321f}, "minmax");
  CHECK((both.low == -1.234567f && both.high == 3.7654321f));
  const Range above = range_of({2, 5}, "minmax"), below = range_of({-2, -5}, "minmax");
  CHECK((above.low == 0 && above.high == 5 && below.low == -5 && below.high == 0));
  const Range symmetric = range_of({-1, 3}, "minmax", true);
  CHECK((symmetric.low == -3 && symmetric.high == 3));
}

TEST_CASE("every method stays inside the extremes, holds zero, and copes with degenerate values", "[ranges]") {
  const std::vector<std::vector<float>> cases = {
      {}, {0, 0, -0.0f}, {1e-42f, -1e-44f}, {3}, {-3}, {std::numeric_limits<float>::max(), std::numeric_limits<float>::lowest()},
      bell(5000, 2, 1, 1), bell(5000, 0.1f, 5, 2), bell(5000, 0.1f, -5, 3)};
  for (const auto& values : cases) {
    const auto statistics = statistics_of(values);
    for (const char* method : {"minmax", "percentile:90", "percentile", "mse", "entropy"}) {
      for (const bool symmetric : {false, true}) {
        const Range range = choose_range(statistics, *parse_range_method(method), 8, symmetric);
        INFO(method << " " << symmetric << " " << range.low << " " << range.high);
        CHECK((range.low <= 0 && range.high >= 0));
        if (symmetric) CHECK(range.low == -range.high);
        else CHECK((range.low >= std::min(0.0f, statistics.minimum) && range.high <= std::max(0.0f, statistics.maximum)));
        const ScaleZeroPoint grid = affine_grid(range, -128, 127);
        CHECK((grid.scale > 0 && std::isfinite(grid.scale) && grid.zero_point >= -128 && grid.zero_point <= 127));
      }
    }
  }
}

TEST_CASE("percentile cuts outliers off, half on each side", "[ranges]") {
  std::vector<float> values(10000);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i) / 100 - 50;  // -50 .. 50
  const Range range = range_of(values, "percentile:90");
  // Bins are 1/256 of an octave wide at most.
  CHECK(range.low == Approx(-45).epsilon(0.01));
  CHECK(range.high == Approx(45).epsilon(0.01));
  const Range positive = range_of(std::vector<float>(values.begin() + 5000, values.end()), "percentile:90");
  CHECK((positive.low == 0 && positive.high == Approx(47.5).epsilon(0.01)));
  CHECK(range_of(values, "percentile:100").high == values.back());
}

TEST_CASE("mse gives less error than minmax and percentile where there are outliers", "[ranges]") {
  const auto bulk = bell(5000, 1, 0.3f, 7);
  const std::vector<float> outliers = {20, -15};
  constexpr std::uint64_t kRepeated = 1000;  // each value of the bulk
  data::ValueStatistics statistics = statistics_of(outliers);
  for (const float value : bulk) statistics.histogram.add(value, kRepeated);
  const auto error = [&](const char* method) {
    const Range range = choose_range(statistics, *parse_range_method(method), 8, false);
    return kRepeated * error_of(bulk, range) + error_of(outliers, range);
  };
  CHECK(error("mse") < 0.2 * error("minmax"));
  CHECK(error("mse") < 1.05 * error("percentile:99.999"));
  // Without outliers it does no worse than minmax.
  const auto flat = bell(20000, 1, 0, 9);
  CHECK(error_of(flat, range_of(flat, "mse")) <= 1.0001 * error_of(flat, range_of(flat, "minmax")));
}

TEST_CASE("entropy clips a long thin tail and keeps a flat distribution whole", "[ranges]") {
  auto values = bell(20000, 1, 0, 11);
  for (int i = 0; i < 5; ++i) values.push_back(100.0f + static_cast<float>(i));
  CHECK(range_of(values, "entropy").high < 30);
  std::vector<float> flat(20000);
  for (std::size_t i = 0; i < flat.size(); ++i) flat[i] = static_cast<float>(i) / 20000;
  CHECK(range_of(flat, "entropy").high > 0.9f);
}

TEST_CASE("grids hold zero exactly, and int8 is uint8 shifted by 128", "[ranges]") {
  const ScaleZeroPoint relu = affine_grid({0, 6}, 0, 255);
  CHECK((relu.zero_point == 0 && relu.scale == 6.0f / 255));
  const ScaleZeroPoint both = affine_grid({-1, 1}, -128, 127);
  CHECK((both.zero_point == -1 && both.scale == 2.0f / 255));  // 1 / scale is just below 127.5
  const ScaleZeroPoint none = affine_grid({0, 0}, -128, 127);
  CHECK((none.scale == 1 && none.zero_point == -128));
  CHECK(affine_grid({0, 1e-44f}, 0, 255).scale == 1);
  const float huge = std::numeric_limits<float>::max();
  CHECK(std::isfinite(affine_grid({-huge, huge}, 0, 255).scale));
  Random random(3);
  for (int i = 0; i < 2000; ++i) {
    const Range range{-std::ldexp(random.uniform(), static_cast<int>(random.below(20)) - 10),
                      std::ldexp(random.uniform(), static_cast<int>(random.below(20)) - 10)};
    const ScaleZeroPoint u = affine_grid(range, 0, 255), s = affine_grid(range, -128, 127);
    CHECK((u.scale == s.scale && u.zero_point == s.zero_point + 128));
  }
}
