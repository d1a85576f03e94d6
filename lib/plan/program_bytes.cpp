// Program -> .bvl bytes (lib/runtime/bevel_format.h). Deterministic: padding is zero, sections stand in a fixed order.
#include <algorithm>
#include <bit>
#include <cstring>
#include <map>

#include "lib/plan/program.h"
#include "lib/runtime/bevel_runtime.h"
#include "lib/support/check.h"

namespace bevel::plan {
namespace {

static_assert(std::endian::native == std::endian::little, "the format is little-endian");
static_assert(sizeof(bvl_header) == 56 && sizeof(bvl_section) == 32 && sizeof(bvl_tensor) == 72 &&
              sizeof(bvl_quant) == 8 && sizeof(bvl_step) == 48 && sizeof(bvl_entry) == 24);

class Bytes {
 public:
  template <typename T>
  void add(const T& value) {
    static_assert(std::is_trivially_copyable_v<T>);
    add(&value, sizeof value);
  }
  void add(const void* data, std::size_t count) {
    const auto* bytes = static_cast<const std::byte*>(data);
    data_.insert(data_.end(), bytes, bytes + count);
  }
  void pad_to(std::size_t size) {
    BEVEL_CHECK(size >= data_.size());
    data_.resize(size);
  }
  [[nodiscard]] std::size_t size() const { return data_.size(); }
  [[nodiscard]] const std::vector<std::byte>& data() const { return data_; }

 private:
  std::vector<std::byte> data_;
};

class Strings {
 public:
  std::uint32_t add(const std::string& text) {
    // A zero inside a name would end it early; names from a model may hold any byte.
    const std::string clean = text.substr(0, text.find('\0'));
    const auto [found, fresh] = offsets_.emplace(clean, static_cast<std::uint32_t>(bytes_.size()));
    if (fresh) bytes_.add(clean.c_str(), clean.size() + 1);
    return found->second;
  }
  [[nodiscard]] const Bytes& bytes() const { return bytes_; }

 private:
  std::map<std::string, std::uint32_t> offsets_;
  Bytes bytes_;
};

bvl_tensor tensor_record(const ProgramTensor& tensor, Bytes& quants, Strings& strings) {
  bvl_tensor record{};
  record.dtype = static_cast<std::uint8_t>(tensor.dtype);
  record.bits = static_cast<std::uint8_t>(dtype_bits(tensor.dtype));
  record.packing = static_cast<std::uint8_t>(record.bits < 8 ? 8 / record.bits : 1);
  BEVEL_CHECK(tensor.dims.size() <= BVL_MAX_RANK);
  record.rank = static_cast<std::uint8_t>(tensor.dims.size());
  for (std::size_t i = 0; i < tensor.dims.size(); ++i) record.dims[i] = static_cast<std::int32_t>(tensor.dims[i]);
  record.storage = static_cast<std::uint8_t>(tensor.storage);
  record.encoding = BVL_ENCODING_DENSE;
  record.model_dtype = static_cast<std::uint8_t>(tensor.model_dtype);
  record.offset = tensor.offset;
  record.bytes = tensor.bytes;
  record.quant = BVL_NONE;
  record.quant_axis = -1;
  if (tensor.quantization) {
    const ops::Quantization& quantization = *tensor.quantization;
    record.quant_kind = quantization.per_tensor() ? BVL_QUANT_TENSOR : BVL_QUANT_AXIS;
    record.quant = static_cast<std::uint32_t>(quants.size() / sizeof(bvl_quant));
    record.quant_count = static_cast<std::uint32_t>(quantization.scales.size());
    if (!quantization.per_tensor()) record.quant_axis = quantization.axis;
    for (std::size_t i = 0; i < quantization.scales.size(); ++i) {
      quants.add(bvl_quant{quantization.scales[i], quantization.zero_points[i]});
    }
  }
  record.name = strings.add(tensor.name);
  return record;
}

// The state block as bvl_reset sets it; empty when every state begins as zeros.
std::vector<std::byte> initial_state(const Program& program) {
  std::vector<std::byte> block;
  for (const ProgramTensor& tensor : program.tensors) {
    if (tensor.storage != BVL_STORAGE_STATE || !tensor.constant.defined()) continue;
    const auto bytes = tensor.constant.bytes();
    BEVEL_CHECK(tensor.offset <= program.state_bytes && bytes.size() <= program.state_bytes - tensor.offset);
    block.resize(program.state_bytes);
    std::copy(bytes.begin(), bytes.end(), block.begin() + static_cast<std::ptrdiff_t>(tensor.offset));
  }
  return block;
}

}  // namespace

std::vector<std::byte> program_bytes(const Program& program) {
  Bytes tensors, quants, steps, operands, params, entries, constants;
  Strings strings;
  const auto add_operands = [&](const std::vector<std::uint32_t>& inputs, const std::vector<std::uint32_t>& outputs) {
    const auto first = static_cast<std::uint32_t>(operands.size() / 4);
    for (std::uint32_t index : inputs) operands.add(index);
    for (std::uint32_t index : outputs) operands.add(index);
    return first;
  };
  for (const ProgramTensor& tensor : program.tensors) {
    tensors.add(tensor_record(tensor, quants, strings));
    if (tensor.storage != BVL_STORAGE_CONSTANT || !tensor.constant.defined()) continue;
    if (tensor.offset < constants.size()) continue;  // shares an earlier tensor's bytes
    constants.pad_to(tensor.offset);
    constants.add(tensor.constant.bytes().data(), tensor.constant.bytes().size());
  }
  constants.pad_to(std::max<std::size_t>(constants.size(), program.constant_bytes));
  const std::vector<std::byte> state_init = initial_state(program);
  for (const ProgramStep& step : program.steps) {
    bvl_step record{};
    record.kernel = static_cast<std::uint16_t>(step.kernel);
    record.version = static_cast<std::uint16_t>(bvl_kernel_version(step.kernel));
    record.operands = add_operands(step.inputs, step.outputs);
    record.input_count = static_cast<std::uint16_t>(step.inputs.size());
    record.output_count = static_cast<std::uint16_t>(step.outputs.size());
    record.params = static_cast<std::uint32_t>(params.size() / 4);
    record.param_words = static_cast<std::uint32_t>(step.params.size());
    params.add(step.params.data(), step.params.size() * 4);
    record.range = step.range;
    record.scratch_offset = step.scratch_offset;
    record.scratch_bytes = step.scratch_bytes;
    record.name = strings.add(step.name);
    steps.add(record);
  }
  for (const ProgramEntry& entry : program.entries) {
    bvl_entry record{};
    record.kind = entry.kind;
    record.first_step = entry.first_step;
    record.step_count = entry.step_count;
    record.operands = add_operands(entry.inputs, entry.outputs);
    record.input_count = static_cast<std::uint32_t>(entry.inputs.size());
    record.output_count = static_cast<std::uint32_t>(entry.outputs.size());
    entries.add(record);
  }

  struct Part {
    std::uint32_t kind;
    const std::vector<std::byte>* bytes;
  };
  std::vector<Part> parts = {
      {BVL_SECTION_TENSORS, &tensors.data()},     {BVL_SECTION_QUANT, &quants.data()},
      {BVL_SECTION_STEPS, &steps.data()},         {BVL_SECTION_OPERANDS, &operands.data()},
      {BVL_SECTION_PARAMS, &params.data()},       {BVL_SECTION_ENTRIES, &entries.data()},
      {BVL_SECTION_CONSTANTS, &constants.data()}, {BVL_SECTION_STRINGS, &strings.bytes().data()},
  };
  if (!state_init.empty()) parts.push_back({BVL_SECTION_STATE_INIT, &state_init});
  const auto aligned = [](std::size_t size) { return (size + BVL_ALIGNMENT - 1) / BVL_ALIGNMENT * BVL_ALIGNMENT; };

  std::vector<bvl_section> table;
  const std::size_t table_bytes = parts.size() * sizeof(bvl_section);
  std::size_t offset = aligned(sizeof(bvl_header) + table_bytes);
  for (const Part& part : parts) {
    const std::vector<std::byte>& data = *part.bytes;
    table.push_back({part.kind, BVL_SECTION_MUST_UNDERSTAND, offset, data.size(), bvl_hash(data.data(), data.size())});
    offset = aligned(offset + data.size());
  }
  bvl_header header{};
  header.magic = BVL_MAGIC;
  header.version = BVL_VERSION;
  header.numeric_mode = BVL_NUMERIC_FLOAT;
  header.file_bytes = offset;
  header.arena_bytes = program.arena_bytes;
  header.state_bytes = program.state_bytes;
  header.section_count = static_cast<std::uint32_t>(parts.size());
  Bytes head;
  head.add(header);
  head.add(table.data(), table_bytes);
  header.header_hash = bvl_hash(head.data().data(), head.size());

  Bytes file;
  file.add(header);
  file.add(table.data(), table_bytes);
  for (std::size_t i = 0; i < parts.size(); ++i) {
    file.pad_to(table[i].offset);
    file.add(parts[i].bytes->data(), parts[i].bytes->size());
  }
  file.pad_to(header.file_bytes);
  return file.data();
}

}  // namespace bevel::plan
