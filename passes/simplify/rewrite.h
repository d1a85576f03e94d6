// The few graph edits that simplifying passes share. Each keeps the names that outlive a pass: graph outputs keep theirs, and
// a value that takes over another's meaning takes over its name.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string_view>
#include <vector>

#include "lib/ir/graph.h"
#include "passes/pass.h"

namespace bevel::passes {

// `reader` reads the value once, nobody else does, and it is no graph output: free to change with its reader.
bool is_private_to(const Graph& graph, ValueId value, NodeId reader);

// Readers of the node's output 0 read `source` instead, and the node goes away where nothing needs it any more (its output may
// be a graph output that `source` cannot become: an input, a constant, another output). Returns whether anything changed.
bool bypass(Graph& graph, NodeId node, ValueId source);

// `kept`, private to `node`, now computes what the node's output 0 was: takes its readers, name and type; the node goes away.
void absorb(Graph& graph, ValueId kept, NodeId node);

// The node's output `index` becomes an initializer of the same name, unless it is a graph output. The node stays, for the caller
// to erase. Returns the constant; invalid when there is nothing to replace.
ValueId replace_output_by_constant(Graph& graph, NodeId node, std::size_t index, Tensor tensor);

// Gives operand `operand` of the node a constant of its own: in place when nobody else reads the present one, else a new one.
// `wanted` names the constant where the operand was absent.
void set_own_constant(Graph& graph, NodeId node, std::size_t operand, Tensor tensor, std::string_view wanted);

// The node becomes a Reshape of `input` to `target` (name and output stay).
void become_reshape(Graph& graph, NodeId node, ValueId input, const std::vector<std::int64_t>& target);
// A Reshape target that gives `shape` whatever the unknown dimension is: nullopt with two unknown dimensions, or an empty one.
std::optional<std::vector<std::int64_t>> reshape_target(const Type& type);
// Both are tensors of one shape for certain: dimensions known and equal, or one symbol; one unknown dimension may differ in
// spelling when `same_count` says that both have equally many elements.
bool same_shape(const Type& a, const Type& b, bool same_count);

std::vector<std::int64_t> inverse_order(const std::vector<std::int64_t>& order);
bool is_identity_order(const std::vector<std::int64_t>& order);
Tensor transposed(const Tensor& tensor, const std::vector<std::int64_t>& order);

// A float tensor of the same dtype and dimensions, each element computed in double and rounded once; nullopt when a result is
// not finite. `f` gets the flat index and the element.
std::optional<Tensor> map_elements(const Tensor& tensor, const std::function<double(std::int64_t, double)>& f);

}  // namespace bevel::passes
