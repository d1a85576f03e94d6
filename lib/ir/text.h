// The text form: ONNX's text syntax, with our own printer and parser.
//
//   <ir_version: 8, opset_import: ["" : 13]>
//   "main" (float[N,3,8,8] x) => (float[N,4] "out.1")
//   <float[4,3] w = {1, 2.5, ...}, float[64,64,3,3] big = random(7)>
//   {
//     ["conv1"] y = Conv <strides = [1, 1]> (x, w)
//     ...
//   }
// Identifiers that are not plain ([A-Za-z_][A-Za-z0-9_]*) are double-quoted. Floats print so that they parse to the same bits.
// `random(seed)` fills with uniform values (floats in [-1, 1), integers over a small range) from SplitMix64.
#pragma once

#include <string>
#include <string_view>

#include "lib/ir/graph.h"
#include "lib/support/result.h"

namespace bevel {

struct PrintOptions {
  // Tensors with more elements print as `float[64,64,3,3] w = <sha256 0123456789ab, range [-1.5, 2.25]>`, which does not parse.
  std::int64_t max_elements = 64;
};
std::string print(const Model& model, const PrintOptions& options = {});
std::string print(const Graph& graph, const PrintOptions& options = {});

// Located errors ("line 3, column 7: ..."), exit code input.
Result<Model> parse_text(std::string_view text);

}  // namespace bevel
