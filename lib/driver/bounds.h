// How far a model and its data may go: the importer's caps, the folders that links may lead into, the memory of evaluation.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "lib/eval/evaluator.h"
#include "lib/onnx/onnx.h"
#include "lib/support/result.h"

namespace bevel::driver {

// As the command line has them.
struct BoundsFlags {
  std::string limits;                               // onnx::parse_limits
  std::vector<std::filesystem::path> allowed_roots; // FileRoot::allowed
  std::string max_memory;                           // "2G", "512M"; empty: 80 % of the machine's
};

struct Bounds {
  onnx::Limits limits;
  std::vector<std::filesystem::path> allowed_roots;
  std::uint64_t max_memory = 0;  // bytes of live tensors in evaluation; 0: 80 % of the machine's

  [[nodiscard]] onnx::ImportOptions import_options() const;
  [[nodiscard]] eval::EvalOptions eval_options() const;
};
// Exit 2 on anything else than the flags allow.
Result<Bounds> read_bounds(const BoundsFlags& flags);

}  // namespace bevel::driver
