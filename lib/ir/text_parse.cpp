// Parsing the text form (text.h, text_print.cpp): a recursive descent over what text_lexer.h and text_literal.h read. Accepts what the printer writes and
// the common liberties of ONNX's own text syntax: comments from `#` or `//` to the end of the line, unnamed nodes, absent
// inputs as `""` or as nothing between commas, attributes before or after the operands, `float` for a scalar.
#include <map>
#include <utility>

#include "lib/ir/text.h"
#include "lib/ir/text_lexer.h"
#include "lib/ir/text_literal.h"

namespace bevel {
namespace {

// A graph under construction and the graphs around it.
struct Scope {
  Graph& graph;
  Scope* outer = nullptr;
  std::map<std::string, Type> declared;  // outputs and value_info, by name: given to values as they appear
  bool function = false;                 // value_info may name inputs: they are declared without a type
};

class Parser {
 public:
  explicit Parser(std::string_view text) : lexer_(text) {}

  Result<Model> model() {
    Model model;
    BEVEL_TRY_STATUS(header(model));
    Scope scope{model.graph, nullptr, {}};
    BEVEL_TRY_STATUS(graph(scope));
    while (lexer_.peek("<")) {
      BEVEL_TRY(Function one, function());
      model.functions.push_back(std::move(one));
    }
    if (!lexer_.at_end()) return lexer_.error("a function or the end of the text");
    return model;
  }

 private:
  // --- header ------------------------------------------------------------------------------------------------------
  // <field: value, ...>; read(key) reads a value.
  template <typename Read>
  Status header_fields(Read&& read) {
    BEVEL_TRY_STATUS(lexer_.expect("<"));
    for (bool first = true; !lexer_.accept(">"); first = false) {
      if (!first) BEVEL_TRY_STATUS(lexer_.expect(","));
      const std::string_view key = lexer_.word();
      if (key.empty()) return lexer_.error("a header field");
      BEVEL_TRY_STATUS(lexer_.expect(":"));
      BEVEL_TRY_STATUS(read(key));
    }
    return {};
  }

  Status opset_imports(std::vector<OpsetImport>& opsets) {
    return lexer_.bracketed([&]() -> Status {
      BEVEL_TRY(std::string domain, lexer_.quoted());
      BEVEL_TRY_STATUS(lexer_.expect(":"));
      BEVEL_TRY(const std::int64_t version, lexer_.integer());
      opsets.push_back({std::move(domain), version});
      return {};
    });
  }

  Status text_field(std::string_view key, std::string* field) {
    if (!field) return lexer_.wrong("unknown header field '{}'", key);
    BEVEL_TRY(*field, lexer_.quoted());
    return {};
  }

  Status header(Model& model) {
    return header_fields([&](std::string_view key) -> Status {
      if (key == "ir_version") {
        BEVEL_TRY(model.ir_version, lexer_.integer());
      } else if (key == "model_version") {
        BEVEL_TRY(model.model_version, lexer_.integer());
      } else if (key == "opset_import") {
        return opset_imports(model.opsets);
      } else if (key == "metadata_props") {
        BEVEL_TRY_STATUS(lexer_.bracketed([&]() -> Status {
          BEVEL_TRY(std::string entry, lexer_.quoted());
          BEVEL_TRY_STATUS(lexer_.expect(":"));
          BEVEL_TRY(std::string value, lexer_.quoted());
          model.metadata.emplace_back(std::move(entry), std::move(value));
          return {};
        }));
      } else {
        return text_field(key, key == "producer_name"      ? &model.producer_name
                               : key == "producer_version" ? &model.producer_version
                               : key == "domain"           ? &model.domain
                               : key == "doc_string"       ? &model.doc_string
                               : key == "opaque"           ? &model.opaque
                                                           : nullptr);
      }
      return {};
    });
  }

  // --- functions ---------------------------------------------------------------------------------------------------
  // <domain: "d", opset_import: ["" : 18]> name <required, optional: kind = value> (inputs) => (outputs) { nodes }
  Result<Function> function() {
    Function function;
    Graph& body = function.body;
    BEVEL_TRY_STATUS(header_fields([&](std::string_view key) -> Status {
      if (key == "opset_import") return opset_imports(function.opsets);
      return text_field(key, key == "domain"       ? &function.domain
                             : key == "overload"   ? &function.overload
                             : key == "doc_string" ? &body.doc_string
                             : key == "opaque"     ? &body.opaque
                                                   : nullptr);
    }));
    BEVEL_TRY(body.name, lexer_.name("a function's name"));
    Scope scope{body, nullptr, {}, /*function=*/true};
    BEVEL_TRY_STATUS(function_attributes(function));
    BEVEL_TRY_STATUS(lexer_.expect("("));
    BEVEL_TRY(const std::vector<std::string> inputs, name_list(")"));
    BEVEL_TRY_STATUS(lexer_.expect(")"));
    for (const std::string& input : inputs) {
      if (input.empty()) return lexer_.error("an input's name");
      if (body.find_value(input).valid()) return lexer_.wrong("value '{}' is defined twice", printable(input));
      body.add_input(input, {});
    }
    BEVEL_TRY_STATUS(lexer_.expect("=>"));
    BEVEL_TRY_STATUS(lexer_.expect("("));
    BEVEL_TRY(const std::vector<std::string> outputs, name_list(")"));
    BEVEL_TRY_STATUS(lexer_.expect(")"));
    BEVEL_TRY(const std::vector<std::string> declared, side_values(scope));
    for (const std::string& name : declared) {
      const ValueId id = body.find_value(name);
      if (id.valid()) body.set_type(id, scope.declared[name]);
    }
    BEVEL_TRY_STATUS(nodes_and_outputs(scope, outputs, declared, 0));
    return function;
  }

  Status function_attributes(Function& function) {
    if (!lexer_.accept("<")) return {};
    for (bool first = true; !lexer_.accept(">"); first = false) {
      if (!first) BEVEL_TRY_STATUS(lexer_.expect(","));
      BEVEL_TRY(std::string key, lexer_.name("an attribute's name"));
      if (lexer_.peek(",") || lexer_.peek(">")) {
        function.attributes.push_back(std::move(key));
        continue;
      }
      Graph nothing;
      Scope scope{nothing, nullptr, {}};
      Node node;
      BEVEL_TRY(AttributeValue value, typed_attribute(scope, node, 0));
      function.defaults.push_back({std::move(key), std::move(value), {}});
    }
    return {};
  }

  // --- graphs ------------------------------------------------------------------------------------------------------
  Status graph(Scope& scope, int depth = 0) {
    if (depth > kMaxTextDepth) return lexer_.error(fmt::format("graphs nested at most {} deep", kMaxTextDepth));
    Graph& graph = scope.graph;
    if (!lexer_.peek("(")) {
      BEVEL_TRY(graph.name, lexer_.name("a graph's name"));
    }
    std::vector<std::string> outputs;
    BEVEL_TRY_STATUS(lexer_.expect("("));
    for (bool first = true; !lexer_.accept(")"); first = false) {
      if (!first) BEVEL_TRY_STATUS(lexer_.expect(","));
      BEVEL_TRY(Type declared, read_type(lexer_));
      BEVEL_TRY(const std::string input, new_value_name(graph, "an input's name"));
      const ValueId id = graph.add_input(input, declared);
      if (lexer_.accept("=")) {
        BEVEL_TRY(Tensor value, read_tensor(lexer_, declared));
        graph.set_constant(id, std::move(value));
      }
    }
    BEVEL_TRY_STATUS(lexer_.expect("=>"));
    BEVEL_TRY_STATUS(lexer_.expect("("));
    for (bool first = true; !lexer_.accept(")"); first = false) {
      if (!first) BEVEL_TRY_STATUS(lexer_.expect(","));
      BEVEL_TRY(Type declared, read_type(lexer_));
      BEVEL_TRY(const std::string output, lexer_.name("an output's name"));
      scope.declared[output] = std::move(declared);
      outputs.push_back(output);
    }
    BEVEL_TRY(const std::vector<std::string> value_info, side_values(scope));
    return nodes_and_outputs(scope, outputs, value_info, depth);
  }

  // Initializers, and types of other values, whose names are returned.
  Result<std::vector<std::string>> side_values(Scope& scope) {
    std::vector<std::string> value_info;
    if (!lexer_.accept("<")) return value_info;
    for (bool first = true; !lexer_.accept(">"); first = false) {
      if (!first) BEVEL_TRY_STATUS(lexer_.expect(","));
      BEVEL_TRY(Type declared, read_type(lexer_));
      BEVEL_TRY(const std::string value, lexer_.name("a value's name"));
      if (value.empty()) return lexer_.error("a value's name");
      if (!scope.function && scope.graph.find_value(value).valid()) {
        return lexer_.wrong("value '{}' is defined twice", printable(value));
      }
      if (!scope.function && lexer_.accept("=")) {
        BEVEL_TRY(Tensor constant, read_tensor(lexer_, declared));
        scope.graph.add_constant(value, std::move(constant));
      } else {
        scope.declared[value] = std::move(declared);
        value_info.push_back(value);
      }
    }
    return value_info;
  }

  Status nodes_and_outputs(Scope& scope, const std::vector<std::string>& outputs, const std::vector<std::string>& value_info,
                           int depth) {
    Graph& graph = scope.graph;
    BEVEL_TRY_STATUS(lexer_.expect("{"));
    while (!lexer_.accept("}")) BEVEL_TRY_STATUS(node(scope, depth));
    for (const std::string& output : outputs) {
      const ValueId id = resolve(scope, output);
      if (!id.valid()) return lexer_.wrong("graph output '{}' is produced by no node", printable(output));
      if (graph.value(id).type.kind == Type::Kind::unknown) graph.set_type(id, scope.declared[output]);
      graph.add_output(id);
    }
    for (const std::string& value : value_info) {
      const ValueId id = graph.find_value(value);
      if (!id.valid()) return lexer_.wrong("value '{}' is declared, but produced by no node", printable(value));
      graph.mutable_value(id).declared = true;
    }
    return {};
  }

  Result<std::string> new_value_name(const Graph& graph, std::string_view what) {
    BEVEL_TRY(std::string value, lexer_.name(what));
    if (value.empty()) return lexer_.error(what);
    if (graph.find_value(value).valid()) return lexer_.wrong("value '{}' is defined twice", printable(value));
    return value;
  }

  // The value of that name; one from an enclosing graph becomes a capture.
  static ValueId resolve(Scope& scope, const std::string& wanted) {
    const ValueId here = scope.graph.find_value(wanted);
    if (here.valid() || !scope.outer) return here;
    const ValueId outer = resolve(*scope.outer, wanted);
    if (!outer.valid()) return outer;
    return scope.graph.add_capture(wanted, scope.outer->graph.value(outer).type);
  }

  // Names between commas up to `stop`; an empty name is an absent operand.
  Result<std::vector<std::string>> name_list(std::string_view stop) {
    std::vector<std::string> names;
    if (lexer_.peek(stop)) return names;
    do {
      if (lexer_.peek(",") || lexer_.peek(stop)) {
        names.emplace_back();
        continue;
      }
      BEVEL_TRY(std::string one, lexer_.name("a value's name"));
      names.push_back(std::move(one));
    } while (lexer_.accept(","));
    return names;
  }

  Status node(Scope& scope, int depth) {
    Node node;
    if (lexer_.accept("[")) {
      BEVEL_TRY(node.name, lexer_.name("a node's name"));
      BEVEL_TRY_STATUS(lexer_.expect("]"));
      if (scope.graph.find_node(node.name).valid()) {
        return lexer_.wrong("node '{}' is defined twice", printable(node.name));
      }
    }
    BEVEL_TRY(const std::vector<std::string> outputs, name_list("="));
    BEVEL_TRY_STATUS(lexer_.expect("="));
    BEVEL_TRY_STATUS(op_name(node));
    BEVEL_TRY_STATUS(attributes(scope, node, depth));
    BEVEL_TRY_STATUS(lexer_.expect("("));
    BEVEL_TRY(const std::vector<std::string> inputs, name_list(")"));
    BEVEL_TRY_STATUS(lexer_.expect(")"));
    BEVEL_TRY_STATUS(attributes(scope, node, depth));
    for (const std::string& input : inputs) {
      const ValueId id = input.empty() ? ValueId() : resolve(scope, input);
      if (!input.empty() && !id.valid()) {
        return lexer_.wrong("value '{}' is read, but nothing above produces it", printable(input));
      }
      node.inputs.push_back(id);
    }
    for (const std::string& output : outputs) {
      if (output.empty()) {
        node.outputs.emplace_back();
        continue;
      }
      if (scope.graph.find_value(output).valid()) return lexer_.wrong("value '{}' is defined twice", printable(output));
      const auto declared = scope.declared.find(output);
      node.outputs.push_back(
          scope.graph.add_value(output, declared == scope.declared.end() ? Type() : declared->second));
    }
    // An unnamed node takes its first output's name, which is unique too.
    if (node.name.empty() && !outputs.empty()) node.name = outputs[0];
    scope.graph.add_node(std::move(node));
    return {};
  }

  // `Op`, `com.microsoft.Op`, `"a domain"."an op"`, each with `:overload`: all but the last part are the domain.
  Status op_name(Node& node) {
    BEVEL_TRY(node.op_type, lexer_.name("an operator's name"));
    while (lexer_.accept(".")) {
      BEVEL_TRY(std::string part, lexer_.name("an operator's name"));
      node.domain += (node.domain.empty() ? "" : ".") + node.op_type;
      node.op_type = std::move(part);
    }
    if (node.domain == "ai.onnx") node.domain.clear();
    if (lexer_.accept(":")) {
      BEVEL_TRY(node.overload, lexer_.name("an overload's name"));
    }
    return {};
  }

  Status attributes(Scope& scope, Node& node, int depth) {
    if (!lexer_.accept("<")) return {};
    for (bool first = true; !lexer_.accept(">"); first = false) {
      if (!first) BEVEL_TRY_STATUS(lexer_.expect(","));
      BEVEL_TRY(std::string key, lexer_.name("an attribute's name"));
      if (node.attribute(key)) return lexer_.wrong("attribute '{}' is given twice", printable(key));
      BEVEL_TRY(AttributeValue value, typed_attribute(scope, node, depth));
      node.attributes.push_back({std::move(key), std::move(value), {}});
    }
    return {};
  }

  // `: kind = value`, or `= value` where the value tells its kind.
  Result<AttributeValue> typed_attribute(Scope& scope, Node& node, int depth) {
    std::string kind;
    if (lexer_.accept(":")) kind = lexer_.word();
    BEVEL_TRY_STATUS(lexer_.expect("="));
    if (lexer_.accept("@")) {
      const auto number = attribute_kind(kind);
      if (!number) return lexer_.wrong("a reference states its kind, as in 'axis: int = @axis'; '{}' is none", printable(kind));
      BEVEL_TRY(std::string target, lexer_.name("an attribute's name"));
      return AttributeValue(AttributeReference{std::move(target), *number});
    }
    return attribute_value(scope, node, kind, depth);
  }

  Result<SparseTensor> sparse_tensor() {
    SparseTensor sparse;
    BEVEL_TRY_STATUS(lexer_.bracketed([&]() -> Status {
      BEVEL_TRY(const std::int64_t extent, lexer_.integer());
      sparse.dims.push_back(extent);
      return {};
    }));
    BEVEL_TRY(sparse.values, typed_tensor());
    BEVEL_TRY_STATUS(lexer_.expect("at"));
    BEVEL_TRY(sparse.indices, typed_tensor());
    return sparse;
  }

  Result<AttributeValue> attribute_value(Scope& scope, Node& node, const std::string& kind, int depth) {
    if (kind == "opaque") {
      BEVEL_TRY(std::string bytes, lexer_.quoted());
      return OpaqueAttribute{std::move(bytes)};
    }
    if (kind == "type_proto") {
      BEVEL_TRY(Type type, read_type(lexer_));
      return AttributeValue(std::move(type));
    }
    if (kind == "sparse_tensor") {
      BEVEL_TRY(SparseTensor sparse, sparse_tensor());
      return AttributeValue(std::move(sparse));
    }
    if (lexer_.peek("[")) return list_value(scope, node, kind, depth);
    if (lexer_.looks_like_number()) {
      if (kind == "float" || (kind != "int" && lexer_.looks_like_float())) {
        BEVEL_TRY(const float value, lexer_.real32());
        return AttributeValue(value);
      }
      BEVEL_TRY(const std::int64_t value, lexer_.integer());
      return AttributeValue(value);
    }
    if (lexer_.peek("\"")) {
      // A string; or a graph whose name is quoted.
      const std::size_t start = lexer_.mark();
      BEVEL_TRY(std::string value, lexer_.quoted());
      if (!lexer_.peek("(")) return AttributeValue(std::move(value));
      lexer_.rewind(start);
      BEVEL_TRY(GraphPtr inner, subgraph(scope, node, depth));
      return AttributeValue(std::move(inner));
    }
    if (starts_graph()) {
      BEVEL_TRY(GraphPtr inner, subgraph(scope, node, depth));
      return AttributeValue(std::move(inner));
    }
    BEVEL_TRY(Tensor value, typed_tensor());
    return AttributeValue(std::move(value));
  }

  bool starts_graph() {
    lexer_.skip();
    const std::size_t start = lexer_.mark();
    lexer_.word();
    const bool graph = lexer_.peek("(");
    lexer_.rewind(start);
    return graph;
  }

  Result<Tensor> typed_tensor() {
    BEVEL_TRY(const Type declared, read_type(lexer_));
    lexer_.word();  // ONNX's syntax allows a name here
    lexer_.accept("=");
    return read_tensor(lexer_, declared);
  }

  Result<GraphPtr> subgraph(Scope& scope, Node& node, int depth) {
    Graph graph;
    Scope inner{graph, &scope, {}};
    BEVEL_TRY_STATUS(this->graph(inner, depth + 1));
    for (const ValueId capture : graph.captures()) node.captures.push_back(resolve(scope, graph.value(capture).name));
    return std::make_shared<const Graph>(std::move(graph));
  }

  Result<AttributeValue> list_value(Scope& scope, Node& node, const std::string& kind, int depth) {
    std::vector<float> floats;
    std::vector<std::int64_t> ints;
    std::vector<std::string> strings;
    std::vector<Tensor> tensors;
    std::vector<GraphPtr> graphs;
    bool any_float = kind == "floats";
    // Numbers are read as floats too where they can be: [1, 2.5] is a list of floats.
    BEVEL_TRY_STATUS(lexer_.bracketed([&]() -> Status {
      if (lexer_.looks_like_number()) {
        if (kind != "ints" && (any_float || lexer_.looks_like_float())) {
          any_float = true;
          BEVEL_TRY(const float value, lexer_.real32());
          floats.push_back(value);
        } else {
          const std::size_t start = lexer_.mark();
          BEVEL_TRY(const std::int64_t value, lexer_.integer());
          const std::size_t end = lexer_.mark();
          lexer_.rewind(start);
          BEVEL_TRY(const float as_float, lexer_.real32());
          lexer_.rewind(end);
          ints.push_back(value);
          floats.push_back(as_float);
        }
      } else if (lexer_.peek("\"")) {
        BEVEL_TRY(std::string value, lexer_.quoted());
        strings.push_back(std::move(value));
      } else if (starts_graph()) {
        BEVEL_TRY(GraphPtr inner, subgraph(scope, node, depth));
        graphs.push_back(std::move(inner));
      } else {
        BEVEL_TRY(Tensor value, typed_tensor());
        tensors.push_back(std::move(value));
      }
      return {};
    }));
    const bool any_number = !floats.empty();
    if (any_number + !strings.empty() + !tensors.empty() + !graphs.empty() > 1) {
      return lexer_.wrong("a list holds values of one kind");
    }
    if (!strings.empty() || kind == "strings") return AttributeValue(std::move(strings));
    if (!tensors.empty() || kind == "tensors") return AttributeValue(std::move(tensors));
    if (!graphs.empty() || kind == "graphs") return AttributeValue(std::move(graphs));
    if (any_float) return AttributeValue(std::move(floats));
    return AttributeValue(std::move(ints));
  }

  TextLexer lexer_;
};

}  // namespace

Result<Model> parse_text(std::string_view text) { return Parser(text).model(); }

}  // namespace bevel
