// RandomUniform, RandomNormal, RandomUniformLike, RandomNormalLike (ONNX opsets 1, 22), Multinomial (7, 22), Bernoulli (15, 22).
#include "lib/ops/random.h"

#include "lib/ops/tensor_family.h"

namespace bevel::ops {

Result<Dims> random_shape(const Node& node) {
  if (!has_attr(node, "shape")) return fail_input("required attribute 'shape' is missing");
  BEVEL_TRY(Dims dims, attr_ints(node, "shape"));
  if (!element_count(dims)) return fail_input("attribute 'shape' is {}, expected extents of 0 or more", to_string(dims));
  return dims;
}

Result<DType> random_dtype(const Node& node, DType fallback) {
  BEVEL_TRY(const DType dtype, attr_dtype(node, "dtype", fallback));
  if (dtype == DType::undefined || is_plain_float(dtype)) return dtype;
  return fail_input("the element type is {}, expected float16, bfloat16, float or double", dtype_name(dtype));
}

Result<DType> bernoulli_dtype(const Node& node, DType fallback) {
  BEVEL_TRY(const DType dtype, attr_dtype(node, "dtype", fallback));
  const bool integer = is_integer(dtype) && dtype_bits(dtype) >= 8;
  if (dtype == DType::undefined || is_plain_float(dtype) || integer || dtype == DType::boolean) return dtype;
  return fail_input("the element type is {}, expected a float, bool or an integer of 8 bits or more", dtype_name(dtype));
}

Result<DType> multinomial_dtype(const Node& node) {
  BEVEL_TRY(const DType dtype, attr_dtype(node, "dtype", DType::int32));
  if (dtype == DType::int32 || dtype == DType::int64) return dtype;
  return fail_input("attribute 'dtype' is {}, expected int32 or int64", dtype_name(dtype));
}

namespace {

Status infer_random(InferContext& ctx) {
  BEVEL_TRY(const Dims dims, random_shape(ctx.node()));
  BEVEL_TRY(const DType dtype, random_dtype(ctx.node(), DType::float32));
  ctx.set_output(0, Type::tensor(dtype, dims));
  return {};
}

Status infer_like(InferContext& ctx, DType dtype) {
  Shape shape = input_shape(ctx, 0);
  for (Dim& dim : shape.dims) dim.denotation.clear();
  ctx.set_output(0, Type::tensor(dtype, std::move(shape)));
  return {};
}
Status infer_random_like(InferContext& ctx) {
  BEVEL_TRY(const DType dtype, random_dtype(ctx.node(), input_dtype(ctx, 0)));
  return infer_like(ctx, dtype);
}
Status infer_bernoulli(InferContext& ctx) {
  BEVEL_TRY(const DType dtype, bernoulli_dtype(ctx.node(), input_dtype(ctx, 0)));
  return infer_like(ctx, dtype);
}

Status infer_multinomial(InferContext& ctx) {
  BEVEL_TRY_STATUS(expect_rank(ctx, 0, "input", 2, 2));
  BEVEL_TRY(const DType dtype, multinomial_dtype(ctx.node()));
  BEVEL_TRY(const std::int64_t samples, attr_int(ctx.node(), "sample_size", 1));
  Shape shape = unknown_dims(2);
  if (input_shape(ctx, 0).has_rank) shape.dims[0] = input_shape(ctx, 0).dims[0];
  shape.dims[0].denotation.clear();
  if (samples >= 0) shape.dims[1] = Dim(samples);
  ctx.set_output(0, Type::tensor(dtype, std::move(shape)));
  return {};
}

// Never folded and never shared between nodes.
Facts drawn(const FactsContext&) {
  Facts facts;
  facts.value.pure = false;
  return facts;
}

}  // namespace

extern const OpRecord random_uniform_record{.name = "RandomUniform", .min_inputs = 0, .max_inputs = 0, .infer = infer_random,
                                            .facts = drawn, .evaluate = evaluate_random_uniform};
extern const OpRecord random_normal_record{.name = "RandomNormal", .min_inputs = 0, .max_inputs = 0, .infer = infer_random,
                                           .facts = drawn, .evaluate = evaluate_random_normal};
extern const OpRecord random_uniform_like_record{.name = "RandomUniformLike", .infer = infer_random_like, .facts = drawn,
                                                 .evaluate = evaluate_random_uniform_like};
extern const OpRecord random_normal_like_record{.name = "RandomNormalLike", .infer = infer_random_like, .facts = drawn,
                                                .evaluate = evaluate_random_normal_like};
extern const OpRecord bernoulli_record{.name = "Bernoulli", .since = 15, .infer = infer_bernoulli, .facts = drawn,
                                       .evaluate = evaluate_bernoulli};
extern const OpRecord multinomial_record{.name = "Multinomial", .since = 7, .infer = infer_multinomial, .facts = drawn,
                                         .evaluate = evaluate_multinomial};

}  // namespace bevel::ops
