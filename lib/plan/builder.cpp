#include "lib/plan/builder.h"

#include <algorithm>

#include "lib/ops/lower_common.h"
#include "lib/support/check.h"

namespace bevel::plan {
namespace {

// Packed integers are constants only: kernels write whole bytes.
bool program_dtype(DType dtype, std::uint32_t storage) {
  switch (dtype) {
    case DType::int4: return storage == BVL_STORAGE_CONSTANT;
    case DType::float32:
    case DType::int8:
    case DType::int16:
    case DType::int32:
    case DType::int64:
    case DType::boolean:
    case DType::float16:
    case DType::uint32: return true;
    default: return false;
  }
}

}  // namespace

Result<std::uint32_t> ProgramBuilder::add_tensor(const std::string& name, DType dtype, const Dims& logical,
                                                 const ops::MemoryOrder& order, std::uint32_t storage) {
  ProgramTensor tensor;
  tensor.name = name;
  tensor.dtype = dtype == DType::uint8 ? DType::int8 : dtype;
  tensor.model_dtype = dtype;
  tensor.storage = storage;
  if (!program_dtype(tensor.dtype, storage)) return fail_input("'{}' is {}: a Program has no such tensors", printable(name), dtype_name(dtype));
  if (logical.size() > BVL_MAX_RANK) {
    return fail_input("'{}' has rank {}: a Program's tensors have at most {}", printable(name), logical.size(), BVL_MAX_RANK);
  }
  const auto count = element_count(logical);
  const auto bytes = count ? packed_bytes(tensor.dtype, *count) : std::nullopt;
  if (!bytes || *bytes == 0 || *bytes > INT32_MAX) {
    return fail_input("'{}' has the shape {}: a Program's tensors have 1 to 2^31 bytes", printable(name),
                      bevel::to_string(Type::tensor(dtype, logical)));
  }
  tensor.logical_dims = logical;
  tensor.order = order;
  tensor.dims = ops::to_memory(logical, order);
  tensor.bytes = *bytes;
  Buffer buffer;
  buffer.bytes = *bytes;
  buffer.input = storage == BVL_STORAGE_INPUT;
  buffer.constant = storage == BVL_STORAGE_CONSTANT;
  buffer_of_.push_back(static_cast<std::uint32_t>(buffers_.size()));
  buffers_.push_back(std::move(buffer));
  program_.tensors.push_back(std::move(tensor));
  return static_cast<std::uint32_t>(program_.tensors.size() - 1);
}

Result<std::uint32_t> ProgramBuilder::add_view(std::uint32_t of, const std::string& name, const Dims& logical,
                                               const ops::MemoryOrder& order) {
  if (logical.size() > BVL_MAX_RANK) {
    return fail_input("'{}' has rank {}: a Program's tensors have at most {}", printable(name), logical.size(), BVL_MAX_RANK);
  }
  ProgramTensor tensor = program_.tensors[of];
  tensor.name = name;
  tensor.logical_dims = logical;
  tensor.order = order;
  tensor.dims = ops::to_memory(logical, order);
  if (tensor.storage == BVL_STORAGE_INPUT || tensor.storage == BVL_STORAGE_OUTPUT) tensor.storage = BVL_STORAGE_ARENA;
  program_.tensors.push_back(std::move(tensor));
  buffer_of_.push_back(buffer_of_[of]);
  return static_cast<std::uint32_t>(program_.tensors.size() - 1);
}

Result<std::uint32_t> ProgramBuilder::add_constant_value(const std::string& name, const Tensor& tensor) {
  BEVEL_TRY(const std::uint32_t index, add_tensor(name, tensor.dtype(), tensor.dims(), ops::logical_order(tensor.rank()),
                                                  BVL_STORAGE_CONSTANT));
  buffers_[buffer_of_[index]].pack = [tensor]() -> Result<Tensor> {
    return tensor.dtype() == DType::uint8 ? Tensor::of<std::int8_t>(tensor.dims(), ops::device_int8(tensor)) : tensor;
  };
  return index;
}

void ProgramBuilder::describe(std::uint32_t index, DType model_dtype, const std::optional<ops::Quantization>& quantization) {
  ProgramTensor& tensor = program_.tensors[index];
  if (model_dtype != DType::undefined) tensor.model_dtype = model_dtype;
  if (!quantization) return;
  tensor.quantization = quantization;
  if (quantization->dtype == DType::uint8) {
    tensor.quantization->dtype = DType::int8;
    for (std::int32_t& zero_point : tensor.quantization->zero_points) zero_point -= 128;
  }
}

Result<std::uint32_t> ProgramBuilder::add_output(std::uint32_t source, const std::string& name, const Dims& logical) {
  std::uint32_t index = source;
  const Buffer& buffer = buffers_[buffer_of_[source]];
  if (buffer.input || buffer.constant || buffer.output) {
    const ProgramTensor from = program_.tensors[source];
    BEVEL_TRY(index, add_tensor(name, from.model_dtype, logical, ops::logical_order(logical.size()), BVL_STORAGE_OUTPUT));
    program_.tensors[index].dtype = from.dtype;
    program_.tensors[index].quantization = from.quantization;
    ops::Walk walk{{element_count(logical).value_or(0)}, {{1}, {1}}};
    auto step = ops::copy_step(ops::StepOperand::input(0), ops::StepOperand::output(0), walk, 0, 0, from.dtype);
    if (!step) return fail_input("output '{}': {}", printable(name), step.error());
    ops::LoweredGroup group;
    group.steps.push_back(std::move(*step));
    BEVEL_TRY_STATUS(add_steps(name, "output '" + printable(name) + "'", std::move(group), {source}, {index}));
  }
  // The same bytes under an order with axes of extent 1 elsewhere: outputs have the model's own dims.
  if (program_.tensors[index].dims != logical) {
    BEVEL_TRY(index, add_view(index, name, logical, ops::logical_order(logical.size())));
  }
  program_.tensors[index].storage = BVL_STORAGE_OUTPUT;
  program_.tensors[index].name = name;
  buffers_[buffer_of_[index]].output = true;
  entry_.outputs.push_back(index);
  return index;
}

Status ProgramBuilder::add_steps(const std::string& name, const std::string& place, ops::LoweredGroup group,
                                 const std::vector<std::uint32_t>& inputs, const std::vector<std::uint32_t>& outputs) {
  std::vector<std::uint32_t> constants, temporaries;
  for (ops::PackedConstant& constant : group.constants) {
    auto index = add_tensor(name + "." + constant.name, constant.dtype, constant.dims, ops::logical_order(constant.dims.size()),
                            BVL_STORAGE_CONSTANT);
    if (!index) return located(place, std::move(index).error());
    buffers_[buffer_of_[*index]].pack = std::move(constant.pack);
    buffers_[buffer_of_[*index]].place = place;
    constants.push_back(*index);
  }
  for (std::size_t i = 0; i < group.temporaries.size(); ++i) {
    const ops::Temporary& temporary = group.temporaries[i];
    auto index = add_tensor(fmt::format("{}.temporary_{}", name, i), temporary.dtype, temporary.dims,
                            ops::logical_order(temporary.dims.size()), BVL_STORAGE_ARENA);
    if (!index) return located(place, std::move(index).error());
    temporaries.push_back(*index);
  }
  const auto resolve = [&](const ops::StepOperand& operand) {
    const auto i = static_cast<std::size_t>(operand.index);
    using Kind = ops::StepOperand::Kind;
    const std::uint32_t index = operand.kind == Kind::input     ? inputs[i]
                                : operand.kind == Kind::output   ? outputs[i]
                                : operand.kind == Kind::constant ? constants[i]
                                                                 : temporaries[i];
    BEVEL_CHECK(index < program_.tensors.size());
    return index;
  };
  for (ops::LoweredStep& lowered : group.steps) {
    ProgramStep step;
    step.kernel = lowered.kernel;
    step.name = name;
    for (const ops::StepOperand& read : lowered.reads) step.inputs.push_back(resolve(read));
    for (const ops::StepOperand& write : lowered.writes) step.outputs.push_back(resolve(write));
    step.params = std::move(lowered.params);
    step.range = lowered.range;
    step.scratch_bytes = lowered.scratch_bytes;
    step.macs = lowered.macs;
    in_place_.push_back({lowered.in_place, lowered.in_place_second});
    program_.steps.push_back(std::move(step));
  }
  return {};
}

Result<std::uint32_t> ProgramBuilder::add_transposed(std::uint32_t from, const std::string& name, const std::string& step_name,
                                                     const Dims& logical, const ops::MemoryOrder& from_order,
                                                     const ops::MemoryOrder& to_order) {
  const ProgramTensor source = program_.tensors[from];
  BEVEL_TRY(const std::uint32_t to, add_tensor(name, source.dtype, logical, to_order, BVL_STORAGE_ARENA));
  program_.tensors[to].model_dtype = source.model_dtype;
  program_.tensors[to].quantization = source.quantization;
  ops::GroupOperand in, out;
  in.dims = out.dims = logical;
  in.order = from_order;
  out.order = to_order;
  ops::Walk walk{ops::to_memory(logical, to_order), {ops::strides_along(in, out), ops::strides_along(out, out)}};
  auto step = ops::copy_step(ops::StepOperand::input(0), ops::StepOperand::output(0), walk, 0, 0, source.dtype);
  if (!step) return fail_input("'{}' cannot be brought to another memory order: {}", printable(name), step.error());
  ops::LoweredGroup group;
  group.steps.push_back(std::move(*step));
  BEVEL_TRY_STATUS(add_steps(step_name, "'" + printable(name) + "'", std::move(group), {from}, {to}));
  return to;
}

std::uint32_t ProgramBuilder::root(std::uint32_t buffer) const {
  while (buffers_[buffer].merged_into != UINT32_MAX) buffer = buffers_[buffer].merged_into;
  return buffer;
}

void ProgramBuilder::find_lifetimes() {
  const auto touch = [&](std::uint32_t tensor, std::uint32_t step) {
    Buffer& buffer = buffers_[buffer_of_[tensor]];
    buffer.first = std::min(buffer.first, step);
    buffer.last = std::max(buffer.last, step);
  };
  for (std::uint32_t s = 0; s < program_.steps.size(); ++s) {
    for (std::uint32_t tensor : program_.steps[s].inputs) touch(tensor, s);
    for (std::uint32_t tensor : program_.steps[s].outputs) touch(tensor, s);
  }
  // Inputs are written before the first step; outputs are read after the last.
  for (std::uint32_t tensor : entry_.inputs) touch(tensor, 0);
  if (!program_.steps.empty()) {
    for (std::uint32_t tensor : entry_.outputs) touch(tensor, static_cast<std::uint32_t>(program_.steps.size() - 1));
  }
}

void ProgramBuilder::merge_in_place() {
  for (std::uint32_t s = 0; s < program_.steps.size(); ++s) {
    const ProgramStep& step = program_.steps[s];
    for (std::size_t operand = 0; operand < 2 && operand < step.inputs.size(); ++operand) {
      if (operand == 0 ? !in_place_[s].first : !in_place_[s].second) continue;
      const std::uint32_t read = root(buffer_of_[step.inputs[operand]]);
      const std::uint32_t written = root(buffer_of_[step.outputs[0]]);
      if (read == written) break;
      // The read buffer must end here, the written one begin here, and no other operand may look at the same bytes.
      const Buffer& from = buffers_[read];
      const Buffer& to = buffers_[written];
      if (from.constant || from.output || from.bytes != to.bytes || from.last != s || to.first != s) continue;
      bool shared = false;
      for (std::size_t other = 0; other < step.inputs.size(); ++other) {
        shared = shared || (other != operand && root(buffer_of_[step.inputs[other]]) == read);
      }
      if (shared) continue;
      buffers_[read].last = buffers_[written].last;
      buffers_[read].output = to.output;
      buffers_[written].merged_into = read;
      break;
    }
  }
}

void ProgramBuilder::place() {
  std::vector<ArenaBlock> blocks;
  std::vector<std::uint32_t> owner;  // buffer, or UINT32_MAX - step for scratch
  for (std::uint32_t b = 0; b < buffers_.size(); ++b) {
    const Buffer& buffer = buffers_[b];
    if (buffer.constant || buffer.merged_into != UINT32_MAX || buffer.first == UINT32_MAX) continue;
    blocks.push_back({buffer.bytes, buffer.first, buffer.last, 0});
    owner.push_back(b);
  }
  const std::size_t buffer_blocks = blocks.size();
  for (std::uint32_t s = 0; s < program_.steps.size(); ++s) {
    if (program_.steps[s].scratch_bytes == 0) continue;
    blocks.push_back({program_.steps[s].scratch_bytes, s, s, 0});
    owner.push_back(s);
  }
  program_.arena_lower_bound = arena_lower_bound(blocks, BVL_ARENA_ALIGNMENT, &program_.arena_peak_step);
  program_.arena_bytes = place_blocks(blocks, BVL_ARENA_ALIGNMENT);
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    if (i < buffer_blocks) {
      buffers_[owner[i]].offset = blocks[i].offset;
    } else {
      program_.steps[owner[i]].scratch_offset = blocks[i].offset;
    }
  }
  std::uint64_t constants = 0;
  for (Buffer& buffer : buffers_) {
    if (!buffer.constant || buffer.first == UINT32_MAX) continue;
    buffer.offset = constants;
    constants = (constants + buffer.bytes + BVL_ALIGNMENT - 1) / BVL_ALIGNMENT * BVL_ALIGNMENT;
    program_.constant_bytes = buffer.offset + buffer.bytes;
  }
  for (std::size_t t = 0; t < program_.tensors.size(); ++t) program_.tensors[t].offset = buffers_[root(buffer_of_[t])].offset;
}

Status ProgramBuilder::pack_constants() {
  std::vector<bool> packed(buffers_.size(), false);
  for (std::size_t t = 0; t < program_.tensors.size(); ++t) {
    ProgramTensor& tensor = program_.tensors[t];
    Buffer& buffer = buffers_[buffer_of_[t]];
    if (!buffer.constant || packed[buffer_of_[t]]) continue;
    BEVEL_CHECK(buffer.pack != nullptr);
    Result<Tensor> constant = buffer.pack();
    if (!constant) return located(buffer.place.empty() ? printable(tensor.name) : buffer.place, std::move(constant).error());
    BEVEL_CHECK(constant->dtype() == tensor.dtype && constant->bytes().size() == tensor.bytes);
    tensor.constant = std::move(*constant);
    packed[buffer_of_[t]] = true;
  }
  return {};
}

Result<Program> ProgramBuilder::finish(bool pack) {
  find_lifetimes();
  merge_in_place();
  place();
  // Tensors that nothing reads (the float side of a border, the source of views) are left out.
  std::vector<std::uint32_t> index(program_.tensors.size(), UINT32_MAX);
  std::vector<bool> used(program_.tensors.size(), false);
  const auto mark = [&](const std::vector<std::uint32_t>& list) {
    for (std::uint32_t tensor : list) used[tensor] = true;
  };
  for (const ProgramStep& step : program_.steps) {
    mark(step.inputs);
    mark(step.outputs);
  }
  mark(entry_.inputs);
  mark(entry_.outputs);
  std::vector<ProgramTensor> kept;
  std::vector<std::uint32_t> kept_buffers;
  for (std::size_t t = 0; t < program_.tensors.size(); ++t) {
    if (!used[t]) continue;
    index[t] = static_cast<std::uint32_t>(kept.size());
    kept.push_back(std::move(program_.tensors[t]));
    kept_buffers.push_back(buffer_of_[t]);
  }
  program_.tensors = std::move(kept);
  buffer_of_ = std::move(kept_buffers);
  const auto renumber = [&](std::vector<std::uint32_t>& list) {
    for (std::uint32_t& tensor : list) tensor = index[tensor];
  };
  for (ProgramStep& step : program_.steps) {
    renumber(step.inputs);
    renumber(step.outputs);
  }
  renumber(entry_.inputs);
  renumber(entry_.outputs);
  entry_.step_count = static_cast<std::uint32_t>(program_.steps.size());
  program_.entries.push_back(entry_);
  if (pack) BEVEL_TRY_STATUS(pack_constants());
  return std::move(program_);
}

}  // namespace bevel::plan
