// testdata/hostile: inputs that once crashed, hung or lied, small and kept for good. Each gets exit code 5 and a message that names the file
// (or, where its name ends in .loads.KIND, loads). KIND is the last part of the name: what the file was given to.
#include <catch2/catch.hpp>

#include <sys/resource.h>

#include <algorithm>
#include <cstring>

#include "lib/data/dataset.h"
#include "lib/eval/evaluator.h"
#include "lib/ops/op.h"
#include "passes/pass.h"
#include "tests/common/bvl_hashes.h"
#include "tests/onnx_models.h"

using namespace bevel;
using bevel::onnx::testing::get;

namespace fs = std::filesystem;

namespace {

long peak_megabytes() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss / 1024;
}

Status given_to_its_reader(const fs::path& file, const std::string& kind) {
  if (kind == ".onnx") {
    BEVEL_TRY(Model model, onnx::import_model(file));
    BEVEL_TRY(const bool known, ops::upgrade_to_base(model));
    if (!known) return {};
    BEVEL_TRY_STATUS(ops::infer_types(model));
    BEVEL_TRY([[maybe_unused]] const auto reports, passes::simplify(model));
    return {};
  }
  if (kind == ".bvl") {
    const std::string text = get(file);
    const auto bytes = std::as_bytes(std::span(text.data(), text.size()));
    void* block = nullptr;  // the runtime may open what the host refuses
    REQUIRE(::posix_memalign(&block, BVL_ALIGNMENT, bytes.size()) == 0);
    std::memcpy(block, bytes.data(), bytes.size());
    bvl_program program;
    std::uint32_t failed = 0;
    if (bvl_open(block, bytes.size(), &program, &failed) == BVL_OK) bvl_run_all(&program);
    std::free(block);
    BEVEL_TRY([[maybe_unused]] const auto runner, eval::ProgramRunner::open({bytes.begin(), bytes.end()}, file.filename().string()));
    return {};
  }
  if (kind == ".npy" || kind == ".npz") {
    BEVEL_TRY([[maybe_unused]] const auto arrays, data::read_arrays(file));
    return {};
  }
  if (kind == ".json") {
    BEVEL_TRY([[maybe_unused]] const auto dataset, data::open_dataset(file, {{"x", Type::tensor(DType::float32, {1, 2})}}));
    return {};
  }
  FAIL("no reader is known for " << file);
  return {};
}

}  // namespace

TEST_CASE("inputs that once did harm are refused by name") {
  const fs::path folder = fs::path(BEVEL_SOURCE_DIR) / "testdata" / "hostile";
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(folder))
    if (entry.path().extension() != ".md") files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  REQUIRE_FALSE(files.empty());
  for (const fs::path& file : files) {
    INFO(file);
    CHECK(fs::file_size(file) < 64 * 1024);
    const long before = peak_megabytes();
    const Status read = given_to_its_reader(file, file.extension().string());
    if (!read) UNSCOPED_INFO(read.error().message);
    const bool loads = file.stem().extension() == ".loads";
    CHECK(read.has_value() == loads);
    CHECK(peak_megabytes() - before < 256);
    if (read) continue;
    CHECK(read.error().code == ExitCode::input);
    CHECK(read.error().message.find(file.filename().string()) != std::string::npos);
  }
}
