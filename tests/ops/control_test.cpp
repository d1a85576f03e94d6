// Loops, branches, scans, sequences and optionals, in whole models: what the node tests do not reach. Expected values follow from the
// operators' definitions (ONNX opset 16 to 18).
#include "tests/common/node_case.h"

#include "lib/eval/evaluator.h"
#include "lib/ops/op.h"

using namespace bevel;
using testing::parsed;

namespace {

Result<std::vector<Datum>> run(const std::string& text, const std::vector<Datum>& inputs, const eval::EvalOptions& options = {}) {
  BEVEL_TRY(const auto evaluator, eval::Evaluator::create(parsed(text), options));
  return evaluator->run(inputs);
}

std::vector<Datum> outputs(const std::string& text, const std::vector<Datum>& inputs) {
  auto result = run(text, inputs);
  INFO((result ? std::string() : result.error().message));
  REQUIRE(result.has_value());
  return std::move(*result);
}

std::string error(const std::string& text, const std::vector<Datum>& inputs, const eval::EvalOptions& options = {}) {
  const auto result = run(text, inputs, options);
  REQUIRE_FALSE(result.has_value());
  CHECK(result.error().code == ExitCode::input);
  return result.error().message;
}

Type type_of(const std::string& text, const char* value) {
  Model model = parsed(text);
  const auto status = ops::infer_types(model);
  INFO((status ? std::string() : status.error().message));
  REQUIRE(status.has_value());
  return model.graph.value(model.graph.find_value(value)).type;
}

Tensor ints(std::vector<std::int64_t> values) {
  const auto count = static_cast<std::int64_t>(values.size());
  return Tensor::of<std::int64_t>({count}, values);
}
Tensor floats(Dims dims, std::vector<float> values) { return Tensor::of<float>(std::move(dims), values); }
Tensor integer(std::int64_t value) { return Tensor::scalar(value); }

// Adds the captured step to its state, and gives every state: three outer values deep.
const char* const kCounting = R"(<ir_version: 10, opset_import: ["" : 18]>
g (int64 m, int64 start, int64 step) => (int64 last, int64[n] all)
{
  last, all = Loop <body = b (int64 i, bool c, int64 s) => (bool c2, int64 s2, int64 out)
  {
    c2 = Identity (c)
    s2 = Add (s, step)
    out = Mul (s2, i)
  }> (m, "", start)
})";

}  // namespace

TEST_CASE("Loop carries state, stacks what each trip gives, and reads values around it") {
  const auto result = outputs(kCounting, {integer(4), integer(10), integer(3)});
  CHECK(result[0].tensor()->as_int64(0) == 22);
  CHECK(result[1].tensor()->as_int64s() == std::vector<std::int64_t>{0, 16, 38, 66});
  CHECK(result[1].tensor()->dims() == Dims{4});
}

TEST_CASE("Loop without a trip gives its state back and stacks nothing") {
  for (const std::int64_t trips : {std::int64_t{0}, std::int64_t{-3}}) {
    const auto result = outputs(kCounting, {integer(trips), integer(10), integer(3)});
    CHECK(result[0].tensor()->as_int64(0) == 10);
    CHECK(result[1].tensor()->dims() == Dims{0});
    CHECK(result[1].tensor()->dtype() == DType::int64);
  }
}

TEST_CASE("Loop ends with its condition, and a loop that does not end meets the limit") {
  const std::string halving = R"(<ir_version: 10, opset_import: ["" : 18]>
g (float[] x) => (float[] y, int64[n] seen) < float[] one = {1}, float[] two = {2}, bool[] go = {true} >
{
  y, seen = Loop <body = b (int64 i, bool c, float[] s) => (bool c2, float[] s2, int64 i2)
  { s2 = Div (s, two)  c2 = Greater (s2, one)  i2 = Identity (i) }> ("", go, x)
})";
  const auto result = outputs(halving, {Tensor::scalar(20.0f)});
  CHECK(result[0].tensor()->as_floats() == std::vector<float>{0.625f});
  CHECK(result[1].tensor()->size() == 5);

  eval::EvalOptions options;
  options.max_subgraph_runs = 1000;
  const std::string message = error(R"(<ir_version: 10, opset_import: ["" : 18]>
g (float[] x) => (float[] y) { ["spin"] y = Loop <body = b (int64 i, bool c, float[] s) => (bool c, float[] s2) { s2 = Neg (s) }> ("", "", x) })",
                                    {Tensor::scalar(1.0f)}, options);
  CHECK(message.find("spin") != std::string::npos);
  CHECK(message.find("1000") != std::string::npos);
}

TEST_CASE("what Loop stacks counts against the memory cap before it is there") {
  eval::EvalOptions options;
  options.max_memory_bytes = 1 << 20;
  const std::string message = error(R"(<ir_version: 10, opset_import: ["" : 18]>
g (float[1024] x) => (float[n,1024] y) < int64[] m = {100000} >
{ ["grow"] y = Loop <body = b (int64 i, bool c) => (bool c, float[1024] out) { out = Neg (x) }> (m, "") })",
                                    {floats({1024}, std::vector<float>(1024))}, options);
  CHECK(message.find("grow") != std::string::npos);
  CHECK(message.find("memory cap") != std::string::npos);
}

TEST_CASE("trips that do not fit together are refused") {
  // What nobody takes need not fit.
  CHECK(outputs(R"(<ir_version: 10, opset_import: ["" : 18]>
g (int64 m, int64[1] x) => (int64[...] y)
{ y = Loop <body = b (int64 i, bool c, int64[...] s) => (bool c, int64[...] s2, int64[...] out)
  { s2 = Concat <axis = 0> (s, s)  out = Identity (s2) }> (m, "", x) })", {integer(3), ints({1})})[0].tensor()->dims() == Dims{8});
  CHECK(error(R"(<ir_version: 10, opset_import: ["" : 18]>
g (int64 m, int64[1] x) => (int64[...] last, int64[...] y)
{ last, y = Loop <body = b (int64 i, bool c, int64[...] s) => (bool c, int64[...] s2, int64[...] out)
  { s2 = Concat <axis = 0> (s, s)  out = Identity (s2) }> (m, "", x) })", {integer(3), ints({1})}).find("earlier trip") != std::string::npos);
}

TEST_CASE("inference knows what a loop's state may become") {
  // The first axis grows from trip to trip, the second does not.
  const std::string growing = R"(<ir_version: 10, opset_import: ["" : 18]>
g (int64 m, float[1,7] x) => (float[...] last, float[...] stacked)
{ last, stacked = Loop <body = b (int64 i, bool c, float[...] s) => (bool c, float[...] s2, float[...] out)
  { s2 = Concat <axis = 0> (s, x)  out = Neg (x) }> (m, "", x) })";
  CHECK(to_string(type_of(growing, "last")) == "float[?,7]");
  CHECK(to_string(type_of(growing, "stacked")) == "float[?,1,7]");
}

TEST_CASE("loops in loops whose states all grow do not multiply the work of inference") {
  // Each would be inferred three times for each time that the one around it is: 3^20.
  std::string text = "u20 = Neg (t20)";
  for (int depth = 20; depth > 0; --depth) {
    text = fmt::format("u{} = Loop <body = b{} (int64 i{}, bool c{}, float[...] t{}) => (bool c{}, float[...] r{}) {{ {}  r{} = Concat <axis = 0> (u{}, u{}) }}> (m, \"\", t{})",
                       depth - 1, depth, depth, depth, depth, depth, depth, text, depth, depth, depth, depth - 1);
  }
  const std::string model = fmt::format(R"(<ir_version: 10, opset_import: ["" : 18]>
g (int64 m, float[1] t0) => (float[...] u0) {{ {} }})", text);
  CHECK(type_of(model, "u0").dtype == DType::float32);
}

TEST_CASE("Scan: axes, directions, captures, and a sequence without entries") {
  // Running sums over axis 1, the input walked backwards; sums stacked at axis 1 in front-to-back and back-to-front order.
  const std::string text = R"(<ir_version: 10, opset_import: ["" : 18]>
g (float[2] s0, float[2,n] x, float[2] bias) => (float[2] s, float[2,n] forward, float[n,2] backward)
{ s, forward, backward = Scan <num_scan_inputs = 1, scan_input_axes = [1], scan_input_directions = [1], scan_output_axes = [-1, 0],
    scan_output_directions = [0, 1], body = b (float[2] a, float[2] e) => (float[2] a2, float[2] o1, float[2] o2)
    { sum = Add (a, e)  a2 = Add (sum, bias)  o1 = Identity (a2)  o2 = Identity (a2) }> (s0, x) })";
  const auto result = outputs(text, {floats({2}, {0, 10}), floats({2, 3}, {1, 2, 3, 4, 5, 6}), floats({2}, {0, 100})});
  CHECK(result[0].tensor()->as_floats() == std::vector<float>{6, 325});
  CHECK(result[1].tensor()->as_floats() == std::vector<float>{3, 5, 6, 116, 221, 325});
  CHECK(result[2].tensor()->as_floats() == std::vector<float>{6, 325, 5, 221, 3, 116});
  const auto none = outputs(text, {floats({2}, {0, 10}), floats({2, 0}, {}), floats({2}, {0, 100})});
  CHECK(none[0].tensor()->as_floats() == std::vector<float>{0, 10});
  CHECK(none[1].tensor()->dims() == Dims{2, 0});
  CHECK(none[2].tensor()->dims() == Dims{0, 2});
  CHECK(to_string(type_of(text, "forward")) == "float[2,n]");
}

TEST_CASE("Scan refuses axes out of range and lengths that differ") {
  const auto text = [](const char* axes) {
    return fmt::format(R"(<ir_version: 10, opset_import: ["" : 18]>
g (float[...] x, float[...] y) => (float[...] z)
{{ z = Scan <num_scan_inputs = 2, scan_input_axes = {}, body = b (float[...] a, float[...] b) => (float[...] c)
   {{ c = Add (a, b) }}> (x, y) }})", axes);
  };
  const std::vector<Datum> inputs{floats({2, 3}, std::vector<float>(6)), floats({3, 2}, std::vector<float>(6))};
  CHECK(outputs(text("[0, 1]"), {floats({2, 3}, std::vector<float>(6)), floats({3, 2}, std::vector<float>(6))})[0].tensor()->dims() == Dims{2, 3});
  CHECK(error(text("[0, 0]"), inputs).find("scanned axis") != std::string::npos);
  CHECK(error(text("[0, 5]"), inputs).find("5") != std::string::npos);
  CHECK(error(text("[0]"), inputs).find("entries") != std::string::npos);
}

TEST_CASE("Scan of opset 8 runs over a batch, and its captures reach both loops") {
  const auto result = outputs(R"(<ir_version: 3, opset_import: ["" : 8]>
g (float[2,1] s0, float[2,3,1] x, float[1] scale) => (float[2,1] s, float[2,3,1] all)
{ s, all = Scan <num_scan_inputs = 1, body = b (float[1] a, float[1] e) => (float[1] a2, float[1] o)
  { p = Mul (e, scale)  a2 = Add (a, p)  o = Identity (a2) }> ("", s0, x) })",
                              {floats({2, 1}, {0, 100}), floats({2, 3, 1}, {1, 2, 3, 4, 5, 6}), floats({1}, {2})});
  CHECK(result[0].tensor()->as_floats() == std::vector<float>{12, 130});
  CHECK(result[1].tensor()->as_floats() == std::vector<float>{2, 6, 12, 108, 118, 130});
  CHECK(result[1].tensor()->dims() == Dims{2, 3, 1});
}

TEST_CASE("If runs one branch; sequences and optionals pass through it") {
  const std::string text = R"(<ir_version: 10, opset_import: ["" : 18]>
g (bool c, float[2] x) => (bool has, int64[] count)
{
  o = If <then_branch = t () => (optional(seq(float[2])) a) { s = SequenceConstruct (x, x)  a = Optional (s) },
          else_branch = e () => (optional(seq(float[2])) a) { a = Optional <type: type_proto = seq(float[2])> () }> (c)
  has = OptionalHasElement (o)
  count = If <then_branch = t2 () => (int64[] n) { s = OptionalGetElement (o)  n = SequenceLength (s) },
              else_branch = e2 () => (int64[] n) { n = Constant <value = int64[] {-1}> () }> (has)
})";
  for (const bool taken : {true, false}) {
    Tensor condition = Tensor::zeros(DType::boolean, {});
    condition.set_from_int64(0, taken);
    const auto result = outputs(text, {condition, floats({2}, {1, 2})});
    CHECK(result[0].tensor()->as_int64(0) == taken);
    CHECK(result[1].tensor()->as_int64(0) == (taken ? 2 : -1));
  }
  CHECK(to_string(type_of(text, "o")) == "optional(seq(float[2]))");
  CHECK(error(R"(<ir_version: 10, opset_import: ["" : 18]>
g () => (float[...] y) { o = Optional <type: type_proto = float[2]> ()  ["get"] y = OptionalGetElement (o) })", {}).find("empty optional") !=
        std::string::npos);
}

TEST_CASE("sequences: positions from either end, and what is out of range") {
  const auto text = [](const char* nodes) {
    return fmt::format(R"(<ir_version: 10, opset_import: ["" : 18]>
g (float[1] a, float[1] b, float[1] c, int64[] at) => (float[...] y)
{{ s = SequenceConstruct (a, b)  {}  y = ConcatFromSequence <axis = 0> (t) }})", nodes);
  };
  const auto with = [](std::int64_t at) {
    return std::vector<Datum>{floats({1}, {1}), floats({1}, {2}), floats({1}, {3}), integer(at)};
  };
  const std::string insert = text("t = SequenceInsert (s, c, at)");
  CHECK(outputs(insert, with(0))[0].tensor()->as_floats() == std::vector<float>{3, 1, 2});
  CHECK(outputs(insert, with(2))[0].tensor()->as_floats() == std::vector<float>{1, 2, 3});
  CHECK(outputs(insert, with(-1))[0].tensor()->as_floats() == std::vector<float>{1, 3, 2});
  CHECK(error(insert, with(3)).find("position") != std::string::npos);
  CHECK(error(insert, with(-3)).find("position") != std::string::npos);
  CHECK(error(insert, with(INT64_MIN)).find("position") != std::string::npos);
  const std::string erase = text("t = SequenceErase (s, at)");
  CHECK(outputs(erase, with(-2))[0].tensor()->as_floats() == std::vector<float>{2});
  CHECK(error(erase, with(2)).find("position") != std::string::npos);
  const std::string take = text("e = SequenceAt (s, at)  t = SequenceConstruct (e)");
  CHECK(outputs(take, with(1))[0].tensor()->as_floats() == std::vector<float>{2});
  CHECK(error(take, with(2)).find("position") != std::string::npos);
  CHECK(error(text("n = SequenceEmpty ()  t = SequenceErase (n)"), with(0)).find("empty") != std::string::npos);
  CHECK(error(text("t = SequenceEmpty ()"), with(0)).find("nothing to concatenate") != std::string::npos);
}

TEST_CASE("SplitToSequence and ConcatFromSequence undo each other") {
  const auto text = [](const char* attributes, const char* split, const char* back) {
    return fmt::format(R"(<ir_version: 10, opset_import: ["" : 18]>
g (float[2,5] x) => (int64[] n, float[...] y) < int64[] two = {{2}}, int64[3] parts = {{1, 0, 4}}, int64[2] bad = {{1, 5}}, int64[] zero = {{0}} >
{{ s = SplitToSequence <axis = 1{}> (x{})  n = SequenceLength (s)  y = ConcatFromSequence <{}> (s) }})", attributes, split, back);
  };
  const Tensor x = floats({2, 5}, {0, 1, 2, 3, 4, 5, 6, 7, 8, 9});
  const auto check = [&](const std::string& model, std::int64_t count) {
    const auto result = outputs(model, {x});
    CHECK(result[0].tensor()->as_int64(0) == count);
    CHECK(result[1].tensor()->same_bits(x));
  };
  check(text("", "", "axis = 1"), 5);
  check(text("", ", two", "axis = -1"), 3);
  check(text("", ", parts", "axis = 1"), 3);
  check(text(", keepdims = 0", "", "axis = -1, new_axis = 1"), 5);
  CHECK(error(text("", ", bad", "axis = 1"), {x}).find("do not sum") != std::string::npos);
  CHECK(error(text("", ", zero", "axis = 1"), {x}).find("expected 1 or more") != std::string::npos);
  CHECK(error(text("", ", two", "axis = 0"), {x}).find("do not fit together") != std::string::npos);
  CHECK(to_string(type_of(text(", keepdims = 0", "", "axis = 1, new_axis = 1"), "s")) == "seq(float[2])");
  CHECK(to_string(type_of(text("", "", "axis = 1"), "y")) == "float[2,?]");
}

TEST_CASE("SequenceMap gives its body an element of each sequence and tensors whole") {
  const std::string text = R"(<ir_version: 10, opset_import: ["" : 18]>
g (float[1] a, float[1] b, float[1] k) => (float[...] y)
{ s = SequenceConstruct (a, b)  r = SequenceConstruct (b, a)  u = SequenceConstruct (a)
  m = SequenceMap <body = body (float[1] p, float[1] q, float[1] w) => (float[1] o) { t = Sub (p, q)  v = Mul (t, w)  o = Add (v, k) }> (s, r, k)
  y = ConcatFromSequence <axis = 0> (m) })";
  CHECK(outputs(text, {floats({1}, {5}), floats({1}, {2}), floats({1}, {10})})[0].tensor()->as_floats() == std::vector<float>{40, -20});
  std::string uneven = text;
  uneven.replace(uneven.find("(s, r, k)"), 9, "(s, u, k)");
  CHECK(error(uneven, {floats({1}, {5}), floats({1}, {2}), floats({1}, {10})}).find("has 1 elements") != std::string::npos);
}

TEST_CASE("an input with a default takes what is given in its place") {
  const Model model = parsed(R"(<ir_version: 10, opset_import: ["" : 18]>
g (float[2] x, float[2] w = {1, 2}) => (float[2] y) { y = Mul (x, w) })");
  const auto evaluator = eval::Evaluator::create(model);
  REQUIRE(evaluator.has_value());
  const Datum x = floats({2}, {3, 4});
  const auto value = [&](const std::vector<Datum>& inputs) {
    const auto result = (*evaluator)->run(inputs);
    REQUIRE(result.has_value());
    return (*result)[0].tensor()->as_floats();
  };
  CHECK(value({x}) == std::vector<float>{3, 8});
  CHECK(value({x, floats({2}, {10, 100})}) == std::vector<float>{30, 400});
  CHECK(value({x, Datum()}) == std::vector<float>{3, 8});
  CHECK_FALSE((*evaluator)->run(std::vector<Datum>{x, floats({3}, {1, 2, 3})}).has_value());
}

TEST_CASE("a sparse constant is dense where it is computed with, and checked") {
  const auto text = [](const char* sparse) {
    return fmt::format(R"(<ir_version: 10, opset_import: ["" : 18]>
g () => (float[...] y) {{ s = Constant <sparse_value: sparse_tensor = {}> ()  y = Neg (s) }})", sparse);
  };
  const std::vector<float> expected{0, -1, 0, 0, 0, -2};
  CHECK(outputs(text("[2,3] float[2] {1, 2} at int64[2] {1, 5}"), {})[0].tensor()->as_floats() == expected);
  const auto result = outputs(text("[2,3] float[2] {1, 2} at int64[2,2] {0, 1, 1, 2}"), {});
  CHECK(result[0].tensor()->as_floats() == expected);
  CHECK(result[0].tensor()->dims() == Dims{2, 3});
  CHECK(outputs(text("[0] float[0] {} at int64[0] {}"), {})[0].tensor()->size() == 0);
  for (const char* bad : {"[2,3] float[2] {1, 2} at int64[2] {1, 6}", "[2,3] float[2] {1, 2} at int64[2] {5, 1}",
                          "[2,3] float[2] {1, 2} at int64[1] {1}", "[2,3] float[2] {1, 2} at int64[2,2] {0, 1, 1, 3}",
                          "[2,3] float[2] {1, 2} at int32[2] {1, 5}", "[-2,3] float[1] {1} at int64[1] {-1}"}) {
    INFO(bad);
    CHECK(error(text(bad), {}).find("sparse tensor") != std::string::npos);
  }
  // Dimensions of the file's choice take no memory before the cap has seen them.
  CHECK_FALSE(run(text("[1099511627776,1048576] float[1] {1} at int64[1] {7}"), {}).has_value());
}

TEST_CASE("sequences hold tensors: types do not grow with the length of a chain of nodes") {
  std::string nodes = "s0 = SequenceConstruct (x)  ";
  for (int i = 1; i < 3; ++i) nodes += fmt::format("s{} = SequenceConstruct (s{})  ", i, i - 1);
  const auto refusal = [](const std::string& body) {
    Model model = parsed("<ir_version: 10, opset_import: [\"\" : 18]> g (float[2] x) => (seq(float[2]) s0) { " + body + " }");
    const auto status = ops::infer_types(model);
    REQUIRE_FALSE(status.has_value());
    return status.error().message;
  };
  CHECK(refusal(nodes).find("a sequence holds tensors") != std::string::npos);
  CHECK(refusal("s0 = SequenceConstruct (x)  s1 = SequenceInsert (s0, s0)").find("a sequence holds tensors") != std::string::npos);
  CHECK(refusal("s0 = SequenceConstruct (x)  s1 = SequenceMap <body = b (float[2] e) => (seq(float[2]) r) { r = Identity (s0) }> (s0)")
            .find("a sequence holds tensors") != std::string::npos);
}

TEST_CASE("sparse constants are made dense only while they are small together") {
  std::string nodes;
  for (int i = 0; i < 4; ++i)
    nodes += fmt::format("c{} = Constant <sparse_value: sparse_tensor = [50000000] float[0] {{}} at int64[0] {{}}> ()  y{} = Shape (c{})  ", i, i, i);
  Model model = parsed("<ir_version: 10, opset_import: [\"\" : 18]> g () => (int64[1] y0) { " + nodes + " }");
  std::vector<ops::ComputedValue> computed;
  REQUIRE(ops::infer_types(model, computed).has_value());
  std::uint64_t bytes = 0;
  for (const auto& one : computed) bytes += one.tensor.heap_bytes();
  CHECK(bytes < std::uint64_t{100'000'000});  // each is 200 MB
  for (int i = 0; i < 4; ++i)
    CHECK(model.graph.value(model.graph.find_value(fmt::format("c{}", i))).type.shape.known_dims() == Dims{50'000'000});
}
