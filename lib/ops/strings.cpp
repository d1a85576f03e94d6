// Operators on strings: StringNormalizer (ONNX opset 10), StringConcat, StringSplit and RegexFullMatch (20).
#include "lib/ops/strings.h"

#include "lib/ops/tensor_family.h"

namespace bevel::ops {
namespace {

Status infer_normalizer(InferContext& ctx) {
  BEVEL_TRY_STATUS(expect_dtype(input_dtype(ctx, 0), 0, "X", {DType::string}));
  BEVEL_TRY_STATUS(expect_rank(ctx, 0, "X", 1, 2));
  Shape shape = input_shape(ctx, 0);
  if (shape.has_rank) {
    const Dim& rows = shape.dims[0];
    if (shape.rank() == 2 && rows.known() && rows.value != 1) {
      return fail_operand(0, "X", "has {} rows, expected [C] or [1, C]", rows.value);
    }
    if (shape.rank() == 2) shape.dims[0] = Dim(1);
    shape.dims.back() = Dim();  // stop words go
  }
  ctx.set_output(0, Type::tensor(DType::string, std::move(shape)));
  return {};
}

Status infer_concat(InferContext& ctx) {
  for (const std::size_t i : {0, 1}) BEVEL_TRY_STATUS(expect_dtype(input_dtype(ctx, i), i, i == 0 ? "X" : "Y", {DType::string}));
  Shape shape;
  if (input_shape(ctx, 0).has_rank && input_shape(ctx, 1).has_rank) {
    BEVEL_TRY(shape, broadcast_shapes(input_shape(ctx, 0), input_shape(ctx, 1)));
  }
  ctx.set_output(0, Type::tensor(DType::string, std::move(shape)));
  return {};
}

Status infer_split(InferContext& ctx) {
  BEVEL_TRY_STATUS(expect_dtype(input_dtype(ctx, 0), 0, "X", {DType::string}));
  Shape shape = input_shape(ctx, 0);
  for (Dim& dim : shape.dims) dim.denotation.clear();
  ctx.set_output(1, Type::tensor(DType::int64, shape));
  if (shape.has_rank) shape.dims.emplace_back();
  ctx.set_output(0, Type::tensor(DType::string, std::move(shape)));
  return {};
}

Status infer_full_match(InferContext& ctx) {
  BEVEL_TRY_STATUS(expect_dtype(input_dtype(ctx, 0), 0, "X", {DType::string}));
  Shape shape = input_shape(ctx, 0);
  for (Dim& dim : shape.dims) dim.denotation.clear();
  ctx.set_output(0, Type::tensor(DType::boolean, std::move(shape)));
  return {};
}

Facts pointwise(const FactsContext& ctx, std::size_t operands) {
  Facts facts;
  facts.space = elementwise_space(ctx, operands);
  facts.value.layout = LayoutRule::follow;
  return facts;
}
Facts concat_facts(const FactsContext& ctx) { return pointwise(ctx, 2); }
Facts full_match_facts(const FactsContext& ctx) { return pointwise(ctx, 1); }

}  // namespace

extern const OpRecord string_normalizer_record{.name = "StringNormalizer", .since = 10, .infer = infer_normalizer,
                                               .evaluate = evaluate_string_normalizer};
extern const OpRecord string_concat_record{.name = "StringConcat", .since = 20, .min_inputs = 2, .max_inputs = 2,
                                           .infer = infer_concat, .facts = concat_facts, .evaluate = evaluate_string_concat};
extern const OpRecord string_split_record{.name = "StringSplit", .since = 20, .max_outputs = 2, .infer = infer_split,
                                          .evaluate = evaluate_string_split};
extern const OpRecord regex_full_match_record{.name = "RegexFullMatch", .since = 20, .infer = infer_full_match,
                                              .facts = full_match_facts, .evaluate = evaluate_regex_full_match};

}  // namespace bevel::ops
