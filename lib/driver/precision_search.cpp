#include "lib/driver/precision_search.h"

#include <algorithm>

#include "lib/driver/quantize_leg.h"
#include "lib/ops/facts.h"
#include "lib/ops/lowering.h"
#include "lib/ops/op.h"
#include "lib/ops/opset.h"
#include "passes/pass.h"

namespace bevel::driver {

namespace {

constexpr std::size_t kTrialSamples = 64;   // enough to order layers by
constexpr std::size_t kJointSamples = 512;
constexpr std::int64_t kOpset = 21;         // of int4

std::vector<data::ValuePair> outputs_of(const Graph& graph) {
  std::vector<data::ValuePair> pairs;
  for (const ValueId output : graph.outputs())
    if (graph.value(output).type.is_tensor() && graph.value(output).type.dtype == DType::float32)
      pairs.push_back({graph.value(output).name, graph.value(output).name});
  return pairs;
}

struct Distance {
  double error = 0;  // divergence, or relative noise
  double drop = 0;   // points
};

Result<Distance> distance(data::Measure& measure, const Model& reference, const Model& model, std::size_t samples) {
  BEVEL_TRY(const auto pairs, measure.compare(reference, model, outputs_of(reference.graph), samples));
  Distance distance;
  for (const auto& pair : pairs) {
    data::Difference sum;
    for (const data::Difference& one : pair) {
      sum.signal += one.signal;
      sum.noise += one.noise;
      sum.divergence += one.divergence;
      sum.agreeing += one.agreeing;
      sum.rows += one.rows;
    }
    const double noise = sum.signal > 0 ? sum.noise / sum.signal : 0;
    distance.error += sum.rows > 0 ? sum.divergence / static_cast<double>(sum.rows) : noise;
    distance.drop = std::max(distance.drop, sum.rows > 0 ? 100.0 * static_cast<double>(sum.rows - sum.agreeing) / static_cast<double>(sum.rows)
                                                         : 100 * noise);
  }
  return distance;
}

// Constants that a node reads through DequantizeLinear: the initializers of its weights and bias.
std::vector<ValueId> stored_operands(const Graph& graph, NodeId id) {
  std::vector<ValueId> constants;
  for (const ValueId input : graph.node(id).inputs) {
    const NodeId producer = input.valid() ? graph.value(input).producer : NodeId();
    if (!producer.valid() || ops::quant_node(graph.node(producer)) != ops::QuantNode::dequantize) continue;
    if (graph.constant(graph.node(producer).inputs[0]) == nullptr) continue;
    for (const ValueId stored : graph.node(producer).inputs)
      if (stored.valid()) constants.push_back(stored);
  }
  return constants;
}

// Layers whose weights are int8 in one model and int4 in the other; constants of the same names.
std::vector<LayerPrecision> candidates(const Model& wide, const Model& narrow) {
  std::vector<LayerPrecision> layers;
  for (const NodeId id : wide.graph.node_order()) {
    const Node& node = wide.graph.node(id);
    const NodeId other = narrow.graph.find_node(node.name);
    if (!other.valid() || ops::facts_of(wide, wide.graph, id).value.quant != ops::QuantRole::bilinear) continue;
    const auto stored = stored_operands(wide.graph, id);
    const auto twin = stored_operands(narrow.graph, other);
    bool alike = !stored.empty() && stored.size() == twin.size();
    std::int64_t elements = 0;
    for (std::size_t i = 0; alike && i < stored.size(); ++i) {
      alike = wide.graph.value(stored[i]).uses.size() == 1 && narrow.graph.constant(twin[i]) != nullptr;
      if (alike && wide.graph.constant(stored[i])->dtype() == DType::int8 && narrow.graph.constant(twin[i])->dtype() == DType::int4)
        elements = std::max(elements, wide.graph.constant(stored[i])->size());
    }
    if (alike && elements > 0) layers.push_back({node.name, false, elements / 2, 0});
  }
  return layers;
}

// `wide` with one layer's weights and bias as they are in `narrow`.
Model with_layer_of(const Model& wide, const Model& narrow, const std::string& name) {
  Model trial = wide;
  const NodeId id = trial.graph.find_node(name);
  const auto stored = stored_operands(trial.graph, id);
  const auto twin = stored_operands(narrow.graph, narrow.graph.find_node(name));
  for (std::size_t i = 0; i < stored.size(); ++i) {
    const Tensor& tensor = *narrow.graph.constant(twin[i]);
    trial.graph.set_constant(stored[i], tensor);
    trial.graph.set_type(stored[i], Type::tensor(tensor.dtype(), tensor.dims()));
  }
  return trial;
}

}  // namespace

std::vector<std::string> describe(const PrecisionChoice& choice) {
  std::vector<std::string> lines;
  std::int64_t saved = 0;
  std::size_t narrow = 0;
  for (const LayerPrecision& layer : choice.layers) {
    saved += layer.narrow ? layer.saved_bytes : 0;
    narrow += layer.narrow ? 1 : 0;
  }
  lines.push_back(fmt::format("precision auto: {} of {} layers have 4-bit weights, {} B less than with 8; together they cost {:.2f} points on the "
                              "calibration samples", narrow, choice.layers.size(), saved, choice.drop));
  for (const LayerPrecision& layer : choice.layers)
    lines.push_back(fmt::format("{}: {} bits; 4 bits save {} B and alone add {:.2e} to the outputs' error", printable(layer.node),
                                layer.narrow ? 4 : 8, layer.saved_bytes, layer.cost));
  return lines;
}

Result<PrecisionChoice> search_precision(const Model& model, const passes::Recipe& base, data::Measure& measure, WorkerPool* pool,
                                         double max_drop) {
  if (!measure.has_samples()) return fail(ExitCode::usage, "--precision auto measures layers on samples, which a profile does not hold: give --calib.");
  PrecisionChoice choice;
  choice.recipe = base;
  // Both precisions of one equalized model, so that nothing but weights differs.
  Model source = model;
  if (source.opset() < kOpset) BEVEL_TRY_STATUS(ops::convert_opset(source, kOpset));
  passes::Recipe wide_recipe = base;
  if (base.equalize) {
    passes::PassContext context;
    context.measure = &measure;
    context.recipe = &wide_recipe;
    BEVEL_TRY(const auto pipeline, passes::parse_pipeline("equalize-channels"));
    BEVEL_TRY([[maybe_unused]] const auto reports, passes::run_pipeline(source, pipeline, context));
  }
  wide_recipe.equalize = false;
  passes::Recipe narrow_recipe = wide_recipe;
  narrow_recipe.precision = "int4";
  Model wide = source, narrow = source;
  BEVEL_TRY([[maybe_unused]] const Quantized as_wide, quantize_model(wide, wide_recipe, &measure, pool));
  BEVEL_TRY([[maybe_unused]] const Quantized as_narrow, quantize_model(narrow, narrow_recipe, &measure, pool));
  choice.layers = candidates(wide, narrow);
  BEVEL_TRY(const Distance unchanged, distance(measure, source, wide, kTrialSamples));
  for (LayerPrecision& layer : choice.layers) {
    BEVEL_TRY(const Distance changed, distance(measure, source, with_layer_of(wide, narrow, layer.node), kTrialSamples));
    layer.cost = std::max(0.0, changed.error - unchanged.error);
  }
  std::stable_sort(choice.layers.begin(), choice.layers.end(), [](const LayerPrecision& a, const LayerPrecision& b) {
    return a.cost * static_cast<double>(b.saved_bytes) < b.cost * static_cast<double>(a.saved_bytes);
  });
  const auto recipe_of_first = [&](std::size_t count) {
    passes::Recipe recipe = base;
    for (std::size_t i = 0; i < count; ++i) recipe.nodes[choice.layers[i].node].precision = "int4";
    return recipe;
  };
  // As many as hold together: what was measured layer by layer adds up only roughly.
  std::size_t held = 0, broken = choice.layers.size() + 1;
  while (held + 1 < broken) {
    const std::size_t count = broken > choice.layers.size() ? choice.layers.size() : (held + broken) / 2;
    Model trial = model;
    passes::Recipe recipe = recipe_of_first(count);
    BEVEL_TRY([[maybe_unused]] const Quantized quantized, quantize_model(trial, recipe, &measure, pool));
    BEVEL_TRY(const Distance joint, distance(measure, model, trial, kJointSamples));
    if (joint.drop <= max_drop) {
      held = count;
      choice.drop = joint.drop;
    } else {
      broken = count;
    }
  }
  choice.recipe = recipe_of_first(held);
  for (std::size_t i = 0; i < held; ++i) choice.layers[i].narrow = true;
  return choice;
}

}  // namespace bevel::driver
