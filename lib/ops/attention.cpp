// Attention (ONNX opsets 23, 24, 25): scaled dot-product attention with grouped heads, masks and a key-value cache. 24 adds
// nonpad_kv_seqlen (a cache kept outside), 25 the sliding window. Q, K and V are [batch, heads, sequence, head size],
// or packed [batch, sequence, heads * head size] with the head counts as attributes.
#include "lib/ops/attention.h"

#include "lib/ops/nn_families.h"

namespace bevel::ops {

IterationSpace attention_space(const FactsContext& ctx, std::int64_t q_heads, std::int64_t kv_heads) {
  IterationSpace space;
  const Shape& q = input_shape(ctx, 0);
  const Shape& k = input_shape(ctx, 1);
  const Shape& v = input_shape(ctx, 2);
  const std::size_t rank = q.rank();
  if ((rank != 3 && rank != 4) || k.rank() != rank || v.rank() != rank) return space;
  std::int64_t head = extent(q, rank - 1), v_head = extent(v, rank - 1);
  std::int64_t keys = extent(k, rank - 2);
  if (rank == 4) {
    q_heads = extent(q, 1);
    kv_heads = extent(k, 1);
  } else if (q_heads > 0 && kv_heads > 0) {
    head = head < 0 ? -1 : head / q_heads;
    v_head = v_head < 0 ? -1 : v_head / kv_heads;
  }
  const Shape& past = input_shape(ctx, 4);
  if (ctx.has_input(4)) keys = keys >= 0 && past.rank() == 4 ? checked_add(keys, extent(past, 2)).value_or(-1) : -1;
  if (ctx.has_input(4) && extent(past, 2) < 0) keys = -1;
  const bool grouped = q_heads > 0 && kv_heads > 0 && q_heads % kv_heads == 0;
  // Both products in one nest: the reduced depth of Q * K^T, then the columns of P * V, as two segments of one loop.
  enum : int { kBatch, kKvHead, kGroup, kQuery, kKey, kDepth };
  const auto depth = head >= 0 && v_head >= 0 ? checked_add(head, v_head) : std::nullopt;
  space.kind = OpKind::bilinear;
  space.loops = {{extent(q, 0), false},         {grouped ? kv_heads : -1, false}, {grouped ? q_heads / kv_heads : -1, false},
                 {extent(q, rank - 2), false},  {keys, true},                     {depth.value_or(-1), false}};
  space.inputs.resize(ctx.node().inputs.size());
  // A cache in front of K and V, or heads packed into the last axis, is not one loop of the nest.
  const AxisMap key = ctx.has_input(4) ? AxisMap{} : AxisMap::follow(kKey);
  const AxisMap first = AxisMap::segment(kDepth, 0), second = AxisMap::segment(kDepth, std::max<std::int64_t>(0, head));
  if (rank == 4) {
    const AxisMap heads = AxisMap::factors({kKvHead, kGroup});
    space.inputs[0].axes = {AxisMap::follow(kBatch), heads, AxisMap::follow(kQuery), first};
    space.inputs[1].axes = {AxisMap::follow(kBatch), AxisMap::follow(kKvHead), key, first};
    space.inputs[2].axes = {AxisMap::follow(kBatch), AxisMap::follow(kKvHead), key, second};
    space.outputs = {OperandMap{{AxisMap::follow(kBatch), heads, AxisMap::follow(kQuery), second}}};
  } else {
    space.inputs[0].axes = {AxisMap::follow(kBatch), AxisMap::follow(kQuery), AxisMap{}};
    space.inputs[1].axes = {AxisMap::follow(kBatch), key, AxisMap{}};
    space.inputs[2].axes = {AxisMap::follow(kBatch), key, AxisMap{}};
    space.outputs = {OperandMap{{AxisMap::follow(kBatch), AxisMap::follow(kQuery), AxisMap{}}}};
  }
  return space;
}

namespace {

// hidden / heads where both are known.
Result<Dim> head_size(const Dim& hidden, std::int64_t heads, std::string_view role) {
  if (!hidden.known()) return Dim();
  if (hidden.value % heads != 0) return fail_input("{} has a last axis of {}, expected a multiple of {} heads", role, hidden.value, heads);
  return Dim(hidden.value / heads);
}

// A 3-D operand's shape with its heads split off: [batch, heads, sequence, head size].
Result<Shape> with_heads(const Shape& shape, std::int64_t heads, std::string_view role) {
  if (!shape.has_rank || shape.rank() == 4) return shape;
  BEVEL_TRY(Dim size, head_size(shape.dims[2], heads, role));
  return Shape({shape.dims[0], Dim(heads), shape.dims[1], std::move(size)});
}

Dim sum_of(const Dim& a, const Dim& b) {
  if (a.known() && a.value == 0) return b;
  if (!a.known() || !b.known()) return {};
  return Dim(checked_add(a.value, b.value).value_or(-1));
}

Status infer(InferContext& ctx) {
  const Node& node = ctx.node();
  constexpr std::string_view kRoles[] = {"Q", "K", "V"};
  Shape shapes[3];
  for (std::size_t i = 0; i < 3; ++i) {
    BEVEL_TRY_STATUS(expect_rank(ctx, i, kRoles[i], 3, 4));
    shapes[i] = input_shape(ctx, i);
    if (shapes[i].has_rank && shapes[0].has_rank && shapes[i].rank() != shapes[0].rank())
      return fail_operand(i, kRoles[i], "rank is {}, expected {} as Q", shapes[i].rank(), shapes[0].rank());
  }
  BEVEL_TRY(const std::int64_t q_heads, attr_int(node, "q_num_heads", 0));
  BEVEL_TRY(const std::int64_t kv_heads, attr_int(node, "kv_num_heads", 0));
  const bool packed = shapes[0].rank() == 3 || shapes[1].rank() == 3 || shapes[2].rank() == 3;
  if (packed) {
    if (q_heads < 1 || kv_heads < 1 || q_heads % kv_heads != 0) {
      return fail_input("attributes 'q_num_heads' and 'kv_num_heads' are {} and {}, expected a positive multiple of a "
                        "positive number for operands of rank 3", q_heads, kv_heads);
    }
    for (std::size_t i = 0; i < 3; ++i) {
      BEVEL_TRY(shapes[i], with_heads(shapes[i], i == 0 ? q_heads : kv_heads, kRoles[i]));
    }
  }
  if (!shapes[0].has_rank || !shapes[1].has_rank || !shapes[2].has_rank) return {};
  const Shape &q = shapes[0], &k = shapes[1], &v = shapes[2];
  if (const auto head = unify_dims(q.dims[3], k.dims[3]); !head)
    return fail_operand(1, "K", "head size does not fit that of Q: {}", head.error().message);
  const auto clean = [](Dim dim) {
    dim.denotation.clear();
    return dim;
  };
  const Dim batch = clean(q.dims[0]);
  Dim keys = clean(k.dims[2]);
  if (ctx.has_input(4)) {
    const Shape& past = input_shape(ctx, 4);
    BEVEL_TRY_STATUS(expect_rank(ctx, 4, "past_key", 4, 4));
    BEVEL_TRY_STATUS(expect_rank(ctx, 5, "past_value", 4, 4));
    keys = past.has_rank ? sum_of(past.dims[2], keys) : Dim();
  }
  Shape y;
  if (packed) {
    const Dim hidden = v.dims[3].known() ? Dim(checked_mul(q_heads, v.dims[3].value).value_or(-1)) : Dim();
    y = Shape({batch, clean(q.dims[2]), hidden});
  } else {
    y = Shape({batch, clean(q.dims[1]), clean(q.dims[2]), clean(v.dims[3])});
  }
  ctx.set_output(0, Type::tensor(input_dtype(ctx, 0), std::move(y)));
  ctx.set_output(1, Type::tensor(input_dtype(ctx, 1), Shape({clean(k.dims[0]), clean(k.dims[1]), keys, clean(k.dims[3])})));
  ctx.set_output(2, Type::tensor(input_dtype(ctx, 2), Shape({clean(v.dims[0]), clean(v.dims[1]), keys, clean(v.dims[3])})));
  ctx.set_output(3, Type::tensor(input_dtype(ctx, 0), Shape({batch, clean(q.dims[1]), clean(q.dims[2]), keys})));
  return {};
}

Facts facts(const FactsContext& ctx) {
  Facts facts;
  facts.value.data_operands = {0, 1, 2};
  facts.space = attention_space(ctx, attr_int(ctx.node(), "q_num_heads", 0).value_or(0),
                                attr_int(ctx.node(), "kv_num_heads", 0).value_or(0));
  return facts;
}

}  // namespace

extern const OpRecord attention_record = {.name = "Attention",
                                          .since = 23,
                                          .min_inputs = 3,
                                          .max_inputs = 7,
                                          .max_outputs = 4,
                                          .infer = infer,
                                          .facts = facts,
                                          .evaluate = evaluate_attention};

}  // namespace bevel::ops
