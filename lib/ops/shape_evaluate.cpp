#include <algorithm>
#include <cmath>

#include "lib/ops/movement.h"
#include "lib/ops/sparse.h"
#include "lib/ops/tensor_family.h"

namespace bevel::ops {

std::optional<std::int64_t> range_count(const Tensor& start, const Tensor& limit, const Tensor& delta);
Result<Tensor> constant_tensor(const Node& node);

// Number of elements of Range: max(ceil((limit - start) / delta), 0); nullopt for delta 0, NaN, other dtypes and counts beyond 2^53.
std::optional<std::int64_t> range_count(const Tensor& start, const Tensor& limit, const Tensor& delta) {
  if (is_integer(start.dtype()) && is_integer(limit.dtype()) && is_integer(delta.dtype())) {
    const __int128 first = start.as_int64(0), last = limit.as_int64(0), step = delta.as_int64(0);
    if (step == 0) return std::nullopt;
    const __int128 span = step > 0 ? last - first : first - last, stride = step > 0 ? step : -step;
    if (span <= 0) return 0;
    const __int128 count = (span + stride - 1) / stride;
    return count < (__int128{1} << 53) ? std::optional(static_cast<std::int64_t>(count)) : std::nullopt;
  }
  if (!is_plain_float(start.dtype()) || !is_plain_float(limit.dtype()) || !is_plain_float(delta.dtype())) return std::nullopt;
  const double step = delta.as_double(0), count = std::ceil((limit.as_double(0) - start.as_double(0)) / step);
  if (step == 0 || !(count < 0x1p53)) return std::nullopt;
  return count > 0 ? static_cast<std::int64_t>(count) : 0;
}

// The tensor that a Constant node states in any of its forms.
Result<Tensor> constant_tensor(const Node& node) {
  const auto count = [](const auto& list) { return static_cast<std::int64_t>(list.size()); };
  for (const Attribute& attribute : node.attributes) {
    if (attribute.name == "value") {
      if (const Tensor* tensor = std::get_if<Tensor>(&attribute.value)) return *tensor;
    } else if (attribute.name == "value_float") {
      if (const float* value = std::get_if<float>(&attribute.value)) return Tensor::scalar(*value);
    } else if (attribute.name == "value_int") {
      if (const std::int64_t* value = std::get_if<std::int64_t>(&attribute.value)) return Tensor::scalar(*value);
    } else if (attribute.name == "value_string") {
      if (const std::string* value = std::get_if<std::string>(&attribute.value)) return Tensor::of_strings({}, {*value});
    } else if (attribute.name == "value_floats") {
      BEVEL_TRY(const auto values, attr_floats(node, "value_floats"));
      return Tensor::of<float>({count(values)}, values);
    } else if (attribute.name == "value_ints") {
      BEVEL_TRY(const auto values, attr_ints(node, "value_ints"));
      return Tensor::of<std::int64_t>({count(values)}, values);
    } else if (attribute.name == "value_strings") {
      if (const auto* values = std::get_if<std::vector<std::string>>(&attribute.value)) return Tensor::of_strings({count(*values)}, *values);
    } else if (attribute.name == "sparse_value") {
      return fail_input("attribute 'sparse_value' is no sparse tensor of a known element type");
    }
  }
  return fail_input("states no value in a form that is known (value, value_float, value_ints, ...)");
}

Outputs evaluate_shape(const EvalContext& ctx) {
  const Dims& dims = ctx.tensor(0).dims();
  const auto rank = static_cast<std::int64_t>(dims.size());
  BEVEL_TRY(const std::int64_t start, attr_int(ctx.node(), "start", 0));
  BEVEL_TRY(const std::int64_t end, attr_int(ctx.node(), "end", rank));
  const auto clamp = [rank](std::int64_t index) { return std::clamp<std::int64_t>(index < 0 ? index + rank : index, 0, rank); };
  const std::int64_t first = clamp(start), last = std::max(first, clamp(end));
  const std::vector<std::int64_t> part(dims.begin() + first, dims.begin() + last);
  return std::vector<Datum>{Tensor::of<std::int64_t>({last - first}, part)};
}

Outputs evaluate_size(const EvalContext& ctx) { return std::vector<Datum>{Tensor::scalar(ctx.tensor(0).size())}; }

Outputs evaluate_range(const EvalContext& ctx) {
  for (std::size_t i = 0; i < 3; ++i) {
    if (ctx.tensor(i).size() != 1) return fail_operand(i, "operand", "has {} elements, expected 1", ctx.tensor(i).size());
    if (ctx.tensor(i).dtype() != ctx.tensor(0).dtype()) return fail_operand(i, "operand", "element type differs from that of operand 0");
  }
  const DType dtype = ctx.tensor(0).dtype();
  const auto count = range_count(ctx.tensor(0), ctx.tensor(1), ctx.tensor(2));
  if (!count) return fail_input("a delta of 0, a NaN, a count beyond 2^53 or an element type that Range does not take");
  const Dims dims{*count};
  BEVEL_TRY_STATUS(ctx.reserve(dtype, dims));
  Tensor out = Tensor::zeros(dtype, dims);
  const bool known = dispatch_numeric(dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const auto start = load(ctx.tensor(0).values<T>()[0]), delta = load(ctx.tensor(2).values<T>()[0]);
    auto values = out.mutable_values<T>();
    for (std::size_t i = 0; i < values.size(); ++i) {
      if constexpr (std::is_integral_v<T>) {
        values[i] = static_cast<T>(static_cast<std::uint64_t>(start) + static_cast<std::uint64_t>(delta) * i);
      } else {
        values[i] = store<T>(static_cast<ComputeOf<T>>(static_cast<double>(start) + static_cast<double>(i) * static_cast<double>(delta)));
      }
    }
  });
  if (!known) return fail_dtype(dtype, "start");
  return std::vector<Datum>{std::move(out)};
}

Outputs evaluate_constant(const EvalContext& ctx) {
  const Attribute* attribute = ctx.node().attribute("sparse_value");
  if (const auto* sparse = attribute != nullptr ? std::get_if<SparseTensor>(&attribute->value) : nullptr) {
    BEVEL_TRY_STATUS(check_sparse(*sparse));
    BEVEL_TRY_STATUS(ctx.reserve(sparse->values.dtype(), sparse->dims));
    return std::vector<Datum>{dense_tensor(*sparse)};
  }
  BEVEL_TRY(Tensor value, constant_tensor(ctx.node()));
  return std::vector<Datum>{std::move(value)};
}

Outputs evaluate_constant_of_shape(const EvalContext& ctx) {
  BEVEL_TRY(const Dims dims, evaluated_ints(ctx, 0, "input"));
  const Tensor* value = attr_tensor(ctx.node(), "value");
  if (has_attr(ctx.node(), "value") && (value == nullptr || value->size() != 1)) {
    return fail_input("attribute 'value' must be a tensor of one element");
  }
  const DType dtype = value ? value->dtype() : DType::float32;
  BEVEL_TRY_STATUS(ctx.reserve(dtype, dims));
  Tensor out = Tensor::zeros(dtype, dims);
  if (value && out.size() > 0) fill(out, *value);
  return std::vector<Datum>{std::move(out)};
}

Outputs evaluate_eye_like(const EvalContext& ctx) {
  const Tensor& x = ctx.tensor(0);
  if (x.rank() != 2) return fail_operand(0, "input", "rank is {}, expected 2", x.rank());
  BEVEL_TRY(const DType dtype, attr_dtype(ctx.node(), "dtype", x.dtype()));
  BEVEL_TRY(const std::int64_t k, attr_int(ctx.node(), "k", 0));
  if (dtype == DType::string || dtype == DType::complex64 || dtype == DType::complex128 || dtype == DType::undefined) return fail_dtype(dtype, "the output");
  BEVEL_TRY_STATUS(ctx.reserve(dtype, x.dims()));
  Tensor out = Tensor::zeros(dtype, x.dims());
  for (std::int64_t row = 0; row < (out.size() == 0 ? 0 : x.dim(0)); ++row) {
    const auto column = checked_add(row, k);
    if (column && *column >= 0 && *column < x.dim(1)) out.set_from_double(row * x.dim(1) + *column, 1);
  }
  return std::vector<Datum>{std::move(out)};
}

}  // namespace bevel::ops
