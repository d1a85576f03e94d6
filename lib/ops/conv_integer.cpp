// ConvInteger (opset 10) and QLinearConv (opset 10): convolutions on stored integers.
#include "lib/ops/conv.h"
#include "lib/ops/lower_functions.h"
#include "lib/ops/nn_families.h"

namespace bevel::ops {
namespace {

Status infer_conv_integer(InferContext& ctx) {
  BEVEL_TRY_STATUS(expect_dtype(input_dtype(ctx, 0), 0, "x", {DType::int8, DType::uint8}));
  BEVEL_TRY_STATUS(expect_dtype(input_dtype(ctx, 1), 1, "w", {DType::int8, DType::uint8}));
  BEVEL_TRY(Shape shape, infer_conv_shape(ctx, 0, 1));
  ctx.set_output(0, Type::tensor(DType::int32, std::move(shape)));
  return {};
}

// Operands of QLinearConv: x, x_scale, x_zero_point, w, w_scale, w_zero_point, y_scale, y_zero_point, B.
Status infer_qlinear_conv(InferContext& ctx) {
  BEVEL_TRY_STATUS(expect_dtype(input_dtype(ctx, 0), 0, "x", {DType::int8, DType::uint8}));
  BEVEL_TRY_STATUS(expect_dtype(input_dtype(ctx, 3), 3, "w", {DType::int8, DType::uint8}));
  BEVEL_TRY_STATUS(expect_dtype(input_dtype(ctx, 7), 7, "y_zero_point", {DType::int8, DType::uint8}));
  BEVEL_TRY(Shape shape, infer_conv_shape(ctx, 0, 3));
  ctx.set_output(0, Type::tensor(input_dtype(ctx, 7), std::move(shape)));
  return {};
}

Facts facts_conv_integer(const FactsContext& ctx) {
  Facts facts;
  facts.space = conv_space(ctx, ctx.node().inputs.size(), 0, 1, -1);
  facts.value.data_operands = {0, 1};
  return facts;
}

Facts facts_qlinear_conv(const FactsContext& ctx) {
  Facts facts;
  facts.space = conv_space(ctx, ctx.node().inputs.size(), 0, 3, 8);
  facts.value.layout = LayoutRule::channels_last;
  facts.value.data_operands = {0, 3};
  facts.value.bias_operand = 8;
  return facts;
}

}  // namespace

extern const OpRecord conv_integer_record = {.domain = "",
                                             .name = "ConvInteger",
                                             .min_inputs = 2,
                                             .max_inputs = 4,
                                             .infer = infer_conv_integer,
                                             .facts = facts_conv_integer,
                                             .evaluate = evaluate_conv_integer};
extern const OpRecord qlinear_conv_record = {.domain = "",
                                             .name = "QLinearConv",
                                             .min_inputs = 8,
                                             .max_inputs = 9,
                                             .infer = infer_qlinear_conv,
                                             .facts = facts_qlinear_conv,
                                             .evaluate = evaluate_qlinear_conv,
                                             .lower = lower_qlinear_conv};

}  // namespace bevel::ops
