// MaxUnpool (ONNX opsets 9, 11, 22): puts values back where MaxPool found them. The indices count in the tensor that the window
// attributes imply; a larger output_shape leaves zeros behind it on every axis.
#include "lib/ops/float_operands.h"
#include "lib/ops/movement.h"
#include "lib/ops/sliding_window.h"
#include "lib/ops/tensor_family.h"

namespace bevel::ops {
namespace {

// Spatial extent that a window of these numbers pooled to `pooled`.
Result<std::int64_t> unpooled(const WindowAttributes& window, std::size_t axis, std::int64_t pooled) {
  if (pooled > kMaxSpatialExtent) return fail_input("spatial extent {} is larger than {}", pooled, kMaxSpatialExtent);
  const std::int64_t pads = window.pads[axis] + window.pads[axis + window.kernel.size()];
  // All numbers are at most kMaxWindowNumber, the extent at most kMaxSpatialExtent: checked before.
  const auto reach = checked_mul(pooled - 1, window.strides[axis]);
  const std::int64_t size = reach ? *reach - pads + window.kernel[axis] : -1;
  if (size < 0) return fail_input("the window attributes give an extent of {} along spatial axis {}", size, axis);
  return size;
}

Status infer(InferContext& ctx) {
  BEVEL_TRY_STATUS(expect_rank(ctx, 0, "X", 3));
  BEVEL_TRY_STATUS(expect_rank(ctx, 2, "output_shape", 1, 1));
  const Shape& x = input_shape(ctx, 0);
  if (!x.has_rank) return {};
  BEVEL_TRY(const WindowAttributes window, window_attributes(ctx.node(), x.rank() - 2, {}));
  Shape y = unknown_dims(x.rank());
  if (ctx.has_input(2)) {
    const auto stated = ctx.input_ints(2);
    if (stated && stated->size() == x.rank()) y = Shape(*stated);
  } else {
    y.dims[0] = x.dims[0];
    y.dims[1] = x.dims[1];
    for (std::size_t i = 0; i + 2 < x.rank(); ++i) {
      if (!x.dims[i + 2].known()) continue;
      BEVEL_TRY(const std::int64_t size, unpooled(window, i, x.dims[i + 2].value));
      y.dims[i + 2] = Dim(size);
    }
  }
  set_output_like_input(ctx, std::move(y));
  return {};
}

Facts facts(const FactsContext&) {
  Facts facts;
  facts.value.data_operands = {0};
  return facts;
}

Outputs evaluate_max_unpool(const EvalContext& ctx) {
  const Tensor& x = ctx.tensor(0);
  const Tensor& indices = ctx.tensor(1);
  if (x.rank() < 3) return fail_operand(0, "X", "has shape {}, expected rank 3 or more", to_string(x.dims()));
  if (!is_plain_float(x.dtype())) return fail_dtype(x.dtype(), "X");
  if (indices.dtype() != DType::int64 || indices.dims() != x.dims()) {
    return fail_operand(1, "I", "is {} {}, expected int64 {} as X", dtype_name(indices.dtype()), to_string(indices.dims()),
                        to_string(x.dims()));
  }
  BEVEL_TRY(const WindowAttributes window, window_attributes(ctx.node(), x.rank() - 2, {}));
  Dims implied = {x.dim(0), x.dim(1)};
  for (std::size_t i = 0; i + 2 < x.rank(); ++i) {
    BEVEL_TRY(const std::int64_t size, unpooled(window, i, x.dim(i + 2)));
    implied.push_back(size);
  }
  Dims dims = implied;
  if (ctx.has_input(2)) {
    BEVEL_TRY(dims, evaluated_ints(ctx, 2, "output_shape"));
    bool fits = dims.size() == implied.size();
    for (std::size_t i = 0; fits && i < dims.size(); ++i) fits = dims[i] >= implied[i];
    if (!fits) return fail_operand(2, "output_shape", "is {}, expected at least {}", to_string(dims), to_string(implied));
  }
  BEVEL_TRY_STATUS(ctx.reserve(x.dtype(), dims));
  BEVEL_TRY_STATUS(ctx.reserve(x.dtype(), implied));
  Tensor y = Tensor::zeros(x.dtype(), implied);
  ElementCopier copier(x, y);
  for (std::int64_t i = 0; i < x.size(); ++i) {
    const std::int64_t at = indices.as_int64(i);
    if (at < 0 || at >= y.size()) return fail_operand(1, "I", "element {} is {}, expected 0 to {}", i, at, y.size() - 1);
    copier.copy(i, at);
  }
  if (dims == implied) return std::vector<Datum>{std::move(y)};
  Tensor padded = Tensor::zeros(x.dtype(), dims);
  copy_walk(y, {0, row_major_strides(implied)}, padded, {0, row_major_strides(dims)}, implied);
  return std::vector<Datum>{std::move(padded)};
}

}  // namespace

extern const OpRecord max_unpool_record = {.name = "MaxUnpool",
                                           .since = 9,
                                           .min_inputs = 2,
                                           .max_inputs = 3,
                                           .infer = infer,
                                           .facts = facts,
                                           .evaluate = evaluate_max_unpool};

}  // namespace bevel::ops
