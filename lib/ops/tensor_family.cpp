#include "lib/ops/tensor_family.h"

namespace bevel::ops {

std::optional<std::vector<std::int64_t>> constant_ints(const Tensor* tensor) {
  if (tensor == nullptr || tensor->rank() > 1 || !(is_integer(tensor->dtype()) || tensor->dtype() == DType::boolean)) {
    return std::nullopt;
  }
  return tensor->as_int64s();
}

namespace {
constexpr std::int64_t kMaxKnownInts = 4096;  // as inference itself follows: more are no shape, axes or indices, but data
}

std::optional<KnownInts> known_ints(const InferContext& ctx, std::size_t i) {
  if (const Tensor* tensor = ctx.input_constant(i); tensor != nullptr && tensor->size() > kMaxKnownInts) return std::nullopt;
  if (const auto constant = constant_ints(ctx.input_constant(i))) return KnownInts(constant->begin(), constant->end());
  const auto partial = ctx.input_ints(i);
  if (!partial) return std::nullopt;
  KnownInts result;
  for (const Dim& dim : *partial) result.push_back(dim.known() ? std::optional(dim.value) : std::nullopt);
  return result;
}

std::optional<std::vector<std::int64_t>> all_ints(const InferContext& ctx, std::size_t i) {
  const auto known = known_ints(ctx, i);
  if (!known) return std::nullopt;
  std::vector<std::int64_t> result;
  for (const auto& element : *known) {
    if (!element) return std::nullopt;
    result.push_back(*element);
  }
  return result;
}

Result<ListOperand> infer_list(const InferContext& ctx, std::size_t i, std::string_view name) {
  if (ctx.has_input(i)) return ListOperand{true, all_ints(ctx, i)};
  if (!has_attr(ctx.node(), name)) return ListOperand{};
  BEVEL_TRY(auto values, attr_ints(ctx.node(), name));
  return ListOperand{true, std::move(values)};
}

Result<ListOperand> facts_list(const FactsContext& ctx, std::size_t i, std::string_view name) {
  if (ctx.has_input(i)) return ListOperand{true, constant_ints(ctx.input_constant(i))};
  if (!has_attr(ctx.node(), name)) return ListOperand{};
  BEVEL_TRY(auto values, attr_ints(ctx.node(), name));
  return ListOperand{true, std::move(values)};
}

Result<std::vector<std::int64_t>> evaluated_ints(const EvalContext& ctx, std::size_t i, std::string_view role) {
  const Tensor& tensor = ctx.tensor(i);
  if (tensor.dtype() != DType::int64 && tensor.dtype() != DType::int32) {
    return fail_operand(i, role, "element type is {}, expected int64 or int32", dtype_name(tensor.dtype()));
  }
  if (tensor.rank() > 1) return fail_operand(i, role, "rank is {}, expected 1", tensor.rank());
  return tensor.as_int64s();
}

Result<std::optional<std::vector<std::int64_t>>> evaluated_list(const EvalContext& ctx, std::size_t i,
                                                                std::string_view name) {
  if (ctx.has_input(i)) {
    BEVEL_TRY(auto values, evaluated_ints(ctx, i, name));
    return std::optional(std::move(values));
  }
  if (!has_attr(ctx.node(), name)) return std::optional<std::vector<std::int64_t>>();
  BEVEL_TRY(auto values, attr_ints(ctx.node(), name));
  return std::optional(std::move(values));
}

Result<std::int64_t> normal_index(std::int64_t index, std::int64_t extent) {
  if (index < -extent || index >= extent) {
    return fail_operand(1, "indices", "index {} is out of range for {} elements", index, extent);
  }
  return index < 0 ? index + extent : index;
}

void set_output_like_input(InferContext& ctx, Shape shape) {
  for (Dim& dim : shape.dims) dim.denotation.clear();
  ctx.set_output(0, Type::tensor(input_dtype(ctx, 0), std::move(shape)));
}

Shape unknown_dims(std::size_t rank) { return Shape(std::vector<Dim>(rank)); }

void set_input(Model& model, NodeId id, std::size_t index, std::string_view name, Tensor value) {
  Graph& graph = model.graph;
  const std::string wanted = fmt::format("{}_{}", graph.node(id).name, name);
  const ValueId constant = graph.add_constant(wanted, std::move(value));
  if (graph.node(id).inputs.size() <= index) graph.resize_inputs(id, index + 1);
  graph.set_operand(id, index, constant);
}

Status attribute_to_input(Model& model, NodeId id, std::string_view name, std::size_t index) {
  if (!has_attr(model.graph.node(id), name)) return {};
  BEVEL_TRY(auto values, attr_ints(model.graph.node(id), name));
  model.graph.mutable_node(id).remove_attribute(name);
  const auto count = static_cast<std::int64_t>(values.size());
  set_input(model, id, index, name, Tensor::of<std::int64_t>({count}, values));
  return {};
}

std::vector<Loop> loops_of(const Shape& shape) {
  std::vector<Loop> loops;
  for (const Dim& dim : shape.dims) loops.push_back({extent(dim), false});
  return loops;
}

OperandMap follow_all(std::size_t rank) {
  OperandMap map;
  for (std::size_t axis = 0; axis < rank; ++axis) map.axes.push_back(AxisMap::follow(static_cast<int>(axis)));
  return map;
}

Facts move_facts(IterationSpace space, LayoutRule layout, std::size_t operands) {
  Facts facts;
  facts.space = std::move(space);
  facts.value.quant = QuantRole::same_scale;
  facts.value.layout = layout;
  for (std::size_t i = 0; i < operands; ++i) facts.value.data_operands.push_back(static_cast<int>(i));
  facts.value.monotone = operands == 1;
  return facts;
}

IterationSpace reshape_space(const Shape& input, const Shape& output) {
  IterationSpace space;
  if (!input.has_rank || !output.has_rank) return space;
  space.kind = OpKind::move;
  OperandMap in, out;
  in.axes.resize(input.rank());
  out.axes.resize(output.rank());
  const auto same = [](const Dim& a, const Dim& b) {
    return a.known() ? a == b || (b.known() && a.value == b.value) : a.named() && b.symbol == a.symbol;
  };
  // Walks both shapes from the outside; segments with equal products are factors of each other.
  std::size_t i = 0, o = 0;
  while (i < input.rank() || o < output.rank()) {
    if (i < input.rank() && o < output.rank() && same(input.dims[i], output.dims[o])) {
      const int loop = static_cast<int>(space.loops.size());
      space.loops.push_back({extent(output.dims[o]), false});
      in.axes[i++] = AxisMap::follow(loop);
      out.axes[o++] = AxisMap::follow(loop);
      continue;
    }
    const auto is_one = [](const Shape& shape, std::size_t axis) {
      return axis < shape.rank() && shape.dims[axis].known() && shape.dims[axis].value == 1;
    };
    if (is_one(input, i)) {
      in.axes[i++] = AxisMap::broadcast();
      continue;
    }
    if (is_one(output, o)) {
      out.axes[o++] = AxisMap::broadcast();
      continue;
    }
    const std::size_t i0 = i, o0 = o;
    std::int64_t a = 1, b = 1;
    bool known = i < input.rank() && o < output.rank() && input.dims[i].known() && output.dims[o].known();
    if (known) {
      a = input.dims[i++].value;
      b = output.dims[o++].value;
      while (known && a != b) {
        const Shape& shape = a < b ? input : output;
        std::size_t& axis = a < b ? i : o;
        std::int64_t& total = a < b ? a : b;
        known = axis < shape.rank() && shape.dims[axis].known() && shape.dims[axis].value > 0;
        if (!known) break;
        const auto next = checked_mul(total, shape.dims[axis++].value);
        known = next.has_value();
        if (known) total = *next;
      }
    }
    if (!known) {  // the rest stays opaque
      for (std::size_t axis = i0; axis < input.rank(); ++axis) in.axes[axis] = AxisMap();
      for (std::size_t axis = o0; axis < output.rank(); ++axis) out.axes[axis] = AxisMap();
      break;
    }
    const auto add_factors = [&space](const Shape& many, std::size_t from, std::size_t to, OperandMap& many_map,
                                      AxisMap& one) {
      std::vector<int> loops;
      for (std::size_t axis = from; axis < to; ++axis) {
        loops.push_back(static_cast<int>(space.loops.size()));
        many_map.axes[axis] = AxisMap::follow(loops.back());
        space.loops.push_back({extent(many.dims[axis]), false});
      }
      one = AxisMap::factors(std::move(loops));
    };
    if (i - i0 == 1) {
      add_factors(output, o0, o, out, in.axes[i0]);
    } else if (o - o0 == 1) {
      add_factors(input, i0, i, in, out.axes[o0]);
    }
  }
  space.inputs.push_back(std::move(in));
  space.outputs.push_back(std::move(out));
  return space;
}

}  // namespace bevel::ops
