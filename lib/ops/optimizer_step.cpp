// Adagrad, Adam and Momentum (ai.onnx.preview.training 1): one step of training. Operands are the learning rate R, the count of
// updates T, then all tensors, all their gradients and each kind of state in turn; results are the new tensors and states.
#include <array>
#include <cmath>

#include "lib/ops/scalar_operand.h"
#include "lib/runtime/bevel_math.h"

namespace bevel::ops {
namespace {

// `states` kinds of state per tensor; the node's operands behind R and T are tensors * (2 + states).
Result<std::size_t> tensor_count(const Node& node, std::size_t states) {
  const std::size_t operands = node.inputs.size() - 2, each = 2 + states;
  if (operands == 0 || operands % each != 0) {
    return fail_input("has {} operands behind R and T, expected a multiple of {}", operands, each);
  }
  return operands / each;
}

template <std::size_t kStates>
Status infer(InferContext& ctx) {
  BEVEL_TRY(const std::size_t tensors, tensor_count(ctx.node(), kStates));
  if (ctx.node().outputs.size() != tensors * (1 + kStates)) {
    return fail_input("has {} outputs, expected {}", ctx.node().outputs.size(), tensors * (1 + kStates));
  }
  for (std::size_t kind = 0; kind <= kStates; ++kind) {
    for (std::size_t i = 0; i < tensors; ++i) {
      const std::size_t from = kind == 0 ? i : i + (kind + 1) * tensors;  // gradients have no result
      ctx.set_output(kind * tensors + i, ctx.input_type(2 + from));
    }
  }
  return {};
}

// x, g and the states of one element; x and the states become the new ones.
template <std::size_t kStates>
struct Element {
  double x, gradient;
  std::array<double, kStates> state;
};

template <std::size_t kStates, typename Step>
Outputs evaluate_steps(const EvalContext& ctx, Step step) {
  BEVEL_TRY(const std::size_t tensors, tensor_count(ctx.node(), kStates));
  std::vector<Datum> results(tensors * (1 + kStates));
  for (std::size_t i = 0; i < tensors; ++i) {
    const auto operand = [&](std::size_t kind) { return 2 + kind * tensors + i; };
    const auto present = [&](std::size_t kind) { return ctx.has_input(operand(kind)) && ctx.input(operand(kind)).tensor() != nullptr; };
    if (!present(0)) return fail_input("required input {} is absent", operand(0));
    const Tensor& x = ctx.tensor(operand(0));
    if (x.dtype() != DType::float32 && x.dtype() != DType::float64) return fail_dtype(x.dtype(), "the tensor");
    std::array<std::vector<double>, kStates + 2> values;
    for (std::size_t kind = 0; kind < values.size(); ++kind) {
      if (!present(kind)) return fail_input("required input {} is absent", operand(kind));
      const Tensor& tensor = ctx.tensor(operand(kind));
      if (tensor.dtype() != x.dtype() || tensor.dims() != x.dims()) {
        return fail_operand(operand(kind), kind == 1 ? "gradient" : "state", "is {} {}, expected {} {} like its tensor",
                            dtype_name(tensor.dtype()), to_string(tensor.dims()), dtype_name(x.dtype()), to_string(x.dims()));
      }
      BEVEL_TRY_STATUS(ctx.reserve(DType::float64, x.dims()));
      values[kind] = to_doubles(tensor);
    }
    for (std::size_t k = 0; k < values[0].size(); ++k) {
      Element<kStates> element{values[0][k], values[1][k], {}};
      for (std::size_t s = 0; s < kStates; ++s) element.state[s] = values[2 + s][k];
      step(element);
      values[0][k] = element.x;
      for (std::size_t s = 0; s < kStates; ++s) values[2 + s][k] = element.state[s];
    }
    results[i] = from_doubles(x.dtype(), x.dims(), values[0]);
    for (std::size_t s = 0; s < kStates; ++s) results[(1 + s) * tensors + i] = from_doubles(x.dtype(), x.dims(), values[2 + s]);
  }
  return results;
}

Outputs evaluate_adagrad(const EvalContext& ctx) {
  BEVEL_TRY(const double rate, scalar_double(ctx, 0, "R"));
  BEVEL_TRY(const std::int64_t updates, scalar_int(ctx, 1, "T"));
  BEVEL_TRY(const float norm, attr_float(ctx.node(), "norm_coefficient", 0));
  BEVEL_TRY(const float decay, attr_float(ctx.node(), "decay_factor", 0));
  BEVEL_TRY(const float epsilon, attr_float(ctx.node(), "epsilon", 1e-6f));
  const double r = rate / (1 + static_cast<double>(updates) * decay);
  return evaluate_steps<1>(ctx, [=](Element<1>& element) {
    const double gradient = norm * element.x + element.gradient;
    element.state[0] += gradient * gradient;
    element.x -= r * gradient / (std::sqrt(element.state[0]) + epsilon);
  });
}

Outputs evaluate_adam(const EvalContext& ctx) {
  BEVEL_TRY(const double rate, scalar_double(ctx, 0, "R"));
  BEVEL_TRY(const std::int64_t updates, scalar_int(ctx, 1, "T"));
  BEVEL_TRY(const float alpha, attr_float(ctx.node(), "alpha", 0.9f));
  BEVEL_TRY(const float beta, attr_float(ctx.node(), "beta", 0.999f));
  BEVEL_TRY(const float epsilon, attr_float(ctx.node(), "epsilon", 1e-6f));
  BEVEL_TRY(const float norm, attr_float(ctx.node(), "norm_coefficient", 0));
  BEVEL_TRY(const float norm_post, attr_float(ctx.node(), "norm_coefficient_post", 0));
  const auto power = [&](float base) { return bvl_pow(base, static_cast<double>(updates)); };
  const double r = updates > 0 ? rate * std::sqrt(1 - power(beta)) / (1 - power(alpha)) : rate;
  return evaluate_steps<2>(ctx, [=](Element<2>& element) {
    const double gradient = norm * element.x + element.gradient;
    auto& [mean, square] = element.state;
    mean = alpha * mean + (1 - static_cast<double>(alpha)) * gradient;
    square = beta * square + (1 - static_cast<double>(beta)) * gradient * gradient;
    element.x = (1 - static_cast<double>(norm_post)) * (element.x - r * mean / (std::sqrt(square) + epsilon));
  });
}

Outputs evaluate_momentum(const EvalContext& ctx) {
  BEVEL_TRY(const double rate, scalar_double(ctx, 0, "R"));
  BEVEL_TRY(const std::int64_t updates, scalar_int(ctx, 1, "T"));
  for (const std::string_view name : {"alpha", "beta", "norm_coefficient", "mode"}) {
    if (!has_attr(ctx.node(), name)) return fail_input("required attribute '{}' is missing", name);
  }
  BEVEL_TRY(const float alpha, attr_float(ctx.node(), "alpha", 0));
  BEVEL_TRY(const float beta, attr_float(ctx.node(), "beta", 0));
  BEVEL_TRY(const float norm, attr_float(ctx.node(), "norm_coefficient", 0));
  BEVEL_TRY(const std::string mode, attr_string(ctx.node(), "mode", ""));
  if (mode != "standard" && mode != "nesterov") return fail_input("attribute 'mode' is '{}', expected standard or nesterov", printable(mode));
  const double adjusted = updates > 0 ? beta : 1;
  const bool nesterov = mode == "nesterov";
  return evaluate_steps<1>(ctx, [=](Element<1>& element) {
    const double gradient = norm * element.x + element.gradient;
    element.state[0] = alpha * element.state[0] + adjusted * gradient;
    element.x -= rate * (nesterov ? gradient + alpha * element.state[0] : element.state[0]);
  });
}

}  // namespace

extern const OpRecord adagrad_record{.domain = "ai.onnx.preview.training", .name = "Adagrad", .min_inputs = 5, .max_inputs = -1,
                                     .min_outputs = 2, .max_outputs = -1, .infer = infer<1>, .evaluate = evaluate_adagrad};
extern const OpRecord adam_record{.domain = "ai.onnx.preview.training", .name = "Adam", .min_inputs = 6, .max_inputs = -1,
                                  .min_outputs = 3, .max_outputs = -1, .infer = infer<2>, .evaluate = evaluate_adam};
extern const OpRecord momentum_record{.domain = "ai.onnx.preview.training", .name = "Momentum", .min_inputs = 5, .max_inputs = -1,
                                      .min_outputs = 2, .max_outputs = -1, .infer = infer<1>, .evaluate = evaluate_momentum};

}  // namespace bevel::ops
