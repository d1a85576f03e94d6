// Slice: starts, ends, axes and steps are attributes in opset 1 (no steps) and inputs from 10 on.
#include "lib/ops/slice.h"

#include <algorithm>
#include <limits>
#include <numeric>

#include "lib/ops/downgrade.h"
#include "lib/ops/lower_functions.h"
#include "lib/ops/tensor_family.h"

namespace bevel::ops {

Outputs evaluate_slice(const EvalContext& ctx);  // slice_evaluate.cpp

// ONNX Slice-13: negative indices count from the end, then both are clamped to what the direction can reach.
SlicedAxis slice_axis(std::int64_t extent, std::int64_t start, std::int64_t end, std::int64_t step) {
  const auto wrap = [extent](std::int64_t index) {
    return index < 0 ? checked_add(index, extent).value_or(std::numeric_limits<std::int64_t>::min()) : index;
  };
  start = wrap(start);
  end = wrap(end);
  SlicedAxis result;
  if (step > 0) {
    start = std::clamp<std::int64_t>(start, 0, extent);
    end = std::clamp<std::int64_t>(end, 0, extent);
    if (end > start) result.count = (end - start - 1) / step + 1;
  } else {
    if (extent == 0) return result;
    start = std::clamp<std::int64_t>(start, 0, extent - 1);
    end = std::clamp<std::int64_t>(end, -1, extent - 1);
    // -(step + 1) + 1 without overflow at the lowest step: as unsigned.
    const std::uint64_t stride = 0 - static_cast<std::uint64_t>(step);
    if (start > end) {
      result.count = static_cast<std::int64_t>(static_cast<std::uint64_t>(start - end - 1) / stride) + 1;
    }
  }
  result.start = start;
  // With at most one element the step is never taken; a huge one must not overflow an offset.
  result.step = result.count > 1 ? step : 1;
  return result;
}

namespace {

// Checks the lists against each other; axes default to 0, 1, ...
Result<std::vector<std::int64_t>> slice_axes(const std::optional<std::vector<std::int64_t>>& given, std::size_t count,
                                             std::size_t rank) {
  std::vector<std::int64_t> axes(count);
  std::iota(axes.begin(), axes.end(), 0);
  if (given) axes = *given;
  if (axes.size() != count) return fail_input("'axes' has {} entries, but 'starts' has {}", axes.size(), count);
  return normalize_axes(axes, rank);
}

Status infer_slice(InferContext& ctx) {
  const Shape& shape = input_shape(ctx, 0);
  if (!shape.has_rank) {
    set_output_like_input(ctx, {});
    return {};
  }
  const auto starts = known_ints(ctx, 1), ends = known_ints(ctx, 2);
  const auto axes_given = ctx.has_input(3) ? all_ints(ctx, 3) : std::nullopt;
  const auto steps = ctx.has_input(4) ? all_ints(ctx, 4) : std::nullopt;
  Shape result = unknown_dims(shape.rank());
  const bool axes_known = !ctx.has_input(3) || axes_given;
  if (!starts || !ends || !axes_known || starts->size() != ends->size()) {
    set_output_like_input(ctx, std::move(result));
    return {};
  }
  BEVEL_TRY(const auto axes, slice_axes(axes_given, starts->size(), shape.rank()));
  if (steps && steps->size() != axes.size()) {
    return fail_operand(4, "steps", "has {} entries, but 'starts' has {}", steps->size(), axes.size());
  }
  result = shape;
  bool exact = true;
  std::optional<SlicedAxis> only;
  for (std::size_t i = 0; i < axes.size(); ++i) {
    const auto axis = static_cast<std::size_t>(axes[i]);
    const bool step_known = !ctx.has_input(4) || steps;
    const std::int64_t step = steps ? (*steps)[i] : 1;
    if (step == 0) return fail_operand(4, "steps", "entry {} is 0", i);
    const auto start = (*starts)[i], end = (*ends)[i];
    const Dim dim = shape.dims[axis];
    result.dims[axis] = Dim();
    if (!start || !end || !step_known) {
      exact = false;
    } else if (dim.known()) {
      only = slice_axis(dim.value, *start, *end, step);
      result.dims[axis] = Dim(only->count);
    } else if (step == 1 && *start == 0 && *end >= std::numeric_limits<std::int32_t>::max()) {
      result.dims[axis] = dim;  // everything
    } else {
      exact = false;
    }
  }
  set_output_like_input(ctx, result);
  const auto ints = ctx.input_ints(0);
  if (ints && exact && only && shape.rank() == 1 && static_cast<std::int64_t>(ints->size()) == shape.dims[0].value) {
    PartialInts picked;
    for (std::int64_t i = 0; i < only->count; ++i) picked.push_back((*ints)[static_cast<std::size_t>(only->start + i * only->step)]);
    ctx.set_output_ints(0, std::move(picked));
  }
  return {};
}

Facts slice_facts(const FactsContext& ctx) {
  Facts facts = move_facts({}, LayoutRule::follow);
  const Shape& in = input_shape(ctx, 0);
  const auto starts = constant_ints(ctx.input_constant(1)), ends = constant_ints(ctx.input_constant(2));
  const auto axes_given = constant_ints(ctx.input_constant(3)), steps = constant_ints(ctx.input_constant(4));
  if (!in.has_rank || !starts || !ends || (ctx.has_input(3) && !axes_given) || (ctx.has_input(4) && !steps)) return facts;
  const auto axes = slice_axes(axes_given, starts->size(), in.rank());
  if (!axes || ends->size() != starts->size() || (steps && steps->size() != starts->size())) return facts;
  IterationSpace& space = facts.space;
  space.kind = OpKind::move;
  space.loops = loops_of(in);
  space.inputs.push_back(follow_all(in.rank()));
  OperandMap out = follow_all(in.rank());
  bool whole = true;
  for (std::size_t i = 0; i < axes->size(); ++i) {
    const auto axis = static_cast<std::size_t>((*axes)[i]);
    const std::int64_t step = steps ? (*steps)[i] : 1;
    AxisMap& map = out.axes[axis];
    map = AxisMap();
    if (step == 0 || !in.dims[axis].known()) {
      whole = false;
      continue;
    }
    const SlicedAxis sliced = slice_axis(in.dims[axis].value, (*starts)[i], (*ends)[i], step);
    if (step == 1) map = AxisMap::segment(static_cast<int>(axis), sliced.start);
    whole = whole && step == 1 && sliced.count == in.dims[axis].value;
  }
  space.outputs.push_back(std::move(out));
  facts.value.identity = whole;
  return facts;
}

// Opset 10 made the lists inputs.
Status upgrade_slice(Model& model, NodeId node, int from) {
  if (from != 9) return {};
  for (const std::string_view name : {"starts", "ends"}) {
    if (!has_attr(model.graph.node(node), name)) return fail_input("required attribute '{}' is missing", name);
  }
  BEVEL_TRY_STATUS(attribute_to_input(model, node, "starts", 1));
  BEVEL_TRY_STATUS(attribute_to_input(model, node, "ends", 2));
  return attribute_to_input(model, node, "axes", 3);
}

Status downgrade_slice(Model& model, NodeId id, int from) {
  if (from != 10) return {};
  const auto present = [&](std::size_t i) {
    return model.graph.node(id).inputs.size() > i && model.graph.node(id).inputs[i].valid();
  };
  if (present(4)) {
    const auto tensor = constant_operand(model, id, 4);
    const auto steps = constant_ints(tensor ? &*tensor : nullptr);
    if (!steps || std::any_of(steps->begin(), steps->end(), [](std::int64_t step) { return step != 1; }))
      return fail_operand(4, "steps", "must be a constant 1 for every axis, the only step of older models");
  }
  for (const std::size_t i : {std::size_t{1}, std::size_t{2}})
    if (!present(i)) return fail_input("input {} is absent", i);
  drop_inputs(model, id, 4);
  BEVEL_TRY_STATUS(input_to_attribute(model, id, "axes", 3));
  BEVEL_TRY_STATUS(input_to_attribute(model, id, "ends", 2));
  return input_to_attribute(model, id, "starts", 1);
}

}  // namespace

extern const OpRecord slice_record{.name = "Slice", .max_inputs = 5, .infer = infer_slice, .facts = slice_facts,
                      .evaluate = evaluate_slice, .upgrade = upgrade_slice,
                      .downgrade = downgrade_slice, .lower = lower_slice};

}  // namespace bevel::ops
