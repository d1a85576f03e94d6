// Models in another opset: each form that changed, one step up and down, with the same outputs; and what is refused. The whole of
// ONNX's operator tests goes through the same in tests/conformance.
#include <catch2/catch.hpp>

#include <algorithm>

#include "lib/eval/evaluator.h"
#include "lib/ir/verify.h"
#include "lib/ops/op.h"
#include "lib/ops/opset.h"
#include "lib/ops/schemas.h"
#include "tests/common/node_case.h"

using namespace bevel;
using testing::parsed;

namespace {

using Floats = std::vector<float>;

Model loaded(int opset, const std::string& graph) {
  Model model = parsed("<ir_version: 8, opset_import: [\"\" : " + std::to_string(opset) + "]> g " + graph);
  const Status inferred = ops::infer_types(model);
  INFO((inferred ? std::string() : inferred.error().message));
  REQUIRE(inferred.has_value());
  return model;
}

Model converted(Model model, int target) {
  const Status status = ops::convert_opset(model, target);
  INFO((status ? std::string() : status.error().message));
  REQUIRE(status.has_value());
  REQUIRE(model.opset() == target);
  REQUIRE(verify(model).has_value());
  return model;
}

std::string refusal(Model model, int target) {
  const std::string before = print(model);
  INFO(before);
  const Status status = ops::convert_opset(model, target);
  REQUIRE_FALSE(status.has_value());
  CHECK(status.error().code == ExitCode::input);
  CHECK(print(model) == before);  // as it was
  return status.error().message;
}

// 1, 2, 3, ... in the shape of the first input.
Floats outputs(const Model& model) {
  const auto evaluator = eval::Evaluator::create(model);
  INFO((evaluator ? std::string() : evaluator.error().message));
  REQUIRE(evaluator.has_value());
  const auto dims = model.graph.value(model.graph.inputs()[0]).type.shape.known_dims();
  REQUIRE(dims.has_value());
  Tensor x = Tensor::zeros(DType::float32, *dims);
  for (std::int64_t i = 0; i < x.size(); ++i) x.set_from_double(i, static_cast<double>(i + 1));
  const auto results = (*evaluator)->run(std::vector<Datum>{x});
  INFO((results ? std::string() : results.error().message));
  REQUIRE(results.has_value());
  Floats all;
  for (const Datum& datum : *results) {
    const std::vector<float> values = datum.tensor()->as_floats();
    all.insert(all.end(), values.begin(), values.end());
  }
  return all;
}

const Node& only(const Model& model, const std::string& op_type) {
  for (const NodeId id : model.graph.node_order())
    if (model.graph.node(id).op_type == op_type) return model.graph.node(id);
  FAIL("no " << op_type);
  return model.graph.node(model.graph.node_order()[0]);
}
std::size_t input_count(const Node& node) { return node.inputs.size(); }

// Down to `low` and up to `high` again, with the outputs of before at both ends. Returns the low one.
Model there_and_back(int high, int low, const std::string& graph) {
  const Model model = loaded(high, graph);
  const Floats expected = outputs(model);
  Model down = converted(model, low);
  CHECK(outputs(down) == expected);
  CHECK(outputs(converted(down, high)) == expected);
  return down;
}

bool has(const std::string& text, const std::string& part) {
  INFO(text);
  const bool found = text.find(part) != text.npos;
  CHECK(found);
  return found;
}

}  // namespace

TEST_CASE("axes become attributes below opsets 18 and 13") {
  for (const std::string op : {"ReduceMean", "ReduceMax", "ReduceL2", "ReduceLogSumExp", "ReduceSumSquare"}) {
    const Model low = there_and_back(18, 17, "(float[2,3] x) => (float[...] y) <int64[1] axes = {-1}> { y = " + op + " <keepdims = 0> (x, axes) }");
    CHECK(low.graph.node_count() == 1);
    CHECK(input_count(only(low, op)) == 1);
    CHECK(std::get<std::vector<std::int64_t>>(only(low, op).attribute("axes")->value) == std::vector<std::int64_t>{-1});
    CHECK_FALSE(low.graph.find_value("axes").valid());  // nothing reads it any more
  }
  there_and_back(13, 12, "(float[2,3] x) => (float[...] y) <int64[1] axes = {1}> { y = ReduceSum (x, axes) }");
  there_and_back(13, 12, "(float[2,1,3] x) => (float[...] y) <int64[1] axes = {1}> { y = Squeeze (x, axes) }");
  there_and_back(13, 12, "(float[2,1,3] x) => (float[...] y) { y = Squeeze (x) }");
  there_and_back(13, 11, "(float[2,3] x) => (float[...] y) <int64[2] axes = {0, 3}> { y = Unsqueeze (x, axes) }");
  there_and_back(13, 12, "(float[5,2] x) => (float[...] y, float[...] z) <int64[2] s = {2, 3}> { y, z = Split (x, s) }");
  const Model tied = loaded(18, "(float[2,3] x, int64[1] axes) => (float[...] y) { y = ReduceMean (x, axes) }");
  has(refusal(tied, 17), "node 'y' (ReduceMean) cannot be written in opset 17");
  has(refusal(tied, 17), "must be constant");
  // Axes below 0 count from the end since opset 11.
  const Model counted = there_and_back(11, 10, "(float[2,3] x) => (float[...] y) { y = ReduceMean <axes = [-1]> (x) }");
  CHECK(std::get<std::vector<std::int64_t>>(only(counted, "ReduceMean").attribute("axes")->value) == std::vector<std::int64_t>{1});
}

TEST_CASE("equal parts are counted since opset 18") {
  const Model low = there_and_back(18, 17, "(float[4] x) => (float[...] y, float[...] z) { y, z = Split <num_outputs = 2> (x) }");
  CHECK(only(low, "Split").attribute("num_outputs") == nullptr);
  // Uneven parts have no form of their own before: their sizes are given.
  const Model uneven = there_and_back(18, 17, "(float[5] x) => (float[...] y, float[...] z) { y, z = Split <num_outputs = 2> (x) }");
  CHECK(input_count(only(uneven, "Split")) == 2);
  const Model unknown = loaded(18, "(float[N] x) => (float[...] y, float[...] z) { y, z = Split <num_outputs = 2> (x) }");
  has(refusal(unknown, 17), "not known");
}

TEST_CASE("pads of some axes are given for all before opset 18, and as attributes before 11") {
  there_and_back(18, 17, "(float[2,3] x) => (float[...] y) <int64[2] p = {1, 2}, float v = {7}, int64[1] a = {-1}> { y = Pad (x, p, v, a) }");
  there_and_back(18, 17, "(float[2,3] x) => (float[...] y) <int64[2] p = {1, 2}, int64[1] a = {0}> { y = Pad (x, p, , a) }");
  const Model low = there_and_back(13, 10, "(float[2,3] x) => (float[...] y) <int64[4] p = {0, 1, 0, 2}, float v = {7}> { y = Pad (x, p, v) }");
  CHECK(input_count(only(low, "Pad")) == 1);
  const Model wrapped = loaded(19, "(float[2,3] x) => (float[...] y) <int64[4] p = {0, 1, 0, 2}> { y = Pad <mode = \"wrap\"> (x, p) }");
  has(refusal(wrapped, 18), "wrap");
}

TEST_CASE("a softmax before opset 13 runs over all that lies behind its axis") {
  for (const std::string op : {"Softmax", "LogSoftmax", "Hardmax"}) {
    const Model last = there_and_back(13, 12, "(float[2,3] x) => (float[...] y) { y = " + op + " (x) }");
    CHECK(last.graph.node_count() == 1);
    CHECK(std::get<std::int64_t>(only(last, op).attribute("axis")->value) == 1);
    const Model inner = there_and_back(13, 11, "(float[2,3,2] x) => (float[...] y) { y = " + op + " <axis = 1> (x) }");
    CHECK(std::get<std::int64_t>(only(inner, op).attribute("axis")->value) == 2);
    CHECK(inner.graph.value(inner.graph.outputs()[0]).name == "y");
    const Model flat = there_and_back(13, 12, "(float[2,3,1,1] x) => (float[...] y) { y = " + op + " <axis = 1> (x) }");
    CHECK(flat.graph.node_count() == 1);
  }
  Model free = loaded(13, "(float[...] x) => (float[...] y) { y = Softmax <axis = 1> (x) }");
  has(refusal(free, 12), "rank");
}

TEST_CASE("bounds, ratios, slices, counts and scatters take their old forms") {
  const Model clip = there_and_back(13, 10, "(float[4] x) => (float[...] y) <float l = {2}, float h = {3}> { y = Clip (x, l, h) }");
  CHECK(input_count(only(clip, "Clip")) == 1);
  CHECK(std::get<float>(only(clip, "Clip").attribute("min")->value) == 2);
  there_and_back(13, 10, "(float[4] x) => (float[...] y) <float h = {3}> { y = Clip (x, , h) }");
  has(refusal(loaded(13, "(float[4] x, float l) => (float[...] y) { y = Clip (x, l) }"), 10), "input 1 (min)");

  const Model dropout = there_and_back(13, 11, "(float[4] x) => (float[...] y) <float r = {0.25}, bool t = {0}> { y = Dropout (x, r, t) }");
  CHECK(std::get<float>(only(dropout, "Dropout").attribute("ratio")->value) == 0.25f);
  has(refusal(loaded(13, "(float[4] x, bool t) => (float[...] y) { y = Dropout (x, , t) }"), 11), "training_mode");

  there_and_back(13, 9, "(float[4,4] x) => (float[...] y) <int64[1] b = {1}, int64[1] e = {9}, int64[1] a = {1}, int64[1] s = {1}> { y = Slice (x, b, e, a, s) }");
  has(refusal(loaded(13, "(float[4] x) => (float[...] y) <int64[1] b = {0}, int64[1] e = {9}, int64[1] a = {0}, int64[1] s = {2}> "
                         "{ y = Slice (x, b, e, a, s) }"), 9), "steps");

  const Model top = there_and_back(11, 9, "(float[2,4] x) => (float[...] y, int64[...] z) <int64[1] k = {2}> { y, z = TopK <largest = 1> (x, k) }");
  CHECK(only(top, "TopK").attribute("largest") == nullptr);
  has(refusal(loaded(11, "(float[2,4] x) => (float[...] y, int64[...] z) <int64[1] k = {2}> { y, z = TopK <largest = 0> (x, k) }"), 10), "'largest'");

  const Model scattered = there_and_back(11, 10, "(float[3] x) => (float[...] y) <int64[1] i = {1}, float[1] u = {9}> { y = ScatterElements (x, i, u) }");
  CHECK(scattered.graph.node(scattered.graph.node_order()[0]).op_type == "Scatter");
  has(refusal(loaded(18, "(float[3] x) => (float[...] y) <int64[1] i = {1}, float[1] u = {9}> { y = ScatterElements <reduction = \"max\"> (x, i, u) }"), 17), "max");

  there_and_back(13, 10, "(float[1,1,2,2] x) => (float[...] y) <float[4] s = {1, 1, 2, 2}> "
                         "{ y = Resize <coordinate_transformation_mode = \"asymmetric\", nearest_mode = \"floor\"> (x, , s) }");
  there_and_back(13, 12, "(float[1,1,2,2] x) => (float[...] y) <int64[4] s = {1, 1, 3, 3}> { y = Resize <mode = \"linear\"> (x, , , s) }");
  has(refusal(loaded(13, "(float[1,1,2,2] x) => (float[...] y) <float[4] s = {1, 1, 2, 2}> { y = Resize (x, , s) }"), 10), "asymmetric");

  there_and_back(12, 11, "(float[2] x) => (float[...] y) { c = Constant <value_floats = [1.0, 2.0]> () y = Add (x, c) }");
}

TEST_CASE("quantization loses what older opsets cannot say, or is refused") {
  const std::string per_axis = "(float[2,2] x) => (float[...] y) <float[2] s = {0.5, 1}, int8[2] z = {0, 0}> "
                               "{ q = QuantizeLinear <axis = 1> (x, s, z) y = DequantizeLinear <axis = 1> (q, s, z) }";
  there_and_back(19, 13, per_axis);
  has(refusal(loaded(13, per_axis), 12), "scale");
  const Model whole = there_and_back(13, 10, "(float[2,2] x) => (float[...] y) <float s = {0.5}, int8 z = {0}> "
                                             "{ q = QuantizeLinear (x, s, z) y = DequantizeLinear (q, s, z) }");
  CHECK(only(whole, "QuantizeLinear").attributes.empty());
  const std::string stated = "(float[2,2] x) => (float[...] y) <float s = {0.5}, int8 z = {0}> "
                             "{ q = QuantizeLinear <output_dtype = 3> (x, s, z) y = DequantizeLinear (q, s, z) }";
  there_and_back(21, 20, stated);
  const std::string nibbles = "(float[2,2] x) => (float[...] y) <float s = {0.5}, int4 z = {0}> "
                              "{ q = QuantizeLinear (x, s, z) y = DequantizeLinear (q, s, z) }";
  has(refusal(loaded(21, nibbles), 20), "int4");
}

TEST_CASE("what a schema alone tells: operators, attributes, element types, defaults") {
  has(refusal(loaded(18, "(float[2] x) => (float[2] y) { y = Mish (x) }"), 17), "not in ONNX before opset 18");
  has(refusal(loaded(24, "(float8e8m0[2] x) => (float8e8m0[2] y) { y = Identity (x) }"), 23), "float8e8m0");
  has(refusal(loaded(14, "(float[2,2] x) => (float[...] y) <int64[1] s = {4}> { y = Reshape <allowzero = 1> (x, s) }"), 13), "'allowzero'");
  const Model quiet = there_and_back(14, 13, "(float[2,2] x) => (float[...] y) <int64[1] s = {4}> { y = Reshape <allowzero = 0> (x, s) }");
  CHECK(only(quiet, "Reshape").attributes.empty());
  // Sums of integers' logarithms left ONNX again.
  has(refusal(loaded(27, "(int32[2] x) => (int32[...] y) { y = ReduceLogSum (x) }"), 28), "int32");
  has(refusal(loaded(21, "(float[1,2,2,2] x, float[2] s, float[2] b) => (float[...] y) { y = GroupNormalization <num_groups = 2> (x, s, b) }"), 20), "changed");
  has(refusal(loaded(13, "(float[2] x) => (float[2] y) { y = Abs (x) }"), 29), "opset 29 is not one of 7 to 28");
  // Subgraphs go along, and a refusal says where it lies.
  const std::string branches = "(float[2] x, bool c) => (float[...] y) { y = If (c) <then_branch = t () => (float[...] a) { a = Mish (x) }, "
                               "else_branch = e () => (float[...] b) { b = Identity (x) }> }";
  has(refusal(loaded(18, branches), 17), "in node");
  const Model same = loaded(13, "(float[2] x) => (float[2] y) { y = Abs (x) }");
  CHECK(converted(same, 21).ir_version == 10);
  CHECK(converted(same, 7).ir_version == 4);
}

TEST_CASE("the table of schemas") {
  CHECK(ops::find_schema("Conv", 10)->since == 1);
  CHECK(ops::find_schema("Conv", 22)->since == 22);
  CHECK(ops::find_schema("Mish", 17) == nullptr);
  CHECK(ops::find_schema("Upsample", 9) != nullptr);
  CHECK(ops::find_schema("Upsample", 10) == nullptr);
  CHECK(ops::find_schema("Nothing", 20) == nullptr);
  CHECK(ops::first_opset("Mish") == 18);
  const ops::Schema& conv = *ops::find_schema("Conv", 13);
  CHECK(ops::find_attribute(conv, "group")->fallback == "1");
  CHECK_FALSE(ops::find_attribute(conv, "dilations")->fallback.has_value());
  CHECK_FALSE(ops::find_attribute(conv, "dilation").has_value());
  CHECK(ops::find_attribute(*ops::find_schema("Cast", 13), "to")->required);
  CHECK(ops::takes_input(conv, 1, DType::float16));
  CHECK_FALSE(ops::takes_input(conv, 1, DType::bfloat16));
  CHECK(ops::takes_input(*ops::find_schema("Concat", 13), 7, DType::string));  // variadic: the last one repeats
  CHECK_FALSE(ops::gives_output(*ops::find_schema("TopK", 11), 1, DType::float32));
  const auto all = ops::all_schemas();
  CHECK(std::is_sorted(all.begin(), all.end(), [](const ops::Schema& a, const ops::Schema& b) {
    return a.op_type != b.op_type ? a.op_type < b.op_type : a.since < b.since;
  }));
}

TEST_CASE("Mod of floats without fmod is not written where it is not known") {
  const Model floats = loaded(28, "(float[2] x, float[2] z) => (float[...] y) { y = Mod (x, z) }");
  CHECK(refusal(floats, 27).find("Mod") != std::string::npos);
  converted(loaded(28, "(float[2] x, float[2] z) => (float[...] y) { y = Mod <fmod = 1> (x, z) }"), 27);
  converted(loaded(28, "(int64[2] x, int64[2] z) => (int64[...] y) { y = Mod (x, z) }"), 27);
}
