#include "lib/ops/movement.h"
#include "lib/ops/slice.h"
#include "lib/ops/tensor_family.h"

namespace bevel::ops {

Outputs evaluate_concat(const EvalContext& ctx) {
  const Tensor& first = ctx.tensor(0);
  BEVEL_TRY(const std::int64_t given, require_int(ctx.node(), "axis"));
  BEVEL_TRY(const std::int64_t normal, normalize_axis(given, first.rank()));
  const auto axis = static_cast<std::size_t>(normal);
  Dims dims = first.dims();
  for (std::size_t i = 1; i < ctx.input_count(); ++i) {
    if (!ctx.has_input(i)) return fail_operand(i, "operand", "is absent");
    const Tensor& part = ctx.tensor(i);
    bool matches = part.dtype() == first.dtype() && part.rank() == first.rank();
    for (std::size_t a = 0; matches && a < dims.size(); ++a) matches = a == axis || part.dim(a) == dims[a];
    const auto sum = matches ? checked_add(dims[axis], part.dim(axis)) : std::nullopt;
    if (!sum) {
      return fail_operand(i, "operand", "{}{} does not concatenate with {}{} along axis {}", dtype_name(part.dtype()),
                          to_string(part.dims()), dtype_name(first.dtype()), to_string(first.dims()), axis);
    }
    dims[axis] = *sum;
  }
  BEVEL_TRY_STATUS(ctx.reserve(first.dtype(), dims));
  Tensor out = Tensor::zeros(first.dtype(), dims);
  const Dims strides = row_major_strides(dims);
  std::int64_t begin = 0;
  for (std::size_t i = 0; i < ctx.input_count(); ++i) {
    const Tensor& part = ctx.tensor(i);
    copy_walk(part, {0, row_major_strides(part.dims())}, out, {begin * strides[axis], strides}, part.dims());
    begin += part.dim(axis);
  }
  return std::vector<Datum>{std::move(out)};
}

Outputs evaluate_split(const EvalContext& ctx) {
  const Tensor& x = ctx.tensor(0);
  BEVEL_TRY(const std::int64_t given, attr_int(ctx.node(), "axis", 0));
  BEVEL_TRY(const std::int64_t normal, normalize_axis(given, x.rank()));
  const auto axis = static_cast<std::size_t>(normal);
  BEVEL_TRY(auto sizes, evaluated_list(ctx, 1, "split"));
  const std::size_t count = ctx.node().outputs.size();
  if (!sizes) {
    BEVEL_TRY(const std::int64_t parts, attr_int(ctx.node(), "num_outputs", static_cast<std::int64_t>(count)));
    if (parts != static_cast<std::int64_t>(count)) {
      return fail_input("attribute 'num_outputs' is {}, but the node has {} outputs", parts, count);
    }
    BEVEL_TRY(sizes, equal_parts(x.dim(axis), parts));
  }
  std::optional<std::int64_t> total = 0;
  for (const std::int64_t size : *sizes) total = total && size >= 0 ? checked_add(*total, size) : std::nullopt;
  if (sizes->size() != count || total != x.dim(axis)) {
    return fail_input("'split' is {}, expected {} sizes that sum to the {} elements of axis {}", to_string(*sizes), count,
                      x.dim(axis), axis);
  }
  const Dims strides = row_major_strides(x.dims());
  std::vector<Datum> outputs;
  std::int64_t begin = 0;
  for (const std::int64_t size : *sizes) {
    Dims dims = x.dims();
    dims[axis] = size;
    BEVEL_TRY_STATUS(ctx.reserve(x.dtype(), dims));
    Tensor part = Tensor::zeros(x.dtype(), dims);
    copy_walk(x, {begin * strides[axis], strides}, part, {0, row_major_strides(dims)}, dims);
    begin += size;
    outputs.emplace_back(std::move(part));
  }
  return outputs;
}

}  // namespace bevel::ops
