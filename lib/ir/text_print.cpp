// Printing the text form (text.h). What is printed parses back to the same model, except that documentation strings and
// unknown protobuf fields of nodes and values, denotations, and types that no `value_info` declared are left out: the
// text is for people, for pass tests and for reproducers.
//
// Types: `float[1,N,?]`; `float[]` is a scalar and `float[...]` has unknown rank (as in messages); `?` is not known.
#include "lib/ir/text.h"

#include <fmt/core.h>

#include <cmath>
#include <cstring>

#include "lib/ir/text_literal.h"
#include "lib/support/hash.h"

namespace bevel {
namespace {

bool is_plain(std::string_view text) {
  if (text.empty() || (text[0] >= '0' && text[0] <= '9')) return false;
  for (const char c : text) {
    const bool word = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
    if (!word) return false;
  }
  return true;
}

// Any bytes, as a quoted string; what is not printable ASCII becomes \xNN.
std::string quote(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (c == '\n') {
      out += "\\n";
    } else if (byte < 0x20 || byte > 0x7E) {
      out += fmt::format("\\x{:02x}", byte);
    } else {
      out += c;
    }
  }
  return out + '"';
}

std::string identifier(std::string_view name) { return is_plain(name) ? std::string(name) : quote(name); }

// A domain: plain parts between dots stand as they are.
std::string dotted(std::string_view name) {
  for (std::size_t start = 0;;) {
    const std::size_t dot = name.find('.', start);
    if (!is_plain(name.substr(start, dot == std::string_view::npos ? dot : dot - start))) return quote(name);
    if (dot == std::string_view::npos) return std::string(name);
    start = dot + 1;
  }
}

template <typename Float>
std::string float_text(Float value) {
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  return fmt::format("{}", value);  // shortest text that parses to the same bits
}

class Printer {
 public:
  explicit Printer(const PrintOptions& options) : options_(options) {}
  std::string text;

  void model(const Model& model) {
    text += fmt::format("<ir_version: {}, ", model.ir_version);
    opset_imports(model.opsets);
    field("producer_name", model.producer_name);
    field("producer_version", model.producer_version);
    field("domain", model.domain);
    if (model.model_version != 0) text += fmt::format(",\n model_version: {}", model.model_version);
    field("doc_string", model.doc_string);
    if (!model.metadata.empty()) {
      text += ",\n metadata_props: [";
      for (std::size_t i = 0; i < model.metadata.size(); ++i) {
        text += fmt::format("{}{} : {}", i > 0 ? ", " : "", quote(model.metadata[i].first),
                            quote(model.metadata[i].second));
      }
      text += ']';
    }
    field("opaque", model.opaque);
    text += ">\n";
    graph(model.graph, "");
    text += '\n';
    for (const Function& one : model.functions) function(one);
  }

  // As ONNX's text syntax has it: a header, name <required, optional: kind = default> (inputs) => (outputs), nodes.
  void function(const Function& function) {
    text += fmt::format("<domain: {}, ", quote(function.domain));
    opset_imports(function.opsets);
    field("overload", function.overload);
    field("doc_string", function.body.doc_string);
    field("opaque", function.body.opaque);
    text += ">\n" + identifier(function.body.name);
    const std::size_t count = function.attributes.size() + function.defaults.size();
    for (std::size_t i = 0; i < count; ++i) {
      text += i > 0 ? ", " : " <";
      if (i < function.attributes.size()) text += identifier(function.attributes[i]);
      else attribute(function.defaults[i - function.attributes.size()], "");
    }
    text += count > 0 ? "> (" : " (";
    list(function.body, function.body.inputs());
    text += ") => (";
    list(function.body, function.body.outputs());
    text += ")\n";
    side_values(function.body, "", /*of_function=*/true);
    nodes(function.body, "");
    text += '\n';
  }

  void graph(const Graph& graph, const std::string& indent) {
    text += identifier(graph.name) + " (";
    for (std::size_t i = 0; i < graph.inputs().size(); ++i) {
      const Value& input = graph.value(graph.inputs()[i]);
      if (i > 0) text += ", ";
      typed_value(input);
      if (input.constant) constant(*input.constant);
    }
    text += ") => (";
    for (std::size_t i = 0; i < graph.outputs().size(); ++i) {
      if (i > 0) text += ", ";
      typed_value(graph.value(graph.outputs()[i]));
    }
    text += ")\n";
    side_values(graph, indent, /*of_function=*/false);
    nodes(graph, indent);
  }

 private:
  void opset_imports(const std::vector<OpsetImport>& opsets) {
    text += "opset_import: [";
    for (std::size_t i = 0; i < opsets.size(); ++i) {
      text += fmt::format("{}{} : {}", i > 0 ? ", " : "", quote(opsets[i].domain), opsets[i].version);
    }
    text += ']';
  }

  void field(const char* name, const std::string& value) {
    if (!value.empty()) text += fmt::format(",\n {}: {}", name, quote(value));
  }

  void nodes(const Graph& graph, const std::string& indent) {
    text += indent + "{\n";
    for (const NodeId id : graph.node_order()) node(graph, id, indent + "  ");
    text += indent + "}";
  }

  // Initializers, then declared types of intermediate values (of a function: of inputs and outputs as well), each on its line.
  void side_values(const Graph& graph, const std::string& indent, bool of_function) {
    const char* separator = "<";
    const std::string line = ",\n" + indent + " ";
    for (const bool constants : {true, false}) {
      for (const ValueId id : graph.value_ids()) {
        const Value& value = graph.value(id);
        if (value.is_capture || value.constant.has_value() != constants) continue;
        if (!of_function && (value.is_input || (!constants && value.output_slots > 0))) continue;
        if (!constants && !value.declared) continue;
        text += separator[0] == '<' ? indent + "<" : line;
        separator = ",";
        if (constants) {
          tensor_head(*value.constant);
          text += ' ' + identifier(value.name);
          constant(*value.constant);
        } else {
          typed_value(value);
        }
      }
    }
    if (separator[0] != '<') text += ">\n";
  }

  void type(const Type& type) {
    switch (type.kind) {
      case Type::Kind::unknown: text += '?'; return;
      case Type::Kind::opaque: text += "opaque(" + quote(type.opaque) + ")"; return;
      case Type::Kind::sequence:
      case Type::Kind::optional:
        text += type.kind == Type::Kind::sequence ? "seq(" : "optional(";
        this->type(type.element ? *type.element : Type());
        text += ')';
        return;
      case Type::Kind::tensor: break;
    }
    text += type.dtype == DType::undefined ? "undefined" : std::string(dtype_name(type.dtype));
    if (!type.shape.has_rank) {
      text += "[...]";
      return;
    }
    text += '[';
    for (std::size_t i = 0; i < type.shape.dims.size(); ++i) {
      const Dim& dim = type.shape.dims[i];
      if (i > 0) text += ',';
      text += dim.known() ? fmt::format("{}", dim.value) : dim.named() ? identifier(dim.symbol) : "?";
    }
    text += ']';
  }

  void typed_value(const Value& value) {
    type(value.type);
    text += ' ' + identifier(value.name);
  }

  void tensor_head(const Tensor& tensor) { type(Type::tensor(tensor.dtype(), tensor.dims())); }

  void constant(const Tensor& tensor) {
    text += " = ";
    elements(tensor);
  }

  void elements(const Tensor& tensor) {
    if (tensor.size() > options_.max_elements) {
      summary(tensor);
      return;
    }
    text += '{';
    for (std::int64_t i = 0; i < tensor.size(); ++i) {
      if (i > 0) text += ", ";
      element(tensor, i);
    }
    text += '}';
  }

  void summary(const Tensor& tensor) {
    if (tensor.dtype() == DType::string) {
      text += fmt::format("<{} strings>", tensor.size());
      return;
    }
    text += fmt::format("<sha256 {}", sha256_hex(tensor.bytes()).substr(0, 12));
    if (tensor.dtype() != DType::complex64 && tensor.dtype() != DType::complex128) {
      double low = tensor.as_double(0), high = low;
      for (std::int64_t i = 1; i < tensor.size(); ++i) {
        const double value = tensor.as_double(i);
        low = std::fmin(low, value);  // fmin and fmax pass over NaN
        high = std::fmax(high, value);
      }
      // Six digits tell a reader what he needs; the hash tells tensors apart.
      text += fmt::format(", range [{:.6g}, {:.6g}]", low, high);
    }
    text += '>';
  }

  void element(const Tensor& tensor, std::int64_t index) {
    switch (tensor.dtype()) {
      case DType::string: text += quote(tensor.strings()[static_cast<std::size_t>(index)]); return;
      case DType::float32: {
        const float value = tensor.values<float>()[static_cast<std::size_t>(index)];
        text += std::isnan(value) ? bits(tensor, index) : float_text(value);
        return;
      }
      case DType::complex64:
      case DType::complex128: {
        // A pair of numbers per element; NaN parts keep no payload.
        const std::size_t width = tensor.dtype() == DType::complex64 ? 4 : 8;
        for (std::size_t part = 0; part < 2; ++part) {
          const std::byte* at = tensor.bytes().data() + (static_cast<std::size_t>(index) * 2 + part) * width;
          if (part > 0) text += ", ";
          if (width == 4) {
            float value = 0;
            std::memcpy(&value, at, width);
            text += std::isnan(value) ? "nan" : float_text(value);
          } else {
            double value = 0;
            std::memcpy(&value, at, width);
            text += std::isnan(value) ? "nan" : float_text(value);
          }
        }
        return;
      }
      case DType::uint64: text += fmt::format("{}", static_cast<std::uint64_t>(tensor.as_int64(index))); return;
      default: break;
    }
    if (!is_floating(tensor.dtype())) {
      text += fmt::format("{}", tensor.as_int64(index));
      return;
    }
    const double value = tensor.as_double(index);
    text += std::isnan(value) ? bits(tensor, index)
            : tensor.dtype() == DType::float64 ? float_text(value)
                                               : float_text(static_cast<float>(value));
  }

  // A NaN keeps its payload: `bits(0x7fc00000)`. Only dtypes of whole bytes have NaN.
  static std::string bits(const Tensor& tensor, std::int64_t index) {
    const auto width = static_cast<std::size_t>(dtype_bits(tensor.dtype())) / 8;
    std::uint64_t value = 0;
    std::memcpy(&value, tensor.bytes().data() + static_cast<std::size_t>(index) * width, width);
    return fmt::format("bits({:#x})", value);
  }

  void node(const Graph& graph, NodeId id, const std::string& indent) {
    const Node& node = graph.node(id);
    text += indent + '[' + identifier(node.name) + "] ";
    list(graph, node.outputs);
    text += node.outputs.empty() ? "= " : " = ";
    if (!node.domain.empty()) text += dotted(node.domain) + '.';
    text += identifier(node.op_type);
    if (!node.overload.empty()) text += ':' + identifier(node.overload);
    if (!node.attributes.empty()) {
      text += " <";
      for (std::size_t i = 0; i < node.attributes.size(); ++i) {
        if (i > 0) text += ", ";
        attribute(node.attributes[i], indent);
      }
      text += '>';
    }
    text += " (";
    list(graph, node.inputs);
    text += ")\n";
  }

  void list(const Graph& graph, const std::vector<ValueId>& values) {
    for (std::size_t i = 0; i < values.size(); ++i) {
      if (i > 0) text += ", ";
      text += values[i].valid() ? identifier(graph.value(values[i]).name) : "\"\"";
    }
  }

  static std::string float_literal(float value) {
    if (std::isnan(value)) {
      std::uint32_t bits = 0;
      std::memcpy(&bits, &value, sizeof bits);
      return fmt::format("bits({:#x})", bits);
    }
    std::string out = float_text(value);
    if (out.find_first_of(".en") == std::string::npos) out += ".0";  // 'n': inf
    return out;
  }

  template <typename T, typename One>
  void bracketed(const std::string& name, const char* kind, const std::vector<T>& values, One&& one) {
    text += values.empty() ? fmt::format("{}: {} = [", name, kind) : name + " = [";
    for (std::size_t i = 0; i < values.size(); ++i) {
      if (i > 0) text += ", ";
      one(values[i]);
    }
    text += ']';
  }

  void tensor_literal(const Tensor& tensor) {
    tensor_head(tensor);
    text += ' ';
    elements(tensor);
  }

  void attribute(const Attribute& attribute, const std::string& indent) {
    const std::string name = identifier(attribute.name);
    const auto graph_literal = [&](const GraphPtr& subgraph) { this->graph(*subgraph, indent + "  "); };
    const AttributeValue& value = attribute.value;
    if (const auto* f = std::get_if<float>(&value)) {
      text += name + " = " + float_literal(*f);
    } else if (const auto* i = std::get_if<std::int64_t>(&value)) {
      text += fmt::format("{} = {}", name, *i);
    } else if (const auto* s = std::get_if<std::string>(&value)) {
      text += name + " = " + quote(*s);
    } else if (const auto* t = std::get_if<Tensor>(&value)) {
      text += name + " = ";
      tensor_literal(*t);
    } else if (const auto* g = std::get_if<GraphPtr>(&value)) {
      text += name + " = ";
      graph_literal(*g);
    } else if (const auto* fs = std::get_if<std::vector<float>>(&value)) {
      bracketed(name, "floats", *fs, [&](float one) { text += float_literal(one); });
    } else if (const auto* is = std::get_if<std::vector<std::int64_t>>(&value)) {
      bracketed(name, "ints", *is, [&](std::int64_t one) { text += fmt::format("{}", one); });
    } else if (const auto* ss = std::get_if<std::vector<std::string>>(&value)) {
      bracketed(name, "strings", *ss, [&](const std::string& one) { text += quote(one); });
    } else if (const auto* ts = std::get_if<std::vector<Tensor>>(&value)) {
      bracketed(name, "tensors", *ts, [&](const Tensor& one) { tensor_literal(one); });
    } else if (const auto* gs = std::get_if<std::vector<GraphPtr>>(&value)) {
      bracketed(name, "graphs", *gs, graph_literal);
    } else if (const auto* opaque = std::get_if<OpaqueAttribute>(&value)) {
      text += name + ": opaque = " + quote(opaque->bytes);
    } else if (const auto* held = std::get_if<Type>(&value)) {
      text += name + ": type_proto = ";
      type(*held);
    } else if (const auto* sparse = std::get_if<SparseTensor>(&value)) {
      text += name + ": sparse_tensor = [";
      for (std::size_t i = 0; i < sparse->dims.size(); ++i) text += fmt::format("{}{}", i > 0 ? "," : "", sparse->dims[i]);
      text += "] ";
      tensor_literal(sparse->values);
      text += " at ";
      tensor_literal(sparse->indices);
    } else if (const auto* reference = std::get_if<AttributeReference>(&value)) {
      text += fmt::format("{}: {} = @{}", name, attribute_kind_name(reference->kind), identifier(reference->name));
    }
  }

  const PrintOptions& options_;
};

}  // namespace

std::string print(const Model& model, const PrintOptions& options) {
  Printer printer(options);
  printer.model(model);
  return std::move(printer.text);
}

std::string print(const Graph& graph, const PrintOptions& options) {
  Printer printer(options);
  printer.graph(graph, "");
  return std::move(printer.text) + "\n";
}

}  // namespace bevel
