// Selection and arrangement by value or position: OneHot, NonZero, Trilu, ReverseSequence, Compress.
#include "lib/ops/tensor_family.h"

namespace bevel::ops {

// select_evaluate.cpp
Outputs evaluate_one_hot(const EvalContext& ctx);
Outputs evaluate_non_zero(const EvalContext& ctx);
Outputs evaluate_trilu(const EvalContext& ctx);
Outputs evaluate_reverse_sequence(const EvalContext& ctx);
Outputs evaluate_compress(const EvalContext& ctx);

namespace {

Status infer_one_hot(InferContext& ctx) {
  BEVEL_TRY(const std::int64_t given, attr_int(ctx.node(), "axis", -1));
  const Shape& indices = input_shape(ctx, 0);
  const DType dtype = input_dtype(ctx, 2);
  if (!indices.has_rank) {
    ctx.set_output(0, Type::tensor(dtype));
    return {};
  }
  BEVEL_TRY(const std::int64_t axis, normalize_axis(given, indices.rank() + 1));
  Dim depth;
  if (const auto ints = ctx.input_ints(1); ints && ints->size() == 1) depth = (*ints)[0];
  std::vector<Dim> dims(indices.dims);
  dims.insert(dims.begin() + axis, depth);
  for (Dim& dim : dims) dim.denotation.clear();
  ctx.set_output(0, Type::tensor(dtype, Shape(std::move(dims))));
  return {};
}

Status infer_non_zero(InferContext& ctx) {
  const Shape& input = input_shape(ctx, 0);
  Shape shape = unknown_dims(2);
  if (input.has_rank) shape.dims[0] = Dim(static_cast<std::int64_t>(input.rank()));
  ctx.set_output(0, Type::tensor(DType::int64, std::move(shape)));
  return {};
}

Status infer_trilu(InferContext& ctx) {
  BEVEL_TRY_STATUS(expect_rank(ctx, 0, "input", 2));
  return infer_same_type(ctx);
}

Status infer_reverse_sequence(InferContext& ctx) {
  BEVEL_TRY_STATUS(expect_rank(ctx, 0, "input", 2));
  BEVEL_TRY_STATUS(expect_rank(ctx, 1, "sequence_lens", 1, 1));
  return infer_same_type(ctx);
}

Status infer_compress(InferContext& ctx) {
  const Shape& input = input_shape(ctx, 0);
  if (!has_attr(ctx.node(), "axis")) {
    set_output_like_input(ctx, unknown_dims(1));
    return {};
  }
  BEVEL_TRY(const std::int64_t given, attr_int(ctx.node(), "axis", 0));
  Shape shape = input;
  if (input.has_rank) {
    BEVEL_TRY(const std::int64_t axis, normalize_axis(given, input.rank()));
    shape.dims[static_cast<std::size_t>(axis)] = Dim();
  }
  set_output_like_input(ctx, std::move(shape));
  return {};
}

// Which element goes where depends on values: nothing is stated beyond that elements move.
Facts data_dependent(const FactsContext&) {
  Facts facts;
  facts.value.data_operands = {0};
  return facts;
}

}  // namespace

extern const OpRecord one_hot_record{.name = "OneHot", .min_inputs = 3, .max_inputs = 3, .infer = infer_one_hot,
                       .evaluate = evaluate_one_hot,
                       // Opset 11 added negative axes and indices; the form of 9 is the same.
                       .upgrade = [](Model&, NodeId, int) { return Status{}; }};
extern const OpRecord non_zero_record{.name = "NonZero", .infer = infer_non_zero, .evaluate = evaluate_non_zero};
extern const OpRecord trilu_record{.name = "Trilu", .max_inputs = 2, .infer = infer_trilu, .facts = data_dependent,
                      .evaluate = evaluate_trilu};
extern const OpRecord reverse_sequence_record{.name = "ReverseSequence", .min_inputs = 2, .max_inputs = 2,
                                .infer = infer_reverse_sequence, .facts = data_dependent,
                                .evaluate = evaluate_reverse_sequence};
extern const OpRecord compress_record{.name = "Compress", .min_inputs = 2, .max_inputs = 2, .infer = infer_compress,
                         .facts = data_dependent, .evaluate = evaluate_compress};

}  // namespace bevel::ops
