// Concat and Split: the two sides of one loop cut into segments.
#include "lib/ops/slice.h"
#include "lib/ops/downgrade.h"
#include "lib/ops/lower_functions.h"
#include "lib/ops/tensor_family.h"

namespace bevel::ops {

// concat_evaluate.cpp
Outputs evaluate_concat(const EvalContext& ctx);
Outputs evaluate_split(const EvalContext& ctx);

Result<std::vector<std::int64_t>> equal_parts(std::int64_t extent, std::int64_t parts) {
  if (parts <= 0) return fail_input("an axis of {} elements cannot be split into {} parts", extent, parts);
  const std::int64_t size = extent / parts + (extent % parts != 0);
  std::vector<std::int64_t> sizes;
  for (std::int64_t left = extent, i = 0; i < parts; ++i) {
    const std::int64_t part = left < size ? left : size;
    sizes.push_back(part);
    left -= part;
  }
  return sizes;
}

namespace {

Status infer_concat(InferContext& ctx) {
  BEVEL_TRY(const std::int64_t given, require_int(ctx.node(), "axis"));
  DType dtype = DType::undefined;
  bool ranks_known = true;
  Shape shape;
  std::size_t axis = 0;
  for (std::size_t i = 0; i < ctx.input_count(); ++i) {
    const DType other = input_dtype(ctx, i);
    if (dtype == DType::undefined) dtype = other;
    if (other != DType::undefined && other != dtype) {
      return fail_operand(i, "operand", "element type is {}, but an earlier operand has {}", dtype_name(other), dtype_name(dtype));
    }
    const Shape& operand = input_shape(ctx, i);
    if (!operand.has_rank) {
      ranks_known = false;
      continue;
    }
    if (!shape.has_rank) {
      BEVEL_TRY(const std::int64_t normal, normalize_axis(given, operand.rank()));
      axis = static_cast<std::size_t>(normal);
      shape = operand;
      continue;
    }
    if (operand.rank() != shape.rank()) {
      return fail_operand(i, "operand", "rank is {}, but an earlier operand has rank {}", operand.rank(), shape.rank());
    }
    for (std::size_t a = 0; a < shape.rank(); ++a) {
      if (a == axis) {
        Dim& total = shape.dims[a];
        const Dim& part = operand.dims[a];
        const auto sum = total.known() && part.known() ? checked_add(total.value, part.value) : std::nullopt;
        // A symbol plus nothing stays that symbol.
        if (part.known() && part.value == 0) continue;
        if (total.known() && total.value == 0) total = part;
        else total = sum ? Dim(*sum) : Dim();
      } else {
        auto dim = unify_dims(shape.dims[a], operand.dims[a]);
        if (!dim) return fail_operand(i, "operand", "axis {} outside the concatenated one: {}", a, dim.error().message);
        shape.dims[a] = *dim;
      }
    }
  }
  for (Dim& dim : shape.dims) dim.denotation.clear();
  if (!ranks_known && shape.has_rank) shape.dims[axis] = Dim();
  ctx.set_output(0, Type::tensor(dtype, shape));
  if (shape.has_rank && shape.rank() == 1 && is_integer(dtype)) {
    PartialInts ints;
    for (std::size_t i = 0; i < ctx.input_count(); ++i) {
      const auto part = ctx.input_ints(i);
      const Shape& operand = input_shape(ctx, i);
      if (part) {
        ints.insert(ints.end(), part->begin(), part->end());
      } else if (operand.has_rank && operand.dims[0].known() && operand.dims[0].value <= 64) {
        ints.resize(ints.size() + static_cast<std::size_t>(operand.dims[0].value));
      } else {
        return {};
      }
    }
    ctx.set_output_ints(0, std::move(ints));
  }
  return {};
}

Facts concat_facts(const FactsContext& ctx) {
  const std::size_t count = ctx.node().inputs.size();
  Facts facts = move_facts({}, LayoutRule::follow, count);
  const Shape& out = output_shape(ctx, 0);
  const auto axis = normalize_axis(attr_int(ctx.node(), "axis", 0).value_or(0), out.rank());
  if (!out.has_rank || !axis) return facts;
  IterationSpace& space = facts.space;
  space.kind = OpKind::move;
  space.loops = loops_of(out);
  space.outputs.push_back(follow_all(out.rank()));
  std::int64_t begin = 0;
  for (std::size_t i = 0; i < count; ++i) {
    OperandMap map = follow_all(out.rank());
    const std::int64_t size = extent(input_shape(ctx, i), static_cast<std::size_t>(*axis));
    map.axes[static_cast<std::size_t>(*axis)] = begin < 0 ? AxisMap() : AxisMap::segment(static_cast<int>(*axis), begin);
    begin = begin < 0 || size < 0 ? -1 : begin + size;
    space.inputs.push_back(std::move(map));
  }
  facts.value.identity = count == 1;
  return facts;
}

Status infer_split(InferContext& ctx) {
  BEVEL_TRY(const std::int64_t given, attr_int(ctx.node(), "axis", 0));
  BEVEL_TRY(const ListOperand split, infer_list(ctx, 1, "split"));
  const Shape& shape = input_shape(ctx, 0);
  const std::size_t count = ctx.node().outputs.size();
  std::optional<std::vector<std::int64_t>> sizes = split.values;
  std::size_t axis = 0;
  if (shape.has_rank) {
    BEVEL_TRY(const std::int64_t normal, normalize_axis(given, shape.rank()));
    axis = static_cast<std::size_t>(normal);
    if (!split.present && shape.dims[axis].known()) {
      BEVEL_TRY(sizes, equal_parts(shape.dims[axis].value, static_cast<std::int64_t>(count)));
    }
  }
  if (sizes && sizes->size() != count) {
    return fail_input("{} outputs, but 'split' has {} entries", count, sizes->size());
  }
  const auto ints = shape.has_rank && shape.rank() == 1 ? ctx.input_ints(0) : std::nullopt;
  std::size_t begin = 0;
  for (std::size_t i = 0; i < count; ++i) {
    Shape part = shape;
    for (Dim& dim : part.dims) dim.denotation.clear();
    if (part.has_rank) part.dims[axis] = sizes ? Dim((*sizes)[i]) : Dim();
    if (sizes && (*sizes)[i] < 0) return fail_input("'split' has the negative entry {}", (*sizes)[i]);
    ctx.set_output(i, Type::tensor(input_dtype(ctx, 0), std::move(part)));
    if (!ints || !sizes) continue;
    const auto size = static_cast<std::size_t>((*sizes)[i]);
    if (begin <= ints->size() && size <= ints->size() - begin) {
      const auto first = ints->begin() + static_cast<std::ptrdiff_t>(begin);
      ctx.set_output_ints(i, PartialInts(first, first + static_cast<std::ptrdiff_t>(size)));
      begin += size;
    }
  }
  return {};
}

Facts split_facts(const FactsContext& ctx) {
  Facts facts = move_facts({}, LayoutRule::follow);
  const Shape& in = input_shape(ctx, 0);
  const auto axis = normalize_axis(attr_int(ctx.node(), "axis", 0).value_or(0), in.rank());
  if (!in.has_rank || !axis) return facts;
  IterationSpace& space = facts.space;
  space.kind = OpKind::move;
  space.loops = loops_of(in);
  space.inputs.push_back(follow_all(in.rank()));
  std::int64_t begin = 0;
  for (std::size_t i = 0; i < ctx.node().outputs.size(); ++i) {
    OperandMap map = follow_all(in.rank());
    const std::int64_t size = extent(output_shape(ctx, i), static_cast<std::size_t>(*axis));
    map.axes[static_cast<std::size_t>(*axis)] = begin < 0 ? AxisMap() : AxisMap::segment(static_cast<int>(*axis), begin);
    begin = begin < 0 || size < 0 ? -1 : begin + size;
    space.outputs.push_back(std::move(map));
  }
  return facts;
}

bool gives_sizes(const Node& node) { return node.inputs.size() > 1 && node.inputs[1].valid(); }

// Opset 13 made the sizes an input; 18 counts equal parts where there are no sizes, and lets the last one be smaller.
Status upgrade_split(Model& model, NodeId id, int from) {
  if (from == 12) return attribute_to_input(model, id, "split", 1);
  if (from == 17 && !gives_sizes(model.graph.node(id))) {
    const auto parts = static_cast<std::int64_t>(model.graph.node(id).outputs.size());
    model.graph.mutable_node(id).set_attribute("num_outputs", parts);
  }
  return {};
}

Status downgrade_split(Model& model, NodeId id, int from) {
  if (from == 13) return input_to_attribute(model, id, "split", 1);
  if (from != 18 || gives_sizes(model.graph.node(id))) return {};
  Node& node = model.graph.mutable_node(id);
  BEVEL_TRY(const std::int64_t given, attr_int(node, "axis", 0));
  if (node.inputs.empty() || !node.inputs[0].valid()) return fail_input("input 0 is absent");
  const Type& type = model.graph.value(node.inputs[0]).type;
  const auto axis = normalize_axis(given, type.shape.rank());
  const Dim extent = axis ? type.shape.dims[static_cast<std::size_t>(*axis)] : Dim();
  if (!extent.known()) return fail_input("the extent of axis {} is not known, so that its parts may be unequal", given);
  const auto parts = static_cast<std::int64_t>(node.outputs.size());
  node.remove_attribute("num_outputs");
  if (parts == 0 || extent.value % parts == 0) return {};
  BEVEL_TRY(const std::vector<std::int64_t> sizes, equal_parts(extent.value, parts));
  set_input(model, id, 1, "split", Tensor::of<std::int64_t>({parts}, sizes));
  return {};
}

}  // namespace

extern const OpRecord concat_record{.name = "Concat", .max_inputs = -1, .infer = infer_concat, .facts = concat_facts,
                       .evaluate = evaluate_concat, .lower = lower_concat};
extern const OpRecord split_record{.name = "Split", .max_inputs = 2, .max_outputs = -1, .infer = infer_split, .facts = split_facts,
                      .evaluate = evaluate_split, .upgrade = upgrade_split,
                      .downgrade = downgrade_split, .lower = lower_split};

}  // namespace bevel::ops
