// quantize: float32 to integers, of 8 bits if nothing else is asked for, written as ONNX's own QuantizeLinear / DequantizeLinear (QDQ).
//
// What it does. Every node that can compute in integers reads 8-bit operands and writes an 8-bit result:
//   weights        symmetric int8 per output channel, scale = max|w| / 127; the float tensor goes, the file shrinks to a quarter. int4 (per
//                  channel, or per block of the sum's elements) where the recipe says so
//                  For ONNX Runtime on x86 without VNNI (runtime onnxruntime-avx2), no two int8 weights that it sums in 16 bits can saturate
//                  (saturating_pairs.h)
//   biases         int32 with scale sx * sw, so that they add to the accumulator as they stand
//   activations    asymmetric 8 bits per tensor; int8 or uint8, the same integers shifted by 128; or symmetric int16, of the model or of
//                  single nodes, where values that others read or made in 8 bits are converted
//   movement       (Reshape, Concat, MaxPool, ...) one scale for everything that is moved together
//   Softmax        its stated scale, 1/256, zero point at the minimum
// An activation function that only clamps (Relu, Clip) goes when the result's 8-bit range implies it: Q(clamp(x)) = Q(x).
//
// Why. Integer arithmetic is what small devices are fast at, and QDQ is what ONNX Runtime, TensorRT and NPU compilers fuse:
//   B. Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference",
//   CVPR 2018, arXiv:1712.05877 (asymmetric activations, int32 biases); R. Krishnamoorthi, arXiv:1806.08342 (per channel).
//
// Before:                              After (q: 8-bit, scales and zero points are constants):
//   y = Conv(x, w, b)                    x_q = QuantizeLinear(x, sx, zx)
//   z = Relu(y)                          x_d = DequantizeLinear(x_q, sx, zx)
//                                        w_d = DequantizeLinear(w_q, sw)          per channel
//                                        b_d = DequantizeLinear(b_q, sx * sw)     int32
//                                        y   = Conv(x_d, w_d, b_d)
//                                        y_q = QuantizeLinear(y, sz, qmin)
//                                        z   = DequantizeLinear(y_q, sz, qmin)    keeps the name of the value it stands for
//
// Limits. Needs statistics (a Measure) and opset 13. Nothing is decided by op names: roles, operands, axes and clamps are
// facts (lib/ops/facts.h). A node that stays in float is listed with its reason, and a clamp that alone reads it stays with it, so that
// the quantization comes after the clamp. Subgraphs stay in float.
#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <set>

#include "lib/ops/facts_derived.h"
#include "lib/ops/op.h"
#include "lib/ops/opset.h"
#include "lib/ops/semantics.h"
#include "passes/pass.h"
#include "passes/quantize/automatic_range.h"
#include "passes/quantize/delicate.h"
#include "passes/quantize/dynamic.h"
#include "passes/quantize/saturating_pairs.h"
#include "passes/quantize/scales.h"
#include "passes/quantize/selection.h"
#include "passes/quantize/weight_only.h"
#include "passes/quantize/weights.h"

namespace bevel::passes {
namespace {

using ops::QuantRole;

constexpr OptionRecord kOptions[] = {
    {"activations", "", "int8, uint8, int16, dynamic, or float32 for weights alone (default: the recipe's, else int8)"},
    {"weights", "", "int8 or int4 (default: the recipe's)"},
    {"range", "", "auto, minmax, percentile, percentile:P, mse or entropy (default: the recipe's)"},
    {"runtime", "", "any, or onnxruntime-avx2: weights that cannot saturate on x86 without VNNI (default: the recipe's)"},
    {"keep-float", "", "names of nodes or op types that stay in float, separated by commas (in a pipeline: semicolons)"},
};

// Q(clamp(x)) = Q(x) for every x: the clamp's bounds land on (or beyond) the ends of the 8-bit range.
bool implied(const ops::Interval& clamp, const ScaleZeroPoint& grid, const ActivationFormat& format) {
  const auto lands = [&](double bound) { return std::nearbyint(bound / static_cast<double>(grid.scale)) + grid.zero_point; };
  return (std::isinf(clamp.low) || lands(clamp.low) <= format.qmin) &&
         (std::isinf(clamp.high) || lands(clamp.high) >= format.qmax);
}

class Quantizer {
 public:
  Quantizer(Model& model, const std::vector<ops::Facts>& facts, const Selection& selection, const Grids& grids,
            const ActivationFormat& format, const Recipe& recipe, bool forms_only)
      : graph_(model.graph), facts_(facts), selection_(selection), grids_(grids), format_(format),
        constants_(model.graph, forms_only), parameters_(2 * grids.components.size()), recipe_(recipe), forms_only_(forms_only) {}

  Status run() {
    for (const NodeId id : graph_.node_order()) {
      if (!selection_.is_integer(id)) continue;
      BEVEL_TRY_STATUS(quantize_operands(id));
      quantize_results(id);
    }
    graph_.erase_dead();
    return {};
  }
  [[nodiscard]] const PairLosses& pair_losses() const { return pair_losses_; }

 private:
  struct Parameters {
    ValueId scale, zero_point;
  };
  // One of the two formats of a model, and a component's grid in it.
  struct Form {
    const Component& component;
    bool wide;
    ActivationFormat format;
    ScaleZeroPoint grid;
  };
  [[nodiscard]] Form form(const Component& component, bool wide) const {
    return {component, wide, wide ? ActivationFormat::int16() : format_, wide ? component.wide_grid : component.grid};
  }
  // What a node reads and writes a component in.
  [[nodiscard]] Form form_at(NodeId id, const Component& component) const {
    const bool moves = facts_[id.index].value.quant == QuantRole::same_scale;
    return form(component, moves ? component.wide : selection_.is_wide(id));
  }

  // Constants of a component's grid, made when first needed and shared by all its Q and DQ nodes.
  const Parameters& parameters(const Form& form) {
    Parameters& made = parameters_[2 * static_cast<std::size_t>(&form.component - grids_.components.data()) + (form.wide ? 1 : 0)];
    if (!made.scale.valid()) {
      const std::string base(graph_.value(form.component.values[0]).name);
      Tensor zero_point = Tensor::zeros(form.format.dtype, {});
      zero_point.set_from_int64(0, form.grid.zero_point);
      made.scale = graph_.add_constant(base + "_scale", Tensor::scalar<float>(form.grid.scale));
      made.zero_point = graph_.add_constant(base + "_zero_point", std::move(zero_point));
    }
    return made;
  }

  Type quantized_type(ValueId value, const ActivationFormat& format) const {
    Type type = graph_.value(value).type;
    type.dtype = format.dtype;
    return type;
  }

  Status quantize_operands(NodeId id) {
    const ops::ValueFacts& facts = facts_[id.index].value;
    std::optional<std::size_t> weight;
    float input_scale = 0;
    for (const int operand : facts.data_operands) {
      const auto index = static_cast<std::size_t>(operand);
      const ValueId value = index < graph_.node(id).inputs.size() ? graph_.node(id).inputs[index] : ValueId();
      if (!value.valid()) continue;
      const bool is_constant = graph_.constant(value) != nullptr;
      if (is_constant && facts.quant == QuantRole::bilinear) {
        weight = index;
        continue;
      }
      const Component* component = grids_.of(value);
      BEVEL_CHECK(component != nullptr);
      const Form read = form_at(id, *component);
      if (input_scale == 0) input_scale = read.grid.scale;
      if (is_constant) {
        graph_.set_operand(id, index, constants_.activation(value, read.grid, read.format, id));
      } else if (!dequantized_.contains(value) || read.wide != component->wide) {
        graph_.set_operand(id, index, quantized_copy(value, read, id));
      }
    }
    if (!weight) return {};
    if (auto status = quantize_weight_and_bias(id, *weight, input_scale); !status) {
      const ValueId held = graph_.node(id).inputs[*weight];
      return located(fmt::format("node '{}' ({}), weights '{}'", printable(graph_.node(id).name),
                                 printable(graph_.node(id).op_type), printable(graph_.value(held).name)),
                     std::move(status).error());
    }
    return {};
  }

  // Q and DQ of a value that others may go on reading as it is (a graph input, a float node's result, one of the other format).
  ValueId quantized_copy(ValueId value, const Form& read, NodeId position) {
    auto& made = copies_[{value, read.wide}];
    if (made.valid()) return made;
    const Parameters& grid = parameters(read);
    const std::string base(graph_.value(value).name);
    const auto quantized = graph_.build_before(position, "QuantizeLinear", base + "_quantize",
                                               {value, grid.scale, grid.zero_point}, {}, quantized_type(value, read.format));
    graph_.rename_value(quantized.output, base + "_quantized");
    const Type type = graph_.value(value).type;
    made = graph_
               .build_before(position, "DequantizeLinear", base + "_dequantize",
                             {quantized.output, grid.scale, grid.zero_point}, {}, type)
               .output;
    graph_.rename_value(made, base + "_dequantized");
    return made;
  }

  Status quantize_weight_and_bias(NodeId id, std::size_t weight_operand, float input_scale) {
    const ops::Facts& facts = facts_[id.index];
    const Node& node = graph_.node(id);
    const ValueId weight = node.inputs[weight_operand];
    const auto bias_operand = static_cast<std::size_t>(facts.value.bias_operand);
    const bool has_bias =
        facts.value.bias_operand >= 0 && bias_operand < node.inputs.size() && node.inputs[bias_operand].valid();
    const ValueId bias = has_bias ? node.inputs[bias_operand] : ValueId();
    const auto axis = recipe_.per_channel ? ops::channel_axis(facts.space, static_cast<int>(weight_operand)) : std::nullopt;
    WeightFormat format = weight_format(recipe_, node.name);
    if (recipe_.runtime == kAvx2Runtime && format.dtype == DType::int8 && weight_operand == 1) format.pairs = pair_order(graph_, id);
    if (!has_bias) {
      if (const auto blocks = block_axis(facts, *graph_.constant(weight), format)) {
        BEVEL_TRY(const ValueId dequantized, constants_.weight_in_blocks(weight, *blocks, format, id));
        graph_.set_operand(id, weight_operand, dequantized);
        return {};
      }
    }
    BEVEL_TRY(const std::vector<float> scales,
              constants_.scales_of(*graph_.constant(weight), axis, graph_.constant(bias), input_scale, format));
    if (format.pairs != PairOrder::none && !forms_only_ && counted_.insert(weight).second) {
      const Tensor& values = *graph_.constant(weight);
      BEVEL_TRY(const PairCost cost, pair_cost(values, axis, graph_.constant(bias), input_scale, format));
      pair_losses_.add(node.name, values.size(), cost.limited, cost.db);
    }
    graph_.set_operand(id, weight_operand, constants_.weight(weight, axis, scales, format, id));
    if (has_bias) graph_.set_operand(id, bias_operand, constants_.bias(bias, input_scale, scales, id));
    return {};
  }

  void quantize_results(NodeId id) {
    for (const ValueId output : std::vector<ValueId>(graph_.node(id).outputs)) {
      if (!output.valid()) continue;
      const ValueId result = final_value(graph_, selection_, id, output);
      const Component* component = grids_.of(result);
      if (component == nullptr || !graph_.value(result).has_uses()) continue;
      const Form made = form_at(id, *component);
      const ValueId raw = drop_implied_clamps(id, result, made);
      const NodeId last = graph_.value(raw).producer;
      const Parameters& grid = parameters(made);
      const std::string base(graph_.value(result).name);
      const auto quantized = graph_.build_after(last, "QuantizeLinear", base + "_quantize",
                                                {raw, grid.scale, grid.zero_point}, {}, quantized_type(result, made.format));
      graph_.rename_value(quantized.output, base + "_quantized");
      Node dequantize;
      dequantize.op_type = "DequantizeLinear";
      dequantize.name = base + "_dequantize";
      dequantize.inputs = {quantized.output, grid.scale, grid.zero_point};
      dequantize.outputs = {result};
      graph_.insert_after(quantized.node, std::move(dequantize));
      dequantized_.insert(result);
    }
  }

  // Leaves `result` without producer, for the DequantizeLinear to make; gives the float value to quantize.
  ValueId drop_implied_clamps(NodeId id, ValueId result, const Form& made) {
    auto clamps = selection_.clamps[id.index];
    ValueId raw = graph_.add_value(graph_.value(result).name + "_float", graph_.value(result).type);
    graph_.move_output(result, raw);
    while (!clamps.empty() && facts_[clamps.back().index].value.clamp &&
           implied(*facts_[clamps.back().index].value.clamp, made.grid, made.format)) {
      const NodeId clamp = clamps.back();
      clamps.pop_back();
      const auto operand = static_cast<std::size_t>(facts_[clamp.index].value.data_operands[0]);
      raw = graph_.node(clamp).inputs[operand];
      graph_.erase_node(clamp);
    }
    return raw;
  }

  Graph& graph_;
  const std::vector<ops::Facts>& facts_;
  const Selection& selection_;
  const Grids& grids_;
  ActivationFormat format_;
  ConstantQuantizer constants_;
  std::vector<Parameters> parameters_;
  std::map<std::pair<ValueId, bool>, ValueId> copies_;  // by value and whether in 16 bits
  std::set<ValueId> dequantized_;  // results whose producer now is their DequantizeLinear
  const Recipe& recipe_;
  bool forms_only_;
  PairLosses pair_losses_;
  std::set<ValueId> counted_;  // weights in them
};

ActivationFormat activation_format(const Recipe& recipe) {
  if (recipe.activations == "int16") return ActivationFormat::int16();
  if (recipe.activations == "uint8") return {DType::uint8, 0, 255};
  return {DType::int8, -128, 127};
}

// What the model's integers need of it: DequantizeLinear has an axis since opset 13, int4, int16 and blocks since 21.
Status reach_opset(Model& model, const Recipe& recipe) {
  constexpr std::int64_t kPerAxisOpset = 13, kSmallIntegersOpset = 21;
  if (model.opset() < kPerAxisOpset) {
    return fail_input("quantize: the model is of opset {}; per-channel scales need {} or later", model.opset(), kPerAxisOpset);
  }
  bool small = recipe.precision == "int4" || recipe.activations == "int16";
  for (const auto& [name, choice] : recipe.nodes) small = small || choice.precision == "int4" || choice.activations;
  if (!small || model.opset() >= kSmallIntegersOpset) return {};
  return ops::convert_opset(model, kSmallIntegersOpset);
}

Result<Recipe> recipe_of(const Options& options, const PassContext& context) {
  Recipe recipe = context.recipe != nullptr ? *context.recipe : Recipe();
  if (const std::string& text = options.at("activations"); !text.empty()) recipe.activations = text;
  if (const std::string& text = options.at("weights"); !text.empty()) recipe.precision = text;
  if (const std::string& text = options.at("runtime"); !text.empty()) recipe.runtime = text;
  const auto known = [](std::span<const std::string_view> words, std::string_view text) {
    return std::find(words.begin(), words.end(), text) != words.end();
  };
  if (!known(recipe_activations(), recipe.activations.value_or("int8"))) {
    return fail(ExitCode::usage, "quantize: activations=\"{}\": expected int8, uint8, int16, dynamic or float32",
                printable(*recipe.activations));
  }
  if (!known(recipe_precisions(), recipe.precision)) {
    return fail(ExitCode::usage, "quantize: weights=\"{}\": expected int8, int4, float16, bfloat16, float8e4m3, float8e5m2 or float32",
                printable(recipe.precision));
  }
  if (!known(recipe_runtimes(), recipe.runtime.value_or("any")))
    return fail(ExitCode::usage, "quantize: runtime=\"{}\": expected any or onnxruntime-avx2", printable(*recipe.runtime));
  BEVEL_TRY_STATUS(check_combination(recipe));
  // What narrow-floats and quantize-float8 take up.
  if (is_half(recipe.precision) || is_float8(recipe.precision)) recipe.precision = "float32";
  for (auto& [name, choice] : recipe.nodes)
    if (choice.precision && (is_half(*choice.precision) || is_float8(*choice.precision))) choice.precision = "float32";
  if (const std::string& text = options.at("range"); !text.empty()) {
    auto method = parse_range_method(text);
    if (!method) return fail(ExitCode::usage, "quantize: {}", method.error().message);
    recipe.range = *method;
  }
  return recipe;
}

// The first constant, in the order of its readers, that no calibration can get past: NaN, or infinite in a product. Asked when
// measuring failed, because what the samples then make of it would be blamed on them.
std::optional<std::string> unusable_constant(const Graph& graph, const std::vector<ops::Facts>& facts) {
  for (const NodeId id : graph.node_order()) {
    const Node& node = graph.node(id);
    const bool product = facts[id.index].value.quant == QuantRole::bilinear;
    for (const ValueId input : node.inputs) {
      const Tensor* constant = input.valid() ? graph.constant(input) : nullptr;
      if (constant == nullptr || constant->dtype() != DType::float32) continue;
      const auto values = constant->values<float>();
      const auto bad = std::find_if(values.begin(), values.end(), [&](float value) {
        return std::isnan(value) || (product && std::isinf(value));
      });
      if (bad == values.end()) continue;
      return fmt::format("node '{}' ({}): element {} of its initializer '{}' is {}: the model's own weights are at fault, not the "
                         "data", printable(node.name), printable(node.op_type), bad - values.begin(),
                         printable(graph.value(input).name), std::isnan(*bad) ? "NaN" : "infinite");
    }
  }
  return std::nullopt;
}

// A node worth a line in the report: it computes on floats, though its results may be none (a comparison). Movement and shape
// arithmetic are not, which starts at Shape and Size: these read no element.
bool computes_on_floats(const Graph& graph, NodeId id, const ops::Facts& facts) {
  const Node& node = graph.node(id);
  if (node.inputs.empty() || ops::is_quantization(node)) return false;
  if (ops::find_op(node) == nullptr) return true;
  if (facts.space.kind == ops::OpKind::move && facts.value.quant != QuantRole::same_scale) return false;
  const auto is_float = [&](ValueId id) { return id.valid() && is_floating(graph.value(id).type.dtype); };
  if (std::any_of(node.outputs.begin(), node.outputs.end(), is_float)) return true;
  if (node.domain.empty() && (node.op_type == "Shape" || node.op_type == "Size")) return false;
  return std::any_of(node.inputs.begin(), node.inputs.end(), [&](ValueId id) {
    return is_float(id) && graph.constant(id) == nullptr;
  });
}

struct Chosen {
  Selection selection;
  Grids grids;
};

// Selects, measures and chooses grids; what then turns out to be ruined by 8 bits is taken out, and the rest chosen anew.
Result<Chosen> choose(const Model& model, const std::vector<ops::Facts>& facts, const Recipe& recipe, const ActivationFormat& format,
                      std::string_view keep_float, data::Measure& measure) {
  KeptFloat kept;
  data::Statistics statistics;
  for (bool tried = false;;) {
    Chosen chosen;
    BEVEL_TRY(chosen.selection, select_nodes(model, facts, recipe, keep_float, kept));
    chosen.grids = find_components(model, facts, chosen.selection, recipe);
    data::Request request;
    for (const std::string& name : values_to_measure(model.graph, chosen.grids, measure.has_samples()))
      if (!statistics.values.contains(name)) request.values.push_back(name);
    if (measure.has_samples() && wants_rows(chosen.grids, recipe, format)) {
      for (const data::OperandKey& key : rows_to_measure(model.graph, facts, chosen.selection))
        if (!statistics.rows.contains(key)) request.rows.push_back(key);
    }
    if (!request.values.empty() || !request.rows.empty()) {
      auto measured = measure.measure(model, request);
      if (!measured) {
        if (const auto fault = unusable_constant(model.graph, facts)) return fail_input("{}", *fault);
        return Failure(std::move(measured).error());
      }
      statistics.values.merge(measured->values);
      statistics.rows.merge(measured->rows);
    }
    const ConsumerErrors errors(model, facts, chosen.selection, statistics, recipe.rounding != "nearest");
    BEVEL_TRY_STATUS(choose_grids(model.graph, statistics, recipe, format, errors, chosen.grids));
    if (format.symmetric()) return chosen;
    KeptFloat more = uneven_moves(model, facts, chosen.selection, chosen.grids, statistics, format);
    if (!tried && measure.has_samples()) {
      BEVEL_TRY(KeptFloat delicate, delicate_regions(model, facts, chosen.selection, chosen.grids, statistics, format, measure));
      more.merge(delicate);
      tried = true;
    }
    if (more.empty()) return chosen;
    kept.merge(more);
  }
}

Result<PassStats> run(Model& model, const Options& options, PassContext& context) {
  BEVEL_TRY(const Recipe recipe, recipe_of(options, context));
  BEVEL_TRY_STATUS(reach_opset(model, recipe));
  const bool weights_only = recipe.activations == "float32";
  if (weights_only) return quantize_weights_only(model, recipe, options.at("keep-float"), context.forms_only);
  if (recipe.activations == "dynamic") {
    BEVEL_TRY(PassStats stats, quantize_dynamically(model, recipe, options.at("keep-float"), context.forms_only));
    // Tables, recurrent layers and what else holds weights: these alone are integers.
    BEVEL_TRY_STATUS(ops::infer_types(model));
    BEVEL_TRY(const PassStats rest, quantize_weights_only(model, recipe, options.at("keep-float"), context.forms_only));
    stats.changes += rest.changes;
    return stats;
  }
  if (context.measure == nullptr) return fail(ExitCode::usage, "quantize: it needs calibration data or a profile");
  const ActivationFormat format = activation_format(recipe);

  const std::vector<ops::Facts> facts = all_facts(model);
  BEVEL_TRY(const Chosen chosen, choose(model, facts, recipe, format, options.at("keep-float"), *context.measure));
  const Selection& selection = chosen.selection;

  PassStats stats;
  for (const NodeId id : model.graph.node_order()) {
    if (selection.is_integer(id)) ++stats.changes;
    const std::string& reason = selection.reason[id.index];
    if (reason.empty() || selection.quantized_before[id.index]) continue;  // the latter: grouping knows what it runs as
    if (!computes_on_floats(model.graph, id, facts[id.index])) continue;
    stats.notes.push_back({model.graph.node(id).name, model.graph.node(id).op_type, reason});
  }
  Quantizer quantizer(model, facts, selection, chosen.grids, format, recipe, context.forms_only);
  BEVEL_TRY_STATUS(quantizer.run());
  if (quantizer.pair_losses().layers > 0) stats.notes.push_back({"", "", describe(quantizer.pair_losses(), "weights")});
  // Recurrent layers have no 8-bit form, but most of their bytes are weights.
  BEVEL_TRY_STATUS(ops::infer_types(model));
  BEVEL_TRY(const PassStats recurrent, quantize_weights_only(model, recipe, options.at("keep-float"), context.forms_only,
                                                             WeightsOf::recurrent_layers));
  stats.changes += recurrent.changes;
  return stats;
}

}  // namespace

extern const PassRecord kQuantize;
const PassRecord kQuantize = {"quantize", "float32 to 8-bit integers as QuantizeLinear / DequantizeLinear", Accuracy::lossy,
                              kOptions, run};

}  // namespace bevel::passes
