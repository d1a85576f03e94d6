// The Program in memory, before it becomes .bvl bytes or C source: what bevel_format.h holds, with names and C++ vectors.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "lib/ir/graph.h"
#include "lib/ops/lowering.h"
#include "lib/runtime/bevel_format.h"
#include "lib/support/result.h"
#include "lib/target/target.h"

namespace bevel::plan {

struct ProgramTensor {
  std::string name;                  // the graph value's, or node name + role for constants
  DType dtype = DType::undefined;    // as stored (int8 for every 8-bit quantized value)
  DType model_dtype = DType::undefined;  // of inputs and outputs in the ONNX model
  Dims dims;                         // memory order
  Dims logical_dims;                 // of the graph value
  ops::MemoryOrder order;
  std::uint32_t storage = BVL_STORAGE_ARENA;
  std::optional<ops::Quantization> quantization;  // in the device domain (int8 zero points)
  std::uint64_t offset = 0;          // arena, constants section or state block
  std::uint64_t bytes = 0;
  Tensor constant;                   // packed, for BVL_STORAGE_CONSTANT; of a state, its initial value (undefined: zeros)
};

struct ProgramStep {
  bvl_kernel kernel{};
  std::string name;                  // of the node it came from
  std::vector<std::uint32_t> inputs, outputs;  // tensor indices
  std::vector<std::uint32_t> params;
  std::uint32_t range = 1;
  std::uint64_t scratch_offset = 0, scratch_bytes = 0;
  std::uint64_t macs = 0;
};

struct ProgramEntry {
  std::uint32_t kind = BVL_ENTRY_INFER;
  std::uint32_t first_step = 0, step_count = 0;
  std::vector<std::uint32_t> inputs, outputs;  // tensor indices, in the graph's order
};

struct Program {
  std::vector<ProgramTensor> tensors;
  std::vector<ProgramStep> steps;
  std::vector<ProgramEntry> entries;
  std::uint64_t arena_bytes = 0;
  std::uint64_t arena_lower_bound = 0;  // proven: the largest sum of bytes alive at one step
  std::uint32_t arena_peak_step = 0;    // where that is
  std::uint64_t state_bytes = 0;
  std::uint64_t constant_bytes = 0;
};

struct PlanOptions {
  bool float_io = false;  // --io float: quantize inputs and dequantize outputs inside the Program
};

// Why a node cannot be in a Program at all (exit 5 for plan_model), or stays in float (a note).
struct FloatNote {
  std::string node, op_type, reason;
};

struct Plan {
  Program program;
  std::vector<FloatNote> stays_float;  // compute nodes that run as float steps, with the reason
};

// Lowers the top graph to a Program: batch symbol bound to 1, every dimension known, every node lowered (else exit 5 naming
// the node and the reason). Packs constants last. Deterministic.
Result<Plan> plan_model(const Model& model, const PlanOptions& options = {});

// The same without packing constants: sizes, arena and steps only (tensor.constant undefined). For costing a candidate.
Result<Plan> plan_shapes(const Model& model, const PlanOptions& options = {});

// .bvl bytes. Deterministic.
std::vector<std::byte> program_bytes(const Program& program);

struct LayerCost {
  std::string name, kernel;
  std::uint64_t macs = 0, cycles = 0;
  std::uint64_t weight_bytes = 0;
};
struct Cost {
  std::uint64_t cycles = 0;
  double latency_seconds = 0, energy_joules = 0;  // modelled
  std::uint64_t ram_bytes = 0;    // arena + state
  std::uint64_t flash_bytes = 0;  // constants + tables + code (estimated per kernel used)
  std::vector<LayerCost> layers;  // step order
};
Cost cost_of(const Program& program, const target::Device& device);
const char* kernel_family(bvl_kernel kernel);  // "conv", "depthwise", "dense", ...; keys of Device::cycles with the dtype

// The tensors alive at a step, largest first: for the message of a missed RAM budget.
struct AliveTensor {
  std::string name;
  std::uint64_t bytes = 0;
};
std::vector<AliveTensor> alive_at(const Program& program, std::uint32_t step);

// Places blocks with lifetimes [first, last] in one arena. Tries several orders and keeps the smallest; deterministic.
struct ArenaBlock {
  std::uint64_t bytes = 0;
  std::uint32_t first = 0, last = 0;  // steps, inclusive
  std::uint64_t offset = 0;           // result
};
std::uint64_t place_blocks(std::vector<ArenaBlock>& blocks, std::uint64_t alignment);
std::uint64_t arena_lower_bound(const std::vector<ArenaBlock>& blocks, std::uint64_t alignment, std::uint32_t* peak_step);

}  // namespace bevel::plan
