// Resize (10, 11, 13, 18, 19) and Upsample (7, 9), which upgrading turns into Resize.
#include "lib/ops/resize.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "lib/ops/downgrade.h"
#include "lib/ops/tensor_family.h"

namespace bevel::ops {

Outputs evaluate_resize(const EvalContext& ctx);  // resize_evaluate.cpp

namespace {

Status one_of(std::string_view name, const std::string& value, std::initializer_list<std::string_view> allowed) {
  if (std::find(allowed.begin(), allowed.end(), value) != allowed.end()) return {};
  return fail_input("attribute '{}' is '{}', which is not one of its {} values", name, printable(value), allowed.size());
}

// Extents beyond this are a mistake or an attack; floats hold them exactly.
constexpr float kMaxExtent = 16777216.0f;

}  // namespace

Result<ResizeAttributes> resize_attributes(const Node& node) {
  ResizeAttributes result;
  BEVEL_TRY(result.mode, attr_string(node, "mode", "nearest"));
  BEVEL_TRY(result.transformation, attr_string(node, "coordinate_transformation_mode", "half_pixel"));
  BEVEL_TRY(result.nearest_mode, attr_string(node, "nearest_mode", "round_prefer_floor"));
  BEVEL_TRY(result.policy, attr_string(node, "keep_aspect_ratio_policy", "stretch"));
  BEVEL_TRY_STATUS(one_of("mode", result.mode, {"nearest", "linear", "cubic"}));
  BEVEL_TRY_STATUS(one_of("coordinate_transformation_mode", result.transformation,
                          {"half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric",
                           "tf_crop_and_resize", "tf_half_pixel_for_nn"}));
  BEVEL_TRY_STATUS(one_of("nearest_mode", result.nearest_mode, {"round_prefer_floor", "round_prefer_ceil", "floor", "ceil"}));
  BEVEL_TRY_STATUS(one_of("keep_aspect_ratio_policy", result.policy, {"stretch", "not_larger", "not_smaller"}));
  BEVEL_TRY(result.cubic_a, attr_float(node, "cubic_coeff_a", -0.75f));
  BEVEL_TRY(result.extrapolation, attr_float(node, "extrapolation_value", 0.0f));
  BEVEL_TRY(result.exclude_outside, attr_flag(node, "exclude_outside", false));
  BEVEL_TRY(result.antialias, attr_flag(node, "antialias", false));
  if (has_attr(node, "axes")) {
    BEVEL_TRY(result.axes, attr_ints(node, "axes"));
  }
  return result;
}

Result<std::vector<ResizedAxis>> resize_axes(const ResizeAttributes& attributes, std::span<const std::int64_t> dims,
                                             const std::optional<std::vector<float>>& scales,
                                             const std::optional<std::vector<std::int64_t>>& sizes,
                                             const std::optional<std::vector<float>>& roi) {
  if (scales.has_value() == sizes.has_value()) return fail_input("exactly one of 'scales' and 'sizes' must be given");
  std::vector<std::int64_t> axes(dims.size());
  std::iota(axes.begin(), axes.end(), 0);
  if (attributes.axes) {
    BEVEL_TRY(axes, normalize_axes(*attributes.axes, dims.size()));
  }
  const std::size_t given = scales ? scales->size() : sizes->size();
  if (given != axes.size()) {
    return fail_input("'{}' has {} entries, expected {} (one per resized axis)", scales ? "scales" : "sizes", given, axes.size());
  }
  if (attributes.transformation == "tf_crop_and_resize" && (!roi || roi->size() != 2 * axes.size())) {
    return fail_operand(1, "roi", "tf_crop_and_resize needs {} entries", 2 * axes.size());
  }
  std::vector<ResizedAxis> result(dims.size());
  for (std::size_t i = 0; i < dims.size(); ++i) {
    result[i].input = result[i].output = dims[i];
    result[i].fractional_output = static_cast<float>(dims[i]);
  }
  std::optional<float> common;  // keep_aspect_ratio_policy
  for (std::size_t k = 0; sizes && k < axes.size(); ++k) {
    const std::int64_t size = (*sizes)[k], input = dims[static_cast<std::size_t>(axes[k])];
    if (size < 0 || static_cast<float>(size) > kMaxExtent) return fail_operand(3, "sizes", "entry {} is {}", k, size);
    if (input == 0) continue;
    const float scale = static_cast<float>(size) / static_cast<float>(input);
    if (attributes.policy == "not_larger") common = common ? std::min(*common, scale) : scale;
    if (attributes.policy == "not_smaller") common = common ? std::max(*common, scale) : scale;
  }
  for (std::size_t k = 0; k < axes.size(); ++k) {
    ResizedAxis& axis = result[static_cast<std::size_t>(axes[k])];
    const auto input = static_cast<float>(axis.input);
    if (scales) {
      axis.scale = (*scales)[k];
      const float extent = axis.scale * input;  // float32, as ONNX Runtime computes it
      if (!(axis.scale > 0) || !(extent <= kMaxExtent)) return fail_operand(2, "scales", "entry {} is {}", k, axis.scale);
      axis.output = static_cast<std::int64_t>(std::floor(extent));
      axis.fractional_output = extent;
    } else if (common) {
      axis.scale = *common;
      axis.fractional_output = *common * input;
      if (!(axis.fractional_output <= kMaxExtent)) return fail_operand(3, "sizes", "entry {} is {}", k, (*sizes)[k]);
      axis.output = static_cast<std::int64_t>(std::floor(axis.fractional_output + 0.5f));
    } else {
      axis.output = (*sizes)[k];
      axis.scale = axis.input == 0 ? 1.0f : static_cast<float>(axis.output) / input;
      axis.fractional_output = static_cast<float>(axis.output);
    }
    if (axis.input == 0 && axis.output != 0) return fail_input("an axis without elements cannot be resized to {}", axis.output);
    if (attributes.transformation == "tf_crop_and_resize") {
      axis.roi_begin = (*roi)[k];
      axis.roi_end = (*roi)[k + axes.size()];
    }
  }
  return result;
}

namespace {

// An input of scales or roi that is there and not empty (opset 11 wrote absent ones as empty tensors).
bool given(const InferContext& ctx, std::size_t i) {
  if (!ctx.has_input(i)) return false;
  const Shape& shape = input_shape(ctx, i);
  return !(shape.rank() == 1 && shape.dims[0].known() && shape.dims[0].value == 0);
}

Status infer_resize(InferContext& ctx) {
  const Shape& input = input_shape(ctx, 0);
  if (!input.has_rank) {
    set_output_like_input(ctx, {});
    return {};
  }
  BEVEL_TRY(const ResizeAttributes attributes, resize_attributes(ctx.node()));
  std::optional<std::vector<float>> scales;
  if (given(ctx, 2) && ctx.input_constant(2) != nullptr && is_floating(ctx.input_constant(2)->dtype())) {
    scales = ctx.input_constant(2)->as_floats();
  }
  const auto sizes = given(ctx, 3) ? known_ints(ctx, 3) : std::nullopt;
  std::vector<std::int64_t> axes(input.rank());
  std::iota(axes.begin(), axes.end(), 0);
  if (attributes.axes) {
    BEVEL_TRY(axes, normalize_axes(*attributes.axes, input.rank()));
  }
  Shape result = input;
  for (const std::int64_t axis : axes) result.dims[static_cast<std::size_t>(axis)] = Dim();
  if (scales && scales->size() == axes.size()) {
    // One axis at a time: the others may be unknown.
    for (std::size_t k = 0; k < axes.size(); ++k) {
      const Dim& dim = input.dims[static_cast<std::size_t>(axes[k])];
      Dim& out = result.dims[static_cast<std::size_t>(axes[k])];
      const float scale = (*scales)[k];
      if (scale == 1) out = dim;
      else if (dim.known() && scale > 0 && scale * static_cast<float>(dim.value) <= kMaxExtent) out = Dim(static_cast<std::int64_t>(std::floor(scale * static_cast<float>(dim.value))));
    }
  } else if (sizes && sizes->size() == axes.size() && attributes.policy == "stretch") {
    for (std::size_t k = 0; k < axes.size(); ++k) {
      if ((*sizes)[k] && *(*sizes)[k] >= 0) result.dims[static_cast<std::size_t>(axes[k])] = Dim(*(*sizes)[k]);
    }
  } else if (const auto wanted = all_ints(ctx, 3), known = input.known_dims(); given(ctx, 3) && wanted && known && attributes.transformation != "tf_crop_and_resize") {
    BEVEL_TRY(const auto resized, resize_axes(attributes, *known, std::nullopt, wanted, std::nullopt));
    for (std::size_t i = 0; i < resized.size(); ++i) result.dims[i] = Dim(resized[i].output);
  }
  set_output_like_input(ctx, std::move(result));
  return {};
}

// Axes that keep their extent are shared; whole upscaling factors of nearest repeat elements; the rest is not stated.
Facts resize_facts(const FactsContext& ctx) {
  Facts facts;
  facts.value.data_operands = {0};
  facts.value.layout = LayoutRule::follow;
  const auto attributes = resize_attributes(ctx.node());
  const Shape& in = input_shape(ctx, 0);
  const Shape& out = output_shape(ctx, 0);
  if (!attributes || !in.has_rank || in.rank() != out.rank()) return facts;
  const bool crops = attributes->transformation == "tf_crop_and_resize";
  if (attributes->mode == "nearest" && !crops) facts.value.quant = QuantRole::same_scale;
  if (attributes->mode == "linear" && !crops) facts.value.quant = QuantRole::own_scale;
  facts.value.identity = !crops && in.is_static() && out.is_static() && in.known_dims() == out.known_dims() && !ctx.has_input(2);
  IterationSpace& space = facts.space;
  space.kind = attributes->mode == "nearest" ? OpKind::move : OpKind::reduce;
  OperandMap from, to;
  for (std::size_t i = 0; i < in.rank(); ++i) {
    const Dim& a = in.dims[i];
    const Dim& b = out.dims[i];
    const int loop = static_cast<int>(space.loops.size());
    if (a == b && (a.known() || a.named())) {
      space.loops.push_back({extent(a), false});
      from.axes.push_back(AxisMap::follow(loop));
      to.axes.push_back(AxisMap::follow(loop));
    } else if (attributes->mode == "nearest" && attributes->transformation == "asymmetric" && attributes->nearest_mode == "floor" &&
               a.known() && b.known() && a.value > 0 && b.value % a.value == 0) {
      space.loops.push_back({a.value, false});
      space.loops.push_back({b.value / a.value, false});
      from.axes.push_back(AxisMap::follow(loop));
      to.axes.push_back(AxisMap::factors({loop, loop + 1}));
    } else {
      space.loops.push_back({extent(b), false});
      from.axes.push_back(AxisMap());
      to.axes.push_back(AxisMap::follow(loop));
    }
  }
  space.inputs.push_back(std::move(from));
  space.outputs.push_back(std::move(to));
  return facts;
}

// Resize-10 has inputs X, scales and samples at x / scale, rounded down; Resize-11 has X, roi, scales, sizes.
Status upgrade_resize(Model& model, NodeId id, int from) {
  if (from != 10) return {};
  Graph& graph = model.graph;
  if (graph.node(id).inputs.size() != 2) return fail_input("has {} inputs, expected 2 (X, scales)", graph.node(id).inputs.size());
  const ValueId scales = graph.node(id).inputs[1];
  graph.resize_inputs(id, 3);
  graph.set_operand(id, 2, scales);
  graph.set_operand(id, 1, ValueId());
  graph.mutable_node(id).set_attribute("coordinate_transformation_mode", std::string("asymmetric"));
  graph.mutable_node(id).set_attribute("nearest_mode", std::string("floor"));
  return {};
}

// 19 has half_pixel_symmetric; 11 and 12 must be given roi and scales, if only empty ones; 10 samples one way.
Status downgrade_resize(Model& model, NodeId id, int from) {
  Graph& graph = model.graph;
  BEVEL_TRY(const ResizeAttributes attributes, resize_attributes(graph.node(id)));
  if (from == 19 && attributes.transformation == "half_pixel_symmetric")
    return fail_input("attribute 'coordinate_transformation_mode' is half_pixel_symmetric");
  if (from == 13) {
    for (const std::size_t i : {std::size_t{1}, std::size_t{2}}) {
      if (graph.node(id).inputs.size() > i && graph.node(id).inputs[i].valid()) continue;
      set_input(model, id, i, i == 1 ? "roi" : "scales", Tensor::zeros(DType::float32, {0}));
    }
  }
  if (from != 11) return {};
  const bool as_ten = attributes.transformation == "asymmetric" &&
                      (attributes.mode == "linear" || (attributes.mode == "nearest" && attributes.nearest_mode == "floor"));
  const auto sized = graph.node(id).inputs.size() > 3 && graph.node(id).inputs[3].valid();
  if (!as_ten || sized || graph.node(id).inputs.size() < 3)
    return fail_input("only asymmetric sampling by scales, linear or nearest with floor, is known there");
  const ValueId scales = graph.node(id).inputs[2];
  graph.set_operand(id, 1, scales);
  drop_inputs(model, id, 2);
  std::vector<std::string> names;
  for (const Attribute& attribute : graph.node(id).attributes)
    if (attribute.name != "mode") names.push_back(attribute.name);
  for (const std::string& name : names) graph.mutable_node(id).remove_attribute(name);
  return {};
}

// Upsample-9 made the scales an input; opset 10 renamed it.
Status upgrade_upsample(Model& model, NodeId id, int from) {
  Node& node = model.graph.mutable_node(id);
  if (from == 8) {
    if (!has_attr(node, "scales")) return fail_input("required attribute 'scales' is missing");
    BEVEL_TRY(const auto scales, attr_floats(node, "scales"));
    node.remove_attribute("scales");
    set_input(model, id, 1, "scales", Tensor::of<float>({static_cast<std::int64_t>(scales.size())}, scales));
  } else if (from == 9) {
    node.op_type = "Resize";
    BEVEL_TRY(const std::string mode, attr_string(node, "mode", "nearest"));
    if (mode == "bilinear") node.set_attribute("mode", std::string("linear"));
  }
  return {};
}

}  // namespace

extern const OpRecord resize_record{.name = "Resize", .max_inputs = 4, .infer = infer_resize, .facts = resize_facts,
                       .evaluate = evaluate_resize, .upgrade = upgrade_resize,
                       .downgrade = downgrade_resize};
// Only loaded models of opsets 7 to 9 have it.
extern const OpRecord upsample_record{.name = "Upsample", .max_inputs = 2, .upgrade = upgrade_upsample};

}  // namespace bevel::ops
