// Models of opset 1 to 6 whose elementwise operands broadcast from an axis on, lifted to what later opsets say. ONNX's own such models
// are in the packs of tests/conformance.
#include <catch2/catch.hpp>

#include <numeric>

#include "lib/eval/evaluator.h"
#include "lib/ir/verify.h"
#include "lib/ops/op.h"
#include "tests/common/node_case.h"

using namespace bevel;
using testing::parsed;

namespace {

using Floats = std::vector<float>;

Model old_model(int opset, const std::string& graph) {
  return parsed("<ir_version: 3, opset_import: [\"\" : " + std::to_string(opset) + "]> g " + graph);
}

Model lifted(int opset, const std::string& graph) {
  Model model = old_model(opset, graph);
  const auto done = ops::upgrade_to_base(model);
  INFO((done ? std::string() : done.error().message));
  REQUIRE(done.has_value());
  REQUIRE(*done);
  CHECK(model.opset() == ops::kBaseOpset);
  REQUIRE(verify(model).has_value());
  const Status inferred = ops::infer_types(model);
  INFO((inferred ? std::string() : inferred.error().message));
  REQUIRE(inferred.has_value());
  return model;
}

Tensor counted(Dims dims, float first = 1) {
  Tensor tensor = Tensor::zeros(DType::float32, std::move(dims));
  const auto values = tensor.mutable_values<float>();
  std::iota(values.begin(), values.end(), first);
  return tensor;
}

Tensor output(const Model& model, const std::vector<Datum>& inputs) {
  const auto evaluator = eval::Evaluator::create(model);
  REQUIRE(evaluator.has_value());
  const auto results = (*evaluator)->run(inputs);
  INFO((results ? std::string() : results.error().message));
  REQUIRE(results.has_value());
  REQUIRE((*results)[0].tensor() != nullptr);
  return *(*results)[0].tensor();
}
Floats floats(const Model& model, const std::vector<Datum>& inputs) { return output(model, inputs).as_floats(); }

std::size_t count(const Model& model, const std::string& op_type) {
  std::size_t found = 0;
  for (const NodeId id : model.graph.node_order()) found += model.graph.node(id).op_type == op_type;
  return found;
}

bool kept(int opset, const std::string& graph) {
  Model model = old_model(opset, graph);
  const std::string before = print(model);
  const auto done = ops::upgrade_to_base(model);
  REQUIRE(done.has_value());
  CHECK(print(model) == before);
  return !*done;
}

}  // namespace

TEST_CASE("an axis says where the second operand's extents stand in the first's") {
  const std::vector<Datum> operands{counted({2, 2, 2}), Tensor::of<float>({2}, Floats{10, 20})};
  const std::string head = "(float[2,2,2] x, float[2] b) => (float[2,2,2] y) { y = Add ";
  const Floats first{11, 12, 13, 14, 25, 26, 27, 28}, middle{11, 12, 23, 24, 15, 16, 27, 28}, last{11, 22, 13, 24, 15, 26, 17, 28};
  CHECK(floats(lifted(6, head + "<broadcast = 1, axis = 0> (x, b) }"), operands) == first);
  const Model in_the_middle = lifted(6, head + "<broadcast = 1, axis = 1> (x, b) }");
  CHECK(floats(in_the_middle, operands) == middle);
  CHECK(in_the_middle.graph.node(in_the_middle.graph.find_node("y")).attribute("axis") == nullptr);
  CHECK(in_the_middle.graph.node(in_the_middle.graph.find_node("y")).attribute("broadcast") == nullptr);
  CHECK(floats(lifted(1, head + "<broadcast = 1, axis = 1> (x, b) }"), operands) == middle);
  // The last axes need no other form, however they are said.
  for (const std::string attributes : {"<broadcast = 1, axis = 2>", "<broadcast = 1, axis = -1>", "<broadcast = 1>"}) {
    const Model same = lifted(6, head + attributes + " (x, b) }");
    CHECK(same.graph.node_count() == 1);
    CHECK(floats(same, operands) == last);
  }
  // Without broadcasting an axis says nothing.
  const Model equal = lifted(6, "(float[2] x, float[2] b) => (float[2] y) { y = Sub <axis = 0> (x, b) }");
  CHECK(equal.graph.node_count() == 1);
  CHECK(equal.graph.node(equal.graph.find_node("y")).attribute("axis") == nullptr);
  CHECK(floats(equal, {counted({2}, 5), counted({2})}) == Floats{4, 4});
}

TEST_CASE("every elementwise operator of opset 6 is lifted") {
  const Tensor x = Tensor::of<float>({2, 2}, Floats{1, 2, 3, 4}), b = Tensor::of<float>({2}, Floats{1, 3});
  const std::string form = " <broadcast = 1, axis = 0> (x, b) }";
  const auto arithmetic = [&](const std::string& op) {
    return floats(lifted(6, "(float[2,2] x, float[2] b) => (float[2,2] y) { y = " + op + form), {x, b});
  };
  CHECK(arithmetic("Add") == Floats{2, 3, 6, 7});
  CHECK(arithmetic("Sub") == Floats{0, 1, 0, 1});
  CHECK(arithmetic("Mul") == Floats{1, 2, 9, 12});
  CHECK(arithmetic("Div") == Floats{1, 2, 1, 4.0f / 3});
  CHECK(arithmetic("Pow") == Floats{1, 2, 27, 64});
  const auto truth = [](const Tensor& tensor) {
    Floats values;
    for (std::int64_t i = 0; i < tensor.size(); ++i) values.push_back(static_cast<float>(tensor.as_int64(i)));
    return values;
  };
  const auto comparison = [&](const std::string& op, const std::string& type, const Tensor& left, const Tensor& right) {
    return truth(output(lifted(6, "(" + type + "[2,2] x, " + type + "[2] b) => (bool[2,2] y) { y = " + op + form), {left, right}));
  };
  CHECK(comparison("Less", "float", x, b) == Floats{0, 0, 0, 0});
  CHECK(comparison("Greater", "float", x, b) == Floats{0, 1, 0, 1});
  CHECK(comparison("Equal", "int32", Tensor::of<std::int32_t>({2, 2}, std::vector<std::int32_t>{1, 2, 3, 4}),
                   Tensor::of<std::int32_t>({2}, std::vector<std::int32_t>{1, 4})) == Floats{1, 0, 0, 1});
  Tensor bits = Tensor::zeros(DType::boolean, {2, 2}), mask = Tensor::zeros(DType::boolean, {2});
  bits.set_from_int64(1, 1);
  bits.set_from_int64(3, 1);
  mask.set_from_int64(1, 1);
  CHECK(comparison("And", "bool", bits, mask) == Floats{0, 0, 0, 1});
  CHECK(comparison("Or", "bool", bits, mask) == Floats{0, 1, 1, 1});
  CHECK(comparison("Xor", "bool", bits, mask) == Floats{0, 1, 1, 0});
}

TEST_CASE("the rank of the first operand is inferred where the model does not state it") {
  // Behind a Pad whose form changed, and two such nodes behind one another: the second one's rank is the first one's result's.
  const Model model = lifted(6, R"((float[1,2,1,1] x, float[2] b) => (float[...] y) {
    p = Pad <pads = [0, 0, 0, 1, 0, 0, 0, 0]> (x)
    s = Add <broadcast = 1, axis = 1> (p, b)
    y = Mul <broadcast = 1, axis = 1> (s, b)
  })");
  CHECK(count(model, "Unsqueeze") == 2);
  CHECK(floats(model, {counted({1, 2, 1, 1}), Tensor::of<float>({2}, Floats{10, 20})}) == Floats{100, 110, 400, 440});
  CHECK(model.graph.value(model.graph.outputs()[0]).type.shape.known_dims() == Dims{1, 2, 1, 2});
  // The second operand's rank, too.
  const Model computed = lifted(6, R"((float[2,2] x, float[2,1] b) => (float[2,2] y) {
    v = Squeeze <axes = [1]> (b)
    y = Sub <broadcast = 1, axis = 0> (x, v)
  })");
  CHECK(floats(computed, {counted({2, 2}), Tensor::of<float>({2, 1}, Floats{10, 20})}) == Floats{-9, -8, -17, -16});
  // Nothing states it, or it is no tensor's: the model stays as it is.
  std::string extents = "1";
  for (int i = 0; i < 80; ++i) extents += ",1";
  CHECK(kept(6, "(float[" + extents + "] x, float[2] b) => (float[...] y) { y = Add <broadcast = 1, axis = 0> (x, b) }"));
  CHECK(kept(6, "(float[...] x, float[2] b) => (float[...] y) { y = Add <broadcast = 1, axis = 0> (x, b) }"));
}

TEST_CASE("one element broadcasts from any axis") {
  const Model model = lifted(6, "(float[...] x) => (float[...] y) <float[1] b = {10}> { y = Add <broadcast = 1, axis = 0> (x, b) }");
  CHECK(model.graph.node_count() == 1);
  CHECK(floats(model, {counted({2, 2})}) == Floats{11, 12, 13, 14});
}

TEST_CASE("operands that do not fit from the axis on are refused") {
  for (const std::string axis : {"1", "2", "-9", "9223372036854775807"}) {
    Model model = old_model(6, "(float[2,2] x, float[2,2] b) => (float[2,2] y) { y = Add <broadcast = 1, axis = " + axis + "> (x, b) }");
    const auto done = ops::upgrade_to_base(model);
    REQUIRE_FALSE(done.has_value());
    CHECK(done.error().code == ExitCode::input);
    INFO(done.error().message);
    CHECK(done.error().message.find("node 'y' (Add)") != std::string::npos);
    CHECK(done.error().message.find("axis") != std::string::npos);
  }
}

TEST_CASE("up to opset 6 PRelu has a slope for each channel") {
  const std::vector<Datum> operands{Tensor::of<float>({1, 2, 2}, Floats{-1, 2, -3, -4}), Tensor::of<float>({2}, Floats{10, 100})};
  const Model model = lifted(6, "(float[1,2,2] x, float[2] slope) => (float[1,2,2] y) { y = PRelu (x, slope) }");
  CHECK(floats(model, operands) == Floats{-10, 2, -300, -400});
  // Since opset 7 it broadcasts along the last axes.
  const Model later = lifted(7, "(float[1,2,2] x, float[2] slope) => (float[1,2,2] y) { y = PRelu (x, slope) }");
  CHECK(floats(later, operands) == Floats{-10, 2, -30, -400});
  const Model one = lifted(6, "(float[1,2,2] x, float[1] slope) => (float[1,2,2] y) { y = PRelu (x, slope) }");
  CHECK(one.graph.node_count() == 1);
  const Model flat = lifted(6, "(float[1,2] x, float[2] slope) => (float[1,2] y) { y = PRelu (x, slope) }");
  CHECK(flat.graph.node_count() == 1);
}

TEST_CASE("Gemm of opset 6 broadcasts its third operand along the last axes") {
  const Model model = lifted(6, R"((float[2,2] a, float[2,2] b, float[2] c) => (float[2,2] y) { y = Gemm <broadcast = 1> (a, b, c) })");
  CHECK(model.graph.node_count() == 1);
  CHECK(model.graph.node(model.graph.find_node("y")).attribute("broadcast") == nullptr);
  const Tensor unit = Tensor::of<float>({2, 2}, Floats{1, 0, 0, 1});
  CHECK(floats(model, {counted({2, 2}), unit, Tensor::of<float>({2}, Floats{10, 20})}) == Floats{11, 22, 13, 24});
}

TEST_CASE("subgraphs are lifted, too") {
  const std::string graph = R"((bool c, float[2,2] x, float[2] b) => (float[2,2] y) {
    y = If <then_branch = then () => (float[2,2] t) { t = Add <broadcast = 1, axis = 0> (x, b) },
            else_branch = else () => (float[2,2] e) { e = Sub <broadcast = 1, axis = 0> (x, b) }> (c)
  })";
  const Model model = lifted(6, graph);
  Tensor yes = Tensor::zeros(DType::boolean, {}), no = yes;
  yes.set_from_int64(0, 1);
  const Tensor x = counted({2, 2}), b = Tensor::of<float>({2}, Floats{10, 20});
  CHECK(floats(model, {yes, x, b}) == Floats{11, 12, 23, 24});
  CHECK(floats(model, {no, x, b}) == Floats{-9, -8, -17, -16});
}
