// RotaryEmbedding (ONNX opset 23): pairs of a head's values turned by the angle of their position, RoPE (Su et al.,
// "RoFormer", arXiv 2104.09864). The pairs are the halves of the rotated part or, interleaved, neighbours.
#include "lib/ops/float_operands.h"

namespace bevel::ops {
namespace {

Status infer(InferContext& ctx) {
  BEVEL_TRY_STATUS(expect_rank(ctx, 0, "X", 3, 4));
  BEVEL_TRY_STATUS(expect_rank(ctx, 1, "cos_cache", 2, 3));
  BEVEL_TRY_STATUS(expect_rank(ctx, 2, "sin_cache", 2, 3));
  BEVEL_TRY_STATUS(expect_rank(ctx, 3, "position_ids", 2, 2));
  return infer_same_type(ctx);
}

Facts facts(const FactsContext&) {
  Facts facts;
  facts.value.data_operands = {0};
  return facts;
}

struct Geometry {
  std::int64_t batch = 0, heads = 0, length = 0, head = 0, rotated = 0;
  std::int64_t batch_stride = 0, head_stride = 0, position_stride = 0;  // of X, in elements
  bool interleaved = false;
};

Result<Geometry> geometry_of(const EvalContext& ctx) {
  const Tensor& x = ctx.tensor(0);
  Geometry g;
  BEVEL_TRY(g.interleaved, attr_flag(ctx.node(), "interleaved", false));
  BEVEL_TRY(g.heads, attr_int(ctx.node(), "num_heads", 0));
  BEVEL_TRY(g.rotated, attr_int(ctx.node(), "rotary_embedding_dim", 0));
  if (x.rank() == 4) {
    g.batch = x.dim(0);
    g.heads = x.dim(1);
    g.length = x.dim(2);
    g.head = x.dim(3);
    g.position_stride = g.head;
    g.head_stride = product(x.dims(), 2, 4);
  } else {
    if (x.rank() != 3 || g.heads < 1 || x.dim(2) % g.heads != 0) {
      return fail_operand(0, "X", "has shape {}, expected rank 4, or rank 3 with a last axis of a multiple of num_heads, {}",
                          to_string(x.dims()), g.heads);
    }
    g.batch = x.dim(0);
    g.length = x.dim(1);
    g.head = x.dim(2) / g.heads;
    g.position_stride = x.dim(2);
    g.head_stride = g.head;
  }
  g.batch_stride = product(x.dims(), 1, x.rank());
  if (g.rotated == 0) g.rotated = g.head;
  if (g.rotated < 0 || g.rotated > g.head || g.rotated % 2 != 0)
    return fail_input("{} values of a head of {} are to be rotated, expected an even number of them", g.rotated, g.head);
  return g;
}

// Row of the caches for each (sample, position).
Result<std::vector<std::int64_t>> cache_rows(const EvalContext& ctx, const Geometry& g) {
  const Tensor& cosines = ctx.tensor(1);
  const Dims positions = {g.batch, g.length};
  BEVEL_TRY_STATUS(ctx.reserve(DType::int64, positions));
  std::vector<std::int64_t> rows(static_cast<std::size_t>(g.batch * g.length));
  const bool looked_up = ctx.has_input(3);
  const Dims expected = looked_up ? Dims{cosines.rank() == 2 ? cosines.dim(0) : 0, g.rotated / 2}
                                  : Dims{g.batch, g.length, g.rotated / 2};
  for (std::size_t i = 1; i < 3; ++i) {
    if (ctx.tensor(i).dtype() != ctx.tensor(0).dtype() || ctx.tensor(i).dims() != expected) {
      return fail_operand(i, i == 1 ? "cos_cache" : "sin_cache", "is {} {}, expected {} {}", dtype_name(ctx.tensor(i).dtype()),
                          to_string(ctx.tensor(i).dims()), dtype_name(ctx.tensor(0).dtype()), to_string(expected));
    }
  }
  if (!looked_up) {
    for (std::size_t i = 0; i < rows.size(); ++i) rows[i] = static_cast<std::int64_t>(i);
    return rows;
  }
  const Tensor& ids = ctx.tensor(3);
  if (ids.dtype() != DType::int64 || ids.dims() != positions) {
    return fail_operand(3, "position_ids", "is {} {}, expected int64 {}", dtype_name(ids.dtype()), to_string(ids.dims()),
                        to_string(positions));
  }
  for (std::size_t i = 0; i < rows.size(); ++i) {
    rows[i] = ids.as_int64(static_cast<std::int64_t>(i));
    if (rows[i] < 0 || rows[i] >= cosines.dim(0))
      return fail_operand(3, "position_ids", "element {} is {}, expected 0 to {}", i, rows[i], cosines.dim(0) - 1);
  }
  return rows;
}

Outputs evaluate_rotary_embedding(const EvalContext& ctx) {
  const Tensor& x = ctx.tensor(0);
  const DType dtype = x.dtype();
  BEVEL_TRY(const Geometry g, geometry_of(ctx));
  if (x.size() == 0) return std::vector<Datum>{x};  // its other extents, and num_heads, may be of any size
  BEVEL_TRY(const std::vector<std::int64_t> rows, cache_rows(ctx, g));
  return with_compute_type(dtype, "X", [&](auto tag) -> Outputs {
    using C = typename decltype(tag)::type;
    BEVEL_TRY_STATUS(ctx.reserve(DTypeOf<C>::value, x.dims()));
    const FloatOperand<C> in(x), cosines(ctx.tensor(1)), sines(ctx.tensor(2));
    std::vector<C> y(in.data(), in.data() + in.size());
    const std::int64_t half = g.rotated / 2, step = g.interleaved ? 2 : 1, partner = g.interleaved ? 1 : half;
    for (std::int64_t b = 0; b < g.batch; ++b) {
      for (std::int64_t h = 0; h < g.heads; ++h) {
        for (std::int64_t t = 0; t < g.length; ++t) {
          const std::int64_t base = b * g.batch_stride + h * g.head_stride + t * g.position_stride;
          const std::int64_t row = rows[static_cast<std::size_t>(b * g.length + t)] * half;
          for (std::int64_t i = 0; i < half; ++i) {
            const C first = in.data()[base + i * step], second = in.data()[base + i * step + partner];
            const C cosine = cosines.data()[row + i], sine = sines.data()[row + i];
            const auto times = [&](C a, C b_value) { return rounded_to(dtype, a * b_value); };
            y[static_cast<std::size_t>(base + i * step)] = times(cosine, first) - times(sine, second);
            y[static_cast<std::size_t>(base + i * step + partner)] = times(sine, first) + times(cosine, second);
          }
        }
      }
    }
    return std::vector<Datum>{from_computed<C>(dtype, x.dims(), y)};
  });
}

}  // namespace

extern const OpRecord rotary_embedding_record = {.name = "RotaryEmbedding",
                                                 .since = 23,
                                                 .min_inputs = 3,
                                                 .max_inputs = 4,
                                                 .infer = infer,
                                                 .facts = facts,
                                                 .evaluate = evaluate_rotary_embedding};

}  // namespace bevel::ops
