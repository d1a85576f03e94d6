// Up to opset 6 an elementwise operator broadcasts its second operand to the shape of the first, which is the result's, and only when
// asked to (`broadcast` = 1): from the attribute `axis` on if it is stated, else along the last axes, as since opset 7. And the slope of
// PRelu, if it is a vector, has one entry for each channel, axis 1. Both are said in opset 7 by ones behind the operand's extents:
//
//   z = Add <broadcast = 1, axis = 1> (x, b)        b_ = Unsqueeze <axes = [1, 2]> (b)
//   x [N,C,H,W], b [C]                              z = Add (x, b_)
//
// How many ones that takes depends on the rank of x. Where the model does not state it, it is inferred on a copy in which every such
// node reads its first operand twice, so that it broadcasts nothing and has the same result type. In subgraphs ranks must be stated.
#include "lib/ops/old_broadcast.h"

#include <algorithm>
#include <iterator>
#include <optional>

#include "lib/ops/family.h"
#include "lib/ops/subgraphs.h"

namespace bevel::ops {
namespace {

constexpr int kMaxDepth = 64;
constexpr std::int64_t kMaxRank = 64;  // a file may state any rank, and the axes of each node are as many
// What `axis` is where it is not stated: the last axes.
constexpr std::int64_t kLastAxes = -1;
constexpr std::string_view kElementwise[] = {"Add", "And", "Div", "Equal", "Greater", "Less", "Mul", "Or", "Pow", "Sub", "Xor"};

bool is_elementwise(const Node& node) {
  return node.domain.empty() && std::find(std::begin(kElementwise), std::end(kElementwise), node.op_type) != std::end(kElementwise);
}

// Whether the node may broadcast as only opsets 1 to 6 do. An operand that is the other one as well broadcasts nowhere.
bool is_old_form(const Node& node) {
  if (!node.domain.empty() || node.inputs.size() != 2 || !node.inputs[0].valid() || !node.inputs[1].valid()) return false;
  if (node.inputs[0] == node.inputs[1]) return false;
  if (node.op_type == "PRelu") return true;
  if (!is_elementwise(node) || attr_int(node, "broadcast", 0).value_or(0) == 0) return false;
  return attr_int(node, "axis", kLastAxes).value_or(kLastAxes) != kLastAxes;
}

std::optional<std::int64_t> rank_of(const Value& value) {
  if (value.constant) return static_cast<std::int64_t>(value.constant->rank());
  if (!value.type.is_tensor() || !value.type.shape.has_rank) return std::nullopt;
  return static_cast<std::int64_t>(value.type.shape.rank());
}

// Ranks of the main graph's values that the file states or inference finds; of a subgraph's (`inferred` is null) the stated ones.
struct Ranks {
  const Graph* inferred = nullptr;

  [[nodiscard]] std::optional<std::int64_t> of(const Graph& graph, ValueId id) const {
    if (const auto stated = rank_of(graph.value(id))) return stated;
    const ValueId same = inferred == nullptr ? ValueId() : inferred->find_value(graph.value(id).name);
    return same.valid() ? rank_of(inferred->value(same)) : std::nullopt;
  }
};

// Ones to put behind the extents of operand 1; nothing where a rank is missing.
Result<std::optional<std::int64_t>> trailing_ones(const Graph& graph, const Node& node, const Ranks& ranks) {
  const auto own = ranks.of(graph, node.inputs[1]);
  // One element goes anywhere, and a slope of another rank than 1 broadcasts as it does today.
  const Value& operand = graph.value(node.inputs[1]);
  const auto dims = operand.constant ? std::optional(operand.constant->dims()) : operand.type.shape.known_dims();
  if (dims && element_count(*dims) == 1) return std::optional<std::int64_t>(0);
  const bool slope = node.op_type == "PRelu";
  if (slope && own && *own != 1) return std::optional<std::int64_t>(0);
  const auto rank = ranks.of(graph, node.inputs[0]);
  if (!own || !rank || *rank > kMaxRank) return std::optional<std::int64_t>();
  if (slope) return std::optional<std::int64_t>(std::max<std::int64_t>(*rank - 2, 0));
  BEVEL_TRY(const std::int64_t stated, attr_int(node, "axis", kLastAxes));
  BEVEL_TRY(const std::int64_t axis, normalize_axis(stated, static_cast<std::size_t>(*rank), /*allow_end=*/true));
  if (axis + *own > *rank)
    return fail_operand(1, "B", "has {} axes, which from axis {} on do not fit into the {} of the first operand", *own, axis, *rank);
  return std::optional<std::int64_t>(*rank - axis - *own);
}

// The same graph with nothing to broadcast.
Status without_broadcasts(Graph& graph, int depth) {
  if (depth > kMaxDepth) return fail_input("subgraphs are nested more than {} deep", kMaxDepth);
  for (const NodeId id : graph.node_order()) {
    BEVEL_TRY_STATUS(rewrite_subgraphs(graph.mutable_node(id), [&](Graph& inner) { return without_broadcasts(inner, depth + 1); }));
    if (is_old_form(graph.node(id))) graph.set_operand(id, 1, graph.node(id).inputs[0]);
  }
  return {};
}

// Whether the file alone leaves a rank of the main graph open.
bool lacks_ranks(const Graph& graph) {
  const std::vector<NodeId> order = graph.node_order();
  return std::any_of(order.begin(), order.end(), [&](NodeId id) {
    if (!is_old_form(graph.node(id))) return false;
    const auto ones = trailing_ones(graph, graph.node(id), {});
    return ones && !*ones;
  });
}

// False where a rank is missing; the graph is then half rewritten.
Result<bool> rewrite(Graph& graph, const Ranks& ranks, int depth) {
  if (depth > kMaxDepth) return fail_input("subgraphs are nested more than {} deep", kMaxDepth);
  for (const NodeId id : graph.node_order()) {
    bool known = true;
    BEVEL_TRY_STATUS(rewrite_subgraphs(graph.mutable_node(id), [&](Graph& inner) -> Status {
      BEVEL_TRY(const bool rewritten, rewrite(inner, {}, depth + 1));
      known = known && rewritten;
      return {};
    }));
    if (!known) return false;
    const Node node = graph.node(id);
    if (is_elementwise(node)) graph.mutable_node(id).remove_attribute("axis");
    if (!is_old_form(node)) continue;
    auto ones = trailing_ones(graph, node, ranks);
    if (!ones) return located(fmt::format("node '{}' ({})", printable(node.name), printable(node.op_type)), std::move(ones).error());
    if (!*ones) return false;
    if (**ones == 0) continue;
    const ValueId operand = node.inputs[1];
    const std::int64_t own = *ranks.of(graph, operand);
    std::vector<std::int64_t> axes;
    for (std::int64_t i = 0; i < **ones; ++i) axes.push_back(own + i);
    const std::string name = graph.value(operand).name + "_at_axis";
    const ValueId raised = graph.build_before(id, "Unsqueeze", name, {operand}, {{"axes", std::move(axes), {}}}).output;
    graph.set_operand(id, 1, raised);
  }
  return true;
}

}  // namespace

Result<bool> lift_old_broadcasts(Model& model) {
  Model copy;
  Ranks ranks;
  if (lacks_ranks(model.graph)) {
    copy = model;
    copy.source.clear();  // the caller names the file
    BEVEL_TRY_STATUS(without_broadcasts(copy.graph, 0));
    BEVEL_TRY(const bool lifted, upgrade_to_base(copy));
    if (!lifted) return false;
    BEVEL_TRY_STATUS(infer_types(copy));
    ranks.inferred = &copy.graph;
  }
  Graph rewritten = model.graph;
  BEVEL_TRY(const bool known, rewrite(rewritten, ranks, 0));
  if (known) model.graph = std::move(rewritten);
  return known;
}

}  // namespace bevel::ops
