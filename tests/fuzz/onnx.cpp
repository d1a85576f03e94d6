// A model file: pre-scan, import, verification; then its text form, and export and a second import must give the same model.
#include "lib/ir/text.h"
#include "lib/ir/verify.h"
#include "lib/onnx/onnx.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/onnx_mutator.h"

using namespace bevel;

extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t max_size, unsigned seed) {
  if (seed % 8 != 0) {
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    const auto mutated = fuzz::OnnxMutator(seed).mutate(text, onnx::Message::model);
    if (mutated && !mutated->empty() && mutated->size() <= max_size) {
      std::memcpy(data, mutated->data(), mutated->size());
      return mutated->size();
    }
  }
  return LLVMFuzzerMutate(data, size, max_size);
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static fuzz::MemoryFile file("model");
  const auto model = onnx::import_model(file.holding(data, size));
  if (!model) {
    FUZZ_CHECK(model.error().code == ExitCode::input);
    return 0;
  }
  FUZZ_CHECK(verify(*model));
  // Whatever loads, prints; what is written loads again and is the same.
  FUZZ_CHECK(!print(*model).empty());
  static const std::filesystem::path folder = [] {
    char pattern[] = "/dev/shm/bevel-fuzz-XXXXXX";
    FUZZ_CHECK(::mkdtemp(pattern) != nullptr);
    return std::filesystem::path(pattern);
  }();
  if (model->graph.node_count() > 64) return 0;
  FUZZ_CHECK(onnx::export_model(*model, folder / "o.onnx"));
  const auto again = onnx::import_model(folder / "o.onnx");
  std::string why;
  if (!again) std::fprintf(stderr, "%s\n", again.error().message.c_str());
  FUZZ_CHECK(again);
  const bool same = same_model(*model, *again, &why);
  if (!same) std::fprintf(stderr, "%s\n", why.c_str());
  FUZZ_CHECK(same);
  return 0;
}
