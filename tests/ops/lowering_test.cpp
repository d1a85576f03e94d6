// Lowering of what is no product: pooling, arithmetic, movement, tables, float kernels; and what holds for every group.
#include "lib/ops/facts_derived.h"
#include "lib/ops/op.h"
#include "lib/ops/requantize.h"
#include "lib/runtime/bevel_runtime.h"
#include "tests/common/lowering_case.h"

using namespace bevel;
using namespace bevel::test;

TEST_CASE("gather reads tables as they are stored") {
  const auto rows = [](const std::string& constants, const std::string& nodes, DType dtype, std::uint64_t bytes) {
    const std::string text = "main (int64[2,3] i) => (float[2,3,10] y) <" + constants + ">\n{ " + nodes + " }";
    INFO(text);
    const Model model = parsed("<ir_version: 10, opset_import: [\"\" : 21]>\n" + text);
    const std::vector<Tensor> inputs = {Tensor::of<std::int64_t>({2, 3}, {0, 6, -1, -7, 3, 2})};
    const auto expected = reference(model, inputs), found = by_program(model, inputs, false), held = by_group_kernels(model, inputs);
    CHECK(found[0].same_bits(expected[0]));
    CHECK(held[0].same_bits(expected[0]));
    const auto plan = plan::plan_model(model);
    REQUIRE(plan);
    std::uint64_t stored = 0;
    for (const plan::ProgramTensor& tensor : plan->program.tensors) stored += tensor.storage == BVL_STORAGE_CONSTANT && tensor.dtype == dtype ? tensor.bytes : 0;
    CHECK(stored == bytes);
  };
  const std::string behind = "t = DequantizeLinear <axis = 0> (q, s) y = Gather (t, i)";
  rows("int8[7,10] q = random(1), float[] s = {0.03}", behind, DType::int8, 70);
  rows("int8[7,10] q = random(1), float[7] s = {0.011, 0.02, 0.034, 0.005, 0.05, 0.062, 0.017}", behind, DType::int8, 70);
  rows("int4[7,10] q = random(1), float[7] s = {0.011, 0.02, 0.034, 0.005, 0.05, 0.062, 0.017}", behind, DType::int4, 56);
  rows("int4[7,10] q = random(1), float[7,3] s = {0.011, 0.02, 0.034, 0.005, 0.05, 0.062, 0.017, 0.041, 0.027, 0.009, 0.013, 0.03, 0.045, 0.0525, 0.008, 0.023, 0.037, 0.029, 0.012, 0.06, 0.0075}", "t = DequantizeLinear <axis = 1, block_size = 4> (q, s) y = Gather (t, i)", DType::int4, 56);
  rows("int8[7,10] q = random(1), float[10] s = {0.011, 0.02, 0.034, 0.005, 0.05, 0.062, 0.017, 0.041, 0.027, 0.009}", "t = DequantizeLinear <axis = 1> (q, s) y = Gather (t, i)", DType::int8, 70);
  rows("float16[7,10] h = random(1)", "t = Cast <to = 1> (h) y = Gather (t, i)", DType::float16, 140);
  rows("float[7,10] t = random(1)", "y = Gather (t, i)", DType::float32, 280);
  rows("int8[7,10] q = random(1), float[] s = {0.03}, int8[] z = {4}", "r = Gather (q, i) y = DequantizeLinear (r, s, z)", DType::int8, 70);
  rows("uint8[7,10] q = random(1), float[] s = {0.03}, uint8[] z = {120}", "r = Gather (q, i) y = DequantizeLinear (r, s, z)", DType::int8, 70);
  rows("float[10,7] t = random(1)", "g = Gather <axis = 1> (t, i) y = Transpose <perm = [1, 2, 0]> (g)", DType::float32, 280);
}

TEST_CASE("an index past the table is an error of the evaluator, with kernels too") {
  const Model model = parsed("<ir_version: 10, opset_import: [\"\" : 21]>\nmain (int64[2] i) => (float[2,10] y) <int8[7,10] q = random(1), float[] s = {0.03}>\n"
                             "{ t = DequantizeLinear (q, s) y = Gather (t, i) }");
  eval::EvalOptions options;
  options.kernels = eval::Kernels::all;
  const auto evaluator = eval::Evaluator::create(model, options);
  REQUIRE(evaluator);
  for (const std::int64_t index : {-8, -7, 6, 7}) {
    const std::vector<Datum> inputs = {Tensor::of<std::int64_t>({2}, {0, index})};
    const auto outputs = (*evaluator)->run(inputs);
    INFO(index);
    CHECK(outputs.has_value() == (index >= -7 && index < 7));
    if (!outputs) CHECK(outputs.error().message.find("range") != std::string::npos);
  }
}

TEST_CASE("gather between integers") {
  const std::string list = ", int64[2,2] i = {5, 0, -1, 2}";
  check_integer({"rows", {"6,5"}, "2,2,5", list, "y = Gather (x0, i)", 0, true});
  check_integer({"columns", {"3,6,2"}, "3,2,2,2", list, "y = Gather <axis = 1> (x0, i)", 0, true});
  check_integer({"own scale", {"6,5"}, "2,2,5", list, "y = Gather (x0, i)", 1, false});
  check_wide({"rows", {"6,5"}, "2,2,5", list, "y = Gather (x0, i)", 0, true});
  check_wide({"own scale", {"6,5"}, "2,2,5", list, "y = Gather (x0, i)", 1, false});
}

TEST_CASE("pooling and means") {
  check_integer({"MaxPool", {"1,3,8,8"}, "1,3,4,4", "", "y = MaxPool <kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1]> (x0)", 0, true});
  check_integer({"MaxPool, own scale", {"1,3,8,8"}, "1,3,4,4", "", "y = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (x0)", 1, false, "0.09"});
  check_integer({"GlobalMaxPool", {"1,5,4,4"}, "1,5,1,1", "", "y = GlobalMaxPool (x0)", 0, true});
  check_integer({"AveragePool", {"1,3,8,8"}, "1,3,4,4", "", "y = AveragePool <kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1]> (x0)"});
  check_integer({"AveragePool with padding", {"1,3,8,8"}, "1,3,4,4", "",
                 "y = AveragePool <kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1], count_include_pad = 1> (x0)"});
  check_integer({"AveragePool ceil", {"1,3,8,8"}, "1,3,4,4", "", "y = AveragePool <kernel_shape = [3, 3], strides = [2, 2], ceil_mode = 1> (x0)"});
  check_integer({"1-D AveragePool", {"1,3,12"}, "1,3,6", "", "y = AveragePool <kernel_shape = [2], strides = [2]> (x0)"});
  check_integer({"GlobalAveragePool", {"2,5,4,6"}, "2,5,1,1", "", "y = GlobalAveragePool (x0)", 1, false, "0.011"});
  check_integer({"ReduceMean", {"2,5,4,6"}, "2,5", "", "y = ReduceMean <axes = [2, 3], keepdims = 0> (x0)", 1, false, "0.011"});
}

TEST_CASE("arithmetic with broadcasting") {
  check_integer({"Add", {"1,3,4,5", "1,3,4,5"}, "1,3,4,5", "", "y = Add (x0, x1)", 1, false, "0.09"});
  check_integer({"Add Relu", {"1,3,4,5", "1,3,4,5"}, "1,3,4,5", "", "a = Add (x0, x1)\n y = Relu (a)", 1, false, "0.09"});
  check_integer({"Sub", {"2,3,4", "3,1"}, "2,3,4", "", "y = Sub (x0, x1)", 1, false, "0.09"});
  check_integer({"Mul", {"1,3,4,5", "1,3,1,1"}, "1,3,4,5", "", "y = Mul (x0, x1)", 1, false, "0.2"});
  check_integer({"Mul of both sides", {"4,1", "1,6"}, "4,6", "", "y = Mul (x0, x1)", 1, false, "0.2"});
  check_integer({"Add of a constant", {"1,3,4,5"}, "1,3,4,5", ", float[] sk = {0.02}, uint8[] zk = {100}, uint8[3,1,1] qk = {0, 120, 255}",
                 "k = DequantizeLinear (qk, sk, zk)\n y = Add (x0, k)", 1, false, "0.09"});
  check_integer({"constant first", {"1,3,4,5"}, "1,3,4,5", ", float[] sk = {0.02}, int8[] zk = {-3}, int8[5] qk = {0, 120, -55, 7, 8}",
                 "k = DequantizeLinear (qk, sk, zk)\n y = Sub (k, x0)", 1, false, "0.09"});
}

TEST_CASE("data movement is exact; other scales go through a table") {
  check_integer({"Reshape", {"2,3,4"}, "6,4", ", int64[2] shape = {6, 4}", "y = Reshape (x0, shape)", 0, true});
  check_integer({"Flatten", {"2,3,4"}, "2,12", "", "y = Flatten (x0)", 0, true});
  check_integer({"Transpose", {"2,3,4,5"}, "5,2,4,3", "", "y = Transpose <perm = [3, 0, 2, 1]> (x0)", 0, true});
  check_integer({"Transpose, own scale", {"2,3,4"}, "4,3,2", "", "y = Transpose (x0)", 1, false});
  check_integer({"Concat", {"1,2,3,3", "1,4,3,3"}, "1,6,3,3", "", "y = Concat <axis = 1> (x0, x1)", 0, true});
  check_integer({"Concat, own scales", {"1,2,3,3", "1,4,3,3"}, "1,6,3,3", "", "y = Concat <axis = -3> (x0, x1)"});
  check_integer({"Slice", {"2,6,7"}, "2,2,4", ", int64[2] b = {5, 0}, int64[2] e = {-100, 7}, int64[2] a = {1, 2}, int64[2] s = {-3, 2}",
                 "y = Slice (x0, b, e, a, s)", 0, true});
  check_integer({"Pad", {"1,3,4,4"}, "1,3,7,5", ", int64[8] p = {0, 0, 1, 1, 0, 0, 2, 0}, float[] v = {1.5}", "y = Pad (x0, p, v)", 1, true});
  check_integer({"Pad that crops", {"1,3,4,4"}, "1,3,3,5", ", int64[8] p = {0, 0, -1, 1, 0, 0, 0, 0}", "y = Pad (x0, p)", 0, true});
  check_integer({"Expand", {"3,1,4"}, "2,3,5,4", ", int64[4] shape = {2, 3, 5, 4}", "y = Expand (x0, shape)", 0, true});
  check_integer({"Relu of its own", {"2,3,4"}, "2,3,4", "", "y = Relu (x0)", 0, true});
  check_integer({"Clip, own scale", {"2,3,4"}, "2,3,4", ", float[] low = {-1}, float[] high = {2}", "y = Clip (x0, low, high)", 1, false});
}

TEST_CASE("a convolution between movements keeps its channels-last memory") {
  check_integer({"Conv, Concat, Flatten", {"1,3,4,4"}, "1,112", std::string(kWeights) + ", int8[4,3,1,1] qw = random(12), int8[] zc = {0}, float[] sc = {0.05}",
                 kWeighted + std::string("c = Conv (x0, w, b)\n qc = QuantizeLinear (c, sc, zc)\n dc = DequantizeLinear (qc, sc, zc)\n"
                                         " k = Concat <axis = 1> (x0, dc)\n qk = QuantizeLinear (k, sc, zc)\n dk = DequantizeLinear (qk, sc, zc)\n y = Flatten (dk)"),
                 2});
}

TEST_CASE("pointwise functions are tables") {
  for (const char* op : {"Sigmoid", "Tanh", "HardSwish", "HardSigmoid", "Elu", "Softplus", "LeakyRelu", "Erf", "Abs", "Exp"}) {
    check_integer({op, {"2,130"}, "2,130", "", "y = " + std::string(op) + " (x0)", 1, false, "0.013"});
  }
}

TEST_CASE("softmax has its fixed output") {
  check_integer({"Softmax", {"3,12"}, "3,12", "", "y = Softmax (x0)", 1, false, "0.00390625", "lowest"});
  check_integer({"Softmax over channels", {"2,12,3"}, "2,12,3", "", "y = Softmax <axis = 1> (x0)", 1, false, "0.00390625", "lowest"});
}

TEST_CASE("what integer kernels refuse says why") {
  const auto reason = [](const LoweringCase& c) {
    const Model model = parsed(text_of(c, "int8"));
    std::string text;
    for (const plan::Group& group : plan::group_graph(model).groups) {
      if (!group.reason.empty()) text += group.reason;
    }
    return text;
  };
  CHECK(reason({"weights", {"1,3,4,4", "4,3,1,1"}, "1,4,4,4", "", "y = Conv (x0, x1)"}).find("not quantized constants") != std::string::npos);
  CHECK(reason({"softmax", {"3,12"}, "3,12", "", "y = Softmax (x0)"}).find("1/256") != std::string::npos);
}

TEST_CASE("shapes that vary: integer kernels at each, prepared again where they are no longer kept") {
  const Model model = parsed(text_of({"dynamic", {"1,3,h,w"}, "1,4,?,?", kWeights + std::string(", int8[4,3,3,3] qw = random(1)"),
                                      kWeighted + std::string("y = Conv (x0, w, b)")}, "int8"));
  const plan::Grouping grouping = plan::group_graph(model);
  for (const plan::Group& group : grouping.groups) CHECK(group.reason.empty());  // unknown extents do not refuse a 3x3 window
  const eval::GroupKernels kernels(model, grouping);
  Random random(3);
  std::uint64_t packed = 0;  // as much as the first shape took, whatever follows
  for (int round = 0; round < 2; ++round) {
    for (std::int64_t height = 3; height < 23; ++height) {
      Tensor x = Tensor::zeros(DType::int8, {1, 3, height, 5});
      for (std::int64_t i = 0; i < x.size(); ++i) x.set_from_int64(i, static_cast<std::int64_t>(random.below(256)) - 128);
      const auto found = by_group_kernels(model, {x}, grouping, kernels);
      CHECK(found[0].dims() == Dims{1, 4, height - 2, 3});
      CHECK(found[0].same_bits(by_group_kernels(model, {x})[0]));
      if (packed == 0) packed = kernels.packed_bytes();
      CHECK(kernels.packed_bytes() == packed);
    }
  }
  CHECK(packed > 4 * 3 * 3 * 3);
}

TEST_CASE("kernels ask for their memory before they take it") {
  const Model model = parsed(text_of({"large", {"1,3,h,w"}, "1,4,?,?", kWeights + std::string(", int8[4,3,3,3] qw = random(1)"),
                                      kWeighted + std::string("y = Conv (x0, w, b)")}, "int8"));
  const plan::Grouping grouping = plan::group_graph(model);
  const eval::GroupKernels kernels(model, grouping);
  REQUIRE(grouping.groups.size() == 1);
  std::vector<eval::HeldValue> operands;
  for (const plan::GroupEdge& edge : grouping.groups[0].inputs) {
    const Tensor* constant = edge.border.valid() ? model.graph.constant(edge.border) : nullptr;
    if (!edge.border.valid()) operands.emplace_back();
    else operands.emplace_back(Datum(constant ? *constant : Tensor::zeros(DType::int8, {1, 3, 66, 34})));
  }
  std::uint64_t asked = 0;
  const auto refused = kernels.run(0, operands, [&](std::uint64_t bytes) -> Status {
    asked += bytes;
    return fail_input("not that much");
  });
  REQUIRE_FALSE(refused.has_value());
  CHECK(refused.error().message == "not that much");
  CHECK(asked >= 4 * 64 * 32 + 3 * 66 * 34);  // the output, and the input in the kernel's order
}

TEST_CASE("a sequence where a node takes a tensor is an error of its own") {
  const Model model = parsed(text_of({"one", {"2"}, "2", "", "y = Relu (x0)"}, "int8"));
  for (const NodeId id : model.graph.node_order()) {
    const Node& node = model.graph.node(id);
    const std::vector<Datum> operands(node.inputs.size(), Datum(std::vector<Datum>{Datum(Tensor::scalar<float>(1))}));
    const auto results = ops::evaluate_node(node, model.opset(), operands, 1 << 20);
    REQUIRE_FALSE(results.has_value());
    CHECK(results.error().message.find("input 0 is a sequence, but a tensor is expected") != std::string::npos);
  }
}

TEST_CASE("the host rounds a real value to an integer as the kernel does") {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const std::vector<float> points = {0.5f, 1.5f, 2.5f, -0.5f, -1.5f, -2.5f, 0.49999997f, 126.5f, 127.5f, -128.5f, 3e9f, -3e9f, 1e38f,
                                     kInfinity, -kInfinity, std::numeric_limits<float>::quiet_NaN(), 0.0f, -0.0f};
  for (int zero_point : {-128, -7, 0, 127}) {
    const bvl_quantize_f32_s8_params params{static_cast<std::int32_t>(points.size()), 1.0f, zero_point, -128, 127};
    std::vector<std::int8_t> kernel(points.size());
    const void* in[] = {points.data()};
    void* out[] = {kernel.data()};
    bvl_kernel_function(BVL_KERNEL_QUANTIZE_F32_S8)(&params, in, out, nullptr, 0, 1);
    for (std::size_t i = 0; i < points.size(); ++i) {
      INFO(points[i] << " zero point " << zero_point);
      CHECK(ops::quantize(static_cast<double>(points[i]), zero_point, ops::kInt8Range) == kernel[i]);
    }
  }
  CHECK(ops::quantize(2.5, 0, ops::kInt8Range) == 2);
  CHECK(ops::quantize(3.5, 1, ops::kInt8Range) == 5);
  CHECK(ops::quantize(-1e300, 0, {-127, 127}) == -127);
  CHECK(ops::quantize(std::numeric_limits<double>::quiet_NaN(), 5, {-127, 127}) == -127);
}

TEST_CASE("a clamp folds into the one result that it alone reads") {
  const auto folds = [](const std::string& nodes, const std::string& outputs = "float[2,4] y") {
    const Model model = parsed("<ir_version: 8, opset_import: [\"\" : 13]>\nmain (float[2,4] x) => (" + outputs +
                               ")\n<float[4,4] w = random(1), float[] low = {0}, float[] high = {6}>\n{\n" + nodes + "\n}");
    const ValueId v = model.graph.find_value("v");
    const NodeId producer = model.graph.value(v).producer, reader = model.graph.value(v).uses[0].node;
    return ops::may_fold_clamp(model.graph, v, ops::facts_of(model, model.graph, producer).value,
                               model.graph.node(producer).outputs.size(), ops::facts_of(model, model.graph, reader).value);
  };
  CHECK(folds("v = MatMul (x, w)\n y = Relu (v)"));
  CHECK(folds("v = MatMul (x, w)\n y = Clip (v, low, high)"));
  CHECK(folds("v = Add (x, x)\n y = Relu (v)"));
  CHECK_FALSE(folds("v = MatMul (x, w)\n y = Tanh (v)"));
  CHECK_FALSE(folds("v = MatMul (x, w)\n y = Relu (v)", "float[2,4] v, float[2,4] y"));
  CHECK_FALSE(folds("v = MatMul (x, w)\n y = Relu (v)\n z = Tanh (v)", "float[2,4] y, float[2,4] z"));
  CHECK_FALSE(folds("v = Softmax (x)\n y = Relu (v)"));
}

TEST_CASE("float kernels") {
  check_float("conv", R"(main (float[1,3,6,6] x) => (float[1,4,6,6] y) <float[4,3,3,3] w = random(1), float[4] b = random(2)>
{ c = Conv <pads = [1, 1, 1, 1]> (x, w, b) y = Relu (c) })");
  check_float("grouped conv", R"(main (float[1,4,6,6] x) => (float[1,4,4,4] y) <float[4,1,3,3] w = random(1)> { y = Conv <group = 4> (x, w) })");
  check_float("gemm", R"(main (float[3,6] x) => (float[3,4] y) <float[4,6] w = random(1), float[4] b = random(2)>
{ y = Gemm <transB = 1, alpha = 0.5, beta = 2.0> (x, w, b) })");
  check_float("matmul", "main (float[2,3,6] x, float[2,6,4] z) => (float[2,3,4] y) { y = MatMul (x, z) }");
  check_float("pools", R"(main (float[1,3,7,7] x) => (float[1,3,3,3] a, float[1,3,3,3] m, float[1,3,1,1] g)
{ a = AveragePool <kernel_shape = [3, 3], strides = [2, 2]> (x) m = MaxPool <kernel_shape = [3, 3], strides = [2, 2]> (x) g = GlobalAveragePool (x) })");
  check_float("binary", "main (float[2,3,4] x, float[3,1] z) => (float[2,3,4] y) { a = Mul (x, z) b = Sub (a, x) c = Max (b, z) y = Div (c, z) }");
  check_float("unary", "main (float[2,3,4] x) => (float[2,3,4] y) { a = Sigmoid (x) b = Tanh (a) c = LeakyRelu (b) y = Softmax <axis = 1> (c) }");
  check_float("comparisons choose", R"(main (float[2,3,4] x, float[4] z) => (float[2,3,4] y, bool[2,3,4] g) <float[] zero = {0}, float[2,1,4] c = random(3)>
{ l = Less (x, z) e = Equal (z, zero) a = Where (l, c, x) y = Where (e, zero, a) g = GreaterOrEqual (a, z) })");
  check_float("casts", R"(main (float[2,3,4] x) => (float[2,3,4] y) { b = Cast <to = 9> (x) l = Cast <to = 7> (b) i = Cast <to = 6> (l) f = Cast <to = 1> (i) y = Add (f, x) })");
  check_float("hard functions", "main (float[2,3,4] x) => (float[2,3,4] y) { a = HardSwish (x) y = HardSigmoid (a) }", 14);
  check_float("reduce", R"(main (float[2,3,4] x) => (float[2,4] y, float[2,3,1] m) <int64[1] axes = {1}>
{ y = ReduceSum <keepdims = 0> (x, axes) m = ReduceMax <axes = [2]> (x) })");
  check_float("movement", R"(main (float[2,3,4] x) => (float[3,8] y) <int64[2] s = {3, 8}> { t = Transpose <perm = [1, 0, 2]> (x) y = Reshape (t, s) })");
  check_float("borders", R"(main (float[2,3] x) => (float[2,3] y) <float[] s = {0.1}, uint8[] z = {120}>
{ r = Exp (x) q = QuantizeLinear (r, s, z) d = DequantizeLinear (q, s, z) y = Neg (d) })");
}
