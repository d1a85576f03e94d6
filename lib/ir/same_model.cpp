// Same model up to ids: what the round trips (import/export, print/parse) and the passes' "changed nothing" claims are
// checked against.
#include <cstring>
#include <string>

#include "lib/ir/graph.h"

namespace bevel {
namespace {

class Comparison {
 public:
  explicit Comparison(std::string* why) : why_(why) {}

  bool models(const Model& a, const Model& b) {
    return field("ir_version", a.ir_version == b.ir_version) && field("opset imports", a.opsets == b.opsets) &&
           field("producer_name", a.producer_name == b.producer_name) &&
           field("producer_version", a.producer_version == b.producer_version) &&
           field("domain", a.domain == b.domain) && field("doc_string", a.doc_string == b.doc_string) &&
           field("model_version", a.model_version == b.model_version) && field("metadata", a.metadata == b.metadata) &&
           field("opaque fields", a.opaque == b.opaque) && functions(a.functions, b.functions) && graphs(a.graph, b.graph);
  }

 private:
  bool differ(std::string text) {
    if (why_) *why_ = std::move(text);
    return false;
  }
  bool field(const char* name, bool same) { return same || differ(fmt::format("the models differ in {}", name)); }

  bool functions(const std::vector<Function>& a, const std::vector<Function>& b) {
    if (a.size() != b.size()) return differ(fmt::format("the models have {} and {} functions", a.size(), b.size()));
    for (std::size_t i = 0; i < a.size(); ++i) {
      const std::string where = fmt::format("function '{}' ", printable(a[i].body.name));
      if (a[i].domain != b[i].domain || a[i].overload != b[i].overload || a[i].opsets != b[i].opsets ||
          a[i].attributes != b[i].attributes) {
        return differ(where + "differs in its domain, overload, opset imports or attributes");
      }
      if (!attributes(where, a[i].defaults, b[i].defaults) || !graphs(a[i].body, b[i].body)) return false;
    }
    return true;
  }

  bool graphs(const Graph& a, const Graph& b) {
    if (a.name != b.name) return differ(fmt::format("graph names '{}' and '{}'", printable(a.name), printable(b.name)));
    if (a.doc_string != b.doc_string) return differ(fmt::format("graph '{}': doc_string", printable(a.name)));
    if (a.opaque != b.opaque) return differ(fmt::format("graph '{}': opaque fields", printable(a.name)));
    if (!names(a, a.inputs(), b, b.inputs(), "inputs") || !names(a, a.outputs(), b, b.outputs(), "outputs") ||
        !names(a, a.captures(), b, b.captures(), "captures")) {
      return false;
    }
    for (ValueId id : a.value_ids()) {
      const ValueId other = b.find_value(a.value(id).name);
      if (!other.valid()) return differ(fmt::format("value '{}' is in the first only", printable(a.value(id).name)));
      if (!values(a.value(id), b.value(other))) return false;
    }
    for (ValueId id : b.value_ids()) {
      if (!a.find_value(b.value(id).name).valid()) {
        return differ(fmt::format("value '{}' is in the second only", printable(b.value(id).name)));
      }
    }
    const auto order_a = a.node_order(), order_b = b.node_order();
    for (std::size_t i = 0; i < order_a.size() && i < order_b.size(); ++i) {
      if (!nodes(a, a.node(order_a[i]), b, b.node(order_b[i]))) return false;
    }
    if (order_a.size() != order_b.size()) {
      return differ(fmt::format("graph '{}': {} and {} nodes", printable(a.name), order_a.size(), order_b.size()));
    }
    return true;
  }

  static std::string name_of(const Graph& graph, ValueId id) { return id.valid() ? graph.value(id).name : ""; }

  bool names(const Graph& a, const std::vector<ValueId>& x, const Graph& b, const std::vector<ValueId>& y,
             const std::string& what) {
    if (x.size() != y.size()) return differ(fmt::format("{}: {} and {} entries", what, x.size(), y.size()));
    for (std::size_t i = 0; i < x.size(); ++i) {
      if (name_of(a, x[i]) != name_of(b, y[i])) {
        return differ(fmt::format("{} {}: '{}' and '{}'", what, i, printable(name_of(a, x[i])),
                                  printable(name_of(b, y[i]))));
      }
    }
    return true;
  }

  bool values(const Value& a, const Value& b) {
    const auto at = [&](const char* what) { return differ(fmt::format("value '{}': {}", printable(a.name), what)); };
    if (!(a.type == b.type)) {
      return differ(fmt::format("value '{}': type {} and {}", printable(a.name), to_string(a.type), to_string(b.type)));
    }
    if (a.is_input != b.is_input) return at("an input in one only");
    if (a.is_capture != b.is_capture) return at("a capture in one only");
    if (a.declared != b.declared) return at("declared in one only");
    if (a.doc_string != b.doc_string) return at("doc_string");
    if (a.opaque != b.opaque) return at("opaque fields");
    if (a.constant.has_value() != b.constant.has_value()) return at("constant in one only");
    if (a.constant && !a.constant->same_bits(*b.constant)) return at("different constants");
    return true;
  }

  bool nodes(const Graph& ga, const Node& a, const Graph& gb, const Node& b) {
    if (a.name != b.name) {
      return differ(fmt::format("in execution order, node '{}' stands where the other has '{}'", printable(a.name),
                                printable(b.name)));
    }
    const std::string where = fmt::format("node '{}' ", printable(a.name));
    if (a.op_type != b.op_type || a.domain != b.domain || a.overload != b.overload) {
      return differ(where + fmt::format("is {} and {}", printable(a.op_type), printable(b.op_type)));
    }
    if (!names(ga, a.inputs, gb, b.inputs, where + "inputs") || !names(ga, a.outputs, gb, b.outputs, where + "outputs") ||
        !names(ga, a.captures, gb, b.captures, where + "captures")) {
      return false;
    }
    if (a.doc_string != b.doc_string) return differ(where + "doc_string");
    if (a.opaque != b.opaque) return differ(where + "opaque fields");
    return attributes(where, a.attributes, b.attributes);
  }

  bool attributes(const std::string& where, const std::vector<Attribute>& a, const std::vector<Attribute>& b) {
    if (a.size() != b.size()) return differ(where + fmt::format("has {} and {} attributes", a.size(), b.size()));
    for (std::size_t i = 0; i < a.size(); ++i) {
      if (a[i].name != b[i].name || a[i].doc_string != b[i].doc_string || a[i].opaque != b[i].opaque ||
          a[i].value.index() != b[i].value.index()) {
        return differ(where + fmt::format("attribute {}: '{}' and '{}'", i, printable(a[i].name), printable(b[i].name)));
      }
      const bool same = std::visit(
          [&](const auto& value) { return same_value(value, std::get<std::decay_t<decltype(value)>>(b[i].value)); },
          a[i].value);
      if (!same) {
        const std::string inner = why_ ? *why_ : "";
        return differ(where + fmt::format("attribute '{}' differs{}{}", printable(a[i].name), inner.empty() ? "" : ": ", inner));
      }
    }
    return true;
  }

  static bool same_value(float a, float b) { return std::memcmp(&a, &b, sizeof a) == 0; }
  static bool same_value(const Tensor& a, const Tensor& b) { return a.same_bits(b); }
  static bool same_value(const SparseTensor& a, const SparseTensor& b) {
    return a.dims == b.dims && a.values.same_bits(b.values) && a.indices.same_bits(b.indices);
  }
  bool same_value(const GraphPtr& a, const GraphPtr& b) { return a == b || (a && b && graphs(*a, *b)); }
  template <typename T>
  bool same_value(const std::vector<T>& a, const std::vector<T>& b) {
    if (a.size() != b.size()) return false;
    for (std::size_t i = 0; i < a.size(); ++i) {
      if (!same_value(a[i], b[i])) return false;
    }
    return true;
  }
  template <typename T>
  static bool same_value(const T& a, const T& b) {
    return a == b;
  }

  std::string* why_;
};

}  // namespace

bool same_model(const Model& a, const Model& b, std::string* why) {
  if (why) why->clear();
  return Comparison(why).models(a, b);
}

}  // namespace bevel
