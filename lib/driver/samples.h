// Samples for a measurement, wherever they come from, and the loop over them.
#pragma once

#include <algorithm>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "lib/data/dataset.h"
#include "lib/driver/bounds.h"
#include "lib/report/record.h"
#include "lib/support/progress.h"
#include "lib/support/result.h"
#include "lib/support/worker_pool.h"

namespace bevel::driver {

struct Samples {
  std::unique_ptr<data::Dataset> dataset;
  report::SampleSource source;
};

// `from` is the SampleSource's word for them. A data set without samples is exit 5.
Result<Samples> open_samples(const std::filesystem::path& path, const std::vector<data::ModelInput>& inputs,
                             std::optional<std::size_t> max_samples, const std::string& from, const Bounds& bounds = {});

constexpr std::size_t kRandomSamples = 8;
// Seeded: floats uniform in [-1, 1), integers in [0, 8), booleans; unknown extents are 1. Exit 5 naming the input when its
// type is not a tensor's or has no rank.
Result<Samples> random_samples(const std::vector<data::ModelInput>& inputs, std::size_t count = kRandomSamples);

// produce(i) for every i in [0, count) on the pool; consume(i, result) in increasing order on the calling thread. Holds at
// most kBlock results at a time; the error that is returned is the one of the lowest index, whatever the thread count.
template <typename T, typename Produce, typename Consume>
Status sweep(WorkerPool& pool, std::size_t count, const std::string& label, const Produce& produce, const Consume& consume) {
  constexpr std::size_t kBlock = 32;
  Progress progress(label, count);
  for (std::size_t first = 0; first < count; first += kBlock) {
    const std::size_t size = std::min(kBlock, count - first);
    std::vector<std::optional<Result<T>>> results(size);
    pool.for_each(size, [&](std::size_t item, unsigned) {
      results[item].emplace(produce(first + item));
      progress.advance();
    });
    for (std::size_t item = 0; item < size; ++item) {
      if (!*results[item]) return Failure(std::move(*results[item]).error());
      Status consumed = consume(first + item, std::move(**results[item]));
      if (!consumed) return consumed;
    }
  }
  return {};
}

}  // namespace bevel::driver
