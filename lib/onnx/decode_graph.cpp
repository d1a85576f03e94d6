// GraphProto to Graph. All names that the graph defines are entered first, so that nodes may stand in any order; then
// nodes are read, their subgraphs inside them with the enclosing graphs' names in sight; then the order is made right.
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "lib/onnx/decode.h"
#include "lib/onnx/decode_attribute.h"
#include "lib/onnx/fields.h"
#include "lib/support/name_hash.h"

namespace bevel::onnx {

namespace {

struct ValueInfo {
  std::string name, doc_string, opaque;
  Type type;
};

Result<ValueInfo> decode_value_info(std::string_view bytes, std::uint64_t max_rank) {
  ValueInfo info;
  Pieces type;
  BEVEL_TRY_STATUS(each_field({bytes}, [&](const Field& field) -> Status {
    switch (field.number) {
      case value_info_field::kName: info.name = field.bytes; return {};
      case value_info_field::kType: type.push_back(field.bytes); return {};
      case value_info_field::kDocString: info.doc_string = field.bytes; return {};
      default: info.opaque += field.whole; return {};
    }
  }));
  auto decoded = decode_type(type, max_rank);
  if (!decoded) return located(fmt::format("value '{}'", printable(info.name)), std::move(decoded).error());
  info.type = std::move(*decoded);
  return info;
}

class GraphDecoder {
 public:
  GraphDecoder(Source& source, GraphDecoder* enclosing) : source_(source), enclosing_(enclosing) {}

  Result<Graph> decode(const Pieces& pieces) {
    BEVEL_TRY_STATUS(split(pieces));
    BEVEL_TRY_STATUS(add_inputs());
    return decode_rest();
  }

  Result<Function> decode_function(std::string_view bytes) {
    Function function;
    std::vector<std::string_view> inputs, outputs;
    BEVEL_TRY_STATUS(split_function(bytes, function, inputs, outputs));
    for (const std::string_view input : inputs) {
      const std::string name(input);
      if (name.empty()) return fail_input("input {} has no name", graph_.inputs().size());
      BEVEL_TRY_STATUS(check_new(name, "an input"));
      graph_.add_input(name, {});
    }
    // What a GraphProto says of its outputs, so that one way of reading serves both.
    std::vector<std::string> infos;
    for (const std::string_view output : outputs) {
      Writer info;
      info.text(value_info_field::kName, output);
      infos.push_back(info.bytes());
    }
    outputs_.assign(infos.begin(), infos.end());
    BEVEL_TRY(function.body, decode_rest());
    return function;
  }

  Result<Graph> decode_rest() {
    BEVEL_TRY_STATUS(add_initializers());
    BEVEL_TRY_STATUS(enter_node_outputs());
    BEVEL_TRY_STATUS(apply_value_infos());
    BEVEL_TRY_STATUS(add_sparse_initializers());
    for (std::size_t i = 0; i < nodes_.size(); ++i) BEVEL_TRY_STATUS(add_node(i));
    for (const ValueInfo& info : unplaced_)  // captures are known only now; an entry for no value at all says nothing
      if (const ValueId id = graph_.find_value(info.name); id.valid()) declare(id, info);
    BEVEL_TRY_STATUS(add_outputs());
    keep_tensor_extras();
    if (!graph_.sort()) {
      const Node& node = graph_.node(graph_.find_cycle());
      return fail_input("node '{}' ({}) depends on its own output: the graph has a cycle; expected a graph without one",
                        printable(node.name), printable(node.op_type));
    }
    order_captures();
    return std::move(graph_);
  }

  // The value of that name that a node here may read: this graph's own, else an enclosing graph's, captured.
  Result<ValueId> lookup(std::string_view name) {
    if (const ValueId own = graph_.find_value(name); own.valid()) return own;
    if (enclosing_ == nullptr) return ValueId();
    BEVEL_TRY(const ValueId outer, enclosing_->lookup(name));
    if (!outer.valid()) return outer;
    if (!source_.count_value()) return too_many_values();
    return graph_.add_capture(name, enclosing_->graph_.value(outer).type);
  }

 private:
  struct NodeHead {
    std::string_view bytes;
    std::string name, op_type;
    std::vector<ValueId> outputs;
  };
  struct TensorRest {
    ValueId id;
    std::string doc_string, extras;
  };

  [[nodiscard]] Failure too_many_values() const {
    return fail_input("the model has more than {} values; no real model does", source_.limits().max_values);
  }
  static std::string label(const Node& node) {
    return fmt::format("node '{}' ({})", printable(node.name), printable(node.op_type));
  }

  Status split(const Pieces& pieces) {
    return each_field(pieces, [&](const Field& field) -> Status {
      switch (field.number) {
        case graph_field::kName: graph_.name = field.bytes; return {};
        case graph_field::kDocString: graph_.doc_string = field.bytes; return {};
        case graph_field::kNode: return add_head(field.bytes);
        case graph_field::kInitializer: initializers_.push_back(field.bytes); return {};
        case graph_field::kSparseInitializer: sparse_initializers_.push_back(field.bytes); return {};
        case graph_field::kInput: inputs_.push_back(field.bytes); return {};
        case graph_field::kOutput: outputs_.push_back(field.bytes); return {};
        case graph_field::kValueInfo: value_infos_.push_back(field.bytes); return {};
        default: graph_.opaque += field.whole; return {};
      }
    });
  }

  Status split_function(std::string_view bytes, Function& function, std::vector<std::string_view>& inputs,
                        std::vector<std::string_view>& outputs) {
    const DecodeSubgraph subgraph = [this](const Pieces& pieces) -> Result<GraphPtr> {
      BEVEL_TRY(Graph graph, GraphDecoder(source_, nullptr).decode(pieces));
      return std::make_shared<const Graph>(std::move(graph));
    };
    return each_field({bytes}, [&](const Field& field) -> Status {
      switch (field.number) {
        case function_field::kName: graph_.name = field.bytes; return {};
        case function_field::kInput: inputs.push_back(field.bytes); return {};
        case function_field::kOutput: outputs.push_back(field.bytes); return {};
        case function_field::kAttribute: function.attributes.emplace_back(field.bytes); return {};
        case function_field::kNode: return add_head(field.bytes);
        case function_field::kDocString: graph_.doc_string = field.bytes; return {};
        case function_field::kOpsetImport: return decode_opset(field.bytes, function.opsets);
        case function_field::kDomain: function.domain = normalized_domain(field.bytes); return {};
        case function_field::kAttributeProto: {
          BEVEL_TRY(Attribute attribute, decode_attribute(source_, field.bytes, subgraph));
          function.defaults.push_back(std::move(attribute));
          return {};
        }
        case function_field::kValueInfo: value_infos_.push_back(field.bytes); return {};
        case function_field::kOverload: function.overload = field.bytes; return {};
        default: graph_.opaque += field.whole; return {};
      }
    });
  }

  Status add_head(std::string_view bytes) {
    if (!source_.count_node())
      return fail_input("the model has more than {} nodes; no real model does", source_.limits().max_nodes);
    nodes_.push_back({bytes, {}, {}, {}});
    return {};
  }

  // A second definition of a name, in the words of the first.
  Status check_new(const std::string& name, const std::string& what) {
    if (!source_.count_value()) return too_many_values();
    const ValueId id = graph_.find_value(name);
    if (!id.valid()) return {};
    const Value& value = graph_.value(id);
    const auto output = output_of_.find(id.index);
    const std::string first = value.is_input    ? "a graph input"
                              : value.constant  ? "an initializer"
                              : output != output_of_.end()
                                  ? fmt::format("an output of node '{}' ({})", printable(nodes_[output->second].name),
                                                printable(nodes_[output->second].op_type))
                                  : "a sparse initializer";
    return fail_input("value '{}' is defined twice: as {} and as {}; expected one definition of each name",
                      printable(name), first, what);
  }

  Status add_inputs() {
    for (const std::string_view bytes : inputs_) {
      BEVEL_TRY(ValueInfo info, decode_value_info(bytes, source_.limits().max_rank));
      if (info.name.empty()) return fail_input("graph input {} has no name", graph_.inputs().size());
      BEVEL_TRY_STATUS(check_new(info.name, "a graph input"));
      const ValueId id = graph_.add_input(info.name, info.type);
      describe(id, info);
    }
    return {};
  }

  Status add_initializers() {
    for (std::size_t i = 0; i < initializers_.size(); ++i) {
      const Pieces pieces{initializers_[i]};
      BEVEL_TRY(const TensorHead head, decode_tensor_head(pieces));
      if (head.name.empty()) return fail_input("initializer {} has no name", i);
      const std::string where = fmt::format("initializer '{}'", printable(head.name));
      auto decoded = decode_tensor(source_, pieces);
      if (!decoded) return located(where, std::move(decoded).error());
      ValueId id = graph_.find_value(head.name);
      if (id.valid() && graph_.value(id).is_input && !graph_.value(id).constant) {
        Type type = graph_.value(id).type;  // a default: the input keeps its stated type
        const bool stated = type.kind != Type::Kind::unknown;
        graph_.set_constant(id, std::move(decoded->tensor));
        if (stated) graph_.set_type(id, std::move(type));
      } else {
        BEVEL_TRY_STATUS(check_new(head.name, "an initializer"));
        id = graph_.add_constant(head.name, std::move(decoded->tensor));
      }
      if (!decoded->doc_string.empty() || !decoded->extras.empty())
        tensor_rests_.push_back({id, std::move(decoded->doc_string), std::move(decoded->extras)});
    }
    return {};
  }

  // Enters the values that nodes produce, and settles the nodes' names: a name goes to the first node that bears it;
  // nodes without one are named after their first output, which is what a reader of the file would call them.
  Status enter_node_outputs() {
    for (std::size_t i = 0; i < sparse_initializers_.size(); ++i) BEVEL_TRY_STATUS(enter_sparse_initializer(i));
    NameSet taken;
    for (std::size_t i = 0; i < nodes_.size(); ++i) {
      NodeHead& node = nodes_[i];
      std::vector<std::string_view> outputs;
      BEVEL_TRY_STATUS(each_field({node.bytes}, [&](const Field& field) -> Status {
        if (field.number == node_field::kOutput) outputs.push_back(field.bytes);
        else if (field.number == node_field::kName) node.name = field.bytes;
        else if (field.number == node_field::kOpType) node.op_type = field.bytes;
        return {};
      }));
      if (node.op_type.empty())
        return fail_input("node {} ('{}') has no op_type; expected the name of an operator", i, printable(node.name));
      if (!node.name.empty() && !taken.insert(node.name).second) node.name.clear();
      BEVEL_TRY_STATUS(enter_outputs(i, outputs));
    }
    NameMap<std::uint32_t> counters;
    for (NodeHead& node : nodes_) {
      if (!node.name.empty()) continue;
      std::string base = node.op_type;
      for (const ValueId output : node.outputs)
        if (output.valid()) {
          base = graph_.value(output).name;
          break;
        }
      node.name = base;
      while (!taken.insert(node.name).second) node.name = fmt::format("{}_{}", base, ++counters[base]);
    }
    return {};
  }

  Status enter_outputs(std::size_t index, const std::vector<std::string_view>& outputs) {
    NodeHead& node = nodes_[index];
    for (const std::string_view output : outputs) {
      if (output.empty()) {
        node.outputs.emplace_back();
        continue;
      }
      BEVEL_TRY_STATUS(check_new(std::string(output), fmt::format("an output of node '{}' ({})", printable(node.name),
                                                                  printable(node.op_type))));
      const ValueId id = graph_.add_value(output);
      output_of_.emplace(id.index, index);
      node.outputs.push_back(id);
    }
    return {};
  }

  void describe(ValueId id, const ValueInfo& info) {
    Value& value = graph_.mutable_value(id);
    if (value.doc_string.empty()) value.doc_string = info.doc_string;
    if (value.opaque.empty()) value.opaque = info.opaque;
    described_.insert(id.index);
  }

  void declare(ValueId id, const ValueInfo& info) {
    describe(id, info);
    Value& value = graph_.mutable_value(id);
    value.declared = true;
    if (value.type.kind == Type::Kind::unknown) value.type = info.type;
  }

  Status apply_value_infos() {
    for (const std::string_view bytes : value_infos_) {
      BEVEL_TRY(ValueInfo info, decode_value_info(bytes, source_.limits().max_rank));
      const ValueId id = graph_.find_value(info.name);
      if (id.valid()) declare(id, info);
      else if (enclosing_ != nullptr) unplaced_.push_back(std::move(info));
    }
    return {};
  }

  Status add_outputs() {
    NameSet seen;
    for (const std::string_view bytes : outputs_) {
      BEVEL_TRY(ValueInfo info, decode_value_info(bytes, source_.limits().max_rank));
      if (info.name.empty()) return fail_input("graph output {} has no name", graph_.outputs().size());
      BEVEL_TRY(const ValueId id, lookup(info.name));
      if (!id.valid())
        return fail_input("graph output '{}' is produced by no node, and is no graph input or initializer",
                          printable(info.name));
      // A branch may give one value twice; the model's own outputs are told apart by name.
      if (!seen.insert(info.name).second && enclosing_ == nullptr)
        return fail_input("graph output '{}' is listed twice; expected each output once", printable(info.name));
      describe(id, info);
      const Value& value = graph_.value(id);
      if (info.type.kind != Type::Kind::unknown && !value.is_input && !value.constant && !value.is_capture)
        graph_.set_type(id, info.type);
      graph_.add_output(id);
    }
    return {};
  }

  // Captures stand in the order of their first use in execution order, which is what a second import finds as well; the
  // order in which the file happened to name them is lost by sorting.
  void order_captures() {
    if (graph_.captures().empty()) return;
    std::vector<ValueId> order;
    std::unordered_set<std::uint32_t> seen;
    const auto meet = [&](ValueId id) {
      if (id.valid() && graph_.value(id).is_capture && seen.insert(id.index).second) order.push_back(id);
    };
    for (const NodeId id : graph_.node_order())
      for (std::size_t i = 0; i < graph_.node(id).operand_count(); ++i) meet(graph_.node(id).operand(i));
    for (const ValueId id : graph_.outputs()) meet(id);
    graph_.set_capture_order(std::move(order));
  }

  // Value::doc_string is the ValueInfoProto's where there is one; the TensorProto's then travels with its extras.
  void keep_tensor_extras() {
    for (TensorRest& rest : tensor_rests_) {
      Value& value = graph_.mutable_value(rest.id);
      Writer fields;
      if (described_.contains(rest.id.index)) fields.text_unless_empty(tensor_field::kDocString, rest.doc_string);
      else value.doc_string = std::move(rest.doc_string);
      fields.fields(rest.extras);
      Writer wrapped;
      wrapped.text_unless_empty(value_info_field::kTensorExtras, fields.bytes());
      value.opaque += wrapped.bytes();
    }
  }

  // A sparse initializer becomes what it abbreviates: a Constant node with sparse_value (ONNX Constant-11).
  Status enter_sparse_initializer(std::size_t i) {
    Pieces values;
    BEVEL_TRY_STATUS(each_field({sparse_initializers_[i]}, [&](const Field& field) -> Status {
      if (field.number == sparse_field::kValues) values.push_back(field.bytes);
      return {};
    }));
    BEVEL_TRY(const TensorHead head, decode_tensor_head(values));
    if (head.name.empty()) return fail_input("sparse initializer {} has no name (that of its values)", i);
    BEVEL_TRY_STATUS(check_new(head.name, "a sparse initializer"));
    sparse_values_.push_back(graph_.add_value(head.name));
    return {};
  }

  Status add_sparse_initializers() {
    for (std::size_t i = 0; i < sparse_values_.size(); ++i) {
      if (!source_.count_node())
        return fail_input("the model has more than {} nodes; no real model does", source_.limits().max_nodes);
      Node node;
      node.op_type = "Constant";
      node.name = graph_.value(sparse_values_[i]).name;
      auto attribute = decode_sparse_value(source_, sparse_initializers_[i]);
      if (!attribute)
        return located(fmt::format("sparse initializer '{}'", printable(node.name)), std::move(attribute).error());
      node.attributes.push_back(std::move(*attribute));
      node.outputs = {sparse_values_[i]};
      graph_.add_node(std::move(node));
    }
    return {};
  }

  Status add_node(std::size_t index) {
    NodeHead& head = nodes_[index];
    Node node;
    node.name = std::move(head.name);
    node.op_type = std::move(head.op_type);
    node.outputs = std::move(head.outputs);
    const DecodeSubgraph subgraph = [&](const Pieces& pieces) -> Result<GraphPtr> {
      GraphDecoder decoder(source_, this);
      BEVEL_TRY(Graph graph, decoder.decode(pieces));
      for (const ValueId capture : graph.captures()) node.captures.push_back(graph_.find_value(graph.value(capture).name));
      return std::make_shared<const Graph>(std::move(graph));
    };
    NameSet seen;
    auto read = each_field({head.bytes}, [&](const Field& field) -> Status {
      switch (field.number) {
        case node_field::kInput: {
          if (field.bytes.empty()) {
            node.inputs.emplace_back();
            return {};
          }
          BEVEL_TRY(const ValueId id, lookup(field.bytes));
          if (!id.valid())
            return fail_input("input {} is '{}', which no node produces and which is no graph input or initializer",
                              node.inputs.size(), printable(field.bytes));
          node.inputs.push_back(id);
          return {};
        }
        case node_field::kOutput: case node_field::kName: case node_field::kOpType: return {};
        case node_field::kDomain: node.domain = normalized_domain(field.bytes); return {};
        case node_field::kOverload: node.overload = field.bytes; return {};
        case node_field::kDocString: node.doc_string = field.bytes; return {};
        case node_field::kAttribute: {
          BEVEL_TRY(Attribute attribute, decode_attribute(source_, field.bytes, subgraph));
          if (!seen.insert(attribute.name).second)
            return fail_input("attribute '{}' is given twice", printable(attribute.name));
          node.attributes.push_back(std::move(attribute));
          return {};
        }
        default: node.opaque += field.whole; return {};
      }
    });
    if (!read) return located(label(node), std::move(read).error());
    graph_.add_node(std::move(node));
    return {};
  }

  Source& source_;
  GraphDecoder* enclosing_;
  Graph graph_;
  std::vector<std::string_view> inputs_, outputs_, initializers_, sparse_initializers_, value_infos_;
  std::vector<NodeHead> nodes_;
  std::vector<ValueId> sparse_values_;
  std::vector<ValueInfo> unplaced_;
  std::vector<TensorRest> tensor_rests_;
  std::unordered_map<std::uint32_t, std::size_t> output_of_;  // value -> node, until the node is built
  std::unordered_set<std::uint32_t> described_;               // values with a ValueInfoProto
};

}  // namespace

Result<Graph> decode_graph(Source& source, const Pieces& pieces) { return GraphDecoder(source, nullptr).decode(pieces); }

Result<Function> decode_function(Source& source, std::string_view bytes) {
  std::string name;
  BEVEL_TRY_STATUS(each_field({bytes}, [&](const Field& field) -> Status {
    if (field.number == function_field::kName) name = field.bytes;
    return {};
  }));
  if (name.empty()) return fail_input("a function of the model has no name");
  auto function = GraphDecoder(source, nullptr).decode_function(bytes);
  if (!function) return located(fmt::format("function '{}'", printable(name)), std::move(function).error());
  return function;
}

std::string normalized_domain(std::string_view domain) { return domain == "ai.onnx" ? "" : std::string(domain); }

Status decode_opset(std::string_view bytes, std::vector<OpsetImport>& opsets) {
  OpsetImport opset;
  BEVEL_TRY_STATUS(each_field({bytes}, [&](const Field& field) -> Status {
    if (field.number == opset_field::kDomain) opset.domain = normalized_domain(field.bytes);
    if (field.number == opset_field::kVersion) opset.version = field.as_int64();
    return {};
  }));
  for (const OpsetImport& known : opsets) {
    if (known.domain != opset.domain) continue;
    if (known.version == opset.version) return {};
    return fail_input("the operator set '{}' is imported as version {} and as version {}; expected one of them",
                      opset.domain.empty() ? "ai.onnx" : printable(opset.domain), known.version, opset.version);
  }
  opsets.push_back(std::move(opset));
  return {};
}

}  // namespace bevel::onnx
