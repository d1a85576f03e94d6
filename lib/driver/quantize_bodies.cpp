#include "lib/driver/quantize_bodies.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "calibration/calibration.h"
#include "lib/driver/branch_samples.h"
#include "lib/ops/op.h"
#include "passes/bodies.h"
#include "passes/pass.h"

namespace bevel::driver {

namespace {

struct Measured {
  std::unique_ptr<data::Dataset> samples;
  std::unique_ptr<data::Measure> measure;
  std::string obstacle;  // why there is none
};

Measured measured_branch(const Model& reference, NodeId node, const passes::Body& body, const data::Dataset* samples,
                         const eval::EvalOptions& options, WorkerPool* pool) {
  Measured measured;
  if (!passes::runs_at_most_once(reference.graph.node(node))) {
    measured.obstacle = "the ranges of values within loops are not measured";
  } else if (samples == nullptr || pool == nullptr) {
    measured.obstacle = "there are no samples to measure a branch on";
  } else {
    auto found = branch_samples(*samples, reference, node, body, options);
    if (!found) measured.obstacle = fmt::format("the branch cannot be measured: {}", found.error().message);
    else if ((*found)->size() == 0) measured.obstacle = "no calibration sample takes the branch";
    else measured.samples = std::move(*found);
  }
  if (measured.samples) measured.measure = calibration::measure_by_running(*measured.samples, *pool, options);
  return measured;
}

// What is asked of a body that is not measured.
passes::Recipe without_measuring(const passes::Recipe& recipe) {
  passes::Recipe weights = recipe;
  weights.rounding = "nearest";
  if (passes::needs_calibration(recipe)) weights.activations = "float32";
  return weights;
}

// Whether anything is computed from floats: a body that only passes values on gains nothing in another type.
bool computes(const Model& model) {
  const Graph& graph = model.graph;
  const auto order = graph.node_order();
  return std::any_of(order.begin(), order.end(), [&](NodeId id) {
    const auto is_float = [&](ValueId value) { return value.valid() && is_floating(graph.value(value).type.dtype); };
    const Node& node = graph.node(id);
    if (passes::has_bodies(node)) return true;
    const ops::OpKind kind = ops::facts_of(model, graph, id).space.kind;
    const auto is_constant = [&](ValueId value) { return graph.constant(value) != nullptr && is_floating(graph.value(value).type.dtype); };
    if (kind == ops::OpKind::opaque) return std::any_of(node.inputs.begin(), node.inputs.end(), is_constant);
    return kind != ops::OpKind::move &&
           (std::any_of(node.inputs.begin(), node.inputs.end(), is_float) || std::any_of(node.outputs.begin(), node.outputs.end(), is_float));
  });
}

void list(const Quantized& body, const std::string& where, Quantized& quantized) {
  quantized.changes += body.changes;
  for (const report::FloatRow& row : body.stays_float) quantized.stays_float.push_back({row.node, row.op_type, fmt::format("{} ({})", row.reason, where)});
  for (const std::string& note : body.notes) quantized.notes.push_back(fmt::format("{}: {}", where, note));
}

// Whether anything in the body changed.
Result<bool> quantize_body(const Model& reference, NodeId node, passes::Body& body, const passes::Recipe& recipe, const data::Dataset* samples,
                           const eval::EvalOptions& options, WorkerPool* pool, Quantized& quantized) {
  const Node& runner = reference.graph.node(node);
  const std::string where = fmt::format("in {} of {} '{}'", body.attribute, printable(runner.op_type), printable(runner.name));
  BEVEL_TRY_STATUS(passes::simplify(body.model));
  BEVEL_TRY_STATUS(ops::infer_types(body.model));
  if (!computes(body.model)) return false;
  const bool looks = passes::needs_calibration(recipe) || !passes::has_integers(recipe) || recipe.rounding == "second-order";
  Measured measured;
  if (looks) measured = measured_branch(reference, node, body, samples, options, pool);
  passes::Recipe own = measured.measure ? recipe : without_measuring(recipe);
  auto made = quantize_model(body.model, own, measured.measure.get(), pool, {measured.samples.get(), options});
  if (!made) return located(where, std::move(made).error());
  list(*made, where, quantized);
  if (made->changes == 0) return false;
  if (body.model.opset() != reference.opset())
    return fail_input("{}: what the recipe asks for needs opset {}, and the model is of opset {}: write it in a newer one first (optimize --opset)",
                      where, body.model.opset(), reference.opset());
  if (passes::needs_calibration(recipe) && !measured.measure)
    quantized.notes.push_back(fmt::format("{}: weights alone are integers, for {}", where, measured.obstacle));
  return true;
}

}  // namespace

Status quantize_bodies(const Model& reference, Model& model, const passes::Recipe& recipe, const data::Dataset* samples,
                       const eval::EvalOptions& options, WorkerPool* pool, Quantized& quantized) {
  std::vector<std::pair<NodeId, std::vector<passes::Body>>> changed;
  for (const NodeId id : reference.graph.node_order()) {
    const Node& node = reference.graph.node(id);
    const NodeId now = model.graph.find_node(node.name);
    if (!passes::has_bodies(node) || !now.valid()) continue;
    std::erase_if(quantized.stays_float, [&](const report::FloatRow& row) { return row.node == node.name; });
    std::vector<passes::Body> bodies = passes::bodies_of(reference, id);
    const std::vector<passes::Body> before = bodies;
    bool any = false;
    for (std::size_t i = 0; i < bodies.size(); ++i) {
      BEVEL_TRY(const bool one, quantize_body(reference, id, bodies[i], recipe, samples, options, pool, quantized));
      if (!one) bodies[i] = before[i];
      any = any || one;
    }
    if (any) changed.emplace_back(now, std::move(bodies));
  }
  if (changed.empty()) return {};
  const auto stays = [](std::size_t, const Tensor&) { return false; };
  for (const auto& [node, bodies] : changed) passes::set_bodies(model.graph, node, bodies, stays);
  model.graph.erase_dead();
  passes::share_constants(model);
  passes::give_own_names(model.graph);
  return ops::infer_types(model);
}

}  // namespace bevel::driver
