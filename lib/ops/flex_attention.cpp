// FlexAttention (ai.onnx.preview 1): attention whose scores and probabilities pass through subgraphs of the model. Both
// subgraphs see [batch, heads, queries, keys] in the softmax's precision (float unless Q is double or the attribute says).
#include "lib/ops/attention.h"
#include "lib/ops/control.h"
#include "lib/ops/tensor_family.h"

namespace bevel::ops {
namespace {

Result<DType> softmax_dtype(const Node& node, DType q) {
  BEVEL_TRY(const DType dtype,
            attr_dtype(node, "softmax_precision", q == DType::float64 ? DType::float64 : DType::float32));
  if (!is_plain_float(dtype)) {
    return fail_input("attribute 'softmax_precision' is {}, expected float, float16, double or bfloat16",
                      dtype_name(dtype));
  }
  return dtype;
}

Status infer(InferContext& ctx) {
  BEVEL_TRY_STATUS(expect_rank(ctx, 0, "Q", 4, 4));
  BEVEL_TRY_STATUS(expect_rank(ctx, 1, "K", 4, 4));
  BEVEL_TRY_STATUS(expect_rank(ctx, 2, "V", 4, 4));
  const Shape& q = input_shape(ctx, 0);
  const Shape& k = input_shape(ctx, 1);
  const Shape& v = input_shape(ctx, 2);
  Shape y, scores;
  if (q.has_rank) {
    y = q;
    y.dims[3] = v.has_rank ? v.dims[3] : Dim();
    scores = q;
    scores.dims[3] = k.has_rank ? k.dims[2] : Dim();
    for (Shape* shape : {&y, &scores}) {
      for (Dim& dim : shape->dims) dim.denotation.clear();
    }
  }
  if (input_dtype(ctx, 0) != DType::undefined) {
    BEVEL_TRY(const DType dtype, softmax_dtype(ctx.node(), input_dtype(ctx, 0)));
    const Type type = Type::tensor(dtype, std::move(scores));
    for (const Attribute& attribute : ctx.node().attributes) {
      const GraphPtr* graph = std::get_if<GraphPtr>(&attribute.value);
      if (graph == nullptr || *graph == nullptr) continue;
      BEVEL_TRY([[maybe_unused]] const auto types, ctx.infer_subgraph(**graph, {&type, 1}));
    }
  }
  ctx.set_output(0, Type::tensor(input_dtype(ctx, 0), std::move(y)));
  return {};
}

Facts facts(const FactsContext& ctx) {
  Facts facts;
  facts.value.data_operands = {0, 1, 2};
  facts.value.pure = subgraphs_are_pure(ctx);
  facts.space = attention_space(ctx, 0, 0);
  return facts;
}

// values = graph(values), when the node has that graph.
template <typename S>
Status modify(const EvalContext& ctx, std::string_view name, DType dtype, const Dims& dims, std::vector<S>& values) {
  if (!has_attr(ctx.node(), name)) return {};
  BEVEL_TRY(const Body body, body_of(ctx.node(), name));
  BEVEL_TRY_STATUS(ctx.reserve(dtype, dims));
  const Datum given = from_computed<S>(dtype, dims, values);
  BEVEL_TRY(const std::vector<Datum> results, ctx.run_subgraph(*body.graph, body.first_capture, {&given, 1}));
  const Tensor* result = results.size() == 1 ? results[0].tensor() : nullptr;
  if (result == nullptr || result->dtype() != dtype || result->dims() != dims) {
    return fail_input("the graph of attribute '{}' does not give one {} {}", name, dtype_name(dtype), to_string(dims));
  }
  const FloatOperand<S> operand(*result);
  values.assign(operand.data(), operand.data() + operand.size());
  return {};
}

// C: what Q, K and V are multiplied in; S: the softmax's precision.
template <typename C, typename S>
Outputs attend(const EvalContext& ctx, const AttentionShape& shape, DType softmax) {
  const DType dtype = ctx.tensor(0).dtype();
  BEVEL_TRY(const double factor, attention_factor(ctx.node(), dtype, shape.head));
  const Dims score_dims = {shape.batch, shape.q_heads, shape.queries, shape.keys};
  const Dims y_dims = {shape.batch, shape.q_heads, shape.queries, shape.v_head};
  BEVEL_TRY_STATUS(ctx.reserve(DTypeOf<C>::value, score_dims));
  BEVEL_TRY_STATUS(ctx.reserve(DTypeOf<S>::value, score_dims));
  BEVEL_TRY_STATUS(ctx.reserve(DTypeOf<S>::value, y_dims));
  const FloatOperand<C> q(ctx.tensor(0)), k(ctx.tensor(1));
  const FloatOperand<S> v(ctx.tensor(2));
  std::vector<C> scores(static_cast<std::size_t>(*element_count(score_dims)), C{0});
  std::vector<C> queries, keys;
  const bool nothing = scores.empty() && *element_count(y_dims) == 0;  // however large the batch is
  const std::int64_t planes = nothing ? 0 : shape.batch * shape.q_heads;
  const auto kv_of = [&](std::int64_t plane) {
    return plane / shape.q_heads * shape.kv_heads + shape.kv_head_of(plane % shape.q_heads);
  };
  for (std::int64_t plane = 0; plane < planes; ++plane) {
    const C* q_plane = q.data() + plane * shape.queries * shape.head;
    const C* k_plane = k.data() + kv_of(plane) * shape.keys * shape.head;
    scaled_rows(dtype, q_plane, shape.queries, shape.head, shape.head, static_cast<C>(factor), queries);
    scaled_rows(dtype, k_plane, shape.keys, shape.head, shape.head, static_cast<C>(factor), keys);
    multiply_into<C>(shape.queries, shape.keys, shape.head, {queries.data(), shape.head, 1}, {keys.data(), 1, shape.head},
                     scores.data() + plane * shape.queries * shape.keys, shape.keys);
  }
  round_to<C>(dtype, scores);
  std::vector<S> weights(scores.begin(), scores.end());
  round_to<S>(softmax, weights);
  BEVEL_TRY_STATUS(modify<S>(ctx, "score_mod", softmax, score_dims, weights));
  if (shape.keys > 0) {
    for (std::int64_t row = 0; row < planes * shape.queries; ++row)
      attention_softmax<S>(softmax, std::span<S>(weights.data() + row * shape.keys, static_cast<std::size_t>(shape.keys)));
  }
  BEVEL_TRY_STATUS(modify<S>(ctx, "prob_mod", softmax, score_dims, weights));
  std::vector<S> y(static_cast<std::size_t>(*element_count(y_dims)), S{0});
  for (std::int64_t plane = 0; plane < planes; ++plane) {
    multiply_into<S>(shape.queries, shape.v_head, shape.keys,
                     {weights.data() + plane * shape.queries * shape.keys, shape.keys, 1},
                     {v.data() + kv_of(plane) * shape.keys * shape.v_head, shape.v_head, 1},
                     y.data() + plane * shape.queries * shape.v_head, shape.v_head);
  }
  round_to<S>(softmax, y);
  return std::vector<Datum>{from_computed<S>(dtype, y_dims, y)};
}

Outputs evaluate_flex_attention(const EvalContext& ctx) {
  const DType dtype = ctx.tensor(0).dtype();
  for (std::size_t i = 0; i < 3; ++i) {
    if (ctx.tensor(i).dtype() != dtype || !is_plain_float(dtype))
      return fail_input("Q and input {} are {} and {}, expected one floating type", i, dtype_name(dtype), dtype_name(ctx.tensor(i).dtype()));
  }
  BEVEL_TRY(const AttentionShape shape, attention_shape(ctx.tensor(0).dims(), ctx.tensor(1).dims(), ctx.tensor(2).dims()));
  BEVEL_TRY(const DType softmax, softmax_dtype(ctx.node(), dtype));
  if (dtype == DType::float64) {
    return softmax == DType::float64 ? attend<double, double>(ctx, shape, softmax) : attend<double, float>(ctx, shape, softmax);
  }
  return softmax == DType::float64 ? attend<float, double>(ctx, shape, softmax) : attend<float, float>(ctx, shape, softmax);
}

}  // namespace

extern const OpRecord flex_attention_record = {.domain = "ai.onnx.preview",
                                               .name = "FlexAttention",
                                               .min_inputs = 3,
                                               .max_inputs = 3,
                                               .infer = infer,
                                               .facts = facts,
                                               .evaluate = evaluate_flex_attention};

}  // namespace bevel::ops
