// The verifier: a sound graph passes, and each broken invariant gets its own located message. Invariants are broken
// through mutable_node and mutable_value, the two doors that could break them.
#include <catch2/catch.hpp>

#include "lib/ir/text.h"
#include "lib/ir/verify.h"

using namespace bevel;

namespace {

Model sample() {
  auto model = parse_text(R"(<ir_version: 8, opset_import: ["" : 13]>
    main (bool[] c, float[2] x) => (float[2] z) <float[2] w = {1, 2}>
    {
      [add] y = Add (x, w)
      [relu] r = Relu (y)
      [choose] z = If <then_branch = t () => (float[2] a) { [n] a = Neg (r) },
                       else_branch = e () => (float[2] b) { [m] b = Mul (r, w) }> (c)
    })");
  INFO((model ? "" : model.error().message));
  REQUIRE(model.has_value());
  return std::move(*model);
}

std::string why_broken(const Model& model) {
  const auto status = verify(model);
  REQUIRE_FALSE(status.has_value());
  CHECK(status.error().code == ExitCode::input);
  return status.error().message;
}

ValueId value_of(const Model& model, const char* name) { return model.graph.find_value(name); }
NodeId node_of(const Model& model, const char* name) { return model.graph.find_node(name); }
bool has(const std::string& text, const char* part) {
  INFO(text);
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("a sound model verifies") { CHECK(verify(sample()).has_value()); }

TEST_CASE("operands and use lists agree both ways") {
  Model model = sample();
  model.graph.mutable_node(node_of(model, "relu")).inputs[0] = value_of(model, "x");
  CHECK(has(why_broken(model), "value 'y': its use list names operand 0 of node 'relu' (Relu), which reads something else"));

  model = sample();
  model.graph.mutable_value(value_of(model, "y")).uses.clear();
  CHECK(has(why_broken(model), "value 'y': is read by 1 operands, its use list has 0"));

  model = sample();
  auto& uses = model.graph.mutable_value(value_of(model, "y")).uses;
  uses.push_back(uses[0]);
  CHECK(has(why_broken(model), "names operand 0 of node 'relu' (Relu) twice"));

  model = sample();
  model.graph.mutable_value(value_of(model, "y")).uses.push_back({NodeId(std::size_t{99}), 0});
  CHECK(has(why_broken(model), "names node 99, which was removed"));
}

TEST_CASE("producers and outputs agree both ways") {
  Model model = sample();
  model.graph.mutable_value(value_of(model, "y")).output_index = 3;
  CHECK(has(why_broken(model), "says it is output 3 of node 'add' (Add)"));

  model = sample();
  model.graph.mutable_node(node_of(model, "add")).outputs.push_back(value_of(model, "r"));
  CHECK(has(why_broken(model), "node 'add' (Add): output 1 is value 'r', which does not name it as its producer"));

  model = sample();
  model.graph.mutable_value(value_of(model, "y")).constant = Tensor::zeros(DType::float32, {2});
  CHECK(has(why_broken(model), "also an initializer; a value has one source"));

  model = sample();
  model.graph.mutable_value(value_of(model, "w")).constant.reset();
  CHECK(has(why_broken(model), "reads 'w', which no node produces"));
}

TEST_CASE("names are unique and present") {
  Model model = sample();
  model.graph.mutable_value(value_of(model, "y")).name.clear();
  CHECK(has(why_broken(model), "has no name"));
  model = sample();
  model.graph.mutable_node(node_of(model, "relu")).name = "add";
  CHECK(has(why_broken(model), "two nodes are named 'add'"));
  model = sample();
  model.graph.mutable_value(value_of(model, "y")).name = "r";
  CHECK(has(why_broken(model), "two values are named 'r'"));
}

TEST_CASE("execution order is topological") {
  Model model = sample();
  // A second reader put before the producer of what it reads.
  Node early;
  early.op_type = "Neg";
  early.inputs = {value_of(model, "r")};
  early.outputs = {model.graph.add_value("early")};
  model.graph.insert_before(node_of(model, "add"), early);
  CHECK(has(why_broken(model), "node 'Neg' (Neg): reads 'r' before node 'relu' (Relu) has produced it"));
  REQUIRE(model.graph.sort());
  CHECK(verify(model).has_value());
}

TEST_CASE("graph inputs, outputs and captures are marked as such") {
  Model model = sample();
  model.graph.mutable_value(value_of(model, "x")).is_input = false;
  CHECK(has(why_broken(model), "'x'"));
  model = sample();
  model.graph.mutable_value(value_of(model, "z")).output_slots = 2;
  CHECK(has(why_broken(model), "value 'z': feeds 1 graph outputs, but is marked as feeding 2"));
  model = sample();
  model.graph.mutable_value(value_of(model, "y")).output_slots = 1;
  CHECK(has(why_broken(model), "values are marked as feeding 2 graph outputs; the graph has 1"));
  model = sample();
  model.graph.add_capture("outer", Type());
  CHECK(has(why_broken(model), "'outer' is captured from an enclosing graph, but the main graph has none"));
  model = sample();
  model.graph.add_output(model.graph.add_value("ghost"));
  CHECK(has(why_broken(model), "graph output 'ghost' is produced by no node"));
}

TEST_CASE("captures agree with the subgraphs") {
  Model model = sample();
  Node& node = model.graph.mutable_node(node_of(model, "choose"));
  CHECK(node.captures.size() == 3);
  node.set_attribute("else_branch", node.attribute("then_branch")->value);
  CHECK(has(why_broken(model), "node 'choose' (If): has 3 captured operands, but its subgraphs capture 2 values"));

  model = sample();
  Graph broken = *std::get<GraphPtr>(model.graph.node(node_of(model, "choose")).attribute("then_branch")->value);
  broken.mutable_value(broken.find_value("a")).output_index = 7;
  model.graph.mutable_node(node_of(model, "choose"))
      .set_attribute("then_branch", std::make_shared<const Graph>(std::move(broken)));
  CHECK(has(why_broken(model), "node 'choose' (If): attribute 'then_branch': value 'a': says it is output 7"));
}

TEST_CASE("initializers match their types") {
  Model model = sample();
  model.graph.mutable_value(value_of(model, "w")).type = Type::tensor(DType::int32, {2});
  CHECK(has(why_broken(model), "its initializer holds float elements, its type says int32[2]"));
  model = sample();
  model.graph.mutable_value(value_of(model, "w")).type = Type::tensor(DType::float32, {3});
  CHECK(has(why_broken(model), "its initializer is float[2], its type says float[3]"));
  model = sample();
  model.graph.mutable_value(value_of(model, "w")).type = Type::tensor(DType::float32, Shape({Dim::named("N")}));
  CHECK(verify(model).has_value());
}

TEST_CASE("same_model names the first difference") {
  const Model a = sample();
  std::string why;
  CHECK(same_model(a, sample(), &why));
  CHECK(why.empty());
  Model b = sample();
  b.graph.mutable_node(node_of(b, "add")).op_type = "Sub";
  CHECK_FALSE(same_model(a, b, &why));
  CHECK(why == "node 'add' is Add and Sub");
  b = sample();
  b.graph.set_constant(value_of(b, "w"), Tensor::of<float>({2}, std::vector<float>{1, 3}));
  CHECK_FALSE(same_model(a, b, &why));
  CHECK(why == "value 'w': different constants");
  b = sample();
  b.graph.rename_value(value_of(b, "y"), "other");
  CHECK_FALSE(same_model(a, b, &why));
  CHECK(why == "value 'y' is in the first only");
  b = sample();
  b.opsets.push_back({"x", 1});
  CHECK_FALSE(same_model(a, b));
}
