// CausalConvWithState (ONNX opset 27): a depthwise 1-D convolution over [batch, channels, length] that looks back only. The
// k - 1 positions in front of the input come from the state of the call before (zeros at first); the last k - 1 go out.
#include <algorithm>

#include "lib/ops/activation_functions.h"
#include "lib/ops/float_operands.h"

namespace bevel::ops {
namespace {

Result<bool> has_silu(const Node& node) {
  BEVEL_TRY(const std::string activation, attr_string(node, "activation", "none"));
  if (activation != "none" && activation != "silu" && activation != "swish")
    return fail_input("attribute 'activation' is '{}', expected none, silu or swish", printable(activation));
  return activation != "none";
}

Status infer(InferContext& ctx) {
  BEVEL_TRY([[maybe_unused]] const bool silu, has_silu(ctx.node()));
  BEVEL_TRY_STATUS(expect_rank(ctx, 0, "input", 3, 3));
  BEVEL_TRY_STATUS(expect_rank(ctx, 1, "weight", 3, 3));
  BEVEL_TRY_STATUS(expect_rank(ctx, 2, "bias", 1, 1));
  BEVEL_TRY_STATUS(expect_rank(ctx, 3, "past_state", 3, 3));
  BEVEL_TRY_STATUS(infer_same_type(ctx));
  const Shape& x = input_shape(ctx, 0);
  const Shape& w = input_shape(ctx, 1);
  const std::int64_t channels = extent(x, 1);
  if (channels >= 0 && extent(w, 0) >= 0 && channels != extent(w, 0))
    return fail_operand(1, "weight", "has {} channels, expected {} as input", extent(w, 0), channels);
  if (extent(w, 2) == 0) return fail_operand(1, "weight", "has a kernel of 0 positions, expected 1 or more");
  Shape state;
  if (x.has_rank) {
    const Dim back = extent(w, 2) > 0 ? Dim(extent(w, 2) - 1) : Dim();
    state = Shape({x.dims[0], x.dims[1], back});
  }
  ctx.set_output(1, Type::tensor(input_dtype(ctx, 0), std::move(state)));
  return {};
}

// As a grouped convolution whose padding is all in front.
Facts facts(const FactsContext& ctx) {
  Facts facts;
  facts.value.data_operands = {0, 1};
  const Shape& x = input_shape(ctx, 0);
  const Shape& w = input_shape(ctx, 1);
  if (!x.has_rank || !w.has_rank || x.rank() != 3 || w.rank() != 3) return facts;
  enum : int { kBatch, kChannel, kPosition, kTap };
  const std::int64_t kernel = extent(w, 2);
  facts.space.kind = OpKind::bilinear;
  facts.space.loops = {{extent(x, 0), false}, {extent(w, 0), false}, {extent(x, 2), false}, {kernel, true}};
  facts.space.inputs.resize(ctx.node().inputs.size());
  facts.space.inputs[0].axes = {AxisMap::follow(kBatch), AxisMap::follow(kChannel),
                                AxisMap::window(kPosition, kTap, 1, 1, std::max<std::int64_t>(0, kernel - 1))};
  facts.space.inputs[1].axes = {AxisMap::follow(kChannel), AxisMap::broadcast(), AxisMap::follow(kTap)};
  if (ctx.has_input(2)) facts.space.inputs[2].axes = {AxisMap::follow(kChannel)};
  facts.space.outputs = {OperandMap{{AxisMap::follow(kBatch), AxisMap::follow(kChannel), AxisMap::follow(kPosition)}}};
  return facts;
}

Outputs evaluate_causal_conv(const EvalContext& ctx) {
  BEVEL_TRY(const bool silu, has_silu(ctx.node()));
  const Tensor& x = ctx.tensor(0);
  const Tensor& w = ctx.tensor(1);
  const DType dtype = x.dtype();
  if (!is_plain_float(dtype) || dtype == DType::float64) return fail_dtype(dtype, "input");
  if (x.rank() != 3 || w.rank() != 3 || w.dim(0) != x.dim(1) || w.dim(1) != 1 || w.dim(2) < 1) {
    return fail_input("input and weight have shapes {} and {}, expected [batch, channels, length] and [channels, 1, kernel]",
                      to_string(x.dims()), to_string(w.dims()));
  }
  const std::int64_t batch = x.dim(0), channels = x.dim(1), length = x.dim(2), kernel = w.dim(2), back = kernel - 1;
  const Dims state_dims = {batch, channels, back};
  const Dims expected[] = {x.dims(), w.dims(), {channels}, state_dims};
  constexpr std::string_view kRoles[] = {"input", "weight", "bias", "past_state"};
  for (std::size_t i = 1; i < 4; ++i) {
    if (ctx.has_input(i) && (ctx.tensor(i).dtype() != dtype || ctx.tensor(i).dims() != expected[i])) {
      return fail_operand(i, kRoles[i], "is {} {}, expected {} {}", dtype_name(ctx.tensor(i).dtype()),
                          to_string(ctx.tensor(i).dims()), dtype_name(dtype), to_string(expected[i]));
    }
  }
  const auto padded_length = checked_add(length, back);
  if (!padded_length) return fail_input("the padded length does not fit 64 bits");
  BEVEL_TRY_STATUS(ctx.reserve(DType::float32, x.dims()));
  BEVEL_TRY_STATUS(ctx.reserve(DType::float32, state_dims));
  BEVEL_TRY_STATUS(ctx.reserve(DType::float32, std::span<const std::int64_t>(&*padded_length, 1)));
  const FloatOperand<float> in(x), weights(w);
  const std::vector<float> bias = ctx.has_input(2) ? ctx.tensor(2).as_floats() : std::vector<float>();
  std::vector<float> past(static_cast<std::size_t>(*element_count(state_dims)), 0.0f);
  if (ctx.has_input(3)) past = ctx.tensor(3).as_floats();
  std::vector<float> y(in.size()), present(past.size()), row(static_cast<std::size_t>(*padded_length));
  const std::int64_t planes = y.empty() && present.empty() ? 0 : batch * channels;
  for (std::int64_t p = 0; p < planes; ++p) {
    const std::int64_t c = p % channels;
    std::copy_n(past.begin() + p * back, back, row.begin());
    std::copy_n(in.data() + p * length, length, row.begin() + back);
    const float* taps = weights.data() + c * kernel;
    float* out = y.data() + p * length;
    std::fill_n(out, length, bias.empty() ? 0.0f : bias[static_cast<std::size_t>(c)]);
    for (std::int64_t k = 0; k < kernel; ++k) {
      for (std::int64_t i = 0; i < length; ++i) out[i] += taps[k] * row[static_cast<std::size_t>(i + k)];
    }
    if (silu) {
      for (std::int64_t i = 0; i < length; ++i) {
        const float value = rounded_to(dtype, out[i]);
        out[i] = value * rounded_to(dtype, activation::sigmoid<float>(value));
      }
    }
    std::copy_n(row.end() - back, back, present.begin() + p * back);
  }
  std::vector<Datum> outputs{from_floats(dtype, x.dims(), y)};
  outputs.emplace_back(from_floats(dtype, state_dims, present));
  return outputs;
}

}  // namespace

extern const OpRecord causal_conv_with_state_record = {.name = "CausalConvWithState",
                                                       .since = 27,
                                                       .min_inputs = 2,
                                                       .max_inputs = 4,
                                                       .max_outputs = 2,
                                                       .infer = infer,
                                                       .facts = facts,
                                                       .evaluate = evaluate_causal_conv};

}  // namespace bevel::ops
