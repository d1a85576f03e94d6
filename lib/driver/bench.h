// Timing what exists: bench.
#pragma once

#include <cstddef>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "lib/driver/bounds.h"
#include "lib/report/record.h"
#include "lib/support/result.h"

namespace bevel::driver {

struct BenchRequest {
  std::filesystem::path model;                // ONNX or .bvl
  std::optional<std::filesystem::path> data;  // absent: one seeded random sample
  std::vector<std::string> shapes;
  std::optional<std::size_t> max_samples;
  std::size_t repeat = 10;                    // timed runs over the samples; one more before them warms up
  bool per_node = false;
  BoundsFlags bounds;
};
// Runs on the calling thread, one sample at a time, so that the figures are those of one core.
Result<report::BenchRecord> bench(const BenchRequest& request);

}  // namespace bevel::driver
