// Det (ONNX opsets 11, 22): determinants of the square matrices in the last two axes.
#include <cmath>

#include "lib/ops/tensor_family.h"

namespace bevel::ops {
namespace {

Status infer(InferContext& ctx) {
  BEVEL_TRY_STATUS(expect_rank(ctx, 0, "X", 2));
  const Shape& input = input_shape(ctx, 0);
  Shape shape = input;
  if (input.has_rank) {
    const Dim& rows = input.dims[input.rank() - 2];
    const Dim& columns = input.dims[input.rank() - 1];
    if (rows.known() && columns.known() && rows.value != columns.value) {
      return fail_operand(0, "X", "matrices of {} x {}, expected square ones", rows.value, columns.value);
    }
    shape.dims.resize(input.rank() - 2);
  }
  set_output_like_input(ctx, std::move(shape));
  return {};
}

// Gaussian elimination with partial pivoting; `a` is destroyed. 1 for the empty matrix.
double determinant(double* a, std::int64_t n) {
  double result = 1;
  for (std::int64_t k = 0; k < n; ++k) {
    std::int64_t pivot = k;
    for (std::int64_t row = k + 1; row < n; ++row) {
      if (std::fabs(a[row * n + k]) > std::fabs(a[pivot * n + k])) pivot = row;
    }
    if (a[pivot * n + k] == 0) return 0;
    if (pivot != k) {
      for (std::int64_t column = k; column < n; ++column) std::swap(a[pivot * n + column], a[k * n + column]);
      result = -result;
    }
    result *= a[k * n + k];
    for (std::int64_t row = k + 1; row < n; ++row) {
      const double factor = a[row * n + k] / a[k * n + k];
      for (std::int64_t column = k + 1; column < n; ++column) a[row * n + column] -= factor * a[k * n + column];
    }
  }
  return result;
}

Outputs evaluate(const EvalContext& ctx) {
  const Tensor& x = ctx.tensor(0);
  if (!is_plain_float(x.dtype())) return fail_dtype(x.dtype(), "the input");
  if (x.rank() < 2 || x.dim(x.rank() - 1) != x.dim(x.rank() - 2)) {
    return fail_operand(0, "X", "is {}, expected square matrices in the last two axes", to_string(x.dims()));
  }
  const std::int64_t n = x.dim(x.rank() - 1);
  Dims dims(x.dims().begin(), x.dims().end() - 2);
  const auto count = element_count(dims);
  if (!count) return fail_operand(0, "X", "has too many matrices ({})", to_string(dims));
  BEVEL_TRY_STATUS(ctx.reserve(DType::float64, x.dims()));
  BEVEL_TRY_STATUS(ctx.reserve(DType::float64, dims));
  std::vector<double> values = to_doubles(x);
  std::vector<double> results(static_cast<std::size_t>(*count));
  for (std::size_t i = 0; i < results.size(); ++i) results[i] = determinant(values.data() + static_cast<std::int64_t>(i) * n * n, n);
  return std::vector<Datum>{from_doubles(x.dtype(), std::move(dims), results)};
}

}  // namespace

extern const OpRecord det_record{.name = "Det", .since = 11, .infer = infer, .evaluate = evaluate};

}  // namespace bevel::ops
