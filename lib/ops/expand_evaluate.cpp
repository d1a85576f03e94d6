#include "lib/ops/movement.h"
#include "lib/ops/tensor_family.h"

namespace bevel::ops {

Outputs evaluate_expand(const EvalContext& ctx) {
  const Tensor& x = ctx.tensor(0);
  BEVEL_TRY(const auto wanted, evaluated_ints(ctx, 1, "shape"));
  for (const std::int64_t value : wanted) {
    if (value < 0) return fail_operand(1, "shape", "has the negative entry {}", value);
  }
  BEVEL_TRY(const Dims dims, broadcast_dims(x.dims(), wanted));
  BEVEL_TRY_STATUS(ctx.reserve(x.dtype(), dims));
  Tensor out = Tensor::zeros(x.dtype(), dims);
  copy_walk(x, {0, broadcast_strides(x.dims(), dims)}, out, {0, row_major_strides(dims)}, dims);
  return std::vector<Datum>{std::move(out)};
}

Outputs evaluate_tile(const EvalContext& ctx) {
  const Tensor& x = ctx.tensor(0);
  BEVEL_TRY(const auto repeats, evaluated_ints(ctx, 1, "repeats"));
  if (repeats.size() != x.rank()) {
    return fail_operand(1, "repeats", "has {} entries, but the input has rank {}", repeats.size(), x.rank());
  }
  Dims dims, walked;  // walked: each axis as (repeat, extent)
  Walk from;
  const Dims strides = row_major_strides(x.dims());
  for (std::size_t i = 0; i < x.rank(); ++i) {
    const auto extent = repeats[i] < 0 ? std::nullopt : checked_mul(x.dim(i), repeats[i]);
    if (!extent) return fail_operand(1, "repeats", "entry {} is {}: expected 0 or more, and a result that fits", i, repeats[i]);
    dims.push_back(*extent);
    walked.insert(walked.end(), {repeats[i], x.dim(i)});
    from.strides.insert(from.strides.end(), {0, strides[i]});
  }
  BEVEL_TRY_STATUS(ctx.reserve(x.dtype(), dims));
  Tensor out = Tensor::zeros(x.dtype(), dims);
  copy_walk(x, from, out, {0, row_major_strides(walked)}, walked);
  return std::vector<Datum>{std::move(out)};
}

}  // namespace bevel::ops
