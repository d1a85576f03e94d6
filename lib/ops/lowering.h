// Lowering: from one group of the graph (an op with the quantization around it) to steps of the Program.
//
// Steps follow from shapes, quantization, facts and biases; weights come last, in PackedConstant::pack. Only past 65,000 products per
// output, where their number no longer proves the accumulator wide enough, are they summed before (check_product).
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "lib/ir/graph.h"
#include "lib/ir/tensor.h"
#include "lib/ops/facts.h"
#include "lib/ops/op.h"
#include "lib/runtime/bevel_format.h"

namespace bevel::ops {

// memory axis k holds logical axis order[k]; identity is row-major. For channels-last rank 4: {0, 2, 3, 1}.
using MemoryOrder = std::vector<int>;
MemoryOrder logical_order(std::size_t rank);
MemoryOrder channels_last_order(std::size_t rank);
Dims to_memory(const Dims& logical, const MemoryOrder& order);
// The same bytes: the orders differ only in axes of extent 1.
bool same_memory(const Dims& logical, const MemoryOrder& a, const MemoryOrder& b);

// Linear quantization of a value, as its Q/DQ nodes state it.
struct Quantization {
  DType dtype = DType::undefined;         // int8, uint8, int32 (bias), int4 (weights), ...
  std::vector<float> scales;              // one, or one per index of `axis`
  std::vector<std::int32_t> zero_points;  // same count
  int axis = -1;                          // -1: per tensor
  std::int64_t block = 0;                 // > 0 (stored weights): that many indices of `axis` share a scale; scales stand row-major
  [[nodiscard]] bool per_tensor() const { return axis < 0; }
  bool operator==(const Quantization&) const = default;
};
// Programs hold 8-bit values as int8: uint8 q is stored as q - 128. The zero point in that domain.
std::int32_t device_zero_point(const Quantization& quantization);

struct GroupOperand {
  ValueId value;                     // the (quantized) value at the group's border; invalid: absent
  DType dtype = DType::undefined;    // of that value: uint8/int8 for quantized activations, float32, int32, ...
  Dims dims;                         // logical, all known
  MemoryOrder order;                 // how the value lies in memory when the step runs
  std::optional<Quantization> quantization;
  const Tensor* constant = nullptr;  // the value's tensor when constant (integers of a quantized weight)
};

struct LowerContext {
  const Node* node = nullptr;  // the anchor op
  std::int64_t opset = 0;
  Facts facts;
  std::vector<GroupOperand> inputs;   // the anchor's inputs, through their DequantizeLinear where there is one
  std::vector<GroupOperand> outputs;  // the anchor's outputs, through activation and QuantizeLinear where there are
  std::optional<Interval> clamp;      // folded activation on output 0, in real values
  std::optional<Tensor> added_bias;   // float32 [channels]: a folded Add behind a product without a bias operand, before the clamp
  [[nodiscard]] bool integer() const; // inputs' data operands and output 0 are quantized
  [[nodiscard]] bool wide() const { return integer() && outputs[0].dtype == DType::int16; }
};

// A constant that packing makes. `pack` runs once, after planning; its result has exactly dtype and dims.
struct PackedConstant {
  std::string name;  // role: "weights", "bias", "multipliers", "table"
  DType dtype = DType::undefined;
  Dims dims;
  std::function<Result<Tensor>()> pack;
};

struct StepOperand {
  // An input that is a constant of the graph may be read as it stands: row-major, 8-bit values in the device domain.
  enum class Kind : std::uint8_t { input, output, constant, temporary };
  Kind kind = Kind::input;
  int index = 0;  // into the context's inputs / outputs, or the group's constants / temporaries
  static StepOperand input(int i) { return {Kind::input, i}; }
  static StepOperand output(int i) { return {Kind::output, i}; }
  static StepOperand constant(int i) { return {Kind::constant, i}; }
  static StepOperand temporary(int i) { return {Kind::temporary, i}; }
};

struct LoweredStep {
  bvl_kernel kernel{};
  std::vector<StepOperand> reads;
  std::vector<StepOperand> writes;
  std::vector<std::uint32_t> params;  // the kernel's parameter struct as 32-bit words (bevel_kernels.h)
  std::uint32_t range = 1;            // units of the output that a caller may split (rows, ...): [0, range)
  std::uint64_t scratch_bytes = 0;
  std::uint64_t macs = 0;             // multiply-accumulates, else elementary operations, for the cost model
  bool in_place = false;              // writes[0] may share memory with reads[0] (same bytes, element by element)
  bool in_place_second = false;       // the same with reads[1]
};

// A buffer between the steps of one group.
struct Temporary {
  DType dtype = DType::undefined;
  Dims dims;
};

struct LoweredGroup {
  std::vector<LoweredStep> steps;  // none: the output is the input's bytes (Reshape, Identity, transpose in any order)
  std::vector<PackedConstant> constants;
  std::vector<Temporary> temporaries;
};

// QuantizeLinear and DequantizeLinear as grouping sees them.
enum class QuantNode : std::uint8_t { none, quantize, dequantize };
QuantNode quant_node(const Node& node);
// The quantization that such a node states: constant scales (finite, positive) and zero points, 4-bit, 8-bit, int16 or int32 integers, per
// tensor or per axis. nullopt for anything else (blocked, computed at run time, other integers).
std::optional<Quantization> node_quantization(const Graph& graph, const Node& node);
// The quantization of a constant that a DequantizeLinear reads: as node_quantization, or in blocks along an axis (opset 21). 4-bit and 8-bit
// integers.
std::optional<Quantization> stored_quantization(const Graph& graph, const Node& node);
// The constant that such a node only widens: integers behind DequantizeLinear, float16 behind a Cast to float32. Invalid: none.
ValueId stored_constant(const Graph& graph, const Node& node);

// Types of a node's outputs from the types of its inputs, by the family's inference, outside any graph walk.
Result<std::vector<Type>> infer_node(const Node& node, std::int64_t opset, const std::vector<Type>& inputs,
                                     const std::vector<const Tensor*>& constants);

// The memory order in which output 0 of a node is byte for byte its input 0, when there is one: Reshape and its like where the
// order permits, Transpose as relabelled axes, Identity. The node's other operands must be constant. nullopt: a step is needed.
std::optional<MemoryOrder> view_order(const Node& node, const Dims& input, const MemoryOrder& input_order,
                                      const Dims& output);

// A parameter struct of bevel_kernels.h as words.
template <typename Params>
std::vector<std::uint32_t> as_words(const Params& params) {
  static_assert(sizeof(Params) % 4 == 0);
  std::vector<std::uint32_t> words(sizeof(Params) / 4);
  __builtin_memcpy(words.data(), &params, sizeof(Params));
  return words;
}

// (sx * sw) / sy in float32, in that order (docs/architecture.md, "Same bits"); per output channel.
std::vector<float> requantization_multipliers(const Quantization& x, const Quantization& w, const Quantization& y,
                                              std::int64_t channels);
// The folded activation and the output's range (int8, uint8, int16) as integer bounds in the device domain.
struct ClampBounds {
  std::int32_t low = -128, high = 127;
};
ClampBounds clamp_bounds(const Quantization& y, const std::optional<Interval>& clamp);

}  // namespace bevel::ops
