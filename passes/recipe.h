// A recipe: the only way choices reach passes. JSON, "format": "bevel-recipe/1"; users, presets, search and the lock file
// write the same one.
//
// { "format": "bevel-recipe/1",
//   "defaults": { "weights": "int8", "activations": "uint8", "range": "auto", "rounding": "second-order" },
//   "nodes": { "conv1": { "precision": "float32" }, "fc": { "precision": "int4", "range": "minmax" }, "add": { "activations": "int16" } } }
//
// What a recipe does not say is decided by the target (activations) or by the defaults below.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "lib/ir/graph.h"
#include "lib/support/result.h"
#include "passes/ranges.h"

namespace bevel::passes {

struct NodeChoice {
  std::optional<std::string> precision;       // "int8", "int4", "float16", "bfloat16", "float8e4m3", "float8e5m2" or "float32"
  std::optional<RangeMethod> range;           // of the node's output
  // "int16": it reads and writes 16 bits where the default is 8; values are converted where it meets others.
  std::optional<std::string> activations;
  std::optional<double> sparsity;             // later issues: read, kept, refused with a clear message when set
  std::optional<std::int64_t> kept_channels;  // output channels that pruning leaves; as sparsity: read, kept, refused
  bool operator==(const NodeChoice&) const = default;
};

struct Recipe {
  std::string precision = "int8";             // of weights: default for every node that can; as NodeChoice::precision
  // "int8" or "uint8" (same integers, shifted by 128), "int16", "float32": weights alone are quantized, or "dynamic": in 8 bits, on a
  // grid that is chosen when the model runs. Unsaid: the target's, else int8.
  std::optional<std::string> activations;
  std::int64_t block_size = 0;                // of int4 weights of products: elements along k that share a scale; 0: all
  // How products with int4 blocks are written: "qdq", ONNX's DequantizeLinear before MatMul, or "nbits", ONNX Runtime's MatMulNBits.
  std::string matmul_form = "qdq";
  RangeMethod range{RangeMethod::Kind::automatic};  // default of activations
  // "nearest" or "second-order" (passes/second_order). Unsaid: second-order where there are samples.
  std::optional<std::string> rounding;
  // Whose arithmetic the integers must be safe in: "any" that is exact, or "onnxruntime-avx2", ONNX Runtime's default kernels on x86 without
  // VNNI too, which saturate sums of two products (passes/quantize/saturating_pairs.h). Unsaid: the target's, else any.
  std::optional<std::string> runtime;
  bool equalize = true;                       // scale channels against each other where that lowers the measured error
  bool per_channel = true;
  std::map<std::string, NodeChoice> nodes;    // by durable node name; an op type may not be used here
  bool operator==(const Recipe&) const = default;
};

// The words that "precision" (and the default "weights") and "activations" may be.
std::span<const std::string_view> recipe_precisions();
std::span<const std::string_view> recipe_activations();
std::span<const std::string_view> recipe_matmul_forms();
std::span<const std::string_view> recipe_runtimes();
constexpr std::string_view kAvx2Runtime = "onnxruntime-avx2";
bool is_half(std::string_view precision);  // "float16" or "bfloat16"
bool is_float8(std::string_view precision);  // "float8e4m3" or "float8e5m2"
bool is_block_size(std::uint64_t size);  // 0, or a power of two from 16 to 128

// Choices that cannot be had together (exit 2): two half-precision types, block sizes without int4, int4 with dynamic activations, ...
Status check_combination(const Recipe& recipe);
bool has_integers(const Recipe& recipe);  // some node's weights are to be integers
// Some node's activations are quantized on grids that calibration chooses.
bool needs_calibration(const Recipe& recipe);
// The opset that has the types which the recipe asks for: int4, int16, blocks and float8's attribute came with 21, bfloat16 of most operators with 22.
std::int64_t least_opset(const Recipe& recipe);
// What of the recipe the C runtime has no kernels for, so that it is for ONNX alone; empty: nothing.
std::string only_in_onnx(const Recipe& recipe);

Result<Recipe> parse_recipe(std::string_view json, const std::string& source_name);
Result<Recipe> read_recipe(const std::filesystem::path& path);
std::string to_json(const Recipe& recipe);  // sorted keys, trailing newline
// Every named node exists in the graph; exit 5 naming the first that does not and the nearest name.
Status check_recipe(const Recipe& recipe, const Graph& graph);

}  // namespace bevel::passes
