// The graph: values and nodes in vectors that the graph owns, addressed by distinct ids; names are the durable identity.
// Copying a graph copies its skeleton and shares all tensors. All edits go through the operations below, which keep
// producers, use lists and names right; lib/ir/verify.h checks that they did.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lib/ir/attribute.h"
#include "lib/ir/tensor.h"
#include "lib/ir/type.h"
#include "lib/support/ids.h"
#include "lib/support/name_hash.h"

namespace bevel {

using NodeId = Id<struct NodeTag>;
using ValueId = Id<struct ValueTag>;

// One operand slot that reads a value. `operand` counts a node's inputs first, then its captures.
struct Use {
  NodeId node;
  std::uint32_t operand = 0;
  bool operator==(const Use&) const = default;
};

struct Value {
  std::string name;               // unique in its graph, never empty
  Type type;                      // what the file said or inference found; Kind::unknown when nothing is known
  NodeId producer;                // none: graph input, initializer, or capture
  std::uint32_t output_index = 0; // which output of the producer
  std::vector<Use> uses;          // node operands; graph outputs are counted apart
  std::optional<Tensor> constant; // initializer (also set for inputs with a default)
  bool is_input = false;          // a formal input of the graph
  bool is_capture = false;        // in a subgraph: stands for a value of an enclosing graph, of the same name
  std::uint32_t output_slots = 0; // how many graph outputs it feeds
  bool declared = false;          // the file lists it in value_info: export does too
  std::string doc_string;
  std::string opaque;             // unknown protobuf fields of its ValueInfoProto or TensorProto, carried through
  bool alive = true;

  // A constant that nobody may override: the only kind a pass may fold.
  [[nodiscard]] bool is_constant() const { return constant.has_value() && !is_input; }
  [[nodiscard]] bool has_uses() const { return !uses.empty() || output_slots > 0; }
};

struct Node {
  std::string name;     // unique among the graph's nodes, never empty; the durable key of recipes
  std::string op_type;
  std::string domain;   // "" is the default domain ("ai.onnx" is normalized to "")
  std::string overload;
  std::vector<ValueId> inputs;    // an invalid id is an absent optional input
  std::vector<ValueId> captures;  // outer values that the node's subgraphs read: all of the first subgraph's, then the
                                  // second's, ..., in the order of Graph::captures() and of the attributes
  std::vector<ValueId> outputs;   // an invalid id is an unused optional output
  std::vector<Attribute> attributes;
  std::string doc_string;
  std::string opaque;  // unknown protobuf fields (metadata_props, device configurations, newer ones)
  NodeId previous, next;  // execution order
  bool alive = true;

  [[nodiscard]] const Attribute* attribute(std::string_view name) const;
  void set_attribute(std::string_view name, AttributeValue value);  // adds or replaces
  void remove_attribute(std::string_view name);
  // Number of operands: inputs, then captures.
  [[nodiscard]] std::size_t operand_count() const { return inputs.size() + captures.size(); }
  [[nodiscard]] ValueId operand(std::size_t index) const {
    return index < inputs.size() ? inputs[index] : captures[index - inputs.size()];
  }
};

class Graph {
 public:
  std::string name;
  std::string doc_string;
  std::string opaque;  // unknown protobuf fields, quantization_annotation, sparse_initializer

  // --- reading -------------------------------------------------------------------------------------------------
  [[nodiscard]] const Value& value(ValueId id) const;
  [[nodiscard]] const Node& node(NodeId id) const;
  [[nodiscard]] std::size_t value_capacity() const { return values_.size(); }  // ids are below; some may be dead
  [[nodiscard]] std::size_t node_capacity() const { return nodes_.size(); }
  [[nodiscard]] std::size_t node_count() const { return alive_nodes_; }
  // Alive nodes in execution order (topological). A snapshot: safe to edit while walking it (check alive()).
  [[nodiscard]] std::vector<NodeId> node_order() const;
  // Alive values in creation order.
  [[nodiscard]] std::vector<ValueId> value_ids() const;
  [[nodiscard]] bool alive(NodeId id) const { return id.valid() && id.index < nodes_.size() && nodes_[id.index].alive; }
  [[nodiscard]] bool alive(ValueId id) const { return id.valid() && id.index < values_.size() && values_[id.index].alive; }
  [[nodiscard]] const std::vector<ValueId>& inputs() const { return inputs_; }
  [[nodiscard]] const std::vector<ValueId>& outputs() const { return outputs_; }
  [[nodiscard]] const std::vector<ValueId>& captures() const { return captures_; }
  [[nodiscard]] ValueId find_value(std::string_view name) const;  // invalid when absent
  [[nodiscard]] NodeId find_node(std::string_view name) const;
  // The tensor of a foldable constant, else nullptr (also for an invalid id).
  [[nodiscard]] const Tensor* constant(ValueId id) const;

  // --- building ------------------------------------------------------------------------------------------------
  // A free name: `wanted` itself, else wanted_1, wanted_2, ...
  [[nodiscard]] std::string unique_value_name(std::string_view wanted) const;
  [[nodiscard]] std::string unique_node_name(std::string_view wanted) const;
  // The name is made unique if taken (or empty).
  ValueId add_value(std::string_view name, Type type = {});
  ValueId add_input(std::string_view name, Type type);
  ValueId add_constant(std::string_view name, Tensor tensor);
  ValueId add_capture(std::string_view name, Type type);
  void add_output(ValueId value);
  // The same captures in another order; the enclosing node's capture operands must follow it.
  void set_capture_order(std::vector<ValueId> order);
  // Adds a node at the end (or before / after another); outputs must be fresh values without producer. The node's
  // name is made unique; captures are as given.
  NodeId add_node(Node node);
  NodeId insert_before(NodeId position, Node node);
  NodeId insert_after(NodeId position, Node node);
  // Shorthand for passes: default domain, one output; `name` names the node and, with its type unset, the output value.
  struct Built {
    NodeId node;
    ValueId output;
  };
  Built build_before(NodeId position, std::string_view op_type, std::string_view name, std::vector<ValueId> inputs,
                     std::vector<Attribute> attributes = {}, Type output_type = {});
  Built build_after(NodeId position, std::string_view op_type, std::string_view name, std::vector<ValueId> inputs,
                    std::vector<Attribute> attributes = {}, Type output_type = {});

  // --- editing -------------------------------------------------------------------------------------------------
  void set_type(ValueId id, Type type);
  void set_constant(ValueId id, Tensor tensor);  // initializer (also: gives an ordinary value a constant once it has no producer)
  void set_operand(NodeId node, std::size_t operand, ValueId value);
  void add_operand(NodeId node, ValueId value);             // appends an input
  void resize_inputs(NodeId node, std::size_t count);       // drops or adds absent inputs at the end
  void remove_output(NodeId node, std::size_t index);       // the value must be unused; the slot becomes absent
  // Non-structural fields: op_type, attributes, doc strings. Never change inputs, outputs, captures or links through it.
  Node& mutable_node(NodeId id);
  Value& mutable_value(ValueId id);  // type, declared, doc_string, opaque only
  // Every node operand that reads `from` reads `to`. Where `from` is a graph output, the slot then reads `to`, and the
  // two values swap names so that the output keeps its name; when `to` is itself an input, a constant, a capture or
  // already an output, the slot stays with `from` (returns false: `from` is still an output).
  bool replace_uses(ValueId from, ValueId to);
  // As replace_uses for node operands only, except those of `except`.
  void replace_node_uses(ValueId from, ValueId to, NodeId except = {});
  // Moves the producer's slot: `to` (fresh, no producer) becomes the output that `from` was; uses stay with `from`.
  void move_output(ValueId from, ValueId to);
  // Removes a node; its outputs must have no uses and die with it.
  void erase_node(NodeId id);
  // Removes an unused value without producer (initializer); inputs and outputs stay.
  void erase_value(ValueId id);
  void rename_value(ValueId id, std::string_view name);  // made unique
  void rename_node(NodeId id, std::string_view name);
  void remove_input(ValueId id);       // no longer a formal input (an initializer that was also listed as input)
  // Erases nodes none of whose outputs is used, transitively, then unused initializers. Returns what went.
  struct Swept {
    std::size_t nodes = 0;
    std::size_t constants = 0;
  };
  Swept erase_dead();
  // Stable topological order; false (and unchanged) when there is a cycle. Import calls it.
  bool sort();
  // Ids without gaps after many edits; invalidates all ids.
  void compact();

  // Node of the first cycle found by a failed sort(), for the message.
  [[nodiscard]] NodeId find_cycle() const;

 private:
  void link(NodeId id, NodeId before);  // invalid: at the end
  void unlink(NodeId id);
  NodeId adopt(Node node);
  void add_use(ValueId value, NodeId node, std::size_t operand);
  void drop_use(ValueId value, NodeId node, std::size_t operand);

  std::vector<Value> values_;
  std::vector<Node> nodes_;
  std::vector<ValueId> inputs_, outputs_, captures_;
  NameMap<ValueId> value_names_;
  NameMap<NodeId> node_names_;
  mutable NameMap<std::uint32_t> name_counters_;
  NodeId first_, last_;
  std::size_t alive_nodes_ = 0;
};

struct OpsetImport {
  std::string domain;  // "" is ai.onnx
  std::int64_t version = 0;
  bool operator==(const OpsetImport&) const = default;
};

// A function of the model itself (FunctionProto). A node of its domain, name and overload calls it, with one operand for each input
// and output of the body, or fewer: inputs and outputs at the end may be left out.
struct Function {
  std::string domain, overload;
  std::vector<std::string> attributes;  // that a call gives, or leaves out with what refers to them
  std::vector<Attribute> defaults;      // that a call may give; else these are taken
  std::vector<OpsetImport> opsets;      // its own: the model's say nothing about the body
  Graph body;                           // bears the function's name, doc string and unknown fields; captures nothing
};

struct Model {
  Graph graph;
  std::int64_t ir_version = 0;
  std::vector<OpsetImport> opsets;
  std::string producer_name, producer_version, domain, doc_string;
  std::int64_t model_version = 0;
  std::vector<std::pair<std::string, std::string>> metadata;
  std::vector<Function> functions;     // carried through as they are; ops::inline_functions puts them where they are called
  std::string opaque;                  // unknown protobuf fields (training_info, configuration, newer ones)
  std::string source;                  // the file's name for messages; never written

  // Version of the default domain (0 when not imported) or of another.
  [[nodiscard]] std::int64_t opset(std::string_view domain = "") const;
  void set_opset(std::string_view domain, std::int64_t version);
};

// Same model up to ids: names, order, types, attributes, tensor bits, opaque bytes. `why` says the first difference.
bool same_model(const Model& a, const Model& b, std::string* why = nullptr);

}  // namespace bevel
