// The text form: what is printed parses to the same model; errors say where.
#include <catch2/catch.hpp>

#include <cmath>
#include <cstring>

#include "lib/ir/text.h"
#include "lib/ir/verify.h"
#include "lib/support/random.h"

using namespace bevel;

namespace {

Model parsed(const std::string& text) {
  auto model = parse_text(text);
  INFO((model ? "" : model.error().message));
  REQUIRE(model.has_value());
  auto status = verify(*model);
  INFO((status ? "" : status.error().message));
  REQUIRE(status.has_value());
  return std::move(*model);
}

std::string parse_error(const std::string& text) {
  const auto model = parse_text(text);
  REQUIRE_FALSE(model.has_value());
  CHECK(model.error().code == ExitCode::input);
  return model.error().message;
}

void check_round_trip(const Model& model) {
  PrintOptions all;
  all.max_elements = INT64_MAX;
  const std::string text = print(model, all);
  INFO(text);
  const auto again = parse_text(text);
  INFO((again ? "" : again.error().message));
  REQUIRE(again.has_value());
  std::string why;
  const bool same = same_model(model, *again, &why);
  INFO(why);
  CHECK(same);
  CHECK(print(*again, all) == text);
}

const char* const kSmall = R"(<ir_version: 8, opset_import: ["" : 13, "com.microsoft" : 1]>
main (float[N,3,8,8] x) => (float[N,4] "out.1")
<float[2,2] w = {1, 2.5, -0, 1e-45},
 int64[2] shape = {-1, 4},
 float[N,?] "mid 1">
{
  ["conv/1"] "mid 1" = Reshape (x, shape)
  [act] "out.1" = com.microsoft.Gelu:fast <alpha = 0.1, axes = [1, 2], e: ints = [], kind = "a\"b"> ("mid 1", "", w)
}
)";

}  // namespace

TEST_CASE("a model prints as it was written") {
  const Model model = parsed(kSmall);
  CHECK(print(model) == kSmall);
  check_round_trip(model);
}

TEST_CASE("names of every kind survive") {
  const Model model = parsed(R"(<ir_version: 8, opset_import: ["" : 13], producer_name: "a \x00 \n b",
    metadata_props: ["k" : "v"], opaque: "\x80">
    "graph name" (float[] "input.1", undefined[...] "//y", seq(float[?,"a b"]) "1", ? u, optional(int8[2]) o) => (float[] z)
    { ["n:1"] z = "my.domain"."Odd Op" ("input.1", "//y", "1", u, o) })");
  CHECK(model.metadata.size() == 1);
  CHECK(model.producer_name == std::string("a \0 \n b", 7));
  const Node& node = model.graph.node(model.graph.find_node("n:1"));
  CHECK(node.domain == "my.domain");
  CHECK(node.op_type == "Odd Op");
  CHECK(model.graph.value(model.graph.find_value("1")).type.element->shape.dims[1].symbol == "a b");
  check_round_trip(model);
}

TEST_CASE("functions, references, types and sparse tensors print as they were written") {
  const Model model = parsed(R"(<ir_version: 10, opset_import: ["" : 18, "my.domain" : 1]>
    g (float[2] x) => (float[2] y)
    { y = "my.domain"."f 1":"o.2" <axis = 1> (x)
      o = Optional <type: type_proto = optional(seq(float[N,?]))> ()
      s = Constant <sparse_value: sparse_tensor = [2,3] float[1] {0.5} at int64[1,2] {1, 2}> () }
    <domain: "my.domain", opset_import: ["" : 18], overload: "o.2", doc_string: "what it does", opaque: "\x80">
    "f 1" <axis, alpha: float = 2.0, list: ints = []> (a, "b.1") => ("r:1", a)
    <float[2] a, float[...] "r:1">
    { "r:1" = LeakyRelu <alpha: float = @alpha, other: ints = @list> (a) })");
  REQUIRE(model.functions.size() == 1);
  const Function& function = model.functions[0];
  CHECK(function.domain == "my.domain");
  CHECK(function.overload == "o.2");
  CHECK(function.attributes == std::vector<std::string>{"axis"});
  CHECK(function.defaults.size() == 2);
  CHECK(function.body.doc_string == "what it does");
  CHECK(to_string(function.body.value(function.body.inputs()[0]).type) == "float[2]");
  const Node& node = function.body.node(function.body.node_order()[0]);
  CHECK(std::get<AttributeReference>(node.attribute("other")->value) == AttributeReference{"list", 7});
  check_round_trip(model);

  const std::string broken = R"(<ir_version: 10, opset_import: ["" : 18]> g () => () { } )";
  CHECK(parse_error(broken + R"(<domain: "d"> f (a, a) => (a) { })").find("defined twice") != std::string::npos);
  CHECK(parse_error(broken + R"(<domain: "d"> f (a) => (b) { b = Neg <x: what = @y> (a) })").find("states its kind") != std::string::npos);
  CHECK(parse_error(broken + R"(<domain: "d"> f (a) => (b) { })").find("produced by no node") != std::string::npos);
  CHECK(parse_error(broken + R"(<domain: "d", color: "red"> f (a) => (a) { })").find("color") != std::string::npos);
  CHECK(parse_error(broken + "f (a) => (a) { }").find("a function or the end") != std::string::npos);
}

TEST_CASE("every dtype's elements are exact") {
  Model model = parsed(R"(<ir_version: 8, opset_import: ["" : 21]> g () => ()
    < float[5] f = {inf, -inf, bits(0x7fc00001), 3.4028235e38, 0.1}, double[2] d = {0.1, bits(0xfff8000000000000)},
      float16[3] h = {0.1, 65504, bits(0x7e01)}, bfloat16[1] b = {1.5}, uint64[2] u = {18446744073709551615, 0},
      int64[2] i = {-9223372036854775808, 9223372036854775807}, int4[3] q = {-8, 7, 1}, uint2[5] t = {0, 1, 2, 3, 1},
      bool[2] l = {true, 0}, string[2] s = {"", "a,b\\"}, complex64[1] c = {1, -2}, float4e2m1[2] e = {-6, 0.5},
      float8e4m3fn[2] e8 = {448, -0.5}, uint8[0] none = {}, float[] scalar = {7}, float8e5m2[3] r = random(3),
      int2[6] ri = random(1), bool[4] rb = random(2) > { })");
  const auto constant = [&](const char* name) { return *model.graph.constant(model.graph.find_value(name)); };
  CHECK(std::isinf(constant("f").values<float>()[0]));
  std::uint32_t bits = 0;
  std::memcpy(&bits, &constant("f").values<float>()[2], 4);
  CHECK(bits == 0x7fc00001u);
  CHECK(constant("f").values<float>()[4] == 0.1f);
  CHECK(constant("h").values<std::uint16_t>()[2] == 0x7e01);
  CHECK(constant("q").as_int64s() == std::vector<std::int64_t>{-8, 7, 1});
  CHECK(constant("t").as_int64s() == std::vector<std::int64_t>{0, 1, 2, 3, 1});
  CHECK(constant("s").strings()[1] == "a,b\\");
  CHECK(constant("scalar").rank() == 0);
  check_round_trip(model);
}

TEST_CASE("random tensors are the same numbers everywhere") {
  const Model model = parsed(R"(<ir_version: 8, opset_import: ["" : 13]> g () => ()
    <float[3] f = random(7), int8[4] i = random(7), uint8[2] u = random(7)> {})");
  const auto floats = model.graph.constant(model.graph.find_value("f"))->as_floats();
  for (float value : floats) CHECK((value >= -1.0f && value < 1.0f));
  CHECK(floats[0] != floats[1]);
  const Model again = parsed(R"(<ir_version: 8, opset_import: ["" : 13]> g () => ()
    <uint8[2] u = random(7), float[3] f = random(7), int8[4] i = random(7)> {})");
  CHECK(again.graph.constant(again.graph.find_value("f"))->as_floats() == floats);
  // SplitMix64 with seed 7: the first output's upper 24 bits, scaled to [-1, 1).
  Random random(7);
  CHECK(floats[0] == random.uniform(-1.0f, 1.0f));
}

TEST_CASE("subgraphs capture outer values, through two levels too") {
  const Model model = parsed(R"(<ir_version: 8, opset_import: ["" : 13]>
    main (bool[] c, float[2] x, float[2] y) => (float[2] z) <float[2] k = {1, 2}>
    {
      z = If <then_branch = one () => (float[2] t) {
                 t = If <then_branch = a () => (float[2] p) { p = Add (x, k) },
                         else_branch = b () => (float[2] q) { q = Neg (y) }> (c) },
              else_branch = two () => (float[2] e) { e = Add (y, x) }> (c)
    })");
  const Node& node = model.graph.node(model.graph.find_node("z"));
  std::vector<std::string> captured;
  for (const ValueId id : node.captures) captured.push_back(model.graph.value(id).name);
  CHECK(captured == std::vector<std::string>{"x", "k", "y", "c", "y", "x"});
  check_round_trip(model);
}

TEST_CASE("initializers that are inputs, absent outputs, tensor and graph lists") {
  const Model model = parsed(R"(<ir_version: 3, opset_import: ["" : 9]>
    g (float[1] x, float[1] w = {2}) => (float[1] y, float[1] x)
    { y, "", z = Three <t = int64[2] {1, 2}, ts = [float[1] {1}, float[2] {2, 3}], f = [1, 2.5], o: opaque = "\x0a",
                        fs: floats = [], nan_value = bits(0x7fc00000), gs = [s () => () {}, s2 () => () {}]> (x, , w) })");
  const Node& node = model.graph.node(model.graph.find_node("y"));
  CHECK_FALSE(node.outputs[1].valid());
  CHECK_FALSE(node.inputs[1].valid());
  CHECK(std::get<std::vector<float>>(node.attribute("f")->value) == std::vector<float>{1, 2.5f});
  const Value& w = model.graph.value(model.graph.find_value("w"));
  CHECK((w.is_input && w.constant && !w.is_constant()));
  check_round_trip(model);
}

TEST_CASE("large tensors print as a summary that refuses to parse") {
  const Model model = parsed(R"(<ir_version: 8, opset_import: ["" : 13]> g () => () <float[100] w = random(1)> {})");
  const std::string text = print(model);
  CHECK(text.find("float[100] w = <sha256 ") != std::string::npos);
  CHECK(text.find(", range [-0.") != std::string::npos);
  CHECK(parse_error(text).find("printed as a summary") != std::string::npos);
}

TEST_CASE("errors say where, what was found and what was expected") {
  const std::string head = "<ir_version: 8, opset_import: [\"\" : 13]>\n";
  CHECK(parse_error("") == "line 1, column 1: expected '<', found the end");
  CHECK(parse_error(head + "g (float[2] x) => (float[2] y)\n{ y = Relu (q) }") ==
        "line 3, column 16: value 'q' is read, but nothing above produces it");
  CHECK(parse_error(head + "g (float[2] x) => (float[2] y) { x = Relu (x) }").find("'x' is defined twice") !=
        std::string::npos);
  CHECK(parse_error(head + "g () => (float[2] y) { }").find("output 'y' is produced by no node") != std::string::npos);
  CHECK(parse_error(head + "g () => () <int8[1] y = {128}> { }").find("128 does not fit int8") != std::string::npos);
  CHECK(parse_error(head + "g () => () <int8[N] y = {1}> { }").find("known dimensions") != std::string::npos);
  CHECK(parse_error(head + "g () => () <int8[99999999999] y = {1}> { }").find("more than the text") !=
        std::string::npos);
  CHECK(parse_error(head + "g () => () <int8[9999999999,9999999999] y = {1}> { }").find("overflow") !=
        std::string::npos);
  CHECK(parse_error(head + "g () => () <float[99999999999] y = random(1)> { }").find("at most") != std::string::npos);
  CHECK(parse_error(head + "g () => () { [a] x = A () [a] y = A () }").find("node 'a' is defined twice") !=
        std::string::npos);
  CHECK(parse_error("<ir_version: 8, colour: 3> g () => () {}").find("unknown header field 'colour'") !=
        std::string::npos);
  CHECK(parse_error(head + "g () => () { x = A <a = 1, a = 2> () }").find("given twice") != std::string::npos);
  CHECK(parse_error(head + "g () => () { x = A <a = [1, \"s\"]> () }").find("one kind") != std::string::npos);
  CHECK(parse_error(head + "g (float[2] x) => () { } trailing").find("the end of the text") != std::string::npos);
  std::string deep;
  for (int i = 0; i < 100000; ++i) deep += "seq(";
  CHECK(parse_error(head + "g (" + deep).find("nested at most") != std::string::npos);
  std::string graphs = head + "g () => () {";
  for (int i = 0; i < 100000; ++i) graphs += " A <g = s () => () {";
  CHECK(parse_error(graphs).find("expected") != std::string::npos);
}

TEST_CASE("every prefix of a text is an error, never a crash") {
  const std::string text = kSmall;
  for (std::size_t length = 0; length + 1 < text.size(); ++length) {
    const auto model = parse_text(std::string_view(text).substr(0, length));
    CHECK_FALSE(model.has_value());
  }
}
