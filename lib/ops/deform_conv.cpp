// DeformConv (ONNX opsets 19, 22): a convolution whose every tap reads X at its place plus an offset, interpolated and weighted
// by a mask (J. Dai et al.: "Deformable Convolutional Networks", ICCV 2017; X. Zhu et al., CVPR 2019). Any number of spatial axes.
#include <algorithm>

#include "lib/ops/float_operands.h"
#include "lib/ops/sliding_window.h"

namespace bevel::ops {
namespace {

constexpr double kFarthest = 1 << 30;

struct DeformShape {
  std::int64_t batch = 0, channels = 0, out_channels = 0, groups = 1, offset_groups = 1;
  std::int64_t in_size = 1, out_size = 1, kernel_size = 1;
  std::vector<WindowAxis> axes;
  [[nodiscard]] Dims out_dims() const {
    Dims dims = {batch, out_channels};
    for (const WindowAxis& axis : axes) dims.push_back(axis.out);
    return dims;
  }
};

Status infer(InferContext& ctx) {
  BEVEL_TRY_STATUS(expect_rank(ctx, 0, "X", 3));
  BEVEL_TRY_STATUS(expect_rank(ctx, 1, "W", 3));
  BEVEL_TRY_STATUS(expect_rank(ctx, 2, "offset", 3));
  const Shape& x = input_shape(ctx, 0);
  const Shape& w = input_shape(ctx, 1);
  const std::size_t rank = x.has_rank ? x.rank() : w.rank();
  if (rank < 3) return {};
  if (x.has_rank && w.has_rank && x.rank() != w.rank()) return fail_operand(1, "W", "rank is {}, expected {} as X", w.rank(), x.rank());
  std::vector<std::int64_t> kernel(rank - 2, -1);
  for (std::size_t i = 0; i + 2 < rank; ++i) kernel[i] = extent(w, i + 2);
  BEVEL_TRY(const auto window, window_attributes(ctx.node(), rank - 2, kernel));
  std::vector<Dim> dims(rank);
  if (x.has_rank) dims[0] = x.dims[0];
  if (w.has_rank) dims[1] = w.dims[0];
  for (std::size_t i = 0; x.has_rank && i + 2 < rank; ++i) {
    BEVEL_TRY(dims[i + 2], window_output_dim(window, i, x.dims[i + 2]));
  }
  for (Dim& dim : dims) dim.denotation.clear();
  ctx.set_output(0, Type::tensor(input_dtype(ctx, 0), Shape(std::move(dims))));
  return {};
}

// The products of a convolution; where X is read is in the data.
Facts facts(const FactsContext& ctx) {
  Facts facts;
  facts.value.data_operands = {0, 1};
  const Shape& x = input_shape(ctx, 0);
  const Shape& w = input_shape(ctx, 1);
  const Shape& y = output_shape(ctx, 0);
  const std::int64_t groups = attr_int(ctx.node(), "group", 1).value_or(0);
  if (x.rank() < 3 || w.rank() != x.rank() || y.rank() != x.rank() || groups < 1) return facts;
  enum : int { kBatch, kGroup, kOut, kIn, kSpatial };
  IterationSpace space;
  const std::int64_t out_channels = extent(w, 0);
  space.loops = {{extent(x, 0), false}, {groups, false}, {out_channels < 0 ? -1 : out_channels / groups, false}, {extent(w, 1), true}};
  const AxisMap out = groups == 1 ? AxisMap::follow(kOut) : AxisMap::factors({kGroup, kOut});
  OperandMap x_map{{AxisMap::follow(kBatch), groups == 1 ? AxisMap::follow(kIn) : AxisMap::factors({kGroup, kIn})}};
  OperandMap w_map{{out, AxisMap::follow(kIn)}}, y_map{{AxisMap::follow(kBatch), out}};
  for (std::size_t i = 2; i < x.rank(); ++i) {
    const int position = static_cast<int>(space.loops.size());
    space.loops.push_back({extent(y, i), false});
    space.loops.push_back({extent(w, i), true});
    x_map.axes.emplace_back();
    w_map.axes.push_back(AxisMap::follow(position + 1));
    y_map.axes.push_back(AxisMap::follow(position));
  }
  space.kind = OpKind::bilinear;
  space.inputs.resize(ctx.node().inputs.size());
  space.inputs[0] = std::move(x_map);
  space.inputs[1] = std::move(w_map);
  if (ctx.has_input(3)) space.inputs[3].axes = {out};
  space.outputs = {std::move(y_map)};
  facts.space = std::move(space);
  return facts;
}

Result<DeformShape> shape_of(const EvalContext& ctx) {
  const Tensor& x = ctx.tensor(0);
  const Tensor& w = ctx.tensor(1);
  DeformShape shape;
  BEVEL_TRY(shape.groups, attr_int(ctx.node(), "group", 1));
  BEVEL_TRY(shape.offset_groups, attr_int(ctx.node(), "offset_group", 1));
  if (x.rank() < 3 || w.rank() != x.rank()) {
    return fail_input("X and W have shapes {} and {}, expected one rank of 3 or more", to_string(x.dims()), to_string(w.dims()));
  }
  shape.batch = x.dim(0);
  shape.channels = x.dim(1);
  shape.out_channels = w.dim(0);
  if (shape.groups < 1 || shape.channels % shape.groups != 0 || shape.out_channels % shape.groups != 0 ||
      w.dim(1) != shape.channels / shape.groups) {
    return fail_input("X and W have shapes {} and {}, which are not {} groups of channels", to_string(x.dims()), to_string(w.dims()),
                      shape.groups);
  }
  if (shape.offset_groups < 1 || shape.channels % shape.offset_groups != 0)
    return fail_input("attribute 'offset_group' is {}, which does not divide {} channels", shape.offset_groups, shape.channels);
  const std::size_t rank = x.rank() - 2;
  BEVEL_TRY(const auto window, window_attributes(ctx.node(), rank, std::span(w.dims()).subspan(2)));
  Dims spatial;
  for (std::size_t i = 0; i < rank; ++i) {
    BEVEL_TRY(const WindowAxis axis, window_axis(window, i, x.dim(i + 2)));
    shape.axes.push_back(axis);
    spatial.push_back(axis.out);
  }
  const auto in_size = element_count(std::span(x.dims()).subspan(2)), kernel_size = element_count(std::span(w.dims()).subspan(2));
  const auto out_size = element_count(spatial);
  if (!in_size || !kernel_size || !out_size || !element_count(shape.out_dims()))
    return fail_input("the result's shape {} is too large", to_string(shape.out_dims()));
  shape.in_size = *in_size;
  shape.kernel_size = *kernel_size;
  shape.out_size = *out_size;
  const auto taps = checked_mul(shape.offset_groups, shape.kernel_size);
  const auto numbers = taps ? checked_mul(*taps, static_cast<std::int64_t>(rank)) : std::nullopt;
  if (!numbers) return fail_input("{} offset groups of {} taps are too many", shape.offset_groups, shape.kernel_size);
  Dims offset = {shape.batch, *numbers}, mask = {shape.batch, *taps};
  offset.insert(offset.end(), spatial.begin(), spatial.end());
  mask.insert(mask.end(), spatial.begin(), spatial.end());
  const Dims expected[] = {x.dims(), w.dims(), offset, {shape.out_channels}, mask};
  constexpr std::string_view kRoles[] = {"X", "W", "offset", "B", "mask"};
  for (std::size_t i = 1; i < 5; ++i) {
    if (!ctx.has_input(i)) continue;
    const Tensor& tensor = ctx.tensor(i);
    if (tensor.dtype() != x.dtype() || tensor.dims() != expected[i]) {
      return fail_operand(i, kRoles[i], "is {} {}, expected {} {}", dtype_name(tensor.dtype()), to_string(tensor.dims()),
                          dtype_name(x.dtype()), to_string(expected[i]));
    }
  }
  return shape;
}

// Where one tap of one output reads a plane of X: corners of the cell around the position, outside ones left out.
template <typename C>
struct Corner {
  std::int64_t offset = 0;
  C weight = 0;
};
template <typename C>
void corners_at(const DeformShape& shape, const std::vector<C>& position, std::vector<Corner<C>>& corners) {
  corners.assign(1, Corner<C>{0, C{1}});
  for (std::size_t a = 0; a < shape.axes.size(); ++a) {
    const C x = position[a];
    std::vector<Corner<C>> next;
    if (static_cast<double>(x) > -kFarthest && static_cast<double>(x) < kFarthest) {
      const auto floor = static_cast<std::int64_t>(__builtin_floor(static_cast<double>(x)));
      const C part = x - static_cast<C>(floor);
      for (const Corner<C>& corner : corners) {
        for (const std::int64_t k : {std::int64_t{0}, std::int64_t{1}}) {
          if (floor + k < 0 || floor + k >= shape.axes[a].in) continue;
          next.push_back({corner.offset * shape.axes[a].in + floor + k, corner.weight * (k == 0 ? C{1} - part : part)});
        }
      }
    }
    corners = std::move(next);
  }
}

template <typename C>
Outputs convolve(const EvalContext& ctx, const DeformShape& shape) {
  const Tensor& x_tensor = ctx.tensor(0);
  const std::int64_t group_in = shape.channels / shape.groups, group_out = shape.out_channels / shape.groups;
  const std::int64_t offset_channels = shape.channels / shape.offset_groups;
  const auto rank = static_cast<std::int64_t>(shape.axes.size());
  const Dims column_dims = {shape.channels, shape.kernel_size, shape.out_size};
  BEVEL_TRY_STATUS(ctx.reserve(DTypeOf<C>::value, shape.out_dims()));
  BEVEL_TRY_STATUS(ctx.reserve(DTypeOf<C>::value, column_dims));
  BEVEL_TRY_STATUS(ctx.reserve(DTypeOf<C>::value, ctx.tensor(2).dims()));
  if (*element_count(shape.out_dims()) == 0) return std::vector<Datum>{Tensor::zeros(x_tensor.dtype(), shape.out_dims())};
  const FloatOperand<C> x(x_tensor), w(ctx.tensor(1)), offset(ctx.tensor(2));
  std::optional<FloatOperand<C>> bias, mask;
  if (ctx.has_input(3)) bias.emplace(ctx.tensor(3));
  if (ctx.has_input(4)) mask.emplace(ctx.tensor(4));
  std::vector<C> y(static_cast<std::size_t>(*element_count(shape.out_dims())), C{0});
  std::vector<C> columns(static_cast<std::size_t>(*element_count(column_dims)));
  std::vector<C> position(shape.axes.size());
  std::vector<Corner<C>> corners;
  for (std::int64_t n = 0; n < shape.batch; ++n) {
    for (std::int64_t og = 0; og < shape.offset_groups; ++og) {
      std::vector<std::int64_t> k(shape.axes.size(), 0), o(shape.axes.size(), 0);
      for (std::int64_t tap = 0; tap < shape.kernel_size; ++tap) {
        std::fill(o.begin(), o.end(), 0);
        for (std::int64_t out = 0; out < shape.out_size; ++out) {
          for (std::size_t a = 0; a < shape.axes.size(); ++a) {
            const WindowAxis& axis = shape.axes[a];
            const std::int64_t at = ((n * shape.offset_groups + og) * shape.kernel_size + tap) * rank + static_cast<std::int64_t>(a);
            position[a] = static_cast<C>(o[a] * axis.stride - axis.pad_begin + k[a] * axis.dilation) +
                          offset.data()[at * shape.out_size + out];
          }
          corners_at<C>(shape, position, corners);
          const std::int64_t mask_at = ((n * shape.offset_groups + og) * shape.kernel_size + tap) * shape.out_size + out;
          const C factor = mask ? mask->data()[mask_at] : C{1};
          for (std::int64_t c = og * offset_channels; c < (og + 1) * offset_channels; ++c) {
            const C* plane = x.data() + (n * shape.channels + c) * shape.in_size;
            C value = 0;
            for (const Corner<C>& corner : corners) value += corner.weight * plane[corner.offset];
            columns[static_cast<std::size_t>((c * shape.kernel_size + tap) * shape.out_size + out)] = value * factor;
          }
          for (std::size_t a = o.size(); a-- > 0;) {
            if (++o[a] < shape.axes[a].out) break;
            o[a] = 0;
          }
        }
        for (std::size_t a = k.size(); a-- > 0;) {
          if (++k[a] < shape.axes[a].kernel) break;
          k[a] = 0;
        }
      }
    }
    for (std::int64_t m = 0; m < shape.out_channels; ++m)
      std::fill_n(y.begin() + (n * shape.out_channels + m) * shape.out_size, shape.out_size, bias ? (*bias)[static_cast<std::size_t>(m)] : C{0});
    const std::int64_t depth = group_in * shape.kernel_size;
    for (std::int64_t g = 0; g < shape.groups; ++g) {
      multiply_into<C>(group_out, shape.out_size, depth, {w.data() + g * group_out * depth, depth, 1},
                       {columns.data() + g * depth * shape.out_size, shape.out_size, 1},
                       y.data() + (n * shape.out_channels + g * group_out) * shape.out_size, shape.out_size);
    }
  }
  return std::vector<Datum>{from_computed<C>(x_tensor.dtype(), shape.out_dims(), y)};
}

Outputs evaluate_deform_conv(const EvalContext& ctx) {
  BEVEL_TRY(const DeformShape shape, shape_of(ctx));
  return with_compute_type(ctx.tensor(0).dtype(), "X", [&](auto tag) { return convolve<typename decltype(tag)::type>(ctx, shape); });
}

}  // namespace

extern const OpRecord deform_conv_record = {.name = "DeformConv",
                                            .since = 19,
                                            .min_inputs = 3,
                                            .max_inputs = 5,
                                            .infer = infer,
                                            .facts = facts,
                                            .evaluate = evaluate_deform_conv};

}  // namespace bevel::ops
