#include "lib/eval/group_kernels.h"

#include <algorithm>
#include <map>
#include <memory>
#include <mutex>

#include "lib/ops/family.h"
#include "lib/ops/lower_common.h"
#include "lib/runtime/bevel_runtime.h"
#include "lib/support/check.h"

namespace bevel::eval {
namespace {

using ops::MemoryOrder;

// 16-byte aligned scratch.
class Scratch {
 public:
  explicit Scratch(std::uint64_t bytes) : words_((bytes + 15) / 16) {}
  void* data() { return words_.empty() ? nullptr : words_.data(); }

 private:
  struct alignas(16) Word {
    std::byte bytes[16];
  };
  std::vector<Word> words_;
};

void run_step(const ops::LoweredStep& step, const std::vector<const void*>& reads, const std::vector<void*>& writes) {
  bvl_kernel_fn* kernel = bvl_kernel_function(step.kernel);
  BEVEL_CHECK(kernel != nullptr);
  Scratch scratch(step.scratch_bytes);
  kernel(step.params.data(), reads.data(), writes.data(), scratch.data(), 0, step.range);
}

// uint8 q <-> int8 q - 128: the same flip both ways.
void flip_sign(Tensor& tensor) {
  for (std::byte& byte : tensor.mutable_bytes()) byte ^= std::byte{0x80};
}

// Of a step that picks rows by its second operand: how many there are.
std::optional<std::int64_t> rows_to_gather(const ops::LoweredStep& step) {
  if (step.kernel != BVL_KERNEL_GATHER && step.kernel != BVL_KERNEL_GATHER_F32_W) return std::nullopt;
  if (step.reads[1].kind != ops::StepOperand::Kind::input) return std::nullopt;
  return static_cast<std::int64_t>(step.params[step.kernel == BVL_KERNEL_GATHER ? 1 : 0]);  // `extent` of bevel_kernels.h
}

bool all_within(const Tensor& indices, std::int64_t extent) {
  for (std::int64_t i = 0; i < indices.size(); ++i) {
    if (indices.as_int64(i) < -extent || indices.as_int64(i) >= extent) return false;
  }
  return true;
}

Result<Tensor> reordered(const Tensor& tensor, const Dims& logical, const MemoryOrder& from, const MemoryOrder& to) {
  if (ops::same_memory(logical, from, to)) return tensor.reshaped(ops::to_memory(logical, to));
  ops::GroupOperand in, out;
  in.dims = out.dims = logical;
  in.order = from;
  out.order = to;
  const ops::Walk walk{ops::to_memory(logical, to), {ops::strides_along(in, out), ops::strides_along(out, out)}};
  auto step = ops::copy_step(ops::StepOperand::input(0), ops::StepOperand::output(0), walk, 0, 0, tensor.dtype());
  if (!step) return fail_input("{}", step.error());
  Tensor result = Tensor::zeros(tensor.dtype(), ops::to_memory(logical, to));
  run_step(*step, {tensor.bytes().data()}, {result.mutable_bytes().data()});
  return result;
}

// A group at certain shapes and orders: its steps and packed constants, or nothing.
struct Prepared {
  plan::PlacedGroup placed;
  std::vector<Tensor> constants;
  std::vector<Dims> output_dims;
  std::vector<DType> output_dtypes;
};

using Key = std::vector<std::int64_t>;  // dims and orders of the inputs

// Shapes that a group keeps ready. Samples come in few lengths in a row; beyond this the least recently used is prepared anew.
constexpr std::size_t kKeptShapes = 8;

}  // namespace

struct GroupKernels::State {
  State(const Model& m, const plan::Grouping& g) : model(m), grouping(g), kept(g.groups.size()) {}

  const Model& model;
  const plan::Grouping& grouping;
  struct Kept {
    Key key;
    std::shared_ptr<const Prepared> prepared;  // null: no kernel
  };
  std::mutex mutex;
  std::vector<std::vector<Kept>> kept;  // by group, last used first, at most kKeptShapes each

  // The dims of the group's outputs at the inputs' actual dims: as inferred for the whole graph where those are the same, else by
  // the anchor's own inference (an activation and Q keep shapes).
  std::optional<std::vector<Dims>> output_dims(const plan::Group& group, const std::vector<Dims>& inputs) const {
    const Graph& graph = model.graph;
    bool as_inferred = true;
    for (std::size_t i = 0; i < group.inputs.size() && as_inferred; ++i) {
      if (!group.inputs[i].border.valid()) continue;
      const Type& type = graph.value(group.inputs[i].border).type;
      const Tensor* constant = graph.constant(group.inputs[i].border);
      as_inferred = constant != nullptr || (type.is_tensor() && type.shape.has_rank && type.shape.known_dims() == inputs[i]);
    }
    std::vector<Dims> result;
    if (as_inferred) {
      for (const plan::GroupEdge& edge : group.outputs) {
        if (!edge.border.valid()) {
          result.emplace_back();
          continue;
        }
        const Type& type = graph.value(edge.border).type;
        if (!type.is_tensor() || !type.shape.has_rank || !type.shape.known_dims()) return std::nullopt;
        result.push_back(*type.shape.known_dims());
      }
      return result;
    }
    const Node& node = graph.node(group.anchor);
    std::vector<Type> types;
    std::vector<const Tensor*> constants;
    for (std::size_t i = 0; i < group.inputs.size(); ++i) {
      const plan::GroupEdge& edge = group.inputs[i];
      DType dtype = DType::undefined;
      if (edge.inner.valid() && graph.value(edge.inner).type.is_tensor()) dtype = graph.value(edge.inner).type.dtype;
      types.push_back(edge.inner.valid() ? Type::tensor(dtype, inputs[i]) : Type());
      constants.push_back(edge.inner.valid() ? graph.constant(edge.inner) : nullptr);
    }
    const auto inferred = ops::infer_node(node, model.opset(node.domain), types, constants);
    if (!inferred) return std::nullopt;
    for (std::size_t i = 0; i < group.outputs.size(); ++i) {
      if (!group.outputs[i].border.valid()) {
        result.emplace_back();
        continue;
      }
      if (i >= inferred->size() || !(*inferred)[i].is_tensor() || !(*inferred)[i].shape.has_rank) return std::nullopt;
      auto dims = (*inferred)[i].shape.known_dims();
      if (!dims) return std::nullopt;
      result.push_back(std::move(*dims));
    }
    return result;
  }

  Result<std::shared_ptr<const Prepared>> prepare(std::size_t index, const std::vector<Dims>& dims,
                                                  const std::vector<MemoryOrder>& orders) {
    Key key;
    for (std::size_t i = 0; i < dims.size(); ++i) {
      key.push_back(static_cast<std::int64_t>(dims[i].size()));
      key.insert(key.end(), dims[i].begin(), dims[i].end());
      key.insert(key.end(), orders[i].begin(), orders[i].end());
    }
    {
      const std::lock_guard lock(mutex);
      if (auto found = use(kept[index], key)) return *found;
    }
    // Prepared outside the lock: two threads may do the same work once, the first result stays.
    BEVEL_TRY(std::shared_ptr<Prepared> fresh, make(grouping.groups[index], dims, orders));
    const std::lock_guard lock(mutex);
    if (auto found = use(kept[index], key)) return *found;
    if (fresh) share_constants(kept[index], *fresh);
    if (kept[index].size() == kKeptShapes) kept[index].pop_back();  // whoever runs it still holds it
    kept[index].insert(kept[index].begin(), {std::move(key), std::move(fresh)});
    return kept[index].front().prepared;
  }

  // The entry of that key, moved to the front.
  static std::optional<std::shared_ptr<const Prepared>> use(std::vector<Kept>& entries, const Key& key) {
    const auto found = std::find_if(entries.begin(), entries.end(), [&](const Kept& entry) { return entry.key == key; });
    if (found == entries.end()) return std::nullopt;
    std::rotate(entries.begin(), found, found + 1);
    return entries.front().prepared;
  }

  // Weights packed alike for another shape are the same tensor: a model's weights are held once, whatever lengths its samples have.
  static void share_constants(const std::vector<Kept>& entries, Prepared& fresh) {
    for (std::size_t i = 0; i < fresh.constants.size(); ++i) {
      for (const Kept& entry : entries) {
        if (!entry.prepared || i >= entry.prepared->constants.size()) continue;
        const Tensor& other = entry.prepared->constants[i];
        if (other.dims() != fresh.constants[i].dims() || !other.same_bits(fresh.constants[i])) continue;
        fresh.constants[i] = other;
        break;
      }
    }
  }

  Result<std::shared_ptr<Prepared>> make(const plan::Group& group, const std::vector<Dims>& dims,
                                               const std::vector<MemoryOrder>& orders) const {
    auto outputs = output_dims(group, dims);
    if (!outputs) return nullptr;
    auto placed = plan::place_group(model, group, orders, dims, *outputs);
    if (!placed) return nullptr;
    auto result = std::make_shared<Prepared>();
    result->placed = std::move(*placed);
    result->output_dims = std::move(*outputs);
    for (const plan::GroupEdge& edge : group.outputs) {
      const bool known = edge.border.valid() && model.graph.value(edge.border).type.is_tensor();
      result->output_dtypes.push_back(known ? model.graph.value(edge.border).type.dtype : DType::undefined);
    }
    for (const ops::PackedConstant& constant : result->placed.lowered.constants) {
      auto tensor = constant.pack();
      if (!tensor) return Failure(std::move(tensor).error());
      BEVEL_CHECK(tensor->dtype() == constant.dtype && tensor->dims() == constant.dims);
      result->constants.push_back(std::move(*tensor));
    }
    return result;
  }
};

GroupKernels::GroupKernels(const Model& model, const plan::Grouping& grouping)
    : state_(std::make_unique<State>(model, grouping)) {}
GroupKernels::~GroupKernels() = default;

std::uint64_t GroupKernels::packed_bytes() const {
  const std::lock_guard lock(state_->mutex);
  std::map<const std::byte*, std::uint64_t> blocks;
  for (const auto& entries : state_->kept) {
    for (const State::Kept& entry : entries) {
      if (!entry.prepared) continue;
      for (const Tensor& constant : entry.prepared->constants) blocks[constant.bytes().data()] = constant.bytes().size();
    }
  }
  std::uint64_t sum = 0;
  for (const auto& [place, bytes] : blocks) sum += bytes;
  return sum;
}

namespace {

// Adds the bytes of a tensor; exit 5 where no address space holds them.
Status add_bytes(std::uint64_t& sum, DType dtype, const Dims& dims) {
  const auto count = element_count(dims);
  const auto bytes = count ? packed_bytes(dtype, *count) : std::nullopt;
  if (!bytes || __builtin_add_overflow(sum, *bytes, &sum))
    return fail_input("a {} of the dimensions {} has more bytes than an address space holds", dtype_name(dtype), ops::to_string(dims));
  return {};
}

}  // namespace

Result<std::optional<std::vector<HeldValue>>> GroupKernels::run(std::size_t index, std::span<const HeldValue> inputs,
                                                                const Admit& admit) const {
  const plan::Group& group = state_->grouping.groups[index];
  BEVEL_CHECK(inputs.size() == group.inputs.size());
  std::vector<Dims> dims(inputs.size());
  std::vector<MemoryOrder> orders(inputs.size());
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    if (!group.inputs[i].border.valid()) continue;
    const Tensor* tensor = inputs[i].datum.tensor();
    if (tensor == nullptr || tensor->dtype() == DType::string) return std::nullopt;
    if (inputs[i].order) {
      orders[i] = *inputs[i].order;
      dims[i].resize(orders[i].size());
      for (std::size_t k = 0; k < orders[i].size(); ++k) dims[i][static_cast<std::size_t>(orders[i][k])] = tensor->dim(k);
    } else {
      dims[i] = tensor->dims();
      orders[i] = ops::logical_order(dims[i].size());
    }
  }
  BEVEL_TRY(const std::shared_ptr<const Prepared> prepared, state_->prepare(index, dims, orders));
  if (!prepared) return std::nullopt;
  const plan::PlacedGroup& placed = prepared->placed;
  const ops::LoweredGroup& lowered = placed.lowered;

  std::uint64_t needed = 0;
  const auto output_bytes = [&](std::size_t i) { return add_bytes(needed, prepared->output_dtypes[i], prepared->output_dims[i]); };
  for (std::size_t i = 0; i < group.outputs.size(); ++i)
    if (group.outputs[i].border.valid()) BEVEL_TRY_STATUS(output_bytes(i));
  for (const ops::Temporary& temporary : lowered.temporaries) BEVEL_TRY_STATUS(add_bytes(needed, temporary.dtype, temporary.dims));
  std::uint64_t scratch = 0;  // of one step at a time
  for (const ops::LoweredStep& step : lowered.steps) scratch = std::max<std::uint64_t>(scratch, step.scratch_bytes);
  std::vector<bool> counted(inputs.size(), false);
  for (const ops::LoweredStep& step : lowered.steps) {
    for (const ops::StepOperand& read : step.reads) {
      const auto i = static_cast<std::size_t>(read.index);
      if (read.kind != ops::StepOperand::Kind::input || counted[i]) continue;
      counted[i] = true;
      const Tensor& tensor = *inputs[i].datum.tensor();  // another order, another sign: a copy
      const bool copied = tensor.dtype() == DType::uint8 || !ops::same_memory(dims[i], orders[i], placed.orders.inputs[i]);
      if (copied) BEVEL_TRY_STATUS(add_bytes(needed, tensor.dtype(), tensor.dims()));
    }
  }
  if (__builtin_add_overflow(needed, scratch, &needed)) return fail_input("the step's working memory exceeds an address space");
  BEVEL_TRY_STATUS(admit(needed));

  std::vector<HeldValue> results(group.outputs.size());
  const auto held = [&](Tensor tensor, std::size_t output) {
    const Dims& logical = prepared->output_dims[output];
    const MemoryOrder& order = placed.orders.outputs[output];
    if (ops::same_memory(logical, order, ops::logical_order(logical.size()))) return HeldValue(Datum(tensor.reshaped(logical)));
    return HeldValue(tensor.reshaped(ops::to_memory(logical, order)), order);
  };
  if (lowered.steps.empty()) {
    std::size_t data = 0;
    if (!group.facts.value.data_operands.empty()) data = static_cast<std::size_t>(group.facts.value.data_operands[0]);
    BEVEL_TRY(Tensor tensor, reordered(*inputs[data].datum.tensor(), dims[data], orders[data], placed.orders.inputs[data]));
    const DType wanted = prepared->output_dtypes[0];
    if (tensor.dtype() != wanted) {
      // The same device bytes under the other 8-bit type.
      BEVEL_CHECK(ops::is_8bit(tensor.dtype()) && ops::is_8bit(wanted));
      tensor = Tensor::from_bytes(wanted, tensor.dims(), tensor.bytes());
      flip_sign(tensor);
    }
    results[0] = held(std::move(tensor), 0);
    return std::optional(std::move(results));
  }

  std::vector<Tensor> in(inputs.size()), out(group.outputs.size()), temporaries;
  for (const ops::LoweredStep& step : lowered.steps) {
    for (const ops::StepOperand& read : step.reads) {
      const auto i = static_cast<std::size_t>(read.index);
      if (read.kind != ops::StepOperand::Kind::input || in[i].defined()) continue;
      BEVEL_TRY(in[i], reordered(*inputs[i].datum.tensor(), dims[i], orders[i], placed.orders.inputs[i]));
      if (in[i].dtype() == DType::uint8) flip_sign(in[i]);
    }
  }
  for (const ops::LoweredStep& step : lowered.steps) {
    const auto extent = rows_to_gather(step);  // the kernel takes the nearest row; the reference says which index is wrong
    if (extent && !all_within(in[static_cast<std::size_t>(step.reads[1].index)], *extent)) return std::nullopt;
  }
  for (std::size_t i = 0; i < out.size(); ++i) {
    if (!group.outputs[i].border.valid()) continue;
    out[i] = Tensor::zeros(prepared->output_dtypes[i], ops::to_memory(prepared->output_dims[i], placed.orders.outputs[i]));
  }
  for (const ops::Temporary& temporary : lowered.temporaries) temporaries.push_back(Tensor::zeros(temporary.dtype, temporary.dims));
  for (const ops::LoweredStep& step : lowered.steps) {
    std::vector<const void*> reads;
    std::vector<void*> writes;
    const auto tensor_of = [&](const ops::StepOperand& operand) -> Tensor& {
      const auto i = static_cast<std::size_t>(operand.index);
      using Kind = ops::StepOperand::Kind;
      return operand.kind == Kind::input ? in[i] : operand.kind == Kind::output ? out[i] : temporaries[i];
    };
    // Writes first: mutable_bytes may move the bytes that a read of the same tensor must see.
    for (const ops::StepOperand& write : step.writes) writes.push_back(tensor_of(write).mutable_bytes().data());
    for (const ops::StepOperand& read : step.reads) {
      const bool is_constant = read.kind == ops::StepOperand::Kind::constant;
      reads.push_back(is_constant ? prepared->constants[static_cast<std::size_t>(read.index)].bytes().data()
                                  : std::as_const(tensor_of(read)).bytes().data());
    }
    run_step(step, reads, writes);
  }
  for (std::size_t i = 0; i < out.size(); ++i) {
    if (!group.outputs[i].border.valid()) continue;
    if (out[i].dtype() == DType::uint8) flip_sign(out[i]);
    results[i] = held(std::move(out[i]), i);
  }
  return std::optional(std::move(results));
}

}  // namespace bevel::eval
