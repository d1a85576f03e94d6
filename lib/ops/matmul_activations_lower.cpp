#include "lib/ops/matmul_activations_lower.h"

#include <algorithm>

#include "lib/ops/matmul.h"

namespace bevel::ops {
namespace {

// (x - zx) of 8 bits is at most 255: so many products of two of them stay within int32.
constexpr std::int64_t kMaxProducts = INT32_MAX / (255 * 255);

struct Matrix {
  Dims batch;  // strides along the result's batch axes, 0 where broadcast
  std::int64_t line = 0, column = 0;  // strides of the last two axes; of a vector, which has one, the other is 0
};

Matrix matrix_of(const GroupOperand& operand, std::size_t batch_rank, bool is_left) {
  const Dims strides = memory_strides(operand.dims, operand.order);
  const std::size_t rank = operand.dims.size();
  Matrix matrix;
  matrix.batch.assign(batch_rank, 0);
  if (rank == 1) {
    (is_left ? matrix.column : matrix.line) = strides[0];
    return matrix;
  }
  matrix.line = strides[rank - 2];
  matrix.column = strides[rank - 1];
  for (std::size_t k = 0; k + 2 < rank; ++k) {
    if (operand.dims[k] != 1) matrix.batch[batch_rank - (rank - 2) + k] = strides[k];
  }
  return matrix;
}

}  // namespace

LowerResult activation_product(const GroupOperand& a, const GroupOperand& b, int b_index, const GroupOperand& y, const Quantization& qa,
                               const Quantization& qb, const Quantization& qy, const std::optional<Interval>& clamp) {
  for (const GroupOperand* operand : {&a, &b, &y}) {
    const auto count = kernel_count(operand->dims, "an operand");
    if (!count) return Reason(count.error());
  }
  const auto shape = matmul_shape(a.dims, b.dims);
  if (!shape || shape->out != y.dims) return no_kernel("shapes {} and {} do not fit", to_string(a.dims), to_string(b.dims));
  if (!in_logical_order(y)) return no_kernel("output 0 lies in memory as {}", order_text(y.order));
  if (shape->depth > kMaxProducts) {
    return no_kernel("each output sums {} products of two activations: 32 bits are sure to hold {}", shape->depth, kMaxProducts);
  }
  const Matrix left = matrix_of(a, shape->batch.size(), true), right = matrix_of(b, shape->batch.size(), false);
  if (left.column != 1 && shape->depth != 1) return no_kernel("input 0 lies in memory as {}", order_text(a.order));
  const auto nest = coalesce({shape->batch, {left.batch, right.batch}});
  if (!nest || nest->dims.size() > BVL_MAX_RANK - 2) return no_kernel("it has more than {} batch axes", BVL_MAX_RANK - 2);
  bvl_matmul_s8_params params{};
  params.rank = static_cast<std::int32_t>(nest->dims.size());
  for (std::size_t k = 0; k < nest->dims.size(); ++k) {
    params.dims[k] = static_cast<std::int32_t>(nest->dims[k]);
    const bool one = nest->dims[k] == 1;  // its stride says nothing
    params.a_strides[k] = one ? 0 : static_cast<std::int32_t>(nest->strides[0][k]);
    params.b_strides[k] = one ? 0 : static_cast<std::int32_t>(nest->strides[1][k]);
  }
  params.rows = static_cast<std::int32_t>(shape->rows);
  params.in_c = static_cast<std::int32_t>(shape->depth);
  params.out_c = static_cast<std::int32_t>(shape->columns);
  params.a_row = static_cast<std::int32_t>(left.line);
  params.b_step = shape->depth == 1 ? 1 : static_cast<std::int32_t>(right.line);
  params.b_column = static_cast<std::int32_t>(right.column);
  params.a_zp = device_zero_point(qa);
  params.b_zp = device_zero_point(qb);
  params.out_zp = device_zero_point(qy);
  const float scale = qa.scales[0] * qb.scales[0];
  params.multiplier = scale / qy.scales[0];
  const ClampBounds bounds = clamp_bounds(qy, clamp);
  params.low = bounds.low;
  params.high = bounds.high;
  LoweredGroup group;
  const std::int64_t outputs = *element_count(y.dims);
  group.steps.push_back(make_step(BVL_KERNEL_MATMUL_S8, {StepOperand::input(0), StepOperand::input(b_index)}, {StepOperand::output(0)}, params,
                                  outputs / shape->columns, static_cast<std::uint64_t>(outputs) * static_cast<std::uint64_t>(shape->depth)));
  return group;
}

LowerResult activation_product(const LowerContext& context) {
  if (context.wide()) return no_kernel("input 1 is no constant: there is no integer kernel for two int16 activations");
  const auto a = activation_quantization(context.inputs[0], "input 0");
  if (!a) return Reason(a.error());
  const auto b = activation_quantization(context.inputs[1], "input 1");
  if (!b) return Reason(b.error());
  const auto y = activation_quantization(context.outputs[0], "output 0");
  if (!y) return Reason(y.error());
  return activation_product(context.inputs[0], context.inputs[1], 1, context.outputs[0], *a, *b, *y, context.clamp);
}

}  // namespace bevel::ops
