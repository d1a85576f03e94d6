// Dropout (ONNX opsets 7, 10, 12, 13, 22) at inference: the identity; the mask keeps everything.
#include <random>

#include "lib/ops/downgrade.h"
#include "lib/ops/family.h"
#include "lib/ops/lower_functions.h"
#include "lib/ops/nn_families.h"

namespace bevel::ops {
namespace {

Status infer(InferContext& ctx) {
  BEVEL_TRY_STATUS(infer_same_type(ctx));
  ctx.set_output(1, Type::tensor(DType::boolean, input_shape(ctx, 0)));
  return {};
}

// Whether the node drops nothing whatever the data: no training_mode operand, or a constant false, or ratio 0.
bool inference_mode(const FactsContext& ctx) {
  if (!ctx.has_input(2)) return true;
  const Tensor* training = ctx.input_constant(2);
  if (training == nullptr || training->dtype() != DType::boolean || training->size() != 1) return false;
  if (training->as_int64(0) == 0) return true;
  const Tensor* ratio = ctx.input_constant(1);
  return ratio != nullptr && is_floating(ratio->dtype()) && ratio->size() == 1 && ratio->as_double(0) == 0;
}

Facts facts(const FactsContext& ctx) {
  Facts facts;
  facts.space = elementwise_space(ctx, 1);
  facts.space.inputs.resize(ctx.node().inputs.size());
  facts.value.data_operands = {0};
  facts.value.layout = LayoutRule::follow;
  facts.value.identity = inference_mode(ctx);
  facts.value.pure = facts.value.identity;
  facts.value.monotone = facts.value.identity;
  if (facts.value.identity) facts.value.quant = QuantRole::same_scale;
  return facts;
}

// Up to opset 11 the ratio is an attribute, which inference does not use: it goes.
Status upgrade(Model& model, NodeId id, int from) {
  if (from != 11) return {};
  Graph& graph = model.graph;
  BEVEL_TRY(const float ratio, attr_float(graph.node(id), "ratio", 0.5f));
  const bool stated = has_attr(graph.node(id), "ratio");
  graph.mutable_node(id).remove_attribute("ratio");
  if (stated && ratio != 0.5f && graph.node(id).inputs.size() == 1) {
    graph.add_operand(id, graph.add_constant(graph.node(id).name + "_ratio", Tensor::scalar(ratio)));
  }
  // The mask has been boolean since opset 10; before it had the element type of the input.
  return {};
}

Status downgrade(Model& model, NodeId id, int from) {
  if (from != 12) return {};
  if (model.graph.node(id).inputs.size() > 2 && model.graph.node(id).inputs[2].valid()) {
    const auto training = constant_operand(model, id, 2);
    if (!training || training->dtype() != DType::boolean || training->size() != 1 || training->as_int64(0) != 0)
      return fail_operand(2, "training_mode", "must be a constant false, as older models say by leaving it out");
  }
  if (model.graph.node(id).inputs.size() > 1 && model.graph.node(id).inputs[1].valid()) {
    const auto ratio = constant_operand(model, id, 1);
    if (!ratio || ratio->size() != 1 || !is_plain_float(ratio->dtype()))
      return fail_operand(1, "ratio", "must be one constant float to become an attribute");
    model.graph.mutable_node(id).set_attribute("ratio", static_cast<float>(ratio->as_double(0)));
  }
  drop_inputs(model, id, 1);
  return {};
}

// Uniform in [0, 1), and not of lib/support/random.h: ONNX leaves the generator open, but the expected data of its operator tests
// for training mode are drawn by the 32-bit Mersenne twister, 53 bits a number (Matsumoto, Nishimura: "Mersenne Twister", 1998).
// The standard fixes the numbers of std::mt19937, so that they too are the same on every machine.
double next_uniform(std::mt19937& generator) {
  const std::uint32_t high = generator() >> 5, low = generator() >> 6;
  return (static_cast<double>(high) * 0x1p26 + static_cast<double>(low)) * 0x1p-53;
}

// The probability to drop an element; 0 outside training mode.
Result<double> drop_ratio(const EvalContext& ctx) {
  if (!ctx.has_input(2)) return 0.0;
  const Tensor& training = ctx.tensor(2);
  if (training.dtype() != DType::boolean || training.size() != 1) {
    return fail_operand(2, "training_mode", "is {} {}, expected one bool", dtype_name(training.dtype()),
                        to_string(training.dims()));
  }
  if (training.as_int64(0) == 0) return 0.0;
  if (!ctx.has_input(1)) return 0.5;
  const Tensor& ratio = ctx.tensor(1);
  const bool fits = is_floating(ratio.dtype()) && ratio.size() == 1;
  if (!fits || !(ratio.as_double(0) >= 0 && ratio.as_double(0) < 1)) {
    return fail_operand(1, "ratio", "is {} {}, expected one floating number in [0, 1)", dtype_name(ratio.dtype()),
                        fits ? fmt::format("{}", ratio.as_double(0)) : to_string(ratio.dims()));
  }
  return ratio.as_double(0);
}

}  // namespace

Outputs evaluate_dropout(const EvalContext& ctx) {
  const Tensor& x = ctx.tensor(0);
  BEVEL_TRY(const double ratio, drop_ratio(ctx));
  const bool masked = ctx.node().outputs.size() > 1 && ctx.node().outputs[1].valid();
  if (ratio == 0 && !masked) return std::vector<Datum>{x};
  BEVEL_TRY_STATUS(ctx.reserve(DType::boolean, x.dims()));
  Tensor mask = Tensor::zeros(DType::boolean, x.dims());
  const auto kept = mask.mutable_values<std::uint8_t>();
  if (ratio == 0) {
    for (std::uint8_t& value : kept) value = 1;
    return std::vector<Datum>{x, std::move(mask)};
  }
  BEVEL_TRY(const std::int64_t seed, attr_int(ctx.node(), "seed", 0));
  std::mt19937 generator(static_cast<std::uint32_t>(seed));
  for (std::uint8_t& value : kept) value = next_uniform(generator) >= ratio ? 1 : 0;
  BEVEL_TRY_STATUS(ctx.reserve(x.dtype(), x.dims()));
  Tensor y = Tensor::zeros(x.dtype(), x.dims());
  const bool known = dispatch_floats(x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    using C = ComputeOf<T>;
    const auto in = x.values<T>();
    const auto out = y.mutable_values<T>();
    const C scale = static_cast<C>(1.0 / (1.0 - ratio));
    for (std::size_t i = 0; i < out.size(); ++i) {
      if (kept[i] != 0) out[i] = store<T>(load(in[i]) * scale);
    }
  });
  if (!known) return fail_dtype(x.dtype(), "data");
  std::vector<Datum> outputs{std::move(y)};
  if (masked) outputs.emplace_back(std::move(mask));
  return outputs;
}

extern const OpRecord dropout_record = {.name = "Dropout",
                                        .max_inputs = 3,
                                        .max_outputs = 2,
                                        .infer = infer,
                                        .facts = facts,
                                        .evaluate = evaluate_dropout,
                                        .upgrade = upgrade,
                                        .downgrade = downgrade,
                                        .lower = lower_view};

}  // namespace bevel::ops
