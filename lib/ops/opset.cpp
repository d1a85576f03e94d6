// Converting a model's opset. Three things can change between two opsets, and each has one owner:
// - what the schema says (attributes, operand counts, element types): schemas.def, checked here for every node;
// - a form with the same meaning (an attribute becomes an operand, ...): the family's upgrade and downgrade;
// - a meaning that the schema does not show: kMeaningChanges below, refused unless the family has a way.
#include "lib/ops/opset.h"

#include <algorithm>
#include <charconv>
#include <iterator>

#include "lib/ops/family.h"
#include "lib/ops/schemas.h"
#include "lib/ops/subgraphs.h"
#include "lib/ops/upgrade.h"

namespace bevel::ops {
namespace {

constexpr int kMaxDepth = 64;

// Changes of form or meaning behind opset 13; those up to 13 are in upgrade.cpp (ONNX Changelog).
struct MeaningChange {
  std::string_view op_type;
  int opset;  // the first with the new meaning
};
constexpr MeaningChange kMeaningChanges[] = {
    {"BatchNormalization", 14},  // the outputs of training
    {"DFT", 20},                 // axis became an operand
    {"GridSample", 20},          // names of modes
    {"GroupNormalization", 21},  // scale and bias per channel, not per group
    {"Pad", 18},                 // axes
    {"ReduceL1", 18},            // axes became an operand
    {"ReduceL2", 18},
    {"ReduceLogSum", 18},
    {"ReduceLogSumExp", 18},
    {"ReduceMax", 18},
    {"ReduceMean", 18},
    {"ReduceMin", 18},
    {"ReduceProd", 18},
    {"ReduceSumSquare", 18},
    {"Resize", 19},              // half_pixel_symmetric
    {"RoiAlign", 16},            // pixels begin half a pixel earlier, unless told
    {"Split", 18},               // equal parts must be counted
};
bool changes_meaning(const Node& node, int opset) {
  return std::any_of(std::begin(kMeaningChanges), std::end(kMeaningChanges), [&](const MeaningChange& change) {
    return change.op_type == node.op_type && change.opset == opset;
  });
}

// ONNX IR versions that came with the opsets (onnx/docs/Versioning.md).
std::int64_t ir_version_of(std::int64_t opset) {
  constexpr std::int64_t kVersions[] = {3, 3, 4, 5, 6, 7, 7, 7, 8, 8, 8, 8, 9, 9, 10, 10, 11, 12, 13, 13, 13, 14};
  static_assert(std::size(kVersions) == kNewestOpset - kOldestOpset + 1);
  return kVersions[opset - kOldestOpset];
}

bool same_as_default(const AttributeValue& value, std::string_view text) {
  if (const auto* string = std::get_if<std::string>(&value)) return *string == text;
  if (const auto* integer = std::get_if<std::int64_t>(&value)) return std::to_string(*integer) == text;
  if (const auto* number = std::get_if<float>(&value)) {
    double fallback = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), fallback);
    return error == std::errc() && end == text.data() + text.size() && static_cast<float>(fallback) == *number;
  }
  return false;
}

// The attribute that a default stands for, of the kinds whose defaults ever changed (whole numbers and names).
AttributeValue default_value(std::string_view text) {
  std::int64_t whole = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), whole);
  if (error == std::errc() && end == text.data() + text.size()) return whole;
  return std::string(text);
}

// Attributes that the new form lacks go when they say nothing; a default that is another one now is stated.
Status settle_attributes(Node& node, const Schema& before, const Schema& after) {
  std::vector<std::string> gone;
  for (const Attribute& attribute : node.attributes) {
    if (find_attribute(after, attribute.name)) continue;
    const auto known = find_attribute(before, attribute.name);
    if (!known) continue;  // nor did the old form know it: it travels on
    if (!known->fallback || !same_as_default(attribute.value, *known->fallback))
      return fail_input("attribute '{}' is not in it", printable(attribute.name));
    gone.push_back(attribute.name);
  }
  for (const std::string& name : gone) node.remove_attribute(name);
  for (std::string_view rest = before.attributes; !rest.empty();) {
    const std::size_t end = std::min(rest.find(' '), rest.size());
    const std::string_view word = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    const std::size_t equals = word.find('=');
    if (equals == word.npos) continue;
    const std::string_view name = word.substr(0, equals), fallback = word.substr(equals + 1);
    const auto now = find_attribute(after, name);
    if (now && now->fallback != fallback && !has_attr(node, name)) node.set_attribute(name, default_value(fallback));
  }
  return {};
}

std::string count_text(int least, int most) {
  if (most < 0) return fmt::format("{} or more", least);
  return least == most ? std::to_string(least) : fmt::format("{} to {}", least, most);
}

Status check_form(const Graph& graph, const Node& node, const Schema& schema) {
  std::size_t inputs = node.inputs.size(), outputs = node.outputs.size();
  while (inputs > 0 && !node.inputs[inputs - 1].valid()) --inputs;
  while (outputs > 0 && !node.outputs[outputs - 1].valid()) --outputs;
  const auto within = [](std::size_t count, int least, int most) {
    return static_cast<int>(count) >= least && (most < 0 || static_cast<int>(count) <= most);
  };
  if (!within(inputs, schema.min_inputs, schema.max_inputs))
    return fail_input("it has {} inputs, and takes {} there", inputs, count_text(schema.min_inputs, schema.max_inputs));
  if (!within(outputs, 0, schema.max_outputs))
    return fail_input("it has {} outputs, and gives {} there", outputs, count_text(schema.min_outputs, schema.max_outputs));
  for (std::size_t i = 0; i < node.inputs.size(); ++i) {
    if (!node.inputs[i].valid()) continue;
    const Type& type = graph.value(node.inputs[i]).type;
    if (type.is_tensor() && type.dtype != DType::undefined && !takes_input(schema, i, type.dtype))
      return fail_input("input {} ('{}') is {}, which it does not take there", i, printable(graph.value(node.inputs[i]).name),
                        dtype_name(type.dtype));
  }
  for (std::size_t i = 0; i < node.outputs.size(); ++i) {
    if (!node.outputs[i].valid()) continue;
    const Type& type = graph.value(node.outputs[i]).type;
    if (type.is_tensor() && type.dtype != DType::undefined && !gives_output(schema, i, type.dtype))
      return fail_input("output {} ('{}') is {}, which it does not give there", i, printable(graph.value(node.outputs[i]).name),
                        dtype_name(type.dtype));
  }
  return {};
}

// Opset 11 lets axes count from the end.
Status settle_axes(const Graph& graph, Node& node) {
  const auto rank_of = [&](ValueId id) -> std::optional<std::int64_t> {
    if (!id.valid() || !graph.value(id).type.is_tensor() || !graph.value(id).type.shape.has_rank) return std::nullopt;
    return static_cast<std::int64_t>(graph.value(id).type.shape.rank());
  };
  const bool of_output = node.op_type == "Unsqueeze" || node.op_type == "OneHot";
  const std::vector<ValueId>& operands = of_output ? node.outputs : node.inputs;
  const auto rank = operands.empty() ? std::nullopt : rank_of(operands[0]);
  for (Attribute& attribute : node.attributes) {
    if (attribute.name != "axis" && attribute.name != "axes") continue;
    const auto settle = [&](std::int64_t& axis) -> Status {
      if (axis >= 0) return {};
      if (!rank || axis < -*rank) return fail_input("attribute '{}' has {}, which counts from the end", attribute.name, axis);
      axis += *rank;
      return {};
    };
    if (auto* one = std::get_if<std::int64_t>(&attribute.value)) BEVEL_TRY_STATUS(settle(*one));
    if (auto* list = std::get_if<std::vector<std::int64_t>>(&attribute.value))
      for (std::int64_t& axis : *list) BEVEL_TRY_STATUS(settle(axis));
  }
  return {};
}

Status step_node(Model& model, NodeId id, int from, int to) {
  const Node node = model.graph.node(id);
  const Schema* before = find_schema(node.op_type, from);
  if (before == nullptr) return {};  // not ONNX's own, whatever it is
  const bool up = to > from;
  const int newer = std::max(from, to);
  const OpRecord* record = find_op(node);
  const auto rewrite = record == nullptr ? nullptr : up ? record->upgrade : record->downgrade;
  const bool changes = changes_form(node, newer - 1, newer) || changes_meaning(node, newer);
  if (changes && rewrite == nullptr) return fail_input("what it means changed with opset {}, and Bevel has no other words for it", newer);
  if (rewrite != nullptr) BEVEL_TRY_STATUS(rewrite(model, id, from));
  if (!model.graph.alive(id)) return {};  // written out in other nodes
  const std::string op_type = model.graph.node(id).op_type;
  const Schema* after = find_schema(op_type, to);
  if (after == nullptr) {
    if (up) return fail_input("opset {} no longer has the operator", to);
    return fail_input("the operator is not in ONNX before opset {}", first_opset(op_type));
  }
  if (after == before) return {};
  if (op_type == node.op_type) BEVEL_TRY_STATUS(settle_attributes(model.graph.mutable_node(id), *before, *after));
  constexpr int kNegativeAxes = 11;
  if (!up && newer == kNegativeAxes && after->since < kNegativeAxes) BEVEL_TRY_STATUS(settle_axes(model.graph, model.graph.mutable_node(id)));
  return check_form(model.graph, model.graph.node(id), *after);
}

Status step(Model& model, int from, int to, int depth) {
  if (depth > kMaxDepth) return fail_input("subgraphs are nested more than {} deep", kMaxDepth);
  for (const NodeId id : model.graph.node_order()) {
    if (!model.graph.alive(id)) continue;
    const std::string where = fmt::format("node '{}' ({})", printable(model.graph.node(id).name), printable(model.graph.node(id).op_type));
    const auto inner = rewrite_subgraphs(model.graph.mutable_node(id), [&](Graph& subgraph) -> Status {
      Model part;
      part.opsets = model.opsets;
      part.graph = std::move(subgraph);
      const Status status = step(part, from, to, depth + 1);
      subgraph = std::move(part.graph);
      return status;
    });
    if (!inner) return located("in " + where, inner.error());
    if (!model.graph.node(id).domain.empty()) continue;
    if (const Status status = step_node(model, id, from, to); !status)
      return fail_input("{} cannot be written in opset {}: {}", where, to, status.error().message);
  }
  return {};
}

}  // namespace

Status convert_opset(Model& model, std::int64_t target) {
  if (target < kOldestOpset || target > kNewestOpset)
    return fail_input("opset {} is not one of {} to {}", target, kOldestOpset, kNewestOpset);
  if (model.opset() < kOldestOpset || model.opset() > kNewestOpset)
    return fail_input("the model's opset {} is not one of {} to {}", model.opset(), kOldestOpset, kNewestOpset);
  if (model.opset() == target) return {};
  Model converted = model;
  const bool up = target > model.opset();
  for (int from = static_cast<int>(model.opset()); from != target;) {
    const int to = up ? from + 1 : from - 1;
    BEVEL_TRY_STATUS(step(converted, from, to, 0));
    converted.set_opset("", to);
    from = to;
  }
  // Local functions bring an IR version of their own (8), as do their opsets, which stay.
  constexpr std::int64_t kLeastIrVersion = 4;  // initializers need not be inputs
  const std::int64_t usual = std::max(ir_version_of(target), kLeastIrVersion);
  if (up) converted.ir_version = std::max(converted.ir_version, usual);
  else if (converted.functions.empty()) converted.ir_version = std::min(converted.ir_version, usual);
  model = std::move(converted);
  return {};
}

}  // namespace bevel::ops
