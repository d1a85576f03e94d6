// CenterCropPad (ONNX opset 18): each stated axis is cut, or padded with zeros, around its centre.
#include "lib/ops/movement.h"
#include "lib/ops/tensor_family.h"

namespace bevel::ops {
namespace {

// The axes that `shape` speaks of, normalized; all of them without the attribute.
Result<std::vector<std::int64_t>> stated_axes(const Node& node, std::size_t rank) {
  if (has_attr(node, "axes")) {
    BEVEL_TRY(const auto axes, attr_ints(node, "axes"));
    return normalize_axes(axes, rank);
  }
  std::vector<std::int64_t> all(rank);
  for (std::size_t i = 0; i < rank; ++i) all[i] = static_cast<std::int64_t>(i);
  return all;
}

Status infer(InferContext& ctx) {
  BEVEL_TRY_STATUS(expect_rank(ctx, 1, "shape", 1, 1));
  const Shape& input = input_shape(ctx, 0);
  if (!input.has_rank) {
    set_output_like_input(ctx, {});
    return {};
  }
  BEVEL_TRY(const auto axes, stated_axes(ctx.node(), input.rank()));
  const auto wanted = ctx.input_ints(1);
  if (wanted && wanted->size() != axes.size()) return fail_operand(1, "shape", "has {} entries for {} axes", wanted->size(), axes.size());
  Shape shape = input;
  for (std::size_t i = 0; i < axes.size(); ++i) {
    shape.dims[static_cast<std::size_t>(axes[i])] = wanted ? (*wanted)[i] : Dim();
  }
  set_output_like_input(ctx, std::move(shape));
  return {};
}

Facts facts(const FactsContext&) {
  Facts facts;
  facts.value.data_operands = {0};
  return facts;
}

Outputs evaluate(const EvalContext& ctx) {
  const Tensor& x = ctx.tensor(0);
  BEVEL_TRY(const auto axes, stated_axes(ctx.node(), x.rank()));
  BEVEL_TRY(const auto wanted, evaluated_ints(ctx, 1, "shape"));
  if (wanted.size() != axes.size()) return fail_operand(1, "shape", "has {} entries for {} axes", wanted.size(), axes.size());
  Dims dims = x.dims();
  for (std::size_t i = 0; i < axes.size(); ++i) {
    if (wanted[i] < 0) return fail_operand(1, "shape", "entry {} is {}, expected 0 or more", i, wanted[i]);
    dims[static_cast<std::size_t>(axes[i])] = wanted[i];
  }
  BEVEL_TRY_STATUS(ctx.reserve(x.dtype(), dims));
  Tensor out = Tensor::zeros(x.dtype(), dims);
  // An odd difference leaves the smaller half in front, cutting as well as padding.
  Walk from{0, row_major_strides(x.dims())}, to{0, row_major_strides(dims)};
  Dims extent(dims.size());
  for (std::size_t axis = 0; axis < dims.size(); ++axis) {
    extent[axis] = std::min(dims[axis], x.dim(axis));
    from.offset += (x.dim(axis) - extent[axis]) / 2 * from.strides[axis];
    to.offset += (dims[axis] - extent[axis]) / 2 * to.strides[axis];
  }
  if (product(extent, 0, extent.size()) > 0) copy_walk(x, from, out, to, extent);
  return std::vector<Datum>{std::move(out)};
}

}  // namespace

extern const OpRecord center_crop_pad_record{.name = "CenterCropPad", .since = 18, .min_inputs = 2, .max_inputs = 2, .infer = infer,
                                             .facts = facts, .evaluate = evaluate};

}  // namespace bevel::ops
