// Pointwise activations: Relu (6, 13, 14), LeakyRelu (6, 16), PRelu (7, 9, 16), Clip (6, 11, 12, 13), Sigmoid,
// HardSigmoid, HardSwish (14), Tanh, Elu, Selu, Celu (12), ThresholdedRelu (10), Softplus, Softsign, Mish (18), Gelu
// (20), Swish (24), Shrink (9), Erf.
#include "lib/ops/activation.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "lib/ops/activation_functions.h"
#include "lib/ops/downgrade.h"
#include "lib/ops/in_place.h"
#include "lib/ops/lower_functions.h"
#include "lib/ops/nn_families.h"

namespace bevel::ops {
namespace {

namespace act = activation;

// An activation: up to two attributes with their defaults, its formula, and what holds of it for all inputs.
struct Activation {
  std::string_view name;
  struct Parameter {
    std::string_view name;
    double fallback = 0;
  } first, second;
  double (*in_double)(double x, double a, double b) = nullptr;
  float (*in_float)(float x, float a, float b) = nullptr;
  bool (*monotone)(double a, double b) = nullptr;
  Interval (*range)(double a, double b) = nullptr;
};

constexpr double kInfinity = std::numeric_limits<double>::infinity();
bool always(double, double) { return true; }
bool never(double, double) { return false; }
bool first_not_negative(double a, double) { return a >= 0; }
Interval any(double, double) { return {}; }
Interval unit(double, double) { return {0, 1}; }
Interval symmetric_unit(double, double) { return {-1, 1}; }
Interval not_negative(double, double) { return {0, kInfinity}; }

#define BEVEL_FORMULA(expression)              \
  [](double x, double a, double b) -> double { \
    [[maybe_unused]] typedef double T;         \
    (void)a;                                   \
    (void)b;                                   \
    return expression;                         \
  },                                           \
      [](float x, float a, float b) -> float { \
        [[maybe_unused]] typedef float T;      \
        (void)a;                               \
        (void)b;                               \
        return expression;                     \
      }

constexpr Activation kActivations[] = {
    {"Relu", {}, {}, BEVEL_FORMULA(act::relu<T>(x)), always, not_negative},
    {"LeakyRelu", {"alpha", 0.01}, {}, BEVEL_FORMULA(x < 0 ? a * x : x), first_not_negative, any},
    {"Sigmoid", {}, {}, BEVEL_FORMULA(act::sigmoid<T>(x)), always, unit},
    {"HardSigmoid", {"alpha", 0.2}, {"beta", 0.5}, BEVEL_FORMULA(act::clamp01<T>(a* x + b)), first_not_negative, unit},
    {"HardSwish",
     {},
     {},
     BEVEL_FORMULA(x* act::clamp01<T>(x* static_cast<T>(1.0 / 6.0) + T{0.5})),
     never,
     [](double, double) {
       return Interval{-0.375, kInfinity};
     }},
    {"Tanh", {}, {}, BEVEL_FORMULA(act::tanh(x)), always, symmetric_unit},
    {"Elu",
     {"alpha", 1.0},
     {},
     BEVEL_FORMULA(x < 0 ? a * act::expm1(x) : x),
     first_not_negative,
     [](double a, double) {
       return Interval{std::min(-a, 0.0), kInfinity};
     }},
    {"Selu",
     {"alpha", 1.67326319217681884765625},
     {"gamma", 1.05070102214813232421875},
     BEVEL_FORMULA(b*(x < 0 ? a * act::expm1(x) : x)),
     [](double a, double b) { return a >= 0 && b >= 0; },
     any},
    {"Celu",
     {"alpha", 1.0},
     {},
     BEVEL_FORMULA(x < 0 ? a * act::expm1(x / a) : x),
     [](double a, double) { return a > 0; },
     [](double a, double) {
       return a > 0 ? Interval{-a, kInfinity} : Interval{};
     }},
    {"ThresholdedRelu", {"alpha", 1.0}, {}, BEVEL_FORMULA(x != x || x > a ? x : T{0}), first_not_negative, any},
    {"Softplus", {}, {}, BEVEL_FORMULA(act::softplus<T>(x)), always, not_negative},
    {"Softsign", {}, {}, BEVEL_FORMULA(x / (T{1} + (x < 0 ? -x : x))), always, symmetric_unit},
    {"Mish",
     {},
     {},
     BEVEL_FORMULA(x* act::tanh(act::softplus<T>(x))),
     never,
     [](double, double) {
       return Interval{-0.31, kInfinity};
     }},
    {"Gelu",
     {},
     {},
     BEVEL_FORMULA(act::gelu<T>(x)),
     never,
     [](double, double) {
       return Interval{-0.18, kInfinity};
     }},
    {"Swish",
     {"alpha", 1.0},
     {},
     BEVEL_FORMULA(x* act::sigmoid<T>(a* x)),
     never,
     [](double a, double) {
       return a > 0 ? Interval{-0.279 / a, kInfinity} : Interval{};  // the minimum is -W(1/e) / alpha
     }},
    {"Shrink",
     {"lambd", 0.5},
     {"bias", 0.0},
     BEVEL_FORMULA(x<-a ? x + b : x> a ? x - b
                   : x != x            ? x
                                       : T{0}),
     never,
     any},
    {"Erf", {}, {}, BEVEL_FORMULA(act::erf(x)), always, symmetric_unit},
};
constexpr Activation kGeluTanh = {"Gelu", {},
                                  {},     BEVEL_FORMULA(act::gelu_tanh<T>(x)),
                                  never,  [](double, double) { return Interval{-0.18, kInfinity}; }};
#undef BEVEL_FORMULA

struct Bound {
  const Activation* activation = nullptr;
  double a = 0, b = 0;
};

Result<Bound> bind(const Node& node) {
  Bound bound;
  for (const Activation& candidate : kActivations) {
    if (candidate.name == node.op_type) bound.activation = &candidate;
  }
  if (bound.activation == nullptr) return bound;
  if (node.op_type == "Gelu") {
    BEVEL_TRY(const std::string approximate, attr_string(node, "approximate", "none"));
    if (approximate == "tanh") {
      bound.activation = &kGeluTanh;
    } else if (approximate != "none") {
      return fail_input("attribute 'approximate' is '{}', expected none or tanh", printable(approximate));
    }
  }
  const auto value_of = [&](const Activation::Parameter& parameter) -> Result<double> {
    if (parameter.name.empty()) return 0.0;
    // Attributes are float32: a default means the float32 nearest to it.
    BEVEL_TRY(const float value, attr_float(node, parameter.name, static_cast<float>(parameter.fallback)));
    return static_cast<double>(value);
  };
  BEVEL_TRY(bound.a, value_of(bound.activation->first));
  BEVEL_TRY(bound.b, value_of(bound.activation->second));
  return bound;
}

Status infer_activation(InferContext& ctx) {
  BEVEL_TRY([[maybe_unused]] const Bound bound, bind(ctx.node()));
  return infer_same_type(ctx);
}

Facts facts_activation(const FactsContext& ctx) {
  const auto bound = bind(ctx.node());
  if (!bound || bound->activation == nullptr) return {};
  Facts facts =
      unary_facts(ctx, bound->activation->monotone(bound->a, bound->b), bound->activation->range(bound->a, bound->b));
  if (ctx.node().op_type == "Relu") facts.value.clamp = Interval{0, kInfinity};
  return facts;
}

// --- Clip ---

Status infer_clip(InferContext& ctx) {
  for (const std::size_t i : {std::size_t{1}, std::size_t{2}}) {
    const std::string_view role = i == 1 ? "min" : "max";
    BEVEL_TRY_STATUS(expect_rank(ctx, i, role, 0, 1));
    const DType dtype = input_dtype(ctx, i);
    if (ctx.has_input(i) && dtype != DType::undefined && input_dtype(ctx, 0) != DType::undefined &&
        dtype != input_dtype(ctx, 0)) {
      return fail_operand(i, role, "element type is {}, expected {} as input", dtype_name(dtype),
                          dtype_name(input_dtype(ctx, 0)));
    }
  }
  return infer_same_type(ctx);
}

Facts facts_clip(const FactsContext& ctx) {
  Facts facts = unary_facts(ctx, true);
  if (const auto bounds = clip_bounds(ctx)) {
    // min > max gives max everywhere (ONNX: min(max(x, low), high)).
    facts.value.clamp = Interval{std::min(bounds->low, bounds->high), bounds->high};
    facts.value.result = *facts.value.clamp;
  } else {
    facts.value.quant = QuantRole::none;
  }
  return facts;
}

// Opset 6 has min and max as attributes (always there in the defaults of a node), 11 as operands.
Status upgrade_clip(Model& model, NodeId id, int from) {
  if (from != 10) return {};
  Graph& graph = model.graph;
  BEVEL_TRY(const float low, attr_float(graph.node(id), "min", std::numeric_limits<float>::lowest()));
  BEVEL_TRY(const float high, attr_float(graph.node(id), "max", std::numeric_limits<float>::max()));
  const bool has_low = has_attr(graph.node(id), "min"), has_high = has_attr(graph.node(id), "max");
  if (graph.node(id).inputs.size() != 1)
    return fail_input("has {} inputs, expected 1 before opset 11", graph.node(id).inputs.size());
  graph.mutable_node(id).remove_attribute("min");
  graph.mutable_node(id).remove_attribute("max");
  if (!has_low && !has_high) return {};
  // The bounds have the element type of the input. Where the file does not say it, float32 is by far the likeliest;
  // other types then fail in inference with a message.
  DType dtype = DType::float32;
  if (const Type& type = graph.value(graph.node(id).inputs[0]).type; type.is_tensor() && type.dtype != DType::undefined)
    dtype = type.dtype;
  if (const Type& type = graph.node(id).outputs.empty() || !graph.node(id).outputs[0].valid()
                             ? Type()
                             : graph.value(graph.node(id).outputs[0]).type;
      type.is_tensor() && type.dtype != DType::undefined) {
    dtype = type.dtype;
  }
  if (!is_plain_float(dtype))
    return fail_input("is applied to {}, expected a floating type before opset 12", dtype_name(dtype));
  const std::string name = graph.node(id).name;
  const auto bound = [&](float value, std::string_view suffix) {
    return graph.add_constant(name + std::string(suffix), from_floats(dtype, {}, std::span<const float>(&value, 1)));
  };
  const ValueId low_value = has_low ? bound(low, "_min") : ValueId();
  const ValueId high_value = has_high ? bound(high, "_max") : ValueId();
  graph.add_operand(id, low_value);
  if (has_high) graph.add_operand(id, high_value);
  return {};
}

Status downgrade_clip(Model& model, NodeId id, int from) {
  if (from != 11) return {};
  constexpr std::string_view kNames[] = {"min", "max"};
  for (const std::size_t i : {std::size_t{1}, std::size_t{2}}) {
    const Node& node = model.graph.node(id);
    if (i >= node.inputs.size() || !node.inputs[i].valid()) continue;
    const auto bound = constant_operand(model, id, i);
    if (!bound || bound->size() != 1 || !is_plain_float(bound->dtype()))
      return fail_operand(i, kNames[i - 1], "must be one constant float to become an attribute");
    model.graph.mutable_node(id).set_attribute(kNames[i - 1], static_cast<float>(bound->as_double(0)));
  }
  drop_inputs(model, id, 1);
  return {};
}

// --- PRelu ---

Status infer_prelu(InferContext& ctx) {
  const auto shape = broadcast_shapes(input_shape(ctx, 0), input_shape(ctx, 1));
  if (!shape) return fail_operand(1, "slope", "{}", shape.error().message);
  return infer_same_type(ctx);
}
Facts facts_prelu(const FactsContext& ctx) {
  Facts facts;
  facts.space = elementwise_space(ctx, 2);
  facts.value.layout = LayoutRule::follow;
  facts.value.data_operands = {0};
  return facts;
}

}  // namespace

Result<std::optional<std::function<double(double)>>> activation_function(const Node& node) {
  BEVEL_TRY(const Bound bound, bind(node));
  if (bound.activation == nullptr) return std::nullopt;
  return [bound](double x) { return bound.activation->in_double(x, bound.a, bound.b); };
}

Result<std::optional<std::function<float(float)>>> activation_function_float(const Node& node) {
  BEVEL_TRY(const Bound bound, bind(node));
  if (bound.activation == nullptr) return std::nullopt;
  return [function = bound.activation->in_float, a = static_cast<float>(bound.a),
          b = static_cast<float>(bound.b)](float x) { return function(x, a, b); };
}

std::optional<Interval> clip_bounds(const FactsContext& ctx) {
  Interval bounds;
  for (const std::size_t i : {std::size_t{1}, std::size_t{2}}) {
    if (!ctx.has_input(i)) continue;
    const Tensor* tensor = ctx.input_constant(i);
    if (tensor == nullptr || tensor->size() != 1 || tensor->dtype() == DType::string) return std::nullopt;
    const double value = tensor->as_double(0);
    if (value != value) return std::nullopt;
    (i == 1 ? bounds.low : bounds.high) = value;
  }
  return bounds;
}

Outputs evaluate_activation(const EvalContext& ctx) {
  const Tensor& x = ctx.tensor(0);
  if (ctx.node().op_type == "Relu" && x.dtype() == DType::float32) {
    Tensor y = ctx.take(0);
    if (y.defined()) {
      map_in_place(y.mutable_values<float>(), [](float value) { return act::relu<float>(value); });
      return std::vector<Datum>{std::move(y)};
    }
  }
  BEVEL_TRY_STATUS(ctx.reserve(x.dtype(), x.dims()));
  if (ctx.node().op_type == "Relu" && is_signed_integer(x.dtype()) && dtype_bits(x.dtype()) >= 8) {  // opset 14
    Tensor y = x;
    dispatch_integers(x.dtype(), [&](auto tag) {
      using T = typename decltype(tag)::type;
      for (T& value : y.mutable_values<T>()) value = std::max<T>(value, 0);
    });
    return std::vector<Datum>{std::move(y)};
  }
  if (!is_plain_float(x.dtype())) return fail_dtype(x.dtype(), "X");
  BEVEL_TRY(const Bound bound, bind(ctx.node()));
  BEVEL_CHECK(bound.activation != nullptr);
  Tensor y = Tensor::zeros(x.dtype(), x.dims());
  if (x.dtype() == DType::float64) {
    const auto in = x.values<double>();
    const auto out = y.mutable_values<double>();
    for (std::size_t i = 0; i < out.size(); ++i) out[i] = bound.activation->in_double(in[i], bound.a, bound.b);
    return std::vector<Datum>{std::move(y)};
  }
  const float a = static_cast<float>(bound.a), b = static_cast<float>(bound.b);
  dispatch_floats(x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    if constexpr (!std::is_same_v<T, double>) {
      const auto in = x.values<T>();
      const auto out = y.mutable_values<T>();
      if (ctx.node().op_type == "Relu") {  // of 16 bits
        for (std::size_t i = 0; i < out.size(); ++i) out[i] = store<T>(act::relu<float>(load(in[i])));
      } else {
        for (std::size_t i = 0; i < out.size(); ++i) out[i] = store<T>(bound.activation->in_float(load(in[i]), a, b));
      }
    }
  });
  return std::vector<Datum>{std::move(y)};
}

#define BEVEL_ACTIVATION(symbol, op)                               \
  extern const OpRecord symbol = {.name = op,                      \
                                  .infer = infer_activation,       \
                                  .facts = facts_activation,       \
                                  .evaluate = evaluate_activation, \
                                  .lower = lower_unary};
BEVEL_ACTIVATION(relu_record, "Relu")
BEVEL_ACTIVATION(leaky_relu_record, "LeakyRelu")
BEVEL_ACTIVATION(sigmoid_record, "Sigmoid")
BEVEL_ACTIVATION(hard_sigmoid_record, "HardSigmoid")
BEVEL_ACTIVATION(hard_swish_record, "HardSwish")
BEVEL_ACTIVATION(tanh_record, "Tanh")
BEVEL_ACTIVATION(elu_record, "Elu")
BEVEL_ACTIVATION(selu_record, "Selu")
BEVEL_ACTIVATION(celu_record, "Celu")
BEVEL_ACTIVATION(thresholded_relu_record, "ThresholdedRelu")
BEVEL_ACTIVATION(softplus_record, "Softplus")
BEVEL_ACTIVATION(softsign_record, "Softsign")
BEVEL_ACTIVATION(mish_record, "Mish")
BEVEL_ACTIVATION(gelu_record, "Gelu")
BEVEL_ACTIVATION(shrink_record, "Shrink")
BEVEL_ACTIVATION(erf_record, "Erf")
#undef BEVEL_ACTIVATION

extern const OpRecord swish_record = {.name = "Swish",
                                      .since = 24,
                                      .infer = infer_activation,
                                      .facts = facts_activation,
                                      .evaluate = evaluate_activation,
                                      .lower = lower_unary};
extern const OpRecord clip_record = {.name = "Clip",
                                     .max_inputs = 3,
                                     .infer = infer_clip,
                                     .facts = facts_clip,
                                     .evaluate = evaluate_clip,
                                     .upgrade = upgrade_clip,
                                     .downgrade = downgrade_clip,
                                     .lower = lower_unary};
extern const OpRecord prelu_record = {.name = "PRelu",
                                      .min_inputs = 2,
                                      .max_inputs = 2,
                                      .infer = infer_prelu,
                                      .facts = facts_prelu,
                                      .evaluate = evaluate_prelu,
                                      .lower = lower_binary};

}  // namespace bevel::ops
