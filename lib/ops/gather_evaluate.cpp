#include "lib/ops/movement.h"
#include "lib/ops/tensor_family.h"

namespace bevel::ops {
namespace {

Status index_dtype(const EvalContext& ctx) {
  const DType dtype = ctx.tensor(1).dtype();
  if (dtype == DType::int64 || dtype == DType::int32) return {};
  return fail_operand(1, "indices", "element type is {}, expected int64 or int32", dtype_name(dtype));
}

}  // namespace

Outputs evaluate_gather(const EvalContext& ctx) {
  BEVEL_TRY_STATUS(index_dtype(ctx));
  const Tensor& data = ctx.tensor(0);
  const Tensor& indices = ctx.tensor(1);
  BEVEL_TRY(const std::int64_t given, attr_int(ctx.node(), "axis", 0));
  BEVEL_TRY(const std::int64_t normal, normalize_axis(given, data.rank()));
  const auto axis = static_cast<std::size_t>(normal);
  Dims dims(data.dims().begin(), data.dims().begin() + normal);
  dims.insert(dims.end(), indices.dims().begin(), indices.dims().end());
  dims.insert(dims.end(), data.dims().begin() + normal + 1, data.dims().end());
  BEVEL_TRY_STATUS(ctx.reserve(data.dtype(), dims));
  Tensor out = Tensor::zeros(data.dtype(), dims);
  std::vector<std::int64_t> rows = indices.as_int64s();
  for (std::int64_t& row : rows) {
    BEVEL_TRY(row, normal_index(row, data.dim(axis)));
  }
  if (out.size() == 0) return std::vector<Datum>{std::move(out)};
  const std::int64_t outer = product(data.dims(), 0, axis), inner = product(data.dims(), axis + 1, data.rank());
  ElementCopier copier(data, out);
  std::int64_t to = 0;
  for (std::int64_t o = 0; o < outer; ++o) {
    for (const std::int64_t row : rows) {
      copier.copy((o * data.dim(axis) + row) * inner, to, inner);
      to += inner;
    }
  }
  return std::vector<Datum>{std::move(out)};
}

Outputs evaluate_gather_elements(const EvalContext& ctx) {
  BEVEL_TRY_STATUS(index_dtype(ctx));
  const Tensor& data = ctx.tensor(0);
  const Tensor& indices = ctx.tensor(1);
  BEVEL_TRY(const std::int64_t given, attr_int(ctx.node(), "axis", 0));
  BEVEL_TRY(const std::int64_t normal, normalize_axis(given, data.rank()));
  const auto axis = static_cast<std::size_t>(normal);
  bool fits = indices.rank() == data.rank();
  for (std::size_t a = 0; fits && a < data.rank(); ++a) fits = a == axis || indices.dim(a) <= data.dim(a);
  if (!fits) {
    return fail_operand(1, "indices", "shape {} does not fit data of shape {}", to_string(indices.dims()), to_string(data.dims()));
  }
  BEVEL_TRY_STATUS(ctx.reserve(data.dtype(), indices.dims()));
  Tensor out = Tensor::zeros(data.dtype(), indices.dims());
  const Dims strides = row_major_strides(data.dims());
  ElementCopier copier(data, out);
  Dims at(data.rank(), 0);
  for (std::int64_t i = 0; i < indices.size(); ++i) {
    BEVEL_TRY(const std::int64_t index, normal_index(indices.as_int64(i), data.dim(axis)));
    std::int64_t from = 0;
    for (std::size_t a = 0; a < at.size(); ++a) from += (a == axis ? index : at[a]) * strides[a];
    copier.copy(from, i);
    for (std::size_t a = at.size(); a-- > 0;) {
      if (++at[a] < indices.dim(a)) break;
      at[a] = 0;
    }
  }
  return std::vector<Datum>{std::move(out)};
}

Outputs evaluate_gather_nd(const EvalContext& ctx) {
  BEVEL_TRY_STATUS(index_dtype(ctx));
  const Tensor& data = ctx.tensor(0);
  const Tensor& indices = ctx.tensor(1);
  BEVEL_TRY(const std::int64_t batch_given, attr_int(ctx.node(), "batch_dims", 0));
  const auto data_rank = static_cast<std::int64_t>(data.rank()), index_rank = static_cast<std::int64_t>(indices.rank());
  const std::int64_t depth_given = indices.rank() == 0 ? 0 : indices.dims().back();
  if (batch_given < 0 || index_rank == 0 || batch_given >= index_rank || batch_given > data_rank || depth_given < 1 ||
      depth_given > data_rank - batch_given) {
    return fail_operand(1, "indices", "shape {} and {} batch axes do not fit data of shape {}", to_string(indices.dims()),
                        batch_given, to_string(data.dims()));
  }
  const auto batch = static_cast<std::size_t>(batch_given), depth = static_cast<std::size_t>(depth_given);
  for (std::size_t a = 0; a < batch; ++a) {
    if (indices.dim(a) != data.dim(a)) return fail_operand(1, "indices", "batch axis {} has {} elements, but data has {}", a, indices.dim(a), data.dim(a));
  }
  Dims dims(indices.dims().begin(), indices.dims().end() - 1);
  dims.insert(dims.end(), data.dims().begin() + static_cast<std::ptrdiff_t>(batch + depth), data.dims().end());
  BEVEL_TRY_STATUS(ctx.reserve(data.dtype(), dims));
  Tensor out = Tensor::zeros(data.dtype(), dims);
  const std::int64_t tuples = product(indices.dims(), 0, indices.rank() - 1);
  const std::int64_t batches = product(data.dims(), 0, batch);
  const std::int64_t inner = product(data.dims(), batch + depth, data.rank());
  if (tuples == 0 || inner == 0) return std::vector<Datum>{std::move(out)};
  const std::int64_t batch_stride = product(data.dims(), batch, data.rank());
  const Dims strides = row_major_strides(data.dims());
  ElementCopier copier(data, out);
  for (std::int64_t t = 0; t < tuples; ++t) {
    std::int64_t from = t / (tuples / batches) * batch_stride;
    for (std::size_t k = 0; k < depth; ++k) {
      BEVEL_TRY(const std::int64_t index, normal_index(indices.as_int64(t * depth_given + static_cast<std::int64_t>(k)), data.dim(batch + k)));
      from += index * strides[batch + k];
    }
    copier.copy(from, t * inner, inner);
  }
  return std::vector<Datum>{std::move(out)};
}

}  // namespace bevel::ops
