// Modelled cost of a Program on a device: a linear model, cycles = work x figure of the kernel's family + overhead per step.
#include <algorithm>
#include <map>

#include "lib/plan/program.h"
#include "lib/runtime/bevel_runtime.h"

namespace bevel::plan {
namespace {

// Code bytes of each kernel, Thumb-2 at -Os: estimates of what a loop nest of its shape compiles to, for deciding between
// candidates; reports of emitted C measure the linked program instead.
std::uint64_t code_bytes(bvl_kernel kernel) {
  switch (kernel) {
    case BVL_KERNEL_CONV2D_S8: return 1100;
    case BVL_KERNEL_DEPTHWISE_CONV2D_S8: return 900;
    case BVL_KERNEL_DENSE_S8: return 500;
    case BVL_KERNEL_ADD_S8: return 700;
    case BVL_KERNEL_MUL_S8: return 650;
    case BVL_KERNEL_AVG_POOL_S8: return 600;
    case BVL_KERNEL_MAX_POOL_S8: return 450;
    case BVL_KERNEL_SOFTMAX_S8: return 400;
    case BVL_KERNEL_LUT_S8: return 60;
    case BVL_KERNEL_COPY: return 400;
    case BVL_KERNEL_FILL: return 120;
    case BVL_KERNEL_QUANTIZE_F32_S8: return 160;
    case BVL_KERNEL_DEQUANTIZE_S8_F32: return 90;
    case BVL_KERNEL_CONV2D_F32: return 700;
    case BVL_KERNEL_MATMUL_F32: return 400;
    case BVL_KERNEL_BINARY_F32: return 800;
    case BVL_KERNEL_UNARY_F32: return 3500;
    case BVL_KERNEL_AVG_POOL_F32: return 500;
    case BVL_KERNEL_MAX_POOL_F32: return 400;
    case BVL_KERNEL_SOFTMAX_F32: return 700;
    case BVL_KERNEL_REDUCE_F32: return 400;
  }
  return 1000;
}
constexpr std::uint64_t kRuntimeCodeBytes = 600;  // requantization helpers, the infer function's frame
constexpr std::uint64_t kStepCodeBytes = 48;      // one call with its parameters' address and operands

bool is_float(bvl_kernel kernel) {
  switch (kernel) {
    case BVL_KERNEL_CONV2D_F32:
    case BVL_KERNEL_MATMUL_F32:
    case BVL_KERNEL_BINARY_F32:
    case BVL_KERNEL_UNARY_F32:
    case BVL_KERNEL_AVG_POOL_F32:
    case BVL_KERNEL_MAX_POOL_F32:
    case BVL_KERNEL_SOFTMAX_F32:
    case BVL_KERNEL_REDUCE_F32:
    case BVL_KERNEL_QUANTIZE_F32_S8:
    case BVL_KERNEL_DEQUANTIZE_S8_F32: return true;
    default: return false;
  }
}

bool in_arena(const ProgramTensor& tensor) {
  return tensor.storage == BVL_STORAGE_ARENA || tensor.storage == BVL_STORAGE_INPUT ||
         tensor.storage == BVL_STORAGE_OUTPUT;
}

}  // namespace

const char* kernel_family(bvl_kernel kernel) {
  switch (kernel) {
    case BVL_KERNEL_CONV2D_S8:
    case BVL_KERNEL_CONV2D_F32: return "conv";
    case BVL_KERNEL_DEPTHWISE_CONV2D_S8: return "depthwise";
    case BVL_KERNEL_DENSE_S8:
    case BVL_KERNEL_MATMUL_F32: return "dense";
    case BVL_KERNEL_ADD_S8:
    case BVL_KERNEL_MUL_S8:
    case BVL_KERNEL_BINARY_F32:
    case BVL_KERNEL_QUANTIZE_F32_S8:
    case BVL_KERNEL_DEQUANTIZE_S8_F32: return "elementwise";
    case BVL_KERNEL_AVG_POOL_S8:
    case BVL_KERNEL_MAX_POOL_S8:
    case BVL_KERNEL_AVG_POOL_F32:
    case BVL_KERNEL_MAX_POOL_F32:
    case BVL_KERNEL_REDUCE_F32: return "pool";
    case BVL_KERNEL_SOFTMAX_S8:
    case BVL_KERNEL_SOFTMAX_F32: return "softmax";
    case BVL_KERNEL_LUT_S8:
    case BVL_KERNEL_UNARY_F32: return "table";
    case BVL_KERNEL_COPY:
    case BVL_KERNEL_FILL: return "move";
  }
  return "move";
}

Cost cost_of(const Program& program, const target::Device& device) {
  Cost cost;
  std::map<bvl_kernel, std::uint64_t> kernels;
  double cycles = 0;
  for (const ProgramStep& step : program.steps) {
    kernels.emplace(step.kernel, code_bytes(step.kernel));
    LayerCost layer;
    layer.name = step.name;
    layer.kernel = bvl_kernel_name(step.kernel);
    layer.macs = step.macs;
    for (std::uint32_t index : step.inputs) {
      if (program.tensors[index].storage == BVL_STORAGE_CONSTANT) layer.weight_bytes += program.tensors[index].bytes;
    }
    const std::string key = std::string(kernel_family(step.kernel)) + (is_float(step.kernel) ? ".float32" : ".int8");
    const auto figure = device.cycles.find(key);
    const double per_unit = figure == device.cycles.end() ? 0 : figure->second.value;
    const double layer_cycles = static_cast<double>(step.macs) * per_unit + device.step_overhead_cycles.value;
    layer.cycles = static_cast<std::uint64_t>(layer_cycles);
    cycles += layer_cycles;
    cost.layers.push_back(std::move(layer));
  }
  cost.cycles = static_cast<std::uint64_t>(cycles);
  cost.latency_seconds = cycles / device.clock_hz.value;
  cost.energy_joules = cost.latency_seconds * device.active_watts.value;
  cost.ram_bytes = program.arena_bytes + program.state_bytes;
  std::map<std::uint64_t, std::uint64_t> constants;  // by offset: shared bytes count once
  for (const ProgramTensor& tensor : program.tensors) {
    if (tensor.storage == BVL_STORAGE_CONSTANT) {
      std::uint64_t& bytes = constants[tensor.offset];
      bytes = std::max(bytes, tensor.bytes);
    }
  }
  cost.flash_bytes = kRuntimeCodeBytes;
  for (const auto& [offset, bytes] : constants) cost.flash_bytes += bytes;
  for (const auto& [kernel, bytes] : kernels) cost.flash_bytes += bytes;
  for (const ProgramStep& step : program.steps) cost.flash_bytes += kStepCodeBytes + step.params.size() * 4;
  return cost;
}

std::vector<AliveTensor> alive_at(const Program& program, std::uint32_t step) {
  if (program.steps.empty()) return {};
  const auto last_step = static_cast<std::uint32_t>(program.steps.size() - 1);
  std::vector<bool> alive(program.tensors.size());
  std::vector<std::uint32_t> first(program.tensors.size(), UINT32_MAX), last(program.tensors.size(), 0);
  const auto touch = [&](std::uint32_t tensor, std::uint32_t at) {
    first[tensor] = std::min(first[tensor], at);
    last[tensor] = std::max(last[tensor], at);
  };
  for (std::uint32_t s = 0; s < program.steps.size(); ++s) {
    for (std::uint32_t index : program.steps[s].inputs) touch(index, s);
    for (std::uint32_t index : program.steps[s].outputs) touch(index, s);
  }
  for (const ProgramEntry& entry : program.entries) {
    for (std::uint32_t index : entry.inputs) touch(index, 0);
    for (std::uint32_t index : entry.outputs) touch(index, last_step);
  }
  std::map<std::uint64_t, AliveTensor> by_offset;  // views of one buffer count once
  for (std::size_t i = 0; i < program.tensors.size(); ++i) {
    const ProgramTensor& tensor = program.tensors[i];
    if (!in_arena(tensor) || first[i] > step || last[i] < step) continue;
    AliveTensor& entry = by_offset[tensor.offset];
    if (tensor.bytes > entry.bytes || entry.name.empty()) entry = {tensor.name, tensor.bytes};
  }
  std::vector<AliveTensor> result;
  for (auto& [offset, entry] : by_offset) result.push_back(std::move(entry));
  const ProgramStep& at = program.steps[std::min(step, last_step)];
  if (at.scratch_bytes > 0) result.push_back({"scratch of " + at.name, at.scratch_bytes});
  std::stable_sort(result.begin(), result.end(),
                   [](const AliveTensor& a, const AliveTensor& b) { return a.bytes > b.bytes; });
  return result;
}

}  // namespace bevel::plan
