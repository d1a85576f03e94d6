// SwiGLU (ONNX opset 28): y = a * sigmoid(alpha * a) * b, element by element, without broadcasting.
#include "lib/ops/activation_functions.h"
#include "lib/ops/float_operands.h"

namespace bevel::ops {
namespace {

Status infer(InferContext& ctx) {
  auto shape = unify_shapes(input_shape(ctx, 0), input_shape(ctx, 1));
  if (!shape) return fail_operand(1, "B", "has another shape than A: {}", shape.error().message);
  for (Dim& dim : shape->dims) dim.denotation.clear();
  ctx.set_output(0, Type::tensor(input_dtype(ctx, 0), std::move(*shape)));
  return {};
}

Facts facts(const FactsContext& ctx) {
  Facts facts;
  facts.space = elementwise_space(ctx, 2);
  facts.value.layout = LayoutRule::follow;
  facts.value.data_operands = {0, 1};
  return facts;
}

Outputs evaluate_swiglu(const EvalContext& ctx) {
  const Tensor& a = ctx.tensor(0);
  const Tensor& b = ctx.tensor(1);
  BEVEL_TRY(const float alpha, attr_float(ctx.node(), "alpha", 1.0f));
  if (b.dtype() != a.dtype() || b.dims() != a.dims()) {
    return fail_operand(1, "B", "is {} {}, expected {} {} as A", dtype_name(b.dtype()), to_string(b.dims()),
                        dtype_name(a.dtype()), to_string(a.dims()));
  }
  BEVEL_TRY_STATUS(ctx.reserve(a.dtype(), a.dims()));
  Tensor y = Tensor::zeros(a.dtype(), a.dims());
  const bool known = dispatch_floats(a.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    using C = ComputeOf<T>;
    const auto gates = a.values<T>(), factors = b.values<T>();
    const auto out = y.mutable_values<T>();
    for (std::size_t i = 0; i < out.size(); ++i) {
      const C gate = load(gates[i]);
      const C swish = load(store<T>(gate * activation::sigmoid<C>(static_cast<C>(alpha) * gate)));
      out[i] = store<T>(swish * load(factors[i]));
    }
  });
  if (!known) return fail_dtype(a.dtype(), "A");
  return std::vector<Datum>{std::move(y)};
}

}  // namespace

extern const OpRecord swiglu_record = {
    .name = "SwiGLU", .since = 28, .min_inputs = 2, .max_inputs = 2, .infer = infer, .facts = facts, .evaluate = evaluate_swiglu};

}  // namespace bevel::ops
