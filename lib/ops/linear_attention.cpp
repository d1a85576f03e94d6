// LinearAttention (ONNX opset 27): a recurrent state S [key size, value size] per key-value head stands for the attention
// matrix. Per token: S *= exp(decay), then S += k (x) v or, with the delta rule, beta * k (x) (v - S^T k); the output of
// each query head that shares the state is scale * S^T q. All arithmetic in float, sums in the order of the key size.
#include "lib/ops/activation_functions.h"
#include "lib/ops/float_operands.h"

namespace bevel::ops {
namespace {

struct Attributes {
  std::int64_t q_heads = 0, kv_heads = 0;
  bool gated = true, delta = true;
  float scale = 0;
};

Result<Attributes> attributes_of(const Node& node) {
  Attributes result;
  BEVEL_TRY(result.q_heads, require_int(node, "q_num_heads"));
  BEVEL_TRY(result.kv_heads, require_int(node, "kv_num_heads"));
  if (result.kv_heads < 1 || result.q_heads < 1 || result.q_heads % result.kv_heads != 0) {
    return fail_input("attributes 'q_num_heads' and 'kv_num_heads' are {} and {}, expected a positive multiple of a "
                      "positive number", result.q_heads, result.kv_heads);
  }
  BEVEL_TRY(const std::string rule, attr_string(node, "update_rule", "gated_delta"));
  if (rule != "linear" && rule != "gated" && rule != "delta" && rule != "gated_delta") {
    return fail_input("attribute 'update_rule' is '{}', expected linear, gated, delta or gated_delta", printable(rule));
  }
  result.gated = rule == "gated" || rule == "gated_delta";
  result.delta = rule == "delta" || rule == "gated_delta";
  BEVEL_TRY(result.scale, attr_float(node, "scale", 0.0f));
  return result;
}

Dim part_of(const Dim& dim, std::int64_t parts) { return dim.known() ? Dim(dim.value / parts) : Dim(); }

Status infer(InferContext& ctx) {
  BEVEL_TRY(const Attributes attributes, attributes_of(ctx.node()));
  constexpr std::string_view kRoles[] = {"query", "key", "value", "past_state", "decay", "beta"};
  for (std::size_t i = 0; i < 6; ++i) BEVEL_TRY_STATUS(expect_rank(ctx, i, kRoles[i], i == 3 ? 4 : 3, i == 3 ? 4 : 3));
  const Shape& q = input_shape(ctx, 0);
  const Shape& v = input_shape(ctx, 2);
  if (!q.has_rank || !v.has_rank) return {};
  const Dim d_k = part_of(q.dims[2], attributes.q_heads), d_v = part_of(v.dims[2], attributes.kv_heads);
  const Dim hidden = d_v.known() ? Dim(checked_mul(d_v.value, attributes.q_heads).value_or(-1)) : Dim();
  ctx.set_output(0, Type::tensor(input_dtype(ctx, 0), Shape({q.dims[0], q.dims[1], hidden})));
  const DType state = ctx.has_input(3) ? input_dtype(ctx, 3) : input_dtype(ctx, 0);
  ctx.set_output(1, Type::tensor(state, Shape({q.dims[0], Dim(attributes.kv_heads), d_k, d_v})));
  return {};
}

Facts facts(const FactsContext&) {
  Facts facts;
  facts.value.data_operands = {0, 1, 2};
  return facts;
}

struct Geometry {
  std::int64_t batch = 0, tokens = 0, d_k = 0, d_v = 0;
  std::int64_t decay_width = 0;  // numbers per head and token: 1 or d_k
  std::int64_t beta_heads = 0;   // 1 or kv_heads
};

Result<Geometry> geometry_of(const EvalContext& ctx, const Attributes& attributes) {
  constexpr std::string_view kRoles[] = {"query", "key", "value", "past_state", "decay", "beta"};
  for (std::size_t i = 0; i < 6; ++i) {
    if (!ctx.has_input(i)) continue;
    const Tensor& tensor = ctx.tensor(i);
    if (!is_plain_float(tensor.dtype()) || tensor.dtype() == DType::float64) return fail_dtype(tensor.dtype(), kRoles[i]);
    if (tensor.rank() != (i == 3 ? 4u : 3u))
      return fail_operand(i, kRoles[i], "has shape {}, expected rank {}", to_string(tensor.dims()), i == 3 ? 4 : 3);
    if (i != 3 && (tensor.dim(0) != ctx.tensor(0).dim(0) || tensor.dim(1) != ctx.tensor(0).dim(1))) {
      return fail_operand(i, kRoles[i], "has shape {}, expected batch and length of query, {}", to_string(tensor.dims()),
                          to_string(ctx.tensor(0).dims()));
    }
  }
  const Tensor& q = ctx.tensor(0);
  Geometry g{q.dim(0), q.dim(1), q.dim(2) / attributes.q_heads, ctx.tensor(2).dim(2) / attributes.kv_heads, 0, 0};
  const auto packed = [&](std::size_t i, std::int64_t heads, std::int64_t size) { return ctx.tensor(i).dim(2) == heads * size; };
  if (!packed(0, attributes.q_heads, g.d_k) || !packed(1, attributes.kv_heads, g.d_k) || !packed(2, attributes.kv_heads, g.d_v)) {
    return fail_input("query, key and value have shapes {}, {} and {}, which are not {} and {} heads of equal key size",
                      to_string(q.dims()), to_string(ctx.tensor(1).dims()), to_string(ctx.tensor(2).dims()),
                      attributes.q_heads, attributes.kv_heads);
  }
  const Dims state = {g.batch, attributes.kv_heads, g.d_k, g.d_v};
  if (ctx.has_input(3) && ctx.tensor(3).dims() != state)
    return fail_operand(3, "past_state", "has shape {}, expected {}", to_string(ctx.tensor(3).dims()), to_string(state));
  if (ctx.has_input(4) != attributes.gated) return fail_operand(4, "decay", "is needed by the gated update rules, and by these only");
  if (ctx.has_input(5) != attributes.delta) return fail_operand(5, "beta", "is needed by the delta update rules, and by these only");
  if (attributes.gated) {
    const std::int64_t width = ctx.tensor(4).dim(2);
    if (width != attributes.kv_heads && width != attributes.kv_heads * g.d_k) {
      return fail_operand(4, "decay", "has a last axis of {}, expected {} or {}", width, attributes.kv_heads,
                          attributes.kv_heads * g.d_k);
    }
    g.decay_width = width / attributes.kv_heads;
  }
  if (attributes.delta) {
    g.beta_heads = ctx.tensor(5).dim(2);
    if (g.beta_heads != 1 && g.beta_heads != attributes.kv_heads)
      return fail_operand(5, "beta", "has a last axis of {}, expected 1 or {}", g.beta_heads, attributes.kv_heads);
  }
  return g;
}

// out[m] += sum over d of x[d] * state[d, m].
void add_product(const float* x, const float* state, std::int64_t d_k, std::int64_t d_v, float* out) {
  for (std::int64_t d = 0; d < d_k; ++d) {
    const float factor = x[d];
    for (std::int64_t m = 0; m < d_v; ++m) out[m] += factor * state[d * d_v + m];
  }
}

Outputs evaluate_linear_attention(const EvalContext& ctx) {
  BEVEL_TRY(const Attributes attributes, attributes_of(ctx.node()));
  BEVEL_TRY(const Geometry g, geometry_of(ctx, attributes));
  const auto hidden = checked_mul(attributes.q_heads, g.d_v);
  if (!hidden) return fail_input("{} heads of {} values are too many", attributes.q_heads, g.d_v);
  const Dims y_dims = {g.batch, g.tokens, *hidden}, state_dims = {g.batch, attributes.kv_heads, g.d_k, g.d_v};
  BEVEL_TRY_STATUS(ctx.reserve(DType::float32, y_dims));
  BEVEL_TRY_STATUS(ctx.reserve(DType::float32, state_dims));
  const FloatOperand<float> q(ctx.tensor(0)), k(ctx.tensor(1)), v(ctx.tensor(2));
  const Tensor none = Tensor::zeros(DType::float32, {0});
  const FloatOperand<float> decay(attributes.gated ? ctx.tensor(4) : none), beta(attributes.delta ? ctx.tensor(5) : none);
  std::vector<float> states(static_cast<std::size_t>(*element_count(state_dims)), 0.0f);
  if (ctx.has_input(3)) states = ctx.tensor(3).as_floats();
  std::vector<float> y(static_cast<std::size_t>(*element_count(y_dims)), 0.0f);
  const std::int64_t batch = y.empty() ? 0 : g.batch;  // else no token changes a state, however many heads there are
  std::vector<float> value(y.empty() ? 0 : static_cast<std::size_t>(g.d_v));
  const float scale = attributes.scale != 0.0f
                          ? attributes.scale
                          : static_cast<float>(1.0 / __builtin_sqrt(static_cast<double>(std::max<std::int64_t>(1, g.d_k))));
  const std::int64_t group = attributes.q_heads / attributes.kv_heads;
  for (std::int64_t b = 0; b < batch; ++b) {
    for (std::int64_t h = 0; h < attributes.kv_heads; ++h) {
      float* state = states.data() + (b * attributes.kv_heads + h) * g.d_k * g.d_v;
      for (std::int64_t t = 0; t < g.tokens; ++t) {
        const std::int64_t token = b * g.tokens + t;
        const float* key = k.data() + (token * attributes.kv_heads + h) * g.d_k;
        const float* given = v.data() + (token * attributes.kv_heads + h) * g.d_v;
        if (attributes.gated) {
          const float* gate = decay.data() + (token * attributes.kv_heads + h) * g.decay_width;
          for (std::int64_t d = 0; d < g.d_k; ++d) {
            const float factor = bvl_expf(gate[g.decay_width == 1 ? 0 : d]);
            for (std::int64_t m = 0; m < g.d_v; ++m) state[d * g.d_v + m] *= factor;
          }
        }
        if (attributes.delta) {
          std::fill(value.begin(), value.end(), 0.0f);
          add_product(key, state, g.d_k, g.d_v, value.data());
          const float rate = beta[static_cast<std::size_t>(token * g.beta_heads + (g.beta_heads == 1 ? 0 : h))];
          for (std::size_t m = 0; m < value.size(); ++m) value[m] = rate * (given[m] - value[m]);
        } else {
          value.assign(given, given + g.d_v);
        }
        for (std::int64_t d = 0; d < g.d_k; ++d) {
          for (std::int64_t m = 0; m < g.d_v; ++m) state[d * g.d_v + m] += key[d] * value[static_cast<std::size_t>(m)];
        }
        for (std::int64_t head = h * group; head < (h + 1) * group; ++head) {
          float* out = y.data() + (token * attributes.q_heads + head) * g.d_v;
          add_product(q.data() + (token * attributes.q_heads + head) * g.d_k, state, g.d_k, g.d_v, out);
          for (std::int64_t m = 0; m < g.d_v; ++m) out[m] *= scale;
        }
      }
    }
  }
  const DType state_dtype = ctx.has_input(3) ? ctx.tensor(3).dtype() : ctx.tensor(0).dtype();
  std::vector<Datum> outputs{from_floats(ctx.tensor(0).dtype(), y_dims, y)};
  outputs.emplace_back(from_floats(state_dtype, state_dims, states));
  return outputs;
}

}  // namespace

extern const OpRecord linear_attention_record = {.name = "LinearAttention",
                                                 .since = 27,
                                                 .min_inputs = 3,
                                                 .max_inputs = 6,
                                                 .max_outputs = 2,
                                                 .infer = infer,
                                                 .facts = facts,
                                                 .evaluate = evaluate_linear_attention};

}  // namespace bevel::ops
