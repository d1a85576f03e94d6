// Conv (ONNX opsets 1, 11, 22): 1-D, 2-D, 3-D and more, groups, dilations, every auto_pad.
#include "lib/ops/conv.h"

#include "lib/ops/lower_functions.h"
#include "lib/ops/nn_families.h"

namespace bevel::ops {

std::int64_t ConvShape::in_size() const {
  std::int64_t size = 1;
  for (const WindowAxis& axis : axes) size *= axis.in;
  return size;
}
std::int64_t ConvShape::out_size() const {
  std::int64_t size = 1;
  for (const WindowAxis& axis : axes) size *= axis.out;
  return size;
}
std::int64_t ConvShape::kernel_size() const {
  std::int64_t size = 1;
  for (const WindowAxis& axis : axes) size *= axis.kernel;
  return size;
}
Dims ConvShape::out_dims() const {
  Dims dims = {batch, out_channels};
  for (const WindowAxis& axis : axes) dims.push_back(axis.out);
  return dims;
}

Result<ConvShape> conv_shape(const Node& node, std::span<const std::int64_t> x, std::span<const std::int64_t> w) {
  if (x.size() < 3) return fail_input("X has shape {}, expected rank 3 or more (N, C, spatial)", to_string(x));
  if (w.size() != x.size()) {
    return fail_input("W has shape {}, expected rank {} as X, which has shape {}", to_string(w), x.size(),
                      to_string(x));
  }
  ConvShape shape;
  BEVEL_TRY(shape.groups, attr_int(node, "group", 1));
  shape.batch = x[0];
  shape.channels = x[1];
  shape.out_channels = w[0];
  if (shape.groups < 1 || shape.channels % shape.groups != 0 || shape.out_channels % shape.groups != 0) {
    return fail_input("attribute 'group' is {}, which must divide {} input channels and {} output channels",
                      shape.groups, shape.channels, shape.out_channels);
  }
  if (shape.group_in() != w[1]) {
    return fail_input("X has shape {} and W {}: with group {} W's axis 1 must be {}", to_string(x), to_string(w),
                      shape.groups, shape.group_in());
  }
  BEVEL_TRY(const auto attributes, window_attributes(node, x.size() - 2, w.subspan(2)));
  for (std::size_t i = 0; i + 2 < x.size(); ++i) {
    BEVEL_TRY(WindowAxis axis, window_axis(attributes, i, x[i + 2]));
    shape.axes.push_back(axis);
  }
  // Planes are addressed even where there is no channel or no image.
  if (!element_count(x.subspan(2)) || !element_count(w.subspan(2)))
    return fail_input("the spatial extents are too large");
  if (!element_count(shape.out_dims()))
    return fail_input("the result's shape {} is too large", to_string(shape.out_dims()));
  return shape;
}

Result<Shape> infer_conv_shape(const InferContext& ctx, std::size_t x, std::size_t w) {
  const Node& node = ctx.node();
  BEVEL_TRY_STATUS(expect_rank(ctx, x, "X", 3));
  BEVEL_TRY_STATUS(expect_rank(ctx, w, "W", 3));
  const Shape& image = input_shape(ctx, x);
  const Shape& weights = input_shape(ctx, w);
  BEVEL_TRY(const std::int64_t groups, attr_int(node, "group", 1));
  if (groups < 1) return fail_input("attribute 'group' is {}, expected 1 or more", groups);
  if (!image.has_rank && !weights.has_rank) return Shape();
  const std::size_t rank = image.has_rank ? image.rank() : weights.rank();
  if (image.has_rank && weights.has_rank && image.rank() != weights.rank()) {
    return fail_operand(w, "W", "rank is {}, expected {} as X", weights.rank(), image.rank());
  }
  const std::int64_t channels = extent(image, 1), out_channels = extent(weights, 0), group_in = extent(weights, 1);
  if (channels >= 0 && group_in >= 0 && (channels % groups != 0 || channels / groups != group_in)) {
    return fail_operand(w, "W", "axis 1 is {}, expected {} input channels in {} groups", group_in, channels, groups);
  }
  if (out_channels >= 0 && out_channels % groups != 0) {
    return fail_operand(w, "W", "{} output channels are not divisible into {} groups", out_channels, groups);
  }
  std::vector<std::int64_t> kernel(rank - 2, -1);
  for (std::size_t i = 0; i + 2 < rank; ++i) kernel[i] = extent(weights, i + 2);
  BEVEL_TRY(const auto attributes, window_attributes(node, rank - 2, kernel));
  std::vector<Dim> dims(rank);
  if (image.has_rank) dims[0] = image.dims[0];
  if (out_channels >= 0) dims[1] = Dim(out_channels);
  for (std::size_t i = 0; i + 2 < rank; ++i) {
    if (!image.has_rank) continue;
    BEVEL_TRY(dims[i + 2], window_output_dim(attributes, i, image.dims[i + 2]));
  }
  return Shape(std::move(dims));
}

IterationSpace conv_space(const FactsContext& ctx, std::size_t input_count, int x, int w, int bias) {
  IterationSpace space;
  const Shape& image = input_shape(ctx, static_cast<std::size_t>(x));
  const Shape& weights = input_shape(ctx, static_cast<std::size_t>(w));
  const Shape& out = output_shape(ctx, 0);
  const std::int64_t groups = attr_int(ctx.node(), "group", 1).value_or(0);
  if (!image.has_rank || !weights.has_rank || image.rank() != weights.rank() || image.rank() < 3 || groups < 1) {
    return space;
  }
  const std::size_t spatial = image.rank() - 2;
  std::vector<std::int64_t> kernel(spatial, -1);
  for (std::size_t i = 0; i < spatial; ++i) kernel[i] = extent(weights, i + 2);
  const auto attributes = window_attributes(ctx.node(), spatial, kernel);
  if (!attributes) return space;
  const std::int64_t out_channels = extent(weights, 0);
  // Loops: n, group, output channel in its group, input channel in its group, output positions, kernel positions.
  enum : int { kBatch, kGroup, kOut, kIn, kSpatial };
  space.loops = {{extent(image, 0), false},
                 {groups, false},
                 {out_channels < 0 ? -1 : out_channels / groups, false},
                 {extent(weights, 1), true}};
  OperandMap x_map, w_map, y_map;
  x_map.axes = {AxisMap::follow(kBatch), groups == 1 ? AxisMap::follow(kIn) : AxisMap::factors({kGroup, kIn})};
  const AxisMap channel = groups == 1 ? AxisMap::follow(kOut) : AxisMap::factors({kGroup, kOut});
  w_map.axes = {channel, AxisMap::follow(kIn)};
  y_map.axes = {AxisMap::follow(kBatch), channel};
  for (std::size_t i = 0; i < spatial; ++i) {
    const auto axis = window_axis(*attributes, i, extent(image, i + 2));
    if (!axis) return IterationSpace();
    const std::int64_t known_out = axis->out >= 0 ? axis->out : extent(out, i + 2);
    const int outer = kSpatial + static_cast<int>(2 * i);
    space.loops.push_back({known_out, false});
    space.loops.push_back({axis->kernel, true});
    x_map.axes.push_back(AxisMap::window(outer, outer + 1, axis->stride, axis->dilation, axis->pad_begin));
    w_map.axes.push_back(AxisMap::follow(outer + 1));
    y_map.axes.push_back(AxisMap::follow(outer));
  }
  space.kind = OpKind::bilinear;
  space.inputs.resize(input_count);
  space.inputs[static_cast<std::size_t>(x)] = std::move(x_map);
  space.inputs[static_cast<std::size_t>(w)] = std::move(w_map);
  if (bias >= 0 && ctx.has_input(static_cast<std::size_t>(bias))) {
    space.inputs[static_cast<std::size_t>(bias)].axes = {channel};
  }
  space.outputs = {std::move(y_map)};
  return space;
}

namespace {

Status infer(InferContext& ctx) {
  BEVEL_TRY(Shape shape, infer_conv_shape(ctx, 0, 1));
  BEVEL_TRY_STATUS(expect_rank(ctx, 2, "B", 1, 1));
  const std::int64_t bias = extent(input_shape(ctx, 2), 0);
  if (bias >= 0 && shape.has_rank && shape.dims[1].known() && shape.dims[1].value != bias) {
    return fail_operand(2, "B", "has {} elements, expected one per output channel, {}", bias, shape.dims[1].value);
  }
  ctx.set_output(0, Type::tensor(input_dtype(ctx, 0), std::move(shape)));
  return {};
}

Facts facts(const FactsContext& ctx) {
  Facts facts;
  facts.space = conv_space(ctx, ctx.node().inputs.size(), 0, 1, 2);
  facts.value.quant = QuantRole::bilinear;
  facts.value.layout = LayoutRule::channels_last;
  facts.value.data_operands = {0, 1};
  facts.value.bias_operand = 2;
  return facts;
}

}  // namespace

extern const OpRecord conv_record = {.domain = "",
                                     .name = "Conv",
                                     .min_inputs = 2,
                                     .max_inputs = 3,
                                     .infer = infer,
                                     .facts = facts,
                                     .evaluate = evaluate_conv,
                                     .lower = lower_conv};

}  // namespace bevel::ops
