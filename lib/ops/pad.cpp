// Pad: pads and value are attributes in opset 2 and inputs from 11 on; axes (18) say which axes the pads are for.
#include "lib/ops/pad.h"

#include "lib/ops/downgrade.h"
#include "lib/ops/lower_functions.h"
#include "lib/ops/tensor_family.h"

namespace bevel::ops {

Outputs evaluate_pad(const EvalContext& ctx);  // pad_evaluate.cpp

Result<std::vector<AxisPads>> pads_per_axis(std::span<const std::int64_t> pads, const std::optional<std::vector<std::int64_t>>& axes,
                                            std::size_t rank) {
  std::vector<std::int64_t> list(rank);
  for (std::size_t i = 0; i < rank; ++i) list[i] = static_cast<std::int64_t>(i);
  if (axes) {
    BEVEL_TRY(list, normalize_axes(*axes, rank));
  }
  if (pads.size() != 2 * list.size()) {
    return fail_operand(1, "pads", "has {} entries, expected {} (begin and end of {} axes)", pads.size(), 2 * list.size(), list.size());
  }
  std::vector<AxisPads> result(rank);
  for (std::size_t i = 0; i < list.size(); ++i) {
    result[static_cast<std::size_t>(list[i])] = {pads[i], pads[i + list.size()]};
  }
  return result;
}

Result<std::int64_t> padded_extent(std::int64_t extent, const AxisPads& pads) {
  const auto begun = checked_add(extent, pads.begin);
  const auto total = begun ? checked_add(*begun, pads.end) : std::nullopt;
  if (!total || *total < 0) {
    return fail_operand(1, "pads", "{} and {} on an axis of {} elements give no valid extent", pads.begin, pads.end, extent);
  }
  return *total;
}

namespace {

Status infer_pad(InferContext& ctx) {
  const Shape& input = input_shape(ctx, 0);
  if (!input.has_rank) {
    set_output_like_input(ctx, {});
    return {};
  }
  const auto pads = all_ints(ctx, 1);
  const auto axes = ctx.has_input(3) ? all_ints(ctx, 3) : std::nullopt;
  Shape result = unknown_dims(input.rank());
  if (pads && (!ctx.has_input(3) || axes)) {
    BEVEL_TRY(const auto per_axis, pads_per_axis(*pads, axes, input.rank()));
    for (std::size_t i = 0; i < input.rank(); ++i) {
      if (per_axis[i].begin == 0 && per_axis[i].end == 0) {
        result.dims[i] = input.dims[i];
      } else if (input.dims[i].known()) {
        BEVEL_TRY(const std::int64_t extent, padded_extent(input.dims[i].value, per_axis[i]));
        result.dims[i] = Dim(extent);
      }
    }
  }
  set_output_like_input(ctx, std::move(result));
  return {};
}

Facts pad_facts(const FactsContext& ctx) {
  Facts facts = move_facts({}, LayoutRule::follow);
  const Shape& in = input_shape(ctx, 0);
  const Shape& out = output_shape(ctx, 0);
  const auto pads = constant_ints(ctx.input_constant(1));
  const auto axes = constant_ints(ctx.input_constant(3));
  const std::string mode = attr_string(ctx.node(), "mode", "constant").value_or("");
  if (mode == "constant") {
    if (!ctx.has_input(2)) {
      facts.value.fill = 0;
    } else if (const Tensor* value = ctx.input_constant(2); value != nullptr && value->size() == 1 && value->dtype() != DType::string) {
      facts.value.fill = value->as_double(0);
    } else {
      facts.value.quant = QuantRole::none;  // a fill that is not known cannot be held representable
    }
  }
  if (!in.has_rank || !out.has_rank || !pads || (ctx.has_input(3) && !axes)) return facts;
  const auto per_axis = pads_per_axis(*pads, axes, in.rank());
  if (!per_axis) return facts;
  IterationSpace& space = facts.space;
  space.kind = OpKind::move;
  space.loops = loops_of(out);
  space.outputs.push_back(follow_all(out.rank()));
  OperandMap map = follow_all(in.rank());
  facts.value.identity = true;
  for (std::size_t i = 0; i < in.rank(); ++i) {
    const AxisPads& axis = (*per_axis)[i];
    if (axis.begin == 0 && axis.end == 0) continue;
    facts.value.identity = false;
    map.axes[i] = mode == "constant" ? AxisMap::segment(static_cast<int>(i), axis.begin) : AxisMap();
  }
  space.inputs.push_back(std::move(map));
  return facts;
}

// Opset 11 made the pads and the value inputs.
Status upgrade_pad(Model& model, NodeId node, int from) {
  if (from != 10) return {};
  if (!has_attr(model.graph.node(node), "pads")) return fail_input("required attribute 'pads' is missing");
  BEVEL_TRY_STATUS(attribute_to_input(model, node, "pads", 1));
  if (!has_attr(model.graph.node(node), "value")) return {};
  BEVEL_TRY(const float value, attr_float(model.graph.node(node), "value", 0));
  model.graph.mutable_node(node).remove_attribute("value");
  if (value == 0) return {};
  // The value has the data's type; without it, float32 is what opset 2 models hold.
  const Type& type = model.graph.value(model.graph.node(node).inputs[0]).type;
  Tensor fill = Tensor::zeros(type.is_tensor() && is_floating(type.dtype) ? type.dtype : DType::float32, {});
  fill.set_from_double(0, static_cast<double>(value));
  set_input(model, node, 2, "value", std::move(fill));
  return {};
}

// Opset 19 has the mode wrap, 18 the axes.
Status downgrade_pad(Model& model, NodeId id, int from) {
  Graph& graph = model.graph;
  BEVEL_TRY(const std::string mode, attr_string(graph.node(id), "mode", "constant"));
  if (from == 19 && mode == "wrap") return fail_input("attribute 'mode' is wrap");
  if (from == 18) {
    if (graph.node(id).inputs.size() < 4 || !graph.node(id).inputs[3].valid()) {
      drop_inputs(model, id, std::min<std::size_t>(graph.node(id).inputs.size(), 3));
      return {};
    }
    const auto pads = constant_operand(model, id, 1), axes = constant_operand(model, id, 3);
    const auto amounts = constant_ints(pads ? &*pads : nullptr), along = constant_ints(axes ? &*axes : nullptr);
    const Shape& shape = graph.value(graph.node(id).inputs[0]).type.shape;
    if (!amounts || !along || !shape.has_rank)
      return fail_input("pads and axes must be constant and the rank known, to give amounts for every axis");
    BEVEL_TRY(const auto per_axis, pads_per_axis(*amounts, along, shape.rank()));
    std::vector<std::int64_t> all(2 * per_axis.size());
    for (std::size_t i = 0; i < per_axis.size(); ++i) {
      all[i] = per_axis[i].begin;
      all[i + per_axis.size()] = per_axis[i].end;
    }
    drop_inputs(model, id, graph.node(id).inputs[2].valid() ? 3 : 2);
    set_input(model, id, 1, "pads", Tensor::of<std::int64_t>({static_cast<std::int64_t>(all.size())}, all));
    return {};
  }
  if (from != 11) return {};
  if (graph.node(id).inputs.size() > 2 && graph.node(id).inputs[2].valid()) {
    const auto value = constant_operand(model, id, 2);
    if (!value || value->size() != 1 || !is_floating(value->dtype())) return fail_operand(2, "value", "must be one constant float to become an attribute");
    graph.mutable_node(id).set_attribute("value", static_cast<float>(value->as_double(0)));
  }
  return input_to_attribute(model, id, "pads", 1);
}

}  // namespace

extern const OpRecord pad_record{.name = "Pad", .max_inputs = 4, .infer = infer_pad, .facts = pad_facts, .evaluate = evaluate_pad,
                    .upgrade = upgrade_pad, .downgrade = downgrade_pad, .lower = lower_pad};

}  // namespace bevel::ops
