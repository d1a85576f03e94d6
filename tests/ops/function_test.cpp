// Functions of the model: put where they are called, kept as they are where they only pass through.
#include "tests/common/node_case.h"

#include "lib/eval/evaluator.h"
#include "lib/ir/verify.h"
#include "lib/ops/inline_functions.h"

using namespace bevel;
using testing::parsed;

namespace {

Model inlined(const std::string& text) {
  Model model = parsed(text);
  const auto status = ops::inline_functions(model);
  INFO((status ? std::string() : status.error().message));
  REQUIRE(status.has_value());
  REQUIRE(verify(model).has_value());
  return model;
}

std::string error(const std::string& text) {
  Model model = parsed(text);
  const auto status = ops::inline_functions(model);
  REQUIRE_FALSE(status.has_value());
  CHECK(status.error().code == ExitCode::input);
  return status.error().message;
}

std::vector<float> result(const std::string& text, const std::vector<float>& x) {
  const auto evaluator = eval::Evaluator::create(parsed(text));
  INFO((evaluator ? std::string() : evaluator.error().message));
  REQUIRE(evaluator.has_value());
  const auto outputs = (*evaluator)->run(std::vector<Datum>{Tensor::of<float>({static_cast<std::int64_t>(x.size())}, x)});
  INFO((outputs ? std::string() : outputs.error().message));
  REQUIRE(outputs.has_value());
  return (*outputs)[0].tensor()->as_floats();
}

const char* const kHeader = R"(<ir_version: 10, opset_import: ["" : 18, "f" : 1]>
)";

std::string model(const std::string& nodes, const std::string& functions) {
  return kHeader + ("g (float[n] x) => (float[...] y) { " + nodes + " }\n") + functions;
}

const char* const kScale = R"(<domain: "f", opset_import: ["" : 18]>
Scale <by, shift: float = 1.0> (x, extra) => (scaled, both)
{ k = Constant <value_float: float = @by> ()  s = Constant <value_float: float = @shift> ()
  p = Mul (x, k)  scaled = Add (p, s)  both = Clip (scaled, extra) }
)";

}  // namespace

TEST_CASE("a call becomes the body; references take the call's attribute, else the default") {
  CHECK(result(model("y = f.Scale <by = 3.0> (x)", kScale), {1, 2}) == std::vector<float>{4, 7});
  CHECK(result(model("y = f.Scale <by = 3.0, shift = -1.0> (x)", kScale), {1, 2}) == std::vector<float>{2, 5});
  CHECK(result(model("low = Constant <value_float = 4.0> ()  \"\", y = f.Scale <by = 2.0> (x, low)", kScale), {1, 2}) ==
        std::vector<float>{4, 5});
}

TEST_CASE("names tell the call, results keep theirs, and nothing of the function is left") {
  const Model done = inlined(model("[\"first\"] t = f.Scale <by = 3.0> (x)  [\"second\"] y = f.Scale <by = 1.0> (t)", kScale));
  CHECK(done.functions.empty());
  CHECK(done.opset("f") == 0);
  CHECK(done.graph.find_node("first/p").valid());
  CHECK(done.graph.find_value("second/k").valid());
  CHECK(done.graph.value(done.graph.find_value("t")).producer.valid());
  CHECK(done.graph.value(done.graph.outputs()[0]).name == "y");
}

TEST_CASE("an attribute that nothing gives goes with its reference") {
  const std::string text = model("y = f.S (x)", R"(<domain: "f", opset_import: ["" : 18]>
S <alpha> (x) => (y) { y = LeakyRelu <alpha: float = @alpha> (x) })");
  CHECK(result(text, {-100, 1}) == std::vector<float>{-1, 1});  // LeakyRelu's own default, 0.01
}

TEST_CASE("functions call functions, in subgraphs too, and pick their overload") {
  const std::string text = model("y = f.Outer <a = 2.0> (x)", R"(<domain: "f", opset_import: ["" : 18, "f" : 1]>
Outer <a> (x) => (y)
{ go = Constant <value = bool[] {1}> ()
  y = If <then_branch = t () => (? r) { q = f.Inner:two <b: float = @a> (x)  r = Neg (q) }, else_branch = e () => (? r) { r = Identity (x) }> (go) }
<domain: "f", opset_import: ["" : 18]>
Inner <b> (v) => (w) { w = Identity (v) }
<domain: "f", opset_import: ["" : 18], overload: "two">
Inner <b> (x) => (w) { k = Constant <value_float: float = @b> ()  w = Mul (x, k) })");
  CHECK(result(text, {1, 2}) == std::vector<float>{-2, -4});
}

TEST_CASE("outputs that are inputs, and one value twice, become Identity") {
  const std::string text = model("a, b, c = f.Same (x)  y = Sum (a, b, c)", R"(<domain: "f", opset_import: ["" : 18]>
Same (v) => (v2, w, v) { v2 = Neg (v)  w = Neg (v2) })");
  CHECK(result(text, {1, 2}) == std::vector<float>{1, 2});
}

TEST_CASE("recursion, direct and through others, is refused; so is what does not fit") {
  CHECK(error(model("y = f.A (x)", R"(<domain: "f", opset_import: ["f" : 1]> A (x) => (y) { y = f.A (x) })")).find("calls itself") !=
        std::string::npos);
  CHECK(error(model("y = f.A (x)", R"(<domain: "f", opset_import: ["f" : 1]> A (x) => (y) { y = f.B (x) }
<domain: "f", opset_import: ["f" : 1]> B (x) => (y) { y = f.A (x) })")).find("calls itself") != std::string::npos);
  CHECK(error(model("y = f.A (x, x)", R"(<domain: "f", opset_import: ["" : 18]> A (x) => (y) { y = Neg (x) })")).find("2 inputs") !=
        std::string::npos);
  CHECK(error(model("y = f.A (x)", R"(<domain: "f", opset_import: ["" : 12]> A (x) => (y) { y = Squeeze (x) })")).find("opset") !=
        std::string::npos);
}

TEST_CASE("an expansion of exponential size is refused while it is small") {
  std::string functions;
  for (int i = 0; i < 40; ++i) {
    functions += fmt::format(R"(<domain: "f", opset_import: ["" : 18, "f" : 1]> F{} (x) => (y) {{ a = f.F{} (x)  y = f.F{} (a) }}
)", i, i + 1, i + 1);
  }
  functions += R"(<domain: "f", opset_import: ["" : 18]> F40 (x) => (y) { y = Neg (x) })";
  CHECK(error(model("y = f.F0 (x)", functions)).find("expand to more than") != std::string::npos);
}

TEST_CASE("functions that nothing calls stay, and print as they were read") {
  const std::string text = model("y = Neg (x)", kScale);
  const Model untouched = inlined(text);
  REQUIRE(untouched.functions.size() == 1);
  CHECK(untouched.functions[0].attributes == std::vector<std::string>{"by"});
  CHECK(untouched.functions[0].defaults.size() == 1);
  std::string why;
  const bool same = same_model(parsed(print(untouched)), untouched, &why);
  INFO(why);
  CHECK(same);
}

TEST_CASE("copies of large attributes and long names are refused while they are small") {
  const std::string large(4 << 20, 'z');
  std::string calls;
  for (int i = 0; i < 70; ++i) calls += fmt::format("t{} = f.A (x)  ", i);
  CHECK(error(model(calls + "y = Neg (x)", R"(<domain: "f", opset_import: ["" : 18]> A (x) => (y) { y = Neg <note = ")" + large + R"("> (x) })"))
            .find("bytes of names and attributes") != std::string::npos);
  std::string body, last = "x";
  for (int i = 0; i < 70; ++i) {
    body += fmt::format("v{} = Neg ({})  ", i, last);
    last = fmt::format("v{}", i);
  }
  CHECK(error(model("[\"" + large + "\"] y = f.A (x)", R"(<domain: "f", opset_import: ["" : 18]> A (x) => (y) { )" + body + "y = Neg (" + last + ") }"))
            .find("bytes of names and attributes") != std::string::npos);
}

TEST_CASE("an operator that changed between the imports is found in a function's subgraphs") {
  CHECK(error(model("y = f.A (x)", R"(<domain: "f", opset_import: ["" : 12]> A (x) => (y)
{ go = Constant <value = bool[] {1}> ()
  y = If <then_branch = t () => (? r) { r = Squeeze (x) }, else_branch = e () => (? r) { r = Identity (x) }> (go) })"))
            .find("'Squeeze' changed") != std::string::npos);
}
