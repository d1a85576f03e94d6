// QuantizeLinear and DequantizeLinear (ONNX opsets 10, 13, 19, 21, 23, 24, 25, 28), DynamicQuantizeLinear (11).
#include "lib/ops/family.h"
#include "lib/ops/lower_functions.h"
#include "lib/ops/nn_families.h"

namespace bevel::ops {
namespace {

Status check_scale_shape(const InferContext& ctx) {
  const Shape& x = input_shape(ctx, 0);
  const Shape& scale = input_shape(ctx, 1);
  BEVEL_TRY(const std::int64_t block, attr_int(ctx.node(), "block_size", 0));
  if (block < 0) return fail_input("attribute 'block_size' is {}, expected 0 or more", block);
  if (!x.has_rank || !scale.has_rank || scale.rank() == 0) return {};
  if (block == 0 && scale.rank() == 1) {
    const std::int64_t count = extent(scale, 0);
    if (count == 1 || count < 0) return {};
    BEVEL_TRY(const std::int64_t raw, attr_int(ctx.node(), "axis", 1));
    BEVEL_TRY(const std::int64_t axis, normalize_axis(raw, x.rank()));
    const std::int64_t channels = extent(x, static_cast<std::size_t>(axis));
    if (channels >= 0 && channels != count) {
      return fail_operand(1, "scale", "has {} elements, expected 1 or {} as axis {} of x", count, channels, axis);
    }
  }
  return {};
}

Status infer_quantize(InferContext& ctx) {
  BEVEL_TRY_STATUS(check_scale_shape(ctx));
  BEVEL_TRY(const DType stated, attr_dtype(ctx.node(), "output_dtype", DType::undefined));
  const DType zero = input_dtype(ctx, 2);
  if (ctx.has_input(2) && stated != DType::undefined && zero != DType::undefined && stated != zero) {
    return fail_operand(2, "y_zero_point", "element type is {}, but 'output_dtype' says {}", dtype_name(zero),
                        dtype_name(stated));
  }
  const DType dtype = ctx.has_input(2)             ? (zero != DType::undefined ? zero : stated)
                      : stated != DType::undefined ? stated
                                                   : DType::uint8;
  ctx.set_output(0, Type::tensor(dtype, input_shape(ctx, 0)));
  return {};
}

Status infer_dequantize(InferContext& ctx) {
  BEVEL_TRY_STATUS(check_scale_shape(ctx));
  BEVEL_TRY(const DType stated, attr_dtype(ctx.node(), "output_dtype", DType::undefined));
  ctx.set_output(0, Type::tensor(stated != DType::undefined ? stated : input_dtype(ctx, 1), input_shape(ctx, 0)));
  return {};
}

Status infer_dynamic(InferContext& ctx) {
  ctx.set_output(0, Type::tensor(DType::uint8, input_shape(ctx, 0)));
  ctx.set_output(1, Type::tensor(DType::float32, std::vector<std::int64_t>{}));
  ctx.set_output(2, Type::tensor(DType::uint8, std::vector<std::int64_t>{}));
  return {};
}

// Opset 21 may state the output's type, which a zero point (or, 23, a scale) says as well; 13 has scales along an axis.
Status downgrade_linear(Model& model, NodeId id, int from) {
  Graph& graph = model.graph;
  const Node& node = graph.node(id);
  const bool quantizes = node.op_type == "QuantizeLinear";
  const auto dtype_of = [&](std::size_t i) {
    return i < node.inputs.size() && node.inputs[i].valid() ? graph.value(node.inputs[i]).type.dtype : DType::undefined;
  };
  if (from == (quantizes ? 21 : 23)) {
    BEVEL_TRY(const DType stated, attr_dtype(node, "output_dtype", DType::undefined));
    const bool by_operand = stated == dtype_of(quantizes ? 2 : 1);
    const bool by_default = quantizes && dtype_of(2) == DType::undefined && stated == DType::uint8;
    if (by_operand || by_default) graph.mutable_node(id).remove_attribute("output_dtype");
  }
  if (from != 13) return {};
  const Type& scale = graph.value(node.inputs[1]).type;
  const auto count = scale.shape.has_rank ? scale.shape.known_dims() : std::nullopt;
  const bool one = count && element_count(*count) == 1;
  return one ? Status{} : fail_operand(1, "scale", "must have one element there, and has {}", bevel::to_string(scale));
}

Facts facts_linear(const FactsContext& ctx) {
  Facts facts;
  facts.space = elementwise_space(ctx, 1);
  facts.space.inputs.resize(ctx.node().inputs.size());
  facts.value.layout = LayoutRule::follow;
  facts.value.data_operands = {0};
  return facts;
}

Facts facts_dynamic(const FactsContext&) {
  Facts facts;
  facts.value.data_operands = {0};
  return facts;
}

}  // namespace

extern const OpRecord quantize_linear_record = {.name = "QuantizeLinear",
                                                .min_inputs = 2,
                                                .max_inputs = 3,
                                                .infer = infer_quantize,
                                                .facts = facts_linear,
                                                .evaluate = evaluate_quantize_linear,
                                                .downgrade = downgrade_linear,
                                                .lower = lower_quantize};
extern const OpRecord dequantize_linear_record = {.name = "DequantizeLinear",
                                                  .min_inputs = 2,
                                                  .max_inputs = 3,
                                                  .infer = infer_dequantize,
                                                  .facts = facts_linear,
                                                  .evaluate = evaluate_dequantize_linear,
                                                  .downgrade = downgrade_linear,
                                                  .lower = lower_dequantize};
extern const OpRecord dynamic_quantize_linear_record = {.name = "DynamicQuantizeLinear",
                                                        .min_outputs = 1,
                                                        .max_outputs = 3,
                                                        .infer = infer_dynamic,
                                                        .facts = facts_dynamic,
                                                        .evaluate = evaluate_dynamic_quantize_linear};

}  // namespace bevel::ops
