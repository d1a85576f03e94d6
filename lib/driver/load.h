// A model file, ready for passes: imported, lifted to the base opset, shapes bound, types inferred.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "lib/driver/bounds.h"
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
  std::vector<std::filesystem::path> files;  // the model's, then those of its external data
  std::uint64_t file_bytes = 0;  // of all of them
  // Empty, or why Bevel's knowledge does not reach (an opset outside 7..28): the model is then as imported, not lifted and
  // not inferred, and no pass but structural ones may touch it.
  std::string beyond_knowledge;
  Bounds bounds;                 // as it was loaded under; what is made of it is run and read back under them
};
// What the model will be fed: tensors as they stand, a Program's (which are never empty), or samples one at a time. A --shape that
// gives a Program no element, or with samples another batch than 1, is refused here (exit 2): the flag is to blame, not the data.
enum class Feeding { whole_tensors, program, samples };
// Errors start with the file's name; exit 5. A .bvl Program is told from a broken model.
Result<Loaded> load_model(const std::filesystem::path& path, const std::vector<ops::ShapeBinding>& shapes = {},
                          Feeding feeding = Feeding::whole_tensors, const Bounds& bounds = {});

// An error about a model that was read long before (by a pass, by quantizing) gets the file's name in front.
template <typename T>
Result<T> of_file(const std::filesystem::path& file, Result<T> result) {
  if (result) return result;
  return located(printable(file.filename().string()), std::move(result).error());
}

// Tensors that a node brings along: those of its attributes (Constant), and in its subgraphs the initializers and again the
// nodes' own.
void for_each_held_tensor(const Node& node, const std::function<void(const Tensor&)>& visit);

// Elements of all floating tensors that the graph holds: initializers that nodes read, and what the nodes bring along.
std::uint64_t parameter_count(const Graph& graph);

}  // namespace bevel::driver
