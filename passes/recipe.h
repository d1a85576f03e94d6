// A recipe: the only way choices reach passes. JSON, "format": "bevel-recipe/1"; users, presets, search and the lock file
// write the same one.
//
// { "format": "bevel-recipe/1",
//   "defaults": { "weights": "int8", "activations": "uint8", "range": "mse" },
//   "nodes": { "conv1": { "precision": "float32" }, "fc": { "range": "minmax" } } }
//
// What a recipe does not say is decided by the target (activations) or by the defaults below.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>

#include "lib/ir/graph.h"
#include "lib/support/result.h"
#include "passes/ranges.h"

namespace bevel::passes {

struct NodeChoice {
  std::optional<std::string> precision;       // "int8" or "float32"
  std::optional<RangeMethod> range;           // of the node's output
  std::optional<double> sparsity;             // later issues: read, kept, refused with a clear message when set
  std::optional<std::int64_t> kept_channels;  // output channels that pruning leaves; as sparsity: read, kept, refused
  bool operator==(const NodeChoice&) const = default;
};

struct Recipe {
  std::string precision = "int8";             // default for every node that can
  std::optional<std::string> activations;     // "int8" or "uint8" (same integers, shifted by 128); unsaid: the target's, else int8
  RangeMethod range;                          // default of activations
  bool per_channel = true;
  std::map<std::string, NodeChoice> nodes;    // by durable node name; an op type may not be used here
  bool operator==(const Recipe&) const = default;
};

Result<Recipe> parse_recipe(std::string_view json, const std::string& source_name);
Result<Recipe> read_recipe(const std::filesystem::path& path);
std::string to_json(const Recipe& recipe);  // sorted keys, trailing newline
// Every named node exists in the graph; exit 5 naming the first that does not and the nearest name.
Status check_recipe(const Recipe& recipe, const Graph& graph);

}  // namespace bevel::passes
