// Answers Measure's questions by running samples, and profiles: stored answers.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "lib/data/dataset.h"
#include "lib/data/measure.h"
#include "lib/eval/evaluator.h"
#include "lib/support/result.h"
#include "lib/support/worker_pool.h"

namespace bevel::calibration {

// Values that were computed once and are asked for again are kept in a temporary file without a name, so that asking of a model of which a part
// changed costs about that part. Answers do not depend on it: without a disk, or beyond the cap, values are computed again.
constexpr std::uint64_t kMemoBytes = std::uint64_t{2} << 30;
struct Memo {
  std::uint64_t bytes = kMemoBytes;  // 0: nothing is kept
  std::filesystem::path folder;      // empty: $TMPDIR, else /tmp
};

// Streaming passes over the samples, parallel over them: one for what is counted, another for the sums of moments and channels; memory does
// not grow with their number. NaN or Inf in an input or a computed value: exit 5 naming sample and tensor.
std::unique_ptr<data::Measure> measure_by_running(const data::Dataset& dataset, WorkerPool& pool,
                                                  const eval::EvalOptions& options = {}, const Memo& memo = {});

// Names of all float32 values that a model computes or takes as inputs: what a stored profile holds, so that any recipe finds
// its answers. Needs inferred types.
std::vector<std::string> measurable_values(const Model& model);

// A profile: integer statistics of one model's values. The model is identified by its hash: names, ops,
// attributes, opsets, types of inputs and the bytes of all tensors; documentation and producer are left out.
struct Profile {
  std::string model_hash;
  std::string data_hash;  // of the data set; after a merge, both, sorted and joined with '+'
  data::Statistics statistics;
};
std::string model_hash(const Model& model);
Status write_profile(const Profile& profile, const std::filesystem::path& path);
Result<Profile> read_profile(const std::filesystem::path& path);
// Whether the file holds just this profile. Reads one value at a time: the profile is not held twice.
Result<bool> reads_back(const Profile& profile, const std::filesystem::path& path);
Result<Profile> merge(const Profile& a, const Profile& b);  // exit 5 when of different models or the same data
// Answers from a profile; a model other than the profile's, or a value it lacks, is exit 5.
std::unique_ptr<data::Measure> measure_from_profile(Profile profile);
// The same from a file, of which only what a request asks for is taken into memory. The whole file is checked here; it must stay
// as it is while the measure lives.
struct StoredMeasure {
  std::unique_ptr<data::Measure> measure;
  std::uint64_t samples = 0;
  std::string data_hash;
};
Result<StoredMeasure> open_profile(const std::filesystem::path& path);

}  // namespace bevel::calibration
