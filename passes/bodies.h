// Subgraphs (the bodies of If, Loop, Scan) as models of their own and back, so that what is done to a main graph is done in them too.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

#include "lib/ir/graph.h"

namespace bevel::passes {

struct Body {
  // A subgraph as a main graph: captured constants are its own, and other captured values its last inputs, under the names that they have
  // in the enclosing graph.
  Model model;
  std::string attribute;              // of the node that runs it: "then_branch", "body"
  std::size_t own_inputs = 0;         // that the subgraph has itself
  std::vector<std::size_t> captured;  // of the inputs behind those: which of the node's captures
};

bool has_bodies(const Node& node);
// A body of this node runs once or not at all when the node runs (If); else perhaps many times.
bool runs_at_most_once(const Node& node);
// Of a node of the model's main graph, in the order of its attributes.
std::vector<Body> bodies_of(const Model& model, NodeId node);
// The node (of `graph`, its captures as they were counted by bodies_of) runs these instead; it is a new one of the same name. Large constants for
// which `moves_out` says so (by the body's index) go to `graph`: floats as they are, integers together with the DequantizeLinear that reads
// them, since ONNX Runtime 1.32 with session.x64quantprecision=1 loads no file in which two nodes that it fuses read one quantized constant. Out of
// bodies that run many times, DequantizeLinear of constants always goes. Shadowed names are left to give_own_names.
using MovesOut = std::function<bool(std::size_t body, const Tensor& constant)>;
NodeId set_bodies(Graph& graph, NodeId node, const std::vector<Body>& bodies, const MovesOut& moves_out);
// Large constants that several graphs have move to the innermost graph that encloses all of these.
void share_constants(Model& model);
// No value of a subgraph bears the name of one in an enclosing graph, unless it captures that one.
void give_own_names(Graph& graph);

// The nodes of a graph and of all its subgraphs.
void for_each_node(const Graph& graph, const std::function<void(const Node&)>& visit);

}  // namespace bevel::passes
