// Attention as the specification's function body computes it: each step in the operands' element type (16-bit floats in
// float, rounded after the step), sums of products in one chain.
#include <algorithm>
#include <cmath>
#include <limits>

#include "lib/ops/activation_functions.h"
#include "lib/ops/attention.h"
#include "lib/ops/movement.h"
#include "lib/ops/nn_families.h"

namespace bevel::ops {

Result<AttentionShape> attention_shape(std::span<const std::int64_t> q, std::span<const std::int64_t> k,
                                       std::span<const std::int64_t> v) {
  if (q.size() != 4 || k.size() != 4 || v.size() != 4) {
    return fail_input("Q, K and V have shapes {}, {} and {}, expected rank 4", to_string(q), to_string(k), to_string(v));
  }
  const AttentionShape shape{q[0], q[1], k[1], q[2], k[2], q[3], v[3]};
  const bool heads = shape.kv_heads > 0 && shape.q_heads % shape.kv_heads == 0;
  if (!heads || k[0] != q[0] || v[0] != q[0] || v[1] != k[1] || v[2] != k[2] || k[3] != q[3]) {
    return fail_input("Q, K and V have shapes {}, {} and {}, expected [batch, heads, queries, size], [batch, a divisor of "
                      "heads, keys, size] and [batch, the same divisor, keys, any size]",
                      to_string(q), to_string(k), to_string(v));
  }
  return shape;
}

Result<double> attention_factor(const Node& node, DType dtype, std::int64_t head) {
  BEVEL_TRY(const float given, attr_float(node, "scale", 0.0f));
  if (has_attr(node, "scale") && !(given >= 0.0f))
    return fail_input("attribute 'scale' is {}, expected no negative number", given);
  const double scale = has_attr(node, "scale") ? static_cast<double>(given)
                                               : 1.0 / __builtin_sqrt(static_cast<double>(std::max<std::int64_t>(1, head)));
  return rounded_to(dtype, __builtin_sqrt(scale));
}

template <typename S>
void attention_softmax(DType dtype, std::span<S> row) {
  constexpr S kNone = -std::numeric_limits<S>::infinity();
  S highest = kNone;
  for (const S value : row) highest = value > highest ? value : highest;
  // Where no value compares above -infinity the row is all -infinity (zeros), or holds NaN (which stays).
  const bool any_nan = std::any_of(row.begin(), row.end(), [](S value) { return value != value; });
  if (highest == kNone && !any_nan) {
    std::fill(row.begin(), row.end(), S{0});
    return;
  }
  double sum = 0;
  for (S& value : row) {
    value = rounded_to(dtype, activation::exp(rounded_to(dtype, value - highest)));
    if (any_nan && value != value) sum = std::numeric_limits<double>::quiet_NaN();
    sum += static_cast<double>(value);
  }
  const S total = rounded_to(dtype, static_cast<S>(sum));
  for (S& value : row) value = rounded_to(dtype, value / total);
}
template void attention_softmax<float>(DType dtype, std::span<float> row);
template void attention_softmax<double>(DType dtype, std::span<double> row);

namespace {

struct Attributes {
  bool causal = false;
  double softcap = 0;
  std::int64_t output_mode = 0, left_window = -1, right_window = -1;
  DType softmax = DType::undefined;  // undefined: that of Q
};

Result<Attributes> attributes_of(const Node& node) {
  Attributes result;
  BEVEL_TRY(result.causal, attr_flag(node, "is_causal", false));
  BEVEL_TRY(const float softcap, attr_float(node, "softcap", 0.0f));
  result.softcap = static_cast<double>(softcap);
  BEVEL_TRY(result.output_mode, attr_int(node, "qk_matmul_output_mode", 0));
  if (result.output_mode < 0 || result.output_mode > 3)
    return fail_input("attribute 'qk_matmul_output_mode' is {}, expected 0 to 3", result.output_mode);
  BEVEL_TRY(result.left_window, attr_int(node, "left_window_size", -1));
  BEVEL_TRY(result.right_window, attr_int(node, "right_window_size", -1));
  if (result.left_window < -1 || result.right_window < -1) {
    return fail_input("attributes 'left_window_size' and 'right_window_size' are {} and {}, expected -1 or more",
                      result.left_window, result.right_window);
  }
  BEVEL_TRY(result.softmax, attr_dtype(node, "softmax_precision", DType::undefined));
  if (result.softmax != DType::undefined && !is_plain_float(result.softmax)) {
    return fail_input("attribute 'softmax_precision' is {}, expected float, float16, double or bfloat16",
                      dtype_name(result.softmax));
  }
  return result;
}

// [batch, sequence, heads * size] to [batch, heads, sequence, size]; rank 4 stays.
Result<Tensor> split_heads(const EvalContext& ctx, std::size_t i, std::string_view role, std::int64_t heads) {
  const Tensor& tensor = ctx.tensor(i);
  if (tensor.rank() == 4) return tensor;
  if (tensor.rank() != 3 || heads < 1 || heads > std::max<std::int64_t>(1, tensor.dim(2)) || tensor.dim(2) % heads != 0) {
    return fail_operand(i, role, "has shape {}, expected rank 4, or rank 3 with a last axis of a multiple of {} heads",
                        to_string(tensor.dims()), heads);
  }
  BEVEL_TRY_STATUS(ctx.reserve(tensor.dtype(), tensor.dims()));
  const int perm[] = {0, 2, 1, 3};
  return permute(tensor.reshaped({tensor.dim(0), tensor.dim(1), heads, tensor.dim(2) / heads}), perm);
}

// The cache in front of the new keys or values.
Result<Tensor> with_past(const EvalContext& ctx, std::size_t i, std::string_view role, const Tensor& current) {
  if (!ctx.has_input(i)) return current;
  const Tensor& past = ctx.tensor(i);
  bool fits = past.dtype() == current.dtype() && past.rank() == 4;
  for (std::size_t axis = 0; fits && axis < 4; ++axis) fits = axis == 2 || past.dim(axis) == current.dim(axis);
  Dims dims = current.dims();
  const auto total = fits ? checked_add(past.dim(2), current.dim(2)) : std::nullopt;
  if (!total) {
    return fail_operand(i, role, "is {} {}, expected {} {} but for axis 2", dtype_name(past.dtype()),
                        to_string(past.dims()), dtype_name(current.dtype()), to_string(current.dims()));
  }
  dims[2] = *total;
  BEVEL_TRY_STATUS(ctx.reserve(current.dtype(), dims));
  Tensor present = Tensor::zeros(current.dtype(), dims);
  const Dims strides = row_major_strides(dims);
  copy_walk(past, {0, row_major_strides(past.dims())}, present, {0, strides}, past.dims());
  copy_walk(current, {0, row_major_strides(current.dims())}, present, {past.dim(2) * strides[2], strides}, current.dims());
  return present;
}

// What is added to the scores before the softmax: the mask, and -infinity where the causal frontier, the window or the
// padding forbid a key.
template <typename C>
class Bias {
 public:
  static Result<Bias> create(const EvalContext& ctx, const AttentionShape& shape, const Attributes& attributes) {
    Bias bias(shape, attributes);
    if (ctx.has_input(3)) {
      const Tensor& mask = ctx.tensor(3);
      bias.boolean_ = mask.dtype() == DType::boolean;
      if (!bias.boolean_ && !is_plain_float(mask.dtype()) && !is_integer(mask.dtype())) return fail_dtype(mask.dtype(), "attn_mask");
      // The last axis may be shorter than the keys; keys beyond it are masked.
      Dims padded = mask.dims();
      if (!padded.empty()) {
        bias.mask_keys_ = padded.back();
        if (bias.mask_keys_ <= shape.keys) padded.back() = shape.keys;
      } else {
        bias.mask_keys_ = shape.keys;
      }
      const Dims full = {shape.batch, shape.q_heads, shape.queries, shape.keys};
      const auto fits = broadcast_dims(padded, full);
      if (padded.size() > 4 || !fits || *fits != full) {
        return fail_operand(3, "attn_mask", "has shape {}, which does not broadcast to {}", to_string(mask.dims()),
                            to_string(full));
      }
      const Dims own = row_major_strides(mask.dims());
      for (std::size_t axis = 0; axis < mask.rank(); ++axis) {
        const bool last = axis + 1 == mask.rank();
        bias.strides_[axis + 4 - mask.rank()] = mask.dim(axis) == 1 && !last ? 0 : own[axis];
      }
      BEVEL_TRY_STATUS(ctx.reserve(DTypeOf<C>::value, mask.dims()));
      if (std::is_same_v<C, double>) {
        const std::vector<double> values = to_doubles(mask);
        bias.mask_.assign(values.begin(), values.end());
      } else {
        const std::vector<float> values = mask.as_floats();
        bias.mask_.assign(values.begin(), values.end());
      }
      bias.has_mask_ = true;
    }
    bias.offsets_.assign(static_cast<std::size_t>(shape.batch), ctx.has_input(4) ? ctx.tensor(4).dim(2) : 0);
    bias.valid_.assign(static_cast<std::size_t>(shape.batch), shape.keys);
    if (ctx.has_input(6)) {
      const Tensor& lengths = ctx.tensor(6);
      if (ctx.has_input(4)) return fail_operand(6, "nonpad_kv_seqlen", "is given together with past_key");
      if (lengths.dtype() != DType::int64 || lengths.dims() != Dims{shape.batch}) {
        return fail_operand(6, "nonpad_kv_seqlen", "is {} {}, expected int64 [{}]", dtype_name(lengths.dtype()),
                            to_string(lengths.dims()), shape.batch);
      }
      for (std::int64_t b = 0; b < shape.batch; ++b) {
        const std::int64_t length = lengths.as_int64(b);
        if (length < 0 || length > shape.keys)
          return fail_operand(6, "nonpad_kv_seqlen", "element {} is {}, expected 0 to {} keys", b, length, shape.keys);
        bias.valid_[static_cast<std::size_t>(b)] = length;
        bias.offsets_[static_cast<std::size_t>(b)] = length - shape.queries;
      }
    }
    return bias;
  }

  // Row (b, h, i) into `row`; false when every key is forbidden.
  bool fill(std::int64_t b, std::int64_t h, std::int64_t i, std::span<C> row) const {
    constexpr C kNone = -std::numeric_limits<C>::infinity();
    const std::int64_t position = i + offsets_[static_cast<std::size_t>(b)];
    const std::int64_t valid = valid_[static_cast<std::size_t>(b)];
    const C* mask = mask_keys_ > 0 ? mask_.data() + b * strides_[0] + h * strides_[1] + i * strides_[2] : nullptr;
    bool any = false;
    for (std::int64_t j = 0; j < shape_.keys; ++j) {
      C value = 0;
      if (has_mask_ && j >= mask_keys_) {
        value = kNone;
      } else if (has_mask_) {
        const C given = mask[j * strides_[3]];
        value = !boolean_ ? given : given != 0 ? C{0} : kNone;
      }
      const bool forbidden = (attributes_.causal && j > position) || j >= valid ||
                             (attributes_.left_window >= 0 && position - j > attributes_.left_window) ||
                             (attributes_.right_window >= 0 && j - position > attributes_.right_window);
      if (forbidden) value += kNone;
      row[static_cast<std::size_t>(j)] = value;
      any = any || value != kNone;
    }
    return any;
  }

 private:
  Bias(const AttentionShape& shape, const Attributes& attributes) : shape_(shape), attributes_(attributes) {}
  AttentionShape shape_;
  Attributes attributes_;
  bool has_mask_ = false, boolean_ = false;
  std::vector<C> mask_;
  std::int64_t mask_keys_ = 0;
  Dims strides_ = {0, 0, 0, 0};
  std::vector<std::int64_t> offsets_, valid_;  // one per sample: keys before the first query, keys that are not padding
};

// One row of scores through softcap, bias and softmax; `shown` receives what the attribute qk_matmul_output_mode asks for.
template <typename C>
void finish_row(const Attributes& attributes, DType dtype, bool attended, std::span<const C> bias, std::span<C> row,
                C* shown) {
  const auto show = [&](std::int64_t mode) {
    if (shown != nullptr && attributes.output_mode == mode) std::copy(row.begin(), row.end(), shown);
  };
  show(0);
  if (attributes.softcap > 0) {
    const C cap = rounded_to(dtype, static_cast<C>(attributes.softcap));
    for (C& value : row) {
      value = rounded_to(dtype, value / cap);
      value = rounded_to(dtype, activation::tanh(value));
      value = rounded_to(dtype, value * cap);
    }
  }
  show(1);
  for (std::size_t j = 0; j < row.size(); ++j) row[j] = rounded_to(dtype, row[j] + bias[j]);
  show(2);
  const DType softmax = attributes.softmax == DType::undefined ? dtype : attributes.softmax;
  if (!attended) {
    std::fill(row.begin(), row.end(), C{0});
  } else if (softmax == DType::float64 && std::is_same_v<C, float>) {
    std::vector<double> wide(row.begin(), row.end());
    attention_softmax<double>(softmax, wide);
    for (std::size_t j = 0; j < row.size(); ++j) row[j] = static_cast<C>(wide[j]);
  } else {
    round_to(softmax, row);
    attention_softmax<C>(softmax, row);
  }
  round_to(dtype, row);
  show(3);
}

template <typename C>
Outputs attend(const EvalContext& ctx, const AttentionShape& shape, const Attributes& attributes, const Tensor& q_tensor,
               const Tensor& k_tensor, const Tensor& v_tensor) {
  const DType dtype = q_tensor.dtype();
  BEVEL_TRY(const double scale, attention_factor(ctx.node(), dtype, shape.head));
  const bool packed = ctx.tensor(0).rank() == 3;
  const auto hidden = checked_mul(shape.q_heads, shape.v_head);
  if (!hidden) return fail_input("{} heads of {} values are too many", shape.q_heads, shape.v_head);
  const Dims y_dims = packed ? Dims{shape.batch, shape.queries, *hidden}
                             : Dims{shape.batch, shape.q_heads, shape.queries, shape.v_head};
  const Dims score_dims = {shape.batch, shape.q_heads, shape.queries, shape.keys};
  const Dims plane_dims = {shape.queries, shape.keys};
  const bool shows = ctx.node().outputs.size() > 3 && ctx.node().outputs[3].valid();
  BEVEL_TRY_STATUS(ctx.reserve(DTypeOf<C>::value, y_dims));
  BEVEL_TRY_STATUS(ctx.reserve(DTypeOf<C>::value, shows ? score_dims : plane_dims));
  if (*element_count(y_dims) == 0 && (!shows || *element_count(score_dims) == 0)) {  // however large the batch is
    std::vector<Datum> outputs{Tensor::zeros(dtype, y_dims), k_tensor, v_tensor};
    if (shows) outputs.emplace_back(Tensor::zeros(dtype, score_dims));
    return outputs;
  }
  BEVEL_TRY(const Bias<C> bias, Bias<C>::create(ctx, shape, attributes));
  const FloatOperand<C> q(q_tensor), k(k_tensor), v(v_tensor);
  std::vector<C> y(static_cast<std::size_t>(*element_count(y_dims)), C{0});
  std::vector<C> shown(shows ? static_cast<std::size_t>(*element_count(score_dims)) : 0);
  std::vector<C> scores(static_cast<std::size_t>(*element_count(plane_dims))), row_bias(static_cast<std::size_t>(shape.keys));
  std::vector<C> queries, keys;
  const auto factor = static_cast<C>(scale);
  const std::int64_t y_stride = packed ? *hidden : shape.v_head;
  for (std::int64_t b = 0; b < shape.batch; ++b) {
    std::int64_t scaled_head = -1;
    for (std::int64_t h = 0; h < shape.q_heads; ++h) {
      const std::int64_t kv = b * shape.kv_heads + shape.kv_head_of(h), plane = b * shape.q_heads + h;
      scaled_rows(dtype, q.data() + plane * shape.queries * shape.head, shape.queries, shape.head, shape.head, factor, queries);
      if (kv != scaled_head) {
        scaled_rows(dtype, k.data() + kv * shape.keys * shape.head, shape.keys, shape.head, shape.head, factor, keys);
        scaled_head = kv;
      }
      std::fill(scores.begin(), scores.end(), C{0});
      multiply_into<C>(shape.queries, shape.keys, shape.head, {queries.data(), shape.head, 1}, {keys.data(), 1, shape.head},
                       scores.data(), shape.keys);
      round_to<C>(dtype, scores);
      for (std::int64_t i = 0; i < shape.queries; ++i) {
        const bool attended = bias.fill(b, h, i, row_bias);
        round_to<C>(dtype, row_bias);
        const std::span<C> row(scores.data() + i * shape.keys, static_cast<std::size_t>(shape.keys));
        finish_row<C>(attributes, dtype, attended, row_bias, row,
                      shows ? shown.data() + (plane * shape.queries + i) * shape.keys : nullptr);
      }
      C* out = y.data() + (packed ? b * shape.queries * *hidden + h * shape.v_head : plane * shape.queries * shape.v_head);
      multiply_into<C>(shape.queries, shape.v_head, shape.keys, {scores.data(), shape.keys, 1},
                       {v.data() + kv * shape.keys * shape.v_head, shape.v_head, 1}, out, y_stride);
    }
  }
  std::vector<Datum> outputs{from_computed<C>(dtype, y_dims, y)};
  if (ctx.node().outputs.size() > 1) outputs.emplace_back(k_tensor);
  if (ctx.node().outputs.size() > 2) outputs.emplace_back(v_tensor);
  if (shows) outputs.emplace_back(from_computed<C>(dtype, score_dims, shown));
  return outputs;
}

}  // namespace

Outputs evaluate_attention(const EvalContext& ctx) {
  BEVEL_TRY(const Attributes attributes, attributes_of(ctx.node()));
  BEVEL_TRY(const std::int64_t q_heads, attr_int(ctx.node(), "q_num_heads", 0));
  BEVEL_TRY(const std::int64_t kv_heads, attr_int(ctx.node(), "kv_num_heads", 0));
  for (std::size_t i = 0; i < 3; ++i) {
    if (!is_plain_float(ctx.tensor(i).dtype())) return fail_dtype(ctx.tensor(i).dtype(), i == 0 ? "Q" : i == 1 ? "K" : "V");
    if (ctx.tensor(i).rank() != ctx.tensor(0).rank())
      return fail_input("Q and input {} have ranks {} and {}, expected the same", i, ctx.tensor(0).rank(), ctx.tensor(i).rank());
  }
  const DType dtype = ctx.tensor(0).dtype();
  if (ctx.tensor(1).dtype() != dtype)
    return fail_operand(1, "K", "element type is {}, expected {} as Q", dtype_name(ctx.tensor(1).dtype()), dtype_name(dtype));
  if (ctx.has_input(4) != ctx.has_input(5)) return fail_input("past_key and past_value are given one without the other");
  BEVEL_TRY(const Tensor q, split_heads(ctx, 0, "Q", q_heads));
  BEVEL_TRY(const Tensor new_keys, split_heads(ctx, 1, "K", kv_heads));
  BEVEL_TRY(const Tensor new_values, split_heads(ctx, 2, "V", kv_heads));
  BEVEL_TRY(const Tensor k, with_past(ctx, 4, "past_key", new_keys));
  BEVEL_TRY(const Tensor v, with_past(ctx, 5, "past_value", new_values));
  BEVEL_TRY(const AttentionShape shape, attention_shape(q.dims(), k.dims(), v.dims()));
  return with_compute_type(dtype, "Q", [&](auto tag) -> Outputs {
    return attend<typename decltype(tag)::type>(ctx, shape, attributes, q, k, v);
  });
}

}  // namespace bevel::ops
