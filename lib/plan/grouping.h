// Grouping: every node of a graph belongs to exactly one group. A group is an anchor op with the DequantizeLinear nodes
// in front of it, an activation that folds, and the QuantizeLinear behind it. One grouping serves eval, plan and cost.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "lib/ir/graph.h"
#include "lib/ops/lowering.h"

namespace bevel::plan {

struct GroupEdge {
  ValueId border;   // the value outside the group (quantized where `quantization` is set)
  ValueId inner;    // the anchor's own operand or result (float side)
  std::optional<ops::Quantization> quantization;
};

struct Group {
  NodeId anchor;
  std::vector<NodeId> members;     // execution order, anchor included; DQs may be shared with other groups
  std::vector<GroupEdge> inputs;   // one per input of the anchor (invalid border: absent)
  std::vector<GroupEdge> outputs;  // one per output of the anchor
  std::optional<ops::Interval> clamp;  // folded activation
  std::optional<Tensor> added_bias;    // of a folded Add, before the clamp: float32, one for each output channel
  ops::Facts facts;
  bool integer = false;            // quantized at its borders: runs an integer kernel
  std::string reason;              // why not, for an anchor that computes
};

struct Grouping {
  std::vector<Group> groups;  // execution order; DequantizeLinear / QuantizeLinear that no group folds are groups of their own
};

// Needs inferred types. The model's top graph. A candidate for an integer group is lowered on trial (unknown dimensions as 1);
// when it has no kernel, its members become groups of their own and the anchor's group keeps the reason.
Grouping group_graph(const Model& model);

// Constants that a caller knows beyond the graph's own (folded at plan time). Empty: the graph's only.
using ConstantOf = std::function<const Tensor*(ValueId)>;

// The memory orders that a group wants for its inputs and gives to its outputs, from the orders its inputs have now.
struct Orders {
  std::vector<ops::MemoryOrder> inputs, outputs;
};
Orders choose_orders(const Graph& graph, const Group& group, const std::vector<ops::MemoryOrder>& present,
                     const std::vector<Dims>& input_dims, const std::vector<Dims>& output_dims,
                     const ConstantOf& constant_of = {});

// The lowering context at actual dims and orders, and its lowering. The reason string says why there is no kernel.
ops::LowerContext lower_context(const Model& model, const Group& group, const Orders& orders,
                                const std::vector<Dims>& input_dims, const std::vector<Dims>& output_dims,
                                const ConstantOf& constant_of = {});
ops::LowerResult lower_group(const ops::LowerContext& context);

// choose_orders, lower_context and lower_group in one; where the chosen orders have no kernel, row-major ones are tried.
struct PlacedGroup {
  Orders orders;
  ops::LoweredGroup lowered;
};
using PlacedResult = tl::expected<PlacedGroup, std::string>;
PlacedResult place_group(const Model& model, const Group& group, const std::vector<ops::MemoryOrder>& present,
                         const std::vector<Dims>& input_dims, const std::vector<Dims>& output_dims,
                         const ConstantOf& constant_of = {});

}  // namespace bevel::plan
