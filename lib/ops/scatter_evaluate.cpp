#include <algorithm>

#include "lib/ops/movement.h"
#include "lib/ops/tensor_family.h"

namespace bevel::ops {
namespace {

enum class Reduction { none, add, mul, min, max };

Result<Reduction> reduction_of(const Node& node) {
  BEVEL_TRY(const std::string name, attr_string(node, "reduction", "none"));
  if (name == "none") return Reduction::none;
  if (name == "add") return Reduction::add;
  if (name == "mul") return Reduction::mul;
  if (name == "min") return Reduction::min;
  if (name == "max") return Reduction::max;
  return fail_input("attribute 'reduction' is '{}', expected none, add, mul, min or max", printable(name));
}

Status check_dtypes(const EvalContext& ctx, Reduction reduction) {
  const DType data = ctx.tensor(0).dtype(), indices = ctx.tensor(1).dtype(), updates = ctx.tensor(2).dtype();
  if (indices != DType::int64 && indices != DType::int32) {
    return fail_operand(1, "indices", "element type is {}, expected int64 or int32", dtype_name(indices));
  }
  if (updates != data) {
    return fail_operand(2, "updates", "element type is {}, but data has {}", dtype_name(updates), dtype_name(data));
  }
  if (reduction != Reduction::none && !dispatch_numeric(data, [](auto) {})) return fail_dtype(data, "data");
  return {};
}

template <typename T>
T combine(T old, T update, Reduction reduction) {
  const auto a = load(old), b = load(update);
  using C = ComputeOf<T>;
  switch (reduction) {
    case Reduction::none: return update;
    case Reduction::min: return b < a ? update : old;
    case Reduction::max: return a < b ? update : old;
    default: break;
  }
  if constexpr (std::is_integral_v<C>) {  // wraps
    const auto x = static_cast<std::uint64_t>(a), y = static_cast<std::uint64_t>(b);
    return static_cast<T>(reduction == Reduction::add ? x + y : x * y);
  } else {
    return store<T>(reduction == Reduction::add ? a + b : a * b);
  }
}

// Writes `count` elements of the updates over the output, in the order of the calls.
class Writer {
 public:
  Writer(const Tensor& updates, Tensor& out, Reduction reduction)
      : updates_(updates), out_(out), reduction_(reduction), copier_(updates, out) {}
  void write(std::int64_t from, std::int64_t to, std::int64_t count) {
    if (reduction_ == Reduction::none) {
      copier_.copy(from, to, count);
      return;
    }
    dispatch_numeric(out_.dtype(), [&](auto tag) {
      using T = typename decltype(tag)::type;
      const auto source = updates_.values<T>().subspan(static_cast<std::size_t>(from), static_cast<std::size_t>(count));
      auto target = out_.mutable_values<T>().subspan(static_cast<std::size_t>(to), static_cast<std::size_t>(count));
      for (std::size_t i = 0; i < source.size(); ++i) target[i] = combine(target[i], source[i], reduction_);
    });
  }

 private:
  const Tensor& updates_;
  Tensor& out_;
  Reduction reduction_;
  ElementCopier copier_;
};

// A private copy of the data.
Tensor copy_of(const Tensor& data) {
  Tensor out = Tensor::zeros(data.dtype(), data.dims());
  if (data.size() > 0) ElementCopier(data, out).copy(0, 0, data.size());
  return out;
}

}  // namespace

Outputs evaluate_scatter_elements(const EvalContext& ctx) {
  BEVEL_TRY(const Reduction reduction, reduction_of(ctx.node()));
  BEVEL_TRY_STATUS(check_dtypes(ctx, reduction));
  const Tensor& data = ctx.tensor(0);
  const Tensor& indices = ctx.tensor(1);
  const Tensor& updates = ctx.tensor(2);
  BEVEL_TRY(const std::int64_t given, attr_int(ctx.node(), "axis", 0));
  BEVEL_TRY(const std::int64_t normal, normalize_axis(given, data.rank()));
  const auto axis = static_cast<std::size_t>(normal);
  bool fits = indices.rank() == data.rank() && updates.dims() == indices.dims();
  for (std::size_t a = 0; fits && a < data.rank(); ++a) fits = a == axis || indices.dim(a) <= data.dim(a);
  if (!fits) {
    return fail_operand(1, "indices", "shape {} does not fit data of shape {} and updates of shape {}",
                        to_string(indices.dims()), to_string(data.dims()), to_string(updates.dims()));
  }
  BEVEL_TRY_STATUS(ctx.reserve(data.dtype(), data.dims()));
  Tensor out = copy_of(data);
  const Dims strides = row_major_strides(data.dims());
  Writer writer(updates, out, reduction);
  Dims at(data.rank(), 0);
  for (std::int64_t i = 0; i < indices.size(); ++i) {
    BEVEL_TRY(const std::int64_t index, normal_index(indices.as_int64(i), data.dim(axis)));
    std::int64_t to = 0;
    for (std::size_t a = 0; a < at.size(); ++a) to += (a == axis ? index : at[a]) * strides[a];
    writer.write(i, to, 1);
    for (std::size_t a = at.size(); a-- > 0;) {
      if (++at[a] < indices.dim(a)) break;
      at[a] = 0;
    }
  }
  return std::vector<Datum>{std::move(out)};
}

Outputs evaluate_scatter_nd(const EvalContext& ctx) {
  BEVEL_TRY(const Reduction reduction, reduction_of(ctx.node()));
  BEVEL_TRY_STATUS(check_dtypes(ctx, reduction));
  const Tensor& data = ctx.tensor(0);
  const Tensor& indices = ctx.tensor(1);
  const Tensor& updates = ctx.tensor(2);
  const std::int64_t depth_given = indices.rank() == 0 ? -1 : indices.dims().back();
  if (depth_given < 1 || depth_given > static_cast<std::int64_t>(data.rank())) {
    return fail_operand(1, "indices", "shape {} does not fit data of shape {}", to_string(indices.dims()), to_string(data.dims()));
  }
  const auto depth = static_cast<std::size_t>(depth_given);
  Dims expected(indices.dims().begin(), indices.dims().end() - 1);
  expected.insert(expected.end(), data.dims().begin() + static_cast<std::ptrdiff_t>(depth), data.dims().end());
  if (updates.dims() != expected) {
    return fail_operand(2, "updates", "shape is {}, expected {}", to_string(updates.dims()), to_string(expected));
  }
  BEVEL_TRY_STATUS(ctx.reserve(data.dtype(), data.dims()));
  Tensor out = copy_of(data);
  const Dims strides = row_major_strides(data.dims());
  const std::int64_t tuples = product(indices.dims(), 0, indices.rank() - 1);
  const std::int64_t inner = product(data.dims(), depth, data.rank());
  Writer writer(updates, out, reduction);
  for (std::int64_t t = 0; inner > 0 && t < tuples; ++t) {
    std::int64_t to = 0;
    for (std::size_t k = 0; k < depth; ++k) {
      BEVEL_TRY(const std::int64_t index, normal_index(indices.as_int64(t * depth_given + static_cast<std::int64_t>(k)), data.dim(k)));
      to += index * strides[k];
    }
    writer.write(t * inner, to, inner);
  }
  return std::vector<Datum>{std::move(out)};
}

}  // namespace bevel::ops
