// quantize-float8: what products read becomes float8, e4m3 or e5m2, behind scales: QuantizeLinear / DequantizeLinear (opset 21).
//
// What it does. Weights of products, recurrent layers and tables that are looked up are rounded to the nearest float8 behind a scale per channel;
// of the scales that put a channel's largest weight into the type's last octave, the one that errs least (squared error). What a product
// computes with beside them is rounded in each run, behind one scale that puts the largest magnitude of the samples at the type's end; beyond,
// QuantizeLinear saturates. Sums, biases and what is no product stay in float32. Formats: P. Micikevicius et al., "FP8 Formats for Deep
// Learning", arXiv:2209.05433.
//
//   weights      e4m3: 4 bits of precision, 448 at most; e5m2: 3 bits, 57344. A quarter of float32, as int8; near zero they are finer than int8
//   activations  with samples or a profile, unless the recipe says float32
//
// Limits. For ONNX alone: the C runtime has no float8. Main graph only. A product whose operands are quantized already is left alone.
//
//   y = MatMul (x, w)
// becomes
//   x_q = QuantizeLinear <output_dtype = 17> (x, x_scale)
//   x_d = DequantizeLinear (x_q, x_scale)
//   w_d = DequantizeLinear <axis = 1> (w_q, w_scale)   # float8 w_q
//   y = MatMul (x_d, w_d)
#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <optional>

#include "lib/ops/op.h"
#include "lib/ops/opset.h"
#include "lib/ops/semantics.h"
#include "passes/pass.h"
#include "passes/quantize/selection.h"
#include "passes/quantize/weight_only.h"

namespace bevel::passes {
namespace {

constexpr OptionRecord kOptions[] = {
    {"format", "", "float8e4m3 or float8e5m2, for all nodes that the recipe does not name (default: the recipe's)"},
    {"activations", "", "float32: weights alone (default: the recipe's, else float8 as the weights)"},
};
// float8 came with 19, where a zero point states the type. ONNX Runtime 1.32 takes a Relu before a QuantizeLinear with a zero point of 0 for
// one that unsigned integers imply, in float8 too, and drops it; 21 has an attribute for the type.
constexpr std::int64_t kFloat8Opset = 21;

struct Format {
  DType dtype = DType::undefined;
  float largest = 0;
};

Format format_named(std::string_view word) {
  if (word == "float8e4m3") return {DType::float8e4m3fn, 448.0f};
  if (word == "float8e5m2") return {DType::float8e5m2, 57344.0f};
  return {};
}

// Elements around `axis`; one channel without.
struct Layout {
  std::int64_t channels = 1, inner = 1;
  [[nodiscard]] std::size_t channel(std::int64_t element) const { return static_cast<std::size_t>(element / inner % channels); }
};

Layout layout_of(const Tensor& tensor, std::optional<int> axis) {
  Layout layout;
  if (!axis) {
    layout.inner = std::max<std::int64_t>(1, tensor.size());
    return layout;
  }
  layout.channels = tensor.dim(static_cast<std::size_t>(*axis));
  for (std::size_t i = static_cast<std::size_t>(*axis) + 1; i < tensor.rank(); ++i) layout.inner *= tensor.dim(i);
  return layout;
}

float rounded(float value, float scale, const Format& format) {
  return widen_small_float(format.dtype, narrow_small_float(format.dtype, value / scale)) * scale;
}

// The scales that put a channel's largest weight at the type's end, and up to an octave below it: where within an octave of the float the
// weights lie decides their rounding. The first one that errs least.
Result<std::vector<float>> searched_scales(const Tensor& weight, const Layout& layout, const Format& format) {
  constexpr int kSteps = 16;  // of an octave
  const auto values = weight.values<float>();
  std::vector<float> largest(static_cast<std::size_t>(layout.channels), 0.0f);
  for (std::int64_t i = 0; i < weight.size(); ++i) {
    const float magnitude = std::fabs(values[static_cast<std::size_t>(i)]);
    if (!std::isfinite(magnitude)) return fail_input("a weight is NaN or infinite");
    largest[layout.channel(i)] = std::max(largest[layout.channel(i)], magnitude);
  }
  std::vector<float> scales(largest.size(), 1.0f);
  std::vector<double> least(largest.size(), std::numeric_limits<double>::infinity());
  for (int step = 0; step < kSteps; ++step) {
    std::vector<float> tried(largest.size());
    for (std::size_t c = 0; c < tried.size(); ++c)
      tried[c] = largest[c] / format.largest * (1.0f + static_cast<float>(step) / static_cast<float>(kSteps));
    std::vector<double> errors(largest.size(), 0.0);
    for (std::int64_t i = 0; i < weight.size(); ++i) {
      const std::size_t channel = layout.channel(i);
      if (!(tried[channel] >= std::numeric_limits<float>::min())) continue;
      const float value = values[static_cast<std::size_t>(i)];
      const double error = static_cast<double>(value) - static_cast<double>(rounded(value, tried[channel], format));
      errors[channel] += error * error;
    }
    for (std::size_t c = 0; c < tried.size(); ++c) {
      // A channel of (nearly) nothing but zeros keeps 1.
      if (!(tried[c] >= std::numeric_limits<float>::min()) || !(errors[c] < least[c])) continue;
      least[c] = errors[c];
      scales[c] = tried[c];
    }
  }
  return scales;
}

class Float8Quantizer {
 public:
  Float8Quantizer(Model& model, bool per_channel, bool forms_only) : graph_(model.graph), per_channel_(per_channel), forms_only_(forms_only) {}

  Status weight(NodeId id, std::size_t operand, int axis, const Format& format) {
    const ValueId value = graph_.node(id).inputs[operand];
    auto& made = weights_[{value, per_channel_ ? axis : -1, format.dtype}];
    if (!made.valid()) {
      const Tensor weight = *graph_.constant(value);
      const std::optional<int> along = per_channel_ ? std::optional(axis) : std::nullopt;
      const Layout layout = layout_of(weight, along);
      std::vector<float> scales(static_cast<std::size_t>(layout.channels), 1.0f);
      Tensor narrow = Tensor::zeros(format.dtype, weight.dims());
      if (!forms_only_) {
        auto found = searched_scales(weight, layout, format);
        if (!found) {
          return located(fmt::format("node '{}' ({}), weights '{}'", printable(graph_.node(id).name), printable(graph_.node(id).op_type),
                                     printable(graph_.value(value).name)), std::move(found).error());
        }
        scales = std::move(*found);
        const auto values = weight.values<float>();
        const auto bits = narrow.mutable_values<std::uint8_t>();
        for (std::int64_t i = 0; i < weight.size(); ++i)
          bits[static_cast<std::size_t>(i)] = narrow_small_float(format.dtype, values[static_cast<std::size_t>(i)] / scales[layout.channel(i)]);
      }
      const std::string base = graph_.value(value).name;
      const ValueId stored = graph_.add_constant(base + "_quantized", std::move(narrow));
      const ValueId scale = graph_.add_constant(base + "_scale", Tensor::of<float>(along ? Dims{layout.channels} : Dims{}, scales));
      std::vector<Attribute> attributes;
      if (along) attributes.push_back({"axis", static_cast<std::int64_t>(axis), ""});
      made = graph_.build_before(id, "DequantizeLinear", base + "_dequantize", {stored, scale}, std::move(attributes), graph_.value(value).type).output;
      graph_.rename_value(made, base + "_dequantized");
    }
    graph_.set_operand(id, operand, made);
    return {};
  }

  void activation(NodeId id, std::size_t operand, float largest, const Format& format) {
    const ValueId value = graph_.node(id).inputs[operand];
    auto& made = activations_[{value, format.dtype}];
    if (!made.valid()) {
      const std::string base = graph_.value(value).name;
      const float least = std::numeric_limits<float>::min();
      const float scale = largest / format.largest >= least ? largest / format.largest : 1.0f;
      const ValueId scale_value = graph_.add_constant(base + "_scale", Tensor::scalar<float>(scale));
      Type narrow = graph_.value(value).type;
      narrow.dtype = format.dtype;
      const ValueId quantized =
          graph_.build_before(id, "QuantizeLinear", base + "_quantize", {value, scale_value},
                              {{"output_dtype", static_cast<std::int64_t>(format.dtype), ""}}, narrow).output;
      graph_.rename_value(quantized, base + "_quantized");
      made = graph_.build_before(id, "DequantizeLinear", base + "_dequantize", {quantized, scale_value}, {}, graph_.value(value).type).output;
      graph_.rename_value(made, base + "_dequantized");
    }
    graph_.set_operand(id, operand, made);
  }

 private:
  Graph& graph_;
  bool per_channel_, forms_only_;
  std::map<std::tuple<ValueId, int, DType>, ValueId> weights_;
  std::map<std::pair<ValueId, DType>, ValueId> activations_;
};

bool is_float32(const Graph& graph, ValueId value) {
  return value.valid() && graph.value(value).type.is_tensor() && graph.value(value).type.dtype == DType::float32;
}

struct Plan {
  NodeId node;
  Format format;
  std::vector<std::size_t> activations;  // operands
};

Format wanted(const Node& node, const std::string& fallback, const Recipe* recipe) {
  if (recipe != nullptr) {
    const auto choice = recipe->nodes.find(node.name);
    if (choice != recipe->nodes.end() && choice->second.precision) return format_named(*choice->second.precision);
  }
  return format_named(fallback);
}

// The nodes with weights or computed operands of products, and of these the operands that are rounded in each run.
std::vector<Plan> plan_of(const Model& model, const std::vector<ops::Facts>& facts, const std::string& fallback, const Recipe* recipe,
                          bool weights_alone) {
  const Graph& graph = model.graph;
  std::vector<Plan> plans;
  for (const NodeId id : graph.node_order()) {
    const Node& node = graph.node(id);
    if (ops::is_quantization(node)) continue;
    Plan plan{id, wanted(node, fallback, recipe), {}};
    if (plan.format.dtype == DType::undefined) continue;
    const bool product = facts[id.index].value.quant == ops::QuantRole::bilinear;
    for (const int operand : facts[id.index].value.data_operands) {
      const auto index = static_cast<std::size_t>(operand);
      if (weights_alone || !product || index >= node.inputs.size() || !is_float32(graph, node.inputs[index])) continue;
      const Value& value = graph.value(node.inputs[index]);
      if (!value.is_constant() && !(value.producer.valid() && ops::is_quantization(graph.node(value.producer)))) plan.activations.push_back(index);
    }
    plans.push_back(std::move(plan));
  }
  return plans;
}

Result<std::map<std::string, float>> largest_magnitudes(const Model& model, const std::vector<Plan>& plans, const PassContext& context) {
  std::map<std::string, float> largest;
  data::Request request;
  for (const Plan& plan : plans)
    for (const std::size_t operand : plan.activations) {
      const std::string& name = model.graph.value(model.graph.node(plan.node).inputs[operand]).name;
      if (largest.emplace(name, 1.0f).second) request.values.push_back(name);
    }
  if (context.forms_only || request.values.empty()) return largest;
  if (context.measure == nullptr)
    return fail(ExitCode::usage, "quantize-float8: activations in float8 need calibration data or a profile; with activations float32, weights "
                "alone are float8");
  BEVEL_TRY(const data::Statistics statistics, context.measure->measure(model, request));
  for (auto& [name, magnitude] : largest) {
    const auto found = statistics.values.find(name);
    if (found != statistics.values.end()) magnitude = std::max(std::fabs(found->second.minimum), std::fabs(found->second.maximum));
  }
  return largest;
}

Result<PassStats> run(Model& model, const Options& options, PassContext& context) {
  std::string fallback = options.at("format");
  if (!fallback.empty() && !is_float8(fallback))
    return fail(ExitCode::usage, "quantize-float8: format=\"{}\": expected float8e4m3 or float8e5m2", printable(fallback));
  const std::string& activations = options.at("activations");
  if (!activations.empty() && activations != "float32")
    return fail(ExitCode::usage, "quantize-float8: activations=\"{}\": expected float32, or nothing", printable(activations));
  if (fallback.empty() && context.recipe != nullptr) fallback = context.recipe->precision;
  const bool weights_alone = activations == "float32" || (context.recipe != nullptr && context.recipe->activations == "float32");
  if (model.opset() < kFloat8Opset) BEVEL_TRY_STATUS(ops::convert_opset(model, kFloat8Opset));

  const std::vector<ops::Facts> facts = all_facts(model);
  const std::vector<Plan> plans = plan_of(model, facts, fallback, context.recipe, weights_alone);
  BEVEL_TRY(const auto largest, largest_magnitudes(model, plans, context));
  Float8Quantizer quantizer(model, context.recipe == nullptr || context.recipe->per_channel, context.forms_only);
  PassStats stats;
  for (const Plan& plan : plans) {
    bool changed = !plan.activations.empty();
    for (std::size_t operand = 0; operand < model.graph.node(plan.node).inputs.size(); ++operand) {
      const Node& node = model.graph.node(plan.node);
      if (!holds_weights(model.graph, node, operand, facts[plan.node.index])) continue;
      const int axis = weight_scale_axis(*model.graph.constant(node.inputs[operand]), operand, facts[plan.node.index]);
      BEVEL_TRY_STATUS(quantizer.weight(plan.node, operand, axis, plan.format));
      changed = true;
    }
    for (const std::size_t operand : plan.activations)
      quantizer.activation(plan.node, operand, largest.at(model.graph.value(model.graph.node(plan.node).inputs[operand]).name), plan.format);
    stats.changes += changed ? 1 : 0;
  }
  for (const NodeId id : model.graph.node_order()) {
    if (id.index >= facts.size() || facts[id.index].space.kind != ops::OpKind::bilinear) continue;
    const bool planned = std::any_of(plans.begin(), plans.end(), [&](const Plan& plan) { return plan.node == id; });
    if (!planned) stats.notes.push_back({model.graph.node(id).name, model.graph.node(id).op_type, "kept in float (recipe: precision float32)"});
  }
  model.graph.erase_dead();
  return stats;
}

}  // namespace

extern const PassRecord quantize_float8 = {"quantize-float8", "what products read becomes float8 (QuantizeLinear / DequantizeLinear)",
                                           Accuracy::lossy, kOptions, run};

}  // namespace bevel::passes
