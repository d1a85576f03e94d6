// BitCast (ONNX opset 26): the same bits under another element type of the same width.
#include "lib/ops/tensor_family.h"

namespace bevel::ops {
namespace {

Result<DType> target(const Node& node, DType from) {
  if (!has_attr(node, "to")) return fail_input("required attribute 'to' is missing");
  BEVEL_TRY(const DType to, attr_dtype(node, "to", DType::undefined));
  if (to == DType::undefined || to == DType::string) return fail_input("attribute 'to' is {}, expected an element type of fixed width", dtype_name(to));
  if (from == DType::string) return fail_operand(0, "input", "is of strings, which have no fixed width");
  if (from != DType::undefined && dtype_bits(from) != dtype_bits(to)) {
    return fail_input("{} has {} bits and {} has {}, expected the same width", dtype_name(from), dtype_bits(from), dtype_name(to), dtype_bits(to));
  }
  return to;
}

Status infer(InferContext& ctx) {
  BEVEL_TRY(const DType to, target(ctx.node(), input_dtype(ctx, 0)));
  Shape shape = input_shape(ctx, 0);
  for (Dim& dim : shape.dims) dim.denotation.clear();
  ctx.set_output(0, Type::tensor(to, std::move(shape)));
  return {};
}

// Elements keep their places, but not their values.
Facts facts(const FactsContext& ctx) {
  Facts facts;
  facts.space = elementwise_space(ctx, 1);
  facts.value.layout = LayoutRule::follow;
  facts.value.data_operands = {0};
  return facts;
}

Outputs evaluate(const EvalContext& ctx) {
  const Tensor& x = ctx.tensor(0);
  BEVEL_TRY(const DType to, target(ctx.node(), x.dtype()));
  BEVEL_TRY_STATUS(ctx.reserve(to, x.dims()));
  return std::vector<Datum>{Tensor::from_bytes(to, x.dims(), x.bytes())};
}

}  // namespace

extern const OpRecord bit_cast_record{.name = "BitCast", .since = 26, .infer = infer, .facts = facts, .evaluate = evaluate};

}  // namespace bevel::ops
