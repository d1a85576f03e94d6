// Gather: rows copied by indices that come at run time. A table that the model stores as integers behind DequantizeLinear, or as
// float16 behind a Cast, stays so: its rows are widened as they are read.
#include "lib/ops/family.h"
#include "lib/ops/lower_common.h"
#include "lib/ops/lower_functions.h"
#include "lib/ops/movement_lower.h"
#include "lib/ops/weight_rows.h"

namespace bevel::ops {
namespace {

struct Rows {
  std::int32_t outer = 1, extent = 1, count = 1, index_bytes = 8;
  std::int64_t inner = 1;  // elements of a row
};

Lowered<Rows> rows_of(const LowerContext& context) {
  const GroupOperand& data = context.inputs[0];
  const GroupOperand& indices = context.inputs[1];
  const GroupOperand& out = context.outputs[0];
  for (const GroupOperand* operand : {&data, &indices, &out}) {
    if (!in_logical_order(*operand)) return no_kernel("an operand lies in memory as {}", order_text(operand->order));
  }
  const auto axis = normalize_axis(attr_int(*context.node, "axis", 0).value_or(0), data.dims.size());
  if (!axis) return no_kernel("its axis is out of range");
  if (indices.dtype != DType::int32 && indices.dtype != DType::int64) return no_kernel("its indices are {}", dtype_name(indices.dtype));
  const auto count = kernel_count(indices.dims, "input 1");
  if (!count) return Reason(count.error());
  const auto in_count = kernel_count(data.dims, "input 0");
  if (!in_count) return Reason(in_count.error());
  const auto out_count = kernel_count(out.dims, "output 0");
  if (!out_count) return Reason(out_count.error());
  const auto a = static_cast<std::size_t>(*axis);
  Rows rows;
  rows.outer = static_cast<std::int32_t>(product(data.dims, 0, a));
  rows.extent = static_cast<std::int32_t>(data.dims[a]);
  rows.inner = product(data.dims, a + 1, data.dims.size());
  rows.count = *count;
  rows.index_bytes = indices.dtype == DType::int64 ? 8 : 4;
  if (rows.outer * std::int64_t{rows.count} * rows.inner != *out_count) return no_kernel("its shapes do not fit");
  return rows;
}

LowerResult stored_table(const LowerContext& context, const Rows& rows) {
  const GroupOperand& table = context.inputs[0];
  if (rows.outer != 1) return no_kernel("a table of integers is read along axis 0 alone");
  if (context.outputs[0].dtype != DType::float32 || context.clamp) return no_kernel("it gives {}", dtype_name(context.outputs[0].dtype));
  if (auto reason = check_stored_weights(table)) return Reason(*reason);
  bvl_gather_f32_w_params params{rows.extent, rows.count, static_cast<std::int32_t>(rows.inner), static_cast<std::int32_t>(rows.inner), 0,
                                 stored_bits(table.constant->dtype()), rows.index_bytes};
  std::vector<float> scales = {1.0f};
  if (table.quantization) {
    const Quantization& quantization = *table.quantization;
    const int last = static_cast<int>(table.dims.size()) - 1;
    scales = quantization.scales;
    if (quantization.axis == 0 && quantization.block == 0) {
      params.row_scales = 1;
    } else if (!quantization.per_tensor()) {
      if (table.dims.size() != 2 || quantization.axis != last) return no_kernel("its table has scales along axis {}", quantization.axis);
      params.block = quantization.block > 0 ? static_cast<std::int32_t>(std::min(quantization.block, rows.inner)) : 1;
      params.row_scales = quantization.block > 0 ? 1 : 0;
    }
  }
  LoweredGroup group;
  group.constants.push_back(stored_rows("table", *table.constant, rows.extent, [](std::int64_t i) { return i; }));
  const auto scale_count = static_cast<std::int64_t>(scales.size());
  group.constants.push_back({"scales", DType::float32, {scale_count}, [scales, scale_count]() -> Result<Tensor> {
                               return Tensor::of<float>({scale_count}, scales);
                             }});
  group.steps.push_back(make_step(BVL_KERNEL_GATHER_F32_W, {StepOperand::constant(0), StepOperand::input(1), StepOperand::constant(1)},
                                  {StepOperand::output(0)}, params, rows.count, static_cast<std::uint64_t>(rows.count * rows.inner)));
  return group;
}

}  // namespace

LowerResult lower_gather(const LowerContext& context) {
  const auto rows = rows_of(context);
  if (!rows) return Reason(rows.error());
  const GroupOperand& data = context.inputs[0];
  const GroupOperand& out = context.outputs[0];
  if (data.constant != nullptr && data.dtype != out.dtype && !context.integer()) return stored_table(context, *rows);
  auto mover = Mover::create(context);
  if (!mover) return Reason(mover.error());
  if (data.dtype != out.dtype && !mover->eight_bit()) return no_kernel("it turns {} into {}", dtype_name(data.dtype), dtype_name(out.dtype));
  const int bits = dtype_bits(data.dtype);
  if (bits < 8 || !fits_int32(rows->inner * bits / 8)) return no_kernel("rows of {} cannot be copied", dtype_name(data.dtype));
  const bvl_gather_params params{rows->outer, rows->extent, rows->count, static_cast<std::int32_t>(rows->inner * bits / 8), rows->index_bytes};
  StepOperand table = StepOperand::input(0);
  if (data.constant != nullptr) {
    const DType held = data.dtype == DType::uint8 ? DType::int8 : data.dtype;
    mover->group.constants.push_back({"table", held, data.dims, [tensor = *data.constant]() -> Result<Tensor> {
                                        return tensor.dtype() == DType::uint8 ? Tensor::of<std::int8_t>(tensor.dims(), device_int8(tensor)) : tensor;
                                      }});
    table = StepOperand::constant(0);
  }
  const auto bytes = static_cast<std::uint64_t>(rows->outer) * static_cast<std::uint64_t>(rows->count) * static_cast<std::uint64_t>(params.row_bytes);
  mover->group.steps.push_back(make_step(BVL_KERNEL_GATHER, {table, StepOperand::input(1)}, {StepOperand::output(0)}, params,
                                         std::int64_t{rows->outer} * rows->count, bytes));
  auto requantize = mover->requantization(data, out, StepOperand::output(0), StepOperand::output(0),
                                          static_cast<std::int32_t>(rows->outer * std::int64_t{rows->count} * rows->inner));
  if (!requantize) return Reason(requantize.error());
  if (*requantize) mover->group.steps.push_back(std::move(**requantize));
  return std::move(mover->group);
}

}  // namespace bevel::ops
