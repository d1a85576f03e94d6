#include <algorithm>

#include "lib/ops/matmul.h"
#include "lib/ops/matrix_product.h"
#include "lib/ops/nn_families.h"
#include "lib/ops/requantize.h"

namespace bevel::ops {
namespace {

// y holds zeros on entry.
void multiply_float(const MatMulShape& s, const float* a, const float* b, float* y) {
  const bool one_b =
      std::all_of(s.b_strides.begin(), s.b_strides.end(), [](std::int64_t stride) { return stride == 0; });
  const Dims contiguous = row_major_strides(s.batch);
  bool a_in_order = true;
  for (std::size_t i = 0; i < s.batch.size(); ++i)
    a_in_order = a_in_order && (s.batch[i] == 1 || s.a_strides[i] == contiguous[i]);
  if (one_b && a_in_order) {  // one product with all rows of the batch below each other
    return multiply_add(s.batch_count() * s.rows, s.columns, s.depth, {a, s.depth, 1}, {b, s.columns, 1}, y, s.columns);
  }
  s.for_each_matrix([&](std::int64_t i, std::int64_t j, std::int64_t n) {
    multiply_add(s.rows, s.columns, s.depth, {a + i * s.rows * s.depth, s.depth, 1},
                 {b + j * s.depth * s.columns, s.columns, 1}, y + n * s.rows * s.columns, s.columns);
  });
}

template <typename Y, typename A, typename B>
void multiply_plain(const MatMulShape& s, const A* a, const B* b, Y* y) {
  s.for_each_matrix([&](std::int64_t i, std::int64_t j, std::int64_t n) {
    multiply_add_plain(s.rows, s.columns, s.depth, a + i * s.rows * s.depth, s.depth, std::int64_t{1},
                       b + j * s.depth * s.columns, s.columns, std::int64_t{1}, y + n * s.rows * s.columns, s.columns);
  });
}

// x - zero_point in int32. The zero point is one number, one per row of A (per column of B), or of a shape that
// broadcasts to x.
Result<std::vector<std::int32_t>> centred_operand(const EvalContext& ctx, std::size_t index, std::size_t zero_index,
                                                  std::string_view role, bool left) {
  const Tensor& x = ctx.tensor(index);
  BEVEL_TRY_STATUS(expect_dtype(x.dtype(), index, role, {DType::int8, DType::uint8}));
  BEVEL_TRY_STATUS(ctx.reserve(DType::int32, x.dims()));
  if (!ctx.has_input(zero_index)) return centred(x, 0);
  const Tensor& zero = ctx.tensor(zero_index);
  if (zero.dtype() != x.dtype()) {
    return fail_operand(zero_index, "zero point", "element type is {}, expected {}", dtype_name(zero.dtype()),
                        dtype_name(x.dtype()));
  }
  if (zero.size() == 1) return centred(x, static_cast<std::int32_t>(zero.as_int64(0)));
  Dims dims = zero.dims();
  if (zero.rank() == 1 && left && x.rank() > 1) dims.push_back(1);
  const auto out = broadcast_dims(dims, x.dims());
  if (!out || *out != x.dims()) {
    return fail_operand(zero_index, "zero point", "has shape {}, which does not fit an operand of shape {}",
                        to_string(zero.dims()), to_string(x.dims()));
  }
  const Dims strides = broadcast_strides(dims, x.dims());
  std::vector<std::int32_t> result = centred(x, 0);
  std::vector<std::int64_t> position(x.rank(), 0);
  for (std::int32_t& value : result) {
    std::int64_t offset = 0;
    for (std::size_t i = 0; i < position.size(); ++i) offset += position[i] * strides[i];
    value -= static_cast<std::int32_t>(zero.as_int64(offset));
    for (std::size_t i = position.size(); i-- > 0;) {
      if (++position[i] < x.dim(i)) break;
      position[i] = 0;
    }
  }
  return result;
}

}  // namespace

Outputs evaluate_matmul(const EvalContext& ctx) {
  const Tensor& a = ctx.tensor(0);
  const Tensor& b = ctx.tensor(1);
  BEVEL_TRY(const MatMulShape shape, matmul_shape(a.dims(), b.dims()));
  const DType dtype = a.dtype();
  if (b.dtype() != dtype)
    return fail_operand(1, "B", "element type is {}, expected {} as A", dtype_name(b.dtype()), dtype_name(dtype));
  BEVEL_TRY_STATUS(ctx.reserve(dtype, shape.out));
  Tensor y = Tensor::zeros(dtype, shape.out);
  if (dtype == DType::float32) {
    multiply_float(shape, a.values<float>().data(), b.values<float>().data(), y.mutable_values<float>().data());
  } else if (dtype == DType::float16 || dtype == DType::bfloat16) {
    BEVEL_TRY_STATUS(ctx.reserve(DType::float32, shape.out));
    std::vector<float> out(static_cast<std::size_t>(y.size()), 0.0f);
    multiply_float(shape, a.as_floats().data(), b.as_floats().data(), out.data());
    y = from_floats(dtype, shape.out, out);
  } else if (dtype == DType::float64) {
    multiply_plain(shape, a.values<double>().data(), b.values<double>().data(), y.mutable_values<double>().data());
  } else {
    // Integers wrap: computed unsigned.
    const bool known = dispatch_integers(dtype, [&](auto tag) {
      using T = std::make_unsigned_t<typename decltype(tag)::type>;
      if constexpr (sizeof(T) >= 4) {
        multiply_plain(shape, a.values<T>().data(), b.values<T>().data(), y.mutable_values<T>().data());
      }
    });
    if (!known || dtype_bits(dtype) < 32) return fail_dtype(dtype, "A");
  }
  return std::vector<Datum>{std::move(y)};
}

Outputs evaluate_matmul_integer(const EvalContext& ctx) {
  BEVEL_TRY(const MatMulShape shape, matmul_shape(ctx.tensor(0).dims(), ctx.tensor(1).dims()));
  BEVEL_TRY(const auto a, centred_operand(ctx, 0, 2, "A", true));
  BEVEL_TRY(const auto b, centred_operand(ctx, 1, 3, "B", false));
  BEVEL_TRY_STATUS(ctx.reserve(DType::int32, shape.out));
  Tensor y = Tensor::zeros(DType::int32, shape.out);
  multiply_plain(shape, a.data(), b.data(), y.mutable_values<std::uint32_t>().data());
  return std::vector<Datum>{std::move(y)};
}

Outputs evaluate_qlinear_matmul(const EvalContext& ctx) {
  BEVEL_TRY(const MatMulShape shape, matmul_shape(ctx.tensor(0).dims(), ctx.tensor(3).dims()));
  const DType dtype = ctx.tensor(7).dtype();
  BEVEL_TRY_STATUS(expect_dtype(dtype, 7, "y_zero_point", {DType::int8, DType::uint8}));
  BEVEL_TRY(const auto a, centred_operand(ctx, 0, 2, "a", true));
  BEVEL_TRY(const auto b, centred_operand(ctx, 3, 5, "b", false));
  BEVEL_TRY(const auto a_scale, scales(ctx, 1, "a_scale", shape.rows));
  BEVEL_TRY(const auto b_scale, scales(ctx, 4, "b_scale", shape.columns));
  BEVEL_TRY(const auto y_scale, scales(ctx, 6, "y_scale", shape.rows));
  BEVEL_TRY(const auto y_zero, zero_points(ctx, 7, "y_zero_point", dtype, shape.rows));
  BEVEL_TRY_STATUS(ctx.reserve(DType::int64, shape.out));
  std::vector<std::int64_t> acc(static_cast<std::size_t>(*element_count(shape.out)), 0);
  multiply_plain(shape, a.data(), b.data(), acc.data());
  Tensor y = Tensor::zeros(dtype, shape.out);
  const IntegerRange range = *integer_range(dtype);
  const auto out = y.mutable_values<std::uint8_t>();
  const auto pick = [](const auto& values, std::size_t i) { return values.size() == 1 ? values[0] : values[i]; };
  for (std::size_t i = 0; i < out.size(); ++i) {
    const auto column = i % static_cast<std::size_t>(shape.columns);
    const auto row = i / static_cast<std::size_t>(shape.columns) % static_cast<std::size_t>(shape.rows);
    const float multiplier = (pick(a_scale, row) * pick(b_scale, column)) / pick(y_scale, row);
    out[i] = static_cast<std::uint8_t>(requantize(acc[i], multiplier, pick(y_zero, row), range));
  }
  return std::vector<Datum>{std::move(y)};
}

}  // namespace bevel::ops
