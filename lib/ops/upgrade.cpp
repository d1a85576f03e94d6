// Lifting a model to the base opset, one opset step at a time, through the families' upgrade functions.
#include <algorithm>
#include <iterator>
#include <utility>

#include "lib/ops/family.h"
#include "lib/ops/inline_functions.h"
#include "lib/ops/old_broadcast.h"
#include "lib/ops/upgrade.h"

namespace bevel::ops {
namespace {

constexpr int kMaxDepth = 64;
// ONNX IR version that goes with kBaseOpset (onnx/docs/Versioning.md); from 4 on initializers need not be inputs.
constexpr std::int64_t kBaseIrVersion = 7;

// Standard operators whose form changed between opset 7 and 13 (ONNX Changelog). A model that has one which no family
// lifts keeps its opset: raising it would change what the node means.
struct FormChange {
  std::string_view op_type;
  int opset;  // the first opset of the new form
};
constexpr FormChange kFormChanges[] = {
    {"BatchNormalization", 9},
    {"Clip", 11},
    {"Dropout", 12},
    {"Hardmax", 13},
    {"LogSoftmax", 13},
    {"OneHot", 9},
    {"Pad", 11},
    {"ReduceSum", 13},
    {"Resize", 11},
    {"Scan", 9},
    {"Scatter", 11},
    {"Slice", 10},
    {"Softmax", 13},
    {"Split", 13},
    {"Squeeze", 13},
    {"TopK", 10},
    {"TopK", 11},
    {"Unsqueeze", 13},
    {"Upsample", 9},
    {"Upsample", 10},
};

bool can_lift(const Graph& graph, std::int64_t opset, int depth) {
  if (depth > kMaxDepth) return false;
  for (const NodeId id : graph.node_order()) {
    const Node& node = graph.node(id);
    if (node.domain.empty()) {
      const OpRecord* record = find_op(node);
      if ((record == nullptr || record->upgrade == nullptr) && changes_form(node, opset, kBaseOpset)) return false;
      if (opset == 8 && states_lengths(node)) return false;
    }
    for (const Attribute& attribute : node.attributes) {
      if (const auto* one = std::get_if<GraphPtr>(&attribute.value)) {
        if (*one && !can_lift(**one, opset, depth + 1)) return false;
      }
      if (const auto* list = std::get_if<std::vector<GraphPtr>>(&attribute.value)) {
        for (const GraphPtr& inner : *list) {
          if (inner && !can_lift(*inner, opset, depth + 1)) return false;
        }
      }
    }
  }
  return true;
}

// Whether any operator, subgraphs included, is one of ONNX's own domain.
bool has_standard_operator(const Graph& graph, int depth) {
  if (depth > kMaxDepth) return true;
  for (const NodeId id : graph.node_order()) {
    const Node& node = graph.node(id);
    if (node.domain.empty()) return true;
    for (const Attribute& attribute : node.attributes) {
      if (const auto* one = std::get_if<GraphPtr>(&attribute.value)) {
        if (*one && has_standard_operator(**one, depth + 1)) return true;
      }
      if (const auto* list = std::get_if<std::vector<GraphPtr>>(&attribute.value)) {
        for (const GraphPtr& inner : *list) {
          if (inner && has_standard_operator(*inner, depth + 1)) return true;
        }
      }
    }
  }
  return false;
}

// Attributes of opsets 1 to 6 that say nothing at inference.
constexpr std::string_view kOldAttributes[] = {"consumed_inputs", "is_test", "broadcast"};

Status lift_step(Model& model, int from, bool older);

Result<GraphPtr> lift_inner(const Model& outer, const GraphPtr& graph, int from, bool older) {
  if (!graph) return graph;
  Model inner;
  inner.opsets = outer.opsets;
  inner.graph = *graph;
  BEVEL_TRY_STATUS(lift_step(inner, from, older));
  return std::make_shared<const Graph>(std::move(inner.graph));
}

Status lift_step(Model& model, int from, bool older) {
  for (const NodeId id : model.graph.node_order()) {
    if (!model.graph.alive(id)) continue;
    const std::size_t attribute_count = model.graph.node(id).attributes.size();
    for (std::size_t a = 0; a < attribute_count; ++a) {
      const AttributeValue value = model.graph.node(id).attributes[a].value;
      if (const auto* one = std::get_if<GraphPtr>(&value)) {
        BEVEL_TRY(GraphPtr lifted, lift_inner(model, *one, from, older));
        model.graph.mutable_node(id).attributes[a].value = std::move(lifted);
      } else if (const auto* list = std::get_if<std::vector<GraphPtr>>(&value)) {
        std::vector<GraphPtr> lifted;
        for (const GraphPtr& inner : *list) {
          BEVEL_TRY(GraphPtr one_lifted, lift_inner(model, inner, from, older));
          lifted.push_back(std::move(one_lifted));
        }
        model.graph.mutable_node(id).attributes[a].value = std::move(lifted);
      }
    }
    const Node& node = model.graph.node(id);
    if (!node.domain.empty()) continue;
    const OpRecord* record = find_op(node);
    if (record != nullptr && older) {
      for (const std::string_view name : kOldAttributes) model.graph.mutable_node(id).remove_attribute(name);
    }
    if (record == nullptr || record->upgrade == nullptr) continue;
    const std::string where = fmt::format("node '{}' ({})", printable(node.name), printable(node.op_type));
    if (auto status = record->upgrade(model, id, from); !status) return located(where, status.error());
  }
  return {};
}

}  // namespace

bool changes_form(const Node& node, std::int64_t from, std::int64_t to) {
  return std::any_of(std::begin(kFormChanges), std::end(kFormChanges), [&](const FormChange& change) {
    return change.op_type == node.op_type && from < change.opset && change.opset <= to;
  });
}

Result<bool> upgrade_to_base(Model& model) {
  if (!model.functions.empty()) {
    Model inlined = model;
    BEVEL_TRY_STATUS(inline_functions(inlined));
    std::vector<Function> uncalled = std::exchange(inlined.functions, {});
    BEVEL_TRY(const bool lifted, upgrade_to_base(inlined));
    inlined.functions = std::move(uncalled);
    if (lifted) model = std::move(inlined);
    return lifted;
  }
  const std::int64_t opset = model.opset();
  if (opset >= kBaseOpset) return opset <= kNewestOpset;
  // A model of other domains alone (ai.onnx.ml) need not state ONNX's version: it gets the base's, as if nothing were lifted.
  if (opset == 0 && !has_standard_operator(model.graph, 0)) {
    model.set_opset("", kBaseOpset);
    model.ir_version = std::max(model.ir_version, kBaseIrVersion);
    return true;
  }
  if (opset < 1 || !can_lift(model.graph, opset, 0)) return false;
  if (opset < kOldestOpset) {
    auto lifted = lift_old_broadcasts(model);
    if (!lifted) return model.source.empty() ? Failure(lifted.error()) : located(printable(model.source), lifted.error());
    if (!*lifted) return false;
  }
  const int first = static_cast<int>(std::max<std::int64_t>(opset, kOldestOpset));
  for (int from = first; from < kBaseOpset; ++from) {
    if (auto status = lift_step(model, from, opset < kOldestOpset && from == first); !status) {
      return model.source.empty() ? Failure(status.error()) : located(printable(model.source), status.error());
    }
    model.set_opset("", from + 1);
  }
  model.ir_version = std::max(model.ir_version, kBaseIrVersion);
  return true;
}

}  // namespace bevel::ops
