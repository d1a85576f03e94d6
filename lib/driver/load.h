// A model file, ready for passes: imported, lifted to the base opset, shapes bound, types inferred.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "lib/ir/graph.h"
#include "lib/ops/op.h"
#include "lib/support/result.h"

namespace bevel::driver {

// "N=8" binds a symbol, "image=1x3x224x224" an input's whole shape. Exit 2 on anything else.
Result<std::vector<ops::ShapeBinding>> parse_shapes(const std::vector<std::string>& texts);

struct Loaded {
  Model model;
  std::int64_t file_opset = 0;   // as the file says
  std::string sha256;            // of the file's bytes (external data not included)
  std::uint64_t file_bytes = 0;  // external data included
  // Empty, or why Bevel's knowledge does not reach (an opset outside 7..23): the model is then as imported, not lifted and
  // not inferred, and no pass but structural ones may touch it.
  std::string beyond_knowledge;
};
// Errors start with the file's name; exit 5.
Result<Loaded> load_model(const std::filesystem::path& path, const std::vector<ops::ShapeBinding>& shapes = {});

// Elements of all floating and integer initializers that nodes read.
std::uint64_t parameter_count(const Graph& graph);

}  // namespace bevel::driver
