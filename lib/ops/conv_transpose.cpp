// ConvTranspose (ONNX opsets 1, 11, 22): the transpose of Conv in its input, with output_padding and output_shape.
#include "lib/ops/conv_transpose.h"

#include <algorithm>

#include "lib/ops/nn_families.h"

namespace bevel::ops {

Dims ConvTransposeShape::out_dims() const {
  Dims dims = {batch, out_channels};
  for (const WindowAxis& axis : axes) dims.push_back(axis.out);
  return dims;
}

Result<std::vector<WindowAxis>> conv_transpose_axes(const Node& node, std::span<const std::int64_t> in,
                                                    std::span<const std::int64_t> kernel) {
  const std::size_t rank = in.size();
  BEVEL_TRY(const auto attributes, window_attributes(node, rank, kernel));
  BEVEL_TRY(auto output_padding, attr_ints(node, "output_padding"));
  if (output_padding.empty()) output_padding.assign(rank, 0);
  BEVEL_TRY(auto output_shape, attr_ints(node, "output_shape"));
  // Some exporters state the whole shape, batch and channels included.
  if (output_shape.size() == rank + 2) output_shape.erase(output_shape.begin(), output_shape.begin() + 2);
  if (output_padding.size() != rank || (!output_shape.empty() && output_shape.size() != rank)) {
    return fail_input("attributes 'output_padding' and 'output_shape' have {} and {} entries, expected {}",
                      output_padding.size(), output_shape.size(), rank);
  }
  std::vector<WindowAxis> axes(rank);
  for (std::size_t i = 0; i < rank; ++i) {
    WindowAxis& axis = axes[i];
    axis.in = in[i];
    axis.kernel = attributes.kernel[i];
    axis.stride = attributes.strides[i];
    axis.dilation = attributes.dilations[i];
    axis.pad_begin = attributes.pads[i];
    axis.pad_end = attributes.pads[i + rank];
    if (output_padding[i] < 0 || output_padding[i] >= std::max(axis.stride, axis.dilation)) {
      return fail_input("attribute 'output_padding' contains {}, expected less than stride {} or dilation {}",
                        output_padding[i], axis.stride, axis.dilation);
    }
    if (!output_shape.empty()) {
      axis.out = output_shape[i];
      if (axis.out < 0 || axis.out > kMaxSpatialExtent)
        return fail_input("attribute 'output_shape' contains {}", axis.out);
    }
    if (axis.in > kMaxSpatialExtent / axis.stride) return fail_input("spatial extent {} is too large", axis.in);
    if (axis.in < 0 || axis.kernel < 0) continue;
    const std::int64_t full = (axis.in - 1) * axis.stride + output_padding[i] + (axis.kernel - 1) * axis.dilation + 1;
    const bool same = attributes.auto_pad == AutoPad::same_upper || attributes.auto_pad == AutoPad::same_lower;
    if (!output_shape.empty() || same) {
      if (output_shape.empty()) axis.out = axis.in * axis.stride;
      const std::int64_t total = std::max<std::int64_t>(0, full - axis.out);
      // The larger half goes to the end only for SAME_UPPER (onnx/defs/nn/old.cc and the specification's formula).
      axis.pad_begin = attributes.auto_pad == AutoPad::same_upper ? total / 2 : total - total / 2;
      axis.pad_end = total - axis.pad_begin;
    } else {
      axis.out = full - axis.pad_begin - axis.pad_end;
      if (axis.out < 0) {
        return fail_input("pads {} and {} leave no output along spatial axis {}", axis.pad_begin, axis.pad_end, i);
      }
    }
  }
  return axes;
}

Result<ConvTransposeShape> conv_transpose_shape(const Node& node, std::span<const std::int64_t> x,
                                                std::span<const std::int64_t> w) {
  if (x.size() < 3 || w.size() != x.size()) {
    return fail_input("X has shape {} and W {}, expected equal ranks of 3 or more", to_string(x), to_string(w));
  }
  ConvTransposeShape shape;
  BEVEL_TRY(shape.groups, attr_int(node, "group", 1));
  shape.batch = x[0];
  shape.channels = x[1];
  if (shape.groups < 1 || shape.channels % shape.groups != 0 || w[0] != shape.channels) {
    return fail_input("X has shape {} and W {}: W's axis 0 must be X's {} channels, divisible into {} groups",
                      to_string(x), to_string(w), shape.channels, shape.groups);
  }
  const auto out_channels = checked_mul(w[1], shape.groups);
  if (!out_channels) return fail_input("attribute 'group' is {}, too large", shape.groups);
  shape.out_channels = *out_channels;
  BEVEL_TRY(shape.axes, conv_transpose_axes(node, x.subspan(2), w.subspan(2)));
  if (!element_count(x.subspan(2)) || !element_count(w.subspan(2)) || !element_count(shape.out_dims())) {
    return fail_input("the spatial extents are too large");
  }
  return shape;
}

namespace {

Status infer(InferContext& ctx) {
  BEVEL_TRY_STATUS(expect_rank(ctx, 0, "X", 3));
  BEVEL_TRY_STATUS(expect_rank(ctx, 1, "W", 3));
  BEVEL_TRY_STATUS(expect_rank(ctx, 2, "B", 1, 1));
  const Shape& x = input_shape(ctx, 0);
  const Shape& w = input_shape(ctx, 1);
  BEVEL_TRY(const std::int64_t groups, attr_int(ctx.node(), "group", 1));
  if (groups < 1) return fail_input("attribute 'group' is {}, expected 1 or more", groups);
  Shape shape;
  if (x.has_rank && w.has_rank) {
    if (x.rank() != w.rank()) return fail_operand(1, "W", "rank is {}, expected {} as X", w.rank(), x.rank());
    BEVEL_TRY_STATUS([&]() -> Status {
      if (auto channels = unify_dims(x.dims[1], w.dims[0]); !channels) {
        return fail_operand(1, "W", "axis 0 is {}, expected X's {} channels", w.dims[0].value, x.dims[1].value);
      }
      return {};
    }());
    std::vector<std::int64_t> in, kernel;
    for (std::size_t i = 2; i < x.rank(); ++i) {
      in.push_back(extent(x, i));
      kernel.push_back(extent(w, i));
    }
    BEVEL_TRY(const auto axes, conv_transpose_axes(ctx.node(), in, kernel));
    std::vector<Dim> dims(x.rank());
    dims[0] = x.dims[0];
    if (w.dims[1].known()) {
      const auto channels = checked_mul(w.dims[1].value, groups);
      if (!channels) return fail_input("attribute 'group' is {}, too large", groups);
      dims[1] = Dim(*channels);
    }
    for (std::size_t i = 0; i < axes.size(); ++i) {
      if (axes[i].out >= 0) dims[i + 2] = Dim(axes[i].out);
    }
    shape = Shape(std::move(dims));
  }
  ctx.set_output(0, Type::tensor(input_dtype(ctx, 0), std::move(shape)));
  return {};
}

Facts facts(const FactsContext& ctx) {
  Facts facts;
  facts.value.quant = QuantRole::bilinear;
  facts.value.layout = LayoutRule::channels_last;
  facts.value.data_operands = {0, 1};
  facts.value.bias_operand = 2;
  const Shape& x = input_shape(ctx, 0);
  const Shape& w = input_shape(ctx, 1);
  const std::int64_t groups = attr_int(ctx.node(), "group", 1).value_or(0);
  if (!x.has_rank || !w.has_rank || x.rank() != w.rank() || x.rank() < 3 || groups < 1) return facts;
  std::vector<std::int64_t> in, kernel;
  for (std::size_t i = 2; i < x.rank(); ++i) {
    in.push_back(extent(x, i));
    kernel.push_back(extent(w, i));
  }
  const auto axes = conv_transpose_axes(ctx.node(), in, kernel);
  if (!axes) return facts;
  IterationSpace& space = facts.space;
  enum : int { kBatch, kGroup, kOut, kIn, kSpatial };
  const std::int64_t channels = extent(x, 1);
  space.loops = {
      {extent(x, 0), false}, {groups, false}, {extent(w, 1), false}, {channels < 0 ? -1 : channels / groups, true}};
  const AxisMap in_channel = groups == 1 ? AxisMap::follow(kIn) : AxisMap::factors({kGroup, kIn});
  const AxisMap out_channel = groups == 1 ? AxisMap::follow(kOut) : AxisMap::factors({kGroup, kOut});
  OperandMap x_map{{AxisMap::follow(kBatch), in_channel}};
  OperandMap w_map{{in_channel, AxisMap::follow(kOut)}};
  OperandMap y_map{{AxisMap::follow(kBatch), out_channel}};
  for (std::size_t i = 0; i < axes->size(); ++i) {
    const WindowAxis& axis = (*axes)[i];
    const int position = kSpatial + static_cast<int>(2 * i);
    space.loops.push_back({axis.in, false});
    space.loops.push_back({axis.kernel, false});
    x_map.axes.push_back(AxisMap::follow(position));
    w_map.axes.push_back(AxisMap::follow(position + 1));
    y_map.axes.push_back(AxisMap::window(position, position + 1, axis.stride, axis.dilation, axis.pad_begin));
  }
  space.kind = OpKind::bilinear;
  space.inputs.resize(ctx.node().inputs.size());
  space.inputs[0] = std::move(x_map);
  space.inputs[1] = std::move(w_map);
  if (ctx.has_input(2)) space.inputs[2].axes = {out_channel};
  space.outputs = {std::move(y_map)};
  return facts;
}

}  // namespace

extern const OpRecord conv_transpose_record = {.domain = "",
                                               .name = "ConvTranspose",
                                               .min_inputs = 2,
                                               .max_inputs = 3,
                                               .infer = infer,
                                               .facts = facts,
                                               .evaluate = evaluate_conv_transpose};

}  // namespace bevel::ops
