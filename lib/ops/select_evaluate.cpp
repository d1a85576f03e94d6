#include <algorithm>

#include "lib/ops/movement.h"
#include "lib/ops/tensor_family.h"

namespace bevel::ops {
namespace {

// An integer from a tensor of any real dtype; a float is truncated.
Result<std::int64_t> as_index(const Tensor& tensor, std::int64_t i) {
  if (is_integer(tensor.dtype())) return tensor.as_int64(i);
  if (!is_floating(tensor.dtype())) return fail_dtype(tensor.dtype(), "an index");
  const double value = tensor.as_double(i);
  if (!(value > -0x1p62 && value < 0x1p62)) return fail_input("{} is not an index", value);
  return static_cast<std::int64_t>(value);
}

}  // namespace

Outputs evaluate_one_hot(const EvalContext& ctx) {
  const Tensor& indices = ctx.tensor(0);
  const Tensor& values = ctx.tensor(2);
  if (ctx.tensor(1).size() != 1) return fail_operand(1, "depth", "has {} elements, expected 1", ctx.tensor(1).size());
  if (values.size() != 2) return fail_operand(2, "values", "has {} elements, expected 2 (off, on)", values.size());
  BEVEL_TRY(const std::int64_t depth, as_index(ctx.tensor(1), 0));
  if (depth < 0) return fail_operand(1, "depth", "is {}, expected 0 or more", depth);
  BEVEL_TRY(const std::int64_t given, attr_int(ctx.node(), "axis", -1));
  BEVEL_TRY(const std::int64_t axis, normalize_axis(given, indices.rank() + 1));
  Dims dims = indices.dims();
  dims.insert(dims.begin() + axis, depth);
  BEVEL_TRY_STATUS(ctx.reserve(values.dtype(), dims));
  Tensor out = Tensor::zeros(values.dtype(), dims);
  if (out.size() == 0) return std::vector<Datum>{std::move(out)};
  fill(out, values, 0);
  const std::int64_t inner = product(indices.dims(), static_cast<std::size_t>(axis), indices.rank());
  ElementCopier copier(values, out);
  for (std::int64_t i = 0; i < indices.size(); ++i) {
    BEVEL_TRY(std::int64_t index, as_index(indices, i));
    if (index < 0 && index >= -depth) index += depth;
    if (index < 0 || index >= depth) continue;  // all off
    copier.copy(1, (i / inner * depth + index) * inner + i % inner);
  }
  return std::vector<Datum>{std::move(out)};
}

Outputs evaluate_non_zero(const EvalContext& ctx) {
  const Tensor& x = ctx.tensor(0);
  if (x.dtype() == DType::complex64 || x.dtype() == DType::complex128) return fail_dtype(x.dtype(), "the input");
  std::vector<std::int64_t> found;
  for (std::int64_t i = 0; i < x.size(); ++i) {
    const bool set = x.dtype() == DType::string ? !x.strings()[static_cast<std::size_t>(i)].empty() : x.as_double(i) != 0;
    if (set) found.push_back(i);
  }
  const auto count = static_cast<std::int64_t>(found.size());
  const Dims dims{static_cast<std::int64_t>(x.rank()), count};
  BEVEL_TRY_STATUS(ctx.reserve(DType::int64, dims));
  Tensor out = Tensor::zeros(DType::int64, dims);
  auto result = out.mutable_values<std::int64_t>();
  const Dims strides = row_major_strides(x.dims());
  for (std::size_t axis = 0; axis < x.rank(); ++axis) {
    for (std::size_t k = 0; k < found.size(); ++k) result[axis * found.size() + k] = found[k] / strides[axis] % x.dim(axis);
  }
  return std::vector<Datum>{std::move(out)};
}

Outputs evaluate_trilu(const EvalContext& ctx) {
  const Tensor& x = ctx.tensor(0);
  if (x.rank() < 2) return fail_operand(0, "input", "rank is {}, expected 2 or more", x.rank());
  BEVEL_TRY(const bool upper, attr_flag(ctx.node(), "upper", true));
  std::int64_t k = 0;
  if (ctx.has_input(1)) {
    BEVEL_TRY(const auto given, evaluated_ints(ctx, 1, "k"));
    if (given.size() != 1) return fail_operand(1, "k", "has {} elements, expected 1", given.size());
    k = given[0];
  }
  BEVEL_TRY_STATUS(ctx.reserve(x.dtype(), x.dims()));
  Tensor out = Tensor::zeros(x.dtype(), x.dims());
  if (x.size() == 0) return std::vector<Datum>{std::move(out)};
  const std::int64_t rows = x.dim(x.rank() - 2), columns = x.dim(x.rank() - 1);
  // Beyond these the diagonal lies outside; clamped so that row + k cannot overflow.
  k = std::clamp<std::int64_t>(k, -rows, columns);
  ElementCopier copier(x, out);
  for (std::int64_t i = 0; i < x.size() / columns; ++i) {
    const std::int64_t row = i % rows, base = i * columns;
    // Upper keeps columns >= row + k, lower columns <= row + k.
    const std::int64_t edge = std::clamp<std::int64_t>(upper ? row + k : row + k + 1, 0, columns);
    if (upper) copier.copy(base + edge, base + edge, columns - edge);
    else copier.copy(base, base, edge);
  }
  return std::vector<Datum>{std::move(out)};
}

Outputs evaluate_reverse_sequence(const EvalContext& ctx) {
  const Tensor& x = ctx.tensor(0);
  BEVEL_TRY(const auto lengths, evaluated_ints(ctx, 1, "sequence_lens"));
  BEVEL_TRY(const std::int64_t time_axis, attr_int(ctx.node(), "time_axis", 0));
  BEVEL_TRY(const std::int64_t batch_axis, attr_int(ctx.node(), "batch_axis", 1));
  if (x.rank() < 2 || time_axis + batch_axis != 1 || (time_axis != 0 && time_axis != 1)) {
    return fail_input("time_axis {} and batch_axis {} of rank {}: expected 0 and 1 in either order", time_axis, batch_axis, x.rank());
  }
  const std::int64_t steps = x.dim(static_cast<std::size_t>(time_axis)), batches = x.dim(static_cast<std::size_t>(batch_axis));
  if (static_cast<std::int64_t>(lengths.size()) != batches) {
    return fail_operand(1, "sequence_lens", "has {} entries, expected {}", lengths.size(), batches);
  }
  BEVEL_TRY_STATUS(ctx.reserve(x.dtype(), x.dims()));
  Tensor out = Tensor::zeros(x.dtype(), x.dims());
  const std::int64_t inner = product(x.dims(), 2, x.rank());
  ElementCopier copier(x, out);
  for (std::int64_t b = 0; b < batches; ++b) {
    const std::int64_t length = lengths[static_cast<std::size_t>(b)];
    if (length < 0 || length > steps) return fail_operand(1, "sequence_lens", "entry {} is {}, expected 0 to {}", b, length, steps);
    for (std::int64_t t = 0; t < (inner == 0 ? 0 : steps); ++t) {
      const std::int64_t source = t < length ? length - 1 - t : t;
      const auto at = [&](std::int64_t step) { return (time_axis == 0 ? step * batches + b : b * steps + step) * inner; };
      copier.copy(at(source), at(t), inner);
    }
  }
  return std::vector<Datum>{std::move(out)};
}

Outputs evaluate_compress(const EvalContext& ctx) {
  const bool flat = !has_attr(ctx.node(), "axis");
  const Tensor& x = ctx.tensor(0);
  const Tensor& condition = ctx.tensor(1);
  if (condition.dtype() != DType::boolean || condition.rank() != 1) return fail_operand(1, "condition", "expected a boolean list");
  BEVEL_TRY(const std::int64_t given, attr_int(ctx.node(), "axis", 0));
  const Dims viewed = flat ? Dims{x.size()} : x.dims();
  BEVEL_TRY(const std::int64_t normal, normalize_axis(given, viewed.size()));
  const auto axis = static_cast<std::size_t>(normal);
  std::vector<std::int64_t> chosen;
  const auto flags = condition.values<std::uint8_t>();
  if (condition.size() > viewed[axis]) return fail_operand(1, "condition", "has {} entries, but the axis {}", condition.size(), viewed[axis]);
  for (std::size_t i = 0; i < flags.size(); ++i) {
    if (flags[i]) chosen.push_back(static_cast<std::int64_t>(i));
  }
  Dims dims = viewed;
  dims[axis] = static_cast<std::int64_t>(chosen.size());
  BEVEL_TRY_STATUS(ctx.reserve(x.dtype(), dims));
  Tensor out = Tensor::zeros(x.dtype(), dims);
  if (out.size() == 0) return std::vector<Datum>{std::move(out)};
  const std::int64_t outer = product(viewed, 0, axis), inner = product(viewed, axis + 1, viewed.size());
  ElementCopier copier(x, out);
  std::int64_t to = 0;
  for (std::int64_t o = 0; o < outer; ++o) {
    for (const std::int64_t row : chosen) {
      copier.copy((o * viewed[axis] + row) * inner, to, inner);
      to += inner;
    }
  }
  return std::vector<Datum>{std::move(out)};
}

}  // namespace bevel::ops
