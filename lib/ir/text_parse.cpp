// Parsing the text form (text.h, text_print.cpp): a recursive descent over characters. Accepts what the printer writes and
// the common liberties of ONNX's own text syntax: comments from `#` or `//` to the end of the line, unnamed nodes, absent
// inputs as `""` or as nothing between commas, attributes before or after the operands, `float` for a scalar.
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <map>
#include <utility>

#include "lib/ir/text.h"
#include "lib/support/random.h"

namespace bevel {
namespace {

constexpr int kMaxDepth = 64;                          // nested graphs and types: recursion follows them
constexpr std::int64_t kMaxRandomElements = 1 << 26;   // a few characters must not allocate without bound

// A graph under construction and the graphs around it.
struct Scope {
  Graph& graph;
  Scope* outer = nullptr;
  std::map<std::string, Type> declared;  // outputs and value_info, by name: given to values as they appear
};

class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  Result<Model> model() {
    Model model;
    BEVEL_TRY_STATUS(header(model));
    Scope scope{model.graph, nullptr, {}};
    BEVEL_TRY_STATUS(graph(scope));
    skip();
    if (at_ != text_.size()) return error("the end of the text");
    return model;
  }

 private:
  // --- characters --------------------------------------------------------------------------------------------------
  void skip() {
    while (at_ < text_.size()) {
      const char c = text_[at_];
      if (c == ' ' || c == '\t' || c == '\r' || c == '\n') {
        ++at_;
      } else if (c == '#' || text_.substr(at_, 2) == "//") {
        while (at_ < text_.size() && text_[at_] != '\n') ++at_;
      } else {
        return;
      }
    }
  }
  [[nodiscard]] bool peek(std::string_view token) {
    skip();
    return text_.substr(at_, token.size()) == token;
  }
  bool accept(std::string_view token) {
    if (!peek(token)) return false;
    at_ += token.size();
    return true;
  }
  [[nodiscard]] std::string position() const {
    std::size_t line = 1, column = 1;
    for (std::size_t i = 0; i < at_ && i < text_.size(); ++i) {
      column = text_[i] == '\n' ? 1 : column + 1;
      line += text_[i] == '\n';
    }
    return fmt::format("line {}, column {}", line, column);
  }
  Failure error(std::string_view expected) {
    skip();
    const std::string found = at_ == text_.size() ? "the end" : fmt::format("'{}'", printable(text_.substr(at_, 20)));
    return fail_input("{}: expected {}, found {}", position(), expected, found);
  }
  template <typename... Args>
  Failure wrong(fmt::format_string<Args...> format, Args&&... args) {
    return fail_input("{}: {}", position(), fmt::format(format, std::forward<Args>(args)...));
  }
  Status expect(std::string_view token) {
    if (!accept(token)) return error(fmt::format("'{}'", token));
    return {};
  }

  static bool word_start(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
  static bool word_part(char c) { return word_start(c) || (c >= '0' && c <= '9'); }

  // A plain identifier; empty when there is none.
  std::string_view word() {
    skip();
    if (at_ == text_.size() || !word_start(text_[at_])) return {};
    const std::size_t start = at_;
    while (at_ < text_.size() && word_part(text_[at_])) ++at_;
    return text_.substr(start, at_ - start);
  }

  Result<std::string> quoted() {
    BEVEL_TRY_STATUS(expect("\""));
    std::string out;
    while (at_ < text_.size() && text_[at_] != '"') {
      if (text_[at_] != '\\') {
        out += text_[at_++];
        continue;
      }
      const char escape = at_ + 1 < text_.size() ? text_[at_ + 1] : '\0';
      if (escape == 'n') {
        out += '\n';
      } else if (escape == '"' || escape == '\\') {
        out += escape;
      } else if (escape == 'x' && at_ + 3 < text_.size()) {
        const std::string digits(text_.substr(at_ + 2, 2));
        char* end = nullptr;
        const long byte = std::strtol(digits.c_str(), &end, 16);
        if (end != digits.c_str() + 2 || byte < 0) return error("two hexadecimal digits after '\\x'");
        out += static_cast<char>(byte);
        at_ += 2;
      } else {
        return error("one of the escapes \\n, \\\", \\\\, \\xNN");
      }
      at_ += 2;
    }
    if (at_ == text_.size()) return error("a closing '\"'");
    ++at_;
    return out;
  }

  Result<std::string> name(std::string_view what) {
    if (peek("\"")) return quoted();
    const std::string_view plain = word();
    if (plain.empty()) return error(what);
    return std::string(plain);
  }

  // --- numbers -----------------------------------------------------------------------------------------------------
  // The characters of a number or of inf, nan; empty when there is none.
  std::string number_token() {
    skip();
    std::size_t end = at_;
    const auto part = [&](char c) { return word_part(c) || c == '.' || c == '+' || c == '-'; };
    while (end < text_.size() && part(text_[end])) ++end;
    return std::string(text_.substr(at_, end - at_));
  }

  Result<std::int64_t> integer() {
    const std::string token = number_token();
    char* end = nullptr;
    errno = 0;
    const long long value = std::strtoll(token.c_str(), &end, 10);
    if (token.empty() || *end != '\0' || errno != 0) return error("an integer of 64 bits");
    at_ += token.size();
    return static_cast<std::int64_t>(value);
  }
  Result<std::uint64_t> unsigned_integer() {
    const std::string token = number_token();
    char* end = nullptr;
    errno = 0;
    const unsigned long long value = std::strtoull(token.c_str(), &end, 0);
    if (token.empty() || token[0] == '-' || *end != '\0' || errno != 0) return error("an unsigned integer of 64 bits");
    at_ += token.size();
    return static_cast<std::uint64_t>(value);
  }
  // `bits(0x7fc00000)`: a float given by its bits.
  Result<std::uint64_t> bit_pattern() {
    BEVEL_TRY_STATUS(expect("("));
    BEVEL_TRY(const std::uint64_t bits, unsigned_integer());
    BEVEL_TRY_STATUS(expect(")"));
    return bits;
  }
  Result<double> real() {
    const std::string token = number_token();
    char* end = nullptr;
    const double value = std::strtod(token.c_str(), &end);
    if (token.empty() || *end != '\0') return error("a number");
    at_ += token.size();
    return value;
  }
  // Rounds once from the text, not through double.
  Result<float> real32() {
    const std::string token = number_token();
    if (accept("bits")) {
      BEVEL_TRY(const std::uint64_t bits, bit_pattern());
      if (bits > 0xFFFFFFFFu) return error("32 bits");
      const auto narrow = static_cast<std::uint32_t>(bits);
      float value = 0;
      std::memcpy(&value, &narrow, sizeof value);
      return value;
    }
    char* end = nullptr;
    const float value = std::strtof(token.c_str(), &end);
    if (token.empty() || *end != '\0') return error("a number");
    at_ += token.size();
    return value;
  }

  // --- types and tensors -------------------------------------------------------------------------------------------
  Result<Type> type(int depth = 0) {
    if (depth > kMaxDepth) return error(fmt::format("types nested at most {} deep", kMaxDepth));
    if (accept("?")) return Type();
    const std::size_t start = at_;
    const std::string_view kind = word();
    if (kind == "seq" || kind == "optional") {
      BEVEL_TRY_STATUS(expect("("));
      BEVEL_TRY(Type element, type(depth + 1));
      BEVEL_TRY_STATUS(expect(")"));
      return kind == "seq" ? Type::sequence(std::move(element)) : Type::optional(std::move(element));
    }
    if (kind == "opaque") {
      Type opaque;
      opaque.kind = Type::Kind::opaque;
      BEVEL_TRY_STATUS(expect("("));
      BEVEL_TRY(opaque.opaque, quoted());
      BEVEL_TRY_STATUS(expect(")"));
      return opaque;
    }
    const auto dtype = kind == "undefined" ? std::optional(DType::undefined) : dtype_from_name(kind);
    if (!dtype) {
      at_ = start;
      return error("a type such as float[1,N]");
    }
    if (!accept("[")) return Type::tensor(*dtype, Shape(std::vector<Dim>{}));
    if (accept("...")) {
      BEVEL_TRY_STATUS(expect("]"));
      return Type::tensor(*dtype);
    }
    std::vector<Dim> dims;
    while (!accept("]")) {
      if (!dims.empty()) BEVEL_TRY_STATUS(expect(","));
      skip();
      if (accept("?")) {
        dims.emplace_back();
      } else if (peek("\"") || (at_ < text_.size() && word_start(text_[at_]))) {
        BEVEL_TRY(std::string symbol, name("a dimension"));
        dims.push_back(Dim::named(std::move(symbol)));
      } else {
        BEVEL_TRY(const std::int64_t value, integer());
        if (value < 0) return wrong("a dimension is {}; it must not be negative", value);
        dims.emplace_back(value);
      }
    }
    return Type::tensor(*dtype, Shape(std::move(dims)));
  }

  Result<Tensor> random_tensor(DType dtype, const Dims& dims, std::int64_t count) {
    if (dtype == DType::string || dtype == DType::complex64 || dtype == DType::complex128) {
      return wrong("random() makes real numbers, not {}", dtype_name(dtype));
    }
    if (count > kMaxRandomElements) return wrong("random() makes at most {} elements", kMaxRandomElements);
    BEVEL_TRY_STATUS(expect("("));
    BEVEL_TRY(const std::uint64_t seed, unsigned_integer());
    BEVEL_TRY_STATUS(expect(")"));
    Random random(seed);
    Tensor tensor = Tensor::zeros(dtype, dims);
    // Integers: [-8, 8) or [0, 16), which every dtype but the 2-bit ones holds; those take their whole range.
    const std::int64_t span = dtype == DType::boolean ? 2 : dtype_bits(dtype) < 4 ? 4 : 16;
    const std::int64_t low = is_signed_integer(dtype) ? -span / 2 : 0;
    for (std::int64_t i = 0; i < count; ++i) {
      if (is_floating(dtype)) {
        tensor.set_from_double(i, static_cast<double>(random.uniform(-1.0f, 1.0f)));
      } else {
        tensor.set_from_int64(i, low + static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(span))));
      }
    }
    return tensor;
  }

  Result<Tensor> tensor(const Type& type) {
    const auto known = type.is_tensor() ? type.shape.known_dims() : std::nullopt;
    if (!known || type.dtype == DType::undefined) {
      return wrong("a constant needs a tensor type with known dimensions, not {}", to_string(type));
    }
    const Dims dims(known->begin(), known->end());
    const auto count = element_count(dims);
    if (!count || !packed_bytes(type.dtype, *count)) return wrong("the dimensions {} overflow", to_string(type));
    if (accept("random")) return random_tensor(type.dtype, dims, *count);
    if (peek("<")) return wrong("this tensor was printed as a summary; its elements are not in the text");
    BEVEL_TRY_STATUS(expect("{"));
    const bool is_complex = type.dtype == DType::complex64 || type.dtype == DType::complex128;
    // At least two characters per element ("0,"), so the allocation is bounded by the text.
    if (static_cast<std::uint64_t>(*count) > text_.size() - at_) {
      return wrong("{} has {} elements, more than the text that follows", to_string(type), *count);
    }
    std::vector<std::string> strings;
    std::vector<std::byte> raw;
    Tensor out = type.dtype == DType::string || is_complex ? Tensor() : Tensor::zeros(type.dtype, dims);
    for (std::int64_t i = 0; i < *count; ++i) {
      if (i > 0) BEVEL_TRY_STATUS(expect(","));
      if (type.dtype == DType::string) {
        BEVEL_TRY(std::string one, quoted());
        strings.push_back(std::move(one));
      } else if (is_complex) {
        for (int part = 0; part < 2; ++part) {
          if (part > 0) BEVEL_TRY_STATUS(expect(","));
          const auto append = [&](const auto& value) {
            const auto* bytes = reinterpret_cast<const std::byte*>(&value);
            raw.insert(raw.end(), bytes, bytes + sizeof value);
          };
          if (type.dtype == DType::complex64) {
            BEVEL_TRY(const float value, real32());
            append(value);
          } else {
            BEVEL_TRY(const double value, real());
            append(value);
          }
        }
      } else {
        BEVEL_TRY_STATUS(element(out, i));
      }
    }
    BEVEL_TRY_STATUS(expect("}"));
    if (type.dtype == DType::string) return Tensor::of_strings(dims, std::move(strings));
    if (is_complex) return Tensor::from_bytes(type.dtype, dims, raw);
    return out;
  }

  Status element(Tensor& tensor, std::int64_t index) {
    const DType dtype = tensor.dtype();
    if (is_floating(dtype)) {
      if (accept("bits")) {
        BEVEL_TRY(const std::uint64_t bits, bit_pattern());
        const int width = dtype_bits(dtype);
        if (width % 8 != 0 || (width < 64 && bits >> width != 0)) return wrong("{} has {} bits", dtype_name(dtype), width);
        const auto bytes = static_cast<std::size_t>(width) / 8;
        std::memcpy(tensor.mutable_bytes().data() + static_cast<std::size_t>(index) * bytes, &bits, bytes);
        return {};
      }
      if (dtype == DType::float64) {
        BEVEL_TRY(const double value, real());
        tensor.set_from_double(index, value);
      } else {
        BEVEL_TRY(const float value, real32());
        tensor.set_from_double(index, static_cast<double>(value));
      }
      return {};
    }
    if (dtype == DType::uint64) {
      BEVEL_TRY(const std::uint64_t value, unsigned_integer());
      tensor.set_from_int64(index, static_cast<std::int64_t>(value));
      return {};
    }
    if (dtype == DType::boolean && (peek("true") || peek("false"))) {
      tensor.set_from_int64(index, word() == "true");
      return {};
    }
    BEVEL_TRY(const std::int64_t value, integer());
    tensor.set_from_int64(index, value);
    if (tensor.as_int64(index) != value) return wrong("{} does not fit {}", value, dtype_name(dtype));
    return {};
  }

  // --- header ------------------------------------------------------------------------------------------------------
  template <typename One>
  Status bracketed(One&& one) {
    BEVEL_TRY_STATUS(expect("["));
    for (bool first = true; !accept("]"); first = false) {
      if (!first) BEVEL_TRY_STATUS(expect(","));
      BEVEL_TRY_STATUS(one());
    }
    return {};
  }

  Status header(Model& model) {
    BEVEL_TRY_STATUS(expect("<"));
    for (bool first = true; !accept(">"); first = false) {
      if (!first) BEVEL_TRY_STATUS(expect(","));
      const std::string_view key = word();
      if (key.empty()) return error("a header field");
      BEVEL_TRY_STATUS(expect(":"));
      if (key == "ir_version") {
        BEVEL_TRY(model.ir_version, integer());
      } else if (key == "model_version") {
        BEVEL_TRY(model.model_version, integer());
      } else if (key == "opset_import") {
        BEVEL_TRY_STATUS(bracketed([&]() -> Status {
          BEVEL_TRY(std::string domain, quoted());
          BEVEL_TRY_STATUS(expect(":"));
          BEVEL_TRY(const std::int64_t version, integer());
          model.opsets.push_back({std::move(domain), version});
          return {};
        }));
      } else if (key == "metadata_props") {
        BEVEL_TRY_STATUS(bracketed([&]() -> Status {
          BEVEL_TRY(std::string entry, quoted());
          BEVEL_TRY_STATUS(expect(":"));
          BEVEL_TRY(std::string value, quoted());
          model.metadata.emplace_back(std::move(entry), std::move(value));
          return {};
        }));
      } else if (key == "functions") {
        BEVEL_TRY_STATUS(bracketed([&]() -> Status {
          BEVEL_TRY(std::string bytes, quoted());
          model.functions.push_back(std::move(bytes));
          return {};
        }));
      } else {
        std::string* field = key == "producer_name"      ? &model.producer_name
                             : key == "producer_version" ? &model.producer_version
                             : key == "domain"           ? &model.domain
                             : key == "doc_string"       ? &model.doc_string
                             : key == "opaque"           ? &model.opaque
                                                         : nullptr;
        if (!field) return wrong("unknown header field '{}'", key);
        BEVEL_TRY(*field, quoted());
      }
    }
    return {};
  }

  // --- graphs ------------------------------------------------------------------------------------------------------
  Status graph(Scope& scope, int depth = 0) {
    if (depth > kMaxDepth) return error(fmt::format("graphs nested at most {} deep", kMaxDepth));
    Graph& graph = scope.graph;
    if (!peek("(")) {
      BEVEL_TRY(graph.name, name("a graph's name"));
    }
    std::vector<std::string> outputs;
    BEVEL_TRY_STATUS(expect("("));
    for (bool first = true; !accept(")"); first = false) {
      if (!first) BEVEL_TRY_STATUS(expect(","));
      BEVEL_TRY(Type declared, type());
      BEVEL_TRY(const std::string input, new_value_name(graph, "an input's name"));
      const ValueId id = graph.add_input(input, declared);
      if (accept("=")) {
        BEVEL_TRY(Tensor value, tensor(declared));
        graph.set_constant(id, std::move(value));
      }
    }
    BEVEL_TRY_STATUS(expect("=>"));
    BEVEL_TRY_STATUS(expect("("));
    for (bool first = true; !accept(")"); first = false) {
      if (!first) BEVEL_TRY_STATUS(expect(","));
      BEVEL_TRY(Type declared, type());
      BEVEL_TRY(const std::string output, name("an output's name"));
      scope.declared[output] = std::move(declared);
      outputs.push_back(output);
    }
    std::vector<std::string> value_info;
    if (accept("<")) {
      for (bool first = true; !accept(">"); first = false) {
        if (!first) BEVEL_TRY_STATUS(expect(","));
        BEVEL_TRY(Type declared, type());
        BEVEL_TRY(const std::string value, new_value_name(graph, "a value's name"));
        if (accept("=")) {
          BEVEL_TRY(Tensor constant, tensor(declared));
          graph.add_constant(value, std::move(constant));
        } else {
          scope.declared[value] = std::move(declared);
          value_info.push_back(value);
        }
      }
    }
    BEVEL_TRY_STATUS(expect("{"));
    while (!accept("}")) BEVEL_TRY_STATUS(node(scope, depth));
    for (const std::string& output : outputs) {
      const ValueId id = resolve(scope, output);
      if (!id.valid()) return wrong("graph output '{}' is produced by no node", printable(output));
      if (graph.value(id).type.kind == Type::Kind::unknown) graph.set_type(id, scope.declared[output]);
      graph.add_output(id);
    }
    for (const std::string& value : value_info) {
      const ValueId id = graph.find_value(value);
      if (!id.valid()) return wrong("value '{}' is declared, but produced by no node", printable(value));
      graph.mutable_value(id).declared = true;
    }
    return {};
  }

  Result<std::string> new_value_name(const Graph& graph, std::string_view what) {
    BEVEL_TRY(std::string value, name(what));
    if (value.empty()) return error(what);
    if (graph.find_value(value).valid()) return wrong("value '{}' is defined twice", printable(value));
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
    if (peek(stop)) return names;
    do {
      if (peek(",") || peek(stop)) {
        names.emplace_back();
        continue;
      }
      BEVEL_TRY(std::string one, name("a value's name"));
      names.push_back(std::move(one));
    } while (accept(","));
    return names;
  }

  Status node(Scope& scope, int depth) {
    Node node;
    if (accept("[")) {
      BEVEL_TRY(node.name, name("a node's name"));
      BEVEL_TRY_STATUS(expect("]"));
      if (scope.graph.find_node(node.name).valid()) return wrong("node '{}' is defined twice", printable(node.name));
    }
    BEVEL_TRY(const std::vector<std::string> outputs, name_list("="));
    BEVEL_TRY_STATUS(expect("="));
    BEVEL_TRY_STATUS(op_name(node));
    BEVEL_TRY_STATUS(attributes(scope, node, depth));
    BEVEL_TRY_STATUS(expect("("));
    BEVEL_TRY(const std::vector<std::string> inputs, name_list(")"));
    BEVEL_TRY_STATUS(expect(")"));
    BEVEL_TRY_STATUS(attributes(scope, node, depth));
    for (const std::string& input : inputs) {
      const ValueId id = input.empty() ? ValueId() : resolve(scope, input);
      if (!input.empty() && !id.valid()) {
        return wrong("value '{}' is read, but nothing above produces it", printable(input));
      }
      node.inputs.push_back(id);
    }
    for (const std::string& output : outputs) {
      if (output.empty()) {
        node.outputs.emplace_back();
        continue;
      }
      if (scope.graph.find_value(output).valid()) return wrong("value '{}' is defined twice", printable(output));
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
    BEVEL_TRY(node.op_type, name("an operator's name"));
    while (accept(".")) {
      BEVEL_TRY(std::string part, name("an operator's name"));
      node.domain += (node.domain.empty() ? "" : ".") + node.op_type;
      node.op_type = std::move(part);
    }
    if (node.domain == "ai.onnx") node.domain.clear();
    if (accept(":")) {
      BEVEL_TRY(node.overload, name("an overload's name"));
    }
    return {};
  }

  Status attributes(Scope& scope, Node& node, int depth) {
    if (!accept("<")) return {};
    for (bool first = true; !accept(">"); first = false) {
      if (!first) BEVEL_TRY_STATUS(expect(","));
      BEVEL_TRY(std::string key, name("an attribute's name"));
      if (node.attribute(key)) return wrong("attribute '{}' is given twice", printable(key));
      std::string kind;
      if (accept(":")) kind = word();
      BEVEL_TRY_STATUS(expect("="));
      BEVEL_TRY(AttributeValue value, attribute_value(scope, node, kind, depth));
      node.attributes.push_back({std::move(key), std::move(value), {}});
    }
    return {};
  }

  // A float has a '.', an exponent, or is inf, nan or bits(...).
  bool looks_like_float() {
    const std::string token = number_token();
    return token.find_first_of(".einEIN") != std::string::npos;
  }
  bool looks_like_number() {
    skip();
    const char c = at_ < text_.size() ? text_[at_] : '\0';
    const std::string token = number_token();
    return (c >= '0' && c <= '9') || c == '-' || c == '+' || c == '.' || token == "inf" || token == "nan" ||
           token == "bits";
  }

  Result<AttributeValue> attribute_value(Scope& scope, Node& node, const std::string& kind, int depth) {
    if (kind == "opaque") {
      BEVEL_TRY(std::string bytes, quoted());
      return OpaqueAttribute{std::move(bytes)};
    }
    if (peek("[")) return list_value(scope, node, kind, depth);
    if (looks_like_number()) {
      if (kind == "float" || (kind != "int" && looks_like_float())) {
        BEVEL_TRY(const float value, real32());
        return AttributeValue(value);
      }
      BEVEL_TRY(const std::int64_t value, integer());
      return AttributeValue(value);
    }
    if (peek("\"")) {
      // A string; or a graph whose name is quoted.
      const std::size_t start = at_;
      BEVEL_TRY(std::string value, quoted());
      if (!peek("(")) return AttributeValue(std::move(value));
      at_ = start;
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
    skip();
    const std::size_t start = at_;
    word();
    const bool graph = peek("(");
    at_ = start;
    return graph;
  }

  Result<Tensor> typed_tensor() {
    BEVEL_TRY(const Type declared, type());
    word();  // ONNX's syntax allows a name here
    accept("=");
    return tensor(declared);
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
    BEVEL_TRY_STATUS(bracketed([&]() -> Status {
      if (looks_like_number()) {
        if (kind != "ints" && (any_float || looks_like_float())) {
          any_float = true;
          BEVEL_TRY(const float value, real32());
          floats.push_back(value);
        } else {
          const std::size_t start = at_;
          BEVEL_TRY(const std::int64_t value, integer());
          const std::size_t end = at_;
          at_ = start;
          BEVEL_TRY(const float as_float, real32());
          at_ = end;
          ints.push_back(value);
          floats.push_back(as_float);
        }
      } else if (peek("\"")) {
        BEVEL_TRY(std::string value, quoted());
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
      return wrong("a list holds values of one kind");
    }
    if (!strings.empty() || kind == "strings") return AttributeValue(std::move(strings));
    if (!tensors.empty() || kind == "tensors") return AttributeValue(std::move(tensors));
    if (!graphs.empty() || kind == "graphs") return AttributeValue(std::move(graphs));
    if (any_float) return AttributeValue(std::move(floats));
    return AttributeValue(std::move(ints));
  }

  std::string_view text_;
  std::size_t at_ = 0;
};

}  // namespace

Result<Model> parse_text(std::string_view text) { return Parser(text).model(); }

}  // namespace bevel
