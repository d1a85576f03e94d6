// Modelled cost of a Program on a device: a linear model, cycles = work x figure of the kernel's family + overhead per step.
#include <algorithm>
#include <cstring>
#include <map>

#include "lib/plan/program.h"
#include "lib/runtime/bevel_runtime.h"
#include "lib/support/check.h"

namespace bevel::plan {
namespace {

// What the cost model knows of a kernel. Code bytes: Cortex-M4, gcc 12.2 -O2, printed by scripts/measure-kernels. They are modelled
// figures of a network's flash; scripts/bench cortex-m prints the sum beside the size of the linked program.
struct KernelCost {
  const char* family;
  bool is_float;
  std::uint64_t code_bytes;
  // Device records have figures for 8-bit integers and float. Kernels with other integers cost their family's 8-bit figure times
  // this: instructions beside the 8-bit kernel's on the same layers, Cortex-M4, printed by scripts/measure-kernels.
  double ratio = 1;
};
namespace cost_rows {
constexpr KernelCost conv2d_s8{"conv", false, 1912};
constexpr KernelCost depthwise_conv2d_s8{"depthwise", false, 1344};
constexpr KernelCost dense_s8{"dense", false, 868};
constexpr KernelCost add_s8{"elementwise", false, 500};
constexpr KernelCost mul_s8{"elementwise", false, 504};
constexpr KernelCost avg_pool_s8{"pool", false, 704};
constexpr KernelCost max_pool_s8{"pool", false, 508};
constexpr KernelCost softmax_s8{"softmax", false, 328};
constexpr KernelCost lut_s8{"table", false, 64};
constexpr KernelCost copy{"move", false, 404};
constexpr KernelCost fill{"move", false, 84};
constexpr KernelCost quantize_f32_s8{"elementwise", true, 152};
constexpr KernelCost dequantize_s8_f32{"elementwise", true, 80};
constexpr KernelCost conv2d_f32{"conv", true, 924};
constexpr KernelCost matmul_f32{"dense", true, 552};
constexpr KernelCost binary_f32{"elementwise", true, 872};
constexpr KernelCost unary_f32{"table", true, 4936};
constexpr KernelCost avg_pool_f32{"pool", true, 604};
constexpr KernelCost max_pool_f32{"pool", true, 524};
constexpr KernelCost softmax_f32{"softmax", true, 960};
constexpr KernelCost reduce_f32{"pool", true, 220};
constexpr KernelCost conv2d_s8_w4{"conv", false, 1804, 1.45};
constexpr KernelCost depthwise_conv2d_s8_w4{"depthwise", false, 1468, 1.22};
constexpr KernelCost dense_s8_w4{"dense", false, 928, 1.49};
constexpr KernelCost conv2d_s16{"conv", false, 2284, 1.18};
constexpr KernelCost depthwise_conv2d_s16{"depthwise", false, 1524, 1.23};
constexpr KernelCost dense_s16{"dense", false, 980, 1.68};
constexpr KernelCost add_s16{"elementwise", false, 460, 0.83};
constexpr KernelCost mul_s16{"elementwise", false, 440, 0.83};
constexpr KernelCost avg_pool_s16{"pool", false, 756, 0.72};
constexpr KernelCost max_pool_s16{"pool", false, 576, 0.72};
constexpr KernelCost rescale_s16{"elementwise", false, 160, 0.68};
constexpr KernelCost unary_s16{"table", true, 6368, 1.1};
constexpr KernelCost softmax_s16{"softmax", true, 652, 1.11};
constexpr KernelCost quantize_f32_s16{"elementwise", true, 144};
constexpr KernelCost dequantize_s16_f32{"elementwise", true, 84};
constexpr KernelCost matmul_f32_w{"dense", true, 1356, 1.32};  // of the slowest of its weights, 4-bit ones
constexpr KernelCost conv2d_f32_w{"conv", true, 1540, 2.67};
constexpr KernelCost gather{"move", false, 144, 0.21};
constexpr KernelCost gather_f32_w{"elementwise", true, 436, 0.7};
constexpr KernelCost matmul_s8{"dense", false, 1312, 2.31};
constexpr KernelCost dense_s8_w4_blocks{"dense", false, 1192, 2.12};
constexpr KernelCost select{"move", false, 440, 4.93};
constexpr KernelCost compare{"elementwise", false, 868, 0.54};
constexpr KernelCost cast{"elementwise", true, 232, 2.36};
}  // namespace cost_rows

const KernelCost& cost_row(bvl_kernel kernel) {
  switch (kernel) {  // a kernel without a row does not compile
#define BEVEL_COST_ROW(id, NAME, name, version) \
  case BVL_KERNEL_##NAME: return cost_rows::name;
    BVL_KERNELS(BEVEL_COST_ROW)
#undef BEVEL_COST_ROW
  }
  check_failed("a kernel of the table", __FILE__, __LINE__);
}

constexpr std::uint64_t kStepCodeBytes = 48;  // one call with its parameters' address and operands

// The float convolution serves every group count; one channel to a group leaves it no inner loop to speak of.
bool is_depthwise(const ProgramStep& step) {
  if (step.kernel != BVL_KERNEL_CONV2D_F32 && step.kernel != BVL_KERNEL_CONV2D_F32_W) return false;
  bvl_conv2d_f32_params params;  // conv2d_f32_w begins with the same fields
  BEVEL_CHECK(step.params.size() * 4 >= sizeof params);
  std::memcpy(&params, step.params.data(), sizeof params);
  return params.groups > 1 && params.groups == params.in_c;
}

bool in_arena(const ProgramTensor& tensor) {
  return tensor.storage == BVL_STORAGE_ARENA || tensor.storage == BVL_STORAGE_INPUT ||
         tensor.storage == BVL_STORAGE_OUTPUT;
}

}  // namespace

const char* kernel_family(bvl_kernel kernel) { return cost_row(kernel).family; }

Cost cost_of(const Program& program, const target::Device& device) {
  Cost cost;
  std::map<bvl_kernel, std::uint64_t> kernels;
  double cycles = 0;
  for (const ProgramStep& step : program.steps) {
    const KernelCost& row = cost_row(step.kernel);
    kernels.emplace(step.kernel, row.code_bytes);
    LayerCost layer;
    layer.name = step.name;
    layer.kernel = bvl_kernel_name(step.kernel);
    layer.macs = step.macs;
    for (std::uint32_t index : step.inputs) {
      if (program.tensors[index].storage == BVL_STORAGE_CONSTANT) layer.weight_bytes += program.tensors[index].bytes;
    }
    const std::string key = std::string(is_depthwise(step) ? "depthwise" : row.family) + (row.is_float ? ".float32" : ".int8");
    const auto figure = device.cycles.find(key);
    const double per_unit = figure == device.cycles.end() ? 0 : figure->second.value * row.ratio;
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
  cost.flash_bytes = 0;  // the C library's memcpy and memset, and division on cores without it, are not the model's
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
