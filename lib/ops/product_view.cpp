#include "lib/ops/product_view.h"

#include <algorithm>

#include "lib/ops/family.h"
#include "lib/ops/lowering.h"
#include "lib/support/random.h"

namespace bevel::ops {
namespace {

// No copy of rows beyond this many floats: declared kernels may be far larger than any tensor.
constexpr std::int64_t kMaxGathered = std::int64_t{1} << 28;

// What a loop is to the product of operand 0 and operand 1.
enum class Part : std::uint8_t { unused, group, row, channel, reduced };

struct Roles {
  std::vector<Part> of;  // by loop
};

bool reads_plainly(const AxisMap& map) {
  return map.kind == AxisMap::Kind::broadcast || map.kind == AxisMap::Kind::follow || map.kind == AxisMap::Kind::factors;
}

std::vector<bool> loops_of(const IterationSpace& space, const OperandMap& operand) {
  std::vector<bool> used(space.loops.size(), false);
  for (const AxisMap& map : operand.axes)
    for (const int loop : map.loops) used[static_cast<std::size_t>(loop)] = true;
  return used;
}

bool sound(const IterationSpace& space, const OperandMap& operand) {
  return std::all_of(operand.axes.begin(), operand.axes.end(), [&](const AxisMap& map) {
    return std::all_of(map.loops.begin(), map.loops.end(),
                       [&](int loop) { return loop >= 0 && static_cast<std::size_t>(loop) < space.loops.size(); });
  });
}

std::optional<Roles> roles_of(const IterationSpace& space) {
  if (space.kind != OpKind::bilinear || space.inputs.size() < 2 || space.outputs.empty()) return std::nullopt;
  const OperandMap &a = space.inputs[0], &b = space.inputs[1], &y = space.outputs[0];
  if (!sound(space, a) || !sound(space, b) || !sound(space, y)) return std::nullopt;
  if (!std::all_of(y.axes.begin(), y.axes.end(), reads_plainly)) return std::nullopt;
  const auto in_a = loops_of(space, a), in_b = loops_of(space, b), in_y = loops_of(space, y);
  Roles roles;
  for (std::size_t i = 0; i < space.loops.size(); ++i) {
    const Loop& loop = space.loops[i];
    Part part = Part::unused;
    if (loop.reduced) {
      if (!in_a[i] || !in_b[i] || in_y[i]) return std::nullopt;
      part = Part::reduced;
    } else if (in_a[i] || in_b[i]) {
      if (!in_y[i]) return std::nullopt;
      part = in_a[i] && in_b[i] ? Part::group : in_a[i] ? Part::row : Part::channel;
    } else if (loop.extent != 1) {
      return std::nullopt;
    }
    roles.of.push_back(part);
  }
  return roles;
}

// Extents of all loops, unknown ones from an operand's dims; nullopt when these contradict the space. Windows are left as they are.
std::optional<Dims> extents_at(const IterationSpace& space, const OperandMap& operand, std::span<const std::int64_t> dims) {
  if (operand.axes.size() != dims.size()) return std::nullopt;
  Dims extents;
  for (const Loop& loop : space.loops) extents.push_back(loop.extent);
  for (std::size_t axis = 0; axis < dims.size(); ++axis) {
    const AxisMap& map = operand.axes[axis];
    if (map.kind == AxisMap::Kind::window) continue;
    if (!reads_plainly(map)) return std::nullopt;
    std::int64_t known = 1;
    int unknown = -1;
    for (const int loop : map.loops) {
      const std::int64_t extent = extents[static_cast<std::size_t>(loop)];
      if (extent < 0 && unknown >= 0) return std::nullopt;
      if (extent < 0) unknown = loop;
      else if (__builtin_mul_overflow(known, extent, &known)) return std::nullopt;
    }
    if (unknown >= 0) {
      if (known == 0 || dims[axis] % known != 0) return std::nullopt;
      extents[static_cast<std::size_t>(unknown)] = dims[axis] / known;
    } else if (known != dims[axis]) {
      return std::nullopt;
    }
  }
  return extents;
}

// Where one step of each loop leads in a contiguous operand (windows: their outer and inner loops).
std::vector<std::int64_t> loop_steps(const IterationSpace& space, const OperandMap& operand, std::span<const std::int64_t> dims,
                                     const Dims& extents) {
  std::vector<std::int64_t> steps(space.loops.size(), 0);
  const Dims strides = row_major_strides(dims);
  for (std::size_t axis = 0; axis < dims.size(); ++axis) {
    const AxisMap& map = operand.axes[axis];
    if (map.kind == AxisMap::Kind::window) {
      steps[static_cast<std::size_t>(map.loops[0])] += map.stride * strides[axis];
      steps[static_cast<std::size_t>(map.loops[1])] += map.dilation * strides[axis];
      continue;
    }
    std::int64_t step = strides[axis];
    for (std::size_t i = map.loops.size(); i-- > 0;) {
      const auto loop = static_cast<std::size_t>(map.loops[i]);
      steps[loop] += step;
      step *= extents[loop];
    }
  }
  return steps;
}

// The loops of one part, outermost first: a row-major index over them.
struct Nest {
  std::vector<std::size_t> loops;
  std::int64_t size = 1;
  // The loops' indices at a position.
  void at(std::int64_t position, const Dims& extents, std::vector<std::int64_t>& index) const {
    for (std::size_t i = loops.size(); i-- > 0;) {
      index[loops[i]] = position % extents[loops[i]];
      position /= extents[loops[i]];
    }
  }
};

std::optional<Nest> nest_of(const Roles& roles, Part part, const Dims& extents) {
  Nest nest;
  for (std::size_t i = 0; i < roles.of.size(); ++i) {
    if (roles.of[i] != part) continue;
    nest.loops.push_back(i);
    if (extents[i] < 0 || __builtin_mul_overflow(nest.size, extents[i], &nest.size)) return std::nullopt;
  }
  return nest;
}

std::vector<std::int64_t> offsets(const Nest& nest, const Dims& extents, const std::vector<std::int64_t>& steps) {
  std::vector<std::int64_t> result, index(extents.size(), 0);
  for (std::int64_t position = 0; position < nest.size; ++position) {
    nest.at(position, extents, index);
    std::int64_t offset = 0;
    for (const std::size_t loop : nest.loops) offset += index[loop] * steps[loop];
    result.push_back(offset);
  }
  return result;
}

// One windowed axis: which of the row's elements lie inside the image.
struct WindowedAxis {
  std::size_t outer = 0;
  std::int64_t stride = 1, pad_begin = 0, dim = 0;
  std::vector<std::int64_t> displacement;  // by element of the row: tap * dilation
  std::int64_t reach = 0;                  // the largest
};

}  // namespace

std::optional<ProductView> product_view(const IterationSpace& space, std::span<const std::int64_t> weight_dims) {
  const auto roles = roles_of(space);
  if (!roles || element_count(weight_dims).value_or(0) == 0) return std::nullopt;
  const OperandMap& weight = space.inputs[1];
  if (!std::all_of(weight.axes.begin(), weight.axes.end(), reads_plainly)) return std::nullopt;
  const auto extents = extents_at(space, weight, weight_dims);
  if (!extents) return std::nullopt;
  const auto groups = nest_of(*roles, Part::group, *extents), channels = nest_of(*roles, Part::channel, *extents),
             reduced = nest_of(*roles, Part::reduced, *extents);
  if (!groups || !channels || !reduced) return std::nullopt;
  const auto steps = loop_steps(space, weight, weight_dims, *extents);
  ProductView view;
  view.groups = groups->size;
  view.channels = channels->size;
  view.k = reduced->size;
  view.group_offset = offsets(*groups, *extents, steps);
  view.channel_offset = offsets(*channels, *extents, steps);
  view.k_offset = offsets(*reduced, *extents, steps);
  return view;
}

std::optional<GatheredRows> gather_rows(const IterationSpace& space, const Tensor& operand0, std::int64_t positions,
                                        std::uint64_t seed) {
  const auto roles = roles_of(space);
  if (!roles || !operand0.defined() || operand0.dtype() == DType::string || positions < 1) return std::nullopt;
  const OperandMap& operand = space.inputs[0];
  const Dims& dims = operand0.dims();
  const auto extents = extents_at(space, operand, dims);
  if (!extents) return std::nullopt;
  const auto groups = nest_of(*roles, Part::group, *extents), rows = nest_of(*roles, Part::row, *extents),
             reduced = nest_of(*roles, Part::reduced, *extents);
  if (!groups || !rows || !reduced) return std::nullopt;
  GatheredRows gathered;
  gathered.groups = groups->size;
  gathered.rows = std::min(rows->size, positions);
  gathered.k = reduced->size;
  const auto count = element_count(Dims{gathered.groups, gathered.rows, gathered.k});
  if (!count || *count > kMaxGathered) return std::nullopt;
  gathered.values.resize(static_cast<std::size_t>(*count));
  if (*count == 0) return gathered;

  // The taps along each windowed axis, by element of a row.
  std::vector<WindowedAxis> windows;
  std::vector<std::int64_t> index(extents->size(), 0);
  std::int64_t padding = 0;  // in elements of the tensor, before its first
  const Dims strides = row_major_strides(dims);
  for (std::size_t axis = 0; axis < dims.size(); ++axis) {
    const AxisMap& map = operand.axes[axis];
    if (map.kind != AxisMap::Kind::window) continue;
    if (map.loops.size() != 2) return std::nullopt;
    const auto outer = static_cast<std::size_t>(map.loops[0]), inner = static_cast<std::size_t>(map.loops[1]);
    if (roles->of[outer] == Part::reduced || roles->of[inner] != Part::reduced) return std::nullopt;
    WindowedAxis window{outer, map.stride, map.pad_begin, dims[axis], {}, (*extents)[inner] - 1};
    if (__builtin_mul_overflow(window.reach, map.dilation, &window.reach)) return std::nullopt;
    for (std::int64_t i = 0; i < gathered.k; ++i) {
      reduced->at(i, *extents, index);
      window.displacement.push_back(index[inner] * map.dilation);
    }
    padding += map.pad_begin * strides[axis];
    windows.push_back(std::move(window));
  }
  const auto steps = loop_steps(space, operand, dims, *extents);
  const std::vector<std::int64_t> group_offset = offsets(*groups, *extents, steps), k_offset = offsets(*reduced, *extents, steps);
  std::vector<float> converted;
  if (operand0.dtype() != DType::float32) converted = operand0.as_floats();
  const std::span<const float> x = operand0.dtype() == DType::float32 ? operand0.values<float>() : converted;

  Random random(seed);
  // Elements of a row that lie inside the image; all do where `whole`. Groups share them but where windows move with the group.
  std::vector<std::size_t> inside;
  bool whole = true;
  const auto look = [&] {
    whole = true;
    for (const WindowedAxis& window : windows) {
      const std::int64_t first = index[window.outer] * window.stride - window.pad_begin;
      whole = whole && first >= 0 && first + window.reach < window.dim;
    }
    if (whole) return;
    inside.clear();
    for (std::size_t i = 0; i < k_offset.size(); ++i) {
      const bool within = std::all_of(windows.begin(), windows.end(), [&](const WindowedAxis& window) {
        const std::int64_t at = index[window.outer] * window.stride - window.pad_begin + window.displacement[i];
        return at >= 0 && at < window.dim;
      });
      if (within) inside.push_back(i);
    }
  };
  const bool by_group = std::any_of(windows.begin(), windows.end(), [&](const WindowedAxis& window) {
    return roles->of[window.outer] == Part::group;
  });
  for (std::int64_t r = 0; r < gathered.rows; ++r) {
    std::int64_t position = r;
    if (gathered.rows < rows->size) {
      // [r * n / m, (r + 1) * n / m) without the overflow of r * n.
      const std::int64_t part = rows->size / gathered.rows, rest = rows->size % gathered.rows;
      const std::int64_t begin = r * part + r * rest / gathered.rows, end = (r + 1) * part + (r + 1) * rest / gathered.rows;
      position = begin + static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(end - begin)));
    }
    rows->at(position, *extents, index);
    std::int64_t origin = -padding;
    for (const std::size_t loop : rows->loops) origin += index[loop] * steps[loop];
    if (!by_group) look();
    for (std::int64_t g = 0; g < gathered.groups; ++g) {
      if (by_group) {
        groups->at(g, *extents, index);
        look();
      }
      const std::int64_t base = origin + group_offset[static_cast<std::size_t>(g)];
      float* out = gathered.values.data() + (g * gathered.rows + r) * gathered.k;
      if (whole) {
        for (std::size_t i = 0; i < k_offset.size(); ++i) out[i] = x[static_cast<std::size_t>(base + k_offset[i])];
      } else {
        for (const std::size_t i : inside) out[i] = x[static_cast<std::size_t>(base + k_offset[i])];
      }
    }
  }
  return gathered;
}

IterationSpace with_operands_swapped(IterationSpace space) {
  if (space.inputs.size() > 1) std::swap(space.inputs[0], space.inputs[1]);
  return space;
}

namespace {

// The facts of a node whose operands have given types.
class FactsAt final : public FactsContext {
 public:
  FactsAt(const Node& node, std::int64_t opset, std::vector<Type> inputs, std::vector<const Tensor*> constants,
          std::vector<Type> outputs)
      : node_(node), opset_(opset), inputs_(std::move(inputs)), constants_(std::move(constants)), outputs_(std::move(outputs)) {}
  const Node& node() const override { return node_; }
  std::int64_t opset() const override { return opset_; }
  bool has_input(std::size_t i) const override { return i < node_.inputs.size() && node_.inputs[i].valid(); }
  const Type& input_type(std::size_t i) const override { return i < inputs_.size() ? inputs_[i] : unknown(); }
  const Tensor* input_constant(std::size_t i) const override { return i < constants_.size() ? constants_[i] : nullptr; }
  const Type& output_type(std::size_t i) const override { return i < outputs_.size() ? outputs_[i] : unknown(); }

 private:
  static const Type& unknown() {
    static const Type type;
    return type;
  }
  const Node& node_;
  std::int64_t opset_;
  std::vector<Type> inputs_;
  std::vector<const Tensor*> constants_;
  std::vector<Type> outputs_;
};

}  // namespace

IterationSpace space_at(const Model& model, const Graph& graph, NodeId id, std::size_t operand, std::span<const std::int64_t> dims) {
  const Node& node = graph.node(id);
  const OpRecord* record = find_op(node);
  if (record == nullptr || record->facts == nullptr || record->infer == nullptr) return {};
  std::vector<Type> inputs;
  std::vector<const Tensor*> constants;
  for (std::size_t i = 0; i < node.inputs.size(); ++i) {
    inputs.push_back(node.inputs[i].valid() ? graph.value(node.inputs[i]).type : Type());
    constants.push_back(graph.constant(node.inputs[i]));
    if (i == operand) inputs.back() = Type::tensor(inputs.back().dtype, Dims(dims.begin(), dims.end()));
  }
  const std::int64_t opset = model.opset(node.domain);
  auto outputs = infer_node(node, opset, inputs, constants);
  if (!outputs) return {};
  return record->facts(FactsAt(node, opset, std::move(inputs), std::move(constants), std::move(*outputs))).space;
}

}  // namespace bevel::ops
